/* The operators of one instruction set, by name. Include after its simd header, once. */
#ifndef RT_OPS_TABLE_H
#define RT_OPS_TABLE_H
#include "vmath.h"

#include "op_copy.h"
#include "op_gemm.h"
#include "op_norm.h"
#include "op_reduce.h"
#include "op_scan.h"
#include "op_elementwise.h"
#include "op_integers.h"
#include "op_limits.h"
#include "op_conv_channels.h"
#include "op_conv_pad.h"
#include "op_conv_planes.h"
#include "op_conv_positions.h"
#include "op_conv_winograd.h"
#include "op_pool.h"
#include "op_move.h"
#include "op_resample.h"
#include "op_top_k.h"

#define RT_WORDS(type) ((int)(sizeof(type) / sizeof(int64_t)))

static const rt_op op_list[] = {
    {"limit_fma", op_limit_fma, RT_WORDS(rt_limit), 0},
    {"limit_read", op_limit_read, RT_WORDS(rt_limit), 0},
    {"gemm", op_gemm, RT_WORDS(rt_gemm), 1},
    {"reduce", op_reduce, RT_WORDS(rt_reduce), 1},
    {"extremes", op_extremes, RT_WORDS(rt_extremes), 0},
    {"reduce_int", op_reduce_int, RT_WORDS(rt_scan), 1},
    {"cumulate", op_cumulate, RT_WORDS(rt_scan), 1},
    {"arg", op_arg, RT_WORDS(rt_scan), 1},
    {"norm", op_norm, RT_WORDS(rt_norm), 1},
    {"affine", op_affine, RT_WORDS(rt_affine), 1},
    {"softmax", op_softmax, RT_WORDS(rt_along), 1},
    {"lp", op_lp, RT_WORDS(rt_along), 1},
    {"elementwise", op_elementwise, 0, 1},
    {"integers", op_integers, 0, 1},
    {"conv_positions", op_conv_positions, 0, 1},
    {"conv_channels", op_conv_channels, 0, 1},
    {"conv_winograd", op_conv_winograd, RT_WORDS(rt_winograd), 1},
    {"conv_planes", op_conv_planes, 0, 1},
    {"conv_pad", op_conv_pad, 0, 1},
    {"pool", op_pool, RT_WORDS(rt_pool_step), 1},
    {"pool_all", op_pool_all, RT_WORDS(rt_pool_all), 1},
    {"copy", op_copy, 0, 0},
    {"zip", op_zip, RT_WORDS(rt_zip), 0},
    {"gather", op_gather, RT_WORDS(rt_gather), 0},
    {"gather_nd", op_gather_nd, 0, 0},
    {"scatter_nd", op_scatter_nd, 0, 0},
    {"gather_elements", op_gather_elements, 0, 0},
    {"scatter_elements", op_scatter_elements, 0, 0},
    {"one_hot", op_one_hot, RT_WORDS(rt_one_hot), 0},
    {"reverse_sequence", op_reverse_sequence, RT_WORDS(rt_reverse), 0},
    {"trilu", op_trilu, RT_WORDS(rt_trilu), 0},
    {"resample", op_resample, RT_WORDS(rt_resample), 1},
    {"top_k_float32", op_top_k_float32, RT_WORDS(rt_top_k), 1},
    {"top_k_float64", op_top_k_float64, RT_WORDS(rt_top_k), 1},
    {"top_k_int32", op_top_k_int32, RT_WORDS(rt_top_k), 1},
    {"top_k_int64", op_top_k_int64, RT_WORDS(rt_top_k), 1},
};

static const rt_ops op_table = {RT_ISA, LANES, (int)(sizeof op_list / sizeof op_list[0]), op_list};
#endif
