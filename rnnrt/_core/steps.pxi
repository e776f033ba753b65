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

cdef extern from *:
    """
    #define SCRATCH_REALS (MAX_ROWS * MAX_NV * LANES)
    """
    enum:
        SCRATCH_REALS


cdef struct split_t:              # rows cut into tiles of nearly equal height
    int n_tiles, height, n_taller


cdef inline split_t split_rows(ptrdiff_t n_rows, int nv) noexcept nogil:
    cdef split_t s
    cdef int most = panel_rows(nv, n_rows)
    s.n_tiles = <int> ((n_rows + most - 1) // most)
    s.height = <int> (n_rows // s.n_tiles)
    s.n_taller = <int> (n_rows - <ptrdiff_t> s.n_tiles * s.height)
    return s


cdef inline int panel_blocks(const rt_matrix *m, int panel) noexcept nogil:
    return min(m.per_panel, m.n_blocks - panel * m.per_panel)


cdef inline int n_panels(const rt_matrix *m) noexcept nogil:
    return (m.n_blocks + m.per_panel - 1) // m.per_panel


cdef inline const real *panel_data(const rt_matrix *m, int panel) noexcept nogil:
    return <const real *> m.data + <ptrdiff_t> panel * m.n_k * m.per_panel * m.n_gates * LANES


cdef inline int part_start(const run_t *q, int n, int next) noexcept nogil:
    """The first of n panels that belong to this thread, or with next = 1 to the one after it."""
    return <int> (<ptrdiff_t> n * (q.call.part + next) // q.call.n_parts)


cdef inline int turn(const run_t *q, int i, int first, int end) noexcept nogil:
    """The i-th panel to take: every other step goes backwards, so that it begins with what the caches still hold."""
    return first + end - 1 - i if q.step & 1 else i


cdef inline const char *ahead(const rt_matrix *m, int panel, int k, int n_k, int tile, int n_tiles) noexcept nogil:
    """What a tile brings into the L2 cache: its share of the n_k weights from k on of the panel that comes next."""
    cdef int width = panel_blocks(m, panel) * m.n_gates * LANES * <int> sizeof(real)
    cdef int share = tile - max(0, n_tiles - (width + 63) // 64)
    return <const char *> panel_data(m, panel) + <ptrdiff_t> k * width + <ptrdiff_t> max(0, share) * n_k * 64


cdef inline void meet(const run_t *q) noexcept nogil:
    """Wait for the other threads of this layer."""
    if q.call.n_parts > 1:
        rt_barrier_wait(q.call.barrier)


cdef inline real *projection(const run_t *q, int block, ptrdiff_t row) noexcept nogil:
    """Where the projection of a row's inputs for a block of its own panel lies."""
    cdef const rt_matrix *m = &q.layer.w
    cdef int panel = block // m.per_panel
    cdef int width = panel_blocks(m, panel)
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
        cut = split_rows(q.chunk_rows, nv)
        row = 0
        for i in range(cut.n_tiles):
            height = cut.height + (i < cut.n_taller)
            t.ahead = ahead(m, min(panel + 1, end - 1), 0, q.layer.n_in, i, cut.n_tiles)
            t.a1 = t.a2 = q.x_rows + row
            t.out = projection(q, panel * m.per_panel, row)
            panel_run(q.far, nv, height, &t)
            row += height


cdef inline int panels_at_once(const run_t *q) noexcept nogil:
    """How many panels of one block to sum before their cells are computed: enough of them for 8 blocks of few rows."""
    return MAX_ROWS // q.n_rows if 4 * q.n_rows <= MAX_ROWS else 1


cdef void sum_panel(const run_t *q, int panel, int next, const split_t *cut, int tile, int row, int height,
                    real *out) noexcept nogil:
    """LSTM and RNN: one sum over [x, h], from the bias, or over h alone, from the projection, for a tile of rows."""
    cdef const rt_matrix *m = &q.layer.w
    cdef int nv = panel_blocks(m, panel) * m.n_gates
    cdef int v
    cdef const real *init
    cdef ptrdiff_t ldinit = 0
    cdef rt_tile t
    if q.chunk:
        init = projection(q, panel * m.per_panel, q.pre_row + row)
        ldinit = nv * LANES
    else:
        init = <const real *> q.layer.bias + panel * m.per_panel * m.n_gates * LANES
    for v in range(nv):
        t.init[v] = init + v * LANES
        t.ldinit[v] = ldinit
    t.k1 = 0 if q.chunk else q.layer.n_in
    t.k2 = q.layer.n_hidden
    t.w1 = panel_data(m, panel)
    t.w2 = t.w1 + <ptrdiff_t> q.layer.n_in * nv * LANES
    t.a1 = q.x_rows + row
    t.a2 = q.h_rows + row
    t.out = out
    t.ahead = ahead(m, next, q.layer.n_in - <int> t.k1, <int> (t.k1 + t.k2), tile, cut.n_tiles)
    panel_run(q.far, nv, height, &t)


cdef void lstm_step(run_t *q) noexcept nogil:
    cdef real sums[SCRATCH_REALS]
    cdef split_t cut = split_rows(q.n_rows, 4)
    cdef int first = part_start(q, q.layer.n_blocks, 0)
    cdef int end = part_start(q, q.layer.n_blocks, 1)
    cdef int at_once = panels_at_once(q)
    cdef int p = first
    cdef int i, j, r, n, row, height
    while p < end:
        n = min(at_once, end - p)
        row = 0
        for i in range(cut.n_tiles):
            height = cut.height + (i < cut.n_taller)
            for j in range(n):
                sum_panel(q, turn(q, p + j, first, end), turn(q, min(p + j + 1, end - 1), first, end), &cut, i, row, height,
                          sums + 4 * j * height * LANES)
            if q.layer.plain and q.call.trace == NULL:
                for j in range(n * height):
                    lstm_gates(sums + 4 * j * LANES)
                for j in range(n):
                    for r in range(height):
                        lstm_state(q, sums + 4 * (j * height + r) * LANES, row + r, turn(q, p + j, first, end))
            else:
                for j in range(n):
                    for r in range(height):
                        lstm_any(q, sums + 4 * (j * height + r) * LANES, row + r, turn(q, p + j, first, end))
            row += height
        p += n


cdef void rnn_step(run_t *q) noexcept nogil:
    cdef const rt_matrix *m = &q.layer.w
    cdef real sums[SCRATCH_REALS]
    cdef split_t cut
    cdef int first = part_start(q, n_panels(m), 0)
    cdef int end = part_start(q, n_panels(m), 1)
    cdef int p, panel, blocks, i, j, r, row, height
    for p in range(first, end):
        panel = turn(q, p, first, end)
        blocks = panel_blocks(m, panel)
        cut = split_rows(q.n_rows, blocks)
        row = 0
        for i in range(cut.n_tiles):
            height = cut.height + (i < cut.n_taller)
            sum_panel(q, panel, turn(q, min(p + 1, end - 1), first, end), &cut, i, row, height, sums)
            for r in range(height):
                for j in range(blocks):
                    rnn_cell(q, sums + (r * blocks + j) * LANES, row + r, panel * m.per_panel + j)
            row += height


cdef void gru_sums(const run_t *q, int block, int next, const split_t *cut, int tile, int row, int height, real *x_sums,
                   real *sums) noexcept nogil:
    """GRU with linear_before_reset: the h gate's two sums are kept apart."""
    cdef rt_tile t
    cdef real *x = x_sums
    cdef const real *bias = <const real *> q.layer.bias + block * 3 * LANES
    t.w1 = panel_data(&q.layer.w, block)
    t.w2 = t.w1 + <ptrdiff_t> q.layer.n_in * 3 * LANES
    t.k2 = 0
    if q.chunk:
        x = projection(q, block, q.pre_row + row)
    else:
        t.k1 = q.layer.n_in
        t.a1 = t.a2 = q.x_rows + row
        t.init[0], t.init[1], t.init[2] = bias, bias + LANES, bias + 2 * LANES
        t.ldinit[0] = t.ldinit[1] = t.ldinit[2] = 0
        t.out = x
        t.ahead = <const char *> t.w2
        panel_run(q.far, 3, height, &t)
    t.k1 = 0
    t.k2 = q.layer.n_hidden
    t.a1 = t.a2 = q.h_rows + row
    t.init[0], t.init[1], t.init[2] = x, x + LANES, <const real *> q.layer.bias_h + block * LANES
    t.ldinit[0] = t.ldinit[1] = 3 * LANES
    t.ldinit[2] = 0
    t.out = sums
    t.ahead = ahead(&q.layer.w, next, q.layer.n_in, <int> t.k2, tile, cut.n_tiles)
    panel_run(q.far, 3, height, &t)


cdef void gru_step(run_t *q) noexcept nogil:
    cdef real sums[SCRATCH_REALS]
    cdef real x_sums[SCRATCH_REALS]
    cdef split_t cut = split_rows(q.n_rows, 3)
    cdef int first = part_start(q, q.layer.n_blocks, 0)
    cdef int end = part_start(q, q.layer.n_blocks, 1)
    cdef int at_once = panels_at_once(q)
    cdef int p = first
    cdef int i, j, r, n, row, height, block, at
    cdef const real *x
    while p < end:
        n = min(at_once, end - p)
        row = 0
        for i in range(cut.n_tiles):
            height = cut.height + (i < cut.n_taller)
            for j in range(n):
                block = turn(q, p + j, first, end)
                at = 3 * j * height * LANES
                gru_sums(q, block, turn(q, min(p + j + 1, end - 1), first, end), &cut, i, row, height, x_sums + at, sums + at)
            for j in range(n):
                block = turn(q, p + j, first, end)
                at = 3 * j * height * LANES
                x = projection(q, block, q.pre_row + row) if q.chunk else x_sums + at
                for r in range(height):
                    gru_gates(q, x + (3 * r + 2) * LANES, sums + at + 3 * r * LANES, row + r, block)
            for j in range(n):
                for r in range(height):
                    gru_state(q, sums + 3 * (j * height + r) * LANES, row + r, turn(q, p + j, first, end))
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
        cut = split_rows(q.n_rows, nv)
        row = 0
        for i in range(cut.n_tiles):
            height = cut.height + (i < cut.n_taller)
            t.ahead = ahead(m, turn(q, min(p + 1, end - 1), first, end), 0, <int> t.k2, i, cut.n_tiles)
            t.a1 = t.a2 = rows + row
            for v in range(nv):
                t.init[v] = projection(q, panel * m.per_panel + v // m.n_gates, q.pre_row + row)
                t.init[v] += (gate + v % m.n_gates) * LANES
                t.ldinit[v] = 3 * LANES
            panel_run(q.far, nv, height, &t)
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
    if q.layer.kind == RT_LSTM:
        lstm_step(q)
    elif q.layer.kind == RT_RNN:
        rnn_step(q)
    elif q.layer.linear_before_reset:
        gru_step(q)
    else:
        gru_half(q, &q.layer.r_gates, q.h_rows, 0)
        meet(q)
        gru_half(q, &q.layer.r_hidden, q.rh_rows, 2)
