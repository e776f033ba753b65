/* Loops that do nothing but what the machine does at most: how far a step is from it is told by `rnnrt.profile`. */
#ifndef RT_OP_LIMITS_H
#define RT_OP_LIMITS_H
#include "ops.h"

typedef struct {
    rt_ref x, y; /* n floats to read, LANES to write */
    int64_t n, repeats;
} rt_limit;

/* repeats * 8 * LANES multiply-adds in eight independent chains. */
static int op_limit_fma(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_limit *s = (const rt_limit *)words;
    vf a = v_load(RT_AT(const real, values, s->x)), b = v_set1(0.5f), sum[8];
    (void)part, (void)n_parts;
    for (int k = 0; k < 8; k++) sum[k] = a;
    for (int64_t i = 0; i < s->repeats; i++) {
        for (int k = 0; k < 8; k++) sum[k] = v_fma(sum[k], b, a);
    }
    for (int k = 1; k < 8; k++) sum[0] += sum[k];
    v_store(RT_AT(real, values, s->y), sum[0]);
    return RT_OK;
}

/* Reads n floats, a multiple of 4 * LANES, `repeats` times. */
static int op_limit_read(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_limit *s = (const rt_limit *)words;
    const real *x = RT_AT(const real, values, s->x);
    vf a = v_set1(0), b = a, c = a, d = a;
    (void)part, (void)n_parts;
    for (int64_t r = 0; r < s->repeats; r++) {
        for (int64_t i = 0; i < s->n; i += 4 * LANES) {
            a += v_load(x + i);
            b += v_load(x + i + LANES);
            c += v_load(x + i + 2 * LANES);
            d += v_load(x + i + 3 * LANES);
        }
    }
    v_store(RT_AT(real, values, s->y), (a + b) + (c + d));
    return RT_OK;
}
#endif
