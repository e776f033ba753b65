/* Copies, moves to places that indices name, and resampling; every byte of the results is compared. */
#include "operators.h"

static void *random_bytes(size_t n) {
    unsigned char *p = input_bytes(n);
    for (size_t i = 0; i < n; i++) p[i] = (unsigned char)random_below(255);
    return p;
}

static void check_bytes(const void *got, const void *want, size_t n) { check(!memcmp(got, want, n), label, NAN, NAN); }

/* Units of x at random strides to a y of (outer, row, inner), which has gaps between units. */
static void check_copy(int unit, int turned, int outer, int row, int inner) {
    int64_t words[32] = {0};
    rt_copy *s = (rt_copy *)words;
    begin_case("copy of %dx%dx%d units of %d, turned %d", outer, row, inner, unit, turned);
    const int gap = turned ? 0 : unit % 3, step = unit + gap; /* turned: units follow each other along inner in y, row in x */
    const int xr = turned ? unit : (inner * 2 + 1) * unit, xi = turned ? row * unit : 2 * unit,
              xo = turned ? row * inner * unit : row * xr;
    const int yi = step, yr = inner * step + 3 * unit, yo = row * yr;
    const unsigned char *x = random_bytes((size_t)(outer - 1) * xo + (row - 1) * xr + (inner - 1) * xi + unit);
    unsigned char *y = output_bytes((size_t)(outer - 1) * yo + (row - 1) * yr + (inner - 1) * yi + unit);
    s->x = at(x), s->y = at(y), s->unit = unit, s->turned = turned, s->n_outer = 1;
    s->row = (rt_copy_axis){row, xr, yr}, s->inner = (rt_copy_axis){inner, xi, yi}, s->outer[0] = (rt_copy_axis){outer, xo, yo};
    run("copy", words, 1);
    for (int o = 0; o < outer; o++)
        for (int r = 0; r < row; r++)
            for (int i = 0; i < inner; i++) {
                unsigned char *to = y + o * yo + r * yr + i * yi;
                check_bytes(to, x + o * xo + r * xr + i * xi, unit);
                if (i + 1 < inner)
                    check_untouched(to + unit, gap);
                else if (r + 1 < row)
                    check_untouched(to + unit, 3 * unit);
            }
    end_case();
}

static void check_zip(int n) {
    begin_case("zip of %d", n);
    const real *a = input(n), *b = input(n);
    real *y = output(2 * n);
    rt_zip s = {.x = {at(a), at(b)}, .y = at(y), .n = n};
    run("zip", &s, 1);
    for (int i = 0; i < 2 * n; i++) check_near(label, y[i], i % 2 ? b[i / 2] : a[i / 2], 0);
    end_case();
}

/* n indices below `below`, every third one counted from the end; `plain` takes what they mean. */
static void *indices(int n, int below, int wide, int *plain) {
    void *p = input_bytes((size_t)n * (wide ? 8 : 4));
    for (int i = 0; i < n; i++) {
        plain[i] = (int)random_below(below);
        const int index = i % 3 == 2 ? plain[i] - below : plain[i];
        if (wide)
            ((int64_t *)p)[i] = index;
        else
            ((int32_t *)p)[i] = index;
    }
    return p;
}

static void spoil(void *index, int i, int wide, int value) {
    if (wide)
        ((int64_t *)index)[i] = value;
    else
        ((int32_t *)index)[i] = value;
}

static void check_gathers(int run_bytes, int wide) {
    enum { OUTER = 3, N = 5, COUNT = 7 };
    int plain[2 * OUTER * COUNT];
    int64_t words[32] = {0};
    begin_case("gather of runs of %d, wide %d", run_bytes, wide);
    const unsigned char *x = random_bytes(OUTER * N * run_bytes);
    unsigned char *y = output_bytes(OUTER * COUNT * run_bytes);
    void *index = indices(COUNT, N, wide, plain);
    rt_gather s = {.x = at(x), .index = at(index), .y = at(y), .wide = wide, .outer = OUTER, .n_index = COUNT, .n = N};
    s.x_outer = N * run_bytes, s.x_axis = run_bytes, s.run = run_bytes;
    run("gather", &s, 1);
    for (int i = 0; i < OUTER * COUNT; i++)
        check_bytes(y + i * run_bytes, x + (i / COUNT * N + plain[i % COUNT]) * run_bytes, run_bytes);
    spoil(index, 3, wide, N);
    check(try_run("gather", &s, 1) == RT_BAD_INDEX, label, RT_OK, RT_BAD_INDEX);
    end_case();

    begin_case("gather_nd and scatter_nd of runs of %d, wide %d", run_bytes, wide);
    rt_tuples *t = (rt_tuples *)words;
    x = random_bytes(OUTER * N * N * run_bytes), y = output_bytes(OUTER * COUNT * run_bytes);
    index = indices(2 * OUTER * COUNT, N, wide, plain);
    t->all = at(x), t->index = at(index), t->some = at(y), t->wide = wide, t->batch = OUTER, t->n_index = COUNT;
    t->run = run_bytes, t->n_axes = 2, t->batch_stride = N * N * run_bytes;
    t->axis[0].size = t->axis[1].size = N, t->axis[0].stride = N * run_bytes, t->axis[1].stride = run_bytes;
    run("gather_nd", words, 1);
    for (int i = 0; i < OUTER * COUNT; i++)
        check_bytes(y + i * run_bytes, x + ((i / COUNT * N + plain[2 * i]) * N + plain[2 * i + 1]) * run_bytes, run_bytes);
    const unsigned char *updates = random_bytes(COUNT * run_bytes);
    unsigned char *all = output_bytes(N * N * run_bytes), *want = input_bytes(N * N * run_bytes);
    memset(want, 0xFF, N * N * run_bytes);
    for (int i = 0; i < COUNT; i++)
        memcpy(want + (plain[2 * i] * N + plain[2 * i + 1]) * run_bytes, updates + i * run_bytes, run_bytes);
    t->all = at(all), t->some = at(updates), t->batch = 1;
    run("scatter_nd", words, 1);
    check_bytes(all, want, N * N * run_bytes);
    spoil(index, 4, wide, -N - 1);
    check(try_run("scatter_nd", words, 1) == RT_BAD_INDEX, label, RT_OK, RT_BAD_INDEX);
    end_case();
}

/* Elements of 4 bytes along the first axis of (n, columns); floats are combined. */
static void check_elements_moved(int columns, int wide, int reduce) {
    enum { N = 5, ROWS = 3 };
    int plain[64];
    int64_t words[32] = {0};
    rt_elements *s = (rt_elements *)words;
    begin_case("gather_elements and scatter_elements of %d columns, wide %d, reduction %d", columns, wide, reduce);
    real *x = input(N * columns), *y = output(ROWS * columns);
    void *index = indices(ROWS * columns, N, wide, plain);
    s->all = at(x), s->index = at(index), s->some = at(y), s->wide = wide, s->reduce = reduce, s->element = 4;
    s->n = N, s->stride = columns * 4, s->n_axes = 2;
    s->axis[0].size = ROWS, s->axis[0].stride = 0, s->axis[1].size = columns, s->axis[1].stride = 4;
    run("gather_elements", words, 1);
    for (int i = 0; i < ROWS * columns; i++) check_near(label, y[i], x[plain[i] * columns + i % columns], 0);
    const real *updates = input(ROWS * columns);
    real *want = input(N * columns);
    memcpy(want, x, N * columns * sizeof(real));
    for (int i = 0; i < ROWS * columns; i++) {
        real *to = &want[plain[i] * columns + i % columns];
        const real u = updates[i];
        *to = reduce == SCATTER_ADD   ? *to + u
              : reduce == SCATTER_MUL ? *to * u
              : reduce == SCATTER_MAX ? (*to > u ? *to : u)
              : reduce == SCATTER_MIN ? (*to < u ? *to : u)
                                      : u;
    }
    s->some = at(updates);
    run("scatter_elements", words, 1);
    for (int i = 0; i < N * columns; i++) check_near(label, x[i], want[i], 0);
    end_case();
}

static void check_others(int n, int wide) {
    enum { DEPTH = 4, INNER = 3, BATCH = 3 };
    int plain[128];
    begin_case("one_hot of %d", n);
    void *index = indices(n * INNER, DEPTH, wide, plain);
    const real *value = input(1);
    real *y = output(n * DEPTH * INNER);
    rt_one_hot h = {.index = at(index), .value = at(value), .y = at(y), .wide = wide, .element = 4, .outer = n, .inner = INNER};
    h.depth = DEPTH;
    spoil(index, 0, wide, DEPTH), plain[0] = -1;
    run("one_hot", &h, 1);
    for (int i = 0; i < n * DEPTH * INNER; i++) {
        if (plain[i / (DEPTH * INNER) * INNER + i % INNER] == i / INNER % DEPTH)
            check_near(label, y[i], value[0], 0);
        else
            check_untouched(&y[i], sizeof(real));
    }
    end_case();

    begin_case("reverse_sequence of %d", n);
    const real *x = input(n * BATCH * INNER);
    void *length = indices(BATCH, n + 1, wide, plain);
    for (int b = 0; b < BATCH; b++) spoil(length, b, wide, plain[b]);
    y = output(n * BATCH * INNER);
    rt_reverse r = {.x = at(x), .length = at(length), .y = at(y), .wide = wide, .steps = n, .batch = BATCH, .run = INNER * 4};
    r.step_stride = BATCH * INNER * 4, r.batch_stride = INNER * 4;
    run("reverse_sequence", &r, 1);
    for (int i = 0; i < n * BATCH * INNER; i++) {
        const int t = i / (BATCH * INNER), b = i / INNER % BATCH, from = t < plain[b] ? plain[b] - 1 - t : t;
        check_near(label, y[i], x[(from * BATCH + b) * INNER + i % INNER], 0);
    }
    spoil(length, 1, wide, n + 1);
    check(try_run("reverse_sequence", &r, 1) == RT_BAD_LENGTH, label, RT_OK, RT_BAD_LENGTH);
    end_case();

    for (int shift = -n - 1; shift <= INNER + 1; shift++)
        for (int upper = 0; upper <= 1; upper++) {
            begin_case("trilu of %d rows, shift %d, upper %d", n, shift, upper);
            x = input(2 * n * INNER), y = output(2 * n * INNER);
            rt_trilu t = {
                .x = at(x), .y = at(y), .element = 4, .outer = 2, .rows = n, .columns = INNER, .shift = shift, .upper = upper};
            run("trilu", &t, 1);
            for (int i = 0; i < 2 * n * INNER; i++) {
                const int row = i / INNER % n, column = i % INNER;
                check_near(label, y[i], (upper ? column >= row + shift : column <= row + shift) ? x[i] : 0, 0);
            }
            end_case();
        }
}

static void check_resample(int n, int out, int inner, int taps) {
    begin_case("resample of %d to %d, inner %d, %d taps", n, out, inner, taps);
    const real *x = input(2 * n * inner), *weight = input(taps * out);
    int64_t *place = input_bytes((size_t)taps * out * 8);
    for (int i = 0; i < taps * out; i++) place[i] = random_below(n);
    real *y = output(2 * out * inner);
    rt_resample s = {.x = at(x), .place = at(place), .weight = at(weight), .y = at(y), .outer = 2, .n = n, .out = out};
    s.inner = inner, s.taps = taps;
    run("resample", &s, 3);
    for (int i = 0; i < 2 * out * inner; i++) {
        const int o = i / (out * inner), j = i / inner % out;
        double want = 0;
        for (int t = 0; t < taps; t++) want += (double)weight[t * out + j] * x[(o * n + place[t * out + j]) * inner + i % inner];
        check_near(label, y[i], want, 1e-5);
    }
    end_case();
}

static void check_limits(void) {
    begin_case("the loops that measure limits");
    const real *x = input(8 * LANES);
    real *y = output(LANES);
    rt_limit s = {.x = at(x), .y = at(y), .n = 8 * LANES, .repeats = 2};
    run("limit_read", &s, 1);
    for (int u = 0; u < LANES; u++) {
        double want = 0;
        for (int i = 0; i < 8; i++) want += 2.0 * x[i * LANES + u];
        check_near(label, y[u], want, 1e-5);
    }
    run("limit_fma", &s, 1);
    for (int u = 0; u < LANES; u++) check_near(label, y[u], 8 * 1.75 * x[u], 1e-5); /* a/4 + a/2 + a, eight times */
    end_case();
}

static void check_moves(void) {
    static const int units[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 200, 1025}, elements[] = {1, 2, 4, 8, 16};
    static const int sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 17, 33};
    static const int runs[] = {1, 2, 4, 5, 8, 12, 40, 70};
    for (int i = 0; i < 18; i++) check_copy(units[i], 0, 2, 3, 5), check_copy(units[i], 0, 1, 1, 1);
    for (int i = 0; i < 10; i++)
        for (int j = 0; j < 10; j++)
            for (int k = 0; k < 5; k++) check_copy(elements[k], 1, 2, sizes[i], sizes[j]);
    for (int i = 0; i < 10; i++) check_zip(sizes[i]);
    for (int wide = 0; wide <= 1; wide++) {
        for (int i = 0; i < 8; i++) check_gathers(runs[i], wide);
        for (int reduce = SCATTER_SET; reduce <= SCATTER_MIN; reduce++)
            for (int columns = 1; columns <= 4; columns++) check_elements_moved(columns, wide, reduce);
        for (int n = 1; n <= 7; n += 3) check_others(n, wide);
    }
    for (int inner = 1; inner <= 2 * LANES + 1; inner += LANES == 1 ? 1 : LANES / 2)
        for (int taps = 1; taps <= 4; taps++) check_resample(5, 7, inner, taps);
    check_limits();
}
