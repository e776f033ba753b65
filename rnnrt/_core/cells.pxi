# The gate equations over vector words. Included by cells_<isa>.pyx after its simd header; steps.pxi calls what is here.
#
# `g` points at gate sums, biases included: [G][LANES] of a block (LANES units) of one row, or those of several rows, one after
# the other. The new state goes to q.h_next and q.c. Equations: ONNX operator specification of LSTM, GRU and RNN; all products
# that are added are fused, in the one order written here. Cells of the default activations take their functions over many
# blocks at once (gates.h), all others block by block.

from libc.stdint cimport int32_t, uint8_t

from rnnrt._core.kernels cimport (
    RT_FAR, RT_GRU, RT_LSTM, RT_MEMORY, RT_NEAR, RT_NEXT, RT_RNN, rt_barrier_wait, rt_bytes, rt_call, rt_choice,
    rt_claim, rt_fetch, rt_gate_step, rt_kernels, rt_layer, rt_matrix, rt_panel_vectors, rt_turned, rt_turns,
)

cdef extern from "vmath.h" nogil:
    const char *RT_ISA
    ctypedef float real
    ctypedef float vf
    int LANES
    vf v_load(const real *p)
    void v_store(real *p, vf x)
    vf v_load_n(const real *p, int n)
    void v_store_n(real *p, vf x, int n)
    vf v_set1(real x)
    vf v_fma(vf a, vf b, vf c)
    vf v_exp(vf x)
    vf v_sigmoid(vf x)
    vf v_tanh(vf x)
    vf v_min(vf bound, vf x)
    vf v_max(vf bound, vf x)
    vf v_clamp(vf x, real low, real high)
    vf v_activate(int kind, real a, real b, vf x)

cdef extern from "stream.h" nogil:
    bint RT_STREAMS
    void v_stream(real *p, vf x)
    void v_stream_rows(real *to, const real *source, ptrdiff_t ld, ptrdiff_t n, ptrdiff_t n_rows)
    void v_streamed()

cdef extern from "gates.h" nogil:
    void lstm_gates(real *g, ptrdiff_t n, ptrdiff_t ld)
    void lstm_outputs(real *g, ptrdiff_t n, ptrdiff_t ld)
    void two_sigmoids(real *g, ptrdiff_t n, ptrdiff_t ld)
    void tanhs(real *g, ptrdiff_t n, ptrdiff_t ld)


cdef extern from "bytes.h" nogil:
    enum:
        BYTES_ROWS
    ctypedef struct rt_byte_scale:
        real scale, zero
    ctypedef struct rt_bytes_tile:
        const uint8_t *a
        ptrdiff_t lda
        const int32_t *row_sums
        rt_byte_scale scale
        const rt_bytes *m
        int block
        const real *init
        ptrdiff_t ldinit
        real *out
    bint bytes_fast()
    void bytes_run(bint fast, int rows, const rt_bytes_tile *t)
    rt_byte_scale bytes_scale(const real *x, ptrdiff_t ld_outer, int n_outer, ptrdiff_t ld, int n_rows, int n)
    int32_t bytes_row(rt_byte_scale s, const real *x, int n, uint8_t *out)


cdef struct bytes_t:              # rows as bytes, where the weights are
    uint8_t *rows                 # [n][ld]
    ptrdiff_t ld
    int32_t *sums                 # [n] of each row
    rt_byte_scale scale


cdef struct run_t:                # a call in progress; arrays are [B][ldh] unless said otherwise
    const rt_layer *layer
    const rt_call *call
    int n_rows                    # rows still running: those of order[0..n_rows)
    int n_steps                   # steps of the longest row
    int n_h                       # how many terms sums over h have in this step (first_h)
    int step                      # the current step, counted in the order of computation
    unsigned turn                 # steps of this layer in earlier calls
    int far, far_x                # where weights come from and how they are fetched, RT_NEAR …: of a step, of a chunk's inputs
    bint alone                    # whether a single row takes its panels one after the other, as they are long
    bint far_pre                  # whether a chunk's projections come from beyond the L2 cache, too
    int chunk                     # steps whose input projection is made at once; 0: none, x and h in one sum
    ptrdiff_t chunk_rows          # rows of this chunk
    ptrdiff_t pre_row             # the first of them that belongs to the current step
    ptrdiff_t ldh                 # n_blocks * LANES
    int *order                    # [B] row of the batch, longest first
    int *length                   # [B] its length
    int *starts                   # [T + 1] counters to sort by
    real *h
    real *h_next
    real *c                       # LSTM: cell state; GRU without linear_before_reset: z
    real *rh                      # GRU without linear_before_reset: r * h
    real *pre                     # [panel][chunk_rows][per_panel][G][LANES] input projections of the chunk
    const real **x_rows           # [chunk_rows, or B], each thread's own
    const real **h_rows           # [B] rows of h
    const real **next_rows        # [B] rows of h_next
    const real **rh_rows          # [B] rows of rh
    real **y_rows                 # [B] rows of Y at this step, each thread's own
    bint small                    # whether weights are small, and states (panel_small)
    bint bounded                  # and inputs, of a chunk of steps
    bint fetches_x                # whether to ask for the inputs of the next step
    bint emits                    # whether cells store Y
    bint streams_y                # whether they store it past the caches
    bint streams_rows             # whether all rows of a step are, in place of that
    bint fast                     # how bytes are multiplied
    bytes_t x_bytes               # a quantized LSTM: the inputs of the chunk
    bytes_t h_bytes               # and the states of the step


cdef inline int time_of(const run_t *q, int row, int step) noexcept nogil:
    return q.length[row] - 1 - step if q.call.reverse else step


cdef inline void store_units(real *p, vf x, int n) noexcept nogil:
    if n == LANES:
        v_store(p, x)
    else:
        v_store_n(p, x, n)


cdef inline void store_line(const run_t *q, real *y, vf x) noexcept nogil:
    """Store a whole block of Y."""
    if q.streams_y:
        v_stream(y, x)
    else:
        v_store(y, x)


cdef inline void emit(const run_t *q, int row, int block, vf h) noexcept nogil:
    """Store a block of the new hidden state, in the state and in Y."""
    v_store(q.h_next + row * q.ldh + block * LANES, h)
    if q.streams_y:
        v_stream(q.y_rows[row] + block * LANES, h)
    elif q.emits:
        store_units(q.y_rows[row] + block * LANES, h, min(LANES, q.layer.n_hidden - block * LANES))


cdef void emit_rows(const run_t *q, const real *g, ptrdiff_t ld, int row, int n_rows, int block) noexcept nogil:
    """As emit, for rows whose new states lie at g, ld reals apart."""
    cdef real *h = q.h_next + row * q.ldh + block * LANES
    cdef ptrdiff_t ldh = q.ldh
    cdef real *const *y_rows = q.y_rows + row
    cdef int units = min(LANES, q.layer.n_hidden - block * LANES)
    cdef int r
    for r in range(n_rows):
        v_store(h + r * ldh, v_load(g + r * ld))
    if not q.emits:
        return
    if units == LANES:
        for r in range(n_rows):
            store_line(q, y_rows[r] + block * LANES, v_load(g + r * ld))
    else:
        for r in range(n_rows):
            v_store_n(y_rows[r] + block * LANES, v_load(g + r * ld), units)


cdef inline void trace(const run_t *q, int row, int block, int slot, vf x) noexcept nogil:
    cdef const rt_call *call = q.call
    cdef real *p = <real *> call.trace + time_of(q, row, q.step) * call.ldtrace_t + q.order[row] * call.ldtrace_b
    store_units(p + slot * q.layer.n_hidden + block * LANES, x, min(LANES, q.layer.n_hidden - block * LANES))


cdef inline vf activate(const rt_layer *layer, int k, vf x) noexcept nogil:
    """The k-th activation, of the clipped x."""
    if layer.clip > 0:
        x = v_clamp(x, <real> -layer.clip, <real> layer.clip)
    return v_activate(layer.activation[k], <real> layer.alpha[k], <real> layer.beta[k], x)


cdef void lstm_trace(const run_t *q, const real *g, int row, int block) noexcept nogil:
    """Of a plain cell: its gates, from their sums."""
    cdef int k
    for k in range(3):
        trace(q, row, block, k, v_sigmoid(v_load(g + k * LANES)))
    trace(q, row, block, 3, v_tanh(v_load(g + 3 * LANES)))


cdef void lstm_carry(const run_t *q, real *g, int row, int n_rows, int block) noexcept nogil:
    """Of a plain cell, between lstm_gates and lstm_outputs: c = f c + i z, which takes the place of f."""
    cdef ptrdiff_t ldh = q.ldh
    cdef real *cell = q.c + row * ldh + block * LANES
    cdef vf c
    cdef int r
    for r in range(n_rows):
        c = v_fma(v_load(g + 2 * LANES), v_load(cell), v_load(g))
        v_store(cell, c)
        v_store(g + 2 * LANES, c)
        if q.call.trace != NULL:
            trace(q, row + r, block, 4, c)
        g += 4 * LANES
        cell += ldh


cdef void lstm_general(const run_t *q, const real *g, int row, int block) noexcept nogil:
    cdef const rt_layer *layer = q.layer
    cdef const real *p = <const real *> layer.peephole + 3 * block * LANES
    cdef real *cell = q.c + row * q.ldh + block * LANES
    cdef vf c = v_load(cell)
    cdef vf i = v_load(g)
    cdef vf o = v_load(g + LANES)
    cdef vf f = v_load(g + 2 * LANES)
    cdef vf z = activate(layer, 1, v_load(g + 3 * LANES))
    if layer.peephole != NULL:
        i = v_fma(v_load(p), c, i)
        f = v_fma(v_load(p + 2 * LANES), c, f)
    i = activate(layer, 0, i)
    f = v_set1(1) - i if layer.input_forget else activate(layer, 0, f)
    c = v_fma(f, c, i * z)
    if layer.peephole != NULL:
        o = v_fma(v_load(p + LANES), c, o)
    o = activate(layer, 0, o)
    v_store(cell, c)
    emit(q, row, block, o * activate(layer, 2, c))
    if q.call.trace != NULL:
        trace(q, row, block, 0, i)
        trace(q, row, block, 1, o)
        trace(q, row, block, 2, f)
        trace(q, row, block, 3, z)
        trace(q, row, block, 4, c)


cdef void gru_gates(const run_t *q, real *g, int n, ptrdiff_t ld) noexcept nogil:
    """z and r, the first two vectors of each block, in place of their sums."""
    cdef int i, k
    if q.layer.plain:
        two_sigmoids(g, n, ld)
        return
    for i in range(n):
        for k in range(2):
            v_store(g + i * ld + k * LANES, activate(q.layer, 0, v_load(g + i * ld + k * LANES)))


cdef void tanh_gates(const run_t *q, real *g, int n, ptrdiff_t ld, int k) noexcept nogil:
    """The k-th activation of one vector of each block, which is tanh in a plain cell."""
    cdef int i
    if q.layer.plain:
        tanhs(g, n, ld)
        return
    for i in range(n):
        v_store(g + i * ld, activate(q.layer, k, v_load(g + i * ld)))


cdef inline vf blend(const rt_layer *layer, vf z, vf candidate, vf h) noexcept nogil:
    """H = (1 - z) h + z H-1, in a plain cell, whose h is finite, with one rounding less."""
    if layer.plain:
        return v_fma(z, h, v_fma(-z, candidate, candidate))
    return v_fma(z, h, (v_set1(1) - z) * candidate)


cdef inline void gru_blend(const run_t *q, int row, int block, vf z, vf candidate) noexcept nogil:
    emit(q, row, block, blend(q.layer, z, candidate, v_load(q.h + row * q.ldh + block * LANES)))
    if q.call.trace != NULL:
        trace(q, row, block, 0, z)
        trace(q, row, block, 2, candidate)


cdef void gru_carry(const run_t *q, const real *x, real *g, int row, int n_rows, int block) noexcept nogil:
    """linear_before_reset: the h gate's sum of its input's part, in x, and r times the recurrent part."""
    cdef int r
    for r in range(n_rows):
        v_store(g + 2 * LANES, v_fma(v_load(g + LANES), v_load(g + 2 * LANES), v_load(x + 2 * LANES)))
        if q.call.trace != NULL:
            trace(q, row + r, block, 1, v_load(g + LANES))
        g += 3 * LANES
        x += 3 * LANES


cdef void gru_blends(const run_t *q, real *g, int row, int n_rows, int block) noexcept nogil:
    """The new states of blocks [z, r, h]."""
    cdef ptrdiff_t ldh = q.ldh
    cdef const real *h = q.h + row * ldh + block * LANES
    cdef vf z, candidate
    cdef int r
    for r in range(n_rows):
        z, candidate = v_load(g + 3 * r * LANES), v_load(g + (3 * r + 2) * LANES)
        if q.call.trace != NULL:
            trace(q, row + r, block, 0, z)
            trace(q, row + r, block, 2, candidate)
        v_store(g + 3 * r * LANES, blend(q.layer, z, candidate, v_load(h + r * ldh)))
    emit_rows(q, g, 3 * LANES, row, n_rows, block)


cdef inline void gru_reset(const run_t *q, const real *g, int row, int block) noexcept nogil:
    """The default form, first half: z and r * h of a block are kept for the second."""
    cdef ptrdiff_t at = row * q.ldh + block * LANES
    cdef vf r = v_load(g + LANES)
    v_store(q.c + at, v_load(g))
    v_store(q.rh + at, r * v_load(q.h + at))
    if q.call.trace != NULL:
        trace(q, row, block, 1, r)


cdef inline void gru_candidate(const run_t *q, const real *g, int row, int block) noexcept nogil:
    """The default form, second half."""
    gru_blend(q, row, block, v_load(q.c + row * q.ldh + block * LANES), v_load(g))


cdef void rnn_states(const run_t *q, const real *g, int row, int n_rows, int block, int n_blocks) noexcept nogil:
    """The new states of some rows' blocks; those of a row lie side by side, and go row by row."""
    cdef ptrdiff_t ldh = q.ldh
    cdef real *h = q.h_next + row * ldh + block * LANES
    cdef real *const *y_rows = q.y_rows + row
    cdef int units = min(n_blocks * LANES, q.layer.n_hidden - block * LANES)
    cdef int whole = units // LANES
    cdef real *y
    cdef int r, j
    for r in range(n_rows):
        for j in range(n_blocks):
            v_store(h + j * LANES, v_load(g + j * LANES))
        if q.emits:
            y = y_rows[r] + block * LANES
            for j in range(whole):
                store_line(q, y + j * LANES, v_load(g + j * LANES))
            if whole < n_blocks:
                v_store_n(y + whole * LANES, v_load(g + whole * LANES), units - whole * LANES)
        if q.call.trace != NULL:
            for j in range(n_blocks):
                trace(q, row + r, block + j, 0, v_load(g + j * LANES))
        h += ldh
        g += n_blocks * LANES
