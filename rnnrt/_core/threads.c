/* The pool of threads.h. A worker is a mailbox: who holds it posts a task, and it answers by clearing the post. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* processors of a thread */
#endif
#include "threads.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>

#include "cpu.h"

enum { MAX_WORKERS = 63, SPINS = 1 << 12 };

typedef struct {
    pthread_mutex_t mutex; /* guards sleeping */
    pthread_cond_t called;
    int sleeping;
    int taken;             /* guarded by the pool's mutex */
    int member;
    pthread_t thread;
    int caller, others;    /* where its last caller ran, or -1, and on how many other processors that might have */
    int apart;             /* whether it is kept off that one */
    rt_task task;          /* posted last, with release; NULL when done */
    void *arg;
} worker;

static struct {
    pthread_mutex_t mutex;
    int n_workers;
    worker *workers[MAX_WORKERS];
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static pthread_once_t fork_handled = PTHREAD_ONCE_INIT;

static void *work(void *self) {
    worker *w = self;
    rt_fp_enter();
    for (;;) {
        rt_task task = NULL;
        for (int k = 0; k < SPINS && !(task = __atomic_load_n(&w->task, __ATOMIC_ACQUIRE)); k++) rt_pause();
        if (!task) {
            pthread_mutex_lock(&w->mutex);
            __atomic_store_n(&w->sleeping, 1, __ATOMIC_SEQ_CST);
            while (!(task = __atomic_load_n(&w->task, __ATOMIC_SEQ_CST))) pthread_cond_wait(&w->called, &w->mutex);
            __atomic_store_n(&w->sleeping, 0, __ATOMIC_RELAXED);
            pthread_mutex_unlock(&w->mutex);
        }
        task(w->arg, w->member);
        __atomic_store_n(&w->task, NULL, __ATOMIC_RELEASE);
    }
    return NULL;
}

/* Let a worker run where the caller may, but not where it does: its processor is busy until the task is done, and a system
 * may leave two threads there for tens of milliseconds, whatever else is idle. Of more workers than other processors none is
 * kept off, as they would crowd on those. */
static void keep_apart(worker *w, int n_workers) {
#if defined(__linux__)
    cpu_set_t allowed;
    const int here = sched_getcpu();
    if (here < 0 || here >= CPU_SETSIZE || (here == w->caller && (n_workers <= w->others) == w->apart)) return;
    w->caller = here;
    w->others = w->apart = 0;
    if (sched_getaffinity(0, sizeof allowed, &allowed)) return;
    CPU_CLR(here, &allowed);
    w->others = CPU_COUNT(&allowed);
    if (!w->others) return;
    w->apart = n_workers <= w->others;
    if (!w->apart) CPU_SET(here, &allowed);
    pthread_setaffinity_np(w->thread, sizeof allowed, &allowed);
#else
    (void)w, (void)n_workers;
#endif
}

static void call(worker *w, rt_task task, void *arg, int member) {
    w->arg = arg;
    w->member = member;
    __atomic_store_n(&w->task, task, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&w->sleeping, __ATOMIC_SEQ_CST)) {
        pthread_mutex_lock(&w->mutex);
        pthread_cond_signal(&w->called);
        pthread_mutex_unlock(&w->mutex);
    }
}

/* The child has none of the parent's threads; their mailboxes are given up. */
static void forget_workers(void) {
    pthread_mutex_init(&pool.mutex, NULL);
    pool.n_workers = 0;
}

static void handle_fork(void) { pthread_atfork(NULL, NULL, forget_workers); }

static worker *hire(void) {
    pthread_attr_t attr;
    worker *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    w->caller = -1;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->called, NULL);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    /* Signals are for the threads that the caller knows. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&w->thread, &attr, work, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (failed) {
        free(w);
        return NULL;
    }
    return w;
}

int rt_team_acquire(int wanted, int *members) {
    int n = 1;
    pthread_once(&fork_handled, handle_fork);
    pthread_mutex_lock(&pool.mutex);
    for (int k = 0; k < MAX_WORKERS && n < wanted; k++) {
        if (k == pool.n_workers) {
            worker *w = hire();
            if (!w) break;
            pool.workers[pool.n_workers++] = w;
        }
        if (!pool.workers[k]->taken) {
            pool.workers[k]->taken = 1;
            members[n++] = k;
        }
    }
    pthread_mutex_unlock(&pool.mutex);
    return n;
}

void rt_team_run(const int *members, int n_members, rt_task task, void *arg) {
    for (int k = 1; k < n_members; k++) {
        keep_apart(pool.workers[members[k]], n_members - 1);
        call(pool.workers[members[k]], task, arg, k);
    }
    task(arg, 0);
    for (int k = 1; k < n_members; k++) {
        worker *w = pool.workers[members[k]];
        for (int spins = 0; __atomic_load_n(&w->task, __ATOMIC_ACQUIRE); spins++) {
            if (spins < SPINS)
                rt_pause();
            else
                sched_yield();
        }
    }
    if (n_members == 1) return;
    pthread_mutex_lock(&pool.mutex);
    for (int k = 1; k < n_members; k++) pool.workers[members[k]]->taken = 0;
    pthread_mutex_unlock(&pool.mutex);
}
