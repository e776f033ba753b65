/* The shapes that tiles come in, which of them go together, and the tables to run them by. Include after vmath.h; panel.h has the sums. */
#ifndef RT_PANEL_SHAPES_H
#define RT_PANEL_SHAPES_H
#include "panel.h"

/* Few rows against two or three panels, whose weights share nothing but their height: the sums of one panel alone are too few chains to
 * keep the multipliers busy, and one place to read from is too few for what lies far. */
RT_INLINE void group_term(const int n, const int mr, const int nv, const int prefetch, const int first, const real *const *a,
                          const real *const *w, const char *const *pages, ptrdiff_t k, vf *acc) {
    vf x[GROUP_ROWS];
    RT_UNROLL
    for (int r = 0; r < mr; r++) x[r] = v_set1(a[r][k]);
    RT_UNROLL
    for (int i = 0; i < n; i++) panel_fetch(nv, prefetch, k, w[i] + k * nv * LANES, pages[i], 0);
    RT_UNROLL
    for (int i = 0; i < n * nv; i++) {
        vf b = v_load(w[i / nv] + (k * nv + i % nv) * LANES);
        if (mr > 1) V_KEEP(b);
        RT_UNROLL
        for (int r = 0; r < mr; r++) acc[i * mr + r] = panel_product(first, x[r], b, acc[i * mr + r]);
    }
}

/* One of the two sums over k, for all panels, as panel_sums has it; returns whether anything has been added. */
RT_INLINE int group_sum(const int n, const int mr, const int nv, const int prefetch, const real *const *rows,
                        const real *const *w, ptrdiff_t n_k, ptrdiff_t terms, const char *const *after, const rt_tile *tiles,
                        int begun) {
    const real *a[GROUP_ROWS];
    RT_UNROLL
    for (int r = 0; r < mr; r++) a[r] = rows[r];
    for (ptrdiff_t k = 0; k < n_k;) {
        const ptrdiff_t end = n_k - k < terms ? n_k : k + terms;
        const char *pages[MAX_GROUP];
        vf acc[MAX_GROUP * MAX_NV * GROUP_ROWS];
        RT_UNROLL
        for (int i = 0; i < n; i++) pages[i] = panel_pages(nv, w[i], k, n_k, after[i]);
        group_term(n, mr, nv, prefetch, 1, a, w, pages, k, acc);
        k++;
        if (prefetch || mr > 2) {
            RT_UNROLL_TERMS
            for (; k < end; k++) group_term(n, mr, nv, prefetch, 0, a, w, pages, k, acc);
        } else {
            RT_UNROLL_BY(RT_GROUP_TERMS)
            for (; k < end; k++) group_term(n, mr, nv, prefetch, 0, a, w, pages, k, acc);
        }
        RT_UNROLL
        for (int i = 0; i < n * nv * mr; i++) {
            const rt_tile *t = &tiles[i / mr / nv];
            const int v = i / mr % nv, r = i % mr;
            real *out = t->out + (r * nv + v) * LANES;
            v_store(out, v_load(begun ? out : t->init[v] + r * t->ldinit[v]) + acc[i]);
        }
        begun = 1;
    }
    return begun;
}

RT_INLINE void panel_group_of(const int n, const int mr, const int nv, const int prefetch, const rt_tile *tiles) {
    const rt_tile *t = tiles;
    const real *w1[MAX_GROUP], *w2[MAX_GROUP];
    const char *after[MAX_GROUP], *then[MAX_GROUP];
    RT_UNROLL
    for (int i = 0; i < n; i++) {
        w1[i] = t[i].w1, w2[i] = t[i].w2;
        /* The panels after a group lie as far apart as its own. */
        after[i] = t[n - 1].ahead + ((const char *)w1[i] - (const char *)w1[0]);
        then[i] = t->k2 ? (const char *)w2[i] : after[i];
    }
    int begun = group_sum(n, mr, nv, prefetch, t->a1, w1, t->k1, t->terms, then, tiles, 0);
    begun = group_sum(n, mr, nv, prefetch, t->a2, w2, t->k2, SUM_TERMS, after, tiles, begun);
    for (int i = 0; !begun && i < n; i++) panel_start(mr, nv, &tiles[i]);
    RT_UNROLL
    for (int i = 0; i < n; i++) panel_mend(mr, nv, &tiles[i]);
}

/* Where weights come from: the L2 cache (`far` RT_NEAR), or beyond it. Of the latter a tile fetches its own and the next panel's (RT_FAR,
 * or RT_MEMORY), but for few rows, which are bound by loading and decoding; or the next panel's alone, where a panel has so many tiles
 * that those of the one before have fetched it all, or has been read by other tiles before (RT_NEXT). Two tiles together fetch a block
 * ahead (RT_FAR). From L2, fetching costs more than it brings: an instruction a line. Shapes that do not fit into the registers, and
 * two tiles where one would do, are never asked for. */
/* clang-format off */
#define RT_TILE_AS(kind, mr, nv, prefetch) \
    static void kind##mr##x##nv(const rt_tile *t) { \
        if (mr <= rt_tile_rows[nv]) panel_tile(mr, 0, nv, prefetch, t); \
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

/* Two tiles of the same panel, the upper one as high as the other or a row higher: by the rows of both. Those of one tile go as two where
 * they fetch the block ahead. */
RT_INLINE int two_fit(const int mr, const int more, const int nv, const int prefetch) {
    return mr <= rt_tile_rows[nv] && (mr + more > rt_tile_rows[nv] || (nv == MAX_NV && prefetch == PREFETCH_BLOCK));
}
#define RT_TWO_AS(kind, mr, more, nv, prefetch) \
    static void kind##mr##_##more##x##nv(const rt_tile *t) { \
        if (two_fit(mr, more, nv, prefetch)) panel_tile(mr, more, nv, prefetch, t); \
    }
#define RT_TWO(mr, more, nv) \
    RT_TWO_AS(panel_two_, mr, more, nv, 0) \
    RT_TWO_AS(panel_far_two_, mr, more, nv, PREFETCH_BLOCK) \
    RT_TWO_AS(panel_next_two_, mr, more, nv, PREFETCH_NEXT) \
    RT_TWO_AS(panel_pages_two_, mr, more, nv, PREFETCH_PAGES | PREFETCH_NEXT)
#define RT_TWOS(nv) \
    RT_TWO(2, 2, nv) RT_TWO(3, 2, nv) RT_TWO(3, 3, nv) RT_TWO(4, 3, nv) RT_TWO(4, 4, nv) RT_TWO(5, 4, nv) RT_TWO(5, 5, nv) \
    RT_TWO(6, 5, nv) RT_TWO(6, 6, nv) RT_TWO(7, 6, nv) RT_TWO(7, 7, nv) RT_TWO(8, 7, nv) RT_TWO(8, 8, nv)
RT_TWOS(3) RT_TWOS(4)
#define RT_TWO_ROW(kind, nv) \
    {0, 0, 0, 0, kind##2_2x##nv, kind##3_2x##nv, kind##3_3x##nv, kind##4_3x##nv, kind##4_4x##nv, kind##5_4x##nv, kind##5_5x##nv, \
     kind##6_5x##nv, kind##6_6x##nv, kind##7_6x##nv, kind##7_7x##nv, kind##8_7x##nv, kind##8_8x##nv}
#define RT_TWO_ROWS(kind) {RT_TWO_ROW(kind, 3), RT_TWO_ROW(kind, 4)}
static const panel_fn rt_two_tiles[4][2][2 * MAX_ROWS + 1] = {RT_TWO_ROWS(panel_two_), RT_TWO_ROWS(panel_far_two_),
                                                                RT_TWO_ROWS(panel_next_two_), RT_TWO_ROWS(panel_pages_two_)};
/* clang-format on */

/* How many tiles of a panel go together: of wide ones, whose weights are read often, two. */
static inline int panel_takes(int nv) { return nv >= 3 ? 2 : 1; }

/* How many rows a tile may have. */
static inline int panel_rows(int nv) { return rt_tile_rows[nv]; }

/* Whether the sums of n panels fit into the registers, as those of the highest tile of four vectors do. */
RT_INLINE int group_fits(const int n, const int mr, const int nv) { return n * nv * mr <= 4 * rt_tile_rows[4]; }

/* Whether three panels go together: where vectors are wide enough for a single row to be bound by more than its multiply-adds. */
#define RT_THREES (RT_GROUP_TERMS > 1)

/* Whether four rows and four vectors are more than a tile has. */
#define RT_FOURS (rt_tile_rows[4] < 4)

/* How many panels may be taken together for so many rows: for one row two or three; for others two, if their sums fit, and of four rows of four
 * vectors, which do not, but as two and two use weights too fast for those to come. */
static inline int panel_group(int nv, int rows) {
    if (nv < 3 || rows > GROUP_ROWS) return 1;
    if (rows == 1) return RT_THREES ? 3 : 2;
    return group_fits(2, rows, nv) || (RT_FOURS && nv == 4 && rows == 4) ? 2 : 1;
}

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

/* Four rows against two panels of four vectors: three of the one, three of the other, and the last of both. */
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
    for (int i = 0; !begun && i < 2; i++) panel_start(4, 4, &pair[i]);
    for (int i = 0; i < 2; i++) panel_mend(4, 4, &pair[i]);
}

#define RT_FOUR(name, prefetch) \
    static void name(const rt_tile *pair) { \
        if (RT_FOURS) panel_four_of(prefetch, pair); \
    }
RT_FOUR(panel_four, 0)
RT_FOUR(panel_far_four, PREFETCH_OWN | PREFETCH_NEXT)
RT_FOUR(panel_pages_four, PREFETCH_PAGES | PREFETCH_NEXT)
static const panel_fn rt_fours[4] = {panel_four, panel_far_four, panel_far_four, panel_pages_four};

/* clang-format off */
#define RT_GROUP_AS(kind, n, mr, nv, prefetch) \
    static void kind##mr##x##nv(const rt_tile *tiles) { \
        if ((n < 3 || RT_THREES) && group_fits(n, mr, nv)) panel_group_of(n, mr, nv, prefetch, tiles); \
    }
#define RT_GROUP(kind, n, mr, nv) \
    RT_GROUP_AS(panel_##kind##_, n, mr, nv, 0) \
    RT_GROUP_AS(panel_far_##kind##_, n, mr, nv, PREFETCH_OWN) \
    RT_GROUP_AS(panel_pages_##kind##_, n, mr, nv, PREFETCH_PAGES)
RT_GROUP(pair, 2, 1, 3) RT_GROUP(pair, 2, 2, 3) RT_GROUP(pair, 2, 3, 3) RT_GROUP(pair, 2, 4, 3)
RT_GROUP(pair, 2, 1, 4) RT_GROUP(pair, 2, 2, 4) RT_GROUP(pair, 2, 3, 4)
RT_GROUP(three, 3, 1, 3) RT_GROUP(three, 3, 1, 4)
#define RT_PAIR_ROWS(kind) {{0, kind##1x3, kind##2x3, kind##3x3, kind##4x3}, {0, kind##1x4, kind##2x4, kind##3x4, 0}}
static const panel_fn rt_pairs[4][2][GROUP_ROWS + 1] = {RT_PAIR_ROWS(panel_pair_), RT_PAIR_ROWS(panel_far_pair_),
                                                          RT_PAIR_ROWS(panel_far_pair_), RT_PAIR_ROWS(panel_pages_pair_)};
#define RT_THREE_ROW(kind) {kind##1x3, kind##1x4}
static const panel_fn rt_threes[4][2] = {RT_THREE_ROW(panel_three_), RT_THREE_ROW(panel_far_three_),
                                          RT_THREE_ROW(panel_far_three_), RT_THREE_ROW(panel_pages_three_)};
/* clang-format on */

/* Run n tiles of the same rows against n panels, where these go together. */
static inline void panel_together(int far, int nv, int n, int rows, const rt_tile *tiles) {
    if (n == 3)
        rt_threes[far][nv - 3](tiles);
    else if (RT_FOURS && nv == 4 && rows == 4)
        rt_fours[far](tiles);
    else
        rt_pairs[far][nv - 3][rows](tiles);
}

/* Run one tile of `rows` rows and `nv` vectors, or two tiles of so many rows together, if there are to be two or one has not so many. */
static inline void panel_run(int far, int nv, int tiles, int rows, const rt_tile *t) {
    if (tiles == 2 || rows > rt_tile_rows[nv])
        rt_two_tiles[far][nv - 3][rows](t);
    else
        rt_tiles[far][nv][rows](t);
}
#endif
