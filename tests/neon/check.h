/* What the harnesses share: counted checks, random numbers, and memory of which every byte is watched. Include after SIMD. */
#ifndef RT_CHECK_H
#define RT_CHECK_H
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int n_checks, n_failed;

static void check(int ok, const char *what, double got, double want) {
    n_checks++;
    if (ok) return;
    if (n_failed++ < 20) printf("FAILED %s: got %.9g, want %.9g\n", what, got, want);
}

/* The same number, or near it; NaN where NaN is expected. */
static void check_near(const char *what, double got, double want, double bound) {
    check(isnan(want) ? isnan(got) : got == want || fabs(got - want) <= bound, what, got, want);
}

static unsigned seed = 12345;
static unsigned random_below(unsigned n) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

static real random_real(void) { return (real)((int)random_below(20001) - 10000) / 5000; }

static void fill(real *p, size_t n) {
    for (size_t i = 0; i < n; i++) p[i] = random_real();
}

/* Memory of one case: inputs end where their elements end, outputs lie between guard bytes and are all ones, NaN, at first. */
enum { GUARD = 64, MAX_BLOCKS = 24 };
static struct {
    unsigned char *memory;
    size_t size, guard;
} blocks[MAX_BLOCKS];
static int n_blocks;
static char label[160]; /* of the case */

static void *new_block(size_t size, size_t guard) {
    unsigned char *memory = malloc(size + 2 * guard + (size == 0));
    if (n_blocks == MAX_BLOCKS || !memory) abort();
    memset(memory, 0xA5, guard);
    memset(memory + guard, 0xFF, size);
    memset(memory + guard + size, 0xA5, guard);
    blocks[n_blocks].memory = memory, blocks[n_blocks].size = size, blocks[n_blocks++].guard = guard;
    return memory + guard;
}

static void *input_bytes(size_t size) { return new_block(size, 0); }
static void *output_bytes(size_t size) { return new_block(size, GUARD); }
static real *output(size_t n) { return output_bytes(n * sizeof(real)); }

static real *input(size_t n) {
    real *x = input_bytes(n * sizeof(real));
    fill(x, n);
    return x;
}

static void begin_case(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(label, sizeof label, format, arguments);
    va_end(arguments);
}

static int all_bytes(const void *p, size_t n, int value) {
    for (size_t i = 0; i < n; i++)
        if (((const unsigned char *)p)[i] != value) return 0;
    return 1;
}

/* Whether nothing was written round the outputs; gives all memory back. */
static void end_case(void) {
    for (int k = 0; k < n_blocks; k++) {
        const size_t guard = blocks[k].guard;
        const unsigned char *before = blocks[k].memory, *after = before + guard + blocks[k].size;
        check(all_bytes(before, guard, 0xA5) && all_bytes(after, guard, 0xA5), label, NAN, 0xA5);
        free(blocks[k].memory);
    }
    n_blocks = 0;
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static double activation(int kind, double a, double b, double x) {
    switch (kind) {
    case -1: return x;
    case ACT_TANH: return tanh(x);
    case ACT_SIGMOID: return sigmoid(x);
    case ACT_RELU: return x > 0 ? x : 0;
    case ACT_AFFINE: return a * x + b;
    case ACT_LEAKY_RELU: return x < 0 ? a * x : x;
    case ACT_THRESHOLDED_RELU: return x < a ? 0 : x;
    case ACT_SCALED_TANH: return a * tanh(b * x);
    case ACT_HARD_SIGMOID: return fmin(1, fmax(0, a * x + b));
    case ACT_ELU: return x < 0 ? a * expm1(x) : x;
    case ACT_SOFTSIGN: return x / (1 + fabs(x));
    default: return fmax(x, 0) + log1p(exp(-fabs(x)));
    }
}
#endif
