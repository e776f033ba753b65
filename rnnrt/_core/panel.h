/* Panel kernels: the matrix products of a layer. Include after vmath.h.
 *
 * A panel holds the weights of NV vectors of outputs, side by side, in the order in which they are read:
 *     panel[k][v][u]                           k < K inputs, v < NV vectors, u < LANES
 * A tile is MR rows of inputs against one panel, the sums in registers:
 *     out[r][v][u] = init[v][r*ldinit[v] + u] + sum_k a1[r][k] w1[k][v][u] + sum_k a2[r][k] w2[k][v][u]
 * with k ascending, one fused multiply-add a term and nothing regrouped, in every tile shape: so the bits of a row do not
 * depend on the rows computed with it, and a sum may stop after w1, be stored, and go on with w2 later.
 *
 * The caller guarantees: rows <= rt_tile_rows[nv], a1 and a2 readable for K1 and K2 reals a row, out rows*nv*LANES reals.
 */
#ifndef RT_PANEL_H
#define RT_PANEL_H
#include <stddef.h>

enum { MAX_ROWS = 8, MAX_NV = 4 };

typedef struct {
    const real *const *a1, *const *a2; /* one pointer a row */
    const real *w1, *w2;
    ptrdiff_t k1, k2;
    const real *init[MAX_NV];
    ptrdiff_t ldinit[MAX_NV];
    real *out;
} rt_tile;

static const int rt_tile_rows[MAX_NV + 1] = TILE_ROWS;

#define RT_INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define RT_UNROLL _Pragma("clang loop unroll(full)")
#else
#define RT_UNROLL _Pragma("GCC unroll 32")
#endif

RT_INLINE void panel_sum(const int mr, const int nv, const real *const *rows, const real *w, ptrdiff_t n_k, vf *acc) {
    const real *a[MAX_ROWS];
    RT_UNROLL
    for (int r = 0; r < mr; r++) a[r] = rows[r];
    for (ptrdiff_t k = 0; k < n_k; k++) {
        vf b[MAX_NV];
        RT_UNROLL
        for (int v = 0; v < nv; v++) b[v] = v_load(w + (k * nv + v) * LANES);
        RT_UNROLL
        for (int r = 0; r < mr; r++) {
            const vf x = v_set1(a[r][k]);
            RT_UNROLL
            for (int v = 0; v < nv; v++) acc[r * nv + v] = v_fma(x, b[v], acc[r * nv + v]);
        }
    }
}

RT_INLINE void panel_tile(const int mr, const int nv, const rt_tile *t) {
    vf acc[MAX_ROWS * MAX_NV];
    RT_UNROLL
    for (int r = 0; r < mr; r++) {
        RT_UNROLL
        for (int v = 0; v < nv; v++) acc[r * nv + v] = v_load(t->init[v] + r * t->ldinit[v]);
    }
    panel_sum(mr, nv, t->a1, t->w1, t->k1, acc);
    panel_sum(mr, nv, t->a2, t->w2, t->k2, acc);
    RT_UNROLL
    for (int i = 0; i < mr * nv; i++) v_store(t->out + i * LANES, acc[i]);
}

/* clang-format off */
#define RT_TILE(mr, nv) \
    static void panel_##mr##x##nv(const rt_tile *t) { panel_tile(mr, nv, t); }
#define RT_TILES(nv) \
    RT_TILE(1, nv) RT_TILE(2, nv) RT_TILE(3, nv) RT_TILE(4, nv) RT_TILE(5, nv) RT_TILE(6, nv) RT_TILE(7, nv) RT_TILE(8, nv)
RT_TILES(1) RT_TILES(2) RT_TILES(3) RT_TILES(4)

typedef void (*panel_fn)(const rt_tile *);
#define RT_ROW(nv) \
    {0, panel_1x##nv, panel_2x##nv, panel_3x##nv, panel_4x##nv, panel_5x##nv, panel_6x##nv, panel_7x##nv, panel_8x##nv}
static const panel_fn rt_tiles[MAX_NV + 1][MAX_ROWS + 1] = {{0}, RT_ROW(1), RT_ROW(2), RT_ROW(3), RT_ROW(4)};
/* clang-format on */

/* Run one tile of `rows` rows and `nv` vectors. */
static inline void panel_run(int nv, int rows, const rt_tile *t) { rt_tiles[nv][rows](t); }
#endif
