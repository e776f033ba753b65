/* A copy with a margin, for windows that reach over the border, and with the last axis taken apart by its stride:
 *     y[r][q][j] = x[r][j*s + q - begin], or `fill` where that lies outside
 * over the planes r = (n, c) of sizes (h, w); y has rows of s*pitch elements, `pitch` for each q. A margin above and below is rows of `fill`. */
#ifndef RT_OP_CONV_PAD_H
#define RT_OP_CONV_PAD_H
#include "op_conv.h"

typedef struct {
    rt_ref x, y;
    double fill;
    int64_t n, c, h, w, xn, xc, xh, xw;
    int64_t top, left, rows, s, pitch; /* rows: with the margins; pitch: elements of one of the s pieces of a row */
} rt_conv_pad;

static inline void fill_row(real *y, int64_t n, real value) {
    for (int64_t i = 0; i < n; i++) y[i] = value;
}

/* Every s-th element of x, n of them. */
static inline void take_row(real *restrict y, const real *restrict x, int64_t n, int64_t s) {
    if (s == 1)
        for (; n >= LANES; n -= LANES, x += LANES, y += LANES) v_store(y, v_load(x));
    for (int64_t i = 0; i < n; i++) y[i] = x[i * s];
}

static void pad_row(const rt_conv_pad *t, const real *x, real *y) {
    for (int64_t q = 0; q < t->s; q++, y += t->pitch) {
        /* j*s + q - left in [0, w) */
        int64_t low = t->left > q ? (t->left - q + t->s - 1) / t->s : 0;
        if (low > t->pitch) low = t->pitch;
        int64_t high = (t->w - 1 + t->left - q) / t->s + 1;
        if (t->w - 1 + t->left < q) high = low;
        if (high > t->pitch) high = t->pitch;
        if (high < low) high = low;
        fill_row(y, low, (real)t->fill);
        take_row(y + low, x + (low * t->s + q - t->left) * t->xw, high - low, t->s * t->xw);
        fill_row(y + high, t->pitch - high, (real)t->fill);
    }
}

static int op_conv_pad(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_conv_pad *t = (const rt_conv_pad *)words;
    const real *x = RT_AT(const real, values, t->x);
    real *y = RT_AT(real, values, t->y);
    const int64_t planes = t->n * t->c, ldy = t->s * t->pitch;
    for (int64_t p = RT_PART_BEGIN(planes); p < RT_PART_END(planes); p++) {
        const real *plane = x + p / t->c * t->xn + p % t->c * t->xc;
        real *row = y + p * t->rows * ldy;
        for (int64_t i = 0; i < t->rows; i++, row += ldy) {
            const int64_t h = i - t->top;
            if (h < 0 || h >= t->h)
                fill_row(row, ldy, (real)t->fill);
            else
                pad_row(t, plane + h * t->xh, row);
        }
    }
    return RT_OK;
}
#endif
