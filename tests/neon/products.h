/* op_gemm against a double loop, in each of its forms. */
#include "operators.h"

/* The logical b is B[matrix][k][n]; each form has it in its own layout. */
static real *lay_out_b(int form, const real *b, int n, int k, int nv, int matrices) {
    const int n_vec = (n + LANES - 1) / LANES, width = n_vec * LANES;
    real *laid = input((size_t)matrices * k * (form == GEMM_PACKED ? width : n));
    for (int i = 0; i < matrices; i++)
        for (int kk = 0; kk < k; kk++)
            for (int j = 0; j < (form == GEMM_PACKED ? width : n); j++) {
                const int p = j / LANES / nv, begin = p * nv * LANES, own = n_vec - p * nv < nv ? n_vec - p * nv : nv;
                const real value = j < n ? b[(i * k + kk) * n + j] : 0;
                if (form == GEMM_PACKED)
                    laid[i * k * width + begin * k + kk * own * LANES + j - begin] = value;
                else
                    laid[(i * k + (form == GEMM_DOTS ? 0 : kk)) * n + (form == GEMM_DOTS ? j * k + kk : j)] = value;
            }
    return laid;
}

/* `turned`: a, and a loose b, are read along their other axis. */
static void check_gemm(int form, int m, int n, int k, int nv, int kind, int with_c, int turned) {
    enum { OUTER = 2, MATRICES = 3, GAP = 3 };
    const int n_vec = (n + LANES - 1) / LANES, ldy = n + GAP, n_parts = 1 + (m + n + k) % 3;
    const int b_turned = form == GEMM_DOTS || (form == GEMM_LOOSE && turned);
    const double scale = form == GEMM_LOOSE ? 0.5 : 1;
    begin_case("gemm form %d, %dx%dx%d, nv %d, activation %d, c %d, turned %d", form, m, n, k, nv, kind, with_c, turned);
    const real *a = input(OUTER * MATRICES * m * k), *b = input(MATRICES * k * n), *c = with_c ? input(n_vec * LANES) : NULL;
    real *y = output((OUTER * MATRICES * m - 1) * ldy + n);
    real *laid = lay_out_b(form == GEMM_LOOSE && turned ? GEMM_DOTS : form, b, n, k, nv, MATRICES);
    const ptrdiff_t each = form == GEMM_PACKED ? k * n_vec * LANES : k * n;
    rt_gemm s = {.a = at(a), .b = at(laid), .c = at(c), .y = at(y), .scratch = at(output(n_parts * k * nv * LANES))};
    s.form = form, s.m = m, s.n = n, s.k = k, s.nv = nv, s.n_vec = n_vec, s.n_panels = (n_vec + nv - 1) / nv;
    s.a_row = turned ? 1 : k, s.a_k = turned ? m : 1, s.b_k = b_turned ? 1 : n, s.b_n = b_turned ? k : 1, s.y_row = ldy;
    s.block = m > 4 ? m - 2 : m, s.scale = scale, s.activation = kind, s.alpha = 0.3, s.beta = 0.7;
    s.n_batch = OUTER * MATRICES, s.n_axes = 2;
    s.axis[0].size = OUTER, s.axis[0].a = MATRICES * m * k, s.axis[0].y = MATRICES * m * ldy;
    s.axis[1].size = MATRICES, s.axis[1].a = m * k, s.axis[1].b = each, s.axis[1].y = m * ldy;
    run("gemm", &s, n_parts);
    for (int i = 0; i < OUTER * MATRICES * m; i++) {
        for (int j = 0; j < n; j++) {
            const int matrix = i / m % MATRICES;
            double want = c ? c[j] : 0, size = fabs(want);
            for (int kk = 0; kk < k; kk++) {
                const double x = a[i / m * m * k + (turned ? kk * m + i % m : i % m * k + kk)];
                const double term = scale * x * b[(matrix * k + kk) * n + j];
                want += term, size += fabs(term);
            }
            check_near(label, y[i * ldy + j], activation(kind, (real)0.3, (real)0.7, want), (k + 2) * 1.2e-7 * size + 2e-6);
        }
        for (int j = n; j < ldy && i + 1 < OUTER * MATRICES * m; j++) check_untouched(&y[i * ldy + j], sizeof(real));
    }
    end_case();
}

static void check_products(void) {
    static const int rows[] = {1, 2, 5, 7, 13}, depths[] = {1, 2, 3, LANES, 4 * LANES + 3};
    const int columns[] = {1, LANES - 1, LANES, LANES + 1, 4 * LANES, 5 * LANES + 3};
    int count = 0;
    for (int form = GEMM_PACKED; form <= GEMM_DOTS; form++)
        for (int i = 0; i < 5; i++)
            for (int j = 0; j < 6; j++)
                for (int l = 0; l < 5; l++, count++) {
                    if (!columns[j] || (form == GEMM_DIRECT && columns[j] % LANES)) continue;
                    const int nv = 1 + count % 4, kind = count % 3 == 0 ? count % 11 : -1,
                              turned = form != GEMM_DOTS && count % 2;
                    check_gemm(form, rows[i], columns[j], depths[l], nv, kind, count % 4 < 2, turned);
                }
    /* Weights that no L2 cache holds: many panels, a few high ones; a tile of rows, and more. */
    for (int m = 1; m <= 13; m += 6)
        for (int nv = 3; nv <= 4; nv++) check_gemm(GEMM_PACKED, m, 3301, 251, nv, -1, nv == 3, 0);
    check_gemm(GEMM_PACKED, 7, 4 * LANES * 4 + 3, (3 << 20) / (16 * LANES), 4, -1, 1, 0);
}
