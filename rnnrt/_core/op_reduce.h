/* Reductions over axes: y[j] = finish(join over r of map(x[j, r])), float32.
 *
 * The axes of x are kept ones, whose outputs lie side by side in order, and reduced ones; strides are in elements. One axis
 * more is the one that vectors run along:
 *     REDUCE_ROWS     a reduced axis; lanes are partial results, in four registers, folded at the end
 *     REDUCE_COLUMNS  the last kept axis: each lane is an output of its own
 *     REDUCE_PAIRS    as columns, of which each is two neighbours (complex numbers)
 * A row of more than REDUCE_RUN elements is summed in halves, so that the error grows with the logarithm of its length.
 */
#ifndef RT_OP_REDUCE_H
#define RT_OP_REDUCE_H
#include "element_functions.h"
#include "ops.h"
#include "panel.h"
#include "vfold.h"

enum { REDUCE_ROWS, REDUCE_COLUMNS, REDUCE_PAIRS };
enum { RED_SUM, RED_ABS, RED_SQUARE, RED_MAX, RED_MIN, RED_PRODUCT, RED_EXP, RED_KINDS };
enum { FIN_NONE, FIN_DIVIDE, FIN_SQRT, FIN_LOG, FIN_FINITE, FIN_LOG_PLUS };
enum { REDUCE_AXES = 6, REDUCE_RUN = 4096 };

typedef struct {
    rt_ref x, y, shift; /* shift: as y, what RED_EXP subtracts and FIN_LOG_PLUS adds */
    int64_t form, kind, finish;
    double count; /* FIN_DIVIDE: by this */
    int64_t n, stride; /* the axis of vectors */
    int64_t n_kept, n_reduced;
    struct {
        int64_t size, x;
    } kept[REDUCE_AXES], reduced[REDUCE_AXES];
} rt_reduce;

RT_INLINE real red_unit(const int kind) {
    return kind == RED_MAX ? -INFINITY : kind == RED_MIN ? INFINITY : kind == RED_PRODUCT ? 1.0f : 0.0f;
}

RT_INLINE vf red_map(const int kind, vf x, vf shift) {
    if (kind == RED_ABS) return v_max(x, -x);
    if (kind == RED_SQUARE) return x * x;
    if (kind == RED_EXP) return v_exp(x - shift);
    return x;
}

RT_INLINE vf red_join(const int kind, vf a, vf b) {
    if (kind == RED_MAX) return v_larger(a, b);
    if (kind == RED_MIN) return v_smaller(a, b);
    if (kind == RED_PRODUCT) return a * b;
    return a + b;
}

RT_INLINE real red_fold(const int kind, vf x) {
    if (kind == RED_MAX) return v_top(x);
    if (kind == RED_MIN) return v_low(x);
    if (kind == RED_PRODUCT) return v_product(x);
    return v_sum(x);
}

static inline vf red_finish(const rt_reduce *s, vf x, const real *shift, int n) {
    switch (s->finish) {
    case FIN_DIVIDE: return x / v_set1((real)s->count);
    case FIN_SQRT: return ew_sqrt(x);
    case FIN_LOG: return ew_log(x);
    case FIN_FINITE: return v_where((vi)(x - x == v_set1(0)), x, v_set1(0));
    case FIN_LOG_PLUS: return ew_log(x) + v_load_n(shift, n);
    default: return x;
    }
}

/* The partial results of n elements of a row, in lanes. */
RT_INLINE vf red_row(const int kind, const real *x, ptrdiff_t n, ptrdiff_t stride, vf shift) {
    const vf unit = v_set1(red_unit(kind));
    vf acc[4] = {unit, unit, unit, unit};
    if (stride == 1) {
        for (; n >= 4 * LANES; n -= 4 * LANES, x += 4 * LANES) {
            RT_UNROLL
            for (int q = 0; q < 4; q++) acc[q] = red_join(kind, acc[q], red_map(kind, v_load(x + q * LANES), shift));
        }
        for (; n >= LANES; n -= LANES, x += LANES) acc[0] = red_join(kind, acc[0], red_map(kind, v_load(x), shift));
        if (n > 0) acc[1] = red_join(kind, acc[1], v_where(v_lanes((int)n), red_map(kind, v_load_n(x, (int)n), shift), unit));
    } else {
        for (; n > 0; n -= LANES, x += LANES * stride) {
            const int now = n < LANES ? (int)n : LANES;
            acc[0] = red_join(kind, acc[0], v_where(v_lanes(now), red_map(kind, v_load_every(x, stride, now), shift), unit));
        }
    }
    return red_join(kind, red_join(kind, acc[0], acc[1]), red_join(kind, acc[2], acc[3]));
}

typedef vf (*red_long)(const real *x, ptrdiff_t n, ptrdiff_t stride, vf shift);

/* As red_row, of any length; `halves` is this for the kind. */
RT_INLINE vf red_run(const int kind, red_long halves, const real *x, ptrdiff_t n, ptrdiff_t stride, vf shift) {
    return n > REDUCE_RUN ? halves(x, n, stride, shift) : red_row(kind, x, n, stride, shift);
}

/* clang-format off */
#define RED_LONG(kind) \
    static __attribute__((noinline)) vf red_long_##kind(const real *x, ptrdiff_t n, ptrdiff_t stride, vf shift) { \
        const ptrdiff_t half = n / 2 / LANES * LANES; \
        return red_join(kind, red_run(kind, red_long_##kind, x, half, stride, shift), \
                        red_run(kind, red_long_##kind, x + half * stride, n - half, stride, shift)); \
    }
RED_LONG(RED_SUM) RED_LONG(RED_ABS) RED_LONG(RED_SQUARE) RED_LONG(RED_MAX) RED_LONG(RED_MIN) RED_LONG(RED_PRODUCT) RED_LONG(RED_EXP)
/* clang-format on */

/* Moves on to the next index of the axes; returns 0 after the last one, with x back where it was. */
#define RED_NEXT(axes, n_axes, at, x) \
    ({ \
        int k_ = (int)(n_axes) - 1; \
        for (; k_ >= 0; k_--) { \
            (x) += (axes)[k_].x; \
            if (++(at)[k_] < (axes)[k_].size) break; \
            (x) -= (axes)[k_].x * (axes)[k_].size; \
            (at)[k_] = 0; \
        } \
        k_ >= 0; \
    })

    RT_INLINE void reduce_rows(const int kind, red_long halves, const rt_reduce *s, const real *x, real *y, const real *shift,
                               int64_t first, int64_t end) {
    int64_t at[REDUCE_AXES] = {0}, inner[REDUCE_AXES] = {0};
    for (int64_t j = 0; j < end; j++) {
        if (j >= first) {
            const vf from = kind == RED_EXP ? v_set1(shift[j]) : v_set1(0);
            vf acc = red_run(kind, halves, x, s->n, s->stride, from);
            while (s->n_reduced && RED_NEXT(s->reduced, s->n_reduced, inner, x))
                acc = red_join(kind, acc, red_run(kind, halves, x, s->n, s->stride, from));
            y[j] = red_fold(kind, acc);
        }
        RED_NEXT(s->kept, s->n_kept, at, x);
    }
    for (int64_t j = first; s->finish && j < end; j += LANES) {
        const int n = end - j < LANES ? (int)(end - j) : LANES;
        v_store_n(y + j, red_finish(s, v_load_n(y + j, n), shift + j, n), n);
    }
}

/* Up to 4 vectors of columns, n of them. */
RT_INLINE void reduce_column(const int kind, const rt_reduce *s, const real *x, int n, real *y, const real *shift) {
    int64_t at[REDUCE_AXES] = {0};
    const int last = (int)s->n_reduced - 1, n_vec = (n + LANES - 1) / LANES, tail = n - (n_vec - 1) * LANES;
    const int64_t n_rows = s->reduced[last].size, step = s->reduced[last].x;
    vf acc[4], from[4] = {v_set1(0), v_set1(0), v_set1(0), v_set1(0)};
    for (int v = 0; v < 4; v++) acc[v] = v_set1(red_unit(kind));
    if (kind == RED_EXP)
        for (int v = 0; v < n_vec; v++) from[v] = v_load_n(shift + v * LANES, v + 1 < n_vec ? LANES : tail);
    do {
        const real *p = x;
        if (n == 4 * LANES && s->stride == 1) {
            for (int64_t i = 0; i < n_rows; i++, p += step) {
                RT_UNROLL
                for (int v = 0; v < 4; v++) acc[v] = red_join(kind, acc[v], red_map(kind, v_load(p + v * LANES), from[v]));
            }
            continue;
        }
        for (int64_t i = 0; i < n_rows; i++, p += step) {
            for (int v = 0; v < n_vec; v++) {
                const int now = v + 1 < n_vec ? LANES : tail;
                const real *q = p + v * LANES * s->stride;
                const vf e = s->stride != 1 ? v_load_every(q, s->stride, now) : now == LANES ? v_load(q) : v_load_n(q, now);
                acc[v] = red_join(kind, acc[v], red_map(kind, e, from[v]));
            }
        }
    } while (RED_NEXT(s->reduced, last, at, x));
    for (int v = 0; v < n_vec; v++) {
        const int now = v + 1 < n_vec ? LANES : tail;
        v_store_n(y + v * LANES, red_finish(s, acc[v], shift + v * LANES, now), now);
    }
}

/* n columns of two neighbours each. */
RT_INLINE void reduce_pairs(const int kind, const rt_reduce *s, const real *x, int64_t n, real *y) {
    vf even, odd;
    for (; n >= LANES; n -= LANES, x += 2 * LANES, y += LANES) {
        even = v_even(v_load(x), v_load(x + LANES)), odd = v_odd(v_load(x), v_load(x + LANES));
        v_store(y, red_finish(s, red_join(kind, red_map(kind, even, even), red_map(kind, odd, odd)), y, LANES));
    }
    if (n <= 0) return;
    even = v_load_every(x, 2, (int)n);
    odd = v_load_every(x + 1, 2, (int)n);
    v_store_n(y, red_finish(s, red_join(kind, red_map(kind, even, even), red_map(kind, odd, odd)), y, (int)n), (int)n);
}

RT_INLINE void reduce_kind(const int kind, red_long halves, const rt_reduce *s, char *const *values, int part, int n_parts) {
    const real *x = RT_AT(const real, values, s->x), *shift = RT_AT(const real, values, s->shift);
    real *y = RT_AT(real, values, s->y);
    int64_t kept = 1, at[REDUCE_AXES] = {0}, item = 0;
    if (!shift) shift = y; /* as large, and not read */
    for (int k = 0; k < s->n_kept; k++) kept *= s->kept[k].size;
    if (s->form == REDUCE_ROWS) {
        reduce_rows(kind, halves, s, x, y, shift, kept * part / n_parts, kept * (part + 1) / n_parts);
        return;
    }
    const int64_t run = s->form == REDUCE_PAIRS ? 64 * LANES : 4 * LANES, n_runs = (s->n + run - 1) / run, total = kept * n_runs;
    const int64_t first = total * part / n_parts, end = total * (part + 1) / n_parts;
    do {
        for (int64_t i = 0; i < s->n; i += run, item++) {
            const int64_t n = s->n - i < run ? s->n - i : run;
            if (item < first || item >= end) continue;
            if (s->form == REDUCE_PAIRS && kind != RED_EXP)
                reduce_pairs(kind, s, x + 2 * i, n, y + i);
            else
                reduce_column(kind, s, x + i * s->stride, (int)n, y + i, shift + i);
        }
        y += s->n;
        shift += s->n;
    } while (RED_NEXT(s->kept, s->n_kept, at, x));
}

static int op_reduce(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_reduce *s = (const rt_reduce *)words;
    switch (s->kind) {
    case RED_SUM: reduce_kind(RED_SUM, red_long_RED_SUM, s, values, part, n_parts); break;
    case RED_ABS: reduce_kind(RED_ABS, red_long_RED_ABS, s, values, part, n_parts); break;
    case RED_SQUARE: reduce_kind(RED_SQUARE, red_long_RED_SQUARE, s, values, part, n_parts); break;
    case RED_MAX: reduce_kind(RED_MAX, red_long_RED_MAX, s, values, part, n_parts); break;
    case RED_MIN: reduce_kind(RED_MIN, red_long_RED_MIN, s, values, part, n_parts); break;
    case RED_PRODUCT: reduce_kind(RED_PRODUCT, red_long_RED_PRODUCT, s, values, part, n_parts); break;
    default: reduce_kind(RED_EXP, red_long_RED_EXP, s, values, part, n_parts);
    }
    return RT_OK;
}

/* The least and the largest of n elements side by side: a run at a time, which the cache has when it is read again. */
typedef struct {
    rt_ref x, low, high;
    int64_t n;
} rt_extremes;

static int op_extremes(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_extremes *s = (const rt_extremes *)words;
    const real *x = RT_AT(const real, values, s->x);
    vf low = v_set1(red_unit(RED_MIN)), high = v_set1(red_unit(RED_MAX));
    (void)part, (void)n_parts;
    for (int64_t i = 0; i < s->n; i += REDUCE_RUN) {
        const int64_t n = s->n - i < REDUCE_RUN ? s->n - i : REDUCE_RUN;
        low = red_join(RED_MIN, low, red_row(RED_MIN, x + i, n, 1, v_set1(0)));
        high = red_join(RED_MAX, high, red_row(RED_MAX, x + i, n, 1, v_set1(0)));
    }
    *RT_AT(real, values, s->low) = red_fold(RED_MIN, low);
    *RT_AT(real, values, s->high) = red_fold(RED_MAX, high);
    return RT_OK;
}
#endif
