/* One axis of float32 resized: y[o, j, :] = sum over t of weight[t, j] * x[o, place[t, j], :], in the order of t. */
#ifndef RT_OP_RESAMPLE_H
#define RT_OP_RESAMPLE_H
#include "ops.h"

typedef struct {
    rt_ref x, place, weight, y; /* (outer, n, inner), int64 (taps, out) within n, (taps, out), (outer, out, inner) */
    int64_t outer, n, out, inner, taps;
} rt_resample;

static void resample_row(const real *x, real *y, const int64_t *place, const real *weight, const rt_resample *s) {
    const int64_t inner = s->inner, whole = inner - inner % LANES;
    for (int64_t i = 0; i < whole; i += LANES) {
        vf sum = v_load(x + place[0] * inner + i) * v_set1(weight[0]);
        for (int64_t t = 1; t < s->taps; t++) sum = sum + v_load(x + place[t * s->out] * inner + i) * v_set1(weight[t * s->out]);
        v_store(y + i, sum);
    }
    for (int64_t i = whole; i < inner; i++) {
        real sum = x[place[0] * inner + i] * weight[0];
        for (int64_t t = 1; t < s->taps; t++) sum += x[place[t * s->out] * inner + i] * weight[t * s->out];
        y[i] = sum;
    }
}

static int op_resample(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_resample *s = (const rt_resample *)words;
    const real *x = RT_AT(const real, values, s->x), *weight = RT_AT(const real, values, s->weight);
    const int64_t *place = RT_AT(const int64_t, values, s->place), rows = s->outer * s->out;
    real *y = RT_AT(real, values, s->y);
    for (int64_t row = rows * part / n_parts; row < rows * (part + 1) / n_parts; row++) {
        const int64_t o = row / s->out, j = row % s->out;
        resample_row(x + o * s->n * s->inner, y + row * s->inner, place + j, weight + j, s);
    }
    return RT_OK;
}
#endif
