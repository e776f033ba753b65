/* Activations over a row, for steps that apply one to what they have just written. */
#ifndef RT_OP_ACTIVATE_H
#define RT_OP_ACTIVATE_H
#include <stddef.h>
#include <stdint.h>

#include "vmath.h"

/* y = f(y) over n elements; kind is one of ACT_*. */
static void activate_row(int64_t kind, double alpha, double beta, real *y, ptrdiff_t n) {
    const real a = (real)alpha, b = (real)beta;
    if (kind == ACT_RELU) /* one step, where v_activate is a call */
        for (; n >= LANES; n -= LANES, y += LANES) v_store(y, v_max(v_set1(0), v_load(y)));
    for (; n >= LANES; n -= LANES, y += LANES) v_store(y, v_activate((int)kind, a, b, v_load(y)));
    if (n > 0) v_store_n(y, v_activate((int)kind, a, b, v_load_n(y, (int)n)), (int)n);
}
#endif
