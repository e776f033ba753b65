/* What a machine can do at most: multiply-adds a second, bytes read a second, one cache line to another core and back; and
   the plain loops of a layer.

   limits.py compiles this file, loads it, and calls bench_fma, bench_read, bench_multiply, bench_exponentials and
   bench_round_trip; each returns seconds, the best of `repeats`. Work is done by `n` threads at once, thread k pinned to
   cpus[k]; its time is the slowest thread's.
   FMA: as many chains as latency x ports asks for, but no more than registers hold beside two factors: a spilled chain
   would halve the peak. Reads: every line of a buffer, once a pass, in order; large
   buffers in every other repeat by pages as well. */

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { BASELINE, AVX2, AVX512, NEON };
#if defined(__aarch64__)
enum { CHAINS = 16 };                   /* of 32 registers */
#else
enum { CHAINS = 12 };                   /* of 16 registers before AVX-512 */
#endif

enum { LINKS = 8 };                     /* of every chain in an iteration: counting takes a port of an FMA, too */

static volatile float factors[2] = {0.999f, 0.001f};    /* unknown to the compiler, or it computes chains itself */

/* Ask for as many lines as `size` bytes are, of the next PAGES pages by turns, while those before are read at `at`: memory gives more
   to several streams than to one. */
enum { PAGES = 8, PAGE = 4096, LINE = 64, FROM_MEMORY = 32 << 20 };
static inline void fetch_by_pages(const char *p, size_t at, size_t size) {
    size_t group = at / (PAGES * PAGE) * (PAGES * PAGE), first = (at - group) / LINE;
    for (size_t line = first; line < first + size / LINE; line++)
        __builtin_prefetch(p + group + (PAGES + line % PAGES) * PAGE + line / PAGES * LINE);
}

/* One pair of loops; ADD_PRODUCT(a, x, y) is x * y + a, JOIN any operation as cheap as the load it follows. */
#define LOOPS(NAME, ATTRIBUTES, VECTOR, SET, LOAD, ADD_PRODUCT, JOIN) \
    ATTRIBUTES static float fma_##NAME(long n) { \
        VECTOR acc[CHAINS], x = SET(factors[0]), y = SET(factors[1]); \
        _Pragma("GCC unroll 16") for (int j = 0; j < CHAINS; j++) acc[j] = SET(factors[0] * (float)j); \
        for (long i = 0; i < n; i++) { \
            _Pragma("GCC unroll 8") for (int r = 0; r < LINKS; r++) { \
                _Pragma("GCC unroll 16") for (int j = 0; j < CHAINS; j++) acc[j] = ADD_PRODUCT(y, acc[j], x); \
            } \
            __asm__ volatile("" ::: "memory"); \
        } \
        _Pragma("GCC unroll 16") for (int j = 1; j < CHAINS; j++) acc[0] = JOIN(acc[0], acc[j]); \
        float out[sizeof(VECTOR) / sizeof(float)]; \
        memcpy(out, &acc[0], sizeof out); \
        return out[0]; \
    } \
    ATTRIBUTES static float read_##NAME(const float *p, size_t n_floats, long n, int by_pages) { \
        enum { LANES = sizeof(VECTOR) / sizeof(float) }; \
        const size_t end = n_floats / (8 * LANES) * (8 * LANES); \
        VECTOR acc[8]; \
        _Pragma("GCC unroll 8") for (int j = 0; j < 8; j++) acc[j] = SET(0.0f); \
        for (long i = 0; i < n; i++) { \
            for (size_t k = 0; k < end; k += 8 * LANES) { \
                if (by_pages) fetch_by_pages((const char *)p, k * sizeof(float), 8 * sizeof(VECTOR)); \
                _Pragma("GCC unroll 8") for (int j = 0; j < 8; j++) acc[j] = JOIN(acc[j], LOAD(p + k + j * LANES)); \
            } \
            __asm__ volatile("" ::: "memory"); \
        } \
        _Pragma("GCC unroll 8") for (int j = 1; j < 8; j++) acc[0] = JOIN(acc[0], acc[j]); \
        float out[LANES]; \
        memcpy(out, &acc[0], sizeof out); \
        return out[0]; \
    }

#include "plain.h"

typedef float v4 __attribute__((vector_size(16)));
typedef int i4 __attribute__((vector_size(16)));
typedef int i8 __attribute__((vector_size(32)));
typedef int i16 __attribute__((vector_size(64)));
#define V4_SET(x) ((v4){x, x, x, x})
#define V4_LOAD(p) (*(const v4 *)(p))
#define V4_STORE(p, x) (*(v4 *)(p) = (x))
#define V4_FMA(a, x, y) ((x) * (y) + (a))
#define V4_ADD(a, b) ((a) + (b))
LOOPS(baseline, , v4, V4_SET, V4_LOAD, V4_FMA, V4_ADD)
PRODUCTS(baseline, , CHAINS, v4, V4_SET, V4_LOAD, V4_STORE, V4_FMA)
EXPONENTIALS(baseline, , v4, i4, V4_SET, V4_LOAD, V4_STORE, V4_FMA)

#if defined(__x86_64__)
#include <immintrin.h>
#define FMA256(a, x, y) _mm256_fmadd_ps(x, y, a)
#define FMA512(a, x, y) _mm512_fmadd_ps(x, y, a)
#define AVX2_FMA __attribute__((target("avx2,fma")))
#define AVX512F __attribute__((target("avx512f")))
LOOPS(avx2, AVX2_FMA, __m256, _mm256_set1_ps, _mm256_load_ps, FMA256, _mm256_max_ps)
PRODUCTS(avx2, AVX2_FMA, 12, __m256, _mm256_set1_ps, _mm256_load_ps, _mm256_store_ps, FMA256)
EXPONENTIALS(avx2, AVX2_FMA, __m256, i8, _mm256_set1_ps, _mm256_load_ps, _mm256_store_ps, FMA256)
LOOPS(avx512, AVX512F, __m512, _mm512_set1_ps, _mm512_load_ps, FMA512, _mm512_max_ps)
PRODUCTS(avx512, AVX512F, 24, __m512, _mm512_set1_ps, _mm512_load_ps, _mm512_store_ps, FMA512)
EXPONENTIALS(avx512, AVX512F, __m512, i16, _mm512_set1_ps, _mm512_load_ps, _mm512_store_ps, FMA512)
#elif defined(__aarch64__)
#include <arm_neon.h>
LOOPS(neon, , float32x4_t, vdupq_n_f32, vld1q_f32, vfmaq_f32, vmaxq_f32)
PRODUCTS(neon, , 24, float32x4_t, vdupq_n_f32, vld1q_f32, vst1q_f32, vfmaq_f32)
EXPONENTIALS(neon, , float32x4_t, i4, vdupq_n_f32, vld1q_f32, vst1q_f32, vfmaq_f32)
#endif

enum { MULTIPLY_ADDS, READ, MULTIPLY, CHAIN, BY_FOUR }; /* tasks */

typedef struct {
    int isa, task;
    long n; /* times to do it */
    size_t bytes; /* of a buffer, if it needs one */
    long rows, terms;
    int vectors, fetch;
} work;

typedef struct {
    work w;
    int cpu, repeats, failed;
    double *seconds; /* [repeats] */
    pthread_barrier_t *together;
    float result;
} job;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

#define DO(NAME) \
    switch (w->task) { \
    case MULTIPLY_ADDS: return fma_##NAME(w->n); \
    case READ: return read_##NAME(p->w, w->bytes / sizeof(float), w->n, by_pages); \
    case MULTIPLY: return multiply_##NAME(p, w->n); \
    case CHAIN: return chain_##NAME(w->n); \
    default: return turns_##NAME(w->n); \
    }

static float once(const work *w, const product *p, int by_pages) {
    switch (w->isa) {
#if defined(__x86_64__)
    case AVX2: DO(avx2)
    case AVX512: DO(avx512)
#elif defined(__aarch64__)
    case NEON: DO(neon)
#endif
    default: DO(baseline)
    }
}

/* Numbers of about 0.001, in huge pages where they fill some; NULL if memory is refused. */
static float *numbers(size_t bytes) {
    const size_t page = (size_t)2 << 20;
    void *p = NULL;
    if (posix_memalign(&p, bytes < page ? 4096 : page, bytes)) return NULL;
    if (bytes >= page) madvise(p, bytes, MADV_HUGEPAGE);
    for (size_t i = 0; i < bytes / sizeof(float); i++) ((float *)p)[i] = 1e-3f + 1e-5f * (float)(i % 7);
    return p;
}

/* What a product needs beside its weights; whether there was memory for it. */
static int set_up(const work *w, product *p) {
    static const int lanes[] = {4, 8, 16, 4}; /* by isa */
    const size_t panel = sizeof(float) * (size_t)(w->terms * w->vectors * lanes[w->isa]);
    p->rows = w->rows, p->terms = w->terms, p->vectors = w->vectors, p->fetch = w->fetch;
    p->panels = (long)(w->bytes / panel);
    p->x = numbers(sizeof(float) * (size_t)(w->rows * w->terms));
    p->out = numbers(MOST_ROWS * MOST_VECTORS * 64);
    return p->x && p->out;
}

static void *run(void *argument) {
    job *j = argument;
    product p = {0};
    j->failed = pin(j->cpu) != 0;
    if (j->w.bytes) j->failed |= (p.w = numbers(j->w.bytes)) == NULL;
    if (j->w.task == MULTIPLY) j->failed |= !set_up(&j->w, &p);
    for (int r = -1; r < j->repeats; r++) { /* the first is a warm-up */
        pthread_barrier_wait(j->together);
        double start = now();
        if (!j->failed) j->result += once(&j->w, &p, j->w.bytes >= FROM_MEMORY && r % 2);
        if (r >= 0) j->seconds[r] = now() - start;
    }
    free((void *)p.x), free((void *)p.w), free(p.out);
    return NULL;
}

/* Seconds of the best repeat, or -1 where a thread, a pin or memory was refused. */
static double measure(work w, int repeats, int n_threads, const int *cpus) {
    pthread_barrier_t together;
    pthread_t *threads = calloc((size_t)n_threads, sizeof *threads);
    job *jobs = calloc((size_t)n_threads, sizeof *jobs);
    double *seconds = calloc((size_t)(n_threads * repeats), sizeof *seconds), best = -1;
    if (!threads || !jobs || !seconds || pthread_barrier_init(&together, NULL, (unsigned)n_threads)) abort();
    for (int k = 0; k < n_threads; k++) {
        jobs[k] = (job){.w = w, .cpu = cpus[k], .repeats = repeats, .seconds = seconds + k * repeats, .together = &together};
        if (pthread_create(&threads[k], NULL, run, &jobs[k])) abort(); /* the others would wait for it for ever */
    }
    int failed = 0;
    for (int k = 0; k < n_threads; k++) {
        pthread_join(threads[k], NULL);
        failed |= jobs[k].failed;
    }
    for (int r = 0; r < repeats && !failed; r++) {
        double slowest = 0;
        for (int k = 0; k < n_threads; k++) {
            if (jobs[k].seconds[r] > slowest) slowest = jobs[k].seconds[r];
        }
        if (best < 0 || slowest < best) best = slowest;
    }
    pthread_barrier_destroy(&together);
    free(threads), free(jobs), free(seconds);
    return best;
}

int bench_products(void) { return LINKS * CHAINS; }

/* n times bench_products() vector multiply-adds in each thread. */
double bench_fma(int isa, long n, int repeats, int n_threads, const int *cpus) {
    return measure((work){.isa = isa, .task = MULTIPLY_ADDS, .n = n}, repeats, n_threads, cpus);
}

/* n passes over a buffer of that many bytes, one buffer a thread. */
double bench_read(int isa, size_t bytes, long n, int repeats, int n_threads, const int *cpus) {
    return measure((work){.isa = isa, .task = READ, .n = n, .bytes = bytes}, repeats, n_threads, cpus);
}

/* n products of rows of so many terms and weights of that many bytes, whole panels of `vectors`, weights of its own in each thread. */
double bench_multiply(int isa, long rows, long terms, size_t bytes, int vectors, int fetch, long n, int repeats, int n_threads,
                      const int *cpus) {
    work w = {isa, MULTIPLY, n, bytes, rows, terms, vectors, fetch};
    return measure(w, repeats, n_threads, cpus);
}

/* n exponentials of a vector: each waiting for the one before, and for its division; or by fours, side by side. */
double bench_exponentials(int isa, int chain, long n, int repeats, int n_threads, const int *cpus) {
    work w = {.isa = isa, .task = chain ? CHAIN : BY_FOUR, .n = chain ? n : n / BY_TURNS};
    return measure(w, repeats, n_threads, cpus);
}

typedef struct {
    int cpu, mine, failed;
    long n;
    _Atomic long *line;
    double seconds;
} player;

static void *play(void *argument) {
    player *p = argument;
    p->failed = pin(p->cpu) != 0;
    double start = now();
    for (long i = 0; i < p->n; i++) {
        long want = 2 * i + p->mine; /* counts 0, 1, 2, …; a player adds one at its turns */
        while (atomic_load_explicit(p->line, memory_order_acquire) != want) {}
        atomic_store_explicit(p->line, want + 1, memory_order_release);
    }
    p->seconds = now() - start;
    return NULL;
}

/* Seconds of n round trips of a cache line between two processors, best of `repeats`. */
double bench_round_trip(int cpu_a, int cpu_b, long n, int repeats) {
    static struct {
        _Alignas(128) _Atomic long value;
        char rest[120];
    } line;
    double best = -1;
    for (int r = 0; r < repeats; r++) {
        atomic_store(&line.value, 0);
        player a = {cpu_a, 0, 0, n, &line.value, 0}, b = {cpu_b, 1, 0, n, &line.value, 0};
        pthread_t ta, tb;
        if (pthread_create(&ta, NULL, play, &a)) return -1;
        if (pthread_create(&tb, NULL, play, &b)) abort();
        pthread_join(ta, NULL);
        pthread_join(tb, NULL);
        if (a.failed || b.failed) return -1;
        /* The one that was there last did not wait for the other to start. */
        double seconds = a.seconds < b.seconds ? a.seconds : b.seconds;
        if (best < 0 || seconds < best) best = seconds;
    }
    return best;
}
