/* A small pool of threads, and the barrier that those who share a layer cross once a step.
 *
 * No thread exists until rt_team_acquire asks for one. A worker that has nothing to do spins for some microseconds, then
 * sleeps until it is called. All models share the pool: who finds its workers taken gets fewer, down to the caller alone.
 * A forked child starts with an empty pool.
 */
#ifndef RT_THREADS_H
#define RT_THREADS_H
#include <sched.h>
#include <stddef.h>

#include "cpu.h"

enum { RT_MEMBERS = 64 };

/* Each member writes a line of its own, and reads those of the others: a line that all of them wrote would go back and forth twice. */
typedef struct {
    int n_members;
    struct {
        char apart[RT_CACHE_LINE - sizeof(unsigned)];
        unsigned round; /* how often this member has come */
    } members[RT_MEMBERS];
    char apart[RT_CACHE_LINE - sizeof(int)];
} rt_barrier;

typedef void (*rt_task)(void *arg, int member);

/* A team of at most `wanted` threads, the caller included: returns how many; gives them back after rt_team_run. */
int rt_team_acquire(int wanted, int *members);

/* Run task(arg, k) for each k < n_members, k = 0 on the caller; returns when all are done, and releases the team. */
void rt_team_run(const int *members, int n_members, rt_task task, void *arg);

/* The two, as one module hands them to another. */
typedef struct {
    int (*acquire)(int wanted, int *members);
    void (*run)(const int *members, int n_members, rt_task task, void *arg);
} rt_pool;

static inline void rt_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Ask for n bytes that another thread has written, all lines at once instead of one after the other. */
static inline void rt_fetch(const void *p, ptrdiff_t n) {
    for (ptrdiff_t at = 0; at < n; at += RT_CACHE_LINE) __builtin_prefetch((const char *)p + at);
}

/* Take n bytes that this thread is about to write away from others, which have read them: a store would have to wait for that. */
static inline void rt_claim(void *p, ptrdiff_t n) {
    for (ptrdiff_t at = 0; at < n; at += RT_CACHE_LINE) {
#if defined(__x86_64__)
        __asm__ volatile("prefetchw %0" ::"m"(((char *)p)[at])); /* which compilers have only where the processor is said to */
#else
        __builtin_prefetch((char *)p + at, 1);
#endif
    }
}

static inline void rt_barrier_set(rt_barrier *b, int n_members) {
    b->n_members = n_members;
    for (int k = 0; k < n_members; k++) b->members[k].round = 0;
}

/* Wait until all members have come here, `member` being the caller; what each wrote before is seen by all after. */
static inline void rt_barrier_wait(rt_barrier *b, int member) {
    enum { EAGER = 64, SPINS = 2048 }; /* a pause takes up to 140 cycles: the first looks go without */
    const unsigned round = b->members[member].round + 1;
    __atomic_store_n(&b->members[member].round, round, __ATOMIC_RELEASE);
    for (int k = 0, spins = 0; k < b->n_members;) {
        if ((int)(__atomic_load_n(&b->members[k].round, __ATOMIC_ACQUIRE) - round) >= 0) {
            k++;
            continue;
        }
        spins++;
        if (spins >= EAGER && spins < SPINS)
            rt_pause();
        else if (spins >= SPINS)
            sched_yield(); /* more threads than processors: let the late one run */
    }
}
#endif
