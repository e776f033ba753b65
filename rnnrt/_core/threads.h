/* A small pool of threads, and the barrier that those who share a layer cross once a step.
 *
 * No thread exists until rt_team_acquire asks for one. A worker that has nothing to do spins for some microseconds, then
 * sleeps until it is called. All models share the pool: who finds its workers taken gets fewer, down to the caller alone.
 * A forked child starts with an empty pool.
 */
#ifndef RT_THREADS_H
#define RT_THREADS_H
#include <sched.h>

typedef struct {
    int n_members;
    int waiting;    /* members that have arrived in this round */
    int round;
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

/* Wait until all members have come here; what each wrote before is seen by all after. */
static inline void rt_barrier_wait(rt_barrier *b) {
    enum { SPINS = 4096 };
    int round = __atomic_load_n(&b->round, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&b->waiting, 1, __ATOMIC_ACQ_REL) == b->n_members) {
        __atomic_store_n(&b->waiting, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&b->round, round + 1, __ATOMIC_RELEASE);
        return;
    }
    for (int spins = 0; __atomic_load_n(&b->round, __ATOMIC_ACQUIRE) == round; spins++) {
        if (spins < SPINS)
            rt_pause();
        else
            sched_yield(); /* more threads than processors: let the late one run */
    }
}
#endif
