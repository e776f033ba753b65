/* How an element-wise step walks its operands: blocks of elements, in the order of the result, whose memory is contiguous.
 *
 * A step is a program of small operations over *slots*: slot 0 is the result, slots 1..EW_OPERANDS are the operands, the rest
 * registers of EW_BYTES that stay in the first-level cache. All of a block goes through the program before the next, so a chain
 * of nodes passes over memory once. The axes (merged when the step is bound) are `n_axes` outer ones and an inner run of `n`
 * elements in rows of `run`. For a block an operand is
 *   EW_DIRECT   its own memory, where it lies like the result
 *   EW_SCALAR   one element, spread over a vector (float32), which its readers do not step over
 *   EW_EXPANDED copied into a register, with any strides and from any type
 * A register is filled again only when it would come from another address.
 *
 * Words: rt_elementwise; the sizes of the outer axes; for each operand an ew_operand and its n_axes outer strides; for each
 * operation two words, code | y << 8 | a << 16 | b << 24 | c << 32 | scalar << 40 (slots; bit k of scalar: operand k is
 * EW_SCALAR) and two floats.
 */
#ifndef RT_ELEMENT_BLOCKS_H
#define RT_ELEMENT_BLOCKS_H
#include <string.h>

#include "ops.h"

enum { EW_OPERANDS = 8, EW_REGISTERS = 17, EW_BYTES = 4096, EW_AXES = 8 };
enum { EW_DIRECT, EW_SCALAR, EW_EXPANDED };
enum { EW_F32, EW_BOOL, EW_I32, EW_I64, EW_F64, EW_U8, EW_I8 };

typedef struct {
    rt_ref y;
    int64_t type, n_axes, n_operands, n_ops, n_registers; /* registers besides those of operands */
    int64_t n, block, run;  /* elements: of an inner run, of a block (whole rows, or part of the only one), of a row */
    int64_t n_blocks, units; /* blocks of an inner run, and of everything */
} rt_elementwise;

typedef struct {
    rt_ref x;
    int64_t kind, type;
    int64_t row, step, advance; /* bytes from a row, an element, a block to the next */
} ew_operand;

typedef struct {
    int code, y, a, b, c;
    int64_t sa, sb, sc; /* 0 for a scalar operand, else 1 */
    float alpha, beta;
} ew_op;

static inline ew_op ew_decode(const int64_t *words) {
    const uint64_t w = (uint64_t)words[0];
    ew_op op = {w & 255, w >> 8 & 255, w >> 16 & 255, w >> 24 & 255, w >> 32 & 255, !(w >> 40 & 1), !(w >> 41 & 1), !(w >> 42 & 1),
                0, 0};
    memcpy(&op.alpha, words + 1, 4);
    memcpy(&op.beta, (const char *)(words + 1) + 4, 4);
    return op;
}

/* Elements of one type to another, `rows` rows of `run`, into contiguous memory. */
#define EW_CONVERT(from, to, conversion) \
    for (int64_t r = 0; r < n; r += run, p += row) { \
        to *q = (to *)y + r; \
        if (step == (int64_t)sizeof(from)) \
            for (int64_t i = 0; i < run; i++) q[i] = (to)conversion(((const from *)p)[i]); \
        else \
            for (int64_t i = 0; i < run; i++) q[i] = (to)conversion(*(const from *)(p + i * step)); \
    } \
    return

typedef void (*ew_fill)(const ew_operand *x, const char *p, char *y, int64_t n, int64_t run);
typedef int (*ew_compute)(const int64_t *ops, int64_t n_ops, char *const *slot, int64_t n);
typedef void (*ew_narrow)(int type, const char *x, char *y, int64_t n);

static const int ew_size[] = {4, 1, 4, 8, 8, 1, 1};

/* Runs a program whose registers are of type `native`; the three functions are known when this is compiled. */
static inline __attribute__((always_inline)) int ew_run(const int64_t *words, char *const *values, int part, int n_parts, int native,
                                                        ew_fill fill, ew_compute compute, ew_narrow narrow) {
    _Alignas(64) char registers[EW_REGISTERS][EW_BYTES];
    char *slot[1 + EW_OPERANDS + EW_REGISTERS];
    const char *at[EW_OPERANDS], *filled[EW_OPERANDS];
    int64_t n_filled[EW_OPERANDS], index[EW_AXES], b = 0;
    const rt_elementwise *s = (const rt_elementwise *)words;
    const int64_t *sizes = (const int64_t *)(s + 1), *operands = sizes + s->n_axes;
    const int64_t n_words = sizeof(ew_operand) / sizeof(int64_t) + s->n_axes;
    const int64_t *ops = operands + s->n_operands * n_words;
    const int n_operands = (int)s->n_operands, size = ew_size[s->type];
    const int64_t first = n_parts == 1 ? 0 : s->units * part / n_parts;
    const int64_t last = n_parts == 1 ? s->units : s->units * (part + 1) / n_parts;
    char *y = RT_AT(char, values, s->y);

    for (int k = 0; k < n_operands; k++) {
        const ew_operand *x = (const ew_operand *)(operands + k * n_words);
        at[k] = RT_AT(const char, values, x->x);
        slot[1 + k] = registers[k];
        filled[k] = NULL;
    }
    for (int k = 0; k < s->n_registers; k++) slot[1 + EW_OPERANDS + k] = registers[EW_OPERANDS + k];
    for (int64_t axis = 0; axis < s->n_axes; axis++) index[axis] = 0;
    if (first > 0) {
        int64_t outer = first / s->n_blocks;
        b = first % s->n_blocks;
        y += (outer * s->n + b * s->block) * size;
        for (int64_t axis = s->n_axes - 1; axis >= 0; axis--) {
            index[axis] = outer % sizes[axis];
            outer /= sizes[axis];
        }
        for (int k = 0; k < n_operands; k++) {
            const ew_operand *x = (const ew_operand *)(operands + k * n_words);
            const int64_t *strides = (const int64_t *)(x + 1);
            at[k] += b * x->advance;
            for (int64_t axis = 0; axis < s->n_axes; axis++) at[k] += index[axis] * strides[axis];
        }
    }
    for (int64_t u = first; u < last; u++) {
        const int64_t left = s->n - b * s->block, n = left < s->block ? left : s->block;
        for (int k = 0; k < n_operands; k++) {
            const ew_operand *x = (const ew_operand *)(operands + k * n_words);
            if (x->kind == EW_DIRECT) {
                slot[1 + k] = (char *)at[k];
            } else if (filled[k] != at[k] || n_filled[k] < n) {
                fill(x, at[k], slot[1 + k], n, n < s->run ? n : s->run);
                filled[k] = at[k];
                n_filled[k] = x->kind == EW_SCALAR ? INT64_MAX : n;
            }
        }
        slot[0] = s->type == native ? y : registers[EW_REGISTERS - 1];
        const int wrong = compute(ops, s->n_ops, slot, n);
        if (wrong != RT_OK) return wrong;
        if (s->type != native) narrow((int)s->type, slot[0], y, n);
        if (u + 1 == last) break;
        y += n * size;
        const int wraps = ++b == s->n_blocks;
        if (wraps) b = 0;
        for (int k = 0; k < n_operands; k++) {
            const ew_operand *x = (const ew_operand *)(operands + k * n_words);
            at[k] += wraps ? -(s->n_blocks - 1) * x->advance : x->advance;
        }
        for (int64_t axis = s->n_axes - 1; wraps && axis >= 0; axis--) {
            const int carries = ++index[axis] == sizes[axis];
            if (carries) index[axis] = 0;
            for (int k = 0; k < n_operands; k++) {
                const ew_operand *x = (const ew_operand *)(operands + k * n_words);
                const int64_t stride = ((const int64_t *)(x + 1))[axis];
                at[k] += carries ? -(sizes[axis] - 1) * stride : stride;
            }
            if (!carries) break;
        }
    }
    return RT_OK;
}
#endif
