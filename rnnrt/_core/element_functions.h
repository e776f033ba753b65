/* log, power, sine, cosine, tangent, arc tangent, softplus, erf and Gelu of float32 over vectors.
 *
 * They are computed in float64 and rounded once, element by element and without branches, which compilers turn into vectors.
 * Polynomials are Chebyshev interpolants of the named functions, in powers of the variable; their relative errors are below
 * 2e-11 (2^r: 2e-10), so that results are within 0.51 ulp (pow: 0.6) where they are normal numbers. Denormal operands and results
 * count as zero. NaN, infinities and zeros give what C's functions of the name give.
 */
#ifndef RT_ELEMENT_FUNCTIONS_H
#define RT_ELEMENT_FUNCTIONS_H
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "vmath.h"

static inline double bits_to_double(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline uint64_t double_to_bits(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* log(m 2^e) = e ln 2 + 2 atanh(s), s = (m - 1)/(m + 1), sqrt(1/2) <= m < sqrt(2); of a positive normal number. */
static inline double log_of_normal(double x, double ln_2, double two) {
    const uint64_t root = 0x3fe6a09e667f3bcd, shifted = double_to_bits(x) + (0x3ff0000000000000 - root);
    const double e = bits_to_double((shifted >> 52) | 0x4330000000000000) - (0x1p52 + 1023);
    const double m = bits_to_double((shifted & 0xfffffffffffff) + root), s = (m - 1) / (m + 1), w = s * s;
    double q = 0.096813893710744059;
    q = q * w + 0.11095697191165457;
    q = q * w + 0.14285877318869242;
    q = q * w + 0.19999999398418972;
    q = q * w + 0.33333333333687715;
    return e * ln_2 + two * (s + s * (w * q));
}

/* 2^z for any z; what float32 rounds to zero or infinity is cut. */
static inline double exp2_of(double z) {
    const double magic = 0x1.8p52 + 1023, low = z > -200 ? z : -200, y = low < 200 ? low : 200, t = y + magic, r = y - (t - magic);
    double q = 1.5297323170914281e-05;
    q = q * r + 0.00015461444697737129;
    q = q * r + 0.0013333502388106241;
    q = q * r + 0.009618056678522665;
    q = q * r + 0.055504108839080517;
    q = q * r + 0.24022650922288805;
    q = q * r + 0.6931471805599454;
    return (1 + r * q) * bits_to_double(double_to_bits(t) << 52);
}

static inline float log1(float x) {
    const double y = log_of_normal(x, 0.69314718055994531, 2);
    return x > 0 ? (x < INFINITY ? (float)y : INFINITY) : (x == 0 ? -INFINITY : NAN);
}

static inline float pow1(float x, float y) {
    const double size = fabs((double)x), power = y, big = 0x1.8p52, nan = NAN, inf = INFINITY;
    const double finite = log_of_normal(size, 1, 2.8853900817779268); /* 2/ln 2 */
    const double bounded = size < inf ? finite : inf, log2 = size > 0 ? bounded : -inf;
    const double product = power * log2, z = size == 1 ? 0 : product, positive = exp2_of(z);
    /* from 2^31 on, powers are whole and even */
    const double near = fabs(power) < 0x1p31 ? power : 0, half = near * 0.5;
    const double apart = fabs(((near + big) - big) - near), odd = fabs(((half + big) - big) - half);
    const double sign = odd == 0.5 ? -1 : 1, negative = apart == 0 ? sign : size < inf && size > 0 ? nan : 1;
    const double result = copysign(1, (double)x) < 0 ? positive * negative : positive;
    const double known = x == x ? result : nan, checked = y == y ? known : nan;
    const double one_or = x == 1 ? 1 : checked;
    return (float)(y == 0 ? 1 : one_or);
}

/* x - n pi/2, |.| <= pi/4, for |x| < 2^20: the first part of pi/2 has 33 bits, so n times it is exact. */
static inline double reduced(double x, uint64_t *n) {
    const double magic = 0x1.8p52, t = x * 0.63661977236758134 + magic, k = t - magic;
    *n = double_to_bits(t);
    return (x - k * 0x1.921fb544p+0) - k * 0x1.0b4611a626331p-34;
}
/* sin(r + n pi/2) */
static inline double sine_of(double r, uint64_t n) {
    const double w = r * r;
    double s = -2.4805407754215256e-08, c = 2.0663173373758052e-09;
    s = s * w + 2.7555988482686517e-06;
    s = s * w - 0.00019841266908987581;
    s = s * w + 0.0083333333310711463;
    s = s * w - 0.16666666666663868;
    c = c * w - 2.7555825373173093e-07;
    c = c * w + 2.4801582487917314e-05;
    c = c * w - 0.0013888888881868739;
    c = c * w + 0.041666666666628688;
    c = c * w - 0.49999999999999972;
    const double y = n & 1 ? 1 + w * c : r + r * (w * s);
    return n & 2 ? -y : y;
}
static inline float sin1(float x) {
    uint64_t n;
    const double r = reduced(x, &n);
    return (float)sine_of(r, n);
}
static inline float cos1(float x) {
    uint64_t n;
    const double r = reduced(x, &n);
    return (float)sine_of(r, n + 1);
}

static inline float tan1(float x) {
    uint64_t n;
    const double r = reduced(x, &n);
    return (float)(sine_of(r, n) / sine_of(r, n + 1));
}

/* atan(x) = atan(a) + atan((x - a)/(1 + a x)) with a = 0, 1 or infinity, the nearest by angle. */
static inline float atan1(float x) {
    const double z = fabs((double)x);
    const int far = z > 2.4142135623730949, middle = z > 0.41421356237309503;
    const double above = far ? -1 : middle ? z - 1 : z, below = far ? z : middle ? z + 1 : 1;
    const double from = far ? 1.5707963267948966 : middle ? 0.78539816339744828 : 0;
    const double t = above / below, w = t * t;
    double q = -0.04041314266100425;
    q = q * w + 0.071344203348488289;
    q = q * w - 0.090288240431717834;
    q = q * w + 0.11107482301463847;
    q = q * w - 0.14285612049664925;
    q = q * w + 0.1999999891129792;
    q = q * w - 0.3333333333142835;
    return (float)copysign(from + (t + t * (w * q)), (double)x);
}

/* max(x, 0) + log(1 + e), e = e^-|x|; log(1 + e) = 2 atanh(e/(2 + e)) */
static inline float softplus_of(float x) {
    const double size = fabs((double)x), e = exp2_of(size * -1.4426950408889634), s = e / (2 + e), w = s * s;
    double q = 0.095328914667173262;
    q = q * w + 0.072230482481425745;
    q = q * w + 0.091276516403451025;
    q = q * w + 0.11109655863948405;
    q = q * w + 0.14285741516963749;
    q = q * w + 0.19999999809901808;
    q = q * w + 0.33333333333549087;
    const double y = (x > 0 ? (double)x : 0) + 2 * (s + s * (w * q));
    return x != x ? x : (float)y;
}

/* erf(x)/x as a polynomial in x^2/8 - 1 for |x| < 4, beyond which erf rounds to 1 */
static inline double erf_of(double x) {
    static const double c[] = {
        0.3535309956434054,     -0.17657623321423779,   0.13167511686624997,    -0.10771044890970853,  0.090208996192394197,
        -0.074727728371029617,  0.059886860207166756,   -0.045766463501636712,  0.033061073767210299,  -0.022466263549073009,
        0.014347216537304787,   -0.0086298333945898503, 0.0048612582297797172,  -0.0025306714636356498, 0.0012770717467123591,
        -0.00067279817667152025, 0.00029513931753916861, -7.2461218650001624e-05, 3.2978976208581733e-05, -3.6683671066324973e-05,
        1.2874135134978859e-05};
    const double low = x < -4 ? -4 : x, z = low > 4 ? 4 : low, t = z * z * 0.125 - 1;
    double y = c[20];
#pragma GCC unroll 20
    for (int k = 19; k >= 0; k--) y = y * t + c[k];
    const double inside = z * y, edge = x > 0 ? 1 : -1;
    return fabs(x) >= 4 ? edge : inside;
}
static inline float erf1(float x) { return (float)erf_of(x); }
static inline float gelu1(float x) { return (float)(0.5 * x * (1 + erf_of(x * 0.70710678118654752))); }

static inline vf ew_log(vf x) { V_EACH(log1, x); }
static inline vf ew_atan(vf x) { V_EACH(atan1, x); }
static inline vf ew_softplus(vf x) { V_EACH(softplus_of, x); }
static inline vf ew_erf(vf x) { V_EACH(erf1, x); }
static inline vf ew_gelu(vf x) { V_EACH(gelu1, x); }
static inline vf ew_sqrt(vf x) { V_EACH(sqrtf, x); }
static inline vf ew_floor(vf x) { V_EACH(floorf, x); }
static inline vf ew_ceil(vf x) { V_EACH(ceilf, x); }
static inline vf ew_round(vf x) { V_EACH(rintf, x); }

static inline vf ew_pow(vf x, vf y) {
    real a[LANES], b[LANES];
    v_store(a, x);
    v_store(b, y);
    for (int u = 0; u < LANES; u++) a[u] = pow1(a[u], b[u]);
    return v_load(a);
}

/* Angles of 2^20 and more, and infinite ones, are left to the C library. */
static inline int any_beyond(const real *x, real limit) {
    int beyond = 0;
    for (int u = 0; u < LANES; u++) beyond |= !(fabsf(x[u]) < limit);
    return beyond;
}
#define V_ANGLE(fast, slow, x) \
    real t_[LANES]; \
    v_store(t_, x); \
    if (any_beyond(t_, 0x1p20f)) \
        for (int u_ = 0; u_ < LANES; u_++) t_[u_] = slow(t_[u_]); \
    else \
        for (int u_ = 0; u_ < LANES; u_++) t_[u_] = fast(t_[u_]); \
    return v_load(t_)
static inline vf ew_sin(vf x) { V_ANGLE(sin1, sinf, x); }
static inline vf ew_tan(vf x) { V_ANGLE(tan1, tanf, x); }
static inline vf ew_cos(vf x) { V_ANGLE(cos1, cosf, x); }
#endif
