/* Operators along an axis: reductions, normalisations, running sums, the places of extrema. */
#include "operators.h"

static double red_start(int kind) { return kind == RED_MAX ? -INFINITY : kind == RED_MIN ? INFINITY : kind == RED_PRODUCT; }

static double red_take(int kind, double sum, double x, double shift) {
    switch (kind) {
    case RED_SUM: return sum + x;
    case RED_ABS: return sum + fabs(x);
    case RED_SQUARE: return sum + x * x;
    case RED_MAX: return fmax(sum, x);
    case RED_MIN: return fmin(sum, x);
    case RED_PRODUCT: return sum * x;
    default: return sum + exp(x - shift);
    }
}

static double red_end(int finish, double x, double count, double shift) {
    switch (finish) {
    case FIN_DIVIDE: return x / count;
    case FIN_SQRT: return sqrt(x);
    case FIN_LOG: return log(x);
    case FIN_FINITE: return isfinite(x) ? x : 0;
    case FIN_LOG_PLUS: return log(x) + shift;
    default: return x;
    }
}

/* `nan` is the place of one, or -1. */
static void check_extremes(int n, int nan) {
    begin_case("extremes of %d, NaN at %d", n, nan);
    real *x = input(n), *low = output(1), *high = output(1);
    double least = INFINITY, most = -INFINITY;
    if (nan >= 0) x[nan] = NAN;
    for (int i = 0; i < n; i++) least = x[i] < least ? x[i] : least, most = x[i] > most ? x[i] : most;
    rt_extremes s = {.x = at(x), .low = at(low), .high = at(high), .n = n};
    run("extremes", &s, 1);
    if (nan < 0) check_near(label, *low, least, 0), check_near(label, *high, most, 0);
    if (nan >= 0) check_near(label, *low != *low && *high != *high, 1, 0);
    end_case();
}

/* x is (kept, reduced, n, stride) of which the last axis is for gaps, or for pairs. */
static void check_reduce(int form, int kind, int kept, int reduced, int n, int stride) {
    static const int finishes[] = {FIN_DIVIDE, FIN_LOG, FIN_SQRT, FIN_FINITE, FIN_NONE, FIN_NONE, FIN_LOG_PLUS};
    const int rows = form == REDUCE_ROWS, finish = n % 2 ? finishes[kind] : FIN_NONE, outputs = rows ? kept : kept * n;
    begin_case("reduce form %d, kind %d, %dx%dx%d, stride %d", form, kind, kept, reduced, n, stride);
    real *x = input(((size_t)kept * reduced * n - 1) * stride + (form == REDUCE_PAIRS ? 2 : 1));
    real *y = output(outputs), *shift = input(outputs);
    for (ptrdiff_t i = 0; kind == RED_PRODUCT && i < ((ptrdiff_t)kept * reduced * n - 1) * stride + 1; i++) x[i] = 1 + x[i] / 64;
    rt_reduce s = {.x = at(x), .y = at(y), .shift = kind == RED_EXP ? at(shift) : at(NULL), .form = form, .kind = kind};
    const ptrdiff_t row = (ptrdiff_t)n * stride;
    s.finish = finish, s.count = 7, s.n = n, s.stride = stride, s.n_kept = 1, s.n_reduced = form != REDUCE_PAIRS;
    s.kept[0].size = kept, s.kept[0].x = reduced * row, s.reduced[0].size = reduced, s.reduced[0].x = row;
    if (rows && reduced == 1) s.n_reduced = 0;
    run("reduce", &s, 3);
    for (int j = 0; j < outputs; j++) {
        double want = red_start(kind), size = 0;
        for (int r = 0; r < (rows ? reduced * n : form == REDUCE_PAIRS ? 2 : reduced); r++) {
            const ptrdiff_t column = j % n * (ptrdiff_t)stride;
            const real e = rows                   ? x[j * reduced * row + r * (ptrdiff_t)stride]
                           : form == REDUCE_PAIRS ? x[j / n * row + column + r]
                                                  : x[(j / n * reduced + r) * row + column];
            want = red_take(kind, want, e, shift[j]);
            size += kind == RED_EXP ? exp(e - shift[j]) : fmax(fabs(e), (double)e * e);
        }
        if (finish == FIN_LOG && want <= 0) continue;
        const double last = red_end(finish, want, 7, shift[j]), relative = kind == RED_PRODUCT ? 1e-5 : 2e-6 * size / fabs(want);
        check_near(label, y[j], last,
                   finish == FIN_LOG || finish == FIN_LOG_PLUS ? relative + 1e-6 : relative * fabs(last) + 1e-6);
    }
    end_case();
}

static void check_norm(int rows, int n, int mean, int segments, int period, int kind) {
    begin_case("norm of %d rows of %d, mean %d, segments %d, period %d", rows, n, mean, segments, period);
    const int own = segments ? segments : n, with = rows % 2;
    const real *x = input(rows * n), *scale = with ? input(period * own) : NULL, *bias = with ? input(period * own) : NULL;
    real *y = output(rows * n);
    rt_norm s = {.x = at(x), .y = at(y), .scale = at(scale), .bias = at(bias), .rows = rows, .n = n, .period = period};
    s.flags = mean ? NORM_MEAN : 0, s.segments = segments, s.epsilon = 0.25, s.activation = kind;
    run("norm", &s, 3);
    for (int i = 0; i < rows * n; i++) {
        const real *row = x + i / n * n;
        double m = 0, v = 0;
        for (int j = 0; mean && j < n; j++) m += row[j] / (double)n;
        for (int j = 0; j < n; j++) v += (row[j] - m) * (row[j] - m) / n;
        const int k = i / n % period * own + (segments ? i % n / (n / segments) : i % n);
        const double want = (x[i] - m) / sqrt(v + 0.25) * (scale ? scale[k] : 1) + (bias ? bias[k] : 0);
        check_near(label, y[i], activation(kind, 0, 0, want), 2e-5);
    }
    end_case();
}

static void check_affine(int outer, int channels, int inner, int kind) {
    begin_case("affine of %dx%dx%d", outer, channels, inner);
    const real *x = input(outer * channels * inner), *mean = input(channels), *factor = input(channels), *bias = input(channels);
    real *y = output(outer * channels * inner);
    rt_affine s = {.x = at(x), .y = at(y), .mean = at(mean), .factor = at(factor), .bias = at(bias)};
    s.outer = outer, s.channels = channels, s.inner = inner, s.activation = kind;
    run("affine", &s, 3);
    for (int i = 0; i < outer * channels * inner; i++) {
        const int c = i / inner % channels;
        check_near(label, y[i], activation(kind, 0, 0, ((double)x[i] - mean[c]) * factor[c] + bias[c]), 5e-6);
    }
    end_case();
}

static void check_along(const char *name, int outer, int n, int inner, int kind) {
    begin_case("%s of %dx%dx%d, kind %d", name, outer, n, inner, kind);
    const int softmax = !strcmp(name, "softmax"), total = outer * n * inner;
    real *x = input(total), *y = output(total);
    for (int i = 0; !softmax && inner == 1 && i < n; i++) x[i] = 0;
    rt_along s = {.x = at(x), .y = at(y), .outer = outer, .n = n, .inner = inner, .kind = kind};
    run(name, &s, 3);
    for (int i = 0; i < total; i++) {
        const real *from = x + i / (n * inner) * n * inner + i % inner;
        double sum = 0, want;
        for (int j = 0; j < n; j++) {
            const double e = from[j * inner];
            sum += softmax ? exp(e) : kind == 1 ? fabs(e) : e * e;
        }
        if (softmax)
            want = kind ? x[i] - log(sum) : exp(x[i]) / sum;
        else
            want = sum == 0 ? 0 : x[i] / (kind == 1 ? sum : sqrt(sum));
        check_near(label, y[i], want, 4e-6);
    }
    end_case();
}

/* Integers and, for element 0, floats with whole values. */
static double element_of(const void *p, int element, int i) {
    return element == SCAN_FLOAT   ? ((const float *)p)[i]
           : element == SCAN_INT32 ? ((const int32_t *)p)[i]
                                   : (double)((const int64_t *)p)[i];
}

static void *whole_numbers(int element, int n, int span) {
    const int size = element == SCAN_INT64 ? 8 : 4;
    void *p = input_bytes((size_t)n * size);
    for (int i = 0; i < n; i++) {
        const int value = (int)random_below(2 * span + 1) - span;
        if (element == SCAN_FLOAT) ((float *)p)[i] = (float)value;
        if (element == SCAN_INT32) ((int32_t *)p)[i] = value;
        if (element == SCAN_INT64) ((int64_t *)p)[i] = value;
    }
    return p;
}

static void check_scan(int element, int outer, int n, int inner, int flags) {
    const int total = outer * n * inner, size = element == SCAN_INT64 ? 8 : 4, product = (flags & SCAN_PRODUCT) != 0;
    begin_case("scan of type %d, %dx%dx%d, flags %d", element, outer, n, inner, flags);
    void *x = whole_numbers(element, total, product ? 2 : 9), *y = output_bytes((size_t)total * size);
    int64_t *place = output_bytes((size_t)outer * inner * 8);
    rt_scan s = {.x = at(x), .y = at(y), .outer = outer, .n = n, .inner = inner, .element = element, .flags = flags};
    if (!product || n < 20) {
        run("cumulate", &s, 3);
        for (int i = 0; i < total; i++) {
            const int column = i / (n * inner) * n * inner + i % inner, here = i / inner % n;
            double want = product;
            for (int j = 0; j < n; j++) {
                const int before = flags & SCAN_REVERSE ? j > here : j < here, e = column + j * inner;
                if (before || (j == here && !(flags & SCAN_EXCLUSIVE)))
                    want = product ? want * element_of(x, element, e) : want + element_of(x, element, e);
            }
            check_near(label, element_of(y, element, i), want, 0);
        }
    }
    s.y = at(place), s.flags = flags & 3;
    run("arg", &s, 3);
    for (int i = 0; i < outer * inner; i++) {
        int best = 0;
        for (int j = 1; j < n; j++) {
            const int column = i / inner * n * inner + i % inner;
            const double a = element_of(x, element, column + best * inner), b = element_of(x, element, column + j * inner);
            if (flags & SCAN_LEAST ? b < a : b > a) best = j;
            if (a == b && flags & SCAN_LAST) best = j;
        }
        check(place[i] == best, label, (double)place[i], best);
    }
    end_case();
}

static void check_reduce_int(int element, int outer, int n, int inner, int kind) {
    begin_case("reduce_int of type %d, %dx%dx%d, kind %d", element, outer, n, inner, kind);
    void *x = whole_numbers(element, outer * n * inner, kind == INT_PRODUCT ? 1 : 9);
    void *y = output_bytes((size_t)outer * inner * (element == SCAN_INT64 ? 8 : 4));
    rt_scan s = {.x = at(x), .y = at(y), .outer = outer, .n = n, .inner = inner, .element = element, .flags = kind};
    run("reduce_int", &s, 3);
    for (int i = 0; i < outer * inner; i++) {
        const int column = i / inner * n * inner + i % inner;
        double want = red_start(kind);
        for (int j = 0; j < n; j++) want = red_take(kind, want, element_of(x, element, column + j * inner), 0);
        check_near(label, element_of(y, element, i), want, 0);
    }
    end_case();
}

static void check_top_k(int element, int outer, int n, int inner, int k, int largest) {
    static const char *const names[] = {"top_k_float32", "top_k_int32", "top_k_int64"};
    begin_case("%s of %dx%dx%d, k %d, largest %d", names[element], outer, n, inner, k, largest);
    void *x = whole_numbers(element, outer * n * inner, 5);
    void *y = output_bytes((size_t)outer * k * inner * (element == SCAN_INT64 ? 8 : 4));
    int64_t *index = output_bytes((size_t)outer * k * inner * 8);
    rt_top_k s = {.x = at(x), .y = at(y), .index = at(index), .outer = outer, .n = n, .inner = inner, .k = k};
    s.largest = largest;
    run(names[element], &s, 3);
    for (int i = 0; i < outer * k * inner; i++) {
        const int column = i / (k * inner) * n * inner + i % inner, rank = i / inner % k, place = (int)index[i];
        int ahead = 0;
        check(place >= 0 && place < n, label, place, n);
        const double e = element_of(x, element, column + place * inner);
        for (int j = 0; j < n; j++) {
            const double other = element_of(x, element, column + j * inner);
            ahead += other == e ? j < place : largest ? other > e : other < e;
        }
        check(ahead == rank && element_of(y, element, i) == e, label, ahead, rank);
    }
    end_case();
}

static void check_top_k_of_doubles(void) {
    begin_case("top_k_float64");
    double *x = input_bytes(9 * 8), *y = output_bytes(3 * 8);
    int64_t *index = output_bytes(3 * 8);
    for (int i = 0; i < 9; i++) x[i] = i * 4 % 9 + 1e-12;
    rt_top_k s = {.x = at(x), .y = at(y), .index = at(index), .outer = 1, .n = 9, .inner = 1, .k = 3, .largest = 1};
    run("top_k_float64", &s, 1);
    for (int i = 0; i < 3; i++) check(y[i] == 8 - i + 1e-12 && x[index[i]] == y[i], label, y[i], 8 - i);
    end_case();
}

static void check_rows(void) {
    const int sizes[] = {1, LANES - 1, LANES, LANES + 1, 4 * LANES, 9 * LANES + 3};
    for (int i = 0; i < 6; i++) {
        const int n = sizes[i];
        if (!n) continue;
        for (int kind = RED_SUM; kind < RED_KINDS; kind++) {
            for (int reduced = 1; reduced <= 3; reduced += 2)
                for (int stride = 1; stride <= 3; stride += 2) {
                    check_reduce(REDUCE_ROWS, kind, 3, reduced, n, stride);
                    check_reduce(REDUCE_COLUMNS, kind, 2, reduced, n, stride);
                }
            if (kind != RED_EXP) check_reduce(REDUCE_PAIRS, kind, 2, 1, n, 2);
        }
        for (int rows = 1; rows <= 6; rows++) {
            check_norm(rows, n, rows % 3 != 0, 0, 1 + rows % 2, rows % 2 ? -1 : ACT_RELU);
            check_norm(rows, 3 * n, rows % 3 != 0, 3, 2, rows % 2 ? -1 : ACT_TANH);
            check_affine(rows, n, 1, rows % 2 ? -1 : ACT_RELU);
            check_affine(rows, 3, n, rows % 2 ? ACT_TANH : -1);
            for (int kind = 0; kind <= 1; kind++) {
                check_along("softmax", rows, n, 1, kind);
                check_along("lp", rows, n, 1, kind + 1);
                check_along("softmax", 2, rows, n, kind);
                check_along("lp", 2, rows, n, kind + 1);
            }
        }
        for (int element = SCAN_FLOAT; element <= SCAN_INT64; element++)
            for (int inner = 1; inner <= 3; inner += 2) {
                for (int flags = 0; flags < 8; flags++) check_scan(element, 3, n, inner, flags);
                for (int kind = INT_SUM; element != SCAN_FLOAT && kind <= INT_PRODUCT; kind++)
                    check_reduce_int(element, 3, n, inner, kind);
                for (int k = 1; k <= n; k += 4) check_top_k(element, 2, n, inner, k, k / 4 % 2);
            }
    }
    check_top_k_of_doubles();
    for (int kind = RED_SUM; kind < RED_KINDS; kind++) check_reduce(REDUCE_ROWS, kind, 2, 1, REDUCE_RUN + LANES + 1, 1);
    static const int lengths[] = {1, LANES - 1, LANES, LANES + 1, 4 * LANES - 1, 4 * LANES, 9 * LANES + 3};
    for (int i = 0; i < 7; i++) {
        if (!lengths[i]) continue;
        check_extremes(lengths[i], -1);
        check_extremes(lengths[i], 0);
        check_extremes(lengths[i], lengths[i] - 1);
    }
    check_norm(2, 2 * REDUCE_RUN + 3, 1, 0, 1, -1);
}
