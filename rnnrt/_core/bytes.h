/* Products of bytes, for LSTMs whose weights are quantised (com.microsoft.DynamicQuantizeLSTM). Include after vmath.h and panel.h.
 *
 * Activations are bytes a of 0..255 with one scale and zero point for all rows; weights are signed bytes w, each output's with a
 * scale and a zero point:
 *     out[r][v][u] = init[v][u] + scale scales[v][u] sum_k (a[r][k] - zero) (w[k][v][u] - zeros[v][u])
 * The sum is one of whole numbers and exact, so its bits depend on nothing:
 *     sum_k a w - zero sums[v][u] - zeros[v][u] sum_k a,   sums[v][u] = sum_k (w - zeros[v][u])
 * The caller guarantees: K <= RT_BYTES_MOST, rows <= BYTES_ROWS, and rows of a readable, zeros from K on, up to a multiple of 4.
 *
 * Activations are quantised as DynamicQuantizeLinear does it: scale = (high - low)/255, zero = round(-low/scale), where
 * low <= 0 <= high bound the numbers. Where one of them is not finite, scale is NaN, and so is all that is made with it. */
#ifndef RT_BYTES_H
#define RT_BYTES_H
#include <stdint.h>
#include <string.h>

#include "cpu.h"
#include "kernels.h"
#include "panel.h"

enum { BYTES_GATES = 4 };

typedef struct {
    real scale, zero;
} rt_byte_scale;

typedef struct {
    const uint8_t *a; /* rows, lda bytes apart */
    ptrdiff_t lda;
    const int32_t *row_sums; /* sum_k a of each row */
    rt_byte_scale scale;
    const rt_bytes *m;
    int block;
    const real *init; /* of a row: BYTES_GATES vectors, those of the next one ldinit further on */
    ptrdiff_t ldinit;
    real *out; /* [r][v][u] */
} rt_bytes_tile;

#ifdef RT_DOUBLE /* quantised layers are of single precision */
enum { BYTES_ROWS = 1 };
static inline int bytes_fast(void) { return 0; }
static inline void bytes_run(int fast, int rows, const rt_bytes_tile *t) { (void)fast, (void)rows, (void)t; }
static inline rt_byte_scale bytes_scale(const real *x, ptrdiff_t ld_outer, int n_outer, ptrdiff_t ld, int n_rows, int n) {
    (void)x, (void)ld_outer, (void)n_outer, (void)ld, (void)n_rows, (void)n;
    return (rt_byte_scale){1, 0};
}
static inline int32_t bytes_row(rt_byte_scale s, const real *x, int n, uint8_t *out) {
    return (void)s, (void)x, (void)n, (void)out, 0;
}
#else
#include "vfold.h"

static inline int32_t four_bytes(const uint8_t *a) {
    int32_t four;
    memcpy(&four, a, 4);
    return four;
}

/* Weights of a vector of outputs and four k, and the inputs that go with them, as v_dot wants them:
 *     v_dot(s, x, w) = s + sum over j < 4 of x[j] w[u][j] */
#ifdef __AVX512F__
enum { BYTES_ROWS = 6 };
#else
enum { BYTES_ROWS = 2 };
#endif

#if defined(__AVX512F__) || defined(__AVX2__) || defined(__SSE2__)
#if defined(__AVX512F__)
typedef __m512i v_bytes;
#define V_BYTES(name) _mm512_##name
#define V_BYTES_LOAD(p) _mm512_loadu_si512(p)
#elif defined(__AVX2__)
typedef __m256i v_bytes;
#define V_BYTES(name) _mm256_##name
#define V_BYTES_LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#else
typedef __m128i v_bytes;
#define V_BYTES(name) _mm_##name
#define V_BYTES_LOAD(p) _mm_loadu_si128((const __m128i *)(p))
#endif
/* Products of 16 bits by pairs: bytes 0 and 2, and bytes 1 and 3. */
typedef struct {
    v_bytes even, odd;
} v_quads;
static inline v_quads v_weights(const int8_t *w) {
    const v_bytes x = V_BYTES_LOAD(w);
    return (v_quads){V_BYTES(srai_epi16)(V_BYTES(slli_epi16)(x, 8), 8), V_BYTES(srai_epi16)(x, 8)};
}
static inline v_quads v_inputs(const uint8_t *a) {
    const int32_t four = four_bytes(a);
    return (v_quads){V_BYTES(set1_epi32)(four & 0xFF00FF), V_BYTES(set1_epi32)((four >> 8) & 0xFF00FF)};
}
static inline vi v_dot(vi s, v_quads x, v_quads w) {
    return s + ((vi)V_BYTES(madd_epi16)(x.even, w.even) + (vi)V_BYTES(madd_epi16)(x.odd, w.odd));
}
#else
typedef struct {
    vi part[4];
} v_quads;
static inline v_quads v_weights(const int8_t *w) {
    vi x;
    memcpy(&x, w, sizeof x);
    return (v_quads){{(x << 24) >> 24, (x << 16) >> 24, (x << 8) >> 24, x >> 24}};
}
static inline v_quads v_inputs(const uint8_t *a) {
    const vi zero = {0};
    return (v_quads){{zero + a[0], zero + a[1], zero + a[2], zero + a[3]}};
}
static inline vi v_dot(vi s, v_quads x, v_quads w) {
    for (int j = 0; j < 4; j++) s += x.part[j] * w.part[j];
    return s;
}
#endif
#define BYTES_TARGET
#define BYTES(name) plain_##name
#define V_QUADS v_quads
#define V_WEIGHTS v_weights
#define V_INPUTS v_inputs
#define V_DOT v_dot
#include "bytes_tile.h"

#if defined(__AVX512F__) /* four products in one instruction, where the processor has that */
#define BYTES_TARGET __attribute__((target("avx512vnni")))
#define BYTES(name) fast_##name
#define V_QUADS __m512i
#define V_WEIGHTS(w) _mm512_loadu_si512(w)
#define V_INPUTS(a) _mm512_set1_epi32(four_bytes(a))
#define V_DOT(s, x, w) (vi) _mm512_dpbusd_epi32((__m512i)(s), x, w)
#include "bytes_tile.h"
static inline int bytes_fast(void) { return rt_cpu_has("avx512vnni"); }
#else
#define fast_tiles plain_tiles
static inline int bytes_fast(void) { return 0; }
#endif

/* Run one tile; `fast` is what bytes_fast() says. */
static inline void bytes_run(int fast, int rows, const rt_bytes_tile *t) { (fast ? fast_tiles : plain_tiles)[rows](t); }

#define ROUNDING 0x1.8p23f /* adding it rounds to whole numbers, half to even, of which there are less than 2^22 */

/* The scale for the n numbers of each of n_outer times n_rows rows. */
static rt_byte_scale bytes_scale(const real *x, ptrdiff_t ld_outer, int n_outer, ptrdiff_t ld, int n_rows, int n) {
    vf low = v_set1(0), high = v_set1(0), infinite = v_set1(0);
    for (int i = 0; i < n_outer; i++)
        for (int r = 0; r < n_rows; r++) {
            const real *row = x + i * ld_outer + r * ld;
            for (int u = 0; u < n; u += LANES) {
                const vf at = u + LANES <= n ? v_load(row + u) : v_load_n(row + u, n - u);
                low = v_min(low, at), high = v_max(high, at), infinite = infinite + (at - at);
            }
        }
    if (v_any_nan(infinite)) return (rt_byte_scale){NAN, 0};
    const real least = v_low(low);
    rt_byte_scale s = {(v_top(high) - least) / 255, 0};
    if (s.scale == 0) s.scale = 1;
    s.zero = (-least / s.scale + ROUNDING) - ROUNDING;
    if (s.zero > 255) s.zero = 255;
    return s;
}

/* A row of n numbers as bytes, zeros up to a multiple of 4; room for a vector of bytes is needed past them. Returns their sum. */
static int32_t bytes_row(rt_byte_scale s, const real *x, int n, uint8_t *out) {
    const vf scale = v_set1(s.scale), zero = v_set1(s.zero), rounding = v_set1(ROUNDING);
    int32_t sum = 0;
    for (int u = 0; u < n; u += LANES) {
        const vf at = u + LANES <= n ? v_load(x + u) : v_load_n(x + u, n - u);
        vf q = v_clamp(((at / scale + rounding) - rounding) + zero, 0, 255);
        q = v_where((vi)(q == q), q, v_set1(0));
#ifdef __AVX512F__
        _mm_storeu_si128((__m128i *)(out + u), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(q)));
#else
        real each[LANES];
        v_store(each, q);
        for (int i = 0; i < LANES; i++) out[u + i] = (uint8_t)each[i];
#endif
    }
    memset(out + n, 0, (4 - n % 4) % 4);
    for (int u = 0; u < n; u++) sum += out[u];
    return sum;
}
#endif
#endif
