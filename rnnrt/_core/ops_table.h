/* The operators of one instruction set, by name. Include after its simd header, once. */
#ifndef RT_OPS_TABLE_H
#define RT_OPS_TABLE_H
#include "vmath.h"

#include "op_copy.h"
#include "op_move.h"
#include "op_resample.h"
#include "op_top_k.h"

#define RT_WORDS(type) ((int)(sizeof(type) / sizeof(int64_t)))

static const rt_op op_list[] = {
    {"copy", op_copy, 0, 0},
    {"gather", op_gather, RT_WORDS(rt_gather), 0},
    {"gather_nd", op_gather_nd, 0, 0},
    {"scatter_nd", op_scatter_nd, 0, 0},
    {"gather_elements", op_gather_elements, 0, 0},
    {"scatter_elements", op_scatter_elements, 0, 0},
    {"one_hot", op_one_hot, RT_WORDS(rt_one_hot), 0},
    {"reverse_sequence", op_reverse_sequence, RT_WORDS(rt_reverse), 0},
    {"trilu", op_trilu, RT_WORDS(rt_trilu), 0},
    {"resample", op_resample, RT_WORDS(rt_resample), 1},
    {"top_k", op_top_k, RT_WORDS(rt_top_k), 1},
};

static const rt_ops op_table = {RT_ISA, LANES, (int)(sizeof op_list / sizeof op_list[0]), op_list};
#endif
