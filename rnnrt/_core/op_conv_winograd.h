/* Convolutions of 3x3 taps, one apart, by Winograd's minimal filtering F(2x2, 3x3) (A. Lavin and S. Gray, Fast Algorithms for
 * Convolutional Neural Networks, 2016): 16 products for 4 outputs of a channel, where the sum over taps has 36.
 *     patch d = 4x4 inputs    V = B'dB    U = GgG'    M_f = sum_c U_f V_f for each f of 16    outputs = A'MA = 2x2
 *     B'd = (d0 - d2, d1 + d2, d2 - d1, d1 - d3)    Gg = (g0, (g0 + g1 + g2)/2, (g0 - g1 + g2)/2, g2)
 *     A'm = (m0 + m1 + m2, m1 - m2 - m3)
 *     weights[p][f][c][v][u]   p < `blocks` panels, f < 16, c < C, v < block vectors (the last panel: what is left), u < LANES: U
 * Patches lie 2 apart. A unit is the patches of up to `run` rows and `slab` columns of them of an image, a group some units. V
 * of a group is made once, patches in the lanes; products have output channels in the lanes.
 *
 * With `pool`, y holds the largest of each patch's outputs, where all four are there.
 *
 * Sums run over c in ascending order, whatever units, groups and parts are. Where an output is not finite, inputs that it does not
 * read may have done that, or sums of a patch that overflow: it is computed once more, tap by tap. */
#ifndef RT_OP_CONV_WINOGRAD_H
#define RT_OP_CONV_WINOGRAD_H
#include "op_conv_channels.h"
#include "op_conv_pad.h"

enum { WINOGRAD_F = 16, WINOGRAD_CHANNELS = 64 }; /* kinds of products; channels whose products are added at a time */
enum { WINOGRAD_RUN = 4, WINOGRAD_OUT = 2 * WINOGRAD_RUN }; /* patches whose outputs are put at a time, and columns of those */

typedef struct {
    rt_ref x, y, weights, bias, scratch; /* bias may be NULL; scratch: `size` reals a part */
    int64_t activation; /* ACT_*, or -1 */
    double alpha, beta;
    int64_t n, c, h, w, xn, xc, xh, xw, top, left; /* top, left: rows and columns of zeros before x */
    int64_t m, oh, ow, pool, yn, ym, yh;
    int64_t block, blocks; /* vectors of output channels of a panel, panels */
    int64_t run, bands, slab, slabs, join; /* of a unit, units of an image by rows and columns, units of a group */
    int64_t ld; /* room for the patches of a group, and a vector more */
    int64_t copy, v_f, m_f, size; /* reals of a plane's copy; from one f to the next in V and in M; of a part's scratch */
} rt_winograd;

/* Where the numbers of a group lie. */
typedef struct {
    real *copy, *v, *m;
} rt_winograd_room;

static rt_winograd_room winograd_room(const rt_winograd *s, real *scratch) {
    real *v = scratch + s->copy;
    return (rt_winograd_room){scratch, v, v + WINOGRAD_F * s->v_f};
}

/* Image, rows and columns of the patches of a unit. */
typedef struct {
    int64_t n, row, end_row, column, end_column;
} rt_winograd_unit;

static rt_winograd_unit winograd_unit(const rt_winograd *s, int64_t unit) {
    const int64_t rows = (s->oh + 1) / 2, columns = (s->ow + 1) / 2, slab = unit % s->slabs, band = unit / s->slabs % s->bands;
    rt_winograd_unit u = {.n = unit / (s->slabs * s->bands), .row = band * s->run, .column = slab * s->slab};
    u.end_row = rows - u.row < s->run ? rows : u.row + s->run;
    u.end_column = columns - u.column < s->slab ? columns : u.column + s->slab;
    return u;
}

/* Even and odd columns of a unit's rows of a plane: piece[2][rows][pitch], zeros outside. */
static void winograd_copy(const rt_winograd *s, const rt_winograd_unit *u, const real *x, real *y, int64_t rows, int64_t pitch) {
    for (int64_t q = 0; q < 2; q++) {
        const int64_t start = 2 * u->column + q - s->left, most = s->w > start ? (s->w - start + 1) / 2 : 0;
        const int64_t high = most < pitch ? most : pitch, low = start >= 0 ? 0 : (1 - start) / 2 < high ? (1 - start) / 2 : high;
        for (int64_t i = 0, row = 2 * u->row - s->top; i < rows; i++, row++, y += pitch) {
            if (row < 0 || row >= s->h) {
                fill_loosely(y, pitch, 0);
                continue;
            }
            fill_loosely(y, low, 0);
            take_row(y + low, x + row * s->xh + (start + 2 * low) * s->xw, high - low, 2 * s->xw);
            fill_loosely(y + high, pitch - high, 0);
        }
    }
}

/* B'dB of LANES patches side by side: even and odd columns of four rows, `pitch` apart, to 16 places `f` apart. */
RT_INLINE void winograd_inputs(const real *even, const real *odd, ptrdiff_t pitch, real *v, ptrdiff_t f) {
    vf t[4][4];
    RT_UNROLL
    for (int i = 0; i < 4; i++, even += pitch, odd += pitch) {
        const vf d0 = v_load(even), d1 = v_load(odd), d2 = v_load(even + 1), d3 = v_load(odd + 1);
        t[i][0] = d0 - d2, t[i][1] = d1 + d2, t[i][2] = d2 - d1, t[i][3] = d1 - d3;
    }
    RT_UNROLL
    for (int j = 0; j < 4; j++, v += f) {
        v_store(v, t[0][j] - t[2][j]);
        v_store(v + 4 * f, t[1][j] + t[2][j]);
        v_store(v + 8 * f, t[2][j] - t[1][j]);
        v_store(v + 12 * f, t[1][j] - t[3][j]);
    }
}

/* A'MA of LANES output channels from 16 places `f` apart: y[row][column]. */
RT_INLINE void winograd_outputs(const real *m, ptrdiff_t f, vf bias, vf y[2][2]) {
    vf t[2][4];
    RT_UNROLL
    for (int j = 0; j < 4; j++, m += f) {
        const vf m0 = v_load(m), m1 = v_load(m + 4 * f), m2 = v_load(m + 8 * f), m3 = v_load(m + 12 * f);
        t[0][j] = m0 + (m1 + m2), t[1][j] = (m1 - m2) - m3;
    }
    RT_UNROLL
    for (int i = 0; i < 2; i++) {
        y[i][0] = bias + (t[i][0] + (t[i][1] + t[i][2]));
        y[i][1] = bias + ((t[i][1] - t[i][2]) - t[i][3]);
    }
}

/* V of all channels for the patches of units [unit, end), and their number. */
static int64_t winograd_patches(const rt_winograd *s, const rt_winograd_room *room, char *const *values, int64_t unit,
                                int64_t end) {
    real *to = room->v;
    for (; unit < end; unit++) {
        const rt_winograd_unit u = winograd_unit(s, unit);
        const int64_t across = u.end_column - u.column, rows = 2 * (u.end_row - u.row) + 2, pitch = across + 1;
        const real *x = RT_AT(const real, values, s->x) + u.n * s->xn;
        for (int64_t c = 0; c < s->c; c++, x += s->xc) {
            winograd_copy(s, &u, x, room->copy, rows, pitch);
            const real *even = room->copy, *odd = even + rows * pitch;
            real *v = to + c * s->ld;
            for (int64_t i = u.row; i < u.end_row; i++, even += 2 * pitch, odd += 2 * pitch, v += across)
                for (int64_t j = 0; j < across; j += LANES) winograd_inputs(even + j, odd + j, pitch, v + j, s->v_f);
        }
        to += (u.end_row - u.row) * across;
    }
    return to - room->v;
}

/* Products of one f and k channels: patches (rows of a tile) side by side at v, channels ld apart. Lines from `next` on are fetched
 * meanwhile, and those `apart` further on. */
typedef struct {
    const real *v, *w;
    const char *next;
    ptrdiff_t k, ld, apart;
    real *out; /* [patch][v][u] */
    int more; /* whether they are added to what is there */
} rt_patch_tile;

RT_INLINE void patch_tile(const int mr, const int nv, const rt_patch_tile *t) {
    const real *v = t->v, *w = t->w;
    const char *next = t->next;
    vf acc[MAX_ROWS * MAX_NV];
    RT_UNROLL
    for (int i = 0; i < mr * nv; i++) acc[i] = v_set1(0);
    if (t->more) {
        RT_UNROLL
        for (int i = 0; i < mr * nv; i++) acc[i] = v_load(t->out + i * LANES);
    }
    RT_UNROLL_TERMS
    for (const real *end = w + t->k * nv * LANES; w < end; v += t->ld, w += nv * LANES, next += 64) {
        vf b[MAX_NV];
        __builtin_prefetch(next, 0, 2);
        __builtin_prefetch(next + t->apart, 0, 2);
        RT_UNROLL
        for (int i = 0; i < nv; i++) {
            b[i] = v_load(w + i * LANES);
            if (mr > 1) V_KEEP(b[i]);
        }
        RT_UNROLL
        for (int r = 0; r < mr; r++) {
            const vf x = v_set1(v[r]);
            RT_UNROLL
            for (int i = 0; i < nv; i++) acc[r * nv + i] = v_fma(x, b[i], acc[r * nv + i]);
        }
    }
    RT_UNROLL
    for (int i = 0; i < mr * nv; i++) v_store(t->out + i * LANES, acc[i]);
}

CONV_TILES(patch)

/* M of `count` patches, for nv vectors of output channels with U from u on. */
static void winograd_products(const rt_winograd *s, const rt_winograd_room *room, const real *u, int nv, int64_t count) {
    const int most = rt_tile_rows[nv];
    const ptrdiff_t ld = nv * LANES;
    const int64_t cuts = (count + most - 1) / most, cut = count / cuts, extra = count % cuts;
    rt_patch_tile t = {.ld = s->ld, .w = u};
    for (int f = 0; f < WINOGRAD_F; f++)
        for (int64_t c = 0; c < s->c; c += t.k) {
            t.k = s->c - c < WINOGRAD_CHANNELS ? s->c - c : WINOGRAD_CHANNELS;
            t.v = room->v + f * s->v_f + c * s->ld, t.out = room->m + f * s->m_f, t.more = c > 0;
            t.next = (const char *)(t.w + t.k * ld), t.apart = cuts < MAX_NV ? cuts * t.k * 64 : 0;
            for (int64_t i = 0; i < cuts; i++) {
                const int mr = (int)(cut + (i < extra));
                patch_tiles[nv][mr](&t);
                t.v += mr, t.out += mr * ld, t.next += t.k * 64;
            }
            t.w += t.k * ld;
        }
}

/* The nine weights of a channel and LANES output channels, from U, whose kinds lie `f` apart. */
RT_INLINE void winograd_taps(const real *u, ptrdiff_t f, vf g[9]) {
    vf t[3][4];
    RT_UNROLL
    for (int j = 0; j < 4; j++, u += f)
        t[0][j] = v_load(u), t[1][j] = v_load(u + 4 * f) - v_load(u + 8 * f), t[2][j] = v_load(u + 12 * f);
    RT_UNROLL
    for (int i = 0; i < 3; i++) g[3 * i] = t[i][0], g[3 * i + 1] = t[i][1] - t[i][2], g[3 * i + 2] = t[i][3];
}

/* The sums for positions [w, w + mr) of row h, tap by tap: out[r][v][u]. */
static void winograd_exactly(const rt_winograd *s, const real *x, const real *u, const real *bias, int64_t h, int64_t w, int mr,
                             int nv, real *out) {
    const ptrdiff_t ld = nv * LANES;
    for (int r = 0; r < mr; r++) memcpy(out + r * ld, bias, ld * sizeof(real));
    for (int64_t c = 0; c < s->c; c++, x += s->xc, u += ld)
        for (ptrdiff_t v = 0; v < ld; v += LANES) {
            vf g[9];
            winograd_taps(u + v, s->c * ld, g);
            for (int r = 0; r < mr; r++) {
                vf sum = v_load(out + r * ld + v);
                for (int tap = 0; tap < 9; tap++) {
                    const int64_t row = h + tap / 3 - s->top, column = w + r + tap % 3 - s->left;
                    if (row < 0 || row >= s->h || column < 0 || column >= s->w) continue;
                    sum = v_fma(v_set1(x[row * s->xh + column * s->xw]), g[tap], sum);
                }
                v_store(out + r * ld + v, sum);
            }
        }
}

/* A panel of output channels while a group's outputs are put. */
typedef struct {
    const real *u;
    real bias[MAX_NV * LANES];
    int64_t m0, m;
    int nv;
} rt_winograd_panel;

/* Of the outputs [k][position][channel] of patches side by side, the largest of each patch, in place of the first ones. */
static void winograd_pool(real out[2][WINOGRAD_OUT * MAX_NV * LANES], int count, ptrdiff_t ld) {
    for (int i = 0; i < count; i++)
        for (ptrdiff_t v = 0; v < ld; v += LANES) {
            const ptrdiff_t at = 2 * i * ld + v;
            const vf upper = v_larger(v_load(out[0] + at), v_load(out[0] + at + ld));
            const vf lower = v_larger(v_load(out[1] + at), v_load(out[1] + at + ld));
            v_store(out[0] + i * ld + v, v_larger(upper, lower));
        }
}

/* The outputs of `count` patches of a row, at most WINOGRAD_RUN: those from (2*row, 2*column) of image n, whose M begins at `from`. */
static void winograd_run(const rt_winograd *s, char *const *values, const rt_winograd_panel *p, const real *from, int64_t n,
                         int64_t row, int64_t column, int count) {
    const ptrdiff_t ld = p->nv * LANES;
    const int64_t h = 2 * row, w = 2 * column;
    const int mr = (int)(s->ow - w < 2 * count ? s->ow - w : 2 * count);
    real out[2][WINOGRAD_OUT * MAX_NV * LANES], *y = RT_AT(real, values, s->y) + n * s->yn + p->m0 * s->ym;
    vf infinite = v_set1(0);
    for (int i = 0; i < count; i++, from += ld)
        for (int v = 0; v < p->nv; v++) {
            vf found[2][2];
            winograd_outputs(from + v * LANES, s->m_f, v_load(p->bias + v * LANES), found);
            RT_UNROLL
            for (int k = 0; k < 4; k++) {
                infinite = infinite + (found[k / 2][k % 2] - found[k / 2][k % 2]);
                v_store(out[k / 2] + (2 * i + k % 2) * ld + v * LANES, found[k / 2][k % 2]);
            }
        }
    for (int k = 0; k < 2 && h + k < s->oh; k++) {
        const real *x = RT_AT(const real, values, s->x) + n * s->xn;
        if (v_any_nan(infinite)) winograd_exactly(s, x, p->u, p->bias, h + k, w, mr, p->nv, out[k]);
        if (s->activation >= 0) activate_row(s->activation, s->alpha, s->beta, out[k], mr * ld);
        if (!s->pool) put_run(out[k], y + (h + k) * s->yh + w, s->ym, mr, p->m, ld);
    }
    if (!s->pool || h + 1 >= s->oh || mr < 2) return;
    winograd_pool(out, mr / 2, ld);
    put_run(out[0], y + row * s->yh + column, s->ym, mr / 2, p->m, ld);
}

/* Units [unit, end), at most a group, and panels [panel, last). */
static void winograd_group(const rt_winograd *s, const rt_winograd_room *room, char *const *values, int64_t unit, int64_t end,
                           int64_t panel, int64_t last) {
    const real *weights = RT_AT(const real, values, s->weights), *bias = RT_AT(const real, values, s->bias);
    const int64_t vectors = (s->m + LANES - 1) / LANES;
    const int64_t count = winograd_patches(s, room, values, unit, end);
    for (; panel < last; panel++) {
        const int64_t v0 = panel * s->block, nv = vectors - v0 < s->block ? vectors - v0 : s->block;
        rt_winograd_panel p = {.u = weights + v0 * LANES * WINOGRAD_F * s->c, .nv = (int)nv, .m0 = v0 * LANES};
        p.m = s->m - p.m0 < nv * LANES ? s->m - p.m0 : nv * LANES;
        if (bias) memcpy(p.bias, bias + p.m0, p.m * sizeof(real));
        winograd_products(s, room, p.u, p.nv, count);
        const real *from = room->m;
        for (int64_t i = unit; i < end; i++) {
            const rt_winograd_unit u = winograd_unit(s, i);
            for (int64_t row = u.row; row < u.end_row; row++)
                for (int64_t j = u.column; j < u.end_column; j += WINOGRAD_RUN) {
                    const int now = u.end_column - j < WINOGRAD_RUN ? (int)(u.end_column - j) : WINOGRAD_RUN;
                    winograd_run(s, values, &p, from, u.n, row, j, now);
                    from += now * nv * LANES;
                }
        }
    }
}

/* Parts take whole groups if there are enough of them, else panels. */
static int op_conv_winograd(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_winograd *s = (const rt_winograd *)words;
    const rt_winograd_room room = winograd_room(s, RT_AT(real, values, s->scratch) + part * s->size);
    const int64_t units = s->n * s->bands * s->slabs, groups = (units + s->join - 1) / s->join, by_groups = groups >= n_parts;
    const int64_t begin = by_groups ? part_begin(groups, part, n_parts) : 0;
    const int64_t end = by_groups ? part_begin(groups, part + 1, n_parts) : groups;
    const int64_t panel = by_groups ? 0 : part_begin(s->blocks, part, n_parts);
    const int64_t last = by_groups ? s->blocks : part_begin(s->blocks, part + 1, n_parts);
    if (panel == last) return RT_OK;
    for (int64_t group = begin; group < end; group++) {
        const int64_t unit = group * s->join;
        winograd_group(s, &room, values, unit, units - unit < s->join ? units : unit + s->join, panel, last);
    }
    return RT_OK;
}
#endif
