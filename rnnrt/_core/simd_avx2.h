/* Vector words for AVX2 with FMA: a register of 8 floats. What each word means is said in vmath.h. */
#ifndef RT_SIMD_H
#define RT_SIMD_H
#if !defined(__AVX2__) || !defined(__FMA__) || defined(__AVX512F__)
#error "simd_avx2.h: compile with -mavx2 -mfma, and without AVX-512"
#endif
#include <immintrin.h>

#define RT_ISA "avx2"
#define LANES 8
typedef float real;
typedef __m256 vf;
typedef int vi __attribute__((vector_size(32)));

/* Rows of a tile by vectors of a panel: accumulators, broadcasts and one weight vector fit 16 registers. */
#define TILE_ROWS {0, 8, 6, 4, 3}
/* Loops of such low tiles take few instructions, of which those of the loop itself tell. */
#define RT_UNROLLED_ROWS 1
#define RT_GROUP_TERMS 8

static inline __m256i v_first(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
#define V_KEEP(x) __asm__("" : "+x"(x))

static inline vf v_load(const real *p) { return _mm256_loadu_ps(p); }
static inline void v_store(real *p, vf x) { _mm256_storeu_ps(p, x); }
static inline vf v_load_n(const real *p, int n) { return _mm256_maskload_ps(p, v_first(n)); }
static inline void v_store_n(real *p, vf x, int n) { _mm256_maskstore_ps(p, v_first(n), x); }
static inline vf v_set1(real x) { return _mm256_set1_ps(x); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
static inline vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
static inline vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
static inline int v_any_nan(vf x) { return _mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)) != 0; }
static inline vf v_where(vi m, vf a, vf b) { return _mm256_blendv_ps(b, a, (vf)m); }
#endif
