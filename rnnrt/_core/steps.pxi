# The time-step loop: a call is set up in its workspace, walks over chunks of steps, projects a chunk's inputs at once, and
# takes the steps one by one, with fewer rows as sequences end.

from libc.string cimport memcpy, memset

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
    /* Input projections of a chunk stay in the L2 cache, but for wide layers a chunk has rows enough to read W seldom. */
    #define CHUNK_BYTES (256 << 10)
    #define CHUNK_ROWS 192
    /* Weights of one step beyond this do not stay in the L2 cache: 1 MiB is common. */
    #define FAR_BYTES (5 << 18)
    /* Weights of both that stay in it beside all else: full tiles then read W as fast as they can use it, step by step. */
    #define FUSED_BYTES (3 << 18)
    """
    enum:
        SCRATCH_REALS, CHUNK_BYTES, CHUNK_ROWS, FAR_BYTES, FUSED_BYTES


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


cdef ptrdiff_t step_bytes(const rt_layer *layer, int n_batch) noexcept nogil:
    """Bytes of one step's input projections."""
    return <ptrdiff_t> n_batch * layer.w.n_blocks * layer.w.n_gates * LANES * sizeof(real)


cdef int steps_in_chunk(const rt_layer *layer, int n_time, int n_batch) noexcept nogil:
    """How many steps' inputs are projected at once; 0 where x and h are better taken in one pass over a panel."""
    cdef ptrdiff_t weights = <ptrdiff_t> layer.w.n_k * layer.w.n_gates * layer.n_hidden * sizeof(real)
    if layer.kind == RT_GRU and not layer.linear_before_reset:
        pass
    elif n_time == 1 or n_batch >= MAX_ROWS and weights <= FUSED_BYTES:
        return 0
    elif layer.kind != RT_GRU and layer.n_in <= 4:
        return 0
    cdef ptrdiff_t steps = max(CHUNK_BYTES // max(1, step_bytes(layer, n_batch)), CHUNK_ROWS // max(1, n_batch))
    return <int> max(1, min(<ptrdiff_t> n_time, steps))


cdef inline char *take(char **work, size_t size) noexcept nogil:
    """The next `size` bytes of the workspace, on a cache line of their own."""
    cdef char *p = work[0]
    work[0] = p + ((size + 63) & ~<size_t> 63)
    return p


cdef char *lay_out(run_t *q, const rt_layer *layer, char *work, int n_time, int n_batch, int part,
                   int n_parts) noexcept nogil:
    """Place the arrays of a call from `work` on; returns the end."""
    cdef size_t state, rows
    q.layer = layer
    q.ldh = <ptrdiff_t> layer.n_blocks * LANES
    q.chunk = steps_in_chunk(layer, n_time, n_batch)
    q.far = <ptrdiff_t> layer.w.n_gates * layer.n_hidden * (layer.n_hidden + (0 if q.chunk else layer.n_in)) * <int> sizeof(
        real) > FAR_BYTES
    state = n_batch * q.ldh * sizeof(real)
    rows = n_batch * <size_t> max(1, q.chunk)
    q.order = <int *> take(&work, n_batch * sizeof(int))
    q.length = <int *> take(&work, n_batch * sizeof(int))
    q.starts = <int *> take(&work, (n_time + <size_t> 1) * sizeof(int))
    q.h = <real *> take(&work, state)
    q.h_next = <real *> take(&work, state)
    q.c = <real *> take(&work, state)
    q.rh = <real *> take(&work, state)
    q.pre = <real *> take(&work, q.chunk * step_bytes(layer, n_batch))
    q.x_rows = <const real **> take(&work, n_parts * rows * sizeof(void *)) + part * rows
    q.h_rows = <const real **> take(&work, n_batch * sizeof(void *))
    q.next_rows = <const real **> take(&work, n_batch * sizeof(void *))
    q.rh_rows = <const real **> take(&work, n_batch * sizeof(void *))
    q.y_rows = <real **> take(&work, n_parts * <size_t> n_batch * sizeof(void *)) + part * <size_t> n_batch
    return work


cdef size_t work_size(const rt_layer *layer, int n_time, int n_batch, int n_parts) noexcept nogil:
    cdef run_t q
    return <size_t> (lay_out(&q, layer, <char *> 0, n_time, n_batch, 0, n_parts) - <char *> 0)


cdef void sort_rows(run_t *q) noexcept nogil:
    """Longest sequences first, so that the rows still running are always the first ones. Stable, by counting."""
    cdef const int *lengths = q.call.lengths
    cdef int b, t, i
    for b in range(q.call.n_batch):
        q.order[b] = b
        q.length[b] = q.call.n_time
    if lengths != NULL:
        memset(q.starts, 0, (q.call.n_time + 1) * sizeof(int))
        for b in range(q.call.n_batch):
            q.starts[lengths[b]] += 1
        i = q.call.n_batch
        for t in range(q.call.n_time + 1):
            i -= q.starts[t]
            q.starts[t] = i
        for b in range(q.call.n_batch):
            i = q.starts[lengths[b]]
            q.starts[lengths[b]] += 1
            q.order[i] = b
            q.length[i] = lengths[b]

cdef void load_state(run_t *q) noexcept nogil:
    cdef const rt_call *call = q.call
    cdef size_t n = q.layer.n_hidden * sizeof(real)
    cdef ptrdiff_t row
    for row in range(call.n_batch):
        q.h_rows[row] = q.h + row * q.ldh
        q.next_rows[row] = q.h_next + row * q.ldh
        q.rh_rows[row] = q.rh + row * q.ldh
        memset(q.h + row * q.ldh, 0, q.ldh * sizeof(real))
        memset(q.c + row * q.ldh, 0, q.ldh * sizeof(real))
        if call.h0 != NULL:
            memcpy(q.h + row * q.ldh, <const real *> call.h0 + q.order[row] * call.ldh0, n)
        if call.c0 != NULL:
            memcpy(q.c + row * q.ldh, <const real *> call.c0 + q.order[row] * call.ldc0, n)


cdef void finish_row(run_t *q, int row) noexcept nogil:
    """A sequence has ended: its final state, and zeros past its end. One of length 0 has a zero state."""
    cdef const rt_call *call = q.call
    cdef size_t n = q.layer.n_hidden * sizeof(real)
    cdef bint empty = call.lengths != NULL and q.length[row] == 0
    cdef ptrdiff_t b = q.order[row]
    cdef int t
    if call.y_h != NULL:
        memcpy(<real *> call.y_h + b * call.ldy_h, q.h + row * q.ldh, n)
        if empty:
            memset(<real *> call.y_h + b * call.ldy_h, 0, n)
    if call.y_c != NULL:
        memcpy(<real *> call.y_c + b * call.ldy_c, q.c + row * q.ldh, n)
        if empty:
            memset(<real *> call.y_c + b * call.ldy_c, 0, n)
    if call.y != NULL:
        for t in range(q.length[row], call.n_time):
            memset(<real *> call.y + t * call.ldy_t + b * call.ldy_b, 0, n)


cdef int start_chunk(run_t *q) noexcept nogil:
    """Gather the input rows of the next steps, as many as there is room for, and project them; returns how many steps."""
    cdef const rt_call *call = q.call
    cdef ptrdiff_t room = call.n_batch * <ptrdiff_t> q.chunk
    cdef int step = q.step
    cdef int n_rows = q.n_rows
    cdef int row
    q.chunk_rows = 0
    q.pre_row = 0
    while step < q.n_steps:
        while q.length[n_rows - 1] <= step:
            n_rows -= 1
        if step > q.step and q.chunk_rows + n_rows > room:
            break
        for row in range(n_rows):
            q.x_rows[q.chunk_rows] = (<const real *> call.x + time_of(q, row, step) * call.ldx_t
                                      + q.order[row] * call.ldx_b)
            q.chunk_rows += 1
        step += 1
    if q.chunk:
        project(q)
        meet(q)
    return step - q.step


cdef void finish_rows(run_t *q, int step) noexcept nogil:
    """Drop the rows that have no such step."""
    while q.n_rows > 0 and q.length[q.n_rows - 1] <= step:
        q.n_rows -= 1
        if q.call.part == 0:
            finish_row(q, q.n_rows)


cdef void run(const rt_layer *layer, const rt_call *call) noexcept nogil:
    """The whole call, or one thread's part of its units: the threads share the workspace and meet after every step."""
    cdef run_t q
    cdef int steps_left = 0
    if call.n_batch == 0:
        return
    q.call = call
    lay_out(&q, layer, <char *> call.work, call.n_time, call.n_batch, call.part, call.n_parts)
    if call.part == 0:
        sort_rows(&q)
        load_state(&q)
    meet(&q)
    q.n_rows = call.n_batch
    q.n_steps = q.length[0]
    q.step = 0
    while q.step < q.n_steps:
        finish_rows(&q, q.step)
        if steps_left == 0:
            steps_left = start_chunk(&q)
        take_step(&q)
        meet(&q)
        q.h, q.h_next = q.h_next, q.h
        q.h_rows, q.next_rows = q.next_rows, q.h_rows
        q.pre_row += q.n_rows
        steps_left -= 1
        q.step += 1
    finish_rows(&q, q.n_steps)
