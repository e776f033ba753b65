/* Rows divided by what they sum up to: normalisations, softmax; and the affine map of each channel.
 *
 *     op_norm      y = (x - m) / sqrt(v + epsilon) * scale + bias     m, v: mean and variance of a row (NORM_MEAN),
 *                                                                      or m = 0 and v its mean square
 *     op_lp        y = x / |x|                                         |x| = sum |x| or sqrt(sum x^2); 0 where |x| = 0
 *     op_softmax   y = e^(x - m) / s, or x - m - log s                 m = max x, s = sum e^(x - m)
 *     op_affine    y = (x - mean) * factor + bias                      one number each a channel
 *
 * op_norm's x and y are (rows, n), contiguous. scale and bias (NULL: 1 and 0) have n numbers for each of `period` rows, or,
 * if the row consists of `segments` runs of channels, one number a run.
 * op_lp and op_softmax go along an axis of n elements, `inner` apart; x and y are (outer, n, inner), contiguous. With
 * inner > 1 a vector holds neighbouring columns.
 * The variance is the mean of squared differences from the mean: two passes, as in the NumPy tier.
 */
#ifndef RT_OP_NORM_H
#define RT_OP_NORM_H
#include "element_functions.h"
#include "op_activate.h"
#include "op_reduce.h"

enum { NORM_MEAN = 1 };

typedef struct {
    rt_ref x, y, scale, bias;
    int64_t rows, n, flags, segments, period;
    double epsilon;
    int64_t activation;
    double alpha, beta;
} rt_norm;

enum { NORM_ROWS = 4 }; /* rows taken together, so that their chains of sums and roots overlap */

static vf norm_long_squares(const real *x, ptrdiff_t n, vf m);

/* Lanes of sum (x - m)^2. */
RT_INLINE vf norm_squares(const real *x, ptrdiff_t n, vf m) {
    vf acc[4] = {v_set1(0), v_set1(0), v_set1(0), v_set1(0)};
    if (n > REDUCE_RUN) return norm_long_squares(x, n, m);
    for (; n >= 4 * LANES; n -= 4 * LANES, x += 4 * LANES) {
        RT_UNROLL
        for (int q = 0; q < 4; q++) {
            const vf d = v_load(x + q * LANES) - m;
            acc[q] = v_fma(d, d, acc[q]);
        }
    }
    for (; n >= LANES; n -= LANES, x += LANES) {
        const vf d = v_load(x) - m;
        acc[0] = v_fma(d, d, acc[0]);
    }
    if (n > 0) {
        const vf d = v_where(v_lanes((int)n), v_load_n(x, (int)n) - m, v_set1(0));
        acc[1] = v_fma(d, d, acc[1]);
    }
    return (acc[0] + acc[1]) + (acc[2] + acc[3]);
}

static __attribute__((noinline)) vf norm_long_squares(const real *x, ptrdiff_t n, vf m) {
    const ptrdiff_t half = n / 2 / LANES * LANES;
    return norm_squares(x, half, m) + norm_squares(x + half, n - half, m);
}

/* y = ((x - m) * r) * a + b over n elements, a and b vectors (NULL: 1 and 0) or one number each. */
RT_INLINE void norm_vectors(const real *x, real *y, ptrdiff_t n, vf m, vf r, const real *a, const real *b) {
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf d = (v_load(x + i) - m) * r;
        if (a) d = d * v_load(a + i);
        if (b) d = d + v_load(b + i);
        v_store(y + i, d);
    }
    if (i < n) {
        const int left = (int)(n - i);
        vf d = (v_load_n(x + i, left) - m) * r;
        if (a) d = d * v_load_n(a + i, left);
        if (b) d = d + v_load_n(b + i, left);
        v_store_n(y + i, d, left);
    }
}

RT_INLINE void norm_numbers(const real *x, real *y, ptrdiff_t n, vf m, vf r, vf a, vf b) {
    for (; n >= LANES; n -= LANES, x += LANES, y += LANES) v_store(y, (v_load(x) - m) * r * a + b);
    if (n > 0) v_store_n(y, (v_load_n(x, (int)n) - m) * r * a + b, (int)n);
}

/* Row k of a period. */
RT_INLINE void norm_row(const rt_norm *s, const real *x, real *y, vf m, vf r, const real *scale, const real *bias, int64_t k) {
    const int64_t n = s->n;
    if (!s->segments) {
        norm_vectors(x, y, n, m, r, scale ? scale + k * n : NULL, bias ? bias + k * n : NULL);
    } else {
        const int64_t run = n / s->segments;
        for (int64_t c = 0; c < s->segments; c++) {
            const vf a = v_set1(scale ? scale[k * s->segments + c] : 1), b = v_set1(bias ? bias[k * s->segments + c] : 0);
            norm_numbers(x + c * run, y + c * run, run, m, r, a, b);
        }
    }
    if (s->activation >= 0) activate_row(s->activation, s->alpha, s->beta, y, n);
}

static int op_norm(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_norm *s = (const rt_norm *)words;
    const real *scale = RT_AT(const real, values, s->scale), *bias = RT_AT(const real, values, s->bias);
    const int64_t n = s->n, first = s->rows * part / n_parts, end = s->rows * (part + 1) / n_parts;
    const real *x = RT_AT(const real, values, s->x) + first * n;
    real *y = RT_AT(real, values, s->y) + first * n;
    for (int64_t row = first; row < end; row += NORM_ROWS) {
        const int now = end - row < NORM_ROWS ? (int)(end - row) : NORM_ROWS;
        real mean[NORM_ROWS] = {0}, factor[NORM_ROWS];
        for (int r = 0; r < now && s->flags & NORM_MEAN; r++)
            mean[r] = v_sum(red_run(RED_SUM, red_long_RED_SUM, x + r * n, n, 1, v_set1(0))) / (real)n;
        for (int r = 0; r < now; r++) {
            const real spread = v_sum(norm_squares(x + r * n, n, v_set1(mean[r]))) / (real)n;
            factor[r] = 1.0f / sqrtf(spread + (real)s->epsilon);
        }
        for (int r = 0; r < now; r++, x += n, y += n) {
            const int64_t k = s->period == 1 ? 0 : (row + r) % s->period;
            norm_row(s, x, y, v_set1(mean[r]), v_set1(factor[r]), scale, bias, k);
        }
    }
    return RT_OK;
}

typedef struct {
    rt_ref x, y, mean, factor, bias;
    int64_t outer, channels, inner, activation;
    double alpha, beta;
} rt_affine;

static int op_affine(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_affine *s = (const rt_affine *)words;
    const real *mean = RT_AT(const real, values, s->mean), *factor = RT_AT(const real, values, s->factor);
    const real *bias = RT_AT(const real, values, s->bias);
    const int64_t rows = s->inner == 1 ? s->outer : s->outer * s->channels, n = s->inner == 1 ? s->channels : s->inner;
    const int64_t first = rows * part / n_parts, end = rows * (part + 1) / n_parts;
    const real *x = RT_AT(const real, values, s->x) + first * n;
    real *y = RT_AT(real, values, s->y) + first * n;
    for (int64_t row = first, c = s->inner == 1 ? 0 : first % s->channels; row < end; row++, x += n, y += n) {
        if (s->inner == 1) {
            ptrdiff_t i = 0;
            for (; i + LANES <= n; i += LANES)
                v_store(y + i, (v_load(x + i) - v_load(mean + i)) * v_load(factor + i) + v_load(bias + i));
            if (i < n) {
                const int left = (int)(n - i);
                const vf d = v_load_n(x + i, left) - v_load_n(mean + i, left);
                v_store_n(y + i, d * v_load_n(factor + i, left) + v_load_n(bias + i, left), left);
            }
        } else {
            norm_numbers(x, y, n, v_set1(mean[c]), v_set1(1), v_set1(factor[c]), v_set1(bias[c]));
            if (++c == s->channels) c = 0;
        }
        if (s->activation >= 0) activate_row(s->activation, s->alpha, s->beta, y, n);
    }
    return RT_OK;
}

typedef struct {
    rt_ref x, y;
    int64_t outer, n, inner, kind; /* op_softmax: whether the logarithm; op_lp: p */
} rt_along;

/* One row: the sum of e^(x - m), which y takes unless only the sum is wanted. */
RT_INLINE real softmax_sum(const real *x, real *y, ptrdiff_t n, vf m, const int keep) {
    vf sum = v_set1(0);
    for (; n >= LANES; n -= LANES, x += LANES, y += LANES) {
        const vf e = v_exp(v_load(x) - m);
        if (keep) v_store(y, e);
        sum = sum + e;
    }
    if (n > 0) {
        const vf e = v_exp(v_load_n(x, (int)n) - m);
        if (keep) v_store_n(y, e, (int)n);
        sum = sum + v_where(v_lanes((int)n), e, v_set1(0));
    }
    return v_sum(sum);
}

/* The maximum of a row; a NaN may be lost, as e^(x - m) finds it. */
RT_INLINE real softmax_peak(const real *x, ptrdiff_t n) {
    vf top = v_set1(-INFINITY);
    for (; n >= LANES; n -= LANES, x += LANES) top = v_max(top, v_load(x));
    if (n > 0) top = v_max(top, v_where(v_lanes((int)n), v_load_n(x, (int)n), v_set1(-INFINITY)));
    return v_peak(top);
}

static void softmax_rows(const real *x, real *y, ptrdiff_t n, int rows, int logarithm) {
    real peak[NORM_ROWS], sum[NORM_ROWS];
    for (int r = 0; r < rows; r++) peak[r] = softmax_peak(x + r * n, n);
    if (logarithm) {
        for (int r = 0; r < rows; r++) sum[r] = softmax_sum(x + r * n, y + r * n, n, v_set1(peak[r]), 0);
        for (int r = 0; r < rows; r++) {
            norm_vectors(x + r * n, y + r * n, n, v_set1(peak[r]), v_set1(1), NULL, NULL);
            norm_vectors(y + r * n, y + r * n, n, v_set1(logf(sum[r])), v_set1(1), NULL, NULL);
        }
        return;
    }
    for (int r = 0; r < rows; r++) sum[r] = 1.0f / softmax_sum(x + r * n, y + r * n, n, v_set1(peak[r]), 1);
    for (int r = 0; r < rows; r++) norm_vectors(y + r * n, y + r * n, n, v_set1(0), v_set1(sum[r]), NULL, NULL);
}

/* Up to LANES columns, `inner` apart along the axis. */
static void softmax_columns(const real *x, real *y, ptrdiff_t n, ptrdiff_t inner, int columns, int logarithm) {
    vf m = v_set1(-INFINITY), sum = v_set1(0);
    for (ptrdiff_t i = 0; i < n; i++) m = v_max(m, v_load_n(x + i * inner, columns));
    for (ptrdiff_t i = 0; i < n; i++) {
        const vf d = v_load_n(x + i * inner, columns) - m, e = v_exp(d);
        sum = sum + e;
        v_store_n(y + i * inner, logarithm ? d : e, columns);
    }
    const vf log_sum = logarithm ? ew_log(sum) : v_set1(0), factor = logarithm ? v_set1(1) : (vf)(v_set1(1) / sum);
    for (ptrdiff_t i = 0; i < n; i++) v_store_n(y + i * inner, (v_load_n(y + i * inner, columns) - log_sum) * factor, columns);
}

static void lp_rows(const real *x, real *y, ptrdiff_t n, int rows, int p) {
    const vf zero = v_set1(0);
    for (; rows > 0; rows--, x += n, y += n) {
        const vf lanes =
            p == 1 ? red_run(RED_ABS, red_long_RED_ABS, x, n, 1, zero) : red_run(RED_SQUARE, red_long_RED_SQUARE, x, n, 1, zero);
        const vf norm = v_set1(p == 1 ? v_sum(lanes) : sqrtf(v_sum(lanes)));
        const vi none = (vi)(norm == zero);
        ptrdiff_t i = 0;
        for (; i + LANES <= n; i += LANES) v_store(y + i, v_where(none, zero, v_load(x + i) / norm));
        if (i < n) v_store_n(y + i, v_where(none, zero, v_load_n(x + i, (int)(n - i)) / norm), (int)(n - i));
    }
}

static void lp_columns(const real *x, real *y, ptrdiff_t n, ptrdiff_t inner, int columns, int p) {
    const vf zero = v_set1(0);
    vf norm = zero;
    for (ptrdiff_t i = 0; i < n; i++) {
        const vf e = v_load_n(x + i * inner, columns);
        norm = norm + (p == 1 ? v_max(e, -e) : (vf)(e * e));
    }
    if (p == 2) norm = ew_sqrt(norm);
    for (ptrdiff_t i = 0; i < n; i++)
        v_store_n(y + i * inner, v_where((vi)(norm == zero), zero, v_load_n(x + i * inner, columns) / norm), columns);
}

RT_INLINE int run_along(void (*along_rows)(const real *, real *, ptrdiff_t, int, int),
                        void (*along_columns)(const real *, real *, ptrdiff_t, ptrdiff_t, int, int), const int64_t *words,
                        char *const *values, int part, int n_parts) {
    const rt_along *s = (const rt_along *)words;
    const int64_t n = s->n, inner = s->inner, runs = (inner + LANES - 1) / LANES, total = s->outer * runs;
    const int64_t first = total * part / n_parts, end = total * (part + 1) / n_parts;
    const real *x = RT_AT(const real, values, s->x);
    real *y = RT_AT(real, values, s->y);
    if (inner == 1) {
        for (int64_t row = first; row < end; row += NORM_ROWS)
            along_rows(x + row * n, y + row * n, n, end - row < NORM_ROWS ? (int)(end - row) : NORM_ROWS, (int)s->kind);
        return RT_OK;
    }
    for (int64_t item = first; item < end; item++) {
        const int64_t column = item % runs * LANES, at = item / runs * n * inner + column;
        along_columns(x + at, y + at, n, inner, inner - column < LANES ? (int)(inner - column) : LANES, (int)s->kind);
    }
    return RT_OK;
}

static int op_softmax(const int64_t *words, char *const *values, int part, int n_parts) {
    return run_along(softmax_rows, softmax_columns, words, values, part, n_parts);
}

static int op_lp(const int64_t *words, char *const *values, int part, int n_parts) {
    return run_along(lp_rows, lp_columns, words, values, part, n_parts);
}
#endif
