/* Vector words for float64, in plain GNU C: 4 doubles, multiply and add rounded separately. See vmath.h. */
#ifndef RT_SIMD_H
#define RT_SIMD_H

#define RT_ISA "float64"
#define RT_DOUBLE 1
#define LANES 4
typedef double real;
typedef double vf __attribute__((vector_size(32)));
typedef long long vi __attribute__((vector_size(32)));
#include "simd_generic.h"
#endif
