/* exp, tanh, sigmoid and the eleven ONNX activations over vector words; include after one simd_<isa>.h.
 *
 * The words a simd header defines, besides `real`, `vf` (LANES reals) and `vi` (LANES integers of the same width), whose
 * arithmetic operators are the compiler's:
 *   v_load v_store      LANES reals, any alignment          v_load_n v_store_n   the first n only; n in 1..LANES
 *   v_set1              one real in every lane              v_fma(a, b, c)       a*b + c
 *   v_min v_max         of (bound, x): x where x is NaN   v_where(m, a, b)    a where m is all ones, b where it is 0
 *   v_any_nan(x)        whether a lane is NaN
 *   V_KEEP(x)           the compiler keeps x in a register: it may not load it again
 *   V_FUSED             whether v_fma rounds once, which it does unless a header says 0
 *
 * e^y - 1 = 2^n p + (2^n - 1) with n = round(y / ln 2), r = y - n ln 2, p = r + r^2 q(r). q is of degree 4, fitted to
 * (e^r - 1 - r)/r^2 on |r| <= ln(2)/2 by iteratively reweighted least squares, relative error of p 1.4e-8. ln 2 is split in
 * two after Cody and Waite, so that n times the first part is exact; the functions of cells take it whole where v_fma rounds once, a
 * step less: r is off by 1.9e-9 n then, which tells where |x| is large.
 *   v_exp      error <= 3.1 ulp; +inf above 88.72, 0 below -87.33; exp(NaN) = NaN
 *   v_sigmoid  1/(1 + e^-x), error <= 3 ulp down to x = -20, 6 ulp down to the smallest normal number (-87.33), 0 below; 1 at +inf
 *   v_tanh     (e^2x - 1)/(e^2x + 1), error <= 4 ulp; -1 and 1 at -inf and +inf
 * Both come in parts, too, so that a product of them costs one division, and for several vectors at once (v_exponentials):
 * sigmoid = 1/s and tanh = e/(e + 1). Products of the parts are at most inf, where the quotient, below 1e-30, becomes 0.
 * Denormal results count as 0: kernels run with denormals flushed. In float64 they are the C library's, lane by lane.
 */
#ifndef RT_VMATH_H
#define RT_VMATH_H
#include <math.h>

enum {
    ACT_TANH,
    ACT_SIGMOID,
    ACT_RELU,
    ACT_AFFINE,
    ACT_LEAKY_RELU,
    ACT_THRESHOLDED_RELU,
    ACT_SCALED_TANH,
    ACT_HARD_SIGMOID,
    ACT_ELU,
    ACT_SOFTSIGN,
    ACT_SOFTPLUS
};

#define RT_INLINE static inline __attribute__((always_inline))
#define RT_PRAGMA(words) _Pragma(#words)
#ifdef __clang__
#define RT_UNROLL RT_PRAGMA(clang loop unroll(full))
#define RT_UNROLL_BY(n) RT_PRAGMA(clang loop unroll_count(n))
#else
#define RT_UNROLL RT_PRAGMA(GCC unroll 32)
#define RT_UNROLL_BY(n) RT_PRAGMA(GCC unroll n)
#endif

#ifndef V_FUSED
#define V_FUSED 1
#endif

static inline vf v_clamp(vf x, real low, real high) { return v_min(v_set1(high), v_max(v_set1(low), x)); }

#define V_EACH(f, x) \
    real t_[LANES]; \
    v_store(t_, x); \
    for (int u_ = 0; u_ < LANES; u_++) t_[u_] = f(t_[u_]); \
    return v_load(t_)

#ifdef RT_DOUBLE

static inline vf v_exp(vf x) { V_EACH(exp, x); }
static inline vf v_tanh(vf x) { V_EACH(tanh, x); }
static inline double sigmoid1(double x) { return 1.0 / (1.0 + exp(-x)); }
static inline vf v_sigmoid(vf x) { V_EACH(sigmoid1, x); }
static inline double sigmoid_part(double x) { return 1.0 + exp(-x); }
static inline double tanh_part(double x) { return 0.5 * expm1(x > 20.0 ? 40.0 : 2.0 * x); }
static inline vf v_sigmoid_part(vf x) { V_EACH(sigmoid_part, x); }
static inline vf v_tanh_part(vf x) { V_EACH(tanh_part, x); }
RT_INLINE void v_exponentials(const int n, const int tanhs, vf *x) {
    for (int j = 0; j < n; j++) x[j] = tanhs >> j & 1 ? v_tanh_part(x[j]) : v_sigmoid_part(x[j]);
}
static inline double softplus1(double x) { return fmax(x, 0.0) + log1p(exp(-fabs(x))); }
static inline vf v_expm1(vf x) { V_EACH(expm1, x); }

#else

/* The parts of e^y = s + s p, s = 2^n, for y in [-87.3, 88.3]. */
static inline vf v_exp_parts(vf y, vf *s) {
    const real magic = 12582912.0f + 127.0f; /* 1.5 * 2^23: adding it rounds to an integer and leaves n + 127 in the low bits */
    vf t = v_fma(y, v_set1(1.44269504f), v_set1(magic));
    vf n = t - v_set1(magic);
    vf r = v_fma(n, v_set1(-0.693145752f), y);
    r = v_fma(n, v_set1(-1.42860677e-6f), r);
    vf q = v_fma(v_set1(1.38825167e-3f), r, v_set1(8.36654753e-3f));
    q = v_fma(q, r, v_set1(4.16672006e-2f));
    q = v_fma(q, r, v_set1(1.66665435e-1f));
    q = v_fma(q, r, v_set1(4.99999970e-1f));
    *s = (vf)((vi)t << 23);
    return v_fma(q, r * r, r);
}

static inline vf v_expm1_in_range(vf y) {
    vf s, p = v_exp_parts(y, &s);
    return v_fma(s, p, s - v_set1(1.0f));
}

static inline vf v_expm1(vf x) {
    vf y = v_expm1_in_range(v_clamp(x, -87.0f, 88.0f));
    return v_where((vi)(x > 88.0f), v_set1(INFINITY), y);
}

/* The square of e^(x/2), as 2^128 would not fit s. */
static inline vf v_exp(vf x) {
    vf s, p = v_exp_parts(v_clamp(x, -88.0f, 88.8f) * v_set1(0.5f), &s);
    vf h = v_fma(s, p, s);
    return h * h;
}

/* Both parts take the steps of v_exp_parts with numbers of their own. 1 + e^-x = (1 + s) + s p with s = 2^-n, all signs turned:
 * r stands for -r, s for -s, whose sign the 256 is. (e^2x - 1)/2: r for r/2, p for p/2. */
typedef struct {
    real low, high, scale, magic, ln2, ln2_high, ln2_low, q[5];
} rt_exponential;
static const rt_exponential rt_sigmoid_part = {
    .low = -88.3f,
    .high = 87.3f,
    .scale = -1.44269504f,
    .magic = 12582912.0f + 127.0f + 256.0f,
    .ln2 = 0.693147182f,
    .ln2_high = 0.693145752f,
    .ln2_low = 1.42860677e-6f,
    .q = {-1.38825167e-3f, 8.36654753e-3f, -4.16672006e-2f, 1.66665435e-1f, -4.99999970e-1f},
};
static const rt_exponential rt_tanh_part = {
    .low = -10.0f,
    .high = 10.0f,
    .scale = 2 * 1.44269504f,
    .magic = 12582912.0f + 127.0f,
    .ln2 = -0.693147182f / 2,
    .ln2_high = -0.693145752f / 2,
    .ln2_low = -1.42860677e-6f / 2,
    .q = {32 * 1.38825167e-3f, 16 * 8.36654753e-3f, 8 * 4.16672006e-2f, 4 * 1.66665435e-1f, 2 * 4.99999970e-1f},
};

/* x[j] gives way to (e^2x - 1)/2 where bit j of `tanhs` is set, to 1 + e^-x elsewhere. All take a step before any takes the
 * next, which keeps both multipliers busy: one after the other, each would wait four cycles for every step before. */
RT_INLINE void v_exponentials(const int n, const int tanhs, vf *x) {
#define RT_EACH RT_UNROLL for (int j = 0; j < n; j++)
#define RT_PART(name) v_set1(tanhs >> j & 1 ? rt_tanh_part.name : rt_sigmoid_part.name)
    vf s[8], q[8];
    RT_EACH x[j] = v_min(RT_PART(high), v_max(RT_PART(low), x[j]));
    RT_EACH s[j] = v_fma(x[j], RT_PART(scale), RT_PART(magic));
    RT_EACH q[j] = s[j] - RT_PART(magic);
    if (V_FUSED) {
        RT_EACH x[j] = v_fma(q[j], RT_PART(ln2), x[j]);
    } else {
        RT_EACH x[j] = v_fma(q[j], RT_PART(ln2_high), x[j]);
        RT_EACH x[j] = v_fma(q[j], RT_PART(ln2_low), x[j]);
    }
    RT_EACH q[j] = v_fma(RT_PART(q[0]), x[j], RT_PART(q[1]));
    RT_EACH q[j] = v_fma(q[j], x[j], RT_PART(q[2]));
    RT_EACH q[j] = v_fma(q[j], x[j], RT_PART(q[3]));
    RT_EACH q[j] = v_fma(q[j], x[j], RT_PART(q[4]));
    RT_EACH q[j] = v_fma(q[j], x[j] * x[j], x[j]);
    RT_EACH s[j] = (vf)((vi)s[j] << 23);
    RT_EACH x[j] = tanhs >> j & 1 ? v_fma(s[j], v_set1(0.5f), v_set1(-0.5f)) : (vf)(v_set1(1.0f) - s[j]);
    RT_EACH x[j] = v_fma(s[j], q[j], x[j]);
#undef RT_EACH
#undef RT_PART
}

static inline vf v_sigmoid(vf x) {
    v_exponentials(1, 0, &x);
    return v_set1(1.0f) / x;
}

static inline vf v_tanh(vf x) {
    v_exponentials(1, 1, &x);
    return x / (x + v_set1(1.0f));
}

static inline float softplus1(float x) { return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))); }

#endif

static inline vf v_softplus(vf x) { V_EACH(softplus1, x); }

/* f(x) of SEMANTICS: a and b are alpha and beta of the functions that take them. */
static __attribute__((noinline)) vf v_activate(int kind, real a, real b, vf x) {
    const vf zero = v_set1(0), one = v_set1(1), va = v_set1(a), vb = v_set1(b);
    switch (kind) {
    case ACT_TANH: return v_tanh(x);
    case ACT_SIGMOID: return v_sigmoid(x);
    case ACT_RELU: return v_max(zero, x);
    case ACT_AFFINE: return va * x + vb;
    case ACT_LEAKY_RELU: return v_where((vi)(x < zero), va * x, x);
    case ACT_THRESHOLDED_RELU: return v_where((vi)(x < va), zero, x);
    case ACT_SCALED_TANH: return va * v_tanh(vb * x);
    case ACT_HARD_SIGMOID: return v_min(one, v_max(zero, va * x + vb));
    case ACT_ELU: return v_where((vi)(x < zero), va * v_expm1(x), x);
    case ACT_SOFTSIGN: /* 1e30 is as good as infinity, and inf/inf is not */
        x = v_clamp(x, -1e30f, 1e30f);
        return x / (one + v_max(x, -x));
    default: return v_softplus(x);
    }
}
#endif
