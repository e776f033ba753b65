/* The k first of n elements in descending or ascending order, by insertion: of equal ones the first comes first. */
#ifndef RT_OP_TOP_K_H
#define RT_OP_TOP_K_H
#include "ops.h"

typedef struct {
    rt_ref x, y, index;                       /* float32 (outer, n, inner); float32 and int64 (outer, k, inner) */
    int64_t outer, n, inner, k, largest;
} rt_top_k;

/* Whether a goes before b; NaN counts as larger than any number. */
static inline int goes_before(float a, float b, int64_t largest) {
    if (largest) return a > b || (a != a && b == b);
    return a < b || (a == a && b != b);
}

static int op_top_k(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_top_k *s = (const rt_top_k *)words;
    const int64_t inner = s->inner, rows = s->outer * inner, k = s->k;
    for (int64_t row = rows * part / n_parts; row < rows * (part + 1) / n_parts; row++) {
        const int64_t o = row / inner, i = row % inner;
        const float *x = RT_AT(const float, values, s->x) + o * s->n * inner + i;
        float *y = RT_AT(float, values, s->y) + o * k * inner + i;
        int64_t *index = RT_AT(int64_t, values, s->index) + o * k * inner + i;
        int64_t have = 0;
        for (int64_t j = 0; j < s->n; j++) {
            const float v = x[j * inner];
            if (have == k && !goes_before(v, y[(k - 1) * inner], s->largest)) continue;
            int64_t at = have < k ? have++ : k - 1;
            for (; at > 0 && goes_before(v, y[(at - 1) * inner], s->largest); at--) {
                y[at * inner] = y[(at - 1) * inner];
                index[at * inner] = index[(at - 1) * inner];
            }
            y[at * inner] = v;
            index[at * inner] = j;
        }
    }
    return RT_OK;
}
#endif
