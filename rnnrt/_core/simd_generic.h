/* The vector words over GNU C's vector types: what the compiler makes of them is up to the target. Include from simd_*.h. */
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define TILE_ROWS {0, 8, 6, 4, 3}
#define RT_FETCHES 0 /* two instructions for a product of so few lanes take longer than weights do to come */
#define V_FUSED 0
#if defined(__SSE2__)
#define V_KEEP(x) __asm__("" : "+x"(x))
#else
#define V_KEEP(x) (void)0
#endif

static inline vf v_load(const real *p) {
    vf x;
    memcpy(&x, p, sizeof x);
    return x;
}
static inline void v_store(real *p, vf x) { memcpy(p, &x, sizeof x); }
static inline vf v_load_n(const real *p, int n) {
    vf x = {0};
    for (int u = 0; u < n; u++) x[u] = p[u];
    return x;
}
static inline void v_store_n(real *p, vf x, int n) {
    for (int u = 0; u < n; u++) p[u] = x[u];
}
static inline vf v_set1(real x) { return (vf){0} + x; }
static inline int v_any_nan(vf x) {
    int any = 0;
    for (int u = 0; u < LANES; u++) any |= x[u] != x[u];
    return any;
}
static inline vf v_where(vi m, vf a, vf b) { return (vf)((m & (vi)a) | (~m & (vi)b)); }
#if defined(__SSE2__) && defined(RT_DOUBLE)
static inline vf v_min(vf a, vf b) { return _mm_min_pd(a, b); }
static inline vf v_max(vf a, vf b) { return _mm_max_pd(a, b); }
#elif defined(__SSE2__)
static inline vf v_min(vf a, vf b) { return _mm_min_ps(a, b); }
static inline vf v_max(vf a, vf b) { return _mm_max_ps(a, b); }
#else
static inline vf v_min(vf a, vf b) { return v_where((vi)(a < b), a, b); }
static inline vf v_max(vf a, vf b) { return v_where((vi)(a > b), a, b); }
#endif
/* A fused multiply-add has no product that overflows: finite a and b and an infinite c give c. Here the product would be
 * infinite too, and inf - inf a NaN of finite input; so where the sum is NaN, it is taken with the product kept finite. */
static inline vf v_fma(vf a, vf b, vf c) {
    vf product = a * b, sum = product + c;
    vf bounded = v_min(v_set1(REAL_MAX), v_max(v_set1(-REAL_MAX), product)) + c;
    return v_where((vi)(sum == sum), sum, bounded);
}
