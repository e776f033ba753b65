/* The tiles of one way to multiply bytes: BYTES(name) names them, BYTES_TARGET says for what processor they are compiled, V_QUADS,
 * V_WEIGHTS, V_INPUTS and V_DOT are its words. Included by bytes.h, once a way. */

BYTES_TARGET RT_INLINE void BYTES(tile)(const int mr, const rt_bytes_tile *t) {
    const rt_bytes *m = t->m;
    const int phases = mr == 1 ? 2 : 1; /* four sums of a single row are too few chains */
    const ptrdiff_t at = (ptrdiff_t)t->block * BYTES_GATES * LANES;
    const int8_t *w = m->data + at * m->n_k4 * 4;
    const uint8_t *a = t->a;
    vi acc[2 * BYTES_ROWS * BYTES_GATES];
    RT_UNROLL
    for (int i = 0; i < phases * mr * BYTES_GATES; i++) acc[i] = (vi)v_set1(0);
    int k = m->n_k4;
    for (; k >= phases; k -= phases) {
        RT_UNROLL
        for (int p = 0; p < phases; p++, w += BYTES_GATES * LANES * 4, a += 4) {
            V_QUADS b[BYTES_GATES];
            RT_UNROLL
            for (int v = 0; v < BYTES_GATES; v++) b[v] = V_WEIGHTS(w + v * LANES * 4);
            RT_UNROLL
            for (int r = 0; r < mr; r++) {
                const V_QUADS x = V_INPUTS(a + r * t->lda);
                vi *s = acc + (p * mr + r) * BYTES_GATES;
                RT_UNROLL
                for (int v = 0; v < BYTES_GATES; v++) s[v] = V_DOT(s[v], x, b[v]);
            }
        }
    }
    if (k) { /* of a single row */
        RT_UNROLL
        for (int v = 0; v < BYTES_GATES; v++) acc[v] = V_DOT(acc[v], V_INPUTS(a), V_WEIGHTS(w + v * LANES * 4));
    }
    const vi zero = (vi)v_set1(0) + (int32_t)(t->scale.zero);
    RT_UNROLL
    for (int i = 0; i < mr * BYTES_GATES; i++) {
        const int r = i / BYTES_GATES, v = i % BYTES_GATES;
        vi sums, zeros, s = acc[i];
        if (phases == 2) s += acc[BYTES_GATES + v];
        memcpy(&sums, m->sums + at + v * LANES, sizeof sums);
        s -= zero * sums;
        if (m->zeros) {
            memcpy(&zeros, m->zeros + at + v * LANES, sizeof zeros);
            s -= zeros * ((vi)v_set1(0) + t->row_sums[r]);
        }
        const vf scale = v_set1(t->scale.scale) * v_load(m->scales + at + v * LANES);
        const vf init = v_load(t->init + r * t->ldinit + v * LANES);
        v_store(t->out + i * LANES, v_fma(__builtin_convertvector(s, vf), scale, init));
    }
}

BYTES_TARGET static void BYTES(tile_1)(const rt_bytes_tile *t) { BYTES(tile)(1, t); }
BYTES_TARGET static void BYTES(tile_2)(const rt_bytes_tile *t) { BYTES(tile)(2, t); }
#ifdef __AVX512F__
BYTES_TARGET static void BYTES(tile_3)(const rt_bytes_tile *t) { BYTES(tile)(3, t); }
BYTES_TARGET static void BYTES(tile_4)(const rt_bytes_tile *t) { BYTES(tile)(4, t); }
BYTES_TARGET static void BYTES(tile_5)(const rt_bytes_tile *t) { BYTES(tile)(5, t); }
BYTES_TARGET static void BYTES(tile_6)(const rt_bytes_tile *t) { BYTES(tile)(6, t); }
static void (*const BYTES(tiles)[])(const rt_bytes_tile *) = {
    0, BYTES(tile_1), BYTES(tile_2), BYTES(tile_3), BYTES(tile_4), BYTES(tile_5), BYTES(tile_6)};
#else
static void (*const BYTES(tiles)[])(const rt_bytes_tile *) = {0, BYTES(tile_1), BYTES(tile_2)};
#endif
#undef BYTES_TARGET
#undef BYTES
#undef V_QUADS
#undef V_WEIGHTS
#undef V_INPUTS
#undef V_DOT
