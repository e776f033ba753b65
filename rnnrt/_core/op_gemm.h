/* Matrix products: y[i][j] = act(c[i][j] + scale * sum_k a[i][k] b[k][j]), for each index of some batch axes.
 *
 * b is cut into panels of up to MAX_NV vectors of columns, panel[k][v][u] as in panel.h. It is GEMM_PACKED so already;
 * GEMM_DIRECT: its rows are read where they are (b_n = 1, n a multiple of LANES); GEMM_LOOSE: a panel at a time is packed
 * when it is needed. GEMM_DOTS is for few columns, of which both a and b are read along k (a_k = b_k = 1).
 * Strides are in elements. y has its columns side by side. c is absent (NULL) or vectors of n_vec * LANES readable reals.
 *
 * Packed weights from beyond the L2 cache are fetched a panel ahead while this one is multiplied, or, where there is one tile of rows
 * only, some way ahead of where it is: else the first tile of each panel would wait for memory, and memory for the others.
 *
 * Sums run over k in an order that follows from k and n alone, so the bits of a row depend neither on the other rows nor on
 * threads: a panel of one vector sums k mod 4 apart, a panel of two k mod 2, others in ascending order.
 */
#ifndef RT_OP_GEMM_H
#define RT_OP_GEMM_H
#include "cpu.h"
#include "op_activate.h"
#include "ops.h"
#include "panel.h"
#include "transpose.h"
#include "vfold.h"

enum { GEMM_PACKED, GEMM_DIRECT, GEMM_LOOSE, GEMM_DOTS };
enum { GEMM_AXES = 4 };

typedef struct {
    rt_ref a, b, c, y, scratch; /* scratch: GEMM_LOOSE, k * nv * LANES reals a part */
    int64_t form, m, n, k;
    int64_t a_row, a_k, b_k, b_n, y_row, c_row;
    int64_t n_vec, n_panels, nv; /* vectors in all, panels, vectors of each panel but the last */
    int64_t block; /* rows that share a panel while it is in cache */
    double scale; /* of b, GEMM_LOOSE only */
    int64_t activation; /* ACT_* or -1 */
    double alpha, beta;
    int64_t n_batch, n_axes;
    struct {
        int64_t size, a, b, c, y;
    } axis[GEMM_AXES];
} rt_gemm;

/* What tiles fetch, from `next` to `end`: a line each of GEMM_PAGES pages at once, as memory gives more to several streams than to one, at
 * each term whose number has none of the bits in `mask`. */
enum { GEMM_PAGES = 4, GEMM_PAGE_LINES = RT_PAGE / 64 };
typedef struct {
    const char *next, *end;
    int lines, mask; /* lines: left of these pages */
} rt_gemm_ahead;

/* A tile: rows of a against one panel; the last vector has `last` columns. */
typedef struct {
    const real *a, *w, *init;
    ptrdiff_t a_row, a_k, ldw, k, ldinit, y_row;
    real *y;
    int last;
    rt_gemm_ahead *ahead;
} rt_gemm_tile;

#define GEMM_PHASES(nv) ((nv) == 1 ? 4 : (nv) == 2 ? 2 : 1)

/* Rows of a tile by vectors of a panel: phases * rows * nv sums, the weights and a broadcast fit the registers. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define GEMM_ROWS 6
#else
#define GEMM_ROWS 3
#endif

RT_INLINE void gemm_term(const int mr, const int nv, const real *const *a, ptrdiff_t at, const real *w, vf *acc) {
    vf b[MAX_NV], x[MAX_ROWS];
    if (mr < nv) {
        RT_UNROLL
        for (int r = 0; r < mr; r++) x[r] = v_set1(a[r][at]);
        RT_UNROLL
        for (int v = 0; v < nv; v++) {
            b[v] = v_load(w + v * LANES);
            RT_UNROLL
            for (int r = 0; r < mr; r++) acc[r * nv + v] = v_fma(x[r], b[v], acc[r * nv + v]);
        }
        return;
    }
    RT_UNROLL
    for (int v = 0; v < nv; v++) b[v] = v_load(w + v * LANES);
    RT_UNROLL
    for (int r = 0; r < mr; r++) {
        x[r] = v_set1(a[r][at]);
        RT_UNROLL
        for (int v = 0; v < nv; v++) acc[r * nv + v] = v_fma(x[r], b[v], acc[r * nv + v]);
    }
}

RT_INLINE void gemm_fetch(rt_gemm_ahead *ahead) {
    RT_UNROLL
    for (int i = 0; i < GEMM_PAGES; i++) __builtin_prefetch(ahead->next + i * RT_PAGE);
    ahead->next += 64;
    if (--ahead->lines) return;
    ahead->next += (GEMM_PAGES - 1) * RT_PAGE;
    ahead->lines = GEMM_PAGE_LINES;
}

RT_INLINE void gemm_tile(const int mr, const int nv, const int far, const rt_gemm_tile *t) {
    const int phases = GEMM_PHASES(nv), sums = mr * nv;
    const real *a[MAX_ROWS], *w = t->w;
    const ptrdiff_t a_k = t->a_k, ldw = t->ldw;
    vf acc[MAX_ROWS * MAX_NV];
    RT_UNROLL
    for (int r = 0; r < mr; r++) a[r] = t->a + r * t->a_row;
    RT_UNROLL
    for (int i = 0; i < phases * sums; i++) acc[i] = v_set1(0);
    if (t->init) {
        RT_UNROLL
        for (int i = 0; i < sums; i++) acc[i] = v_load(t->init + i / nv * t->ldinit + i % nv * LANES);
    }
    ptrdiff_t k = t->k, at = 0;
    if (far) {
        rt_gemm_ahead ahead = *t->ahead;
        RT_UNROLL_TERMS
        for (; k >= phases; k -= phases, at += a_k, w += ldw) {
            if (!(k & ahead.mask)) gemm_fetch(&ahead);
            gemm_term(mr, nv, a, at, w, acc);
        }
        *t->ahead = ahead;
    } else {
        RT_UNROLL_BY(4)
        for (; k >= phases; k -= phases) {
            RT_UNROLL
            for (int q = 0; q < phases; q++, at += a_k, w += ldw) gemm_term(mr, nv, a, at, w, acc + q * sums);
        }
    }
    for (; k > 0; k--, at += a_k, w += ldw) gemm_term(mr, nv, a, at, w, acc);
    RT_UNROLL
    for (int i = 0; i < sums; i++) {
        if (phases == 4) acc[i] = (acc[i] + acc[i + sums]) + (acc[i + 2 * sums] + acc[i + 3 * sums]);
        if (phases == 2) acc[i] = acc[i] + acc[i + sums];
    }
    RT_UNROLL
    for (int i = 0; i < sums; i++) {
        real *y = t->y + i / nv * t->y_row + i % nv * LANES;
        if (i % nv + 1 < nv || t->last == LANES)
            v_store(y, acc[i]);
        else
            v_store_n(y, acc[i], t->last);
    }
}

/* clang-format off */
#define GEMM_TILE(kind, far, mr, nv) \
    static void kind##mr##x##nv(const rt_gemm_tile *t) { gemm_tile(mr, nv, far, t); }
#if GEMM_ROWS > 4
#define GEMM_TILES(kind, far, nv) \
    GEMM_TILE(kind, far, 1, nv) GEMM_TILE(kind, far, 2, nv) GEMM_TILE(kind, far, 3, nv) \
    GEMM_TILE(kind, far, 4, nv) GEMM_TILE(kind, far, 5, nv) GEMM_TILE(kind, far, 6, nv)
#define GEMM_ROW(kind, nv) {0, kind##1x##nv, kind##2x##nv, kind##3x##nv, kind##4x##nv, kind##5x##nv, kind##6x##nv}
#else
#define GEMM_TILES(kind, far, nv) GEMM_TILE(kind, far, 1, nv) GEMM_TILE(kind, far, 2, nv) GEMM_TILE(kind, far, 3, nv)
#define GEMM_ROW(kind, nv) {0, kind##1x##nv, kind##2x##nv, kind##3x##nv}
#endif
GEMM_TILES(gemm_, 0, 1) GEMM_TILES(gemm_, 0, 2) GEMM_TILES(gemm_, 0, 3) GEMM_TILES(gemm_, 0, 4)
GEMM_TILES(gemm_far_, 1, 3) GEMM_TILES(gemm_far_, 1, 4)

typedef void (*gemm_fn)(const rt_gemm_tile *);
/* The second half: tiles that fetch, of panels of so many vectors. */
static const gemm_fn gemm_tiles[2][MAX_NV + 1][MAX_ROWS + 1] = {
    {{0}, GEMM_ROW(gemm_, 1), GEMM_ROW(gemm_, 2), GEMM_ROW(gemm_, 3), GEMM_ROW(gemm_, 4)},
    {{0}, {0}, {0}, GEMM_ROW(gemm_far_, 3), GEMM_ROW(gemm_far_, 4)}};
/* clang-format on */

/* Pack n columns of b, k rows, into a panel of nv vectors; columns that are missing are zeros. */
static void gemm_pack(const rt_gemm *s, const real *b, int nv, ptrdiff_t n, real *w) {
    const ptrdiff_t ldw = nv * LANES, n_k = s->k, b_k = s->b_k, b_n = s->b_n;
    const vf scale = v_set1((real)s->scale);
    if (b_n == 1) {
        for (ptrdiff_t k = 0; k < n_k; k++, b += b_k, w += ldw)
            for (int v = 0; v < nv; v++) {
                const ptrdiff_t left = n - v * LANES;
                v_store(w + v * LANES, scale * (left >= LANES ? v_load(b + v * LANES) : v_load_n(b + v * LANES, (int)left)));
            }
        return;
    }
    for (int v = 0; v < nv; v++, b += LANES * b_n) {
        const int columns = (int)(n - v * LANES < LANES ? n - v * LANES : LANES);
        real *to = w + v * LANES;
        if (b_k == 1) {
            for (ptrdiff_t k = 0; columns < LANES && k < n_k; k++) v_store(to + k * ldw, v_set1(0));
            rt_transpose_f32(b, b_n, to, ldw, columns, (int)n_k);
        } else {
            for (ptrdiff_t k = 0; k < n_k; k++) v_store(to + k * ldw, v_load_every(b + k * b_k, b_n, columns));
        }
    }
    if (s->scale != 1.0)
        for (ptrdiff_t i = 0; i < n_k * ldw; i += LANES) v_store(w + i, scale * v_load(w + i));
}

#define GEMM_AHEAD (32 << 10) /* bytes that are fetched ahead within a panel */

/* How far weights are from here: 0, in the L2 cache; GEMM_NEXT, beyond it, of which two panels have room there; GEMM_OWN, of which
 * two have none, or that one tile alone reads. */
enum { GEMM_NEXT = 1, GEMM_OWN };
static int gemm_distance(const rt_gemm *s, ptrdiff_t rows) {
    const int64_t panel = s->k * s->nv * LANES * (int64_t)sizeof(real), weights = s->n_panels * panel;
    if (s->form != GEMM_PACKED || s->nv < 3 || weights <= rt_near_bytes()) return 0;
    return rows <= GEMM_ROWS || panel > rt_l2_bytes() / 5 * 2 ? GEMM_OWN : GEMM_NEXT;
}

/* What is fetched while `rows` rows go against the panel at t->w. */
static rt_gemm_ahead gemm_ahead(int distance, const rt_gemm_tile *t, ptrdiff_t rows) {
    const char *w = (const char *)t->w;
    const ptrdiff_t width = t->ldw * (ptrdiff_t)sizeof(real), size = t->k * width, pages = GEMM_PAGES * RT_PAGE;
    const ptrdiff_t share = distance == GEMM_OWN ? width : width * GEMM_ROWS / rows; /* bytes a term */
    rt_gemm_ahead ahead = {.next = w + (distance == GEMM_OWN ? GEMM_AHEAD : size), .lines = GEMM_PAGE_LINES};
    ahead.mask = share > 2 * 64 ? 0 : share > 64 ? 1 : 3;
    ahead.end = ahead.next + (size + pages - 1) / pages * pages;
    return ahead;
}

/* All rows against panel p. */
static void gemm_panel(const rt_gemm *s, rt_gemm_tile t, const real *b, ptrdiff_t p, ptrdiff_t rows, int distance, real *scratch,
                       int packed) {
    const ptrdiff_t column = p * s->nv * LANES;
    const int is_last = p + 1 == s->n_panels, nv = (int)(is_last ? s->n_vec - p * s->nv : s->nv);
    rt_gemm_ahead ahead = {0};
    t.last = is_last ? (int)(s->n - (s->n_vec - 1) * LANES) : LANES;
    t.ldw = nv * LANES;
    if (s->form == GEMM_PACKED) {
        t.w = b + column * s->k;
    } else if (s->form == GEMM_DIRECT) {
        t.w = b + column;
        t.ldw = s->b_k;
    } else {
        if (!packed) gemm_pack(s, b + column * s->b_n, nv, s->n - column, scratch);
        t.w = scratch;
    }
    if (t.init) t.init += column;
    t.y += column;
    t.ahead = &ahead;
    if (distance && !is_last) ahead = gemm_ahead(distance, &t, rows);
    const ptrdiff_t columns = (nv - 1) * LANES + t.last;
    for (ptrdiff_t left = rows; left > 0;) {
        const ptrdiff_t now = left <= GEMM_ROWS ? left : left >= 2 * GEMM_ROWS ? GEMM_ROWS : (left + 1) / 2;
        gemm_tiles[ahead.next < ahead.end][nv][now](&t);
        if (s->activation >= 0)
            for (ptrdiff_t r = 0; r < now; r++) activate_row(s->activation, s->alpha, s->beta, t.y + r * t.y_row, columns);
        t.a += now * t.a_row;
        t.y += now * t.y_row;
        if (t.init) t.init += now * t.ldinit;
        left -= now;
    }
}

/* Columns j to j + nc of all rows as dots over k; the whole vectors of k first, then what is left of it. */
RT_INLINE void gemm_dot(const int nc, const rt_gemm_tile *t, ptrdiff_t b_n, ptrdiff_t rows, ptrdiff_t j) {
    const int phases = nc == 1 ? 4 : nc == 2 ? 2 : 1;
    const ptrdiff_t whole = t->k / LANES * LANES;
    const int left = (int)(t->k - whole);
    const real *a = t->a, *b = t->w + j * b_n, *init = t->init;
    real *y = t->y + j;
    for (; rows > 0; rows--, a += t->a_row, y += t->y_row) {
        vf acc[4];
        ptrdiff_t k = 0;
        RT_UNROLL
        for (int i = 0; i < 4; i++) acc[i] = v_set1(0);
        for (; k + phases * LANES <= whole; k += phases * LANES) {
            RT_UNROLL
            for (int q = 0; q < phases; q++) {
                const vf x = v_load(a + k + q * LANES);
                RT_UNROLL
                for (int c = 0; c < nc; c++) acc[q * nc + c] = v_fma(x, v_load(b + c * b_n + k + q * LANES), acc[q * nc + c]);
            }
        }
        for (; k < whole; k += LANES) {
            const vf x = v_load(a + k);
            RT_UNROLL
            for (int c = 0; c < nc; c++) acc[c] = v_fma(x, v_load(b + c * b_n + k), acc[c]);
        }
        if (left) {
            const vf x = v_load_n(a + k, left);
            RT_UNROLL
            for (int c = 0; c < nc; c++) acc[c] = v_fma(x, v_load_n(b + c * b_n + k, left), acc[c]);
        }
        RT_UNROLL
        for (int c = 0; c < nc; c++) {
            if (phases == 4) acc[c] = (acc[0] + acc[1]) + (acc[2] + acc[3]);
            if (phases == 2) acc[c] = acc[c] + acc[c + nc];
            y[c] = v_sum(acc[c]) + (init ? init[j + c] : 0);
        }
        if (init) init += t->ldinit;
    }
}

static void gemm_dots(const rt_gemm *s, const rt_gemm_tile *t, ptrdiff_t rows) {
    ptrdiff_t j = 0;
    for (; j + 4 <= s->n; j += 4) gemm_dot(4, t, s->b_n, rows, j);
    if (s->n - j == 3) gemm_dot(3, t, s->b_n, rows, j);
    if (s->n - j == 2) gemm_dot(2, t, s->b_n, rows, j);
    if (s->n - j == 1) gemm_dot(1, t, s->b_n, rows, j);
    if (s->activation < 0) return;
    for (ptrdiff_t r = 0; r < rows; r++) activate_row(s->activation, s->alpha, s->beta, t->y + r * t->y_row, s->n);
}

static int op_gemm(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_gemm *s = (const rt_gemm *)words;
    const real *a = RT_AT(const real, values, s->a), *b = RT_AT(const real, values, s->b), *c = RT_AT(const real, values, s->c);
    real *y = RT_AT(real, values, s->y), *scratch = RT_AT(real, values, s->scratch);
    const int64_t n_panels = s->form == GEMM_DOTS ? 1 : s->n_panels;
    int64_t first = 0, end = INT64_MAX, item = 0, at[GEMM_AXES] = {0};
    const real *held = NULL;
    if (scratch) scratch += part * s->k * s->nv * LANES;
    if (n_parts > 1) {
        const int64_t total = s->n_batch * n_panels * ((s->m + s->block - 1) / s->block);
        first = total * part / n_parts;
        end = total * (part + 1) / n_parts;
    }
    for (int64_t index = 0;;) {
        for (int64_t row = 0; row < s->m; row += s->block) {
            const ptrdiff_t rows = s->m - row < s->block ? s->m - row : s->block;
            const int distance = gemm_distance(s, rows);
            for (int64_t p = 0; p < n_panels; p++, item++) {
                if (item < first || item >= end) continue;
                const rt_gemm_tile t = {.a = a + row * s->a_row,
                                        .w = b,
                                        .init = c ? c + row * s->c_row : NULL,
                                        .a_row = s->a_row,
                                        .a_k = s->a_k,
                                        .k = s->k,
                                        .ldinit = s->c_row,
                                        .y_row = s->y_row,
                                        .y = y + row * s->y_row};
                if (s->form == GEMM_DOTS) {
                    gemm_dots(s, &t, rows);
                    continue;
                }
                gemm_panel(s, t, b, p, rows, distance, scratch, n_panels == 1 && held == b);
                held = b;
            }
        }
        if (++index == s->n_batch) return RT_OK;
        for (int k = (int)s->n_axes - 1;; k--) {
            a += s->axis[k].a;
            b += s->axis[k].b;
            if (c) c += s->axis[k].c;
            y += s->axis[k].y;
            if (++at[k] < s->axis[k].size) break;
            a -= s->axis[k].a * s->axis[k].size;
            b -= s->axis[k].b * s->axis[k].size;
            if (c) c -= s->axis[k].c * s->axis[k].size;
            y -= s->axis[k].y * s->axis[k].size;
            at[k] = 0;
        }
    }
}
#endif
