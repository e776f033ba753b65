/* What the executor and the operators of an instruction set share.
 *
 * A bound step is a function and an array of 8-byte words: integers, doubles and references to memory. An operator lays a
 * struct of int64_t, double and rt_ref over its words; `n_words` says how many there are, or 0 where that varies.
 */
#ifndef RT_OPS_H
#define RT_OPS_H
#include <stdint.h>

/* A place in memory: `offset` bytes past the address values[base]; values[0] is NULL, so that base 0 is an address. */
typedef struct {
    int64_t base, offset;
} rt_ref;

#define RT_AT(type, values, ref) ((type *)((uintptr_t)(values)[(ref).base] + (uintptr_t)(ref).offset))

static inline char *rt_at(char *const *values, rt_ref ref) { return RT_AT(char, values, ref); }

enum { RT_OK, RT_BAD_INDEX, RT_BAD_LENGTH, RT_BAD_DIVISOR }; /* program.pyx has the sentences for them */

/* Runs part `part` of `n_parts` of a step (0 of 1 for the whole); returns RT_OK or what is wrong with the values. A step that
 * shares itself out is called for the whole, and may use up to `n_parts` threads. */
typedef int (*rt_op_run)(const int64_t *words, char *const *values, int part, int n_parts);

typedef struct {
    const char *name;
    rt_op_run run;
    int n_words;
    int splits; /* whether several threads may each run a part */
} rt_op;

typedef struct {
    const char *isa;
    int lanes, n_ops;
    const rt_op *ops;
} rt_ops;
#endif
