/* Copies between layouts: any strides on either side, any element.
 *
 * Binding (axes.pxi) brings a copy to this form: `unit` bytes, adjacent on both sides, are moved at each place of a plane
 * of row by inner, and the plane is repeated over the outer axes. With `turned` set, the unit is an element that is adjacent
 * to the next in y along `inner` and in x along `row`: the plane is a matrix to transpose, and goes in blocks of registers.
 * The caller guarantees that x and y do not overlap, whole units apart.
 */
#ifndef RT_OP_COPY_H
#define RT_OP_COPY_H
#include <string.h>

#include "ops.h"

enum { RT_COPY_AXES = 64 };

typedef struct {
    int64_t size, x, y; /* strides in bytes */
} rt_copy_axis;

typedef struct {
    rt_ref x, y;
    int64_t unit, turned, n_outer;
    rt_copy_axis row, inner, outer[];
} rt_copy;

typedef struct {
    int64_t half[2];
} copy_16;

/* Runs of n bytes in the range of the name, by two or four moves that may overlap: no call and no loop for what is small. */
#define COPY_ENDS(bytes) \
    do { \
        char low[bytes], high[bytes]; \
        memcpy(low, x, bytes); \
        memcpy(high, x + n - bytes, bytes); \
        memcpy(y, low, bytes); \
        memcpy(y + n - bytes, high, bytes); \
    } while (0)

static inline void copy_2_3(char *y, const char *x, int64_t n) { COPY_ENDS(2); }
static inline void copy_4_7(char *y, const char *x, int64_t n) { COPY_ENDS(4); }
static inline void copy_8_15(char *y, const char *x, int64_t n) { COPY_ENDS(8); }
static inline void copy_16_31(char *y, const char *x, int64_t n) { COPY_ENDS(16); }
static inline void copy_32_63(char *y, const char *x, int64_t n) { COPY_ENDS(32); }

/* At least 64 bytes. */
static inline void copy_blocks(char *y, const char *x, int64_t n) {
    int64_t i = 0;
    for (; i + 64 <= n; i += 64) memcpy(y + i, x + i, 64);
    if (i < n) memcpy(y + n - 64, x + n - 64, 64);
}

static inline void copy_long(char *y, const char *x, int64_t n) { memcpy(y, x, n); }

/* One run of any length. */
static inline void copy_run(char *y, const char *x, int64_t n) {
    if (n >= 1024)
        copy_long(y, x, n);
    else if (n >= 64)
        copy_blocks(y, x, n);
    else if (n >= 32)
        copy_32_63(y, x, n);
    else if (n >= 16)
        copy_16_31(y, x, n);
    else if (n >= 8)
        copy_8_15(y, x, n);
    else if (n >= 4)
        copy_4_7(y, x, n);
    else if (n >= 2)
        copy_2_3(y, x, n);
    else if (n == 1)
        *y = *x;
}

#define COPY_PLANE(name, move) \
    static void name(const char *x, char *y, const rt_copy *s) { \
        const rt_copy_axis a = s->row, b = s->inner; \
        const int64_t n = s->unit; \
        for (int64_t i = 0; i < a.size; i++) { \
            const char *from = x + i * a.x; \
            char *to = y + i * a.y; \
            for (int64_t j = 0; j < b.size; j++, from += b.x, to += b.y) move(to, from, n); \
        } \
    }

COPY_PLANE(copy_plane_2_3, copy_2_3)
COPY_PLANE(copy_plane_4_7, copy_4_7)
COPY_PLANE(copy_plane_8_15, copy_8_15)
COPY_PLANE(copy_plane_16_31, copy_16_31)
COPY_PLANE(copy_plane_32_63, copy_32_63)
COPY_PLANE(copy_plane_blocks, copy_blocks)
COPY_PLANE(copy_plane_long, copy_long)

/* Single elements, in a row and in a plane. The strides that are spelt out are those for which the compiler finds something
 * better: a value repeated, and every second element, which is how complex numbers lie. */
#define COPY_ELEMENTS(bytes, type) \
    static inline void copy_row_##bytes(const char *x, char *y, int64_t n, int64_t sx, int64_t sy) { \
        int64_t i = 0; \
        if (sy == bytes && sx == 0) { \
            type v; \
            memcpy(&v, x, bytes); \
            for (; i < n; i++) memcpy(y + i * bytes, &v, bytes); \
        } else if (sy == bytes && sx == 2 * bytes) { \
            for (; i < n; i++) memcpy(y + i * bytes, x + i * 2 * bytes, bytes); \
        } \
        for (; i + 4 <= n; i += 4, x += 4 * sx, y += 4 * sy) { \
            type a, b, c, d; \
            memcpy(&a, x, bytes); \
            memcpy(&b, x + sx, bytes); \
            memcpy(&c, x + 2 * sx, bytes); \
            memcpy(&d, x + 3 * sx, bytes); \
            memcpy(y, &a, bytes); \
            memcpy(y + sy, &b, bytes); \
            memcpy(y + 2 * sy, &c, bytes); \
            memcpy(y + 3 * sy, &d, bytes); \
        } \
        for (; i < n; i++, x += sx, y += sy) memcpy(y, x, bytes); \
    } \
    static void copy_elements_##bytes(const char *x, char *y, const rt_copy *s) { \
        const rt_copy_axis a = s->row, b = s->inner; \
        for (int64_t i = 0; i < a.size; i++) copy_row_##bytes(x + i * a.x, y + i * a.y, b.size, b.x, b.y); \
    }

COPY_ELEMENTS(1, char)
COPY_ELEMENTS(2, int16_t)
COPY_ELEMENTS(4, int32_t)
COPY_ELEMENTS(8, int64_t)
COPY_ELEMENTS(16, copy_16)

/* What blocks leave of a matrix to transpose: columns from `whole_columns` on, and rows from `whole_rows` on. */
#define COPY_LEFT(bytes, whole_rows, whole_columns) \
    do { \
        for (int64_t j_ = whole_columns; j_ < columns; j_++) \
            copy_row_##bytes(x + j_ * sx, y + j_ * bytes, whole_rows, bytes, sy); \
        for (int64_t i_ = whole_rows; i_ < rows; i_++) copy_row_##bytes(x + i_ * bytes, y + i_ * sy, columns, sx, bytes); \
    } while (0)

/* A matrix transposed: whole blocks of 8 by 8 elements first, so that each cache line is used up while it is at hand. */
#define COPY_TURNED(bytes) \
    static void copy_turned_##bytes(const char *x, char *y, const rt_copy *s) { \
        const int64_t rows = s->row.size, columns = s->inner.size, sx = s->inner.x, sy = s->row.y; \
        const int64_t whole_rows = rows & ~(int64_t)7, whole_columns = columns & ~(int64_t)7; \
        for (int64_t j = 0; j < whole_columns; j += 8) \
            for (int64_t i = 0; i < whole_rows; i += 8) { \
                const char *from = x + i * bytes + j * sx; \
                char *to = y + i * sy + j * bytes; \
                for (int p = 0; p < 8; p++, to += sy) \
                    for (int q = 0; q < 8; q++) memcpy(to + q * bytes, from + p * bytes + q * sx, bytes); \
            } \
        COPY_LEFT(bytes, whole_rows, whole_columns); \
    }

COPY_TURNED(1)
COPY_TURNED(2)
COPY_TURNED(8)
COPY_TURNED(16)

/* The same for 4 bytes, in registers of q4 (LANES 4) or q8, which is two of them: */
typedef int32_t q4 __attribute__((vector_size(16)));
#if defined(__clang__) || __GNUC__ >= 12
#define Q_SHUFFLE(type, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define Q_SHUFFLE(type, a, b, ...) __builtin_shuffle(a, b, (type){__VA_ARGS__})
#endif

static inline q4 q4_load(const char *x) {
    q4 v;
    memcpy(&v, x, sizeof v);
    return v;
}

#if LANES >= 8
enum { Q_LANES = 8 };
typedef int32_t qv __attribute__((vector_size(32)));
#define Q_LOW(a, b) Q_SHUFFLE(qv, a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define Q_HIGH(a, b) Q_SHUFFLE(qv, a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define Q_LOW2(a, b) Q_SHUFFLE(qv, a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define Q_HIGH2(a, b) Q_SHUFFLE(qv, a, b, 2, 3, 10, 11, 6, 7, 14, 15)
/* Four elements at x, and the four of the row that is four rows on. */
static inline qv q_load(const char *x, int64_t sx) {
    const q4 a = q4_load(x), b = q4_load(x + 4 * sx);
#if defined(__clang__) || __GNUC__ >= 12
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
#else
    return (qv){a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]};
#endif
}
#else
enum { Q_LANES = 4 };
typedef q4 qv;
#define Q_LOW(a, b) Q_SHUFFLE(qv, a, b, 0, 4, 1, 5)
#define Q_HIGH(a, b) Q_SHUFFLE(qv, a, b, 2, 6, 3, 7)
#define Q_LOW2(a, b) Q_SHUFFLE(qv, a, b, 0, 1, 4, 5)
#define Q_HIGH2(a, b) Q_SHUFFLE(qv, a, b, 2, 3, 6, 7)
static inline qv q_load(const char *x, int64_t sx) {
    (void)sx;
    return q4_load(x);
}
#endif

/* Q_LANES rows of 4 elements in x become 4 rows of Q_LANES in y. */
static inline void turn_block(const char *x, int64_t sx, char *y, int64_t sy) {
    const qv a = q_load(x, sx), b = q_load(x + sx, sx), c = q_load(x + 2 * sx, sx), d = q_load(x + 3 * sx, sx);
    const qv ab = Q_LOW(a, b), cd = Q_LOW(c, d), ab2 = Q_HIGH(a, b), cd2 = Q_HIGH(c, d);
    const qv r0 = Q_LOW2(ab, cd), r1 = Q_HIGH2(ab, cd), r2 = Q_LOW2(ab2, cd2), r3 = Q_HIGH2(ab2, cd2);
    memcpy(y, &r0, sizeof r0);
    memcpy(y + sy, &r1, sizeof r1);
    memcpy(y + 2 * sy, &r2, sizeof r2);
    memcpy(y + 3 * sy, &r3, sizeof r3);
}

/* Elements of two rows, one after the other. */
static inline void copy_zip(const char *a, const char *b, char *y, int64_t n) {
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const q4 p = q4_load(a + 4 * i), q = q4_load(b + 4 * i);
        const q4 low = Q_SHUFFLE(q4, p, q, 0, 4, 1, 5), high = Q_SHUFFLE(q4, p, q, 2, 6, 3, 7);
        memcpy(y + 8 * i, &low, 16);
        memcpy(y + 8 * i + 16, &high, 16);
    }
    for (; i < n; i++) {
        memcpy(y + 8 * i, a + 4 * i, 4);
        memcpy(y + 8 * i + 4, b + 4 * i, 4);
    }
}

enum { TILE = 16 }; /* elements of a cache line */

static void copy_turned_4(const char *x, char *y, const rt_copy *s) {
    const int64_t rows = s->row.size, columns = s->inner.size, sx = s->inner.x, sy = s->row.y;
    if (columns == 2 && sy == 8) {
        copy_zip(x, x + sx, y, rows);
        return;
    }
    const int64_t whole_rows = rows & ~(int64_t)3, whole_columns = columns - columns % Q_LANES;
    for (int64_t c = 0; c < whole_columns; c += TILE)
        for (int64_t r = 0; r < whole_rows; r += TILE)
            for (int64_t j = c; j < whole_columns && j < c + TILE; j += Q_LANES)
                for (int64_t i = r; i < whole_rows && i < r + TILE; i += 4)
                    turn_block(x + i * 4 + j * sx, sx, y + i * sy + j * 4, sy);
    COPY_LEFT(4, whole_rows, whole_columns);
}

typedef struct {
    rt_ref x[2], y;
    int64_t n;
} rt_zip;

/* Two arrays of n elements of 4 bytes, interleaved: what joining along a new last axis is. */
static int op_zip(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_zip *s = (const rt_zip *)words;
    const char *a = RT_AT(const char, values, s->x[0]), *b = RT_AT(const char, values, s->x[1]);
    (void)part, (void)n_parts;
    copy_zip(a, b, RT_AT(char, values, s->y), s->n);
    return RT_OK;
}

static void copy_plane(const char *x, char *y, const rt_copy *s) {
    const int64_t n = s->unit;
    switch (n) {
    case 1: (s->turned ? copy_turned_1 : copy_elements_1)(x, y, s); return;
    case 2: (s->turned ? copy_turned_2 : copy_elements_2)(x, y, s); return;
    case 4: (s->turned ? copy_turned_4 : copy_elements_4)(x, y, s); return;
    case 8: (s->turned ? copy_turned_8 : copy_elements_8)(x, y, s); return;
    case 16: (s->turned ? copy_turned_16 : copy_elements_16)(x, y, s); return;
    }
    if (n >= 1024)
        copy_plane_long(x, y, s);
    else if (n >= 64)
        copy_plane_blocks(x, y, s);
    else if (n >= 32)
        copy_plane_32_63(x, y, s);
    else if (n >= 16)
        copy_plane_16_31(x, y, s);
    else if (n >= 8)
        copy_plane_8_15(x, y, s);
    else if (n >= 4)
        copy_plane_4_7(x, y, s);
    else
        copy_plane_2_3(x, y, s);
}

static int op_copy(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_copy *s = (const rt_copy *)words;
    const char *x = RT_AT(const char, values, s->x);
    char *y = RT_AT(char, values, s->y);
    const int n = (int)s->n_outer;
    int64_t at[RT_COPY_AXES];
    (void)part, (void)n_parts;
    for (int k = 0; k < n; k++) at[k] = 0;
    for (;;) {
        copy_plane(x, y, s);
        int k = n - 1;
        for (; k >= 0; k--) {
            x += s->outer[k].x;
            y += s->outer[k].y;
            if (++at[k] < s->outer[k].size) break;
            x -= s->outer[k].x * s->outer[k].size;
            y -= s->outer[k].y * s->outer[k].size;
            at[k] = 0;
        }
        if (k < 0) return RT_OK;
    }
}
#endif
