/* Vector words for AVX-512 (F, BW, DQ, VL): a register of 16 floats. What each word means is said in vmath.h. */
#ifndef RT_SIMD_H
#define RT_SIMD_H
#if !defined(__AVX512F__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__) || !defined(__AVX512BW__)
#error "simd_avx512.h: compile with -mavx512f -mavx512dq -mavx512vl -mavx512bw -mfma"
#endif
#include <immintrin.h>

#define RT_ISA "avx512"
#define LANES 16
typedef float real;
typedef __m512 vf;
typedef int vi __attribute__((vector_size(64)));

/* Rows of a tile by vectors of a panel: accumulators, one row of weights and one broadcast fit 32 registers. */
#define TILE_ROWS {0, 8, 8, 8, 6}
#define RT_UNROLLED_ROWS 4
#define RT_GROUP_TERMS 4
#define RT_STREAMS 1

#define V_KEEP(x) __asm__("" : "+v"(x))

static inline vf v_load(const real *p) { return _mm512_loadu_ps(p); }
static inline void v_store(real *p, vf x) { _mm512_storeu_ps(p, x); }
static inline void v_stream(real *p, vf x) { _mm512_stream_ps(p, x); }
static inline vf v_load_n(const real *p, int n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
static inline void v_store_n(real *p, vf x, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), x); }
static inline vf v_set1(real x) { return _mm512_set1_ps(x); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
static inline vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static inline int v_any_nan(vf x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q) != 0; }
static inline vf v_where(vi m, vf a, vf b) { return _mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)m), b, a); }
#endif
