/* The element-wise operators of integers and truth values, computed in int64; how a step walks is said in element_blocks.h.
 *
 * Results wrap to their type when they are written, so a program that is to wrap in between has one operation. Floats are
 * truncated as they are read; what no int64 holds becomes its smallest.
 */
#ifndef RT_OP_INTEGERS_H
#define RT_OP_INTEGERS_H
#include "element_blocks.h"

enum {
    EI_COPY, EI_IS_TRUE, EI_NEG, EI_ABS, EI_SIGN, EI_NOT, EI_INVERT,
    EI_ADD, EI_SUB, EI_MUL, EI_DIV, EI_MIN, EI_MAX, EI_MOD, EI_FMOD, EI_LESS, EI_LESS_OR_EQUAL, EI_EQUAL, EI_AND, EI_OR, EI_XOR,
    EI_WHERE
};

/* Arithmetic goes by uint64_t, where overflow is defined. */
#define EI_EACH(f) \
    for (int64_t i = 0; i < n; i++) { \
        const int64_t u = a[i * op.sa], v = b[i * op.sb]; \
        (void)v; \
        y[i] = (int64_t)(f); \
    } \
    break

static inline int64_t quotient(int64_t u, int64_t v) { return v == -1 ? (int64_t)(0 - (uint64_t)u) : u / v; }
static inline int64_t c_remainder(int64_t u, int64_t v) { return v == -1 ? 0 : u % v; }
static inline int64_t floor_remainder(int64_t u, int64_t v) {
    const int64_t r = c_remainder(u, v);
    return r != 0 && (r < 0) != (v < 0) ? r + v : r;
}

static int has_zero(const int64_t *x, int64_t step, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (x[i * step] == 0) return 1;
    return 0;
}

static inline int ew_compute_i64(const int64_t *ops, int64_t n_ops, char *const *slot, int64_t n) {
    for (int64_t k = 0; k < n_ops; k++, ops += 2) {
        const ew_op op = ew_decode(ops);
        const int64_t *a = (const int64_t *)slot[op.a], *b = (const int64_t *)slot[op.b], *c = (const int64_t *)slot[op.c];
        int64_t *y = (int64_t *)slot[op.y];
        if ((op.code == EI_DIV || op.code == EI_MOD || op.code == EI_FMOD) && has_zero(b, op.sb, n)) return RT_BAD_DIVISOR;
        switch (op.code) {
        case EI_COPY: EI_EACH(u);
        case EI_IS_TRUE: EI_EACH(u != 0);
        case EI_NEG: EI_EACH(0 - (uint64_t)u);
        case EI_ABS: EI_EACH(u < 0 ? 0 - (uint64_t)u : (uint64_t)u);
        case EI_SIGN: EI_EACH((u > 0) - (u < 0));
        case EI_NOT: EI_EACH(u == 0);
        case EI_INVERT: EI_EACH(~u);
        case EI_ADD: EI_EACH((uint64_t)u + (uint64_t)v);
        case EI_SUB: EI_EACH((uint64_t)u - (uint64_t)v);
        case EI_MUL: EI_EACH((uint64_t)u * (uint64_t)v);
        case EI_DIV: EI_EACH(quotient(u, v));
        case EI_MIN: EI_EACH(u < v ? u : v);
        case EI_MAX: EI_EACH(u > v ? u : v);
        case EI_MOD: EI_EACH(floor_remainder(u, v));
        case EI_FMOD: EI_EACH(c_remainder(u, v));
        case EI_LESS: EI_EACH(u < v);
        case EI_LESS_OR_EQUAL: EI_EACH(u <= v);
        case EI_EQUAL: EI_EACH(u == v);
        case EI_AND: EI_EACH(u &v);
        case EI_OR: EI_EACH(u | v);
        case EI_XOR: EI_EACH(u ^ v);
        default: /* EI_WHERE */
            for (int64_t i = 0; i < n; i++) y[i] = a[i * op.sa] ? b[i * op.sb] : c[i * op.sc];
        }
    }
    return RT_OK;
}

static inline int64_t truncated(double x) { return x >= -0x1p63 && x < 0x1p63 ? (int64_t)x : INT64_MIN; }

static void ew_fill_i64(const ew_operand *x, const char *p, char *y, int64_t n, int64_t run) {
    const int64_t row = x->row, step = x->step;
    if (x->kind == EW_SCALAR) {
        *(int64_t *)y = *(const int64_t *)p;
        return;
    }
    switch (x->type) {
    case EW_F32: EW_CONVERT(float, int64_t, truncated);
    case EW_F64: EW_CONVERT(double, int64_t, truncated);
    case EW_I32: EW_CONVERT(int32_t, int64_t, );
    case EW_I64: EW_CONVERT(int64_t, int64_t, );
    case EW_I8: EW_CONVERT(int8_t, int64_t, );
    default: EW_CONVERT(uint8_t, int64_t, );
    }
}

#define EI_NARROW(type) \
    for (int64_t i = 0; i < n; i++) ((type *)y)[i] = (type)((const int64_t *)x)[i]; \
    return

static void ew_narrow_i64(int type, const char *x, char *y, int64_t n) {
    switch (type) {
    case EW_I32: EI_NARROW(int32_t);
    case EW_I8: EI_NARROW(int8_t);
    case EW_F64: EI_NARROW(double);
    default: EI_NARROW(uint8_t);
    }
}

static int op_integers(const int64_t *words, char *const *values, int part, int n_parts) {
    return ew_run(words, values, part, n_parts, EW_I64, ew_fill_i64, ew_compute_i64, ew_narrow_i64);
}
#endif
