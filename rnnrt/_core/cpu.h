/* What the processor can do, its L2 cache, and its floating-point state. Needs no flags of its own. */
#ifndef RT_CPU_H
#define RT_CPU_H
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <xmmintrin.h>
#endif

enum { RT_CACHE_LINE = 64 };

/* Whether this processor, and the system's saving of registers, allow the kernels of that name. */
static inline int rt_cpu_has(const char *isa) {
    if (!strcmp(isa, "baseline")) return 1;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!strcmp(isa, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (!strcmp(isa, "avx512"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
    if (!strcmp(isa, "avx512vnni")) return __builtin_cpu_supports("avx512vnni"); /* beside avx512: see bytes.h */
#elif defined(__aarch64__)
    if (!strcmp(isa, "neon")) return 1;
#endif
    return 0;
}

#ifndef _SC_LEVEL2_CACHE_SIZE /* a system without these names tells nothing */
#define _SC_LEVEL2_CACHE_SIZE -1
#define _SC_LEVEL3_CACHE_SIZE -1
#endif

/* Whether the processor brings what is read in order from the L3 cache in time by itself, so that asking for it mostly costs
 * instructions: AMD's do (README.md). */
static inline int rt_reads_ahead(void) {
#if defined(__x86_64__)
    return __builtin_cpu_is("amd");
#else
    return 0;
#endif
}

/* What the system tells of a cache, which may be nothing: 0 or -1. */
static inline long rt_told_bytes(int name) {
#if defined(__x86_64__)
    unsigned a, b, c, d;
    /* AMD's processors have an L3 cache for each few cores: theirs is in leaf 8000001D, and the system tells the sum. */
    if (name == _SC_LEVEL3_CACHE_SIZE && __builtin_cpu_is("amd") && __get_cpuid_count(0x8000001D, 3, &a, &b, &c, &d) && (a & 31))
        return (long)((b >> 22) + 1) * ((b >> 12 & 1023) + 1) * ((b & 4095) + 1) * (c + 1);
#endif
    return sysconf(name);
}

/* The same, asked once: `known` is 0 until then, and every thread that finds it so finds the same. */
static inline long rt_cache_bytes(long *known, int name, long least, long most, long otherwise) {
    long size = __atomic_load_n(known, __ATOMIC_RELAXED);
    if (size) return size;
    size = rt_told_bytes(name);
    if (size < least || size > most) size = otherwise;
    __atomic_store_n(known, size, __ATOMIC_RELAXED);
    return size;
}

/* Bytes of a core's own L2 cache, and of the L3 cache that cores share; 1 MiB and 64 MiB where the system does not tell. */
static inline long rt_l2_bytes(void) {
    static long known;
    return rt_cache_bytes(&known, _SC_LEVEL2_CACHE_SIZE, 128 << 10, 16 << 20, 1 << 20);
}

static inline long rt_l3_bytes(void) {
    static long known;
    return rt_cache_bytes(&known, _SC_LEVEL3_CACHE_SIZE, 1 << 20, 1 << 30, 64 << 20);
}

/* Bytes of weights of which the L2 cache still has enough, as every other step of a layer goes backwards. */
static inline long rt_turned_bytes(void) { return rt_l2_bytes() / 2 * 3; }

/* Weights of more bytes are asked for early: L2 has enough of fewer, or the processor reads ahead well enough by itself. */
static inline long rt_near_bytes(void) { return rt_reads_ahead() ? rt_l3_bytes() / 4 : rt_turned_bytes(); }

/* Bytes of weights, read once a step, that stay in the L2 cache beside all else. */
static inline long rt_cached_bytes(void) { return rt_l2_bytes() / 4 * 3; }

/* Flush denormals to zero, in results and operands, until rt_fp_leave gets back what rt_fp_enter returned. */
static inline uint64_t rt_fp_enter(void) {
#if defined(__x86_64__)
    uint32_t old = _mm_getcsr();
    _mm_setcsr(old | 0x8040u);
    return old;
#elif defined(__aarch64__)
    uint64_t old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"(old | (1ull << 24)));
    return old;
#else
    return 0;
#endif
}

static inline void rt_fp_leave(uint64_t old) {
#if defined(__x86_64__)
    /* The exception flags raised meanwhile are not the caller's. */
    _mm_setcsr((uint32_t)old);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(old));
#else
    (void)old;
#endif
}
#endif
