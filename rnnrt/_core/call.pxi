# A call: set up in its workspace, it walks over chunks of steps, projects a chunk's inputs at once, and takes the steps one by
# one, with fewer rows as sequences end. Included by cells_<isa>.pyx after steps_gru.pxi.

from libc.string cimport memcpy, memset

cdef extern from *:
    """
    /* Input projections of a chunk stay in the L2 cache, but for wide layers a chunk has rows enough to read W seldom. */
    #define CHUNK_BYTES (256 << 10)
    #define CHUNK_ROWS 192
    /* Rows that use weights for as long as those take to come from beyond the L2 cache. */
    #define STREAM_ROWS 32
    /* From so many blocks of units on a row has lines enough to be stored past the caches with its neighbours. */
    #define STREAM_BLOCKS 8
    /* Of so many bytes a panel tells little what is fetched past its end. */
    #define LONG_PANEL (256 << 10)
    """
    enum:
        CHUNK_BYTES, CHUNK_ROWS, STREAM_ROWS, STREAM_BLOCKS, LONG_PANEL

cdef extern from "cpu.h" nogil:
    long rt_l2_bytes()
    long rt_cached_bytes()
    long rt_l3_bytes()
    long rt_near_bytes()
    long rt_turned_bytes()
    int rt_reads_ahead()


cdef ptrdiff_t step_bytes(const rt_layer *layer, int n_batch) noexcept nogil:
    """Bytes of one step's input projections."""
    return <ptrdiff_t> n_batch * layer.w.n_blocks * layer.w.n_gates * LANES * sizeof(real)


cdef bint reads_both(ptrdiff_t weights, int n_batch) noexcept nogil:
    """Whether tiles read W as fast as they can use it, step by step: from the L2 cache, or fetched ahead of many rows."""
    if n_batch >= STREAM_ROWS:
        return weights <= n_batch // (STREAM_ROWS // 2) * rt_l2_bytes()      # not many times it: rows may end early
    return n_batch >= MAX_ROWS and weights <= rt_cached_bytes()


cdef int fetches_ahead(const rt_layer *layer, ptrdiff_t weights, int n_batch) noexcept nogil:
    """Whether tiles ask for the weights of a step early, as they come from beyond the L2 cache and the processor does not."""
    cdef ptrdiff_t half = rt_l3_bytes() // 2                   # others use that cache, too
    cdef ptrdiff_t near = rt_near_bytes()
    if rt_reads_ahead() and LANES > 8:
        # Two tiles together, which fetch blocks (split_panel).
        if n_batch > 3 and layer.kind != RT_GRU or n_batch > panel_rows(3):
            near = rt_turned_bytes()
        else:
            near += half * max(0, 5 - n_batch)
    if weights <= near:
        return RT_NEAR
    if rt_reads_ahead():
        if LANES > 8 or 1 < n_batch < STREAM_ROWS:
            return RT_FAR
        return RT_NEXT if n_batch > 1 else RT_NEAR
    return RT_MEMORY if weights > half else RT_NEXT


cdef bint goes_alone(const rt_layer *layer, ptrdiff_t weights, int n_batch) noexcept nogil:
    """Whether a single row reads long panels from the L3 cache: there one place, a page ahead, gives more than three."""
    return (n_batch == 1 and rt_reads_ahead() and LANES > 8 and rt_turned_bytes() < weights < rt_l3_bytes() // 2
            and weights // layer.n_blocks >= LONG_PANEL)


cdef int steps_in_chunk(const rt_layer *layer, int n_time, int n_batch) noexcept nogil:
    """How many steps' inputs are projected at once; 0 where x and h are better taken in one pass over a panel."""
    cdef ptrdiff_t weights = <ptrdiff_t> layer.w.n_k * layer.w.n_gates * layer.n_hidden * sizeof(real)
    if layer.quantized or (layer.kind == RT_GRU and not layer.linear_before_reset):
        pass
    elif n_time == 1 or reads_both(weights, n_batch):
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
    cdef ptrdiff_t gates, weights
    q.layer = layer
    q.ldh = <ptrdiff_t> layer.n_blocks * LANES
    q.chunk = steps_in_chunk(layer, n_time, n_batch)
    q.far = q.far_x = RT_NEAR
    q.far_pre = q.alone = False
    if not layer.quantized:
        gates = <ptrdiff_t> layer.w.n_gates * layer.n_hidden * sizeof(real)
        weights = gates * (layer.n_hidden + (0 if q.chunk else layer.n_in))
        q.alone = goes_alone(layer, weights, n_batch)
        q.far = RT_FAR if q.alone else fetches_ahead(layer, weights, n_batch)
        q.far_x = fetches_ahead(layer, gates * layer.n_in, n_batch * min(n_time, q.chunk))
        q.far_pre = q.chunk > 0 and gates * layer.n_hidden > rt_turned_bytes()
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
    if layer.quantized:
        work = lay_out_bytes(&q.x_bytes, rows, layer.n_in, work)
        work = lay_out_bytes(&q.h_bytes, n_batch, layer.n_hidden, work)
    return work


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


include "across.pxi"
include "bytes.pxi"


cdef rt_choice choose(const rt_layer *layer, int n_time, int n_batch) noexcept nogil:
    """How a call on one thread goes, unless it is traced."""
    cdef run_t q
    cdef rt_choice choice
    lay_out(&q, layer, <char *> 0, n_time, n_batch, 0, 1)
    choice.across, choice.chunk, choice.far = goes_across(layer, n_time, n_batch), q.chunk, q.far
    return choice


cdef size_t work_size(const rt_layer *layer, int n_time, int n_batch, int n_parts) noexcept nogil:
    cdef run_t q
    cdef across_t a
    cdef char *end = lay_out(&q, layer, <char *> 0, n_time, n_batch, 0, n_parts)
    if goes_across(layer, n_time, n_batch):
        end = lay_across(&a, layer, n_batch, end)
    return <size_t> (end - <char *> 0)


cdef bint inputs_small(const run_t *q, int step, int end) noexcept nogil:
    """Whether no sum of the steps up to `end` may overflow, as inputs, weights and states are small."""
    cdef const rt_call *call = q.call
    cdef const real *x = <const real *> call.x
    cdef ptrdiff_t n = q.layer.n_in
    cdef bint flat = call.lengths == NULL and call.ldx_b == n         # the rows of a step lie side by side
    cdef bint small = q.small
    cdef int row
    if small and flat and call.ldx_t == call.n_batch * n:
        return panel_small(x + time_of(q, 0, end - 1 if call.reverse else step) * call.ldx_t, (end - step) * call.ldx_t)
    while small and step < end:
        row = 0
        while small and row < call.n_batch and q.length[row] > step:
            small = panel_small(x + time_of(q, row, step) * call.ldx_t + q.order[row] * call.ldx_b,
                                n * call.n_batch if flat else n)
            row = call.n_batch if flat else row + 1
        step += 1
    return small


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
    q.bounded = inputs_small(q, q.step, step)
    if q.layer.quantized:
        project_bytes(q)
    elif q.chunk:
        project(q)
        meet(q)
    return step - q.step


cdef void finish_rows(run_t *q, int step) noexcept nogil:
    """Drop the rows that have no such step."""
    while q.n_rows > 0 and q.length[q.n_rows - 1] <= step:
        q.n_rows -= 1
        if q.call.part == 0:
            finish_row(q, q.n_rows)


include "single.pxi"


cdef void weigh_arrays(run_t *q) noexcept nogil:
    """How to treat inputs and outputs that are more than the L2 cache holds.

    A line of Y that is stored into has to come from far first, and the stores of tiles wait for it; one that is stored whole and
    past the caches need not come. Where blocks of units are no lines, the rows of a step are, as they lie side by side.
    """
    cdef const rt_call *call = q.call
    cdef int n = q.layer.n_hidden
    cdef ptrdiff_t rows = <ptrdiff_t> call.n_time * call.n_batch
    cdef size_t y = <size_t> call.y | <size_t> (call.ldy_t * sizeof(real)) | <size_t> (call.ldy_b * sizeof(real))
    cdef bint large = RT_STREAMS and call.y != NULL and rows * n * <ptrdiff_t> sizeof(real) > rt_l2_bytes()
    q.fetches_x = q.chunk == 0 and rows * q.layer.n_in * <ptrdiff_t> sizeof(real) > rt_l2_bytes()
    q.streams_y = large and y % (LANES * sizeof(real)) == 0 and n % LANES == 0
    q.streams_rows = (large and not q.streams_y and n >= STREAM_BLOCKS * LANES and call.ldy_b == n and call.lengths == NULL
                      and call.n_parts == 1)
    q.emits = call.y != NULL and not q.streams_rows


cdef void run_steps(run_t *q) noexcept nogil:
    """All steps, with fewer rows as sequences end."""
    cdef int steps_left = 0
    weigh_arrays(q)
    while q.step < q.n_steps:
        finish_rows(q, q.step)
        if steps_left == 0:
            steps_left = start_chunk(q)
        if q.layer.quantized:
            hold_states(q)
        take_step(q)
        q.n_h = q.layer.n_hidden
        if q.streams_rows:
            v_stream_rows(q.y_rows[0], q.h_next, q.ldh, q.layer.n_hidden, q.n_rows)
        meet(q)
        q.h, q.h_next = q.h_next, q.h
        q.h_rows, q.next_rows = q.next_rows, q.h_rows
        q.pre_row += q.n_rows
        steps_left -= 1
        q.step += 1
    if q.streams_y or q.streams_rows:
        v_streamed()


cdef void run(const rt_layer *layer, const rt_call *call) noexcept nogil:
    """The whole call, or one thread's part of its units: the threads share the workspace and meet after every step."""
    cdef run_t q
    cdef char *end
    if call.n_batch == 0:
        return
    q.call = call
    end = lay_out(&q, layer, <char *> call.work, call.n_time, call.n_batch, call.part, call.n_parts)
    if call.part == 0:
        sort_rows(&q)
        load_state(&q)
    meet(&q)
    q.n_h = first_h(&q)
    # A step of one row looks for NaNs among its sums as fast as for large numbers among its inputs.
    q.small = (layer.bounded and <ptrdiff_t> call.n_time * call.n_batch > 1
               and (call.h0 == NULL or panel_small(q.h, call.n_batch * q.ldh)))
    if call.n_parts == 1 and call.trace == NULL and goes_across(layer, call.n_time, call.n_batch):
        run_across(&q, end)
        return
    q.n_rows = call.n_batch
    q.n_steps = q.length[0]
    q.step = 0
    q.turn = rt_turns(layer)
    if layer.quantized:                # on one thread
        q.fast = bytes_fast()
        q.x_bytes.scale = bytes_scale(<const real *> call.x, call.ldx_t, call.n_time, call.ldx_b, call.n_batch, layer.n_in)
    if goes_single(&q):
        run_single(&q)
    else:
        run_steps(&q)
    finish_rows(&q, q.n_steps)
    if call.part == 0:
        rt_turned(layer, q.turn + <unsigned> q.n_steps)
