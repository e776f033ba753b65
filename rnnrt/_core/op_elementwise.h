/* The element-wise operators of float32, truth values among them as 0 and 1; how a step walks is said in element_blocks.h.
 *
 * Results are those of the NumPy tier to a few ulp: NaN goes through every operation, also through Min, Max and Relu.
 * Truth values are read from and written to bytes; integers and float64 are only read, rounded to float32.
 */
#ifndef RT_OP_ELEMENTWISE_H
#define RT_OP_ELEMENTWISE_H
#include "element_blocks.h"
#include "element_functions.h"
#include "vmath.h"

enum {
    EW_COPY, EW_IS_TRUE, EW_NEG, EW_ABS, EW_SQRT, EW_RECIPROCAL, EW_SQUARE, EW_SIGN, EW_FLOOR, EW_CEIL, EW_ROUND, EW_NOT,
    EW_IS_NAN, EW_IS_INF, EW_RELU, EW_SIGMOID, EW_TANH, EW_EXP, EW_LOG, EW_SIN, EW_COS, EW_TAN, EW_ASIN, EW_ACOS, EW_ATAN,
    EW_SINH, EW_COSH, EW_ASINH, EW_ACOSH, EW_ATANH, EW_ERF, EW_SOFTPLUS, EW_SOFTSIGN, EW_MISH, EW_GELU, EW_GELU_TANH,
    EW_LEAKY_RELU, EW_THRESHOLDED_RELU, EW_ELU, EW_SELU, EW_CELU, EW_HARD_SIGMOID, EW_HARD_SWISH, EW_SWISH, EW_CLIP, EW_SHRINK, EW_POWER_OF,
    EW_INTEGER_POWER,
    EW_ADD, EW_SUB, EW_MUL, EW_DIV, EW_MIN, EW_MAX, EW_POW, EW_MOD, EW_FMOD, EW_PRELU, EW_LESS, EW_LESS_OR_EQUAL, EW_EQUAL, EW_XOR,
    EW_WHERE
};

static inline vf ew_truth(vi mask) { return (vf)(mask & (vi)v_set1(1)); }
static inline vf ew_nan_of(vf x, vf otherwise) { return v_where((vi)(x != x), x, otherwise); }

/* An operation whose vectors are cheap against the test for a last, shorter one. */
#define EW_QUICK1(f) \
    for (; i + LANES <= n; i += LANES, a += sa) { \
        const vf u = v_load(a); \
        v_store(y + i, f); \
    } \
    if (i < n) { \
        const vf u = v_load_n(a, (int)(n - i)); \
        v_store_n(y + i, f, (int)(n - i)); \
    } \
    break
#define EW_QUICK2(f) \
    for (; i + LANES <= n; i += LANES, a += sa, b += sb) { \
        const vf u = v_load(a), v = v_load(b); \
        v_store(y + i, f); \
    } \
    if (i < n) { \
        const vf u = v_load_n(a, (int)(n - i)), v = v_load_n(b, (int)(n - i)); \
        v_store_n(y + i, f, (int)(n - i)); \
    } \
    break
/* One whose function is long, and stands here once. */
#define EW_LONG1(f) \
    for (; i < n; i += LANES, a += sa) { \
        const int m = n - i < LANES ? (int)(n - i) : LANES; \
        const vf u = m == LANES ? v_load(a) : v_load_n(a, m), f_u = f; \
        if (m == LANES) v_store(y + i, f_u); \
        else v_store_n(y + i, f_u, m); \
    } \
    break
#define EW_LONG2(f) \
    for (; i < n; i += LANES, a += sa, b += sb) { \
        const int m = n - i < LANES ? (int)(n - i) : LANES; \
        const vf u = v_load_n(a, m), v = v_load_n(b, m); \
        v_store_n(y + i, f, m); \
    } \
    break
#define EW_SINGLY1(f) \
    for (; i < n; i++) y[i] = f(a[i * op.sa]); \
    break
#define EW_SINGLY2(f) \
    for (; i < n; i++) y[i] = f(a[i * op.sa], b[i * op.sb]); \
    break

static inline float remainder1(float a, float b) {
    const float r = fmodf(a, b);
    if (r == 0) return copysignf(0, b);
    return (r < 0) != (b < 0) ? r + b : r;
}

/* x (1 + tanh z)/2 is x sigmoid(2z). */
static inline vf ew_gelu_tanh(vf x) {
    const vf z = x + v_set1(0.044715f) * x * x * x;
    return x * v_sigmoid(v_set1(1.59576912f) * z);
}

/* tanh(log(1 + e)) is e(e + 2)/(e(e + 2) + 2), and 1 to float32 where x > 20. */
static inline vf ew_mish(vf x) {
    const vf e = v_exp(v_min(v_set1(20), x)), p = e * (e + v_set1(2));
    return x * (p / (p + v_set1(2)));
}

static inline vf ew_celu(float alpha, vf x) {
    const vf low = v_set1(alpha) * v_expm1(x / v_set1(alpha));
    return v_max(v_set1(0), x) + v_min(v_set1(0), low);
}

static inline vf ew_shrink(float lambd, float bias, vf x) {
    const vf zero = v_set1(0) * x, above = v_where((vi)(x > v_set1(lambd)), x - v_set1(bias), zero);
    return v_where((vi)(x < v_set1(-lambd)), x + v_set1(bias), above);
}

static inline vf ew_integer_power(unsigned n, vf x) {
    vf y = n & 1 ? x : v_set1(1);
    for (unsigned k = n >> 1; k; k >>= 1) {
        x = x * x;
        if (k & 1) y = y * x;
    }
    return y;
}

static inline int ew_compute_f32(const int64_t *ops, int64_t n_ops, char *const *slot, int64_t n) {
    const vf zero = v_set1(0), one = v_set1(1);
    for (int64_t k = 0; k < n_ops; k++, ops += 2) {
        const ew_op op = ew_decode(ops);
        const float *a = (const float *)slot[op.a], *b = (const float *)slot[op.b], *c = (const float *)slot[op.c];
        float *y = (float *)slot[op.y];
        const int64_t sa = op.sa * LANES, sb = op.sb * LANES, sc = op.sc * LANES;
        const float alpha = op.alpha, beta = op.beta;
        int64_t i = 0;
        switch (op.code) {
        case EW_COPY: EW_QUICK1(u);
        case EW_IS_TRUE: EW_QUICK1(ew_truth((vi)(u != zero)));
        case EW_NEG: EW_QUICK1(-u);
        case EW_ABS: EW_QUICK1((vf)((vi)u & 0x7fffffff));
        case EW_SQRT: EW_QUICK1(ew_sqrt(u));
        case EW_RECIPROCAL: EW_QUICK1(one / u);
        case EW_SQUARE: EW_QUICK1(u * u);
        case EW_SIGN: EW_QUICK1(ew_nan_of(u, ew_truth((vi)(u > zero)) - ew_truth((vi)(u < zero))));
        case EW_FLOOR: EW_QUICK1(ew_floor(u));
        case EW_CEIL: EW_QUICK1(ew_ceil(u));
        case EW_ROUND: EW_QUICK1(ew_round(u));
        case EW_NOT: EW_QUICK1(ew_truth((vi)(u == zero)));
        case EW_IS_NAN: EW_QUICK1(ew_truth((vi)(u != u)));
        case EW_IS_INF: EW_QUICK1(ew_truth((vi)(u == v_set1(alpha)) | (vi)(u == v_set1(beta))));
        case EW_RELU: EW_QUICK1(v_max(zero, u));
        case EW_SIGMOID: EW_LONG1(v_sigmoid(u));
        case EW_TANH: EW_LONG1(v_tanh(u));
        case EW_EXP: EW_LONG1(v_exp(u));
        case EW_LOG: EW_LONG1(ew_log(u));
        case EW_SIN: EW_LONG1(ew_sin(u));
        case EW_COS: EW_LONG1(ew_cos(u));
        case EW_TAN: EW_LONG1(ew_tan(u));
        case EW_ASIN: EW_SINGLY1(asinf);
        case EW_ACOS: EW_SINGLY1(acosf);
        case EW_ATAN: EW_LONG1(ew_atan(u));
        case EW_SINH: EW_SINGLY1(sinhf);
        case EW_COSH: EW_SINGLY1(coshf);
        case EW_ASINH: EW_SINGLY1(asinhf);
        case EW_ACOSH: EW_SINGLY1(acoshf);
        case EW_ATANH: EW_SINGLY1(atanhf);
        case EW_ERF: EW_LONG1(ew_erf(u));
        case EW_SOFTPLUS: EW_LONG1(ew_softplus(u));
        case EW_SOFTSIGN: EW_QUICK1(u / (one + (vf)((vi)u & 0x7fffffff)));
        case EW_MISH: EW_LONG1(ew_mish(u));
        case EW_GELU: EW_LONG1(ew_gelu(u));
        case EW_GELU_TANH: EW_LONG1(ew_gelu_tanh(u));
        case EW_LEAKY_RELU: EW_QUICK1(v_where((vi)(u < zero), v_set1(alpha) * u, u));
        case EW_THRESHOLDED_RELU: EW_QUICK1(v_where((vi)(u > v_set1(alpha)), u, zero));
        case EW_ELU: EW_LONG1(v_where((vi)(u < zero), v_set1(alpha) * v_expm1(u), u));
        case EW_SELU: EW_LONG1(v_set1(beta) * v_where((vi)(u <= zero), v_set1(alpha) * v_expm1(u), u));
        case EW_CELU: EW_LONG1(ew_celu(alpha, u));
        case EW_HARD_SIGMOID: EW_QUICK1(v_min(one, v_max(zero, v_set1(alpha) * u + v_set1(beta))));
        case EW_HARD_SWISH: EW_QUICK1(u *v_min(one, v_max(zero, v_set1(alpha) * u + v_set1(beta))));
        case EW_SWISH: EW_LONG1(u * v_sigmoid(v_set1(alpha) * u));
        case EW_CLIP: EW_QUICK1(v_min(v_set1(beta), v_max(v_set1(alpha), u)));
        case EW_SHRINK: EW_QUICK1(ew_shrink(alpha, beta, u));
        case EW_POWER_OF: EW_LONG1(ew_pow(u, v_set1(alpha)));
        case EW_INTEGER_POWER: EW_QUICK1(ew_integer_power((unsigned)alpha, u));
        case EW_ADD: EW_QUICK2(u + v);
        case EW_SUB: EW_QUICK2(u - v);
        case EW_MUL: EW_QUICK2(u *v);
        case EW_DIV: EW_QUICK2(u / v);
        case EW_MIN: EW_QUICK2(ew_nan_of(u, v_min(u, v)));
        case EW_MAX: EW_QUICK2(ew_nan_of(u, v_max(u, v)));
        case EW_POW: EW_LONG2(ew_pow(u, v));
        case EW_MOD: EW_SINGLY2(remainder1);
        case EW_FMOD: EW_SINGLY2(fmodf);
        case EW_PRELU: EW_QUICK2(v_where((vi)(u < zero), u *v, u));
        case EW_LESS: EW_QUICK2(ew_truth((vi)(u < v)));
        case EW_LESS_OR_EQUAL: EW_QUICK2(ew_truth((vi)(u <= v)));
        case EW_EQUAL: EW_QUICK2(ew_truth((vi)(u == v)));
        case EW_XOR: EW_QUICK2(ew_truth((vi)(u != v)));
        default: /* EW_WHERE */
            for (; i < n; i += LANES, a += sa, b += sb, c += sc) {
                const int m = n - i < LANES ? (int)(n - i) : LANES;
                const vi mask = (vi)(v_load_n(a, m) != zero);
                v_store_n(y + i, v_where(mask, v_load_n(b, m), v_load_n(c, m)), m);
            }
        }
    }
    return RT_OK;
}

/* Rows of float32 into a register: copied, one element spread, or picked up with a stride. */
static inline void ew_fill_rows(const char *p, float *y, int64_t n, int64_t run, int64_t row, int64_t step) {
    if (run <= 4) {
        for (int64_t i = 0; i < run; i++)
            for (int64_t r = 0; r * run < n; r++) y[r * run + i] = *(const float *)(p + r * row + i * step);
        return;
    }
    for (int64_t r = 0; r < n; r += run, p += row, y += run) {
        const float *x = (const float *)p;
        int64_t i = 0;
        if (step == 4) {
            for (; i + LANES <= run; i += LANES) v_store(y + i, v_load(x + i));
            if (i < run) v_store_n(y + i, v_load_n(x + i, (int)(run - i)), (int)(run - i));
        } else if (step == 0) {
            const vf v = v_set1(*x);
            for (; i + LANES <= run; i += LANES) v_store(y + i, v);
            if (i < run) v_store_n(y + i, v, (int)(run - i));
        } else {
            for (; i < run; i++) y[i] = *(const float *)(p + i * step);
        }
    }
}

static void ew_fill_f32(const ew_operand *x, const char *p, char *y, int64_t n, int64_t run) {
    const int64_t row = x->row, step = x->step;
    if (x->kind == EW_SCALAR) {
        v_store((float *)y, v_set1(*(const float *)p));
        return;
    }
    switch (x->type) {
    case EW_F32: ew_fill_rows(p, (float *)y, n, run, row, step); return;
    case EW_I32: EW_CONVERT(int32_t, float, );
    case EW_I64: EW_CONVERT(int64_t, float, );
    case EW_F64: EW_CONVERT(double, float, );
    case EW_I8: EW_CONVERT(int8_t, float, );
    default: EW_CONVERT(uint8_t, float, );
    }
}

static void ew_narrow_f32(int type, const char *x, char *y, int64_t n) {
    if (type == EW_BOOL)
        for (int64_t i = 0; i < n; i++) y[i] = ((const float *)x)[i] != 0;
    else
        for (int64_t i = 0; i < n; i++) ((double *)y)[i] = ((const float *)x)[i];
}

static int op_elementwise(const int64_t *words, char *const *values, int part, int n_parts) {
    return ew_run(words, values, part, n_parts, EW_F32, ew_fill_f32, ew_compute_f32, ew_narrow_f32);
}
#endif
