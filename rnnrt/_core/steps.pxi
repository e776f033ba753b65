# A step: for each panel and tile of rows the sums of all gates, then the cells. Included by cells_<isa>.pyx after cells.pxi.

cdef extern from "panel.h" nogil:
    enum:
        MAX_ROWS, MAX_NV
    ctypedef struct rt_tile:
        const real **a1
        const real **a2
        const real *w1
        const real *w2
        ptrdiff_t k1, k2
        const real *init[4]
        ptrdiff_t ldinit[4]
        real *out
        const char *ahead
    int panel_rows(int nv, ptrdiff_t n_rows)
    void panel_run(int far, int nv, int rows, const rt_tile *t)
    void panel_pair(int far, int nv, const rt_tile *pair)

cdef extern from *:
    """
    #define SCRATCH_REALS (MAX_ROWS * MAX_NV * LANES)
    """
    enum:
        SCRATCH_REALS


cdef struct split_t:              # rows cut into tiles of nearly equal height
    int n_tiles, height, n_taller


cdef inline split_t split_rows(int n_rows, int most) noexcept nogil:
    cdef split_t s
    s.n_tiles, s.height, s.n_taller = 1, n_rows, 0
    if n_rows > most:                  # dividing takes as long as a tile of few rows
        s.n_tiles = (n_rows + most - 1) // most
        s.height = n_rows // s.n_tiles
        s.n_taller = n_rows - s.n_tiles * s.height
    return s


cdef inline int panel_blocks(const rt_matrix *m, int panel) noexcept nogil:
    return min(m.per_panel, m.n_blocks - panel * m.per_panel)


cdef inline int n_panels(const rt_matrix *m) noexcept nogil:
    return (m.n_blocks + m.per_panel - 1) // m.per_panel


cdef inline const real *panel_data(const rt_matrix *m, int panel) noexcept nogil:
    return <const real *> m.data + <ptrdiff_t> panel * m.n_k * m.per_panel * m.n_gates * LANES


cdef inline int part_start(const run_t *q, int n, int next) noexcept nogil:
    """The first of n panels that belong to this thread, or with next = 1 to the one after it."""
    if q.call.n_parts == 1:
        return n * next
    return <int> (<ptrdiff_t> n * (q.call.part + next) // q.call.n_parts)


cdef inline int turn(const run_t *q, int i, int first, int end) noexcept nogil:
    """The i-th panel to take: every other step goes backwards, so that it begins with what the caches still hold.

    That goes on from call to call: a stream's steps are calls.
    """
    return first + end - 1 - i if (q.turn + <unsigned> q.step) & 1 else i


cdef inline const char *ahead(const run_t *q, const rt_matrix *m, int panel, int k, int n_k, int tile,
                              int n_tiles) noexcept nogil:
    """What a far tile brings into the L2 cache: its share of the n_k weights from k on of the panel that comes next."""
    cdef int width, share
    if not q.far:
        return <const char *> m.data
    width = panel_blocks(m, panel) * m.n_gates * LANES * <int> sizeof(real)
    share = tile - max(0, n_tiles - (width + 63) // 64)
    return <const char *> panel_data(m, panel) + <ptrdiff_t> k * width + <ptrdiff_t> max(0, share) * n_k * 64


cdef inline void meet(const run_t *q) noexcept nogil:
    """Wait for the other threads of this layer."""
    if q.call.n_parts > 1:
        rt_barrier_wait(q.call.barrier)


cdef inline real *projection(const run_t *q, int block, ptrdiff_t row) noexcept nogil:
    """Where the projection of a row's inputs for a block of its own panel lies."""
    cdef const rt_matrix *m = &q.layer.w
    cdef int panel, width
    if m.per_panel == 1:
        return q.pre + (block * q.chunk_rows + row) * m.n_gates * LANES
    panel = block // m.per_panel
    width = panel_blocks(m, panel)
    return q.pre + (panel * m.per_panel * q.chunk_rows + row * width + block % m.per_panel) * m.n_gates * LANES


cdef void project(run_t *q) noexcept nogil:
    """pre = X W + bias for the rows of a chunk."""
    cdef const rt_matrix *m = &q.layer.w
    cdef const real *bias = <const real *> q.layer.bias
    cdef rt_tile t
    cdef split_t cut
    cdef int panel, nv, v, i, height
    cdef int end = part_start(q, n_panels(m), 1)
    cdef ptrdiff_t row
    t.k1 = q.layer.n_in
    t.k2 = 0
    for panel in range(part_start(q, n_panels(m), 0), end):
        nv = panel_blocks(m, panel) * m.n_gates
        t.w1 = t.w2 = panel_data(m, panel)
        for v in range(nv):
            t.init[v] = bias + (panel * m.per_panel * m.n_gates + v) * LANES
            t.ldinit[v] = 0
        cut = split_rows(<int> q.chunk_rows, panel_rows(nv, q.chunk_rows))
        row = 0
        for i in range(cut.n_tiles):
            height = cut.height + (i < cut.n_taller)
            t.ahead = ahead(q, m, min(panel + 1, end - 1), 0, q.layer.n_in, i, cut.n_tiles)
            t.a1 = t.a2 = q.x_rows + row
            t.out = projection(q, panel * m.per_panel, row)
            panel_run(q.far, nv, height, &t)
            row += height


cdef inline int panels_at_once(const run_t *q) noexcept nogil:
    """How many panels of one block to sum before their cells are computed: enough of them for 8 blocks of few rows."""
    return MAX_ROWS >> (q.n_rows - 1) if q.n_rows <= 2 else 1


cdef void aim(const run_t *q, int panel, int next, const split_t *cut, int tile, int row, real *out, rt_tile *t) noexcept nogil:
    """LSTM and RNN: one sum over [x, h], from the bias, or over h alone, from the projection, for a tile of rows."""
    cdef const rt_matrix *m = &q.layer.w
    cdef int nv = panel_blocks(m, panel) * m.n_gates
    cdef int v
    cdef const real *init
    cdef ptrdiff_t ldinit = 0
    if q.chunk:
        init = projection(q, panel * m.per_panel, q.pre_row + row)
        ldinit = nv * LANES
    else:
        init = <const real *> q.layer.bias + panel * m.per_panel * m.n_gates * LANES
    for v in range(MAX_NV):            # those past nv are not looked at
        t.init[v] = init + v * LANES
        t.ldinit[v] = ldinit
    t.k1 = 0 if q.chunk else q.layer.n_in
    t.k2 = q.layer.n_hidden
    t.w1 = panel_data(m, panel)
    t.w2 = t.w1 + <ptrdiff_t> q.layer.n_in * nv * LANES
    t.a1 = q.x_rows + row
    t.a2 = q.h_rows + row
    t.out = out
    t.ahead = ahead(q, m, next, q.layer.n_in - <int> t.k1, <int> (t.k1 + t.k2), tile, cut.n_tiles)


cdef inline int pair_of(int n_rows, int j, int n) noexcept nogil:
    """How many panels to sum together from the j-th of n on: a single row takes two."""
    return 2 if n_rows == 1 and j + 2 <= n else 1


cdef inline void run_tiles(const run_t *q, int nv, int together, int height, const rt_tile *t) noexcept nogil:
    """The tile of one panel, or the two of a pair."""
    if together == 2:
        panel_pair(q.far, nv, t)
    else:
        panel_run(q.far, nv, height, t)


cdef void lstm_cells(const run_t *q, real *sums, int p, int n, int row, int height, int first, int end) noexcept nogil:
    """The cells of n panels from the p-th on, for a tile of rows."""
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


cdef void lstm_step(run_t *q) noexcept nogil:
    cdef real sums[SCRATCH_REALS]
    cdef split_t cut = split_rows(q.n_rows, panel_rows(4, q.n_rows))
    cdef int first = part_start(q, q.layer.n_blocks, 0)
    cdef int end = part_start(q, q.layer.n_blocks, 1)
    cdef int at_once = panels_at_once(q)
    cdef int p = first
    cdef int i, j, k, n, row, height, together
    cdef rt_tile t[2]
    while p < end:
        n = min(at_once, end - p)
        row = 0
        for i in range(cut.n_tiles):
            height = cut.height + (i < cut.n_taller)
            j = 0
            while j < n:
                together = pair_of(q.n_rows, j, n)
                for k in range(together):
                    aim(q, turn(q, p + j + k, first, end), turn(q, min(p + j + k + 1, end - 1), first, end), &cut, i, row,
                        sums + 4 * (j + k) * height * LANES, &t[k])
                run_tiles(q, 4, together, height, t)
                j += together
            lstm_cells(q, sums, p, n, row, height, first, end)
            row += height
        p += n


cdef void rnn_step(run_t *q) noexcept nogil:
    cdef const rt_matrix *m = &q.layer.w
    cdef real sums[SCRATCH_REALS]
    cdef split_t cut
    cdef int first = part_start(q, n_panels(m), 0)
    cdef int end = part_start(q, n_panels(m), 1)
    cdef int p, panel, blocks, i, j, r, row, height
    cdef rt_tile t
    for p in range(first, end):
        panel = turn(q, p, first, end)
        blocks = panel_blocks(m, panel)
        cut = split_rows(q.n_rows, panel_rows(blocks, q.n_rows))
        row = 0
        for i in range(cut.n_tiles):
            height = cut.height + (i < cut.n_taller)
            aim(q, panel, turn(q, min(p + 1, end - 1), first, end), &cut, i, row, sums, &t)
            panel_run(q.far, blocks, height, &t)
            tanh_gates(q, sums, height * blocks, LANES, 0)
            for r in range(height):
                for j in range(blocks):
                    rnn_cell(q, sums + (r * blocks + j) * LANES, row + r, panel * m.per_panel + j)
            row += height


cdef void aim_inputs(const run_t *q, int block, int row, real *out, rt_tile *t) noexcept nogil:
    """GRU with linear_before_reset, inputs not projected ahead: their sums, from the bias."""
    cdef const real *bias = <const real *> q.layer.bias + block * 3 * LANES
    t.w1 = panel_data(&q.layer.w, block)
    t.k1 = q.layer.n_in
    t.k2 = 0
    t.a1 = t.a2 = q.x_rows + row
    t.init[0], t.init[1], t.init[2] = bias, bias + LANES, bias + 2 * LANES
    t.ldinit[0] = t.ldinit[1] = t.ldinit[2] = 0
    t.out = out
    t.w2 = t.w1 + <ptrdiff_t> q.layer.n_in * 3 * LANES
    t.ahead = <const char *> t.w2


cdef void aim_hidden(const run_t *q, int block, int next, const split_t *cut, int tile, int row, const real *x, real *out,
                     rt_tile *t) noexcept nogil:
    """The sums over h, those of z and r from the inputs' in x; the h gate's two sums are kept apart."""
    t.k1 = 0
    t.k2 = q.layer.n_hidden
    t.a1 = t.a2 = q.h_rows + row
    t.w1 = t.w2 = panel_data(&q.layer.w, block) + <ptrdiff_t> q.layer.n_in * 3 * LANES
    t.init[0], t.init[1], t.init[2] = x, x + LANES, <const real *> q.layer.bias_h + block * LANES
    t.ldinit[0] = t.ldinit[1] = 3 * LANES
    t.ldinit[2] = 0
    t.out = out
    t.ahead = ahead(q, &q.layer.w, next, q.layer.n_in, <int> t.k2, tile, cut.n_tiles)


cdef inline const real *gru_inputs(const run_t *q, int block, int row, const real *x_sums) noexcept nogil:
    """Where a tile's sums over x are: projected ahead, or in x_sums."""
    if q.chunk:
        return projection(q, block, q.pre_row + row)
    return x_sums


cdef void gru_sums(const run_t *q, const int *blocks, const int *nexts, int together, const split_t *cut, int tile, int row,
                   int height, real *x_sums, real *sums) noexcept nogil:
    """GRU with linear_before_reset: the sums of one block, or of two for a single row."""
    cdef rt_tile t[2]
    cdef int k
    cdef ptrdiff_t size = 3 * height * LANES
    if q.chunk == 0:
        for k in range(together):
            aim_inputs(q, blocks[k], row, x_sums + k * size, &t[k])
        run_tiles(q, 3, together, height, t)
    for k in range(together):
        aim_hidden(q, blocks[k], nexts[k], cut, tile, row, gru_inputs(q, blocks[k], row, x_sums + k * size), sums + k * size,
                   &t[k])
    run_tiles(q, 3, together, height, t)


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


cdef void gru_step(run_t *q) noexcept nogil:
    cdef real sums[SCRATCH_REALS]
    cdef real x_sums[SCRATCH_REALS]
    cdef split_t cut = split_rows(q.n_rows, panel_rows(3, q.n_rows))
    cdef int first = part_start(q, q.layer.n_blocks, 0)
    cdef int end = part_start(q, q.layer.n_blocks, 1)
    cdef int at_once = panels_at_once(q)
    cdef int p = first
    cdef int i, j, k, n, row, height, together
    cdef int blocks[2]
    cdef int nexts[2]
    while p < end:
        n = min(at_once, end - p)
        row = 0
        for i in range(cut.n_tiles):
            height = cut.height + (i < cut.n_taller)
            j = 0
            while j < n:
                together = pair_of(q.n_rows, j, n)
                for k in range(together):
                    blocks[k] = turn(q, p + j + k, first, end)
                    nexts[k] = turn(q, min(p + j + k + 1, end - 1), first, end)
                gru_sums(q, blocks, nexts, together, &cut, i, row, height, x_sums + 3 * j * height * LANES,
                         sums + 3 * j * height * LANES)
                j += together
            gru_cells(q, x_sums, sums, p, n, row, height, first, end)
            row += height
        p += n


cdef void gru_half(run_t *q, const rt_matrix *m, const real **rows, int gate) noexcept nogil:
    """One product of the default GRU: gates z and r from h (gate 0), then the h gate from r * h (gate 2)."""
    cdef real sums[SCRATCH_REALS]
    cdef rt_tile t
    cdef split_t cut
    cdef int p, panel, blocks, nv, v, i, j, r, row, height
    cdef int first = part_start(q, n_panels(m), 0)
    cdef int end = part_start(q, n_panels(m), 1)
    cdef const real *g
    t.k1 = 0
    t.k2 = q.layer.n_hidden
    t.out = sums
    for p in range(first, end):
        panel = turn(q, p, first, end)
        blocks = panel_blocks(m, panel)
        nv = blocks * m.n_gates
        t.w1 = t.w2 = panel_data(m, panel)
        cut = split_rows(q.n_rows, panel_rows(nv, q.n_rows))
        row = 0
        for i in range(cut.n_tiles):
            height = cut.height + (i < cut.n_taller)
            t.ahead = ahead(q, m, turn(q, min(p + 1, end - 1), first, end), 0, <int> t.k2, i, cut.n_tiles)
            t.a1 = t.a2 = rows + row
            for v in range(nv):
                t.init[v] = projection(q, panel * m.per_panel + v // m.n_gates, q.pre_row + row)
                t.init[v] += (gate + v % m.n_gates) * LANES
                t.ldinit[v] = 3 * LANES
            panel_run(q.far, nv, height, &t)
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


cdef void find_outputs(run_t *q) noexcept nogil:
    """Where the rows of Y of this step lie."""
    cdef const rt_call *call = q.call
    cdef int row
    if call.y != NULL:
        for row in range(q.n_rows):
            q.y_rows[row] = <real *> call.y + time_of(q, row, q.step) * call.ldy_t + q.order[row] * call.ldy_b


cdef void take_step(run_t *q) noexcept nogil:
    find_outputs(q)
    if q.layer.quantized:
        bytes_step(q)
    elif q.layer.kind == RT_LSTM:
        lstm_step(q)
    elif q.layer.kind == RT_RNN:
        rnn_step(q)
    elif q.layer.linear_before_reset:
        gru_step(q)
    else:
        gru_half(q, &q.layer.r_gates, q.h_rows, 0)
        meet(q)
        gru_half(q, &q.layer.r_hidden, q.rh_rows, 2)
