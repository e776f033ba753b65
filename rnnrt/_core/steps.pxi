# A step: for each panel and tile of rows the sums of all gates, then the cells. Included by cells_<isa>.pyx after tiles.pxi.


cdef inline int panels_at_once(const run_t *q) noexcept nogil:
    """How many panels of one block to sum before their cells are computed: enough of them for 8 blocks of few rows."""
    if q.n_rows <= 2:
        return MAX_ROWS >> (q.n_rows - 1)
    return 2 if q.n_rows <= 4 and q.far == RT_NEAR else 1      # from far two tiles of a panel go together


cdef inline int sums_at_once(const run_t *q, int nv) noexcept nogil:
    """The same for panels of nv vectors, several of which may go together."""
    return max(panels_at_once(q), panel_group(nv, q.n_rows))


cdef void aim(const run_t *q, int panel, int next, rt_tile *t) noexcept nogil:
    """LSTM and RNN: one sum over [x, h], from the bias, or over h alone, from the projection, from the first row on."""
    cdef const rt_matrix *m = &q.layer.w
    cdef int nv = rt_panel_vectors(m, panel)
    cdef int v
    cdef const real *init
    cdef ptrdiff_t ldinit = 0
    if q.chunk:
        init = projection(q, panel * m.per_panel, q.pre_row)
        ldinit = nv * LANES
    else:
        init = <const real *> q.layer.bias + panel * m.per_panel * m.n_gates * LANES
    for v in range(nv):
        t.init[v] = init + v * LANES
        t.ldinit[v] = ldinit
    t.init_bytes = ldinit * sizeof(real) if q.far_pre else 0
    t.k1 = 0 if q.chunk else q.layer.n_in
    t.k2 = q.n_h
    t.terms, t.bounded = input_terms(q.layer), q.bounded
    t.w1 = panel_data(m, panel, 0)
    t.w2 = panel_data(m, panel, q.layer.n_in)
    t.a1 = q.x_rows
    t.a2 = q.h_rows
    t.ahead = <const char *> panel_data(m, next, q.layer.n_in - <int> t.k1)
    t.again = <const char *> (t.w1 if t.k1 else t.w2)


cdef inline int group_at(const run_t *q, int p, int j, int n, int first, int end) noexcept nogil:
    """How many panels to sum together from the j-th on of n that start at the p-th, which have as many vectors all."""
    cdef const rt_matrix *m = &q.layer.w
    cdef int nv = rt_panel_vectors(m, turn(q, p + j, first, end))
    cdef int alike = 1
    while alike < n - j and rt_panel_vectors(m, turn(q, p + j + alike, first, end)) == nv:
        alike += 1
    return group_of(q, nv, q.n_rows, alike)


cdef inline void part_gates(const rt_matrix *m, int block, real *g, int n_rows) noexcept nogil:
    """Bring the sums of an LSTM's last block, where its gates have no gaps between them, to where those of others are."""
    cdef ptrdiff_t gate = m.last_gate
    cdef const real *sums
    cdef vf i, o, f, z
    cdef int r
    if block < m.n_blocks - 1 or gate == LANES:
        return
    for r in range(n_rows - 1, -1, -1):
        sums = g + <ptrdiff_t> r * m.last * LANES
        i, o, f, z = v_load(sums), v_load(sums + gate), v_load(sums + 2 * gate), v_load(sums + 3 * gate)
        v_store(g + 4 * r * LANES, i)
        v_store(g + (4 * r + 1) * LANES, o)
        v_store(g + (4 * r + 2) * LANES, f)
        v_store(g + (4 * r + 3) * LANES, z)


cdef inline void run_few(const run_t *q, int nv, int together, const rt_tile *t) noexcept nogil:
    """The tiles of one panel, or of several together, for all rows."""
    if together > 1:
        panel_together(q.far, nv, together, q.n_rows, t)
    else:
        panel_run(fetched_alone(q.far), nv, 1, q.n_rows, t)


cdef void lstm_cells(const run_t *q, real *sums, int p, int n, int row, int height, int first, int end) noexcept nogil:
    """The cells of n panels from the p-th on, for `height` rows."""
    cdef int j, r
    if not q.layer.plain:
        for j in range(n):
            for r in range(height):
                lstm_general(q, sums + 4 * (j * height + r) * LANES, row + r, turn(q, p + j, first, end))
        return
    if q.call.trace != NULL:
        for j in range(n):
            for r in range(height):
                lstm_trace(q, sums + 4 * (j * height + r) * LANES, row + r, turn(q, p + j, first, end))
    lstm_gates(sums, n * height, LANES)
    for j in range(n):
        lstm_carry(q, sums + 4 * j * height * LANES, row, height, turn(q, p + j, first, end))
    lstm_outputs(sums, n * height, LANES)
    for j in range(n):
        emit_rows(q, sums + 4 * j * height * LANES, 4 * LANES, row, height, turn(q, p + j, first, end))


cdef void lstm_few(const run_t *q, int p, int n, int first, int end) noexcept nogil:
    """n panels from the p-th on, for few rows: all their sums, then their cells."""
    cdef real sums[SCRATCH_REALS]
    cdef const rt_matrix *m = &q.layer.w
    cdef rt_tile t[MAX_GROUP]
    cdef int j = 0
    cdef int k, block, nv, together
    while j < n:
        block = turn(q, p + j, first, end)
        nv = rt_panel_vectors(m, block)
        together = group_at(q, p, j, n, first, end)
        for k in range(together):
            aim(q, turn(q, p + j + k, first, end), turn(q, min(p + j + k + 1, end - 1), first, end), &t[k])
            t[k].out = sums + 4 * (j + k) * q.n_rows * LANES
            fetch_init(&t[k], q.n_rows)
        run_few(q, nv, together, t)
        part_gates(m, block, sums + 4 * j * q.n_rows * LANES, q.n_rows)
        j += together
    lstm_cells(q, sums, p, n, 0, q.n_rows, first, end)


cdef void fetch_inputs(const run_t *q, const split_t *cut, int p, int n, int tile, int next) noexcept nogil:
    """Ask for inputs of the next step, for as large a share of its rows as tiles `tile` to `next` of the p-th of n panels are."""
    cdef const rt_call *call = q.call
    cdef ptrdiff_t done = <ptrdiff_t> p * cut.n_tiles
    cdef ptrdiff_t all_tiles = <ptrdiff_t> n * cut.n_tiles
    cdef int step = q.step + 1
    cdef ptrdiff_t row
    if step >= q.n_steps:
        return
    for row in range((done + tile) * q.n_rows // all_tiles, (done + next) * q.n_rows // all_tiles):
        if q.length[row] > step:
            rt_fetch(<const real *> call.x + time_of(q, <int> row, step) * call.ldx_t + q.order[row] * call.ldx_b,
                     q.layer.n_in * sizeof(real))


cdef void lstm_step(run_t *q) noexcept nogil:
    cdef real sums[SCRATCH_REALS]
    cdef split_t whole = split_panel(q.far, q.n_rows, 4)
    cdef split_t cut
    cdef const rt_matrix *m = &q.layer.w
    cdef int first = part_start(q, q.layer.n_blocks, 0)
    cdef int end = part_start(q, q.layer.n_blocks, 1)
    cdef int at_once = sums_at_once(q, 4)
    cdef int p = first
    cdef int block, nv, tile, before, row, height
    cdef rt_tile t
    if at_once > 1:
        while p < end:
            lstm_few(q, p, min(at_once, end - p), first, end)
            p += at_once
        return
    for p in range(first, end):
        block = turn(q, p, first, end)
        nv = rt_panel_vectors(m, block)
        cut = whole if nv == 4 else split_panel(q.far, q.n_rows, nv)
        aim(q, block, turn(q, min(p + 1, end - 1), first, end), &t)
        row = tile = 0
        while tile < cut.n_tiles:
            t.out = sums
            before = tile
            height = sum_tile(q.far, nv, &cut, &tile, &t)
            if q.fetches_x:
                fetch_inputs(q, &cut, p - first, end - first, before, tile)
            part_gates(m, block, sums, height)
            lstm_cells(q, sums, p, 1, row, height, first, end)
            row += height


cdef void rnn_step(run_t *q) noexcept nogil:
    cdef const rt_matrix *m = &q.layer.w
    cdef real sums[SCRATCH_REALS]
    cdef split_t cut
    cdef int first = part_start(q, n_panels(m), 0)
    cdef int end = part_start(q, n_panels(m), 1)
    cdef int p, panel, blocks, tile, before, row, height
    cdef rt_tile t
    for p in range(first, end):
        panel = turn(q, p, first, end)
        blocks = panel_blocks(m, panel)
        cut = split_panel(q.far, q.n_rows, blocks)
        aim(q, panel, turn(q, min(p + 1, end - 1), first, end), &t)
        row = tile = 0
        while tile < cut.n_tiles:
            t.out = sums
            before = tile
            height = sum_tile(q.far, blocks, &cut, &tile, &t)
            if q.fetches_x:
                fetch_inputs(q, &cut, p - first, end - first, before, tile)
            tanh_gates(q, sums, height * blocks, LANES, 0)
            rnn_states(q, sums, row, height, panel * m.per_panel, blocks)
            row += height


cdef void find_outputs(run_t *q) noexcept nogil:
    """Where the rows of Y of this step lie."""
    cdef const rt_call *call = q.call
    cdef int row
    if call.y != NULL:
        for row in range(q.n_rows):
            q.y_rows[row] = <real *> call.y + time_of(q, row, q.step) * call.ldy_t + q.order[row] * call.ldy_b


cdef inline void exchange(const run_t *q, const rt_matrix *before, const real *given, const rt_matrix *after,
                          real *taken) noexcept nogil:
    """Ask for the units of `given` that other threads have just written, and for the lines of `taken` that this one will write.

    `before` and `after` are the matrices that the two are computed from.
    """
    cdef ptrdiff_t row, first, end
    if q.call.n_parts == 1:
        return
    first, end = part_unit(q, before, 0), part_unit(q, before, 1)
    for row in range(q.n_rows):
        rt_fetch(given + row * q.ldh, first * sizeof(real))
        rt_fetch(given + row * q.ldh + end, (q.ldh - end) * sizeof(real))
    first, end = part_unit(q, after, 0), part_unit(q, after, 1)
    for row in range(q.n_rows):
        rt_claim(taken + row * q.ldh + first, (end - first) * sizeof(real))


cdef void take_step(run_t *q) noexcept nogil:
    cdef const rt_layer *layer = q.layer
    find_outputs(q)
    if layer.kind == RT_GRU and not layer.linear_before_reset:
        exchange(q, &layer.r_hidden, q.h, &layer.r_gates, q.rh)
        gru_half(q, &layer.r_gates, q.h_rows, 0)
        meet(q)
        exchange(q, &layer.r_gates, q.rh, &layer.r_hidden, q.h_next)
        gru_half(q, &layer.r_hidden, q.rh_rows, 2)
        return
    exchange(q, &layer.w, q.h, &layer.w, q.h_next)
    if layer.quantized:
        bytes_step(q)
    elif layer.kind == RT_LSTM:
        lstm_step(q)
    elif layer.kind == RT_RNN:
        rnn_step(q)
    else:
        gru_step(q)
