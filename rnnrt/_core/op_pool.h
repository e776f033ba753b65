/* Pools: the largest or the mean of each window, positions in the lanes.
 *     y[n][c][h][w] = max or sum over k of x[n*xn + c*xc + h*xh + w + at[k]], the sum divided by count[h][w]
 * Windows reach into margins only where x is a padded copy (op_conv_pad.h), of -inf or 0. A row is cut into vectors as in
 * op_conv_positions.h. NaN in a window makes its output NaN.
 *
 * Where `across` is not 0, each at[k] stands for that many elements side by side, and windows lie `stride` elements apart, two or more:
 *     y[n][c][h][w] = max or sum over k and j < across of x[n*xn + c*xc + h*xh + w*stride + at[k] + j]
 * Rows of outputs are then at least a vector long. Nothing past the last window is read: windows two apart are at least two elements wide,
 * and of two vectors read at an element that comes before another one's, every second element is that other one.
 *
 * pool_all is the same over whole planes of `size` elements side by side. */
#ifndef RT_OP_POOL_H
#define RT_OP_POOL_H
#include "op_conv.h"
#include "op_conv_pad.h"
#include "vfold.h"

typedef struct {
    rt_ref x, y, at, count; /* count: real, only for the mean */
    int64_t max, n, c, oh, ow, k, xn, xc, xh, across, stride;
} rt_pool_step;

typedef struct {
    rt_ref x, y;
    int64_t max, n, c, size, xn, xc;
} rt_pool_all;

RT_INLINE vf pooled(const int max, vf y, vf next) {
    if (max) return v_larger(y, next);
    return y + next;
}

RT_INLINE vf pool_window(const int max, const real *x, const int32_t *at, int64_t k) {
    vf y = v_load(x + at[0]);
    for (int64_t i = 1; i < k; i++) y = pooled(max, y, v_load(x + at[i]));
    return y;
}

/* Of windows two elements apart, `across` elements of a row. */
RT_INLINE vf pool_pairs(const int max, vf y, const real *row, int64_t across) {
    const vf a = v_load(row), b = v_load(row + LANES);
    y = pooled(max, pooled(max, y, v_even(a, b)), v_odd(a, b));
    for (int64_t j = 1; j + 1 < across; j++) y = pooled(max, y, v_odd(v_load(row + j), v_load(row + j + LANES)));
    return y;
}

/* Windows that touch, of 2 or 4 elements a row: the rows of all of them first, then what lies side by side. */
RT_INLINE vf pool_side_by_side(const int max, const int width, const real *x, const int32_t *at, int64_t k) {
    vf a[4];
    RT_UNROLL
    for (int v = 0; v < width; v++) a[v] = v_load(x + at[0] + v * LANES);
    for (int64_t i = 1; i < k; i++) {
        RT_UNROLL
        for (int v = 0; v < width; v++) a[v] = pooled(max, a[v], v_load(x + at[i] + v * LANES));
    }
    for (int n = width; n > 1; n /= 2) {
        RT_UNROLL
        for (int v = 0; v < n / 2; v++) a[v] = pooled(max, v_even(a[2 * v], a[2 * v + 1]), v_odd(a[2 * v], a[2 * v + 1]));
    }
    return a[0];
}

/* Windows some elements apart. */
RT_INLINE vf pool_apart(const int max, const rt_pool_step *s, const real *x, const int32_t *at) {
    if (s->stride == 2 && s->across == 2) return pool_side_by_side(max, 2, x, at, s->k);
    if (s->stride == 4 && s->across == 4) return pool_side_by_side(max, 4, x, at, s->k);
    vf y = v_set1(max ? -INFINITY : 0);
    for (int64_t i = 0; i < s->k; i++) {
        if (s->stride == 2)
            y = pool_pairs(max, y, x + at[i], s->across);
        else
            for (int64_t j = 0; j < s->across; j++) y = pooled(max, y, v_load_every(x + at[i] + j, s->stride, LANES));
    }
    return y;
}

RT_INLINE void pool_row(const int max, const int apart, const rt_pool_step *s, const real *x, const int32_t *at,
                        const real *count, real *y) {
    for (int64_t w = 0; w < s->ow; w += LANES) {
        const int64_t rest = s->ow - w, j = rest < LANES && w ? s->ow - LANES : w;
        const int size = (int)(s->ow < LANES ? s->ow : LANES);
        vf sum = apart ? pool_apart(max, s, x + j * s->stride, at) : pool_window(max, x + j, at, s->k);
        if (!max) {
            const vf over = size < LANES ? v_load_n(count + j, size) : v_load(count + j);
            sum = sum / over;
        }
        if (size < LANES)
            v_store_n(y + j, sum, size);
        else
            v_store(y + j, sum);
    }
}

#define RT_POOL_ROW(name, max, apart) \
    static void name(const rt_pool_step *s, const real *x, const int32_t *at, const real *count, real *y) { \
        pool_row(max, apart, s, x, at, count, y); \
    }
RT_POOL_ROW(max_row, 1, 0)
RT_POOL_ROW(mean_row, 0, 0)
RT_POOL_ROW(max_apart, 1, 1)
RT_POOL_ROW(mean_apart, 0, 1)

static int op_pool(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_pool_step *s = (const rt_pool_step *)words;
    const real *x = RT_AT(const real, values, s->x), *count = RT_AT(const real, values, s->count);
    const int32_t *at = RT_AT(const int32_t, values, s->at);
    real *y = RT_AT(real, values, s->y);
    const int64_t planes = s->n * s->c, end = part_begin(planes, part + 1, n_parts);
    int64_t p = part_begin(planes, part, n_parts), n = p ? p / s->c : 0, c = p - n * s->c;
    for (; p < end; p++) {
        const real *plane = x + n * s->xn + c * s->xc;
        for (int64_t h = 0; h < s->oh; h++) {
            real *row = y + (p * s->oh + h) * s->ow;
            const real *from = plane + h * s->xh, *counts = s->max ? 0 : count + h * s->ow;
            if (s->across)
                (s->max ? max_apart : mean_apart)(s, from, at, counts, row);
            else
                (s->max ? max_row : mean_row)(s, from, at, counts, row);
        }
        if (++c == s->c) c = 0, n++;
    }
    return RT_OK;
}

static real plane_max(const real *x, int64_t n) {
    real y = x[0];
    for (int64_t i = 1; i < n; i++) y = y != y || y >= x[i] ? y : x[i];
    return y;
}

static real plane_sum(const real *x, int64_t n) {
    vf sum[4] = {v_set1(0), v_set1(0), v_set1(0), v_set1(0)};
    real lanes[LANES];
    int64_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        for (int v = 0; v < 4; v++) sum[v] = sum[v] + v_load(x + i + v * LANES);
    for (; i + LANES <= n; i += LANES) sum[0] = sum[0] + v_load(x + i);
    if (i < n) sum[1] = sum[1] + v_load_n(x + i, (int)(n - i));
    v_store(lanes, (sum[0] + sum[1]) + (sum[2] + sum[3]));
    for (int width = LANES / 2; width; width /= 2)
        for (int u = 0; u < width; u++) lanes[u] += lanes[u + width];
    return lanes[0];
}

static int op_pool_all(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_pool_all *s = (const rt_pool_all *)words;
    const real *x = RT_AT(const real, values, s->x);
    real *y = RT_AT(real, values, s->y);
    const int64_t planes = s->n * s->c, end = part_begin(planes, part + 1, n_parts);
    int64_t p = part_begin(planes, part, n_parts), n = p ? p / s->c : 0, c = p - n * s->c;
    for (; p < end; p++) {
        const real *plane = x + n * s->xn + c * s->xc;
        y[p] = s->max ? plane_max(plane, s->size) : plane_sum(plane, s->size) / (real)s->size;
        if (++c == s->c) c = 0, n++;
    }
    return RT_OK;
}
#endif
