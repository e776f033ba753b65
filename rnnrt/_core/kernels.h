/* What the engine and the kernels of an instruction set share: a layer's packed weights, one call, and the table.
 *
 * `void *` stands for arrays of the table's element type (float, or double in the float64 table). Lengths count elements.
 * Blocks: H hidden units are cut into n_blocks = ceil(H / lanes) blocks, the last one padded with zero weights.
 */
#ifndef RT_KERNELS_H
#define RT_KERNELS_H
#include <stddef.h>
#include <stdint.h>

#include "threads.h"

enum { RT_LSTM, RT_GRU, RT_RNN };

/* What tiles fetch of their weights: see panel_shapes.h, whose tables are in this order. */
enum { RT_NEAR, RT_FAR, RT_NEXT, RT_MEMORY };

/* A weight matrix in panels (panel.h): panel p holds blocks p*per_panel ... of all gates, as
 *     data[p][k][b][g][u] = M[g*H + (p*per_panel + b)*lanes + u][k]      k < n_k, b < per_panel, g < n_gates
 * The last panel holds only the blocks that are left; the last one of an LSTM whose units leave so many lanes idle that all its gates need
 * fewer vectors has these without gaps between them: data[p][k][g*units + u]. 64-byte aligned. */
typedef struct {
    void *data;
    int n_k, n_gates, per_panel, n_blocks;
    int last;      /* vectors of the last panel */
    int last_gate; /* from one gate of the last block to the next: lanes, or its units */
} rt_matrix;

static inline int rt_panel_vectors(const rt_matrix *m, int panel) {
    return (panel + 1) * m->per_panel >= m->n_blocks ? m->last : m->per_panel * m->n_gates;
}

/* From one gate of a block to the next. */
static inline int rt_gate_step(const rt_matrix *m, int block, int lanes) {
    return block == m->n_blocks - 1 ? m->last_gate : lanes;
}

enum { RT_BYTES_MOST = 1 << 14 }; /* inputs of a matrix of bytes: sums of so many products of bytes fit 32 bits */

/* A matrix of signed bytes in panels of a block, where an LSTM's weights are quantised (bytes.h). */
typedef struct {
    const int8_t *data;   /* [n_blocks][n_k4][G][lanes][4], n_k4 = ceil(K/4) */
    const int32_t *sums;  /* [n_blocks][G][lanes]: an output's weights less their zero point, added up */
    const int32_t *zeros; /* [n_blocks][G][lanes]: zero points; or NULL: all 0 */
    const float *scales;  /* [n_blocks][G][lanes] */
    int n_k4;
} rt_bytes;

/* One direction of a layer. Immutable once packed.
 *   LSTM, RNN and GRU with linear_before_reset: `w` holds [W; R], n_k = I + H. Other GRUs: `w` holds W, `r_gates` the z and r
 *   rows of R, `r_hidden` its h rows. */
typedef struct {
    int kind, n_in, n_hidden, n_blocks;
    int linear_before_reset, input_forget;
    int plain;       /* sigmoid and tanh, and none of clip, peepholes, input_forget: the short path through a cell */
    int bounded;     /* plain, with weights and biases so small that no sum overflows where inputs and states are, too */
    int activation[3];
    int quantized;   /* LSTM: x and h are multiplied as bytes; its weights are w_bytes and r_bytes, and `w` has no data */
    double alpha[3], beta[3];
    double clip;     /* 0: none */
    rt_matrix w, r_gates, r_hidden;
    rt_bytes w_bytes, r_bytes;
    void *bias; /* [n_blocks][G][lanes], the last as in w: Wb + Rb, but Wbh alone for the h gate where linear_before_reset */
    void *bias_h; /* [n_blocks][lanes]: Rbh where linear_before_reset, else NULL */
    void *peephole; /* [n_blocks][3][lanes]: i, o, f; or NULL */
    unsigned *turns; /* steps taken so far, by anybody: every other one reads the panels backwards. The one thing that changes */
} rt_layer;

/* Its count of steps; other calls may be counting at the same time. */
static inline unsigned rt_turns(const rt_layer *layer) { return __atomic_load_n(layer->turns, __ATOMIC_RELAXED); }
static inline void rt_turned(const rt_layer *layer, unsigned turns) { __atomic_store_n(layer->turns, turns, __ATOMIC_RELAXED); }

/* One direction of one call. Strides count elements; the last axis of every array is contiguous. */
typedef struct {
    int n_time, n_batch, reverse;
    const void *x; /* [T, B, I] */
    ptrdiff_t ldx_t, ldx_b;
    const int *lengths; /* [B], each in 0..T; or NULL: all T */
    const void *h0, *c0; /* [B, H]; or NULL: zeros */
    ptrdiff_t ldh0, ldc0;
    void *y; /* [T, B, H]; or NULL */
    ptrdiff_t ldy_t, ldy_b;
    void *y_h, *y_c; /* [B, H]; or NULL */
    ptrdiff_t ldy_h, ldy_c;
    void *trace; /* [T, B, G, H], for an LSTM [T, B, G + 1, H] with c last; or NULL */
    ptrdiff_t ldtrace_t, ldtrace_b;
    void *work; /* work_size() bytes, 64-byte aligned */
    int part, n_parts; /* this thread computes its part of the units, and meets the others at the barrier */
    rt_barrier *barrier; /* NULL where n_parts is 1 */
} rt_call;

/* How a call of some shape goes. */
typedef struct {
    int across; /* rows of the batch lie across the lanes */
    int chunk; /* steps whose inputs are projected at once; 0: x and h in one pass */
    int far; /* where weights come from: RT_NEAR … */
} rt_choice;

/* The one list of what an instruction set offers. */
typedef struct {
    const char *isa;
    int lanes, element_size;
    rt_choice (*choose)(const rt_layer *, int n_time, int n_batch);
    size_t (*work_size)(const rt_layer *, int n_time, int n_batch, int n_parts);
    void (*run)(const rt_layer *, const rt_call *);
    int (*small)(const void *x, ptrdiff_t n); /* whether numbers are so small, of weights, inputs and states (panel.h) */
    void (*map_exp)(const void *x, void *y, ptrdiff_t n);
    void (*map_sigmoid)(const void *x, void *y, ptrdiff_t n);
    void (*map_tanh)(const void *x, void *y, ptrdiff_t n);
} rt_kernels;
#endif
