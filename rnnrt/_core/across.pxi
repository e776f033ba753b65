# Rows across lanes: for layers whose units would leave many lanes of a block idle, and batches that do not. A vector holds one
# unit of LANES rows of the batch, and up to four vectors lie side by side, a group of rows. The panel kernels serve with their
# parts exchanged: the rows of a tile are rows of weights, and what is in the panel, [k][vector][LANES], is the rows' inputs or
# states. Sums and functions are those of the other steps, term by term, so the bits are, too. Plain cells only. Included by
# call.pxi.

cdef extern from "transpose.h" nogil:
    void rt_transpose_f32(const float *source, ptrdiff_t ldsource, float *to, ptrdiff_t ldto, int n_rows, int n_columns)
    void rt_transpose_f64(const double *source, ptrdiff_t ldsource, double *to, ptrdiff_t ldto, int n_rows, int n_columns)


cdef struct across_t:              # a group in progress
    const rt_layer *layer
    run_t *q                       # the call, with its rows sorted
    int first, n_rows              # rows of the group: those of q.order[first..first + n_rows) that are still running
    int nv                         # its vectors
    ptrdiff_t width                # nv * LANES
    const real **w_rows            # [G*H] rows of W; LSTM: gates of a unit side by side, otherwise units of a gate
    const real **r_rows            # [G*H] rows of R
    real *bias                     # [G*H][LANES], the same number in all lanes
    real *bias_h                   # [H][LANES]
    real *x                        # [I][width]
    real *h                        # [H][width]
    real *c                        # [H][width]: LSTM: the cell; GRU without linear_before_reset: r * h
    real *x_sums                   # [H][width]: GRU with linear_before_reset: the h gate's input part
    real *sums                     # [G*H][width]
    real *weights                  # [G*H][I + H]


cdef bint goes_across(const rt_layer *layer, int n_time, int n_batch) noexcept nogil:
    """Whether fewer lanes idle with rows across them, and there is work enough to turn the weights for it."""
    cdef ptrdiff_t units = <ptrdiff_t> layer.n_blocks * LANES
    cdef ptrdiff_t rows = <ptrdiff_t> (n_batch + LANES - 1) // LANES * LANES
    if not layer.plain or layer.quantized or layer.n_hidden > 2 * LANES or layer.n_in > 4 * LANES:
        return False
    return 4 * rows * layer.n_hidden <= 3 * units * n_batch and <ptrdiff_t> n_time * n_batch >= 8 * LANES


cdef inline int all_gates(const rt_layer *layer) noexcept nogil:
    """G, which is not what a matrix of a GRU without linear_before_reset holds."""
    return 3 if layer.kind == RT_GRU else layer.w.n_gates


cdef char *lay_across(across_t *a, const rt_layer *layer, int n_batch, char *work) noexcept nogil:
    """Place the arrays of a group from `work` on; returns the end."""
    cdef size_t n = all_gates(layer) * <size_t> layer.n_hidden
    cdef size_t vector = LANES * sizeof(real)
    cdef size_t width
    a.nv = min(MAX_NV, (n_batch + LANES - 1) // LANES)
    a.width = a.nv * LANES
    width = a.width * sizeof(real)
    a.layer = layer
    a.w_rows = <const real **> take(&work, n * sizeof(void *))
    a.r_rows = <const real **> take(&work, n * sizeof(void *))
    a.weights = <real *> take(&work, n * (layer.n_in + <size_t> layer.n_hidden) * sizeof(real))
    a.bias = <real *> take(&work, n * vector)
    a.bias_h = <real *> take(&work, layer.n_hidden * vector)
    a.x_sums = <real *> take(&work, layer.n_hidden * width)
    a.sums = <real *> take(&work, n * width)
    a.x = <real *> take(&work, layer.n_in * width)
    a.h = <real *> take(&work, layer.n_hidden * width)
    a.c = <real *> take(&work, layer.n_hidden * width)
    return work


cdef void turn_weights(const rt_matrix *m, int gate, int unit, int first, int n, real *to) noexcept nogil:
    """The n weights of a row from input `first` on, out of their panel."""
    cdef int block = unit // LANES
    cdef int panel = block // m.per_panel
    cdef ptrdiff_t step = <ptrdiff_t> rt_panel_vectors(m, panel) * LANES
    cdef ptrdiff_t at = block % m.per_panel * m.n_gates * LANES + gate * rt_gate_step(m, block, LANES) + unit % LANES
    cdef const real *w = panel_data(m, panel, 0) + at
    cdef int k
    for k in range(n):
        to[k] = w[(first + k) * step]


cdef void turn_layer(across_t *a) noexcept nogil:
    """Rows of weights and biases, from the panels."""
    cdef const rt_layer *layer = a.layer
    cdef int n_gates = all_gates(layer)
    cdef int unit, gate, at
    cdef real *to
    for unit in range(layer.n_hidden):
        for gate in range(n_gates):
            at = unit * 4 + gate if layer.kind == RT_LSTM else gate * layer.n_hidden + unit
            to = a.weights + at * (layer.n_in + <ptrdiff_t> layer.n_hidden)
            a.w_rows[at], a.r_rows[at] = to, to + layer.n_in
            turn_weights(&layer.w, gate, unit, 0, layer.n_in, to)
            to += layer.n_in
            if layer.kind != RT_GRU or layer.linear_before_reset:
                turn_weights(&layer.w, gate, unit, layer.n_in, layer.n_hidden, to)
            elif gate == 2:
                turn_weights(&layer.r_hidden, 0, unit, 0, layer.n_hidden, to)
            else:
                turn_weights(&layer.r_gates, gate, unit, 0, layer.n_hidden, to)
            to = <real *> layer.bias + unit // LANES * n_gates * LANES + gate * rt_gate_step(&layer.w, unit // LANES, LANES)
            v_store(a.bias + at * LANES, v_set1(to[unit % LANES]))
        if layer.bias_h != NULL:
            v_store(a.bias_h + unit * LANES, v_set1((<const real *> layer.bias_h)[unit]))


cdef void multiply(const across_t *a, int row, int n, ptrdiff_t n_x, ptrdiff_t n_h, const real *h, const real *bias,
                   real *out) noexcept nogil:
    """out[n][width] = bias[n][LANES] + n rows of W, from `row` on, times x + the same rows of R times h."""
    cdef rt_tile t
    cdef split_t cut = split_panel(RT_NEAR, n, a.nv)
    cdef int tile = 0
    cdef int v
    t.k1, t.w1, t.k2, t.w2 = n_x, a.x, n_h, h
    t.terms, t.init_bytes, t.bounded = input_terms(a.layer), 0, a.q.bounded
    t.ahead = t.again = <const char *> h
    for v in range(a.nv):
        t.init[v] = bias
        t.ldinit[v] = LANES
    t.a1, t.a2 = a.w_rows + row, a.r_rows + row
    t.out = out
    while tile < cut.n_tiles:
        sum_tile(RT_NEAR, a.nv, &cut, &tile, &t)


cdef void lstm_across(across_t *a) noexcept nogil:
    """Sums and functions of a unit's gates lie side by side, [H][4][width]."""
    cdef int n = a.layer.n_hidden
    cdef int nv = a.nv
    cdef ptrdiff_t width = a.width
    cdef real *g = a.sums
    cdef real *cell = a.c
    cdef real *h = a.h
    cdef int u, v
    cdef vf c
    multiply(a, 0, 4 * n, a.layer.n_in, a.q.n_h, a.h, a.bias, g)
    for v in range(nv):
        lstm_gates(g + v * LANES, n, width)
    for u in range(n):
        for v in range(nv):
            c = v_fma(v_load(g + 2 * width), v_load(cell), v_load(g))
            v_store(cell, c)
            v_store(g + 2 * width, c)
            g += LANES
            cell += LANES
        g += 3 * width
    g = a.sums
    for v in range(nv):
        lstm_outputs(g + v * LANES, n, width)
    for u in range(n):
        for v in range(nv):
            v_store(h, v_load(g))
            g += LANES
            h += LANES
        g += 3 * width


cdef void rnn_across(across_t *a) noexcept nogil:
    cdef int n = a.layer.n_hidden
    multiply(a, 0, n, a.layer.n_in, a.q.n_h, a.h, a.bias, a.sums)
    tanhs(a.sums, n * a.nv, LANES)
    memcpy(a.h, a.sums, n * a.width * sizeof(real))


cdef void gru_across(across_t *a) noexcept nogil:
    """z, r and the h gate follow one another, each [H][width]."""
    cdef ptrdiff_t n = a.layer.n_hidden
    cdef ptrdiff_t size = n * a.width
    cdef real *r = a.sums + size
    cdef real *candidate = a.sums + 2 * size
    cdef const real *bias = a.bias + 2 * n * LANES             # of the h gate's input part
    cdef vf z
    cdef ptrdiff_t i
    multiply(a, 0, 2 * n, a.layer.n_in, a.q.n_h, a.h, a.bias, a.sums)
    two_sigmoids(a.sums, n * a.nv, 2 * LANES)
    if a.layer.linear_before_reset:
        multiply(a, 2 * n, n, a.layer.n_in, 0, a.h, bias, a.x_sums)
        multiply(a, 2 * n, n, 0, a.q.n_h, a.h, a.bias_h, candidate)
        for i in range(n * a.nv):
            v_store(candidate + i * LANES,
                    v_fma(v_load(r + i * LANES), v_load(candidate + i * LANES), v_load(a.x_sums + i * LANES)))
    else:
        for i in range(n * a.nv):
            v_store(a.c + i * LANES, v_load(r + i * LANES) * v_load(a.h + i * LANES))
        multiply(a, 2 * n, n, a.layer.n_in, a.q.n_h, a.c, bias, candidate)
    tanhs(candidate, n * a.nv, LANES)
    for i in range(n * a.nv):
        z = v_load(a.sums + i * LANES)
        v_store(a.h + i * LANES, blend(a.layer, z, v_load(candidate + i * LANES), v_load(a.h + i * LANES)))


cdef inline void transpose(const real *source, ptrdiff_t ldsource, real *to, ptrdiff_t ldto, int n_rows,
                           int n_columns) noexcept nogil:
    """to[k][u] = source[u][k]."""
    if sizeof(real) == sizeof(float):
        rt_transpose_f32(<const float *> source, ldsource, <float *> to, ldto, n_rows, n_columns)
    else:
        rt_transpose_f64(<const double *> <const void *> source, ldsource, <double *> <void *> to, ldto, n_rows, n_columns)


cdef void read_inputs(across_t *a, int step) noexcept nogil:
    cdef run_t *q = a.q
    cdef const rt_call *call = q.call
    cdef const real *x
    cdef int i
    if call.lengths == NULL:
        x = <const real *> call.x + time_of(q, a.first, step) * call.ldx_t + a.first * call.ldx_b
        transpose(x, call.ldx_b, a.x, a.width, a.n_rows, a.layer.n_in)
        return
    for i in range(a.n_rows):
        x = <const real *> call.x + time_of(q, a.first + i, step) * call.ldx_t + q.order[a.first + i] * call.ldx_b
        transpose(x, call.ldx_b, a.x + i, a.width, 1, a.layer.n_in)


cdef void write_outputs(across_t *a, int step) noexcept nogil:
    cdef run_t *q = a.q
    cdef const rt_call *call = q.call
    cdef real *y
    cdef int i
    if call.lengths == NULL:
        y = <real *> call.y + time_of(q, a.first, step) * call.ldy_t + a.first * call.ldy_b
        transpose(a.h, a.width, y, call.ldy_b, a.layer.n_hidden, a.n_rows)
        return
    for i in range(a.n_rows):
        y = <real *> call.y + time_of(q, a.first + i, step) * call.ldy_t + q.order[a.first + i] * call.ldy_b
        transpose(a.h + i, a.width, y, call.ldy_b, a.layer.n_hidden, 1)


cdef void end_row(across_t *a, int i) noexcept nogil:
    """A sequence has ended: its state goes where finish_row looks for it, and its lane computes with zeros."""
    cdef run_t *q = a.q
    cdef int n = a.layer.n_hidden
    cdef int k
    transpose(a.h + i, a.width, q.h + (a.first + i) * q.ldh, q.ldh, n, 1)
    transpose(a.c + i, a.width, q.c + (a.first + i) * q.ldh, q.ldh, n, 1)
    for k in range(n):
        a.h[k * a.width + i] = a.c[k * a.width + i] = 0
    for k in range(a.layer.n_in):
        a.x[k * a.width + i] = 0


cdef void run_group(across_t *a) noexcept nogil:
    """The rows of a group through all their steps."""
    cdef run_t *q = a.q
    cdef int n = a.layer.n_hidden
    cdef int step = 0
    q.n_h = first_h(q)
    memset(a.x, 0, a.layer.n_in * a.width * sizeof(real))
    memset(a.h, 0, n * a.width * sizeof(real))
    memset(a.c, 0, n * a.width * sizeof(real))
    transpose(q.h + a.first * q.ldh, q.ldh, a.h, a.width, a.n_rows, n)
    transpose(q.c + a.first * q.ldh, q.ldh, a.c, a.width, a.n_rows, n)
    while True:
        while a.n_rows > 0 and q.length[a.first + a.n_rows - 1] <= step:
            a.n_rows -= 1
            end_row(a, a.n_rows)
        if a.n_rows == 0:
            return
        read_inputs(a, step)
        q.bounded = q.small and panel_small(a.x, a.layer.n_in * a.width)
        if a.layer.kind == RT_LSTM:
            lstm_across(a)
        elif a.layer.kind == RT_GRU:
            gru_across(a)
        else:
            rnn_across(a)
        if q.call.y != NULL:
            write_outputs(a, step)
        q.n_h = n
        step += 1


cdef void run_across(run_t *q, char *work) noexcept nogil:
    """A call whose rows are sorted and whose states are loaded."""
    cdef across_t a
    cdef int row
    lay_across(&a, q.layer, q.call.n_batch, work)
    a.q = q
    turn_layer(&a)
    a.first = 0
    while a.first < q.call.n_batch:
        a.n_rows = min(<int> a.width, q.call.n_batch - a.first)
        run_group(&a)
        a.first += <int> a.width
    for row in range(q.call.n_batch):
        finish_row(q, row)
