/* op_elementwise and op_integers: every operation, and every way in which operands lie. */
#include "operators.h"

static double ew_exact(int code, double u, double v, double w, double alpha, double beta) {
    switch (code) {
    case EW_COPY: return u;
    case EW_IS_TRUE: return u != 0;
    case EW_NEG: return -u;
    case EW_ABS: return fabs(u);
    case EW_SQRT: return sqrt(u);
    case EW_RECIPROCAL: return 1 / u;
    case EW_SQUARE: return u * u;
    case EW_SIGN: return (u > 0) - (u < 0);
    case EW_FLOOR: return floor(u);
    case EW_CEIL: return ceil(u);
    case EW_ROUND: return nearbyint(u);
    case EW_NOT: return u == 0;
    case EW_IS_NAN: return isnan(u);
    case EW_IS_INF: return u == alpha || u == beta;
    case EW_RELU: return fmax(u, 0);
    case EW_SIGMOID: return sigmoid(u);
    case EW_TANH: return tanh(u);
    case EW_EXP: return exp(u);
    case EW_LOG: return log(u);
    case EW_SIN: return sin(u);
    case EW_COS: return cos(u);
    case EW_TAN: return tan(u);
    case EW_ASIN: return asin(u);
    case EW_ACOS: return acos(u);
    case EW_ATAN: return atan(u);
    case EW_SINH: return sinh(u);
    case EW_COSH: return cosh(u);
    case EW_ASINH: return asinh(u);
    case EW_ACOSH: return acosh(u);
    case EW_ATANH: return atanh(u);
    case EW_ERF: return erf(u);
    case EW_SOFTPLUS: return fmax(u, 0) + log1p(exp(-fabs(u)));
    case EW_SOFTSIGN: return u / (1 + fabs(u));
    case EW_MISH: return u * tanh(log1p(exp(u)));
    case EW_GELU: return u * (1 + erf(u / sqrt(2))) / 2;
    case EW_GELU_TANH: return u * (1 + tanh(0.7978845608 * (u + 0.044715 * u * u * u))) / 2;
    case EW_LEAKY_RELU: return u < 0 ? alpha * u : u;
    case EW_THRESHOLDED_RELU: return u > alpha ? u : 0;
    case EW_ELU: return u < 0 ? alpha * expm1(u) : u;
    case EW_SELU: return beta * (u <= 0 ? alpha * expm1(u) : u);
    case EW_CELU: return fmax(u, 0) + fmin(0, alpha * expm1(u / alpha));
    case EW_HARD_SIGMOID: return fmin(1, fmax(0, alpha * u + beta));
    case EW_HARD_SWISH: return u * fmin(1, fmax(0, alpha * u + beta));
    case EW_SWISH: return u * sigmoid(alpha * u);
    case EW_CLIP: return fmin(beta, fmax(alpha, u));
    case EW_SHRINK: return u < -alpha ? u + beta : u > alpha ? u - beta : 0;
    case EW_POWER_OF: return pow(u, alpha);
    case EW_INTEGER_POWER: return pow(u, alpha);
    case EW_ADD: return u + v;
    case EW_SUB: return u - v;
    case EW_MUL: return u * v;
    case EW_DIV: return u / v;
    case EW_MIN: return fmin(u, v);
    case EW_MAX: return fmax(u, v);
    case EW_POW: return pow(u, v);
    case EW_MOD: return u - v * floor(u / v);
    case EW_FMOD: return fmod(u, v);
    case EW_PRELU: return u < 0 ? u * v : u;
    case EW_LESS: return u < v;
    case EW_LESS_OR_EQUAL: return u <= v;
    case EW_EQUAL: return u == v;
    case EW_XOR: return u != v;
    default: return u != 0 ? v : w;
    }
}

/* Words of a step over `n` elements a run and `outer` runs of them. */
typedef struct {
    int64_t words[128], *next;
    rt_elementwise *head;
} rt_steps;

static rt_steps *steps_of(rt_steps *s, void *y, int type, int64_t outer, int64_t n, int64_t run_, int64_t block) {
    s->head = (rt_elementwise *)s->words;
    *s->head = (rt_elementwise){.y = at(y), .type = type, .n_axes = outer > 1, .n = n, .run = run_, .block = block};
    s->head->n_blocks = (n + block - 1) / block, s->head->units = outer * s->head->n_blocks;
    s->next = (int64_t *)(s->head + 1);
    if (outer > 1) *s->next++ = outer;
    return s;
}

/* An operand; strides in bytes: of rows, elements and runs. */
static void add_operand(rt_steps *s, const void *x, int kind, int type, int64_t row, int64_t step, int64_t outer) {
    const rt_elementwise *h = s->head;
    const int64_t advance = h->n != h->run ? h->block / h->run * row : h->block * step;
    *(ew_operand *)s->next = (ew_operand){at(x), kind, type, row, step, advance};
    s->next += sizeof(ew_operand) / sizeof(int64_t);
    if (h->n_axes) *s->next++ = outer;
    s->head->n_operands++;
}

static void add_op(rt_steps *s, int code, int y, int a, int b, int c, int scalars, float alpha, float beta) {
    *s->next++ = code | y << 8 | a << 16 | (int64_t)b << 24 | (int64_t)c << 32 | (int64_t)scalars << 40;
    memcpy(s->next, &alpha, 4);
    memcpy((char *)s->next++ + 4, &beta, 4);
    s->head->n_ops++;
}

static double ew_domain(int code, double x) {
    switch (code) {
    case EW_ASIN:
    case EW_ACOS:
    case EW_ATANH: return (float)(x / 2.1);
    case EW_ACOSH: return (float)(1 + fabs(x));
    case EW_SQRT:
    case EW_LOG:
    case EW_POW:
    case EW_POWER_OF: return (float)(fabs(x) + 0.1);
    case EW_RECIPROCAL:
    case EW_DIV: return (float)(x + (x < 0 ? -0.1 : 0.1));
    case EW_TAN: return (float)(x / 1.5);
    default: return x;
    }
}

/* One operation over n elements; b is one element where `scalar`, and nonzero. */
static void check_operation(int code, int64_t n, int scalar, int type) {
    const float alpha = code == EW_IS_INF ? -INFINITY : code == EW_INTEGER_POWER ? 3 : code == EW_CLIP ? -1 : 0.75f;
    const float beta = code == EW_IS_INF ? INFINITY : 0.5f;
    begin_case("elementwise operation %d of %d, scalar %d, type %d", code, (int)n, scalar, type);
    real *u = input(n), *v = input(n), *w = input(n);
    void *y = output_bytes(n * ew_size[type]);
    for (int64_t i = 0; i < n; i++) {
        u[i] = (real)ew_domain(code, u[i]);
        if (i % 5 == 4) u[i] = code == EW_IS_NAN ? NAN : code == EW_IS_INF ? (i % 2 ? INFINITY : -INFINITY) : u[i];
        if (i % 7 == 3 && code >= EW_LESS) u[i] = code == EW_WHERE ? 0 : v[scalar ? 0 : i];
        if (fabsf(v[i]) < 0.1f) v[i] = 0.5f;
    }
    rt_steps s;
    steps_of(&s, y, type, 1, n, n, type == EW_F32 && !scalar ? 32 * 1024 : 1024);
    add_operand(&s, u, EW_DIRECT, EW_F32, 0, 4, 0);
    add_operand(&s, v, scalar ? EW_SCALAR : EW_DIRECT, EW_F32, 0, scalar ? 0 : 4, 0);
    add_operand(&s, w, EW_DIRECT, EW_F32, 0, 4, 0);
    add_op(&s, code, 0, 1, 2, 3, scalar << 1, alpha, beta);
    run("elementwise", s.words, 3);
    for (int64_t i = 0; i < n; i++) {
        const double want = ew_exact(code, u[i], v[scalar ? 0 : i], w[i], alpha, beta);
        const double got = type == EW_F32 ? ((real *)y)[i] : type == EW_F64 ? ((double *)y)[i] : ((uint8_t *)y)[i];
        check_near(label, got, type == EW_BOOL ? want != 0 : want, type == EW_BOOL ? 0 : 3e-6 * fabs(want) + 1e-6);
    }
    end_case();
}

/* y = where(a < b, c, a * c + d) over `outer` runs of `rows` rows of `run_`: a as y lies but of any type, b one a row, c
 * backwards, d one element. */
static void check_chain(int64_t outer, int64_t rows, int64_t run_, int type) {
    static const int64_t sizes[] = {4, 1, 4, 8, 8, 1, 1};
    const int64_t n = rows * run_, size = sizes[type], total = outer * n, most = EW_BYTES / 4;
    begin_case("elementwise chain of %d runs of %d rows of %d, type %d", (int)outer, (int)rows, (int)run_, type);
    unsigned char *a = input_bytes(total * size);
    double *a_value = input_bytes(total * sizeof(double));
    for (int64_t i = 0; i < total; i++) {
        const int value = (int)random_below(type == EW_BOOL ? 2 : 100) - (type == EW_BOOL || type == EW_U8 ? 0 : 50);
        a_value[i] = value;
        switch (type) {
        case EW_F32: ((float *)a)[i] = (float)value; break;
        case EW_F64: ((double *)a)[i] = value; break;
        case EW_I32: ((int32_t *)a)[i] = value; break;
        case EW_I64: ((int64_t *)a)[i] = value; break;
        default: a[i] = (unsigned char)value;
        }
    }
    const real *b = input(outer * rows), *c = input(total), *d = input(1);
    real *y = output(total);
    rt_steps s;
    steps_of(&s, y, EW_F32, outer, n, run_, rows > 1 ? most / run_ * run_ : most);
    add_operand(&s, a, type == EW_F32 ? EW_DIRECT : EW_EXPANDED, type, run_ * size, size, n * size);
    add_operand(&s, b, EW_EXPANDED, EW_F32, 4, 0, rows * 4);
    add_operand(&s, c + run_ - 1, EW_EXPANDED, EW_F32, run_ * 4, -4, n * 4);
    add_operand(&s, d, EW_SCALAR, EW_F32, 0, 0, 0);
    enum { R1 = EW_OPERANDS + 1, R2, R3 };
    s.head->n_registers = 3;
    add_op(&s, EW_LESS, R1, 1, 2, 1, 0, 0, 0);
    add_op(&s, EW_MUL, R2, 1, 3, 1, 0, 0, 0);
    add_op(&s, EW_ADD, R3, R2, 4, 1, 2, 0, 0);
    add_op(&s, EW_WHERE, 0, R1, 3, R3, 0, 0, 0);
    run("elementwise", s.words, 3);
    for (int64_t i = 0; i < total; i++) {
        const double u = a_value[i], v = c[i / run_ * run_ + run_ - 1 - i % run_];
        const double want = u < b[i / run_] ? v : u * v + d[0];
        check_near(label, y[i], want, 1e-6 * (fabs(u * v) + 1));
    }
    end_case();
}

static int64_t narrowed(int64_t x, int type) {
    switch (type) {
    case EW_I32: return (int32_t)x;
    case EW_I8: return (int8_t)x;
    case EW_I64: return x;
    case EW_BOOL:
    default: return (uint8_t)x;
    }
}

static int64_t ei_exact(int code, int64_t u, int64_t v, int64_t w) {
    const int64_t r = v == 0 || v == -1 ? 0 : u % v;
    switch (code) {
    case EI_COPY: return u;
    case EI_IS_TRUE: return u != 0;
    case EI_NEG: return -u;
    case EI_ABS: return u < 0 ? -u : u;
    case EI_SIGN: return (u > 0) - (u < 0);
    case EI_NOT: return u == 0;
    case EI_INVERT: return ~u;
    case EI_ADD: return u + v;
    case EI_SUB: return u - v;
    case EI_MUL: return u * v;
    case EI_DIV: return u / v;
    case EI_MIN: return u < v ? u : v;
    case EI_MAX: return u > v ? u : v;
    case EI_MOD: return r != 0 && (r < 0) != (v < 0) ? r + v : r;
    case EI_FMOD: return r;
    case EI_LESS: return u < v;
    case EI_LESS_OR_EQUAL: return u <= v;
    case EI_EQUAL: return u == v;
    case EI_AND: return u & v;
    case EI_OR: return u | v;
    case EI_XOR: return u ^ v;
    default: return u ? v : w;
    }
}

static void put_integer(void *p, int64_t i, int type, int64_t x) {
    if (type == EW_I64)
        ((int64_t *)p)[i] = x;
    else if (type == EW_I32)
        ((int32_t *)p)[i] = (int32_t)x;
    else
        ((uint8_t *)p)[i] = (uint8_t)x;
}

static int64_t get_integer(const void *p, int64_t i, int type) {
    if (type == EW_I64) return ((const int64_t *)p)[i];
    if (type == EW_I32) return ((const int32_t *)p)[i];
    return type == EW_I8 ? ((const int8_t *)p)[i] : ((const uint8_t *)p)[i];
}

static void check_integers(int code, int64_t n, int type) {
    begin_case("integers operation %d of %d, type %d", code, (int)n, type);
    const int kind = type == EW_I64 ? EW_DIRECT : EW_EXPANDED, size = ew_size[type];
    void *operand[3], *y = output_bytes(n * size);
    rt_steps s;
    steps_of(&s, y, type, 1, n, n, EW_BYTES / 8);
    for (int k = 0; k < 3; k++) {
        operand[k] = input_bytes(n * size);
        for (int64_t i = 0; i < n; i++) {
            const int64_t x = (int64_t)random_below(250) - (type == EW_U8 ? 0 : 125);
            put_integer(operand[k], i, type, k == 1 && x == 0 ? 7 : x);
        }
        add_operand(&s, operand[k], kind, type, 0, size, 0);
    }
    add_op(&s, code, 0, 1, 2, 3, 0, 0, 0);
    run("integers", s.words, 3);
    for (int64_t i = 0; i < n; i++) {
        int64_t u[3];
        for (int k = 0; k < 3; k++) u[k] = get_integer(operand[k], i, type);
        const int64_t want = narrowed(ei_exact(code, u[0], u[1], u[2]), type), got = get_integer(y, i, type);
        check(got == want, label, (double)got, (double)want);
    }
    if (code == EI_DIV || code == EI_MOD || code == EI_FMOD) {
        put_integer(operand[1], n - 1, type, 0);
        check(try_run("integers", s.words, 3) == RT_BAD_DIVISOR, label, RT_OK, RT_BAD_DIVISOR);
    }
    end_case();
}

static void check_elements(void) {
    const int sizes[] = {1, LANES - 1, LANES, LANES + 1, 2 * LANES + 3, 1030};
    static const int types[] = {EW_I64, EW_I32, EW_I8, EW_U8}, all[] = {EW_F32, EW_BOOL, EW_I32, EW_I64, EW_F64, EW_U8, EW_I8};
    for (int i = 0; i < 6; i++) {
        if (!sizes[i]) continue;
        for (int code = EW_COPY; code <= EW_WHERE; code++)
            for (int scalar = 0; scalar <= (code >= EW_ADD && code <= EW_XOR); scalar++) {
                check_operation(code, sizes[i], scalar, EW_F32);
                check_operation(code, sizes[i], scalar, code % 2 ? EW_BOOL : EW_F64);
            }
        for (int code = EI_COPY; code <= EI_WHERE; code++)
            for (int k = 0; k < 4; k++) check_integers(code, sizes[i], types[k]);
        for (int k = 0; k < 7; k++)
            for (int outer = 1; outer <= 3; outer += 2) {
                check_chain(outer, 1, sizes[i], all[k]);
                if (sizes[i] <= 512) check_chain(outer, 45, sizes[i], all[k]);
            }
    }
}
