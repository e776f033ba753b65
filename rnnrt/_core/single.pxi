# A single row through a small layer, or one thread's part of it, where all that surrounds a step's sums would take about as long
# as they do: tiles are aimed once a chunk and not once a step, and cells are those of a row of blocks, side by side as its states
# are. Sums and functions are those of the other steps, term by term, so the bits are, too. Plain LSTMs, and GRUs with
# linear_before_reset. Included by call.pxi.

cdef extern from "gates.h" nogil:
    enum:
        ROW_BLOCKS
    void lstm_row(int n, const real *g, real *cell, real *h)
    void gru_row(int n, const real *g, const real **x, const real *h, real *next)

cdef extern from *:
    """
    #define SINGLE_BLOCKS 32
    /* Of all blocks, [n][G][LANES]: where vectors lie across two cache lines, a step of 80 ns takes 4 more. */
    typedef struct { _Alignas(64) real at[SINGLE_BLOCKS * MAX_NV * LANES]; } single_sums;
    """
    enum:
        SINGLE_BLOCKS
    ctypedef struct single_sums:
        real *at


cdef struct single_t:
    run_t *q
    int first, n                   # the first block of this thread's, and how many
    int whole                      # those that have all vectors
    bint packed                    # and one more
    bint sums_x                    # a GRU whose inputs are not projected ahead
    const real *row                # the state that all tiles read
    rt_tile x[SINGLE_BLOCKS]       # then: its sums over x, a tile for each block
    rt_tile h[SINGLE_BLOCKS]       # sums over h, or over x and h
    const real *given[SINGLE_BLOCKS]       # a GRU's sums over x
    single_sums x_sums, sums


cdef bint goes_single(const run_t *q) noexcept nogil:
    cdef const rt_layer *layer = q.layer
    cdef const rt_call *call = q.call
    if call.n_batch != 1 or call.trace != NULL or (q.far != RT_NEAR and not q.alone):
        return False
    if not call.n_parts <= layer.n_blocks <= SINGLE_BLOCKS * call.n_parts:
        return False
    return layer.plain and not layer.quantized and (layer.kind == RT_LSTM
                                                    or (layer.kind == RT_GRU and layer.linear_before_reset))


cdef void aim_single(single_t *s) noexcept nogil:
    """Aim all tiles, at the first of the steps that are projected ahead, if any are."""
    cdef run_t *q = s.q
    cdef int n_gates = q.layer.w.n_gates
    cdef ptrdiff_t at
    cdef int b, block
    for b in range(s.n):
        at = b * n_gates * LANES
        block = s.first + b
        if q.layer.kind == RT_LSTM:
            aim(q, block, block, &s.h[b])
        else:
            if s.sums_x:
                aim_inputs(q, block, &s.x[b])
                s.x[b].out = s.x_sums.at + at
            s.given[b] = gru_inputs(q, block, 0, s.x_sums.at + at)
            aim_hidden(q, block, block, s.given[b], &s.h[b])
        s.h[b].a2 = &s.row
        s.h[b].out = s.sums.at + at


cdef void aim_further(single_t *s) noexcept nogil:
    """Aim at the next of the steps that were projected ahead."""
    cdef const rt_matrix *m = &s.q.layer.w
    cdef int b, v
    for b in range(s.n):
        s.h[b].k2 = s.q.n_h
        for v in range(rt_panel_vectors(m, s.first + b)):
            s.h[b].init[v] += s.h[b].ldinit[v]
        if s.q.layer.kind == RT_GRU:
            s.given[b] += m.n_gates * LANES
    if s.q.far_pre:
        for b in range(s.n):
            fetch_init(&s.h[b], 1)


cdef inline void sum_single(const single_t *s) noexcept nogil:
    """All tiles, by groups, every other step backwards (turn): a GRU's over x before those over h, whose weights lie behind
    theirs. A last tile that has fewer vectors goes by itself."""
    cdef const rt_matrix *m = &s.q.layer.w
    cdef bint back = (s.q.turn + <unsigned> s.q.step) & 1
    cdef int whole = s.whole
    cdef int left = whole
    cdef int n, at
    while left > 0:
        n = group_of(s.q, m.n_gates, 1, left)
        at = left - n if back else whole - left
        if s.sums_x:
            run_few(s.q, m.n_gates, n, s.x + at)
        run_few(s.q, m.n_gates, n, s.h + at)
        left -= n
    if s.packed:
        panel_run(RT_NEAR, m.last, 1, 1, s.h + whole)
        part_gates(m, m.n_blocks - 1, s.h[whole].out, 1)


cdef void lstm_single(single_t *s) noexcept nogil:
    cdef real *g = s.sums.at
    cdef real *cell = s.q.c + s.first * LANES
    cdef real *next = s.q.h_next + s.first * LANES
    cdef vf c
    cdef int b
    sum_single(s)
    if s.n <= ROW_BLOCKS:
        lstm_row(s.n, g, cell, next)
        return
    lstm_gates(g, s.n, LANES)
    for b in range(s.n):
        c = v_fma(v_load(g + (4 * b + 2) * LANES), v_load(cell + b * LANES), v_load(g + 4 * b * LANES))
        v_store(cell + b * LANES, c)
        v_store(g + (4 * b + 2) * LANES, c)
    lstm_outputs(g, s.n, LANES)
    for b in range(s.n):
        v_store(next + b * LANES, v_load(g + 4 * b * LANES))


cdef void gru_single(single_t *s) noexcept nogil:
    cdef real *g = s.sums.at
    cdef const real *h = s.q.h + s.first * LANES
    cdef real *next = s.q.h_next + s.first * LANES
    cdef vf z, candidate
    cdef int b
    sum_single(s)
    if s.n <= ROW_BLOCKS:
        gru_row(s.n, g, s.given, h, next)
        return
    two_sigmoids(g, s.n, 3 * LANES)
    for b in range(s.n):
        candidate = v_fma(v_load(g + (3 * b + 1) * LANES), v_load(g + (3 * b + 2) * LANES), v_load(s.given[b] + 2 * LANES))
        v_store(g + (3 * b + 2) * LANES, candidate)
    tanhs(g + 2 * LANES, s.n, 3 * LANES)
    for b in range(s.n):
        z, candidate = v_load(g + 3 * b * LANES), v_load(g + (3 * b + 2) * LANES)
        v_store(next + b * LANES, blend(s.q.layer, z, candidate, v_load(h + b * LANES)))


cdef inline void emit_single(const single_t *s, real *y) noexcept nogil:
    """The new states of the blocks, in Y."""
    cdef int b
    for b in range(s.first, s.first + s.n):
        store_units(y + b * LANES, v_load(s.q.h_next + b * LANES), min(LANES, s.q.layer.n_hidden - b * LANES))


cdef void run_single(run_t *q) noexcept nogil:
    """A call whose states are loaded, or a thread's part of it."""
    cdef const rt_call *call = q.call
    cdef const rt_matrix *m = &q.layer.w
    cdef int left = 0
    cdef single_t s
    s.q, s.first = q, part_start(q, q.layer.n_blocks, 0)
    s.n = part_start(q, q.layer.n_blocks, 1) - s.first
    s.packed = s.first + s.n == m.n_blocks and m.last < m.n_gates
    s.whole = s.n - s.packed
    s.sums_x = q.layer.kind == RT_GRU and q.chunk == 0
    while q.step < q.n_steps:
        s.row = q.h
        if left:
            aim_further(&s)
        elif q.chunk or q.step <= 1:
            left = start_chunk(q)
            if q.chunk == 0 and q.step:        # aimed once for all steps from this one on
                q.bounded = inputs_small(q, q.step, q.n_steps)
            aim_single(&s)
        else:
            left = 1
            q.x_rows[0] = <const real *> call.x + time_of(q, 0, q.step) * call.ldx_t
        exchange(q, m, q.h, m, q.h_next)
        if q.layer.kind == RT_LSTM:
            lstm_single(&s)
        else:
            gru_single(&s)
        if call.y != NULL:
            emit_single(&s, <real *> call.y + time_of(q, 0, q.step) * call.ldy_t)
        meet(q)
        q.h, q.h_next = q.h_next, q.h
        q.n_h = q.layer.n_hidden
        left -= 1
        q.step += 1
