/* The C half of an instruction set's kernels against double loops: no Python, so that it runs under an emulator.
 *
 * Compile with -DSIMD='"simd_neon.h"' and -I of the core; exits with 1 if anything is off. Checked are every tile shape of
 * panel_shapes.h (values, the same bits in tiles of any height, nothing written past the end), exp, tanh and sigmoid over all
 * exponents with the bounds that vmath.h states, the eleven activations, the flushing of denormals, and products of bytes. */
#include SIMD
#include "vmath.h"
#include "panel_shapes.h"
#include "check.h"
#include "cpu.h"
#include "quantised.h"

enum { MAX_K = 131, MOST_ROWS = 2 * MAX_ROWS };

/* One tile against a double loop; `alone` has the bits of each row computed by itself. */
static void check_tile(int far, int nv, int tiles, int rows, ptrdiff_t k1, ptrdiff_t k2, ptrdiff_t terms) {
    static real a1[MOST_ROWS * MAX_K], a2[MOST_ROWS * MAX_K], w[2 * MAX_K * MAX_NV * LANES];
    static real init[MAX_NV * MOST_ROWS * LANES], out[MOST_ROWS * MAX_NV * LANES + GUARD], alone[MAX_NV * LANES];
    const real *r1[MOST_ROWS], *r2[MOST_ROWS];
    const real guard = 1234.5f;
    char what[96];
    const int n = nv * LANES;
    fill(a1, sizeof a1 / sizeof *a1);
    fill(a2, sizeof a2 / sizeof *a2);
    fill(w, sizeof w / sizeof *w);
    fill(init, sizeof init / sizeof *init);
    for (size_t i = 0; i < sizeof out / sizeof *out; i++) out[i] = guard;
    for (int r = 0; r < rows; r++) r1[r] = a1 + r * MAX_K, r2[r] = a2 + r * MAX_K;
    rt_tile tile = {.a1 = r1, .a2 = r2, .w1 = w, .w2 = w + k1 * n, .k1 = k1, .k2 = k2, .terms = terms, .out = out};
    for (int v = 0; v < nv; v++) tile.init[v] = init + v * MOST_ROWS * LANES, tile.ldinit[v] = LANES;
    tile.ahead = (const char *)w;
    panel_run(far, nv, tiles, rows, &tile);
    snprintf(what, sizeof what, "tile %dx%d, far %d, k %d + %d", rows, nv, far, (int)k1, (int)k2);
    for (int r = 0; r < rows; r++) {
        for (int i = 0; i < n; i++) {
            const int v = i / LANES, u = i % LANES;
            double want = init[(v * MOST_ROWS + r) * LANES + u], size = fabs(want);
            for (ptrdiff_t k = 0; k < k1 + k2; k++) {
                const double term = (double)(k < k1 ? r1[r][k] : r2[r][k - k1]) * w[k * n + i];
                want += term;
                size += fabs(term);
            }
            const double got = out[r * n + i];
            check(fabs(got - want) <= (k1 + k2 + 1) * 1.2e-7 * size, what, got, want);
        }
        rt_tile one = tile;
        one.a1 = &r1[r], one.a2 = &r2[r], one.out = alone;
        for (int v = 0; v < nv; v++) one.init[v] = tile.init[v] + r * LANES;
        panel_run(0, nv, 1, 1, &one);
        check(!memcmp(alone, out + r * n, n * sizeof(real)), "the bits of a row alone and in its tile", alone[0], out[r * n]);
    }
    for (int i = 0; i < GUARD; i++) check(out[rows * n + i] == guard, "bytes past a tile", out[rows * n + i], guard);
}

/* Some panels that go together against each by itself. */
static void check_group(int far, int nv, int n_panels, int rows, ptrdiff_t k1, ptrdiff_t k2, ptrdiff_t terms) {
    static real a1[MAX_ROWS * MAX_K], a2[MAX_ROWS * MAX_K], w[MAX_GROUP * 2 * MAX_K * MAX_NV * LANES];
    static real init[MAX_GROUP * MAX_ROWS * MAX_NV * LANES], out[MAX_GROUP][MAX_ROWS * MAX_NV * LANES + GUARD];
    static real alone[MAX_NV * LANES];
    const real *r1[MAX_ROWS], *r2[MAX_ROWS];
    const real guard = 1234.5f;
    const int n = nv * LANES;
    rt_tile tiles[MAX_GROUP];
    char what[96];
    fill(a1, sizeof a1 / sizeof *a1);
    fill(a2, sizeof a2 / sizeof *a2);
    fill(w, sizeof w / sizeof *w);
    fill(init, sizeof init / sizeof *init);
    for (int r = 0; r < rows; r++) r1[r] = a1 + r * MAX_K, r2[r] = a2 + r * MAX_K;
    for (int i = 0; i < n_panels; i++) {
        const real *panel = w + i * (k1 + k2) * n;
        tiles[i] =
            (rt_tile){.a1 = r1, .a2 = r2, .w1 = panel, .w2 = panel + k1 * n, .k1 = k1, .k2 = k2, .terms = terms, .out = out[i]};
        for (int v = 0; v < nv; v++) tiles[i].init[v] = init + (i * MAX_ROWS * nv + v) * LANES, tiles[i].ldinit[v] = n;
        tiles[i].ahead = (const char *)w;
        for (size_t j = 0; j < sizeof out[i] / sizeof *out[i]; j++) out[i][j] = guard;
    }
    panel_together(far, nv, n_panels, rows, tiles);
    snprintf(what, sizeof what, "%d of %dx%d, far %d, k %d + %d", n_panels, rows, nv, far, (int)k1, (int)k2);
    for (int i = 0; i < n_panels; i++) {
        for (int r = 0; r < rows; r++) {
            rt_tile one = tiles[i];
            one.a1 = &r1[r], one.a2 = &r2[r], one.out = alone;
            for (int v = 0; v < nv; v++) one.init[v] += r * one.ldinit[v];
            panel_run(0, nv, 1, 1, &one);
            check(!memcmp(alone, out[i] + r * n, n * sizeof(real)), what, out[i][r * n], alone[0]);
        }
        for (int j = 0; j < GUARD; j++) check(out[i][rows * n + j] == guard, what, out[i][rows * n + j], guard);
    }
}

/* Error in ulp of a word at every exponent, for x below -20 within another bound; results that are denormal or overflow count as 0
 * and inf. */
static void check_word(const char *name, vf (*word)(vf), double (*exact)(double), double bound, double below) {
    const double tiny = 1.17549435e-38, huge = 3.40282347e38;
    double worst = 0;
    for (unsigned high = 0; high < 512; high++) {
        for (int i = 0; i < 400; i++) {
            seed = seed * 1664525u + 1013904223u;
            uint32_t bits = high << 23 | seed >> 9;
            real x[LANES], y[LANES];
            float f;
            memcpy(&f, &bits, 4);
            if (!isfinite(f)) continue;
            for (int u = 0; u < LANES; u++) x[u] = f;
            v_store(y, word(v_load(x)));
            const double want = exact(f);
            if (fabs(want) < tiny) {
                check(fabs(y[0]) <= tiny, name, y[0], want);
            } else if (fabs(want) > huge) {
                check(isinf(y[0]), name, y[0], want);
            } else if (!(isinf(y[0]) && f > 88.72f) && !(y[0] == 0 && f < -87.33f)) {
                int e;
                frexp(want, &e);
                const double ulps = fabs(y[0] - want) / ldexp(1, e - 24);
                worst = ulps > worst ? ulps : worst;
                check(ulps <= (f < -20 ? below : bound), name, y[0], want);
            }
        }
    }
    real x[LANES], y[LANES];
    for (int u = 0; u < LANES; u++) x[u] = NAN;
    v_store(y, word(v_load(x)));
    check(isnan(y[0]), "NaN in, NaN out", y[0], NAN);
    for (int sign = -1; sign <= 1; sign += 2) {
        for (int u = 0; u < LANES; u++) x[u] = sign * (real)INFINITY;
        v_store(y, word(v_load(x)));
        check(y[LANES - 1] == (real)exact(sign * INFINITY), "the limit at infinity", y[0], exact(sign * INFINITY));
    }
    printf("%s: at most %.2f ulp\n", name, worst);
}

static void check_activations(void) {
    char what[64];
    for (int kind = ACT_TANH; kind <= ACT_SOFTPLUS; kind++) {
        for (int i = 0; i < 2000; i++) {
            real x[LANES], y[LANES];
            const real a = 0.3f, b = 0.7f;
            for (int u = 0; u < LANES; u++) x[u] = 4 * random_real();
            v_store(y, v_activate(kind, a, b, v_load(x)));
            snprintf(what, sizeof what, "activation %d", kind);
            for (int u = 0; u < LANES; u++) {
                const double want = activation(kind, a, b, x[u]);
                check(fabs(y[u] - want) <= 1e-6 + 1e-6 * fabs(want), what, y[u], want);
            }
        }
    }
}

static void check_parts_of_a_register(void) {
    real from[LANES], to[2 * LANES];
    fill(from, LANES);
    for (int n = 1; n <= LANES; n++) {
        for (int i = 0; i < 2 * LANES; i++) to[i] = -7;
        v_store_n(to, v_load_n(from, n), n);
        for (int i = 0; i < 2 * LANES; i++) check(to[i] == (i < n ? from[i] : -7), "v_load_n, v_store_n", to[i], i);
    }
}

static void check_flushing(void) {
    volatile float tiny = 1e-40f, two = 2;
    const uint64_t old = rt_fp_enter();
    const float inside = tiny * two;
    rt_fp_leave(old);
    check(inside == 0, "denormals inside a call", inside, 0);
    check(tiny * two > 0, "denormals after it", tiny * two, 2e-40);
}

int main(void) {
    static const int k[] = {0, 1, 2, 7, 64, MAX_K};
    const int n_k = sizeof k / sizeof *k;
    check_flushing();
    rt_fp_enter(); /* as in every call of the engine */
    for (int nv = 1; nv <= MAX_NV; nv++)
        for (int rows = 1; rows <= panel_takes(nv) * panel_rows(nv); rows++)
            for (int i = 0; i < n_k; i++)
                for (int j = 0; j < 8 * n_k; j++) {
                    const ptrdiff_t terms = j / 4 % 2 ? SUM_TERMS : SUM_TERMS / 2;
                    check_tile(j % 4, nv, rows > panel_rows(nv) ? 2 : 1, rows, k[i], k[j / 8], terms);
                    if (nv == MAX_NV && rows > 3 && j % 4 == 1) check_tile(1, nv, 2, rows, k[i], k[j / 8], terms);
                    for (int n = 2; n <= panel_group(nv, rows); n++) check_group(j % 4, nv, n, rows, k[i], k[j / 8], terms);
                }
    check_word("exp", v_exp, exp, 3.1, 3.1);
    check_word("tanh", v_tanh, tanh, 4, 4);
    check_word("sigmoid", v_sigmoid, sigmoid, 3, 6);
    check_activations();
    check_parts_of_a_register();
    check_quantised();
    printf("%s: %d checks, %d failed\n", RT_ISA, n_checks, n_failed);
    return n_failed != 0;
}
