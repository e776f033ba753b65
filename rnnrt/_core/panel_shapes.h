/* The shapes that tiles come in, which of them go together, and the tables to run them by. Include after vmath.h; panel.h has the sums. */
#ifndef RT_PANEL_SHAPES_H
#define RT_PANEL_SHAPES_H
#include "panel.h"

/* Few rows against two panels, whose weights share nothing but their height: the sums of one panel alone are too few chains to keep the
 * multipliers busy, and one place to read from is too few for what lies far. */
RT_INLINE void pair_term(const int mr, const int nv, const int prefetch, const int first, const real *const *a,
                         const real *const *w, const char *const *pages, ptrdiff_t k, vf *acc) {
    vf x[PAIR_ROWS];
    RT_UNROLL
    for (int r = 0; r < mr; r++) x[r] = v_set1(a[r][k]);
    panel_fetch(nv, prefetch, k, w[0] + k * nv * LANES, pages[0], 0);
    panel_fetch(nv, prefetch, k, w[1] + k * nv * LANES, pages[1], 0);
    RT_UNROLL
    for (int i = 0; i < 2 * nv; i++) {
        vf b = v_load(w[i / nv] + (k * nv + i % nv) * LANES);
        if (mr > 1) V_KEEP(b);
        RT_UNROLL
        for (int r = 0; r < mr; r++) acc[i * mr + r] = panel_product(first, x[r], b, acc[i * mr + r]);
    }
}

/* One of the two sums over k, for both panels, as panel_sums has it; returns whether anything has been added. */
RT_INLINE int pair_sum(const int mr, const int nv, const int prefetch, const real *const *rows, const real *const *w,
                       ptrdiff_t n_k, ptrdiff_t terms, const char *const *after, const rt_tile *pair, int begun) {
    const real *a[PAIR_ROWS];
    RT_UNROLL
    for (int r = 0; r < mr; r++) a[r] = rows[r];
    for (ptrdiff_t k = 0; k < n_k;) {
        const ptrdiff_t end = n_k - k < terms ? n_k : k + terms;
        const char *pages[2] = {panel_pages(nv, w[0], k, n_k, after[0]), panel_pages(nv, w[1], k, n_k, after[1])};
        vf acc[2 * MAX_NV * PAIR_ROWS];
        pair_term(mr, nv, prefetch, 1, a, w, pages, k, acc);
        RT_UNROLL_TERMS
        for (k++; k < end; k++) pair_term(mr, nv, prefetch, 0, a, w, pages, k, acc);
        RT_UNROLL
        for (int i = 0; i < 2 * nv * mr; i++) {
            const rt_tile *t = &pair[i / mr / nv];
            const int v = i / mr % nv, r = i % mr;
            real *out = t->out + (r * nv + v) * LANES;
            v_store(out, v_load(begun ? out : t->init[v] + r * t->ldinit[v]) + acc[i]);
        }
        begun = 1;
    }
    return begun;
}

RT_INLINE void panel_pair_of(const int mr, const int nv, const int prefetch, const rt_tile *pair) {
    const rt_tile *t = pair;
    const real *w1[2] = {t[0].w1, t[1].w1}, *w2[2] = {t[0].w2, t[1].w2};
    /* The panels after a pair lie as far apart as its own. */
    const char *after[2] = {t[1].ahead, t[1].ahead + ((const char *)w1[1] - (const char *)w1[0])};
    const char *then[2] = {t->k2 ? (const char *)w2[0] : after[0], t->k2 ? (const char *)w2[1] : after[1]};
    int begun = pair_sum(mr, nv, prefetch, t->a1, w1, t->k1, t->terms, then, pair, 0);
    begun = pair_sum(mr, nv, prefetch, t->a2, w2, t->k2, SUM_TERMS, after, pair, begun);
    for (int i = 0; !begun && i < 2 * nv * mr; i++) {
        t = &pair[i / mr / nv];
        v_store(t->out + (i % mr * nv + i / mr % nv) * LANES, v_load(t->init[i / mr % nv] + i % mr * t->ldinit[i / mr % nv]));
    }
    panel_mend(mr, nv, nv, &pair[0]);
    panel_mend(mr, nv, nv, &pair[1]);
}

/* Where weights come from: the L2 cache (`far` RT_NEAR), or beyond it. Of the latter a tile fetches its own and the next panel's (RT_FAR,
 * or RT_MEMORY), but for few rows, which are bound by loading and decoding; or the next panel's alone, where a panel has so many tiles
 * that those of the one before have fetched it all (RT_NEXT). From L2, fetching costs more than it brings: an instruction a line. Shapes
 * that do not fit into the registers are never asked for. */
/* clang-format off */
#define RT_TILE_AS(kind, mr, nv, prefetch) \
    static void kind##mr##x##nv(const rt_tile *t) { \
        if (mr <= rt_tile_rows[nv]) panel_tile(mr, 0, nv, nv, prefetch, t); \
    }
#define RT_TILE(mr, nv) \
    RT_TILE_AS(panel_, mr, nv, 0) \
    RT_TILE_AS(panel_far_, mr, nv, PREFETCH_OWN | (mr > 3 ? PREFETCH_NEXT : 0)) \
    RT_TILE_AS(panel_next_, mr, nv, PREFETCH_NEXT) \
    RT_TILE_AS(panel_pages_, mr, nv, PREFETCH_PAGES | (mr > 3 ? PREFETCH_NEXT : 0))
#define RT_TILES(nv) \
    RT_TILE(1, nv) RT_TILE(2, nv) RT_TILE(3, nv) RT_TILE(4, nv) RT_TILE(5, nv) RT_TILE(6, nv) RT_TILE(7, nv) RT_TILE(8, nv)
RT_TILES(1) RT_TILES(2) RT_TILES(3) RT_TILES(4)

typedef void (*panel_fn)(const rt_tile *);
#define RT_ROW(kind, nv) \
    {0, kind##1x##nv, kind##2x##nv, kind##3x##nv, kind##4x##nv, kind##5x##nv, kind##6x##nv, kind##7x##nv, kind##8x##nv}
#define RT_SHAPES(kind) {{0}, RT_ROW(kind, 1), RT_ROW(kind, 2), RT_ROW(kind, 3), RT_ROW(kind, 4)}
static const panel_fn rt_tiles[4][MAX_NV + 1][MAX_ROWS + 1] = {RT_SHAPES(panel_), RT_SHAPES(panel_far_),
                                                                 RT_SHAPES(panel_next_), RT_SHAPES(panel_pages_)};

#if RT_TILES_AT_ONCE == 2
/* Two tiles of the same panel, the upper one as high as the other or a row higher. */
#define RT_TWO(mr, more, nv) \
    static void panel_two_##mr##_##more##x##nv(const rt_tile *t) { panel_tile(mr, more, nv, nv, 0, t); } \
    static void panel_far_two_##mr##_##more##x##nv(const rt_tile *t) { \
        panel_tile(mr, more, nv, nv, PREFETCH_OWN | PREFETCH_NEXT, t); \
    } \
    static void panel_next_two_##mr##_##more##x##nv(const rt_tile *t) { panel_tile(mr, more, nv, nv, PREFETCH_NEXT, t); } \
    static void panel_pages_two_##mr##_##more##x##nv(const rt_tile *t) { \
        panel_tile(mr, more, nv, nv, PREFETCH_PAGES | PREFETCH_NEXT, t); \
    }
RT_TWO(2, 2, 4) RT_TWO(3, 2, 4) RT_TWO(3, 3, 4) RT_TWO(3, 2, 3) RT_TWO(3, 3, 3) RT_TWO(4, 3, 3) RT_TWO(4, 4, 3)
#define RT_TWO_ROWS(kind) \
    {{0, 0, 0, 0, 0, kind##3_2x3, kind##3_3x3, kind##4_3x3, kind##4_4x3}, \
     {0, 0, 0, 0, kind##2_2x4, kind##3_2x4, kind##3_3x4, 0, 0}}
static const panel_fn rt_two_tiles[4][2][MAX_ROWS + 1] = {RT_TWO_ROWS(panel_two_), RT_TWO_ROWS(panel_far_two_),
                                                            RT_TWO_ROWS(panel_next_two_), RT_TWO_ROWS(panel_pages_two_)};
#else
/* All rows against two of four vectors, and then against the other two. */
RT_INLINE void panel_halves(const int mr, const rt_tile *t) {
    rt_tile half = *t;
    for (int i = 0; i < 2; i++) {
        panel_tile(mr, 0, 2, 4, PREFETCH_OWN | PREFETCH_NEXT, &half);
        half.w1 += 2 * LANES, half.w2 += 2 * LANES, half.out += 2 * LANES, half.ahead += 64 * (t->k1 + t->k2);
        for (int v = 0; v < 2; v++) half.init[v] = t->init[v + 2], half.ldinit[v] = t->ldinit[v + 2];
    }
}

/* Four vectors for more rows than a tile has: two tiles that go together, but of weights from the L3 cache, of which four vectors at
 * once would ask too much, halves. */
#define RT_HIGH(mr, more) \
    static void panel_high_##mr##_##more(const rt_tile *t) { panel_tile(mr, more, 4, 4, 0, t); } \
    static void panel_far_high_##mr##_##more(const rt_tile *t) { panel_halves(mr + more, t); } \
    static void panel_pages_high_##mr##_##more(const rt_tile *t) { panel_tile(mr, more, 4, 4, PREFETCH_PAGES, t); }
RT_HIGH(2, 2) RT_HIGH(3, 2) RT_HIGH(3, 3) RT_HIGH(4, 3) RT_HIGH(4, 4)
#define RT_HIGHS(kind) {0, 0, 0, 0, kind##2_2, kind##3_2, kind##3_3, kind##4_3, kind##4_4}
static const panel_fn rt_high[4][MAX_ROWS + 1] = {RT_HIGHS(panel_high_), RT_HIGHS(panel_far_high_), RT_HIGHS(panel_far_high_),
                                                  RT_HIGHS(panel_pages_high_)};
#endif
/* clang-format on */

/* How many tiles of a panel go together. */
static inline int panel_takes(int nv) { return nv >= 3 ? RT_TILES_AT_ONCE : 1; }

/* How many rows a tile may have. Of four vectors there may be as many as go with two (rt_high). */
static inline int panel_rows(int nv, ptrdiff_t n_rows) {
    return RT_TILES_AT_ONCE == 1 && nv == 4 && n_rows <= rt_tile_rows[2] ? rt_tile_rows[2] : rt_tile_rows[nv];
}

/* Whether the sums of two panels fit into the registers, as those of the highest tile of four vectors do. */
RT_INLINE int pair_fits(const int mr, const int nv) { return 2 * nv * mr <= 4 * rt_tile_rows[4]; }

/* Whether two panels are taken together for so many rows: those whose sums fit, and four of four vectors, which do not, but as two and two
 * use weights too fast for those to come. */
static inline int panel_pairs(int nv, int n_rows) {
    if (nv < 3 || n_rows > PAIR_ROWS) return 0;
    return pair_fits(n_rows, nv) || (RT_TILES_AT_ONCE == 2 && nv == 4 && n_rows == 4);
}

#if RT_TILES_AT_ONCE == 2
RT_INLINE void four_term(const int first, const real *const *rows, ptrdiff_t k, const real *w0, const real *w1, vf *acc) {
    vf b0 = v_load(w0), b1 = v_load(w1);
    V_KEEP(b0);
    V_KEEP(b1);
    RT_UNROLL
    for (int r = 0; r < 4; r++) {
        const vf x = v_set1(rows[r][k]);
        acc[2 * r] = panel_product(first, x, b0, acc[2 * r]);
        acc[2 * r + 1] = panel_product(first, x, b1, acc[2 * r + 1]);
    }
}

/* The last vectors of two panels of four, for four rows: a block, as panel_block has it. */
RT_INLINE void four_block(const real *const *rows, const real *w0, const real *w1, ptrdiff_t k, ptrdiff_t end,
                          const rt_tile *pair, int begun) {
    const real *a[4] = {rows[0], rows[1], rows[2], rows[3]};
    vf acc[8];
    four_term(1, a, k, w0 + (4 * k + 3) * LANES, w1 + (4 * k + 3) * LANES, acc);
    __asm__("" : "+r"(k));
    RT_UNROLL_TERMS
    for (k++; k < end; k++) four_term(0, a, k, w0 + (4 * k + 3) * LANES, w1 + (4 * k + 3) * LANES, acc);
    RT_UNROLL
    for (int i = 0; i < 8; i++) {
        const rt_tile *t = &pair[i % 2];
        real *out = t->out + (i / 2 * 4 + 3) * LANES;
        v_store(out, v_load(begun ? out : t->init[3] + i / 2 * t->ldinit[3]) + acc[i]);
    }
}

/* Four rows against two panels of four vectors: three of the one, three of the other, and the last of both. There is a term, as a
 * layer has a hidden unit. */
RT_INLINE void panel_four_of(const int prefetch, const rt_tile *pair) {
    int begun = 0;
    for (int s = 0; s < 2; s++) {
        const real *const *rows = s ? pair->a2 : pair->a1;
        const real *w[2] = {s ? pair[0].w2 : pair[0].w1, s ? pair[1].w2 : pair[1].w1};
        const ptrdiff_t n_k = s ? pair->k2 : pair->k1, terms = s ? SUM_TERMS : pair->terms;
        for (ptrdiff_t k = 0; k < n_k; k += terms) {
            const ptrdiff_t end = n_k - k < terms ? n_k : k + terms;
            for (int i = 0; i < 2; i++) {
                const char *pages = panel_pages(4, w[i], k, n_k, pair[i].ahead);
                panel_block(4, 0, 3, 4, prefetch, 0, rows, w[i], k, end, &pair[i], pages, pair[i].ahead + (s ? 64 * pair->k1 : 0),
                            begun);
            }
            four_block(rows, w[0], w[1], k, end, pair, begun);
            begun = 1;
        }
    }
    for (int i = 0; i < 2; i++) panel_mend(4, 4, 4, &pair[i]);
}

static void panel_four(const rt_tile *pair) { panel_four_of(0, pair); }
static void panel_far_four(const rt_tile *pair) { panel_four_of(PREFETCH_OWN | PREFETCH_NEXT, pair); }
static void panel_pages_four(const rt_tile *pair) { panel_four_of(PREFETCH_PAGES | PREFETCH_NEXT, pair); }
static const panel_fn rt_fours[4] = {panel_four, panel_far_four, panel_far_four, panel_pages_four};
#endif

/* clang-format off */
#define RT_PAIR_AS(kind, mr, nv, prefetch) \
    static void kind##mr##x##nv(const rt_tile *pair) { \
        if (pair_fits(mr, nv)) panel_pair_of(mr, nv, prefetch, pair); \
    }
#define RT_PAIR(mr, nv) \
    RT_PAIR_AS(panel_pair_, mr, nv, 0) \
    RT_PAIR_AS(panel_far_pair_, mr, nv, PREFETCH_OWN) \
    RT_PAIR_AS(panel_pages_pair_, mr, nv, PREFETCH_PAGES)
RT_PAIR(1, 3) RT_PAIR(2, 3) RT_PAIR(3, 3) RT_PAIR(4, 3) RT_PAIR(1, 4) RT_PAIR(2, 4) RT_PAIR(3, 4)
#define RT_PAIR_ROWS(kind) {{0, kind##1x3, kind##2x3, kind##3x3, kind##4x3}, {0, kind##1x4, kind##2x4, kind##3x4, 0}}
static const panel_fn rt_pairs[4][2][PAIR_ROWS + 1] = {RT_PAIR_ROWS(panel_pair_), RT_PAIR_ROWS(panel_far_pair_),
                                                         RT_PAIR_ROWS(panel_far_pair_), RT_PAIR_ROWS(panel_pages_pair_)};
/* clang-format on */

/* Run two tiles of the same rows against two panels, where these go together. */
static inline void panel_pair(int far, int nv, int rows, const rt_tile *pair) {
#if RT_TILES_AT_ONCE == 2
    if (nv == 4 && rows == 4) {
        rt_fours[far](pair);
        return;
    }
#endif
    rt_pairs[far][nv - 3][rows](pair);
}

/* Run one tile of `rows` rows and `nv` vectors, or two tiles of so many rows together. */
static inline void panel_run(int far, int nv, int rows, const rt_tile *t) {
#if RT_TILES_AT_ONCE == 2
    if (rows > rt_tile_rows[nv]) {
        rt_two_tiles[far][nv - 3][rows](t);
        return;
    }
#else
    if (nv == 4 && rows > rt_tile_rows[4]) {
        rt_high[far][rows](t);
        return;
    }
#endif
    rt_tiles[far][nv][rows](t);
}
#endif
