/* Panel kernels: the matrix products of a layer. Include after vmath.h.
 *
 * A panel holds the weights of NV vectors of outputs, side by side, in the order in which they are read:
 *     panel[k][v][u]                           k < K inputs, v < NV vectors, u < LANES
 * A tile is MR rows of inputs against one panel, the sums in registers:
 *     out[r][v][u] = init[v][r*ldinit[v] + u] + sum_k a1[r][k] w1[k][v][u] + sum_k a2[r][k] w2[k][v][u]
 * Each of the two sums over k is cut into blocks of SUM_TERMS terms: a block starts with its first product, takes the others with k
 * ascending, one fused multiply-add a term, and is then added to `out`, blocks ascending. That is the same in every tile shape, so the
 * bits of a row do not depend on the rows computed with it, and a sum may stop after w1, be stored, and go on with w2 later.
 * (Rounding errors grow with the length of a chain: blocks of 64 give a third of the error of one chain of 512.)
 *
 * A tile may take NV of a panel's vectors only, `of` which are the panel's and the sums' width.
 *
 * The caller guarantees: rows <= panel_rows(nv, rows), a1 and a2 readable for K1 and K2 reals a row, out rows*nv*LANES reals and
 * apart from init.
 */
#ifndef RT_PANEL_H
#define RT_PANEL_H
#include <stddef.h>

enum { MAX_ROWS = 8, MAX_NV = 4, SUM_TERMS = 64, PREFETCH_BYTES = 4096 };

typedef struct {
    const real *const *a1, *const *a2; /* one pointer a row */
    const real *w1, *w2;
    ptrdiff_t k1, k2;
    const real *init[MAX_NV];
    ptrdiff_t ldinit[MAX_NV];
    real *out;
    const char *ahead; /* far tiles of 4 rows and more: one cache line a term to bring into L2, those from here on */
} rt_tile;

static const int rt_tile_rows[MAX_NV + 1] = TILE_ROWS;

/* A simd header may say otherwise: what stands before the loop over a block's terms, and how many tiles of a panel of three or
 * four vectors go together. */
#ifndef RT_UNROLL_TERMS
#define RT_UNROLL_TERMS
#endif
#ifndef RT_TILES_AT_ONCE
#define RT_TILES_AT_ONCE 1
#endif

RT_INLINE vf panel_product(const int first, vf x, vf b, vf acc) {
    if (first) return x * b;
    return v_fma(x, b, acc);
}

/* One term of a block, the first of it or another. What is fewer, rows or vectors, stays in registers, the other passes through
 * one; V_KEEP stops the compiler from reading a vector of weights anew for each row. */
RT_INLINE void panel_term(const int mr, const int nv, const int first, const real *const *a, ptrdiff_t k, const real *w,
                          vf *acc) {
    vf x[MAX_ROWS], b[MAX_NV];
    if (mr < nv) {
        RT_UNROLL
        for (int r = 0; r < mr; r++) x[r] = v_set1(a[r][k]);
        RT_UNROLL
        for (int v = 0; v < nv; v++) {
            b[v] = v_load(w + v * LANES);
            if (mr > 1) V_KEEP(b[v]);
            RT_UNROLL
            for (int r = 0; r < mr; r++) acc[r * nv + v] = panel_product(first, x[r], b[v], acc[r * nv + v]);
        }
    } else {
        RT_UNROLL
        for (int v = 0; v < nv; v++) {
            b[v] = v_load(w + v * LANES);
            if (mr > 1) V_KEEP(b[v]);
        }
        RT_UNROLL
        for (int r = 0; r < mr; r++) {
            x[r] = v_set1(a[r][k]);
            RT_UNROLL
            for (int v = 0; v < nv; v++) acc[r * nv + v] = panel_product(first, x[r], b[v], acc[r * nv + v]);
        }
    }
}

/* What a tile fetches beside the weights at w: those PREFETCH_BYTES ahead (1), and a line of the next panel (2). */
RT_INLINE void panel_fetch(const int nv, const int prefetch, const real *w, const char *ahead) {
    if (prefetch) {
        RT_UNROLL
        for (int v = 0; v < nv; v++)
            if (v * sizeof(vf) % 64 == 0) __builtin_prefetch((const char *)(w + v * LANES) + PREFETCH_BYTES);
    }
    if (prefetch == 2) __builtin_prefetch(ahead, 0, 2);
}

/* a + b; but if the one is inf and the other -inf, a: blocks of finite terms may overflow to either side. */
RT_INLINE vf panel_join(const int safe, vf a, vf b) {
    const vf sum = a + b;
    return safe ? v_where((vi)(sum == sum), sum, v_where((vi)(a == a) & (vi)(b == b), a, sum)) : sum;
}

/* Add a block, the terms from k to end, to `out`, or to `init` if nothing has been added yet: for mr rows from the r0-th on. */
RT_INLINE void panel_block(const int mr, const int r0, const int nv, const int of, const int prefetch, const int safe,
                           const real *const *rows, const real *w, ptrdiff_t k, ptrdiff_t end, const rt_tile *t,
                           const char *ahead, int begun) {
    const real *a[MAX_ROWS];
    real *out = t->out + r0 * of * LANES;
    vf acc[MAX_ROWS * MAX_NV];
    RT_UNROLL
    for (int r = 0; r < mr; r++) a[r] = rows[r0 + r];
    panel_fetch(nv, prefetch, w + k * of * LANES, ahead + 64 * k);
    panel_term(mr, nv, 1, a, k, w + k * of * LANES, acc);
    __asm__("" : "+r"(k)); /* a k that the compiler knows: it would step each pointer by itself */
    RT_UNROLL_TERMS
    for (k++; k < end; k++) {
        panel_fetch(nv, prefetch, w + k * of * LANES, ahead + 64 * k);
        panel_term(mr, nv, 0, a, k, w + k * of * LANES, acc);
    }
    if (begun) {
        RT_UNROLL
        for (int i = 0; i < mr * nv; i++) {
            real *o = out + (i / nv * of + i % nv) * LANES;
            v_store(o, panel_join(safe, v_load(o), acc[i]));
        }
    } else {
        RT_UNROLL
        for (int i = 0; i < mr * nv; i++) {
            const vf init = v_load(t->init[i % nv] + (r0 + i / nv) * t->ldinit[i % nv]);
            v_store(out + (i / nv * of + i % nv) * LANES, panel_join(safe, init, acc[i]));
        }
    }
}

/* Both sums, for mr rows and, taking each block of weights by turns with them, so that it comes from far once, for the `more`
 * rows below. */
RT_INLINE void panel_sums(const int mr, const int more, const int nv, const int of, const int prefetch, const int safe,
                          const rt_tile *t) {
    const char *ahead = t->ahead;
    int begun = 0;
    for (int s = 0; s < 2; s++) {
        const real *const *rows = s ? t->a2 : t->a1;
        const real *w = s ? t->w2 : t->w1;
        const ptrdiff_t n_k = s ? t->k2 : t->k1;
        for (ptrdiff_t k = 0; k < n_k; k += SUM_TERMS) {
            const ptrdiff_t end = n_k - k < SUM_TERMS ? n_k : k + SUM_TERMS;
            panel_block(mr, 0, nv, of, prefetch, safe, rows, w, k, end, t, ahead, begun);
            if (more) panel_block(more, mr, nv, of, 0, safe, rows, w, k, end, t, ahead, begun);
            begun = 1;
        }
        ahead += 64 * n_k;
    }
    if (!begun) {
        RT_UNROLL
        for (int i = 0; i < (mr + more) * nv; i++)
            v_store(t->out + (i / nv * of + i % nv) * LANES, v_load(t->init[i % nv] + i / nv * t->ldinit[i % nv]));
    }
}

/* The same for sums in which a NaN has come up, one row after the other, so that what is NaN is so for a NaN among a and w
 * or infinities among them. */
#define RT_SAFE(nv, of) \
    static __attribute__((noinline)) void panel_safe_##nv##_##of(const rt_tile *t, int rows) { \
        for (int r = 0; r < rows; r++) { \
            rt_tile one = *t; \
            one.a1 += r, one.a2 += r, one.out += r * of * LANES; \
            for (int v = 0; v < nv; v++) one.init[v] += r * t->ldinit[v]; \
            panel_sums(1, 0, nv, of, 0, 1, &one); \
        } \
    }
RT_SAFE(1, 1)
RT_SAFE(2, 2)
RT_SAFE(3, 3)
RT_SAFE(4, 4)
RT_SAFE(2, 4)

/* Look for NaNs among the sums of some rows, and compute them again if there are any. One shows in a sum of products of two, which
 * may also overflow to one: the safe way is only slower. */
RT_INLINE void panel_mend(const int rows, const int nv, const int of, const rt_tile *t) {
    const int n = rows * nv;
    vf nans[4] = {v_set1(0), v_set1(0), v_set1(0), v_set1(0)};
    RT_UNROLL
    for (int i = 0; i < n; i += 2) {
        const int j = i + 1 < n ? i + 1 : i;
        const vf a = v_load(t->out + (i / nv * of + i % nv) * LANES), b = v_load(t->out + (j / nv * of + j % nv) * LANES);
        nans[i / 2 % 4] = v_fma(a, b, nans[i / 2 % 4]);
    }
    if (__builtin_expect(v_any_nan((nans[0] + nans[1]) + (nans[2] + nans[3])), 0)) {
        if (nv == 1) panel_safe_1_1(t, rows);
        if (nv == 2 && of == 2) panel_safe_2_2(t, rows);
        if (nv == 3) panel_safe_3_3(t, rows);
        if (nv == 4) panel_safe_4_4(t, rows);
        if (nv == 2 && of == 4) panel_safe_2_4(t, rows);
    }
}

RT_INLINE void panel_tile(const int mr, const int more, const int nv, const int of, const int prefetch, const rt_tile *t) {
    panel_sums(mr, more, nv, of, prefetch, 0, t);
    panel_mend(mr + more, nv, of, t);
}

RT_INLINE void pair_term(const int nv, const int prefetch, const int first, vf x, const real *w0, const real *w1, vf *acc) {
    panel_fetch(nv, prefetch, w0, 0);
    panel_fetch(nv, prefetch, w1, 0);
    RT_UNROLL
    for (int i = 0; i < 2 * nv; i++) {
        const vf b = v_load((i < nv ? w0 : w1) + i % nv * LANES);
        acc[i] = panel_product(first, x, b, acc[i]);
    }
}

/* One row against two panels, whose weights share nothing but their height: the sums of one panel alone are too few chains to
 * keep the multipliers busy. */
RT_INLINE int pair_sum(const int nv, const int prefetch, const real *a, const real *w0, const real *w1, ptrdiff_t n_k,
                       const rt_tile *pair, int begun) {
    for (ptrdiff_t k = 0; k < n_k;) {
        const ptrdiff_t end = n_k - k < SUM_TERMS ? n_k : k + SUM_TERMS;
        vf acc[2 * MAX_NV];
        pair_term(nv, prefetch, 1, v_set1(a[k]), w0 + k * nv * LANES, w1 + k * nv * LANES, acc);
        RT_UNROLL_TERMS
        for (k++; k < end; k++) pair_term(nv, prefetch, 0, v_set1(a[k]), w0 + k * nv * LANES, w1 + k * nv * LANES, acc);
        RT_UNROLL
        for (int i = 0; i < 2 * nv; i++) {
            const rt_tile *t = &pair[i / nv];
            const vf sum = v_load(begun ? t->out + i % nv * LANES : t->init[i % nv]);
            v_store(t->out + i % nv * LANES, sum + acc[i]);
        }
        begun = 1;
    }
    return begun;
}

RT_INLINE void panel_pair_of(const int nv, const int prefetch, const rt_tile *pair) {
    const rt_tile *t = pair;
    int begun = pair_sum(nv, prefetch, t->a1[0], t[0].w1, t[1].w1, t->k1, pair, 0);
    begun = pair_sum(nv, prefetch, t->a2[0], t[0].w2, t[1].w2, t->k2, pair, begun);
    vf nan = v_set1(0);
    if (!begun)
        for (int i = 0; i < 2 * nv; i++) v_store(t[i / nv].out + i % nv * LANES, v_load(t[i / nv].init[i % nv]));
    RT_UNROLL
    for (int i = 0; i < 2 * nv; i++) nan = v_fma(v_load(t[i / nv].out + i % nv * LANES), v_set1(0), nan);
    if (__builtin_expect(v_any_nan(nan), 0)) {
        for (int i = 0; i < 2; i++) {
            if (nv == 3) panel_safe_3_3(&pair[i], 1);
            if (nv == 4) panel_safe_4_4(&pair[i], 1);
        }
    }
}

/* Prefetching: of the lines PREFETCH_BYTES ahead (1), and of the next panel, which lies beyond the L2 cache, too (2). Tiles of
 * few rows are bound by loading and decoding: there even the first pays only for such far weights. */
/* clang-format off */
#define RT_TILE(mr, nv) \
    static void panel_##mr##x##nv(const rt_tile *t) { panel_tile(mr, 0, nv, nv, mr > 4, t); }
#define RT_FAR_TILE(mr, nv) \
    static void panel_far_##mr##x##nv(const rt_tile *t) { panel_tile(mr, 0, nv, nv, 1 + (mr > 3), t); }
#define RT_TILES(nv) \
    RT_TILE(1, nv) RT_TILE(2, nv) RT_TILE(3, nv) RT_TILE(4, nv) RT_TILE(5, nv) RT_TILE(6, nv) RT_TILE(7, nv) RT_TILE(8, nv) \
    RT_FAR_TILE(1, nv) RT_FAR_TILE(2, nv) RT_FAR_TILE(3, nv) RT_FAR_TILE(4, nv) RT_FAR_TILE(5, nv) RT_FAR_TILE(6, nv) \
    RT_FAR_TILE(7, nv) RT_FAR_TILE(8, nv)
RT_TILES(1) RT_TILES(2) RT_TILES(3) RT_TILES(4)

typedef void (*panel_fn)(const rt_tile *);
#define RT_ROW(kind, nv) \
    {0, kind##1x##nv, kind##2x##nv, kind##3x##nv, kind##4x##nv, kind##5x##nv, kind##6x##nv, kind##7x##nv, kind##8x##nv}
#define RT_SHAPES(kind) {{0}, RT_ROW(kind, 1), RT_ROW(kind, 2), RT_ROW(kind, 3), RT_ROW(kind, 4)}
static const panel_fn rt_tiles[2][MAX_NV + 1][MAX_ROWS + 1] = {RT_SHAPES(panel_), RT_SHAPES(panel_far_)};

#if RT_TILES_AT_ONCE == 2
/* Two tiles of the same panel, the upper one as high as the other or a row higher. */
#define RT_TWO(mr, more, nv) \
    static void panel_two_##mr##_##more##x##nv(const rt_tile *t) { panel_tile(mr, more, nv, nv, 0, t); } \
    static void panel_far_two_##mr##_##more##x##nv(const rt_tile *t) { panel_tile(mr, more, nv, nv, 2, t); }
RT_TWO(2, 2, 4) RT_TWO(3, 2, 4) RT_TWO(3, 3, 4) RT_TWO(3, 2, 3) RT_TWO(3, 3, 3) RT_TWO(4, 3, 3) RT_TWO(4, 4, 3)
#define RT_TWO_ROWS(kind) \
    {{0, 0, 0, 0, 0, kind##3_2x3, kind##3_3x3, kind##4_3x3, kind##4_4x3}, \
     {0, 0, 0, 0, kind##2_2x4, kind##3_2x4, kind##3_3x4, 0, 0}}
static const panel_fn rt_two_tiles[2][2][MAX_ROWS + 1] = {RT_TWO_ROWS(panel_two_), RT_TWO_ROWS(panel_far_two_)};
#else
/* Four vectors, two by two. */
#define RT_HALF(mr) \
    static void panel_half_##mr(const rt_tile *t) { panel_tile(mr, 0, 2, 4, 1, t); } \
    static void panel_far_half_##mr(const rt_tile *t) { panel_tile(mr, 0, 2, 4, 2, t); }
RT_HALF(4) RT_HALF(5) RT_HALF(6) RT_HALF(7) RT_HALF(8)
#define RT_HALVES(kind) {0, 0, 0, 0, kind##4, kind##5, kind##6, kind##7, kind##8}
static const panel_fn rt_halves[2][MAX_ROWS + 1] = {RT_HALVES(panel_half_), RT_HALVES(panel_far_half_)};
#endif
/* clang-format on */

/* How many tiles of a panel go together. */
static inline int panel_takes(int nv) { return nv >= 3 ? RT_TILES_AT_ONCE : 1; }

/* How many rows a tile may have. Four vectors may be taken two by two, with as many rows as go with two. */
static inline int panel_rows(int nv, ptrdiff_t n_rows) {
    return RT_TILES_AT_ONCE == 1 && nv == 4 && n_rows <= rt_tile_rows[2] ? rt_tile_rows[2] : rt_tile_rows[nv];
}

/* Whether two panels are taken together for so many rows: a single one, whose sums of one panel are too few chains, and four of four
 * vectors, which are more than registers hold, and as two and two use weights too fast for those to come. */
static inline int panel_pairs(int nv, int n_rows) {
    return nv >= 3 && (n_rows == 1 || (RT_TILES_AT_ONCE == 2 && nv == 4 && n_rows == 4));
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
        const ptrdiff_t n_k = s ? pair->k2 : pair->k1;
        for (ptrdiff_t k = 0; k < n_k; k += SUM_TERMS) {
            const ptrdiff_t end = n_k - k < SUM_TERMS ? n_k : k + SUM_TERMS;
            for (int i = 0; i < 2; i++)
                panel_block(4, 0, 3, 4, prefetch, 0, rows, w[i], k, end, &pair[i], pair[i].ahead + (s ? 64 * pair->k1 : 0),
                            begun);
            four_block(rows, w[0], w[1], k, end, pair, begun);
            begun = 1;
        }
    }
    for (int i = 0; i < 2; i++) panel_mend(4, 4, 4, &pair[i]);
}

static void panel_four(const rt_tile *pair) { panel_four_of(0, pair); }
static void panel_far_four(const rt_tile *pair) { panel_four_of(2, pair); }
#endif

static void panel_pair_3(const rt_tile *pair) { panel_pair_of(3, 0, pair); }
static void panel_pair_4(const rt_tile *pair) { panel_pair_of(4, 0, pair); }
static void panel_far_pair_3(const rt_tile *pair) { panel_pair_of(3, 1, pair); }
static void panel_far_pair_4(const rt_tile *pair) { panel_pair_of(4, 1, pair); }

/* Run two tiles of the same rows against two panels, where these go together. */
static inline void panel_pair(int far, int nv, int rows, const rt_tile *pair) {
#if RT_TILES_AT_ONCE == 2
    if (rows == 4) {
        (far ? panel_far_four : panel_four)(pair);
        return;
    }
#endif
    (void)rows;
    if (nv == 3)
        (far ? panel_far_pair_3 : panel_pair_3)(pair);
    else
        (far ? panel_far_pair_4 : panel_pair_4)(pair);
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
        rt_tile half = *t;
        rt_halves[far][rows](&half);
        half.w1 += 2 * LANES, half.w2 += 2 * LANES, half.out += 2 * LANES, half.ahead += 64 * (t->k1 + t->k2);
        for (int v = 0; v < 2; v++) half.init[v] = t->init[v + 2], half.ldinit[v] = t->ldinit[v + 2];
        rt_halves[far][rows](&half);
        return;
    }
#endif
    rt_tiles[far][nv][rows](t);
}
#endif
