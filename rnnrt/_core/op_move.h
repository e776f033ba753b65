/* Moves to and from places that a tensor of indices names. Indices are of 4 or 8 bytes; negative ones count from the end.
 *
 *   gather            y[o, i, :] = x[o, index[i], :]                     runs of `run` bytes
 *   gather_nd         y[b, i, :] = x[b, index[b, i, 0], ..., :]          and scatter_nd the other way
 *   gather_elements   y[i, j, ...] = x[index[i, j, ...], j, ...]         and scatter_elements the other way
 *   one_hot           y[o, index[o, i], i] = value
 *   reverse_sequence  y[t, b, :] = x[length[b] - 1 - t, b, :] for t < length[b], x[t, b, :] past it
 *   trilu             x above or below a diagonal, zero elsewhere
 *
 * What is scattered may be combined with what is there by `reduce`, for float32. Outputs are contiguous.
 */
#ifndef RT_OP_MOVE_H
#define RT_OP_MOVE_H
#include "op_copy.h"

enum { SCATTER_SET, SCATTER_ADD, SCATTER_MUL, SCATTER_MAX, SCATTER_MIN };

static inline int64_t index_at(const char *index, int64_t i, int64_t wide) {
    if (wide) return ((const int64_t *)index)[i];
    return ((const int32_t *)index)[i];
}

/* The index counted from the front; -1 if there is no such element of n. */
static inline int64_t index_in(int64_t i, int64_t n) {
    i += i < 0 ? n : 0;
    return (uint64_t)i < (uint64_t)n ? i : -1;
}

/* NaN wins on either side, as in NumPy. */
static inline float combine(float a, float b, int64_t how) {
    switch (how) {
    case SCATTER_ADD: return a + b;
    case SCATTER_MUL: return a * b;
    case SCATTER_MAX: return a >= b || a != a ? a : b;
    case SCATTER_MIN: return a <= b || a != a ? a : b;
    default: return b;
    }
}

static inline void scatter_run(char *y, const char *x, int64_t n, int64_t how) {
    if (how == SCATTER_SET) {
        copy_run(y, x, n);
        return;
    }
    for (int64_t i = 0; i < n; i += sizeof(float)) {
        float a, b;
        memcpy(&a, y + i, sizeof a);
        memcpy(&b, x + i, sizeof b);
        a = combine(a, b, how);
        memcpy(y + i, &a, sizeof a);
    }
}

typedef struct {
    rt_ref x, index, y;
    int64_t wide, outer, n_index, n, x_outer, x_axis, run; /* n elements along the axis; strides in bytes */
} rt_gather;

#define GATHER_ROW(bytes) \
    for (int64_t i = 0; i < count; i++, y += bytes) { \
        const int64_t at = index_in(index_at(index, i, wide), n); \
        if (at < 0) return RT_BAD_INDEX; \
        memcpy(y, x + at * stride, bytes); \
    } \
    break

static int op_gather(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_gather *s = (const rt_gather *)words;
    const char *x = RT_AT(const char, values, s->x), *index = RT_AT(const char, values, s->index);
    char *y = RT_AT(char, values, s->y);
    const int64_t wide = s->wide, outer = s->outer, count = s->n_index, n = s->n, stride = s->x_axis, run = s->run;
    const int64_t x_outer = s->x_outer;
    (void)part, (void)n_parts;
    for (int64_t o = 0; o < outer; o++, x += x_outer) switch (run) {
        case 1: GATHER_ROW(1);
        case 4: GATHER_ROW(4);
        case 8: GATHER_ROW(8);
        default:
            for (int64_t i = 0; i < count; i++, y += run) {
                const int64_t at = index_in(index_at(index, i, wide), n);
                if (at < 0) return RT_BAD_INDEX;
                copy_run(y, x + at * stride, run);
            }
        }
    return RT_OK;
}

typedef struct {
    rt_ref all, index, some; /* the tensor that indices point into, and the other one */
    int64_t wide, reduce, batch, n_index, run, n_axes, batch_stride;
    struct {
        int64_t size, stride;
    } axis[];
} rt_tuples;

/* Offset of the place that a tuple of indices names; -1 if it lies outside. */
static inline int64_t tuple_at(const rt_tuples *s, const char *index, int64_t i) {
    int64_t offset = 0;
    for (int64_t k = 0; k < s->n_axes; k++) {
        const int64_t at = index_in(index_at(index, i * s->n_axes + k, s->wide), s->axis[k].size);
        if (at < 0) return -1;
        offset += at * s->axis[k].stride;
    }
    return offset;
}

static int op_gather_nd(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_tuples *s = (const rt_tuples *)words;
    const char *x = RT_AT(const char, values, s->all), *index = RT_AT(const char, values, s->index);
    char *y = RT_AT(char, values, s->some);
    (void)part, (void)n_parts;
    for (int64_t b = 0; b < s->batch; b++, x += s->batch_stride)
        for (int64_t i = 0; i < s->n_index; i++, y += s->run) {
            const int64_t at = tuple_at(s, index, b * s->n_index + i);
            if (at < 0) return RT_BAD_INDEX;
            copy_run(y, x + at, s->run);
        }
    return RT_OK;
}

static int op_scatter_nd(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_tuples *s = (const rt_tuples *)words;
    char *y = RT_AT(char, values, s->all);
    const char *index = RT_AT(const char, values, s->index), *x = RT_AT(const char, values, s->some);
    (void)part, (void)n_parts;
    for (int64_t i = 0; i < s->n_index; i++, x += s->run) {
        const int64_t at = tuple_at(s, index, i);
        if (at < 0) return RT_BAD_INDEX;
        scatter_run(y + at, x, s->run, s->reduce);
    }
    return RT_OK;
}

typedef struct {
    rt_ref all, index, some;
    int64_t wide, reduce, element, n, stride, n_axes; /* n elements `stride` bytes apart along the indexed axis */
    struct {
        int64_t size, stride; /* of `all`; the stride of the indexed axis is 0 here */
    } axis[];
} rt_elements;

static inline int run_elements(const rt_elements *s, char *all, const char *index, char *some, int scatter) {
    const int last = (int)s->n_axes - 1;
    const int64_t row = s->axis[last].size, stride = s->axis[last].stride, element = s->element;
    int64_t at[RT_COPY_AXES];
    for (int k = 0; k < last; k++) at[k] = 0;
    for (int64_t done = 0;; done += row) {
        for (int64_t i = 0; i < row; i++, some += element) {
            const int64_t j = index_in(index_at(index, done + i, s->wide), s->n);
            if (j < 0) return RT_BAD_INDEX;
            if (scatter)
                scatter_run(all + i * stride + j * s->stride, some, element, s->reduce);
            else
                copy_run(some, all + i * stride + j * s->stride, element);
        }
        int k = last - 1;
        for (; k >= 0; k--) {
            all += s->axis[k].stride;
            if (++at[k] < s->axis[k].size) break;
            all -= s->axis[k].stride * s->axis[k].size;
            at[k] = 0;
        }
        if (k < 0) return RT_OK;
    }
}

static int op_gather_elements(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_elements *s = (const rt_elements *)words;
    (void)part, (void)n_parts;
    return run_elements(s, RT_AT(char, values, s->all), RT_AT(const char, values, s->index), RT_AT(char, values, s->some), 0);
}

static int op_scatter_elements(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_elements *s = (const rt_elements *)words;
    (void)part, (void)n_parts;
    return run_elements(s, RT_AT(char, values, s->all), RT_AT(const char, values, s->index), RT_AT(char, values, s->some), 1);
}

typedef struct {
    rt_ref index, value, y;
    int64_t wide, element, outer, inner, depth;
} rt_one_hot;

/* Indices outside name no class. */
static int op_one_hot(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_one_hot *s = (const rt_one_hot *)words;
    const char *index = RT_AT(const char, values, s->index), *value = RT_AT(const char, values, s->value);
    char *y = RT_AT(char, values, s->y);
    (void)part, (void)n_parts;
    for (int64_t o = 0; o < s->outer; o++)
        for (int64_t i = 0; i < s->inner; i++) {
            const int64_t at = index_in(index_at(index, o * s->inner + i, s->wide), s->depth);
            if (at >= 0) copy_run(y + ((o * s->depth + at) * s->inner + i) * s->element, value, s->element);
        }
    return RT_OK;
}

typedef struct {
    rt_ref x, length, y;
    int64_t wide, steps, batch, step_stride, batch_stride, run; /* strides in bytes, of x and y alike */
} rt_reverse;

static int op_reverse_sequence(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_reverse *s = (const rt_reverse *)words;
    const char *x = RT_AT(const char, values, s->x), *length = RT_AT(const char, values, s->length);
    char *y = RT_AT(char, values, s->y);
    (void)part, (void)n_parts;
    for (int64_t b = 0; b < s->batch; b++) {
        const int64_t n = index_at(length, b, s->wide);
        if (n < 0 || n > s->steps) return RT_BAD_LENGTH;
        for (int64_t t = 0; t < s->steps; t++) {
            const int64_t from = t < n ? n - 1 - t : t;
            copy_run(y + b * s->batch_stride + t * s->step_stride, x + b * s->batch_stride + from * s->step_stride, s->run);
        }
    }
    return RT_OK;
}

typedef struct {
    rt_ref x, y;
    int64_t element, outer, rows, columns, shift, upper; /* x and y contiguous; shift within [-rows - 1, columns + 1] */
} rt_trilu;

static int op_trilu(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_trilu *s = (const rt_trilu *)words;
    const char *x = RT_AT(const char, values, s->x);
    char *y = RT_AT(char, values, s->y);
    const int64_t row = s->columns * s->element;
    (void)part, (void)n_parts;
    for (int64_t o = 0; o < s->outer; o++)
        for (int64_t i = 0; i < s->rows; i++, x += row, y += row) {
            int64_t first = i + s->shift, last = s->columns; /* of what stays */
            if (!s->upper) last = first + 1, first = 0;
            first = first < 0 ? 0 : first > s->columns ? s->columns : first;
            last = last < first ? first : last > s->columns ? s->columns : last;
            memset(y, 0, row);
            memcpy(y + first * s->element, x + first * s->element, (last - first) * s->element);
        }
    return RT_OK;
}
#endif
