/* Vector words for float64, in plain GNU C: 2 doubles, multiply and add rounded separately. See vmath.h. */
#ifndef RT_SIMD_H
#define RT_SIMD_H

#define RT_ISA "float64"
#define RT_DOUBLE 1
#define LANES 2
typedef double real;
typedef double vf __attribute__((vector_size(16)));
typedef long long vi __attribute__((vector_size(16)));
#define REAL_MAX 1.7976931348623157e308
#include "simd_generic.h"
#endif
