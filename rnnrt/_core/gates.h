/* The functions of plain cells, sigmoid and tanh, over the gates of many blocks. Include after panel.h.
 *
 * `g` holds the sums of n blocks, one after the other. A block's steps depend on one another, so a single one leaves the
 * processor waiting most of the time: several vectors take each step by turns (v_exponentials).
 */
#ifndef RT_GATES_H
#define RT_GATES_H

/* What of(m, g, ld) does for m blocks, for n, each `step` reals after the one before: four by turns, or three where that
 * leaves none alone. */
#define RT_BY_TURNS(of, step) \
    for (ptrdiff_t m; n > 0; n -= m, g += m * (step)) { \
        m = n == 5 || n == 6 ? 3 : n < 4 ? n : 4; \
        if (m == 4) of(4, g, ld); \
        if (m == 3) of(3, g, ld); \
        if (m == 2) of(2, g, ld); \
        if (m == 1) of(1, g, ld); \
    }

/* LSTM, n blocks of [i, o, f, z], each gate ld reals after the other: the sums give way to i * z, 1 / o, and f. */
static void lstm_gates(real *g, ptrdiff_t n, ptrdiff_t ld) {
    for (ptrdiff_t i = 0; i < n; i++, g += 4 * ld) {
        vf x[4] = {v_load(g), v_load(g + ld), v_load(g + 2 * ld), v_load(g + 3 * ld)};
        v_exponentials(4, 8, x);
        v_store(g, x[3] / v_fma(x[0], x[3], x[0])); /* one rounding less than x0 (x3 + 1) */
        v_store(g + ld, x[1]);
        v_store(g + 2 * ld, v_set1(1) / x[2]);
    }
}

RT_INLINE void lstm_outputs_of(const int n, real *g, ptrdiff_t ld) {
    vf x[4];
    RT_UNROLL
    for (int j = 0; j < n; j++) x[j] = v_load(g + (4 * j + 2) * ld);
    v_exponentials(n, 15, x);
    RT_UNROLL
    for (int j = 0; j < n; j++) {
        const vf o = v_load(g + (4 * j + 1) * ld);
        v_store(g + 4 * j * ld, x[j] / v_fma(o, x[j], o));
    }
}

/* The same, c in place of f and 1 / o as it was: o * tanh(c) takes the first place. */
static void lstm_outputs(real *g, ptrdiff_t n, ptrdiff_t ld) { RT_BY_TURNS(lstm_outputs_of, 4 * ld); }

RT_INLINE void two_sigmoids_of(const int n, real *g, ptrdiff_t ld) {
    vf x[4];
    RT_UNROLL
    for (int j = 0; j < 2 * n; j++) x[j] = v_load(g + j / 2 * ld + j % 2 * LANES);
    v_exponentials(2 * n, 0, x);
    RT_UNROLL
    for (int j = 0; j < 2 * n; j++) v_store(g + j / 2 * ld + j % 2 * LANES, v_set1(1) / x[j]);
}

/* GRU: sigmoid of the first two vectors of each block; blocks lie ld reals apart. */
static void two_sigmoids(real *g, ptrdiff_t n, ptrdiff_t ld) {
    for (; n >= 2; n -= 2, g += 2 * ld) two_sigmoids_of(2, g, ld);
    if (n > 0) two_sigmoids_of(1, g, ld);
}

RT_INLINE void tanhs_of(const int n, real *g, ptrdiff_t ld) {
    vf x[4];
    RT_UNROLL
    for (int j = 0; j < n; j++) x[j] = v_load(g + j * ld);
    v_exponentials(n, 15, x);
    RT_UNROLL
    for (int j = 0; j < n; j++) v_store(g + j * ld, x[j] / (x[j] + v_set1(1)));
}

/* GRU and RNN: tanh of one vector of each block. */
static void tanhs(real *g, ptrdiff_t n, ptrdiff_t ld) { RT_BY_TURNS(tanhs_of, ld); }

/* The whole cells of one row of few blocks: nothing is stored between the sums and the states, which other steps would wait for. */
enum { ROW_BLOCKS = 4 };
#define RT_ROW_OF(of, n, ...) \
    switch (n) { \
    case 1: of(1, __VA_ARGS__); break; \
    case 2: of(2, __VA_ARGS__); break; \
    case 3: of(3, __VA_ARGS__); break; \
    default: of(4, __VA_ARGS__); \
    }

RT_INLINE void lstm_row_of(const int n, const real *g, real *cell, real *h) {
    vf c[4], o[4];
    RT_UNROLL
    for (int j = 0; j < n; j++) {
        const real *sums = g + 4 * j * LANES;
        vf x[4] = {v_load(sums), v_load(sums + LANES), v_load(sums + 2 * LANES), v_load(sums + 3 * LANES)};
        v_exponentials(4, 8, x);
        c[j] = v_fma(v_set1(1) / x[2], v_load(cell + j * LANES), x[3] / v_fma(x[0], x[3], x[0]));
        o[j] = x[1];
        v_store(cell + j * LANES, c[j]);
    }
    v_exponentials(n, 15, c);
    RT_UNROLL
    for (int j = 0; j < n; j++) v_store(h + j * LANES, c[j] / v_fma(o[j], c[j], o[j]));
}

/* LSTM, up to ROW_BLOCKS blocks of [i, o, f, z]: as lstm_gates, lstm_carry and lstm_outputs. */
static void lstm_row(int n, const real *g, real *cell, real *h){RT_ROW_OF(lstm_row_of, n, g, cell, h)}

RT_INLINE void gru_row_of(const int n, const real *g, const real *const *x, const real *h, real *next) {
    vf z[4], candidate[4];
    RT_UNROLL
    for (int j = 0; j < n; j++) {
        const real *sums = g + 3 * j * LANES;
        vf gates[2] = {v_load(sums), v_load(sums + LANES)};
        v_exponentials(2, 0, gates);
        z[j] = v_set1(1) / gates[0];
        candidate[j] = v_fma(v_set1(1) / gates[1], v_load(sums + 2 * LANES), v_load(x[j] + 2 * LANES));
    }
    v_exponentials(n, 15, candidate);
    RT_UNROLL
    for (int j = 0; j < n; j++) {
        const vf c = candidate[j] / (candidate[j] + v_set1(1));
        v_store(next + j * LANES, v_fma(z[j], v_load(h + j * LANES), v_fma(-z[j], c, c)));
    }
}

/* GRU with linear_before_reset, up to ROW_BLOCKS blocks of [z, r, h], x the sums over their inputs: as two_sigmoids, gru_carry, tanhs and
 * blend. */
static void gru_row(int n, const real *g, const real *const *x, const real *h, real *next) {
    RT_ROW_OF(gru_row_of, n, g, x, h, next)
}
#endif
