/* Convolutions, plain and transposed, as sums over taps:
 *     y[n][g][m][h][w] = f(bias[g][m] + sum_k weights[g][m][k] * x[n*xn + g*xg + h*xh + w*xw + at[k]]),   h < oh, w < ow
 * A tap k is an input channel of the group and an element of the kernel; at[] holds its distance in the input, so strides,
 * dilations and dimensions are all in the words. A transposed convolution is several such sums, its phases, each with taps
 * of its own and every s-th output. Rows of outputs whose taps partly fall in padding above or below may be phases too, which
 * share their weights: each has some of the taps packed together. Taps reach into padding only where x is a padded copy (op_conv_pad.h).
 *
 * Numerics: bias first, k ascending, one fused multiply-add a term: the bits of an output do not depend on tiles or parts.
 * The caller guarantees: every tap of every position lies inside of x. Here are the words, and what follows a sum;
 * op_conv_positions.h and op_conv_channels.h do the sums with positions or output channels in the lanes. */
#ifndef RT_OP_CONV_H
#define RT_OP_CONV_H
#include "op_activate.h"
#include "ops.h"
#include "panel.h"

#define CONV_AHEAD 16 /* taps whose inputs op_conv_channels.h fetches ahead */

typedef struct {
    int64_t x, y, weights, at; /* where this phase begins in each, in elements */
    int64_t k, first, all; /* taps; which of those packed together they are, from `first` on, and how many those are */
    int64_t oh, ow;
    /* channels: pieces of the phase, `cut` positions each, the first `extra` pieces one more; positions: a tile has `cut` vectors at most */
    int64_t cuts, cut, extra;
} rt_conv_phase;

typedef struct {
    rt_ref x, y, weights, bias, at; /* bias may be NULL; at has int32, and CONV_AHEAD more than there are taps */
    rt_ref scratch;                 /* where there is a pad: `size` reals a part */
    int64_t activation;             /* ACT_*, or -1 */
    double alpha, beta;
    int64_t n, groups, m;           /* m: output channels of a group */
    int64_t block, blocks;          /* a block: that many channels (positions), or vectors of them (channels), at most */
    int64_t xn, xg, xh, xw, yn, ym, yh, yw;
    int64_t pad, run, bands, size; /* words from here to an rt_conv_pad, or 0; rows of outputs for which it is made at a time */
    int64_t pool; /* positions: whether y holds the largest of each 2x2 outputs; rows of 2 * LANES and more, `run` is even */
    int64_t n_phases;
    rt_conv_phase phase[];
} rt_conv;

/* The tiles of a kind (row, column) for each number of rows and vectors, which are known when they are compiled, and their
 * table. */
/* clang-format off */
#define CONV_TILE(kind, mr, nv) \
    static void kind##_##mr##x##nv(const rt_##kind##_tile *t) { kind##_tile(mr, nv, t); }
#define CONV_TILES_OF(kind, nv) \
    CONV_TILE(kind, 1, nv) CONV_TILE(kind, 2, nv) CONV_TILE(kind, 3, nv) CONV_TILE(kind, 4, nv) \
    CONV_TILE(kind, 5, nv) CONV_TILE(kind, 6, nv) CONV_TILE(kind, 7, nv) CONV_TILE(kind, 8, nv)
#define CONV_ROW(kind, nv) \
    {0, kind##_1x##nv, kind##_2x##nv, kind##_3x##nv, kind##_4x##nv, kind##_5x##nv, kind##_6x##nv, kind##_7x##nv, kind##_8x##nv}
#define CONV_TILES(kind) \
    CONV_TILES_OF(kind, 1) CONV_TILES_OF(kind, 2) CONV_TILES_OF(kind, 3) CONV_TILES_OF(kind, 4) \
    static void (*const kind##_tiles[MAX_NV + 1][MAX_ROWS + 1])(const rt_##kind##_tile *) = \
        {{0}, CONV_ROW(kind, 1), CONV_ROW(kind, 2), CONV_ROW(kind, 3), CONV_ROW(kind, 4)};
/* clang-format on */

/* Where part `part` of `n_parts` begins in a step of `total` tiles; no division for a whole step, as those are slow. */
static inline int64_t part_begin(int64_t total, int part, int n_parts) {
    return part == 0 ? 0 : part == n_parts ? total : total * part / n_parts;
}
#endif
