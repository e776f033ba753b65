/* Stores past the caches, where a simd header says RT_STREAMS 1 and has v_stream: LANES reals, which are a cache line, to the start of one.
 * Include after vmath.h.
 *
 * A line that is stored into has to come from memory first, and the stores after it wait for that. One that is stored whole and past the
 * caches need not come, but has to be read from memory again: for arrays that no cache would hold till then.
 */
#ifndef RT_STREAM_H
#define RT_STREAM_H
#include <stddef.h>

#ifndef RT_STREAMS
#define RT_STREAMS 0
static inline void v_stream(real *p, vf x) { v_store(p, x); }
#endif

/* Let other threads see what has been streamed before what is stored from now on. */
static inline void v_streamed(void) {
#if RT_STREAMS
    _mm_sfence();
#endif
}

/* Rows of n reals, at least LANES, `ld` reals apart, go side by side from `to` on, their whole lines past the caches. Not inline: a call of
 * one step, which has no use for it, took a tenth longer round it. */
static __attribute__((noinline)) void v_stream_rows(real *to, const real *from, ptrdiff_t ld, ptrdiff_t n, ptrdiff_t n_rows) {
    real line[2 * LANES];
    ptrdiff_t held = 0; /* reals of the line at `to`, which the next row fills */
    ptrdiff_t first = -((ptrdiff_t)to / (ptrdiff_t)sizeof(real)) & (LANES - 1);
    for (; n_rows > 0; n_rows--, from += ld) {
        const real *f = from, *end = from + n;
        if (first) {
            v_store_n(to, v_load_n(f, (int)first), (int)first);
            to += first, f += first, first = 0;
        } else if (held) {
            v_store(line + held, v_load(f));
            v_stream(to, v_load(line));
            to += LANES, f += LANES - held;
        }
        for (; end - f >= LANES; to += LANES, f += LANES) v_stream(to, v_load(f));
        held = end - f;
        if (held) v_store(line, v_load_n(f, (int)held));
    }
    if (held) v_store_n(to, v_load(line), (int)held);
}
#endif
