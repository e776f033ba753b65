/* Panel kernels: the matrix products of a layer. Include after vmath.h.
 *
 * A panel holds the weights of NV vectors of outputs, side by side, in the order in which they are read:
 *     panel[k][v][u]                           k < K inputs, v < NV vectors, u < LANES
 * A tile is MR rows of inputs against one panel, the sums in registers:
 *     out[r][v][u] = init[v][r*ldinit[v] + u] + sum_k a1[r][k] w1[k][v][u] + sum_k a2[r][k] w2[k][v][u]
 * Each of the two sums over k is cut into blocks, of `terms` terms the first and of SUM_TERMS the second: a block starts with its first
 * product, takes the others with k ascending, one fused multiply-add a term, and is then added to `out`, blocks ascending. That is the
 * same in every tile shape, so the bits of a row do not depend on the rows computed with it, and a sum may stop after w1, be stored,
 * and go on with w2 later. (Rounding errors grow with the length of a chain: blocks of 64 give a third of the error of one of 512.)
 *
 * A block may take NV of a panel's vectors only, of `of` that the panel and the sums have. The shapes are in panel_shapes.h.
 *
 * The caller guarantees: rows <= panel_rows(nv), a1 and a2 readable for K1 and K2 reals a row, out rows*nv*LANES reals and
 * apart from init.
 */
#ifndef RT_PANEL_H
#define RT_PANEL_H
#include <stddef.h>

enum { MAX_ROWS = 8, MAX_NV = 4, GROUP_ROWS = 4, MAX_GROUP = 3, SUM_TERMS = 64, PAGED_TERMS = 128, RT_PAGE = 4096 };

/* A simd header may say that tiles fetch nothing: they are one code then for all places that weights come from. */
#ifndef RT_FETCHES
#define RT_FETCHES 1
#endif

/* What a tile fetches of weights from far: its own, a page ahead; a line of the next panel a term, at rt_tile.ahead; its own from
 * memory, by pages: lines of several of them by turns, as memory gives more to several streams than to one; or, two tiles together,
 * the block that comes after this one, each half of it. */
enum {
    PREFETCH_OWN = 1 * RT_FETCHES,
    PREFETCH_NEXT = 2 * RT_FETCHES,
    PREFETCH_PAGES = 4 * RT_FETCHES,
    PREFETCH_BLOCK = 8 * RT_FETCHES
};

typedef struct {
    const real *const *a1, *const *a2; /* one pointer a row */
    const real *w1, *w2;
    ptrdiff_t k1, k2;
    ptrdiff_t terms; /* a block of the first sum has */
    const real *init[MAX_NV];
    ptrdiff_t ldinit[MAX_NV];
    ptrdiff_t init_bytes; /* of a row, side by side, that lie beyond the L2 cache; for who runs tiles */
    real *out;
    int bounded; /* whether all terms are small (panel_small), so that no sum overflows */
    const char *ahead; /* the next panel, or what another tile has left of it to fetch; with PREFETCH_BLOCK what is read next */
    const char *again; /* what is read next where another tile of the panel follows: for who cuts rows into tiles */
} rt_tile;

static const int rt_tile_rows[MAX_NV + 1] = TILE_ROWS;

/* A simd header may say otherwise: from how many rows on a tile's loop over terms goes by threes (1: the compiler unrolls all loops;
 * else only those that do not prefetch what is near, as compilers gather the terms' prefetches in front). */
#ifndef RT_UNROLLED_ROWS
#define RT_UNROLLED_ROWS 9 /* more than any tile has */
#endif
#if RT_UNROLLED_ROWS == 1
#define RT_UNROLL_TERMS RT_UNROLL_BY(4) /* before all other loops over terms */
#else
#define RT_UNROLL_TERMS
#endif

/* How many terms the loop of several panels of near weights takes at once; where more than one, a single row takes three panels. */
#ifndef RT_GROUP_TERMS
#define RT_GROUP_TERMS 1
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

/* With PREFETCH_PAGES, where a tile's weights are fetched while it reads terms from k on, of n_k that are `of` vectors each: the
 * next PAGED_TERMS terms, or what is read after the last ones. */
RT_INLINE const char *panel_pages(const int of, const real *w, ptrdiff_t k, ptrdiff_t n_k, const char *after) {
    const ptrdiff_t group = k / PAGED_TERMS * PAGED_TERMS, next = group + PAGED_TERMS;
    return (next < n_k ? (const char *)(w + next * of * LANES) : after) - group / 2 * 64;
}

/* With PREFETCH_BLOCK, what comes after a block of n terms, for the half of it that is the first tile's or the second's. */
RT_INLINE const char *panel_half(const int nv, const int second, ptrdiff_t k, ptrdiff_t n, const char *after) {
    return after + (second * n - k) * (nv * (ptrdiff_t)sizeof(vf) / 2);
}

/* What a tile fetches beside the weights of term k, which lie at w: by pages, a line of each of some, and of the others at the term
 * after. */
RT_INLINE void panel_fetch(const int nv, const int prefetch, ptrdiff_t k, const real *w, const char *pages, const char *ahead) {
    const int lines = (nv * (int)sizeof(vf) + 63) / 64, half = nv * (int)sizeof(vf) / 2;
    RT_UNROLL
    for (int line = 0; line < lines; line++) {
        if (prefetch & PREFETCH_OWN) __builtin_prefetch((const char *)w + line * 64 + RT_PAGE);
        if (prefetch & PREFETCH_PAGES) __builtin_prefetch(pages + (k % 2 * lines + line) * RT_PAGE + k / 2 * 64);
    }
    RT_UNROLL
    for (int at = 0; at < half; at += 64)
        if (prefetch & PREFETCH_BLOCK) __builtin_prefetch(pages + k * half + at);
    if (prefetch & PREFETCH_NEXT) __builtin_prefetch(ahead + 64 * k, 0, 2);
}

/* Another term than a block's first, with what is fetched beside it. */
RT_INLINE void panel_next(const int mr, const int nv, const int of, const int prefetch, const real *const *a, ptrdiff_t k,
                          const real *w, const char *pages, const char *ahead, vf *acc) {
    panel_fetch(nv, prefetch, k, w + k * of * LANES, pages, ahead);
    panel_term(mr, nv, 0, a, k, w + k * of * LANES, acc);
}

/* a + b; but if the one is inf and the other -inf, a: blocks of finite terms may overflow to either side. */
RT_INLINE vf panel_join(const int safe, vf a, vf b) {
    const vf sum = a + b;
    return safe ? v_where((vi)(sum == sum), sum, v_where((vi)(a == a) & (vi)(b == b), a, sum)) : sum;
}

/* Add a block, the terms from k to end, to `out`, or to `init` if nothing has been added yet: for mr rows from the r0-th on. */
RT_INLINE void panel_block(const int mr, const int r0, const int nv, const int of, const int prefetch, const int safe,
                           const real *const *rows, const real *w, ptrdiff_t k, ptrdiff_t end, const rt_tile *t,
                           const char *pages, const char *ahead, int begun) {
    const real *a[MAX_ROWS];
    real *out = t->out + r0 * of * LANES;
    vf acc[MAX_ROWS * MAX_NV];
    RT_UNROLL
    for (int r = 0; r < mr; r++) a[r] = rows[r0 + r];
    panel_fetch(nv, prefetch, k, w + k * of * LANES, pages, ahead);
    panel_term(mr, nv, 1, a, k, w + k * of * LANES, acc);
    __asm__("" : "+r"(k)); /* a k that the compiler knows: it would step each pointer by itself */
    k++;
    if (RT_UNROLLED_ROWS > 1 && mr >= RT_UNROLLED_ROWS && !(prefetch & (PREFETCH_OWN | PREFETCH_PAGES))) {
        const ptrdiff_t odd = k + (end - k) % 3; /* of a block of 64 terms none is left over */
        for (; k < odd; k++) panel_next(mr, nv, of, prefetch, a, k, w, pages, ahead, acc);
        __asm__("" : "+r"(k));
        for (; k < end; k += 3) {
            RT_UNROLL
            for (int i = 0; i < 3; i++) panel_next(mr, nv, of, prefetch, a, k + i, w, pages, ahead, acc);
        }
    } else {
        RT_UNROLL_TERMS
        for (; k < end; k++) panel_next(mr, nv, of, prefetch, a, k, w, pages, ahead, acc);
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

/* Sums of no terms. */
RT_INLINE void panel_start(const int rows, const int nv, const rt_tile *t) {
    RT_UNROLL
    for (int i = 0; i < rows * nv; i++) v_store(t->out + i * LANES, v_load(t->init[i % nv] + i / nv * t->ldinit[i % nv]));
}

/* Both sums, for mr rows and, taking each block of weights by turns with them, so that it comes from far once, for the `more`
 * rows below. */
RT_INLINE void panel_sums(const int mr, const int more, const int nv, const int prefetch, const int safe, const rt_tile *t) {
    const char *ahead = t->ahead;
    int begun = 0;
    for (int s = 0; s < 2; s++) {
        const real *const *rows = s ? t->a2 : t->a1;
        const real *w = s ? t->w2 : t->w1;
        const ptrdiff_t n_k = s ? t->k2 : t->k1, terms = s ? SUM_TERMS : t->terms;
        const char *after = s || !t->k2 ? t->ahead : (const char *)t->w2;
        for (ptrdiff_t k = 0; k < n_k; k += terms) {
            const ptrdiff_t end = n_k - k < terms ? n_k : k + terms;
            const char *pages = panel_pages(nv, w, k, n_k, after), *next = pages;
            if (prefetch & PREFETCH_BLOCK) {
                const char *block = end < n_k ? (const char *)(w + end * nv * LANES) : after;
                pages = panel_half(nv, 0, k, end - k, block);
                next = panel_half(nv, 1, k, end - k, block);
            }
            panel_block(mr, 0, nv, nv, prefetch, safe, rows, w, k, end, t, pages, ahead, begun);
            if (more)
                panel_block(more, mr, nv, nv, prefetch & (PREFETCH_BLOCK | PREFETCH_NEXT), safe, rows, w, k, end, t, next,
                            ahead + 64 * (t->k1 + t->k2), begun);
            begun = 1;
        }
        ahead += 64 * n_k;
    }
    if (!begun) panel_start(mr + more, nv, t);
}

/* The same for sums in which a NaN has come up, one row after the other, so that what is NaN is so for a NaN among a and w
 * or infinities among them. */
#define RT_SAFE(nv) \
    static __attribute__((noinline)) void panel_safe_##nv(const rt_tile *t, int rows) { \
        for (int r = 0; r < rows; r++) { \
            rt_tile one = *t; \
            one.a1 += r, one.a2 += r, one.out += r * nv * LANES; \
            for (int v = 0; v < nv; v++) one.init[v] += r * t->ldinit[v]; \
            panel_sums(1, 0, nv, 0, 1, &one); \
        } \
    }
RT_SAFE(1)
RT_SAFE(2)
RT_SAFE(3)
RT_SAFE(4)

/* Whether n numbers are so small that no sum of products of two such numbers overflows: so many of them that the sum of their fourth powers
 * does not, each below 4.3e9 (1e77 in float64). */
static inline int panel_small(const real *p, ptrdiff_t n) {
    vf sums[4] = {v_set1(0), v_set1(0), v_set1(0), v_set1(0)};
    for (; n >= 4 * LANES; n -= 4 * LANES, p += 4 * LANES) {
        RT_UNROLL
        for (int i = 0; i < 4; i++) {
            const vf x = v_load(p + i * LANES), square = x * x;
            sums[i] = v_fma(square, square, sums[i]);
        }
    }
    for (; n > 0; n -= LANES, p += LANES) {
        const vf x = n < LANES ? v_load_n(p, (int)n) : v_load(p), square = x * x;
        sums[0] = v_fma(square, square, sums[0]);
    }
    const vf sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    return !v_any_nan(sum - sum);
}

/* Look for NaNs among the sums of some rows, and compute them again if there are any. One shows in a sum of products of two, which
 * may also overflow to one: the safe way is only slower. */
RT_INLINE void panel_mend(const int rows, const int nv, const rt_tile *t) {
    const int n = rows * nv;
    if (t->bounded) return;
    vf nans[4] = {v_set1(0), v_set1(0), v_set1(0), v_set1(0)};
    RT_UNROLL
    for (int i = 0; i < n; i += 2) {
        const int j = i + 1 < n ? i + 1 : i;
        const vf a = v_load(t->out + i * LANES), b = v_load(t->out + j * LANES);
        nans[i / 2 % 4] = v_fma(a, b, nans[i / 2 % 4]);
    }
    if (__builtin_expect(v_any_nan((nans[0] + nans[1]) + (nans[2] + nans[3])), 0)) {
        if (nv == 1) panel_safe_1(t, rows);
        if (nv == 2) panel_safe_2(t, rows);
        if (nv == 3) panel_safe_3(t, rows);
        if (nv == 4) panel_safe_4(t, rows);
    }
}

RT_INLINE void panel_tile(const int mr, const int more, const int nv, const int prefetch, const rt_tile *t) {
    panel_sums(mr, more, nv, prefetch, 0, t);
    panel_mend(mr + more, nv, t);
}
#endif
