/* Convolutions, pads and pools against double loops over the equations that stand in their headers. */
#include "operators.h"

/* Sums over taps at any distances, as op_conv.h has them, in one phase or two, whose outputs alternate. */
enum { CONV_N = 2, CONV_GROUPS = 2, CONV_H = 3, CONV_SPAN = 37 };

static void check_conv(int wide, int m, int ow, int block, int n_phases, int kind, int with_bias) {
    const int vectors = (m + LANES - 1) / LANES, xw = wide ? 1 : 1 + ow % 3, n_parts = 1 + (m + ow) % 3, width = ow * n_phases;
    const int xh = (ow - 1) * xw + 11, xg = (CONV_H - 1) * xh + (ow - 1) * xw + CONV_SPAN, xn = CONV_GROUPS * xg;
    const int channels = CONV_GROUPS * m, depth[2] = {5, 4};
    int64_t words[96] = {0};
    rt_conv *s = (rt_conv *)words;
    begin_case("conv_%s, m %d, ow %d, block %d, %d phases, activation %d", wide ? "positions" : "channels", m, ow, block,
               n_phases, kind);
    const real *x = input(CONV_N * xn + (wide && ow < LANES ? LANES : 0)), *bias = with_bias ? input(channels) : NULL;
    real *w = input(channels * 9), *y = output(CONV_N * channels * CONV_H * width);
    const int padded = wide ? m : vectors * LANES, panel = wide ? block : block * LANES;
    real *packed = input(CONV_GROUPS * padded * 9);
    int32_t *taps = input_bytes((9 + CONV_AHEAD) * sizeof(int32_t));
    for (int k = 0; k < 9; k++) taps[k] = (int32_t)random_below(CONV_SPAN);
    memset(taps + 9, 0, CONV_AHEAD * sizeof(int32_t));
    s->x = at(x), s->y = at(y), s->weights = at(packed), s->bias = at(bias), s->at = at(taps);
    s->activation = kind, s->alpha = 0.3, s->beta = 0.7, s->n = CONV_N, s->groups = CONV_GROUPS, s->m = m, s->block = block;
    s->blocks = (padded + panel - 1) / panel, s->xn = xn, s->xg = xg, s->xh = xh, s->xw = xw;
    s->yn = channels * CONV_H * width, s->ym = CONV_H * width, s->yh = width, s->yw = n_phases, s->n_phases = n_phases;
    for (int i = 0; i < n_phases; i++) {
        rt_conv_phase *p = &s->phase[i];
        const int pieces = wide ? (ow + LANES - 1) / LANES : CONV_N * CONV_H * ow, most = wide ? MAX_NV : MAX_ROWS;
        p->y = i, p->weights = i * CONV_GROUPS * padded * 5, p->at = i * 5, p->k = p->all = depth[i], p->oh = CONV_H, p->ow = ow;
        p->cuts = (pieces + most - 1) / most, p->cut = wide ? 1 + i : pieces / p->cuts, p->extra = pieces % p->cuts;
        for (int g = 0; g < CONV_GROUPS; g++)
            for (int j = 0; j < padded; j++)
                for (int k = 0; k < depth[i]; k++) {
                    const int begin = j / panel * panel, own = padded - begin < panel ? padded - begin : panel;
                    packed[p->weights + (g * padded + begin) * depth[i] + k * own + j - begin] =
                        j < m ? w[(g * m + j) * 9 + i * 5 + k] : 0;
                }
    }
    run(wide ? "conv_positions" : "conv_channels", words, n_parts);
    for (int i = 0; i < CONV_N * channels * CONV_H * width; i++) {
        const int c = i / (CONV_H * width) % channels, h = i / width % CONV_H, phase = i % width % n_phases;
        const real *from = x + i / (CONV_H * width * channels) * xn + c / m * xg + h * xh + i % width / n_phases * xw;
        double want = bias ? bias[c] : 0;
        for (int k = phase * 5; k < phase * 5 + depth[phase]; k++) want += (double)w[c * 9 + k] * from[taps[k]];
        check_near(label, y[i], activation(kind, (real)0.3, (real)0.7, want), 1e-5);
    }
    end_case();
}

/* Two-dimensional convolutions with padding, which steps make band by band: of all channels, or of each plane. */
typedef struct {
    int n, c, h, w, m, kernel, stride, dilation, top, left, oh, ow, piece, pitch;
} rt_window;

static rt_window window(int w, int m, int stride) {
    rt_window v = {2, 3, 6, w, m, 3, stride, 1 + w % 2, 1, 2, 0, 0, stride, 0};
    const int reach = (v.kernel - 1) * v.dilation + 1;
    v.oh = (v.h + v.top + 1 - reach) / stride + 1;
    v.ow = (v.w + v.left + 1 - reach) / stride + 1;
    v.pitch = (v.left + v.w + 1 + stride - 1) / stride;
    return v;
}

/* The words of a pad of `rows` rows; returns the elements of a plane of it. */
static int lay_out_pad(rt_conv_pad *t, const rt_window *v, int rows, int step, real value) {
    t->fill = value, t->n = v->n, t->c = v->c, t->h = v->h;
    t->xn = v->c * v->h * v->w, t->xc = v->h * v->w, t->xh = v->w, t->xw = 1;
    t->top = v->top, t->rows = rows, t->step = step, t->pitch = v->pitch, t->s = v->piece;
    for (int q = 0; q < v->piece; q++) {
        const int low = q >= v->left ? 0 : (v->left - q + v->piece - 1) / v->piece;
        int end = low;
        while (end < v->pitch && end * v->piece + q - v->left < v->w) end++;
        t->piece[q].low = low, t->piece[q].size = end - low, t->piece[q].from = low * v->piece + q - v->left;
    }
    return v->piece * rows * v->pitch;
}

static double windowed(const rt_window *v, const real *x, const real *w, int h, int j) {
    double sum = 0;
    for (int a = 0; a < v->kernel; a++)
        for (int b = 0; b < v->kernel; b++) {
            const int row = h * v->stride + a * v->dilation - v->top, column = j * v->stride + b * v->dilation - v->left;
            if (row >= 0 && row < v->h && column >= 0 && column < v->w)
                sum += (double)w[a * v->kernel + b] * x[row * v->w + column];
        }
    return sum;
}

static int32_t tap(const rt_window *v, int rows, int a, int b) {
    const int column = b * v->dilation;
    return column % v->piece * rows * v->pitch + a * v->dilation * v->pitch + column / v->piece;
}

static double larger(double a, double b) { return a >= b || isnan(a) ? a : b; }

/* What a step with one set of weights [m][c][k][k] puts out at h, w for channel j of image n: activated, the largest of 2x2 if `pool`. */
static double convolved(const rt_window *v, const real *x, const real *weights, const real *bias, int kind, int pool, int n,
                        int j, int h, int w) {
    const int area = v->kernel * v->kernel;
    double most = -INFINITY;
    for (int q = 0; q < (pool ? 4 : 1); q++) {
        const int row = pool ? 2 * h + q / 2 : h, column = pool ? 2 * w + q % 2 : w;
        double sum = bias[j];
        for (int c = 0; c < v->c; c++)
            sum += windowed(v, x + (n * v->c + c) * v->h * v->w, weights + (j * v->c + c) * area, row, column);
        most = larger(most, activation(kind, (real)0.3, (real)0.7, sum));
    }
    return most;
}

static void check_bands(int w, int m, int stride, int run_rows, int kind, int pool) {
    const rt_window v = window(w, m, stride);
    const int block = 3, bands = run_rows ? (v.oh + run_rows - 1) / run_rows : 1, area = v.kernel * v.kernel, n_parts = 3;
    const int rows = bands > 1 ? (run_rows - 1) * stride + (v.kernel - 1) * v.dilation + 1 : v.top + v.h + 1;
    int64_t words[128] = {0};
    rt_conv *s = (rt_conv *)words;
    const int oh = pool ? v.oh / 2 : v.oh, ow = pool ? v.ow / 2 : v.ow;
    begin_case("conv_positions with a pad, w %d, m %d, stride %d, run %d, pool %d", w, m, stride, run_rows, pool);
    const real *x = input(v.n * v.c * v.h * v.w), *bias = input(m), *weights = input(m * v.c * area);
    real *packed = input(m * v.c * area), *y = output(v.n * m * oh * ow);
    int32_t *taps = input_bytes(v.c * area * sizeof(int32_t));
    s->n_phases = 1, s->pad = (int64_t)((int64_t *)&s->phase[1] - words);
    const int size = lay_out_pad((rt_conv_pad *)(words + s->pad), &v, rows, bands > 1 ? run_rows * stride : 0, 0);
    s->run = run_rows, s->bands = bands, s->size = (v.c * size + LANES + 15) / 16 * 16;
    s->x = at(x), s->y = at(y), s->weights = at(packed), s->bias = at(bias), s->at = at(taps);
    s->scratch = at(output(n_parts * s->size)), s->activation = kind, s->alpha = 0.3, s->beta = 0.7;
    s->n = v.n, s->groups = 1, s->m = m, s->block = block, s->blocks = (m + block - 1) / block;
    s->xh = stride * v.pitch, s->xw = 1, s->yn = m * oh * ow, s->ym = oh * ow, s->yh = ow, s->yw = 1, s->pool = pool;
    rt_conv_phase *p = &s->phase[0];
    p->k = p->all = v.c * area, p->oh = v.oh, p->ow = v.ow, p->cut = 1 + (v.ow + kind + m) % MAX_NV;
    for (int k = 0; k < v.c * area; k++) {
        taps[k] = k / area * size + tap(&v, rows, k % area / v.kernel, k % v.kernel);
        for (int j = 0; j < m; j++) {
            const int begin = j / block * block, own = m - begin < block ? m - begin : block;
            packed[begin * v.c * area + k * own + j - begin] = weights[j * v.c * area + k];
        }
    }
    run("conv_positions", words, n_parts);
    for (int i = 0; i < v.n * m * oh * ow; i++) {
        const double want =
            convolved(&v, x, weights, bias, kind, pool, i / (m * oh * ow), i / (oh * ow) % m, i / ow % oh, i % ow);
        check_near(label, y[i], want, 1e-5);
    }
    end_case();
}

static void check_planes(int w, int stride, int run_rows, int kind, int batch) {
    const rt_window v = window(w, 1, stride);
    const int area = v.kernel * v.kernel, n_parts = 4, rows = v.top + v.h + 1, step = stride * v.pitch;
    const int at_a_time = stride == 1 ? (run_rows < v.oh ? run_rows : v.oh) : 1, length = (at_a_time - 1) * step + v.ow;
    int64_t words[128] = {0};
    rt_planes *s = (rt_planes *)words;
    begin_case("conv_planes, w %d, stride %d, run %d, activation %d", w, stride, run_rows, kind);
    const real *x = input(v.n * v.c * v.h * v.w), *bias = input(v.c), *weights = input(v.c * area);
    real *y = output(v.n * v.c * v.oh * v.ow);
    int32_t *taps = input_bytes(area * sizeof(int32_t));
    for (int k = 0; k < area; k++) taps[k] = tap(&v, rows, k / v.kernel, k % v.kernel);
    s->n_phases = 1, s->pad = (int64_t)((int64_t *)&s->phase[1] - words);
    const int size = lay_out_pad((rt_conv_pad *)(words + s->pad), &v, rows, 0, 0);
    s->batch = batch, s->apart = (size + LANES + 15) / 16 * 16, s->line = batch * s->apart;
    s->size = s->line + (length + LANES + 15) / 16 * 16;
    s->x = at(x), s->y = at(y), s->weights = at(weights), s->bias = at(bias), s->at = at(taps);
    s->scratch = at(output(n_parts * s->size)), s->activation = kind, s->alpha = 0.3, s->beta = 0.7;
    s->n = v.n, s->c = v.c, s->xn = v.c * v.h * v.w, s->xc = v.h * v.w, s->ph = step;
    s->yn = v.c * v.oh * v.ow, s->yc = v.oh * v.ow, s->yh = v.ow, s->yw = 1;
    rt_planes_phase *p = &s->phase[0];
    p->k = area, p->oh = v.oh, p->ow = v.ow, p->run = at_a_time, p->direct = at_a_time == 1 && v.ow >= LANES;
    run("conv_planes", words, n_parts);
    for (int i = 0; i < v.n * v.c * v.oh * v.ow; i++) {
        const int plane = i / (v.oh * v.ow), h = i / v.ow % v.oh;
        const double want = bias[plane % v.c] + windowed(&v, x + plane * v.h * v.w, weights + plane % v.c * area, h, i % v.ow);
        check_near(label, y[i], activation(kind, (real)0.3, (real)0.7, want), 1e-5);
    }
    end_case();
}

static void check_pad(int w, int stride) {
    const rt_window v = window(w, 1, stride);
    const int rows = v.top + v.h + 1;
    int64_t words[64] = {0};
    rt_conv_pad *t = (rt_conv_pad *)words;
    begin_case("conv_pad, w %d, %d pieces", w, stride);
    const int size = lay_out_pad(t, &v, rows, 0, (real)-3.5);
    const real *x = input(v.n * v.c * v.h * v.w);
    real *y = output(v.n * v.c * size);
    t->x = at(x), t->y = at(y);
    run("conv_pad", words, 4);
    for (int i = 0; i < v.n * v.c * size; i++) {
        const int q = i % size / (rows * v.pitch), row = i / v.pitch % rows - v.top, column = i % v.pitch * v.piece + q - v.left;
        const int inside = row >= 0 && row < v.h && column >= 0 && column < v.w;
        check_near(label, y[i], inside ? x[i / size * v.h * v.w + row * v.w + column] : -3.5, 0);
    }
    end_case();
}

/* U of one channel's nine weights. */
static void filter_taps(const real *g, double u[16]) {
    static const double G[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
    for (int f = 0; f < 16; f++) {
        u[f] = 0;
        for (int k = 0; k < 9; k++) u[f] += G[f / 4][k / 3] * G[f % 4][k % 3] * g[k];
    }
}

/* By patches, in units of `run` rows and `slab` columns of them, some units a group; one input of some is infinite. */
static void check_winograd(int w, int m, int block, int run_rows, int slab, int kind, int pool) {
    rt_window v = window(w, m, 1);
    v.dilation = 1, v.oh = v.h + v.top + 1 - 2, v.ow = w + v.left + 1 - 2;
    const int vectors = (m + LANES - 1) / LANES, rows = (v.oh + 1) / 2, columns = (v.ow + 1) / 2, n_parts = 3;
    const int oh = pool ? v.oh / 2 : v.oh, ow = pool ? v.ow / 2 : v.ow;
    begin_case("conv_winograd, w %d, m %d, block %d, units of %d by %d, pool %d", w, m, block, run_rows, slab, pool);
    real *x = input(v.n * v.c * v.h * w);
    const real *bias = input(m), *weights = input(m * v.c * 9);
    real *packed = input(vectors * LANES * v.c * 16), *y = output(v.n * m * oh * ow);
    if (m % 2) x[2] = INFINITY;
    for (int j = 0; j < vectors * LANES; j++)
        for (int c = 0; c < v.c; c++) {
            const int begin = j / (block * LANES) * block * LANES;
            const int own = vectors * LANES - begin < block * LANES ? vectors * LANES - begin : block * LANES;
            double u[16] = {0};
            if (j < m) filter_taps(weights + (j * v.c + c) * 9, u);
            for (int f = 0; f < 16; f++) packed[(begin * 16 + f * own) * v.c + c * own + j - begin] = (real)u[f];
        }
    rt_winograd s = {.x = at(x), .y = at(y), .weights = at(packed), .bias = at(bias), .activation = kind, .alpha = 0.3};
    s.beta = 0.7, s.n = v.n, s.c = v.c, s.h = v.h, s.w = w, s.xn = v.c * v.h * w, s.xc = v.h * w, s.xh = w, s.xw = 1;
    s.top = v.top, s.left = v.left, s.m = m, s.oh = v.oh, s.ow = v.ow, s.pool = pool, s.yn = m * oh * ow, s.ym = oh * ow;
    s.yh = ow;
    s.block = block, s.blocks = (vectors + block - 1) / block, s.run = run_rows < rows ? run_rows : rows;
    s.slab = slab < columns ? slab : columns, s.bands = (rows + s.run - 1) / s.run, s.slabs = (columns + s.slab - 1) / s.slab;
    s.join = s.bands * s.slabs == 1 ? 2 : 1, s.ld = (s.join * s.run * s.slab + LANES + 15) / 16 * 16;
    s.copy = (2 * (2 * s.run + 2) * (s.slab + 1) + 2 * LANES + 15) / 16 * 16, s.v_f = v.c * s.ld + 16;
    s.m_f = s.join * s.run * s.slab * block * LANES + 16, s.size = s.copy + 16 * (s.v_f + s.m_f);
    s.scratch = at(output(n_parts * s.size));
    run("conv_winograd", &s, n_parts);
    for (int i = 0; i < v.n * m * oh * ow; i++) {
        const double want =
            convolved(&v, x, weights, bias, kind, pool, i / (m * oh * ow), i / (oh * ow) % m, i / ow % oh, i % ow);
        check_near(label, y[i], want, 1e-5);
    }
    end_case();
}

/* Of windows `step` elements apart, rows of them `across` wide, or one element apart where that is 0. */
static void check_pool(int ow, int max, int k, int across, int step) {
    enum { N = 2, C = 2, OH = 2 };
    const int wide = across ? across : 1;
    const int xh = step * ow + 5, xc = (OH - 1) * xh + step * (ow - 1) + CONV_SPAN + wide - 1;
    begin_case("pool, ow %d, max %d, k %d, across %d, step %d", ow, max, k, across, step);
    real *x = input(N * C * xc + (ow < LANES ? LANES : 0)), *count = input(OH * ow), *y = output(N * C * OH * ow);
    int32_t *taps = input_bytes(k * sizeof(int32_t));
    for (int i = 0; i < k; i++) taps[i] = (int32_t)random_below(CONV_SPAN);
    for (int i = 0; i < OH * ow; i++) count[i] = (real)(1 + i % 3);
    if (ow > 3) x[3] = NAN;
    rt_pool_step s = {.x = at(x), .y = at(y), .at = at(taps), .count = max ? at(NULL) : at(count), .max = max, .n = N, .c = C};
    s.oh = OH, s.ow = ow, s.k = k, s.xn = C * xc, s.xc = xc, s.xh = xh, s.across = across, s.stride = step;
    run("pool", &s, 3);
    for (int i = 0; i < N * C * OH * ow; i++) {
        const real *from = x + i / (OH * ow) * xc + i / ow % OH * xh + i % ow * step;
        double want = max ? -INFINITY : 0;
        for (int j = 0; j < k * wide; j++) {
            const real next = from[taps[j / wide] + j % wide];
            want = max ? larger(want, next) : want + next;
        }
        check_near(label, y[i], max ? want : want / count[i % (OH * ow)], 1e-6 * k * wide);
    }
    end_case();
}

static void check_pool_all(int size, int max) {
    begin_case("pool_all of %d, max %d", size, max);
    const real *x = input(6 * size);
    real *y = output(6);
    rt_pool_all s = {.x = at(x), .y = at(y), .max = max, .n = 2, .c = 3, .size = size, .xn = 3 * size, .xc = size};
    run("pool_all", &s, 4);
    for (int i = 0; i < 6; i++) {
        double want = max ? -INFINITY : 0;
        for (int j = 0; j < size; j++) want = max ? larger(want, x[i * size + j]) : want + x[i * size + j] / (double)size;
        check_near(label, y[i], want, 1e-6);
    }
    end_case();
}

static void check_windows(void) {
    const int widths[] = {1, LANES - 1, LANES, LANES + 1, 2 * LANES + 3, 4 * LANES, 5 * LANES + 1};
    const int channels[] = {1, 3, LANES, LANES + 1, 5 * LANES + 2};
    static const int kinds[] = {-1, ACT_RELU, ACT_TANH, ACT_ELU};
    int count = 0;
    for (int i = 0; i < 7; i++) {
        if (!widths[i]) continue;
        for (int j = 0; j < 5; j++)
            for (int phases = 1; phases <= 2; phases++, count++) {
                for (int block = 1; block <= 8; block += 3)
                    check_conv(1, channels[j], widths[i], block, phases, kinds[count % 4], count % 3);
                for (int block = 1; block <= 4; block++)
                    check_conv(0, channels[j], widths[i], block, phases, kinds[count % 4], count % 3);
            }
        for (int stride = 1; stride <= 3; stride++) {
            const int w = widths[i] * stride + 2;
            for (int run_rows = 0; run_rows <= 4; run_rows++) {
                check_bands(w, 1 + 4 * (run_rows % 2), stride, run_rows, kinds[run_rows % 4], 0);
                if (run_rows % 2 == 0 && window(w, 1, stride).ow >= 2 * LANES)
                    check_bands(w, 5, stride, run_rows, kinds[stride], 1);
            }
            for (int run_rows = 1; run_rows <= 9; run_rows += 2)
                check_planes(w, stride, run_rows, kinds[run_rows % 4], run_rows % 4);
            check_pad(w, stride);
        }
        for (int j = 0; j < 5; j++)
            for (int block = 1; block <= 4; block++)
                for (int pool = 0; pool <= 1; pool++)
                    check_winograd(widths[i] + 3, channels[j], block, 1 + j, 2 + 9 * (block % 3), kinds[(j + block) % 2], pool);
        for (int max = 0; max <= 1; max++)
            for (int k = 1; k <= 7; k += 2) {
                check_pool(widths[i], max, k, 0, 1);
                for (int step = 2; step <= 5 && widths[i] >= LANES; step++)
                    for (int across = step == 2 ? 2 : 1; across <= 5; across++) check_pool(widths[i], max, k, across, step);
            }
        for (int max = 0; max <= 1; max++) check_pool_all(widths[i] * 2 - 1, max);
    }
}
