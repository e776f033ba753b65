/* The operators of one instruction set, by name. Include after its simd header, once. */
#ifndef RT_OPS_TABLE_H
#define RT_OPS_TABLE_H
#include "vmath.h"

#include "op_copy.h"
#include "op_conv_channels.h"
#include "op_conv_pad.h"
#include "op_conv_planes.h"
#include "op_conv_positions.h"
#include "op_pool.h"

#define RT_WORDS(type) ((int)(sizeof(type) / sizeof(int64_t)))

static const rt_op op_list[] = {
    {"copy", op_copy, RT_WORDS(rt_copy), 0},
    {"conv_positions", op_conv_positions, 0, 1},
    {"conv_channels", op_conv_channels, 0, 1},
    {"conv_planes", op_conv_planes, 0, 1},
    {"conv_pad", op_conv_pad, 0, 1},
    {"pool", op_pool, RT_WORDS(rt_pool_step), 1},
    {"pool_all", op_pool_all, RT_WORDS(rt_pool_all), 1},
};

static const rt_ops op_table = {RT_ISA, LANES, (int)(sizeof op_list / sizeof op_list[0]), op_list};
#endif
