/* Convolution of each plane with a kernel of its own (depthwise), plain or transposed, positions in the lanes.
 *     y[n][c][h][w] = f(bias[c] + sum_k weights[phase][c][k] * p[h*ph + w + at[k]])
 * where p is the plane x[n][c] itself or a copy with a margin (op_conv_pad.h), made in scratch memory just before. Rows of
 * outputs are taken `run` at a time as one line, of which what lies between the rows is dropped; so short rows fill vectors. Vectors of
 * rows that go to y as they are make tiles of several rows, the last of a row over the one before it.
 *
 * The caller guarantees: scratch of `size` reals a part, which is the copy, LANES reals and a line rounded up to vectors. */
#ifndef RT_OP_CONV_PLANES_H
#define RT_OP_CONV_PLANES_H
#include "op_conv_pad.h"

typedef struct {
    int64_t x, y, weights, at, k; /* as in rt_conv_phase */
    int64_t oh, ow, run, direct;  /* direct: lines may go to y as they are */
} rt_planes_phase;

typedef struct {
    rt_ref x, y, weights, bias, at, scratch;
    int64_t activation;
    double alpha, beta;
    int64_t n, c, xn, xc, ph, yn, yc, yh, yw;
    int64_t pad, batch, apart; /* words from here to an rt_conv_pad, or 0; copies made at a time, and their distance: what was
                                  just stored is slow to load across the bounds of the stores */
    int64_t line, size;        /* where lines begin in scratch, and its size a part */
    int64_t n_phases;
    rt_planes_phase phase[];
} rt_planes;

enum { PLANE_NV = 8 };

typedef struct {
    const real *x[PLANE_NV]; /* of each vector */
    real *y[PLANE_NV];
    const real *w, *bias;
    const int32_t *at;
    ptrdiff_t k;
    int relu;
} rt_plane_tile;

RT_INLINE void plane_tile(const int nv, const rt_plane_tile *t) {
    const real *x[PLANE_NV], *w = t->w;
    vf acc[PLANE_NV];
    RT_UNROLL
    for (int v = 0; v < nv; v++) x[v] = t->x[v], acc[v] = v_set1(t->bias ? *t->bias : 0);
    for (const int32_t *at = t->at, *end = at + t->k; at < end; at++, w++) {
        const ptrdiff_t o = *at;
        const vf b = v_set1(*w);
        RT_UNROLL
        for (int v = 0; v < nv; v++) acc[v] = v_fma(b, v_load(x[v] + o), acc[v]);
    }
    RT_UNROLL
    for (int v = 0; v < nv; v++) v_store(t->y[v], t->relu ? v_max(v_set1(0), acc[v]) : acc[v]);
}

/* clang-format off */
#define PLANE_TILE(nv) static void plane_##nv(const rt_plane_tile *t) { plane_tile(nv, t); }
PLANE_TILE(1) PLANE_TILE(2) PLANE_TILE(3) PLANE_TILE(4) PLANE_TILE(5) PLANE_TILE(6) PLANE_TILE(7) PLANE_TILE(8)
static void (*const plane_tiles[PLANE_NV + 1])(const rt_plane_tile *) = {0, plane_1, plane_2, plane_3, plane_4,
                                                                         plane_5, plane_6, plane_7, plane_8};
/* clang-format on */

/* `rows` rows of n outputs, ph and yh apart; n >= LANES, or one row with vectors to spare behind y. */
static inline void plane_rows(rt_plane_tile *t, const real *x, real *y, int64_t rows, int64_t n, int64_t ph, int64_t yh) {
    const int64_t last = n < LANES ? 0 : n - LANES;
    int nv = 0;
    for (int64_t h = 0; h < rows; h++, x += ph, y += yh)
        for (int64_t w = 0; w < n; w += LANES) {
            const int64_t from = w < last ? w : last;
            t->x[nv] = x + from, t->y[nv] = y + from;
            if (++nv < PLANE_NV) continue;
            plane_8(t);
            nv = 0;
        }
    if (nv) plane_tiles[nv](t);
}

static inline void put_row(real *y, const real *x, int64_t n, int64_t step) {
    if (step == 1) {
        for (; n >= LANES; n -= LANES, x += LANES, y += LANES) v_store(y, v_load(x));
        if (n) v_store_n(y, v_load(x), (int)n);
        return;
    }
    for (int64_t i = 0; i < n; i++) y[i * step] = x[i];
}

static void plane_phase(const rt_planes *s, const rt_planes_phase *p, rt_plane_tile *t, const real *plane, real *y, real *line) {
    const int activated = s->activation >= 0 && !t->relu, direct = p->direct && !activated;
    if (direct && p->run == 1) {
        plane_rows(t, plane + p->x, y, p->oh, p->ow, s->ph, s->yh);
        return;
    }
    for (int64_t h = 0; h < p->oh; h += p->run) {
        const int64_t rows = p->oh - h < p->run ? p->oh - h : p->run, n = (rows - 1) * s->ph + p->ow;
        plane_rows(t, plane + p->x + h * s->ph, direct ? y + h * s->yh : line, 1, n, 0, 0);
        if (direct) continue;
        if (activated) activate_row(s->activation, s->alpha, s->beta, line, n);
        for (int64_t r = 0; r < rows; r++) put_row(y + (h + r) * s->yh, line + r * s->ph, p->ow, s->yw);
    }
}

typedef struct {
    int64_t n, c;
} rt_plane;

static inline void next_plane(const rt_planes *s, rt_plane *at) {
    if (++at->c == s->c) at->c = 0, at->n++;
}

/* `count` planes from `at` on, which moves. */
static void plane_batch(const rt_planes *s, char *const *values, rt_plane *at, int64_t count, real *copy) {
    const rt_conv_pad *pad = s->pad ? (const rt_conv_pad *)((const int64_t *)s + s->pad) : 0;
    const real *x = RT_AT(const real, values, s->x), *w = RT_AT(const real, values, s->weights);
    const real *bias = RT_AT(const real, values, s->bias);
    const int32_t *taps = RT_AT(const int32_t, values, s->at);
    rt_plane_tile t = {.relu = s->activation == ACT_RELU};
    rt_plane ahead = *at;
    for (int64_t i = 0; pad && i < count; i++, next_plane(s, &ahead)) {
        const real *last = copy + (i < count - 1 ? (i + 1) * s->apart : s->line);
        pad_planes(pad, x + ahead.n * s->xn + ahead.c * s->xc, copy + i * s->apart, 1, last, 0);
    }
    for (int64_t i = 0; i < count; i++, next_plane(s, at)) {
        const real *plane = pad ? copy + i * s->apart : x + at->n * s->xn + at->c * s->xc;
        t.bias = bias ? bias + at->c : 0;
        for (int64_t j = 0; j < s->n_phases; j++) {
            const rt_planes_phase *p = &s->phase[j];
            real *y = RT_AT(real, values, s->y) + p->y + at->n * s->yn + at->c * s->yc;
            t.w = w + p->weights + at->c * p->k, t.at = taps + p->at, t.k = p->k;
            plane_phase(s, p, &t, plane, y, copy + s->line);
        }
    }
}

static int op_conv_planes(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_planes *s = (const rt_planes *)words;
    const int64_t planes = s->n * s->c, end = part_begin(planes, part + 1, n_parts);
    int64_t i = part_begin(planes, part, n_parts);
    real *copy = RT_AT(real, values, s->scratch) + part * s->size;
    rt_plane at = {i ? i / s->c : 0, 0};
    at.c = i - at.n * s->c;
    for (; i < end; i += s->batch) plane_batch(s, values, &at, end - i < s->batch ? end - i : s->batch, copy);
    return RT_OK;
}
#endif
