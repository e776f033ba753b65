/* Vector words in plain GNU C, for any processor: 4 floats, multiply and add rounded separately. See vmath.h. */
#ifndef RT_SIMD_H
#define RT_SIMD_H

#define RT_ISA "baseline"
#define LANES 4
typedef float real;
typedef float vf __attribute__((vector_size(16)));
typedef int vi __attribute__((vector_size(16)));
#define REAL_MAX 3.402823466e38f
#include "simd_generic.h"
#endif
