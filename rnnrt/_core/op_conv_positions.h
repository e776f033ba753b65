/* Convolution with output positions in the lanes: xw = 1, rows of `ow` positions by blocks of `block` output channels.
 *     weights[g][b][k][r]      g < groups, b < ceil(m/block) blocks, k < `all` taps, r < block (the last block: what is left)
 * A row is cut into vectors of which the last one ends with the row, over the one before it; a row shorter than a vector
 * is loaded whole, so x must be readable for LANES past each tap of its positions. With a pad, x is a copy with a margin of
 * one image, or of the rows that `run` rows of outputs read, which stays in cache until they are done. */
#ifndef RT_OP_CONV_POSITIONS_H
#define RT_OP_CONV_POSITIONS_H
#include "op_conv_pad.h"

typedef struct {
    const real *x, *w, *bias;
    const int32_t *at;
    real *y, *out;         /* out: mr*nv vectors, where the result is not stored to y as it is; else NULL */
    ptrdiff_t k, last, ym; /* last: where the last vector begins, from x */
    int relu;
} rt_row_tile;

RT_INLINE void row_tile(const int mr, const int nv, const rt_row_tile *t) {
    vf acc[MAX_ROWS * MAX_NV];
    RT_UNROLL
    for (int r = 0; r < mr; r++) {
        const vf b = t->bias ? v_set1(t->bias[r]) : v_set1(0);
        RT_UNROLL
        for (int v = 0; v < nv; v++) acc[r * nv + v] = b;
    }
    const real *w = t->w, *x = t->x, *tail = x + t->last;
    const int32_t *at = t->at;
    RT_UNROLL_4
    for (const int32_t *end = at + t->k; at < end; at++, w += mr) {
        vf b[MAX_NV];
        RT_UNROLL
        for (int v = 0; v < nv - 1; v++) b[v] = v_load(x + *at + v * LANES);
        b[nv - 1] = v_load(tail + *at);
        RT_UNROLL
        for (int r = 0; r < mr; r++) {
            const vf a = v_set1(w[r]);
            RT_UNROLL
            for (int v = 0; v < nv; v++) acc[r * nv + v] = v_fma(a, b[v], acc[r * nv + v]);
        }
    }
    if (t->out) {
        RT_UNROLL
        for (int i = 0; i < mr * nv; i++) v_store(t->out + i * LANES, acc[i]);
        return;
    }
    if (t->relu) {
        RT_UNROLL
        for (int i = 0; i < mr * nv; i++) acc[i] = v_max(v_set1(0), acc[i]);
    }
    RT_UNROLL
    for (int r = 0; r < mr; r++) {
        real *y = t->y + r * t->ym;
        RT_UNROLL
        for (int v = 0; v < nv - 1; v++) v_store(y + v * LANES, acc[r * nv + v]);
        v_store(y + t->last, acc[r * nv + nv - 1]);
    }
}

CONV_TILES(row)

/* A tile that waits in out[] to y: activated, and to every yw-th element of rows of `n` positions. */
static void finish_row_tile(const rt_conv *s, const rt_row_tile *t, int mr, int nv, int64_t n) {
    if (s->activation >= 0) activate_row(s->activation, s->alpha, s->beta, t->out, mr * nv * LANES);
    for (int r = 0; r < mr; r++)
        for (int v = 0; v < nv; v++) {
            const real *x = t->out + (r * nv + v) * LANES;
            real *y = t->y + r * t->ym + (v < nv - 1 ? v * LANES : t->last) * s->yw;
            const int size = (int)(n < LANES ? n : LANES);
            if (s->yw != 1)
                for (int u = 0; u < size; u++) y[u * s->yw] = x[u];
            else if (size < LANES)
                v_store_n(y, v_load(x), size);
            else
                v_store(y, v_load(x));
        }
}

/* Tiles [tile, end) of `rows` rows of outputs an image, the first ones at x0 and y0. */
static void conv_rows(const rt_conv *s, const rt_conv_phase *p, char *const *values, const real *x0, real *y0, int64_t rows,
                      int64_t tile, int64_t end) {
    const real *w0 = RT_AT(const real, values, s->weights) + p->weights, *bias = RT_AT(const real, values, s->bias);
    const int64_t blocks = s->blocks, cuts = p->cuts;
    int64_t b = 0, cut = 0, h = 0, g = 0, n = 0;
    real out[MAX_ROWS * MAX_NV * LANES];
    rt_row_tile t = {.k = p->k, .ym = s->ym, .at = RT_AT(const int32_t, values, s->at) + p->at};
    t.relu = s->activation == ACT_RELU;
    t.out = p->ow < LANES || s->yw != 1 || (s->activation >= 0 && !t.relu) ? out : 0;
    if (tile) {
        b = tile % blocks, cut = tile / blocks % cuts;
        h = tile / (blocks * cuts) % rows, g = tile / (blocks * cuts * rows) % s->groups;
        n = tile / (blocks * cuts * rows * s->groups);
    }
    for (; tile < end; tile++) {
        const int64_t nv = p->cut + (cut < p->extra), v0 = cut * p->cut + (cut < p->extra ? cut : p->extra);
        const int64_t m0 = b * s->block, c0 = g * s->m + m0, w = v0 * LANES;
        const int64_t mr = s->m - m0 < s->block ? s->m - m0 : s->block;
        const int64_t rest = p->ow - w < nv * LANES ? p->ow - w : nv * LANES;
        t.last = rest < LANES ? 0 : rest - LANES;
        t.x = x0 + n * s->xn + g * s->xg + h * s->xh + w;
        t.w = w0 + c0 * p->all + p->first * mr;
        t.bias = bias ? bias + c0 : 0;
        t.y = y0 + n * s->yn + c0 * s->ym + h * s->yh + w * s->yw;
        row_tiles[nv][mr](&t);
        if (t.out) finish_row_tile(s, &t, (int)mr, (int)nv, rest);
        if (++b < blocks) continue;
        b = 0;
        if (++cut < cuts) continue;
        cut = 0;
        if (++h < rows) continue;
        h = 0;
        if (++g < s->groups) continue;
        g = 0, n++;
    }
}

/* Images by bands of rows, each padded first. */
static void conv_bands(const rt_conv *s, const rt_conv_pad *pad, char *const *values, int part, int n_parts) {
    const real *x = RT_AT(const real, values, s->x);
    real *copy = RT_AT(real, values, s->scratch) + part * s->size, *y = RT_AT(real, values, s->y);
    const int64_t plane = pad->s * pad->rows * pad->pitch, units = s->n * s->bands, end = part_begin(units, part + 1, n_parts);
    int64_t unit = part_begin(units, part, n_parts), n = unit ? unit / s->bands : 0, band = unit - n * s->bands;
    for (; unit < end; unit++) {
        const int64_t h0 = band * s->run;
        const real *last = copy + pad->c * plane + LANES;
        for (int64_t c = 0; c < pad->c; c++)
            pad_plane(pad, x + n * pad->xn + c * pad->xc, copy + c * plane, last, band * pad->step);
        for (int64_t i = 0; i < s->n_phases; i++) {
            const rt_conv_phase *p = &s->phase[i];
            const int64_t rows = s->bands > 1 && p->oh - h0 > s->run ? s->run : p->oh - h0;
            real *to = y + p->y + n * s->yn + h0 * s->yh;
            conv_rows(s, p, values, copy + p->x, to, rows, 0, rows * s->groups * p->cuts * s->blocks);
        }
        if (++band == s->bands) band = 0, n++;
    }
}

static int op_conv_positions(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_conv *s = (const rt_conv *)words;
    if (s->pad) {
        conv_bands(s, (const rt_conv_pad *)(words + s->pad), values, part, n_parts);
        return RT_OK;
    }
    for (int i = 0; i < s->n_phases; i++) {
        const rt_conv_phase *p = &s->phase[i];
        const int64_t total = s->n * s->groups * p->oh * p->cuts * s->blocks;
        const int64_t begin = part_begin(total, part, n_parts), end = part_begin(total, part + 1, n_parts);
        const real *x = RT_AT(const real, values, s->x) + p->x;
        conv_rows(s, p, values, x, RT_AT(real, values, s->y) + p->y, p->oh, begin, end);
    }
    return RT_OK;
}
#endif
