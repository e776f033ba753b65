/* Running an operator of the table by name over words that are a struct of its header; every part, the last one first. */
#ifndef RT_CHECK_OPERATORS_H
#define RT_CHECK_OPERATORS_H
#include SIMD
#include "ops_table.h"
#include "check.h"
#include "cpu.h"

static rt_ref at(const void *p) { return (rt_ref){0, (int64_t)(intptr_t)p}; }

static int tested[sizeof op_list / sizeof op_list[0]];

static int try_run(const char *name, const void *words, int n_parts) {
    char *values[1] = {NULL};
    int wrong = RT_OK;
    for (size_t k = 0; k < sizeof op_list / sizeof op_list[0]; k++) {
        if (strcmp(op_list[k].name, name)) continue;
        tested[k]++;
        if (!op_list[k].splits) n_parts = 1;
        for (int part = n_parts - 1; part >= 0; part--) wrong |= op_list[k].run(words, values, part, n_parts);
        return wrong;
    }
    check(0, name, 0, 0);
    return wrong;
}

static void run(const char *name, const void *words, int n_parts) {
    const int wrong = try_run(name, words, n_parts);
    check(wrong == RT_OK, label, wrong, RT_OK);
}

/* Whether what lies between the rows of an output is as it was. */
static void check_untouched(const void *p, size_t size) { check(all_bytes(p, size, 0xFF), label, NAN, 0xFF); }
#endif
