/* The operators of one instruction set, by name. Include after its simd header, once. */
#ifndef RT_OPS_TABLE_H
#define RT_OPS_TABLE_H
#include "vmath.h"

#include "op_copy.h"
#include "op_elementwise.h"
#include "op_integers.h"

#define RT_WORDS(type) ((int)(sizeof(type) / sizeof(int64_t)))

static const rt_op op_list[] = {
    {"copy", op_copy, RT_WORDS(rt_copy), 0},
    {"elementwise", op_elementwise, 0, 1},
    {"integers", op_integers, 0, 1},
};

static const rt_ops op_table = {RT_ISA, LANES, (int)(sizeof op_list / sizeof op_list[0]), op_list};
#endif
