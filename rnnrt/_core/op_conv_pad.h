/* A copy with a margin, for windows that reach over the border, and with the last axis taken apart by its stride:
 *     y[r][q][i][j] = x[r][i - top][j*s + q - left], or `fill` where that lies outside,   q < s pieces, i < rows, j < pitch
 * over the planes r = (n, c).
 *
 * Vectors are written whole: what goes past the end of a row is written over by the next. Only where that would
 * be past the end of a part, elements are written one by one. */
#ifndef RT_OP_CONV_PAD_H
#define RT_OP_CONV_PAD_H
#include "op_conv.h"
#include "vfold.h"

typedef struct {
    rt_ref x, y;
    double fill;
    int64_t n, c, h, xn, xc, xh, xw;
    int64_t top, rows, step, pitch, s; /* rows: of a copy, with the margins; step: from one copy to the next */
    struct {
        int64_t low, size, from; /* row[low .. low+size) of piece q is x[from], x[from + s], … */
    } piece[];
} rt_conv_pad;

/* Elements of a plane's copy. */
static inline int64_t padded_size(const rt_conv_pad *t) { return t->s * t->rows * t->pitch; }

static inline void fill_exactly(real *y, int64_t n, real value) {
    for (int64_t i = 0; i < n; i++) y[i] = value;
}

static inline void fill_loosely(real *y, int64_t n, real value) {
    for (int64_t i = 0; i < n; i += LANES) v_store(y + i, v_set1(value));
}

/* n elements of x, `step` apart. */
static inline void take_row(real *restrict y, const real *restrict x, int64_t n, int64_t step) {
    int64_t i = 0;
    if (n <= 0) return;
    if (step == 1) {
        for (; i + LANES <= n; i += LANES) v_store(y + i, v_load(x + i));
        if (i == n) return;
        if (n >= LANES)
            v_store(y + n - LANES, v_load(x + n - LANES));
        else
            v_store_n(y, v_load_n(x, (int)n), (int)n);
        return;
    }
    if (step == 2) {
        for (; i + LANES < n; i += LANES) v_store(y + i, v_even(v_load(x + 2 * i), v_load(x + 2 * i + LANES)));
        const int rest = 2 * (int)(n - i) - 1; /* elements from the first to the last one taken: 1 .. 2*LANES-1 */
        const vf a = v_load_n(x + 2 * i, rest < LANES ? rest : LANES);
        const vf b = rest > LANES ? v_load_n(x + 2 * i + LANES, rest - LANES) : v_set1(0);
        v_store_n(y + i, v_even(a, b), (int)(n - i));
        return;
    }
    for (; i < n; i++) y[i] = x[i * step];
}

/* `rows` rows of a plane from number `from` with the margin above; what lies past `last` must not be written. */
static inline void pad_plane(const rt_conv_pad *t, const real *x, real *y, const real *last, int64_t from) {
    const int64_t top = t->top - from, bottom = top + t->h, step = t->s * t->xw, pitch = t->pitch;
    const real fill = (real)t->fill;
    for (int64_t q = 0; q < t->s; q++) {
        const int64_t low = t->piece[q].low, size = t->piece[q].size, high = low + size;
        const real *row = x + t->piece[q].from * t->xw + (top < 0 ? -top * t->xh : 0);
        for (int64_t i = 0; i < t->rows; i++, y += pitch) {
            const int inside = i >= top && i < bottom, exactly = last - y < pitch + LANES;
            void (*const put)(real *, int64_t, real) = exactly ? fill_exactly : fill_loosely;
            if (!inside) {
                put(y, pitch, fill);
                continue;
            }
            if (low) put(y, low, fill);
            take_row(y + low, row, size, step);
            if (high < pitch) put(y + high, pitch - high, fill);
            row += t->xh;
        }
    }
}

/* Planes whose copies follow each other. Where a vector holds a row of a copy, all is filled at once, and the rows are put in. */
static inline void pad_planes(const rt_conv_pad *t, const real *x, real *y, int64_t n_planes, const real *last, int64_t from) {
    const int64_t size = padded_size(t), top = t->top - from, bottom = top + t->h < t->rows ? top + t->h : t->rows;
    const int n = (int)t->piece[0].size;
    if (t->pitch > LANES || t->s > 1 || t->xw != 1) {
        for (int64_t p = 0; p < n_planes; p++) pad_plane(t, x + p * t->xc, y + p * size, last, from);
        return;
    }
    const int64_t all = n_planes * size, whole = last - y >= all + LANES ? all : all / LANES * LANES;
    fill_loosely(y, whole, (real)t->fill);
    fill_exactly(y + whole, all - whole, (real)t->fill);
    x += t->piece[0].from, y += t->piece[0].low;
    for (int64_t p = 0; n > 0 && p < n_planes; p++, x += t->xc, y += size)
        for (int64_t i = top < 0 ? 0 : top; i < bottom; i++) v_store_n(y + i * t->pitch, v_load_n(x + (i - top) * t->xh, n), n);
}

static int op_conv_pad(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_conv_pad *t = (const rt_conv_pad *)words;
    const int64_t planes = t->n * t->c, size = padded_size(t), end = part_begin(planes, part + 1, n_parts);
    int64_t p = part_begin(planes, part, n_parts), n = p ? p / t->c : 0, c = p - n * t->c;
    real *y = RT_AT(real, values, t->y) + p * size, *const last = y + (end - p) * size;
    for (int64_t count; p < end; p += count, y += count * size, c = 0, n++) {
        count = end - p < t->c - c ? end - p : t->c - c;
        pad_planes(t, RT_AT(const real, values, t->x) + n * t->xn + c * t->xc, y, count, last, 0);
    }
    return RT_OK;
}
#endif
