# Stacked layers as a wavefront: while one thread computes a layer's next chunk of steps, another computes the layer above for
# the chunk before. Worth it where a step is too short to be shared out. Included by engine.pyx after bound.pxi.
#
#   layer 0 | chunk 0 | chunk 1 | chunk 2 |            a column is a wave: its cells have no order among themselves,
#   layer 1 |         | chunk 0 | chunk 1 | chunk 2 |  and a barrier ends it
#
# A chunk is a call of its own, from the state that the one before has left: bits are those of the whole.

cdef struct link_t:                    # one layer, and where its state lies between chunks
    bound_t bound
    rt_ref h, c


cdef struct wavefront_t:               # the words of a step; the links follow
    int64_t n_layers, steps        # a thread a layer; steps of a chunk


cdef struct wave_t:                    # a run in progress
    const wavefront_t *words
    char *const *values
    rt_barrier barrier
    int n_members, n_chunks


# Nanoseconds: a barrier with what is lost by unequal work; setting up a call; the cells of a block of units.
cdef double MEET_NS = 300
cdef double SET_UP_NS = 300
cdef double CELL_NS = 30
cdef double CHUNK_NS = 10e3            # of one chunk, so that the two above do not count
cdef int MAX_CHUNKS = 16


cdef void run_chunk(const link_t *link, char *const *values, int chunk, int steps) noexcept nogil:
    """One layer, for its chunk-th `steps` steps."""
    cdef const bound_t *s = &link.bound
    cdef ptrdiff_t element = s.kernels.element_size
    cdef ptrdiff_t first = <ptrdiff_t> chunk * steps
    cdef char *h = rt_at(values, link.h)
    cdef char *c = rt_at(values, link.c)
    cdef rt_call call
    fill_call(s, values, 0, &call)
    call.n_time = <int> min(<ptrdiff_t> steps, s.n_time - first)
    call.x = <const char *> call.x + first * call.ldx_t * element
    if call.y != NULL:
        call.y = <char *> call.y + first * call.ldy_t * element
    if first > 0:
        call.h0, call.c0 = h, c
        call.ldh0 = call.ldc0 = s.layers[0].n_hidden
    if first + call.n_time < s.n_time:
        call.y_h, call.y_c = h, c
        call.ldy_h = call.ldy_c = s.layers[0].n_hidden
    if s.layers[0].kind != RT_LSTM:
        call.c0, call.y_c = NULL, NULL
    call.work = rt_at(values, s.workspace)
    s.kernels.run(s.layers, &call)


cdef void run_waves(void *arg, int member) noexcept nogil:
    cdef wave_t *q = <wave_t *> arg
    cdef const link_t *links = <const link_t *> (q.words + 1)
    cdef int n_layers = <int> q.words.n_layers
    cdef int wave, k
    for wave in range(q.n_chunks + n_layers - 1):
        k = member
        while k < n_layers:
            if 0 <= wave - k < q.n_chunks:
                run_chunk(&links[k], q.values, wave - k, <int> q.words.steps)
            k += q.n_members
        rt_barrier_wait(&q.barrier, member)


cdef int run_wavefront(const int64_t *words, char *const *values, int part, int n_parts) noexcept nogil:
    cdef int members[RT_MEMBERS]
    cdef wave_t q
    cdef const bound_t *first
    cdef const link_t *links
    cdef rt_call call
    cdef int k
    if n_parts == 1:
        links = <const link_t *> (words + sizeof(wavefront_t) // sizeof(int64_t))
        for k in range(<int> (<const wavefront_t *> words).n_layers):
            fill_call(&links[k].bound, values, 0, &call)
            call.work = rt_at(values, links[k].bound.workspace)
            links[k].bound.kernels.run(links[k].bound.layers, &call)
        return RT_OK
    q.words, q.values = <const wavefront_t *> words, values
    first = &(<const link_t *> (q.words + 1)).bound
    q.n_members = rt_team_acquire(<int> q.words.n_layers, members)
    rt_barrier_set(&q.barrier, q.n_members)
    q.n_chunks = <int> ((first.n_time + q.words.steps - 1) // q.words.steps)
    rt_team_run(members, q.n_members, run_waves, &q)
    return RT_OK


cdef double step_ns(Recurrent layer, int n_batch) noexcept:
    """About the time of one step, its share of the inputs' projection included."""
    cdef const rt_layer *one = &layer.layers[0]
    return hidden_ns(layer.kernels, one, n_batch) + multiply_ns(one, one.n_in, n_batch) + CELL_NS * one.n_blocks * n_batch


def wavefront(list layers, int n_time, int n_batch, int threads):
    """How stacked layers of one direction go as a wavefront.

    Parameters
    ----------
    layers : list of Recurrent
        From the lowest on; at least two.
    n_time, n_batch, threads : int
        Steps and rows, and threads to use at most.

    Returns
    -------
    function, begin or None
        The address of the step's function, and the words that its words begin with; None where one layer after the other,
        each shared out to the threads, is as good.
    """
    cdef Recurrent layer
    cdef double one
    cdef double most = 0
    cdef double alone = 0
    cdef int parts, n_chunks
    if n_batch // THREAD_ROWS >= threads or len(layers) > threads:
        return None
    for layer in layers:
        one = step_ns(layer, n_batch)
        parts = <int> max(1.0, min(<double> min(threads, layer.layers[0].n_blocks), one / STEP_NS))
        alone += n_time * (one / parts + (MEET_NS if parts > 1 else 0))
        most = max(most, one)
    n_chunks = <int> min(<double> min(MAX_CHUNKS, n_time), n_time * most / CHUNK_NS)
    if n_chunks < 2:
        return None
    steps = (n_time + n_chunks - 1) // n_chunks
    if (n_chunks + len(layers) - 1) * (steps * most + MEET_NS + SET_UP_NS) > 0.9 * alone:
        return None
    return <size_t> run_wavefront, [len(layers), steps]
