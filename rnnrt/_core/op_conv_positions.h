/* Convolution with output positions in the lanes: xw = 1, positions by blocks of `block` output channels.
 *     weights[g][b][k][r]      g < groups, b < ceil(m/block) blocks, k < `all` taps, r < block (the last block: what is left)
 * A row is cut into vectors of which the last one ends with the row, over the one before it; a row shorter than a vector
 * is loaded whole, so x must be readable for LANES past each tap of its positions. A tile takes vectors that follow each other, of
 * one row or of several. With a pad, x is a copy with a margin of one image, or of the rows that `run` rows of outputs read, which
 * stays in cache until they are done.
 *
 * With `pool`, y holds the largest of each 2x2 outputs: a tile takes two vectors of two rows each, of which it stores one. */
#ifndef RT_OP_CONV_POSITIONS_H
#define RT_OP_CONV_POSITIONS_H
#include "op_conv_pad.h"

typedef struct {
    const real *x[MAX_NV]; /* of each vector */
    const real *w, *bias;
    const int32_t *at;
    real *y[MAX_NV], *out; /* y: of each vector; out: mr*nv vectors, where the result is not stored to y as it is; else NULL */
    ptrdiff_t k, ym;
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
    const real *w = t->w, *x[MAX_NV];
    const int32_t *at = t->at;
    RT_UNROLL
    for (int v = 0; v < nv; v++) x[v] = t->x[v];
    RT_UNROLL_BY(4)
    for (const int32_t *end = at + t->k; at < end; at++, w += mr) {
        const ptrdiff_t o = *at;
        vf b[MAX_NV];
        RT_UNROLL
        for (int v = 0; v < nv; v++) b[v] = v_load(x[v] + o);
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
    for (int v = 0; v < nv; v++) {
        real *y = t->y[v];
        RT_UNROLL
        for (int r = 0; r < mr; r++, y += t->ym) v_store(y, acc[r * nv + v]);
    }
}

CONV_TILES(row)

/* A tile that waits in out[] to y: activated, and to every yw-th element from where a vector, of `size` elements, begins. */
static void finish_row_tile(const rt_conv *s, const rt_row_tile *t, int mr, int nv, int size) {
    if (s->activation >= 0) activate_row(s->activation, s->alpha, s->beta, t->out, mr * nv * LANES);
    for (int r = 0; r < mr; r++)
        for (int v = 0; v < nv; v++) {
            const real *x = t->out + (r * nv + v) * LANES;
            real *y = t->y[v] + r * t->ym;
            if (s->yw != 1)
                for (int u = 0; u < size; u++) y[u * s->yw] = x[u];
            else if (size < LANES)
                v_store_n(y, v_load(x), size);
            else
                v_store(y, v_load(x));
        }
}

/* The same where 2x2 outputs are pooled. */
static void finish_pooled_tile(const rt_conv *s, const rt_row_tile *t, int mr) {
    if (s->activation >= 0 && !t->relu) activate_row(s->activation, s->alpha, s->beta, t->out, mr * 4 * LANES);
    for (int r = 0; r < mr; r++) {
        const real *x = t->out + r * 4 * LANES;
        const vf a = v_larger(v_load(x), v_load(x + 2 * LANES)), b = v_larger(v_load(x + LANES), v_load(x + 3 * LANES));
        const vf most = v_larger(v_even(a, b), v_odd(a, b));
        v_store(t->y[0] + r * t->ym, t->relu ? v_max(v_set1(0), most) : most);
    }
}

/* Vectors, or what is stored of a tile where outputs are pooled, across a row. */
static inline int64_t row_across(const rt_conv *s, const rt_conv_phase *p) {
    return ((s->pool ? p->ow / 2 : p->ow) + LANES - 1) / LANES;
}

/* Tiles of `rows` rows of an image and a block of channels. */
static inline int64_t row_cuts(const rt_conv *s, const rt_conv_phase *p, int64_t rows) {
    if (s->pool) return rows / 2 * row_across(s, p);
    return (rows * row_across(s, p) + p->cut - 1) / p->cut;
}

/* Where the vectors of a tile begin, from vector v of row h on. */
static inline void row_aim(const rt_conv *s, const rt_conv_phase *p, rt_row_tile *t, const real *x, real *y, int64_t h, int64_t v,
                           int64_t nv) {
    const int64_t last = p->ow < LANES ? 0 : p->ow - LANES;
    for (int64_t i = 0; i < nv; i++) {
        const int64_t ends = (v + 1) * LANES >= p->ow, w = ends ? last : v * LANES;
        t->x[i] = x + h * s->xh + w;
        t->y[i] = y + h * s->yh + w * s->yw;
        if (ends)
            v = 0, h++;
        else
            v++;
    }
}

/* Where the vectors of a tile begin whose outputs are pooled to vector v of row h. */
static inline void pooled_aim(const rt_conv *s, const rt_conv_phase *p, rt_row_tile *t, const real *x, real *y, int64_t h,
                              int64_t v) {
    const int64_t last = p->ow / 2 - LANES, w = v * LANES < last ? v * LANES : last;
    for (int i = 0; i < 4; i++) {
        t->x[i] = x + (2 * h + i / 2) * s->xh + 2 * w + i % 2 * LANES;
        t->y[i] = y + h * s->yh + w;
    }
}

/* Tiles [tile, end) of `rows` rows of outputs an image, the first ones at x0 and y0. */
static void conv_rows(const rt_conv *s, const rt_conv_phase *p, char *const *values, const real *x0, real *y0, int64_t rows,
                      int64_t tile, int64_t end) {
    const real *w0 = RT_AT(const real, values, s->weights) + p->weights, *bias = RT_AT(const real, values, s->bias);
    const int64_t blocks = s->blocks, across = row_across(s, p), cuts = row_cuts(s, p, rows);
    const int64_t least = s->pool ? 4 : rows * across / cuts, extra = s->pool ? 0 : rows * across % cuts;
    const int size = (int)(p->ow < LANES ? p->ow : LANES);
    int64_t b = 0, cut = 0, g = 0, n = 0;
    real out[MAX_ROWS * MAX_NV * LANES];
    rt_row_tile t = {.k = p->k, .ym = s->ym, .at = RT_AT(const int32_t, values, s->at) + p->at};
    t.relu = s->activation == ACT_RELU;
    t.out = s->pool || p->ow < LANES || s->yw != 1 || (s->activation >= 0 && !t.relu) ? out : 0;
    if (tile) {
        b = tile % blocks, cut = tile / blocks % cuts;
        g = tile / (blocks * cuts) % s->groups, n = tile / (blocks * cuts * s->groups);
    }
    while (tile < end) {
        const int64_t nv = least + (cut < extra), c0 = g * s->m;
        const int64_t first = s->pool ? cut : cut * least + (cut < extra ? cut : extra);
        const real *x = x0 + n * s->xn + g * s->xg;
        real *y = y0 + n * s->yn + (c0 + b * s->block) * s->ym;
        if (s->pool)
            pooled_aim(s, p, &t, x, y, first / across, first % across);
        else
            row_aim(s, p, &t, x, y, first / across, first % across, nv);
        for (; b < blocks && tile < end; b++, tile++) {
            const int64_t m0 = b * s->block, mr = s->m - m0 < s->block ? s->m - m0 : s->block;
            t.w = w0 + (c0 + m0) * p->all + p->first * mr;
            t.bias = bias ? bias + c0 + m0 : 0;
            row_tiles[nv][mr](&t);
            if (s->pool)
                finish_pooled_tile(s, &t, (int)mr);
            else if (t.out)
                finish_row_tile(s, &t, (int)mr, (int)nv, size);
            for (int64_t v = 0; v < nv; v++) t.y[v] += s->block * s->ym;
        }
        b = 0;
        if (++cut < cuts) continue;
        cut = 0;
        if (++g < s->groups) continue;
        g = 0, n++;
    }
}

/* Images by bands of rows, each padded first. */
static void conv_bands(const rt_conv *s, const rt_conv_pad *pad, char *const *values, int part, int n_parts) {
    const real *x = RT_AT(const real, values, s->x);
    real *copy = RT_AT(real, values, s->scratch) + part * s->size, *y = RT_AT(real, values, s->y);
    const int64_t units = s->n * s->bands, end = part_begin(units, part + 1, n_parts);
    int64_t unit = part_begin(units, part, n_parts), n = unit ? unit / s->bands : 0, band = unit - n * s->bands;
    for (; unit < end; unit++) {
        const int64_t h0 = band * s->run;
        const real *last = copy + pad->c * padded_size(pad) + LANES;
        pad_planes(pad, x + n * pad->xn, copy, pad->c, last, band * pad->step);
        for (int64_t i = 0; i < s->n_phases; i++) {
            const rt_conv_phase *p = &s->phase[i];
            const int64_t rows = s->bands > 1 && p->oh - h0 > s->run ? s->run : p->oh - h0;
            real *to = y + p->y + n * s->yn + (s->pool ? h0 / 2 : h0) * s->yh;
            conv_rows(s, p, values, copy + p->x, to, rows, 0, s->groups * row_cuts(s, p, rows) * s->blocks);
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
        const int64_t total = s->n * s->groups * row_cuts(s, p, p->oh) * s->blocks;
        const int64_t begin = part_begin(total, part, n_parts), end = part_begin(total, part + 1, n_parts);
        const real *x = RT_AT(const real, values, s->x) + p->x;
        conv_rows(s, p, values, x, RT_AT(real, values, s->y) + p->y, p->oh, begin, end);
    }
    return RT_OK;
}
#endif
