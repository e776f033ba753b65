/* The plain loops that a layer is made of, and nothing beside them: products of a few rows and weights, and exponentials.

   Products: no bias, blocks, functions or states. Weights lie in panels, [panel][term][vector][lane]; a tile is a few rows by
   one panel, its sums in registers from the first term to the last; rows are cut into tiles of nearly equal height, and every
   other pass takes the panels backwards. With FETCH each tile asks for its share of the panel that comes next.
   Exponentials: 1 + e^-x as a sigmoid takes it, by a remainder and a polynomial, all signs turned; of one vector, with a division, each
   waiting for the one before, or of four vectors by turns, as fast as they go, from the L1 cache and back. */

enum { MOST_ROWS = 8, MOST_VECTORS = 4, BY_TURNS = 4, SPREAD = 16 };

typedef struct {
    const float *x; /* [rows][terms] */
    long rows, terms;
    const float *w;
    long panels;
    int vectors, fetch;
    float *out; /* [MOST_ROWS * MOST_VECTORS][lane] */
} product;

#if defined(__aarch64__)
#define KEEP(x) __asm__("" : "+w"(x))
#else
#define KEEP(x) __asm__("" : "+v"(x))
#endif

#define TILE_CASE(NAME, vectors, height) \
    case 8 * vectors + height: \
        if (p->fetch) \
            tile_##NAME(height, vectors, 1, p, x, w, next); \
        else \
            tile_##NAME(height, vectors, 0, p, x, w, next); \
        break;
/* clang-format off */
#define TILE_CASES(NAME, vectors) \
    TILE_CASE(NAME, vectors, 1) TILE_CASE(NAME, vectors, 2) TILE_CASE(NAME, vectors, 3) TILE_CASE(NAME, vectors, 4) \
    TILE_CASE(NAME, vectors, 5) TILE_CASE(NAME, vectors, 6) TILE_CASE(NAME, vectors, 7) TILE_CASE(NAME, vectors, 8)
/* clang-format on */

/* SUMS: how many registers hold sums. */
#define PRODUCTS(NAME, ATTRIBUTES, SUMS, VECTOR, SET, LOAD, STORE, ADD_PRODUCT) \
    ATTRIBUTES static inline __attribute__((always_inline)) void tile_##NAME(const int height, const int vectors, \
                                                                             const int fetch, const product *p, const float *x, \
                                                                             const float *w, const char *next) { \
        enum { LANES = sizeof(VECTOR) / sizeof(float) }; \
        const long terms = p->terms; \
        VECTOR sums[MOST_ROWS * MOST_VECTORS], b[MOST_VECTORS]; \
        if (height * vectors > SUMS) return; \
        _Pragma("GCC unroll 32") for (int i = 0; i < height * vectors; i++) sums[i] = SET(0.0f); \
        for (long k = 0; k < terms; k++) { \
            _Pragma("GCC unroll 4") for (int v = 0; v < vectors; v++) { \
                b[v] = LOAD(w + (k * vectors + v) * LANES); \
                KEEP(b[v]); \
            } \
            if (fetch) __builtin_prefetch(next + 64 * k, 0, 2); \
            _Pragma("GCC unroll 8") for (int r = 0; r < height; r++) { \
                const VECTOR a = SET(x[r * terms + k]); \
                _Pragma("GCC unroll 4") for (int v = 0; v < vectors; v++) { \
                    sums[r * vectors + v] = ADD_PRODUCT(sums[r * vectors + v], a, b[v]); \
                } \
            } \
        } \
        _Pragma("GCC unroll 32") for (int i = 0; i < height * vectors; i++) STORE(p->out + i * LANES, sums[i]); \
    } \
    ATTRIBUTES static __attribute__((noinline)) void any_tile_##NAME(const product *p, long height, const float *x, \
                                                                     const float *w, const char *next) { \
        switch (8 * p->vectors + height) { TILE_CASES(NAME, 3) TILE_CASES(NAME, 4) } \
    } \
    static float multiply_##NAME(const product *p, long n) { \
        enum { LANES = sizeof(VECTOR) / sizeof(float) }; \
        const long size = p->terms * p->vectors * LANES, most = SUMS / p->vectors < MOST_ROWS ? SUMS / p->vectors : MOST_ROWS; \
        const long tiles = (p->rows + most - 1) / most; \
        for (long i = 0; i < n; i++) { \
            for (long j = 0; j < p->panels; j++) { \
                const long at = i % 2 ? p->panels - 1 - j : j, to = i % 2 ? at - (at > 0) : at + (at < p->panels - 1); \
                const float *x = p->x; \
                for (long t = 0; t < tiles; t++) { \
                    const long height = p->rows / tiles + (t < p->rows % tiles); \
                    any_tile_##NAME(p, height, x, p->w + at * size, (const char *)(p->w + to * size) + 64 * p->terms * t); \
                    x += height * p->terms; \
                } \
            } \
        } \
        return p->out[0]; \
    }

#define EACH _Pragma("GCC unroll 4") for (int j = 0; j < vectors; j++)
#define EXPONENTIALS(NAME, ATTRIBUTES, VECTOR, INTEGERS, SET, LOAD, STORE, ADD_PRODUCT) \
    ATTRIBUTES static inline __attribute__((always_inline)) float exponentials_##NAME(const int vectors, const int chain, \
                                                                                      long n) { \
        enum { LANES = sizeof(VECTOR) / sizeof(float) }; \
        _Alignas(64) float all[SPREAD * BY_TURNS * LANES]; \
        VECTOR x[BY_TURNS], t[BY_TURNS], r[BY_TURNS], q[BY_TURNS]; \
        const VECTOR magic = SET(12582912.0f + 127.0f + 256.0f), one = SET(1.0f); \
        for (int i = 0; i < SPREAD * BY_TURNS * LANES; i++) all[i] = factors[0] * (float)(i % 7); \
        x[0] = LOAD(all); \
        for (long i = 0; i < n; i++) { \
            float *at = all + i % SPREAD * vectors * LANES; \
            if (!chain) EACH x[j] = LOAD(at + j * LANES); \
            EACH t[j] = ADD_PRODUCT(magic, x[j], SET(-1.44269504f)); \
            EACH q[j] = t[j] - magic; \
            EACH r[j] = ADD_PRODUCT(x[j], q[j], SET(0.693147182f)); \
            EACH q[j] = ADD_PRODUCT(SET(8.36654753e-3f), r[j], SET(-1.38825167e-3f)); \
            EACH q[j] = ADD_PRODUCT(SET(-4.16672006e-2f), q[j], r[j]); \
            EACH q[j] = ADD_PRODUCT(SET(1.66665435e-1f), q[j], r[j]); \
            EACH q[j] = ADD_PRODUCT(SET(-4.99999970e-1f), q[j], r[j]); \
            EACH q[j] = ADD_PRODUCT(r[j], q[j], r[j] * r[j]); \
            EACH t[j] = (VECTOR)((INTEGERS)t[j] << 23); \
            EACH x[j] = ADD_PRODUCT(one - t[j], t[j], q[j]); \
            if (chain) \
                x[0] = one / x[0]; \
            else \
                EACH STORE(at + j * LANES, x[j]); \
        } \
        STORE(all, x[0]); \
        return all[0]; \
    } \
    ATTRIBUTES static float chain_##NAME(long n) { return exponentials_##NAME(1, 1, n); } \
    ATTRIBUTES static float turns_##NAME(long n) { return exponentials_##NAME(BY_TURNS, 0, n); }
