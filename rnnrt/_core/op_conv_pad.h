/* A copy with a margin, for windows that reach over the border, and with the last axis taken apart by its stride:
 *     y[r][q][j] = x[r][j*s + q - left], or `fill` where that lies outside,   q < s pieces, j < pitch
 * over the planes r = (n, c) of sizes (h, w). A margin above and below is rows of `fill`.
 *
 * Vectors are written whole: what goes past the end of a row is written over by the next. The caller guarantees LANES
 * elements past the end of y; only the last row of a part is written to the element. */
#ifndef RT_OP_CONV_PAD_H
#define RT_OP_CONV_PAD_H
#include "op_conv.h"

typedef struct {
    rt_ref x, y;
    double fill;
    int64_t n, c, h, xn, xc, xh, xw;
    int64_t top, rows, pitch, s; /* rows: with the margins */
    struct {
        int64_t low, size, from; /* y[r][q][low .. low+size) is x[r][from], x[r][from + s], … */
    } piece[];
} rt_conv_pad;

static inline void fill_exactly(real *y, int64_t n, real value) {
    for (int64_t i = 0; i < n; i++) y[i] = value;
}

static inline void fill_loosely(real *y, int64_t n, real value) {
    for (int64_t i = 0; i < n; i += LANES) v_store(y + i, v_set1(value));
}

#ifdef __clang__
#define V_PICK(a, b, ...) (vf) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define V_PICK(a, b, ...) (vf) __builtin_shuffle(a, b, (vi){__VA_ARGS__})
#endif

/* Of 2*LANES elements in a row, every second one. */
static inline vf v_even(vf a, vf b) {
#if LANES == 16
    return V_PICK(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
#elif LANES == 8
    return V_PICK(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
#else
    return V_PICK(a, b, 0, 2, 4, 6);
#endif
}

/* n elements of x, `step` apart. */
static inline void take_row(real *restrict y, const real *restrict x, int64_t n, int64_t step) {
    int64_t i = 0;
    if (step == 1) {
        for (; i + LANES <= n; i += LANES) v_store(y + i, v_load(x + i));
        if (i == n) return;
        if (n >= LANES)
            v_store(y + n - LANES, v_load(x + n - LANES));
        else
            v_store_n(y, v_load_n(x, (int)n), (int)n);
        return;
    }
    if (step == 2)
        for (; i + LANES < n; i += LANES) v_store(y + i, v_even(v_load(x + 2 * i), v_load(x + 2 * i + LANES)));
    for (; i < n; i++) y[i] = x[i * step];
}

static inline void pad_row(const rt_conv_pad *t, const real *x, real *y, int exactly) {
    for (int64_t q = 0; q < t->s; q++, y += t->pitch) {
        const int64_t low = t->piece[q].low, high = low + t->piece[q].size;
        if (low) (exactly ? fill_exactly : fill_loosely)(y, low, (real)t->fill);
        take_row(y + low, x + t->piece[q].from * t->xw, high - low, t->s * t->xw);
        if (high < t->pitch) (exactly ? fill_exactly : fill_loosely)(y + high, t->pitch - high, (real)t->fill);
    }
}

static int op_conv_pad(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_conv_pad *t = (const rt_conv_pad *)words;
    const int64_t planes = t->n * t->c, ldy = t->s * t->pitch;
    const int64_t end = part_begin(planes, part + 1, n_parts);
    int64_t p = part_begin(planes, part, n_parts), n = p ? p / t->c : 0, c = p - n * t->c;
    real *y = RT_AT(real, values, t->y) + p * t->rows * ldy;
    for (; p < end; p++) {
        const real *x = RT_AT(const real, values, t->x) + n * t->xn + c * t->xc;
        for (int64_t i = 0; i < t->rows; i++, y += ldy) {
            const int64_t h = i - t->top;
            const int exactly = p == end - 1 && i == t->rows - 1;
            if (h < 0 || h >= t->h)
                (exactly ? fill_exactly : fill_loosely)(y, ldy, (real)t->fill);
            else
                pad_row(t, x + h * t->xh, y, exactly);
        }
        if (++c == t->c) c = 0, n++;
    }
    return RT_OK;
}
#endif
