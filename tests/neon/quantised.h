/* Products of bytes (bytes.h) against sums of 64 bits, and numbers as bytes against their definition. */
#include "bytes.h"

static void check_bytes(int fast, int rows, int n_k, int with_zeros) {
    enum { N = BYTES_GATES * LANES, BLOCKS = 2 };
    const int n_k4 = (n_k + 3) / 4, lda = 4 * n_k4 + random_below(9), block = n_k % BLOCKS;
    begin_case("bytes%s, %d rows, %d terms, zero points %d", fast ? ", fast" : "", rows, n_k, with_zeros);
    uint8_t *a = input_bytes(rows * lda - (lda - 4 * n_k4));
    int8_t *w = input_bytes(BLOCKS * n_k4 * N * 4);
    int32_t *sums = input_bytes(BLOCKS * N * 4), *zeros = input_bytes(BLOCKS * N * 4), *row_sums = input_bytes(rows * 4);
    const real *scales = input(BLOCKS * N), *init = input(rows * N);
    real *out = output(rows * N);
    for (int r = 0; r < rows; r++) {
        row_sums[r] = 0;
        for (int k = 0; k < 4 * n_k4; k++)
            row_sums[r] += a[r * lda + k] = k < n_k ? (uint8_t)(random_below(4) ? random_below(256) : 255) : 0;
    }
    for (int i = 0; i < BLOCKS * N; i++) {
        int8_t *own = w + i / N * n_k4 * N * 4 + i % N * 4;
        zeros[i] = with_zeros ? (int)random_below(256) - 128 : 0;
        sums[i] = -n_k * zeros[i];
        for (int k = 0; k < 4 * n_k4; k++) {
            int8_t *one = own + k / 4 * N * 4 + k % 4;
            *one = k < n_k ? (int8_t)(random_below(4) ? (int)random_below(256) - 128 : -128) : 0;
            sums[i] += *one;
        }
    }
    const rt_bytes m = {w, sums, with_zeros ? zeros : NULL, scales, n_k4};
    const rt_byte_scale scale = {(real)0.01, (real)random_below(256)};
    const rt_bytes_tile t = {a, lda, row_sums, scale, &m, block, init, N, out};
    bytes_run(fast, rows, &t);
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < N; i++) {
            const int at = block * N + i;
            int64_t sum = 0;
            for (int k = 0; k < n_k; k++)
                sum += (a[r * lda + k] - (int)scale.zero) * (w[block * n_k4 * N * 4 + k / 4 * N * 4 + i * 4 + k % 4] - zeros[at]);
            const double want = init[r * N + i] + (double)scale.scale * scales[at] * (double)sum;
            check_near(label, out[r * N + i], want, 1e-6 * (1 + fabs(want)));
        }
    end_case();
}

/* n numbers a row, as DynamicQuantizeLinear makes bytes of them. */
static void check_scale(int rows, int n, int sign) {
    begin_case("%d rows of %d numbers as bytes", rows, n);
    const int room = (n + LANES - 1) / LANES * LANES + 4;
    real *x = input(rows * n), low = 0, high = 0;
    uint8_t *bytes = output_bytes(room);
    for (int i = 0; i < rows * n; i++) {
        if (sign) x[i] = sign * (real)fabs(x[i]);
        low = x[i] < low ? x[i] : low, high = x[i] > high ? x[i] : high;
    }
    const rt_byte_scale s = bytes_scale(x, 0, 1, n, rows, n);
    const real scale = high == low ? 1 : (high - low) / 255, zero = (real)rint(-low / scale);
    check(s.scale == scale && s.zero == zero, label, s.scale, scale);
    for (int r = 0; r < rows; r++) {
        int32_t sum = 0;
        const int32_t got = bytes_row(s, x + r * n, n, bytes);
        for (int u = 0; u < n; sum += bytes[u++]) {
            const double q = rint(x[r * n + u] / scale) + zero;
            check(bytes[u] == (q < 0 ? 0 : q > 255 ? 255 : q), label, bytes[u], q);
        }
        for (int u = n; u % 4; u++) check(bytes[u] == 0, label, bytes[u], 0);
        check(got == sum, label, got, sum);
    }
    x[n - 1] = (real)INFINITY;
    check(isnan(bytes_scale(x, 0, 1, n, rows, n).scale), label, 0, NAN);
    end_case();
}

static void check_quantised(void) {
    static const int n[] = {1, 3, 4, 5, LANES - 1, LANES, LANES + 1, 131, 1000};
    for (int i = 0; i < 9; i++) {
        for (int rows = 1; rows <= BYTES_ROWS; rows++)
            for (int zeros = 0; zeros <= 1; zeros++)
                for (int fast = 0; fast <= bytes_fast(); fast++) check_bytes(fast, rows, n[i], zeros);
        for (int rows = 1; rows <= 3; rows++)
            for (int sign = -1; sign <= 1; sign++) check_scale(rows, n[i], sign);
    }
    for (int fast = 0; fast <= bytes_fast(); fast++) check_bytes(fast, 1, RT_BYTES_MOST, 1);
}
