/* Along one axis, in order: running sums and products, the place of an extremum; and reductions of integers.
 *
 * x and y are (outer, n, inner), contiguous; y of op_arg and op_reduce_int is (outer, inner). Integers wrap as in C with
 * unsigned arithmetic. NaN counts as the extremum; the first one found stays (SCAN_LAST: the last).
 */
#ifndef RT_OP_SCAN_H
#define RT_OP_SCAN_H
#include "ops.h"
#include "vfold.h"

enum { SCAN_FLOAT, SCAN_INT32, SCAN_INT64 };
enum { SCAN_REVERSE = 1, SCAN_EXCLUSIVE = 2, SCAN_PRODUCT = 4 }; /* op_cumulate */
enum { SCAN_LAST = 1, SCAN_LEAST = 2 }; /* op_arg */
enum { INT_SUM, INT_ABS, INT_SQUARE, INT_MAX_, INT_MIN_, INT_PRODUCT };

typedef struct {
    rt_ref x, y;
    int64_t outer, n, inner, element, flags; /* flags of op_reduce_int: INT_* */
} rt_scan;

#define SCAN_CUMULATE(type, sum_type) \
    static void cumulate_##type(const rt_scan *s, const type *x, type *y, int64_t first, int64_t end) { \
        const int product = (s->flags & SCAN_PRODUCT) != 0; \
        const int64_t n = s->n, inner = s->inner, step = s->flags & SCAN_REVERSE ? -inner : inner; \
        const int64_t begin = s->flags & SCAN_REVERSE ? (n - 1) * inner : 0; \
        for (int64_t o = first; o < end; o++) { \
            const type *from = x + o * n * inner + begin; \
            type *to = y + o * n * inner + begin; \
            int64_t i = 0; \
            if (s->flags & SCAN_EXCLUSIVE) { \
                for (int64_t j = 0; j < inner; j++) to[j] = (type)product; \
            } else { \
                for (int64_t j = 0; j < inner; j++) to[j] = from[j]; \
                from += step; \
            } \
            for (i = 1, to += step; i < n; i++, from += step, to += step) { \
                const type *before = to - step; \
                if (product) \
                    for (int64_t j = 0; j < inner; j++) to[j] = (type)((sum_type)before[j] * (sum_type)from[j]); \
                else \
                    for (int64_t j = 0; j < inner; j++) to[j] = (type)((sum_type)before[j] + (sum_type)from[j]); \
            } \
        } \
    }
SCAN_CUMULATE(float, float)
SCAN_CUMULATE(int32_t, uint32_t)
SCAN_CUMULATE(int64_t, uint64_t)

static int op_cumulate(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_scan *s = (const rt_scan *)words;
    const int64_t first = s->outer * part / n_parts, end = s->outer * (part + 1) / n_parts;
    switch (s->element) {
    case SCAN_FLOAT: cumulate_float(s, RT_AT(const float, values, s->x), RT_AT(float, values, s->y), first, end); break;
    case SCAN_INT32: cumulate_int32_t(s, RT_AT(const int32_t, values, s->x), RT_AT(int32_t, values, s->y), first, end); break;
    default: cumulate_int64_t(s, RT_AT(const int64_t, values, s->x), RT_AT(int64_t, values, s->y), first, end);
    }
    return RT_OK;
}

#define SCAN_ARG(type) \
    static void arg_##type(const rt_scan *s, const type *x, int64_t *y, int64_t first, int64_t end) { \
        const int last = (s->flags & SCAN_LAST) != 0, least = (s->flags & SCAN_LEAST) != 0; \
        for (int64_t item = first; item < end; item++) { \
            const type *p = x + item / s->inner * s->n * s->inner + item % s->inner; \
            type best = *p; \
            int64_t at = 0; \
            for (int64_t i = 1; i < s->n; i++) { \
                const type e = p[i * s->inner]; \
                const int beyond = least ? e < best : e > best; \
                if (beyond || (e != e && best == best) || (last && (e == best || e != e))) best = e, at = i; \
            } \
            y[item] = at; \
        } \
    }
SCAN_ARG(float)
SCAN_ARG(int32_t)
SCAN_ARG(int64_t)

static int op_arg(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_scan *s = (const rt_scan *)words;
    const int64_t total = s->outer * s->inner, first = total * part / n_parts, end = total * (part + 1) / n_parts;
    int64_t *y = RT_AT(int64_t, values, s->y);
    switch (s->element) {
    case SCAN_FLOAT: arg_float(s, RT_AT(const float, values, s->x), y, first, end); break;
    case SCAN_INT32: arg_int32_t(s, RT_AT(const int32_t, values, s->x), y, first, end); break;
    default: arg_int64_t(s, RT_AT(const int64_t, values, s->x), y, first, end);
    }
    return RT_OK;
}

#define SCAN_INT(type, utype) \
    static type fold_##type(const type *p, int64_t n, int64_t step, int64_t kind) { \
        utype sum = kind == INT_PRODUCT; \
        type best = n ? *p : 0; \
        for (int64_t i = 0; i < n; i++, p += step) { \
            const type e = *p; \
            switch (kind) { \
            case INT_SUM: sum += (utype)e; break; \
            case INT_ABS: sum += e < 0 ? -(utype)e : (utype)e; break; \
            case INT_SQUARE: sum += (utype)e * (utype)e; break; \
            case INT_PRODUCT: sum *= (utype)e; break; \
            case INT_MAX_: best = e > best ? e : best; break; \
            default: best = e < best ? e : best; \
            } \
        } \
        return kind == INT_MAX_ || kind == INT_MIN_ ? best : (type)sum; \
    } \
    static void reduce_##type(const rt_scan *s, const type *x, type *y, int64_t first, int64_t end) { \
        for (int64_t item = first; item < end; item++) { \
            const type *p = x + item / s->inner * s->n * s->inner + item % s->inner; \
            y[item] = fold_##type(p, s->n, s->inner, s->flags); \
        } \
    }
SCAN_INT(int32_t, uint32_t)
SCAN_INT(int64_t, uint64_t)

static int op_reduce_int(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_scan *s = (const rt_scan *)words;
    const int64_t total = s->outer * s->inner, first = total * part / n_parts, end = total * (part + 1) / n_parts;
    if (s->element == SCAN_INT32)
        reduce_int32_t(s, RT_AT(const int32_t, values, s->x), RT_AT(int32_t, values, s->y), first, end);
    else
        reduce_int64_t(s, RT_AT(const int64_t, values, s->x), RT_AT(int64_t, values, s->y), first, end);
    return RT_OK;
}
#endif
