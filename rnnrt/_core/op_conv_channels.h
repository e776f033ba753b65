/* Convolution with output channels in the lanes: any strides; positions are the rows of a tile.
 *     weights[g][p][k][v][u]   g < groups, p < ceil(m/(block*LANES)) panels, k < `all` taps, v < block vectors (the last panel: what
 *                              is left), u < LANES, zero padded
 * Positions are counted through images and rows; a tile is put to y transposed.
 *
 * A panel that would not stay in the L2 cache from one tile to the next is taken in pieces of its taps, each for a group of
 * tiles, whose sums wait in memory meanwhile: terms are added in the same order. */
#ifndef RT_OP_CONV_CHANNELS_H
#define RT_OP_CONV_CHANNELS_H
#include "op_conv.h"
#include "vfold.h"

typedef struct {
    const real *a[MAX_ROWS]; /* where each position begins in x */
    const real *w, *init;    /* init: nv vectors, those of the next row ldinit further on */
    ptrdiff_t ldinit;
    const int32_t *at;
    ptrdiff_t k;
    real *out; /* [r][v][u] */
} rt_column_tile;

RT_INLINE void column_tile(const int mr, const int nv, const rt_column_tile *t) {
    const real *a[MAX_ROWS], *w = t->w;
    vf acc[MAX_ROWS * MAX_NV];
    RT_UNROLL
    for (int r = 0; r < mr; r++) a[r] = t->a[r];
    RT_UNROLL
    for (int i = 0; i < mr * nv; i++) acc[i] = v_load(t->init + i / nv * t->ldinit + i % nv * LANES);
    const int32_t *at = t->at;
    RT_UNROLL_TERMS
    for (const int32_t *end = at + t->k; at < end; at++, w += nv * LANES) {
        const ptrdiff_t o = *at;
        if (mr > 4) __builtin_prefetch((const char *)(a[0] + at[CONV_AHEAD]));
        vf b[MAX_NV];
        RT_UNROLL
        for (int v = 0; v < nv; v++) {
            if (mr > 4 && v * sizeof(vf) % 64 == 0) __builtin_prefetch((const char *)(w + v * LANES) + RT_PAGE);
            b[v] = v_load(w + v * LANES);
            if (mr > 1) V_KEEP(b[v]);
        }
        RT_UNROLL
        for (int r = 0; r < mr; r++) {
            const vf x = v_set1(a[r][o]);
            RT_UNROLL
            for (int v = 0; v < nv; v++) acc[r * nv + v] = v_fma(x, b[v], acc[r * nv + v]);
        }
    }
    RT_UNROLL
    for (int i = 0; i < mr * nv; i++) v_store(t->out + i * LANES, acc[i]);
}

CONV_TILES(column)

#define CONV_PANEL_BYTES (640 << 10) /* larger panels do not stay in an L2 cache of 1 MiB beside all else */
#define CONV_PIECE_BYTES (256 << 10)
#define CONV_GROUP 24 /* tiles */

typedef struct {
    int64_t n, h, w;
} rt_position;

/* The next `mr` positions from `at`, which moves on: where they begin in x and in y. */
static void next_positions(const rt_conv *s, const rt_conv_phase *p, rt_position *at, int mr, const real *x, const real **a,
                           int64_t *y) {
    for (int r = 0; r < mr; r++) {
        a[r] = x + at->n * s->xn + at->h * s->xh + at->w * s->xw;
        y[r] = at->n * s->yn + at->h * s->yh + at->w * s->yw;
        if (++at->w < p->ow) continue;
        at->w = 0;
        if (++at->h < p->oh) continue;
        at->h = 0, at->n++;
    }
}

/* The first n of eight numbers. */
RT_INLINE void put_eight(real *y, const real *from, int n) {
    for (; LANES < 8 && n > LANES; n -= LANES, y += LANES, from += LANES) v_store(y, v_load(from));
    v_store_n(y, v_load(from), n);
}

/* out[r][m] to y[m*ym + r], for mr <= 8 rows. */
static void put_run(const real *out, real *y, int64_t ym, int mr, int64_t m, int64_t ldout) {
    real turned[9 * LANES]; /* read a vector at a time */
    for (; m > 0; m -= LANES, out += LANES) {
        vf x[8];
        RT_UNROLL
        for (int r = 0; r < 8; r++) x[r] = v_load(out + (r < mr ? r : 0) * ldout);
        v_turn8(x);
        RT_UNROLL
        for (int r = 0; r < 8; r++) v_store(turned + r * LANES, x[r]);
        const int n = m < LANES ? (int)m : LANES;
        for (int j = 0; j < n; j++, y += ym) put_eight(y, turned + 8 * j, mr);
    }
}

/* out[r][m] to y[m*ym + place[r]]. */
static void put_columns(const real *out, real *y, int64_t ym, const int64_t *place, int mr, int64_t m, int64_t ldout) {
    if (mr > 2 && place[mr - 1] - place[0] == mr - 1) { /* side by side, as places ascend */
        put_run(out, y + place[0], ym, mr, m, ldout);
        return;
    }
    for (int64_t j = 0; j < m; j++, y += ym)
        for (int r = 0; r < mr; r++) y[place[r]] = out[r * ldout + j];
}

/* Panel `panel` of group `g` over the tiles [tile, end) of a phase. */
static void conv_panel(const rt_conv *s, const rt_conv_phase *p, char *const *values, int64_t g, int64_t panel, int64_t tile,
                       int64_t end) {
    const int64_t vectors = (s->m + LANES - 1) / LANES, v0 = panel * s->block;
    const int nv = (int)(vectors - v0 < s->block ? vectors - v0 : s->block);
    const int64_t m0 = v0 * LANES, m = s->m - m0 < nv * LANES ? s->m - m0 : nv * LANES, ld = nv * LANES;
    const real *x = RT_AT(const real, values, s->x) + p->x + g * s->xg, *bias = RT_AT(const real, values, s->bias);
    real *y = RT_AT(real, values, s->y) + p->y + (g * s->m + m0) * s->ym;
    const int64_t width = ld * (int64_t)sizeof(real), whole = p->k * width <= CONV_PANEL_BYTES;
    const int64_t taps = whole ? p->k : CONV_PIECE_BYTES / width, group = whole ? 1 : CONV_GROUP;
    const int64_t size = MAX_ROWS * MAX_NV * LANES;
    real sums[CONV_GROUP * MAX_ROWS * MAX_NV * LANES], start[MAX_NV * LANES] = {0};
    const int32_t *distances = RT_AT(const int32_t, values, s->at) + p->at;
    const real *w = RT_AT(const real, values, s->weights) + p->weights + (g * vectors + v0) * LANES * p->all + p->first * ld;
    int64_t place[MAX_ROWS];
    rt_column_tile t;
    rt_position at = {0};
    if (bias) memcpy(start, bias + g * s->m + m0, m * sizeof(real));
    if (tile) {
        const int64_t from = tile * p->cut + (tile < p->extra ? tile : p->extra);
        at.w = from % p->ow, at.h = from / p->ow % p->oh, at.n = from / (p->ow * p->oh);
    }
    for (; tile < end; tile += group) {
        const rt_position first = at;
        int64_t k = 0;
        do {
            const int last = p->k - k <= taps;
            at = first;
            t.w = w + k * ld, t.at = distances + k, t.k = last ? p->k - k : taps;
            for (int64_t i = 0; i < group && tile + i < end; i++) {
                const int mr = (int)(p->cut + (tile + i < p->extra));
                t.out = sums + i * size;
                t.init = k ? t.out : start, t.ldinit = k ? ld : 0;
                next_positions(s, p, &at, mr, x, t.a, place);
                column_tiles[nv][mr](&t);
                if (!last) continue;
                if (s->activation >= 0) activate_row(s->activation, s->alpha, s->beta, t.out, mr * ld);
                put_columns(t.out, y, s->ym, place, mr, m, ld);
            }
            k += taps;
        } while (k < p->k);
    }
}

/* Parts take whole panels as long as there are enough of them, else pieces of the positions. Phases that share a panel follow
 * each other. */
static int op_conv_channels(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_conv *s = (const rt_conv *)words;
    const int64_t panels = s->blocks * s->groups, whole = panels >= n_parts;
    const int64_t begin = whole ? part_begin(panels, part, n_parts) : 0;
    const int64_t end = whole ? part_begin(panels, part + 1, n_parts) : panels;
    int64_t g = begin ? begin / s->blocks : 0, b = begin - g * s->blocks;
    for (int64_t j = begin; j < end; j++) {
        for (int i = 0; i < s->n_phases; i++) {
            const rt_conv_phase *p = &s->phase[i];
            const int64_t from = whole ? 0 : part_begin(p->cuts, part, n_parts);
            conv_panel(s, p, values, g, b, from, whole ? p->cuts : part_begin(p->cuts, part + 1, n_parts));
        }
        if (++b == s->blocks) b = 0, g++;
    }
    return RT_OK;
}
#endif
