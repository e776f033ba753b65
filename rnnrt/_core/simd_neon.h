/* Vector words for AArch64 NEON: a register of 4 floats. What each word means is said in vmath.h. */
#ifndef RT_SIMD_H
#define RT_SIMD_H
#if !defined(__aarch64__) || !defined(__ARM_NEON)
#error "simd_neon.h: compile for AArch64"
#endif
#include <arm_neon.h>

#define RT_ISA "neon"
#define LANES 4
typedef float real;
typedef float32x4_t vf;
typedef int vi __attribute__((vector_size(16)));

/* Rows of a tile by vectors of a panel: accumulators, one row of weights and one broadcast fit 32 registers. */
#define TILE_ROWS {0, 8, 8, 8, 6}

#define V_KEEP(x) __asm__("" : "+w"(x))

static inline vf v_load(const real *p) { return vld1q_f32(p); }
static inline void v_store(real *p, vf x) { vst1q_f32(p, x); }
static inline vf v_load_n(const real *p, int n) {
    real t[LANES] = {0};
    for (int u = 0; u < n; u++) t[u] = p[u];
    return vld1q_f32(t);
}
static inline void v_store_n(real *p, vf x, int n) {
    real t[LANES];
    vst1q_f32(t, x);
    for (int u = 0; u < n; u++) p[u] = t[u];
}
static inline vf v_set1(real x) { return vdupq_n_f32(x); }
static inline vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
static inline vf v_min(vf a, vf b) { return vminq_f32(a, b); }
static inline vf v_max(vf a, vf b) { return vmaxq_f32(a, b); }
static inline int v_any_nan(vf x) { return vminvq_u32(vceqq_f32(x, x)) == 0; }
static inline vf v_where(vi m, vf a, vf b) { return vbslq_f32((uint32x4_t)m, a, b); }
#endif
