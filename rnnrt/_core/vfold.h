/* Vector words for reductions, made of those of vmath.h: lanes folded to one number, partial and strided loads.
 *   v_sum v_top v_low v_product   of all lanes; v_top and v_low are NaN where a lane is; v_peak: as v_top, NaN or not
 *   v_larger v_smaller            of two vectors, NaN where either is (v_max and v_min lose a NaN bound)
 *   v_lanes(n)                    all ones in the first n lanes
 *   v_load_every(p, s, n)         p[0], p[s], ... p[(n - 1) s], zeros in the other lanes
 *   v_even v_odd                  every second lane of two vectors side by side, from the first or the second on
 *   v_zip_low v_zip_high          the lower, and the higher, halves of two vectors by turns
 * Lanes fold by halves: lane u and u + LANES / 2 first.
 */
#ifndef RT_VFOLD_H
#define RT_VFOLD_H
#include <stddef.h>
#include <string.h>

#define V_FOLD(name, join) \
    static inline real name(vf x) { \
        real t[LANES]; \
        v_store(t, x); \
        for (int w = LANES / 2; w >= 1; w /= 2) \
            for (int u = 0; u < w; u++) t[u] = join(t[u], t[u + w]); \
        return t[0]; \
    }
#define V_ADD1(a, b) ((a) + (b))
#define V_MUL1(a, b) ((a) * (b))
#define V_TOP1(a, b) ((a) > (b) || (a) != (a) ? (a) : (b))
#define V_LOW1(a, b) ((a) < (b) || (a) != (a) ? (a) : (b))
#if defined(__AVX512F__)
static inline real v_sum(vf x) { return _mm512_reduce_add_ps(x); }
static inline real v_peak(vf x) { return _mm512_reduce_max_ps(x); }
static inline real v_top(vf x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q) ? NAN : v_peak(x); }
static inline real v_low(vf x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q) ? NAN : _mm512_reduce_min_ps(x); }
#elif defined(__AVX2__)
#define V_FOLD8(join) \
    __m128 t = join(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1)); \
    t = join(t, _mm_movehl_ps(t, t)); \
    return _mm_cvtss_f32(join(t, _mm_shuffle_ps(t, t, 1)))
static inline real v_sum(vf x) { V_FOLD8(_mm_add_ps); }
static inline real v_peak(vf x) { V_FOLD8(_mm_max_ps); }
static inline real fold_low(vf x) { V_FOLD8(_mm_min_ps); }
static inline int any_nan(vf x) { return _mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)); }
static inline real v_top(vf x) { return any_nan(x) ? NAN : v_peak(x); }
static inline real v_low(vf x) { return any_nan(x) ? NAN : fold_low(x); }
#else
V_FOLD(v_sum, V_ADD1)
V_FOLD(v_top, V_TOP1)
V_FOLD(v_low, V_LOW1)
static inline real v_peak(vf x) { return v_top(x); }
#endif
V_FOLD(v_product, V_MUL1)

static inline vf v_larger(vf a, vf b) { return v_where((vi)(a != a), a, v_max(a, b)); }
static inline vf v_smaller(vf a, vf b) { return v_where((vi)(a != a), a, v_min(a, b)); }

static inline vi v_lanes(int n) {
    static const int ones[2 * 16] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    vi mask;
    memcpy(&mask, ones + 16 - n, sizeof mask);
    return mask;
}

static inline vf v_load_every(const real *p, ptrdiff_t stride, int n) {
#if defined(__AVX512F__)
    const __m512i u = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    if (n == LANES && stride < 1 << 24 && stride > -(1 << 24))
        return _mm512_i32gather_ps(_mm512_mullo_epi32(u, _mm512_set1_epi32((int)stride)), p, 4);
#endif
    real t[LANES] = {0};
    for (int u = 0; u < n; u++) t[u] = p[u * stride];
    return v_load(t);
}

#ifdef __clang__
#define V_PICK(a, b, ...) (vf) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define V_PICK(a, b, ...) (vf) __builtin_shuffle(a, b, (vi){__VA_ARGS__})
#endif
#if LANES == 16
#define V_UPWARD(of) \
    of(0), of(1), of(2), of(3), of(4), of(5), of(6), of(7), of(8), of(9), of(10), of(11), of(12), of(13), of(14), of(15)
#elif LANES == 8
#define V_UPWARD(of) of(0), of(1), of(2), of(3), of(4), of(5), of(6), of(7)
#else
#define V_UPWARD(of) of(0), of(1), of(2), of(3)
#endif
#define V_EVEN(u) 2 * (u)
#define V_ODD(u) 2 * (u) + 1
#define V_ZIP(u) (u) / 2 + (u) % 2 * LANES
#define V_ZIP_HIGH(u) V_ZIP(u) + LANES / 2

static inline vf v_even(vf a, vf b) { return V_PICK(a, b, V_UPWARD(V_EVEN)); }
static inline vf v_odd(vf a, vf b) { return V_PICK(a, b, V_UPWARD(V_ODD)); }
static inline vf v_zip_low(vf a, vf b) { return V_PICK(a, b, V_UPWARD(V_ZIP)); }
static inline vf v_zip_high(vf a, vf b) { return V_PICK(a, b, V_UPWARD(V_ZIP_HIGH)); }

/* Eight rows of LANES numbers turned, in their place: [8][LANES] becomes [LANES][8]. Each of three rounds zips the first half with
 * the second one. */
RT_INLINE void v_turn8(vf *x) {
    RT_UNROLL
    for (int round = 0; round < 3; round++) {
        vf y[8];
        RT_UNROLL
        for (int k = 0; k < 4; k++) y[2 * k] = v_zip_low(x[k], x[k + 4]), y[2 * k + 1] = v_zip_high(x[k], x[k + 4]);
        RT_UNROLL
        for (int k = 0; k < 8; k++) x[k] = y[k];
    }
}
#endif
