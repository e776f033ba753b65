/* The k first of n elements in descending or ascending order, by insertion: of equal ones the first comes first. */
#ifndef RT_OP_TOP_K_H
#define RT_OP_TOP_K_H
#include "ops.h"

typedef struct {
    rt_ref x, y, index; /* (outer, n, inner); (outer, k, inner) of the same type and of int64 */
    int64_t outer, n, inner, k, largest;
} rt_top_k;

/* Whether a goes before b; NaN counts as larger than any number. */
#define GOES_BEFORE(a, b) (s->largest ? (a) > (b) || ((a) != (a) && (b) == (b)) : (a) < (b) || ((a) == (a) && (b) != (b)))

#define TOP_K(name, type) \
    static int name(const int64_t *words, char *const *values, int part, int n_parts) { \
        const rt_top_k *s = (const rt_top_k *)words; \
        const int64_t inner = s->inner, rows = s->outer * inner, k = s->k; \
        for (int64_t row = rows * part / n_parts; row < rows * (part + 1) / n_parts; row++) { \
            const int64_t o = row / inner, i = row % inner; \
            const type *x = RT_AT(const type, values, s->x) + o * s->n * inner + i; \
            type *y = RT_AT(type, values, s->y) + o * k * inner + i; \
            int64_t *index = RT_AT(int64_t, values, s->index) + o * k * inner + i; \
            int64_t have = 0; \
            for (int64_t j = 0; j < s->n; j++) { \
                const type v = x[j * inner]; \
                if (have == k && !GOES_BEFORE(v, y[(k - 1) * inner])) continue; \
                int64_t at = have < k ? have++ : k - 1; \
                for (; at > 0 && GOES_BEFORE(v, y[(at - 1) * inner]); at--) { \
                    y[at * inner] = y[(at - 1) * inner]; \
                    index[at * inner] = index[(at - 1) * inner]; \
                } \
                y[at * inner] = v; \
                index[at * inner] = j; \
            } \
        } \
        return RT_OK; \
    }

TOP_K(op_top_k_float32, float)
TOP_K(op_top_k_float64, double)
TOP_K(op_top_k_int32, int32_t)
TOP_K(op_top_k_int64, int64_t)
#endif
