# Steps of a GRU, in both its forms. Included by cells_<isa>.pyx after steps.pxi.


cdef void aim_inputs(const run_t *q, int block, rt_tile *t) noexcept nogil:
    """GRU with linear_before_reset, inputs not projected ahead: their sums, from the bias, from the first row on."""
    cdef const real *bias = <const real *> q.layer.bias + block * 3 * LANES
    t.w1 = panel_data(&q.layer.w, block, 0)
    t.w2 = panel_data(&q.layer.w, block, q.layer.n_in)
    t.k1 = q.layer.n_in
    t.k2 = 0
    t.terms, t.bounded = input_terms(q.layer), q.bounded
    t.a1 = t.a2 = q.x_rows
    t.init[0], t.init[1], t.init[2] = bias, bias + LANES, bias + 2 * LANES
    t.ldinit[0] = t.ldinit[1] = t.ldinit[2] = t.init_bytes = 0
    t.ahead = t.again = <const char *> t.w2


cdef void aim_hidden(const run_t *q, int block, int next, const real *x, rt_tile *t) noexcept nogil:
    """The sums over h, those of z and r from the inputs' in x; the h gate's two sums are kept apart."""
    cdef int k = q.layer.n_in if q.chunk else 0                # what is read after this begins there
    t.k1, t.bounded = 0, q.bounded
    t.k2 = q.n_h
    t.a1 = t.a2 = q.h_rows
    t.w1 = t.w2 = panel_data(&q.layer.w, block, q.layer.n_in)
    t.init[0], t.init[1], t.init[2] = x, x + LANES, <const real *> q.layer.bias_h + block * LANES
    t.ldinit[0] = t.ldinit[1] = 3 * LANES
    t.ldinit[2] = 0
    t.init_bytes = 3 * LANES * sizeof(real) if q.far_pre else 0
    t.ahead = <const char *> panel_data(&q.layer.w, next, k)
    t.again = <const char *> panel_data(&q.layer.w, block, k)


cdef inline const real *gru_inputs(const run_t *q, int block, int row, const real *x_sums) noexcept nogil:
    """Where some rows' sums over x are: projected ahead, or in x_sums."""
    if q.chunk:
        return projection(q, block, q.pre_row + row)
    return x_sums


cdef void gru_cells(const run_t *q, const real *x_sums, real *sums, int p, int n, int row, int height, int first,
                    int end) noexcept nogil:
    """As lstm_cells."""
    cdef int j, block
    cdef ptrdiff_t at
    gru_gates(q, sums, n * height, 3 * LANES)
    for j in range(n):
        block = turn(q, p + j, first, end)
        at = 3 * j * height * LANES
        gru_carry(q, gru_inputs(q, block, row, x_sums + at), sums + at, row, height, block)
    tanh_gates(q, sums + 2 * LANES, n * height, 3 * LANES, 1)
    for j in range(n):
        gru_blends(q, sums + 3 * j * height * LANES, row, height, turn(q, p + j, first, end))


cdef void gru_few(const run_t *q, int p, int n, int first, int end) noexcept nogil:
    """As lstm_few."""
    cdef real sums[SCRATCH_REALS]
    cdef real x_sums[SCRATCH_REALS]
    cdef rt_tile t[MAX_GROUP]
    cdef int j = 0
    cdef int k, together, block, next
    cdef ptrdiff_t at
    while j < n:
        together = group_at(q, p, j, n, first, end)
        if q.chunk == 0:
            for k in range(together):
                aim_inputs(q, turn(q, p + j + k, first, end), &t[k])
                t[k].out = x_sums + 3 * (j + k) * q.n_rows * LANES
            run_few(q, 3, together, t)
        for k in range(together):
            block, next = turn(q, p + j + k, first, end), turn(q, min(p + j + k + 1, end - 1), first, end)
            at = 3 * (j + k) * q.n_rows * LANES
            aim_hidden(q, block, next, gru_inputs(q, block, 0, x_sums + at), &t[k])
            t[k].out = sums + at
            fetch_init(&t[k], q.n_rows)
        run_few(q, 3, together, t)
        j += together
    gru_cells(q, x_sums, sums, p, n, 0, q.n_rows, first, end)


cdef void gru_step(run_t *q) noexcept nogil:
    cdef real sums[SCRATCH_REALS]
    cdef real x_sums[SCRATCH_REALS]
    cdef split_t cut = split_panel(q.far, q.n_rows, 3)
    cdef int first = part_start(q, q.layer.n_blocks, 0)
    cdef int end = part_start(q, q.layer.n_blocks, 1)
    cdef int at_once = sums_at_once(q, 3)
    cdef int p = first
    cdef int block, tile, at, row, height
    cdef rt_tile x, h
    if at_once > 1:
        while p < end:
            gru_few(q, p, min(at_once, end - p), first, end)
            p += at_once
        return
    for p in range(first, end):
        block = turn(q, p, first, end)
        if q.chunk == 0:
            aim_inputs(q, block, &x)
        aim_hidden(q, block, turn(q, min(p + 1, end - 1), first, end), gru_inputs(q, block, 0, x_sums), &h)
        row = tile = 0
        while tile < cut.n_tiles:
            if q.chunk == 0:
                at = tile
                x.out = x_sums
                sum_tile(q.far, 3, &cut, &at, &x)
                h.init[0], h.init[1] = x_sums, x_sums + LANES
            h.out = sums
            at = tile
            height = sum_tile(q.far, 3, &cut, &tile, &h)
            if q.fetches_x:
                fetch_inputs(q, &cut, p - first, end - first, at, tile)
            gru_cells(q, x_sums, sums, p, 1, row, height, first, end)
            row += height


cdef void gru_half(run_t *q, const rt_matrix *m, const real **rows, int gate) noexcept nogil:
    """One product of the default GRU: gates z and r from h (gate 0), then the h gate from r * h (gate 2)."""
    cdef real sums[SCRATCH_REALS]
    cdef rt_tile t
    cdef split_t cut
    cdef int p, panel, blocks, nv, v, tile, j, r, row, height
    cdef int first = part_start(q, n_panels(m), 0)
    cdef int end = part_start(q, n_panels(m), 1)
    cdef const real *g
    t.k1 = t.init_bytes = 0
    t.k2, t.bounded = q.n_h, q.bounded
    for p in range(first, end):
        panel = turn(q, p, first, end)
        blocks = panel_blocks(m, panel)
        nv = blocks * m.n_gates
        t.w1 = t.w2 = panel_data(m, panel, 0)
        t.ahead = <const char *> panel_data(m, turn(q, min(p + 1, end - 1), first, end), 0)
        t.again = <const char *> t.w2
        t.a1 = t.a2 = rows
        for v in range(nv):
            t.init[v] = projection(q, panel * m.per_panel + v // m.n_gates, q.pre_row)
            t.init[v] += (gate + v % m.n_gates) * LANES
            t.ldinit[v] = 3 * LANES
        cut = split_panel(q.far, q.n_rows, nv)
        row = tile = 0
        while tile < cut.n_tiles:
            t.out = sums
            height = sum_tile(q.far, nv, &cut, &tile, &t)
            if gate == 0:
                gru_gates(q, sums, height * blocks, 2 * LANES)
            else:
                tanh_gates(q, sums, height * blocks, LANES, 1)
            for r in range(height):
                for j in range(blocks):
                    g = sums + (r * nv + j * m.n_gates) * LANES
                    if gate == 0:
                        gru_reset(q, g, row + r, panel * m.per_panel + j)
                    else:
                        gru_candidate(q, g, row + r, panel * m.per_panel + j)
            row += height
