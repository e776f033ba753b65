# A call shared out to threads: by direction, then by rows, then by units. Included by engine.pyx.

cdef struct job_t:                     # what one member of the team computes
    const rt_layer *layer
    rt_call call


cdef struct team_t:
    const rt_kernels *kernels
    int n_members, n_jobs
    job_t jobs[2 * RT_MEMBERS]
    rt_barrier barriers[2]
    int members[RT_MEMBERS]


cdef void run_jobs(void *arg, int member) noexcept nogil:
    """The jobs of one member; those that meet at a barrier belong to different members."""
    cdef team_t *team = <team_t *> arg
    cdef int k = member
    while k < team.n_jobs:
        team.kernels.run(team.jobs[k].layer, &team.jobs[k].call)
        k += team.n_members


cdef double weight_bytes(const rt_kernels *kernels, const rt_layer *layer, int n_k) noexcept nogil:
    """Of n_k inputs."""
    return <double> n_k * layer.w.n_gates * layer.n_hidden * kernels.element_size


cdef double reading_ns(const rt_kernels *kernels, const rt_layer *layer, int n_k) noexcept nogil:
    """About the time that reading the weights of n_k inputs takes."""
    cdef double size = weight_bytes(kernels, layer, n_k)
    return size / (FAR_RATE if size > rt_cached_bytes() else NEAR_RATE)


cdef double multiply_ns(const rt_layer *layer, int n_k, double n_rows) noexcept nogil:
    return n_rows * n_k * layer.w.n_gates * layer.n_hidden / MULTIPLY_RATE


cdef double hidden_ns(const rt_kernels *kernels, const rt_layer *layer, int n_batch) noexcept nogil:
    """About the time that the recurrent product of a step takes."""
    return max(multiply_ns(layer, layer.n_hidden, n_batch), reading_ns(kernels, layer, layer.n_hidden))


cdef int useful_threads(const rt_kernels *kernels, const rt_layer *layers, int n_directions, int n_time, int n_batch,
                        int threads) noexcept nogil:
    """How many threads have enough to do."""
    cdef const rt_layer *layer = &layers[0]
    cdef double step = hidden_ns(kernels, layer, n_batch)
    cdef double inputs = max(multiply_ns(layer, layer.n_in, <double> n_batch * n_time), reading_ns(kernels, layer, layer.n_in))
    return <int> max(1.0, min(<double> min(threads, RT_MEMBERS), n_directions * (n_time * step + inputs) / THREAD_NS))


cdef bint in_turn(const rt_kernels *kernels, const rt_layer *layer, int n_batch) noexcept nogil:
    """Whether directions had better follow one another, each shared out by units: reading weights is what takes the time, and
    those of a direction do not go into one L2 cache; all of them hold more, and the next level one direction rather than both."""
    if weight_bytes(kernels, layer, layer.n_hidden) <= rt_cached_bytes():
        return False
    return multiply_ns(layer, layer.n_hidden, n_batch) < reading_ns(kernels, layer, layer.n_hidden)


cdef void take_rows(rt_call *call, int first, int n_rows, int element_size) noexcept nogil:
    """Narrow a call to some rows of its batch."""
    call.n_batch = n_rows
    call.x = <const char *> call.x + first * call.ldx_b * element_size
    if call.lengths != NULL:
        call.lengths += first
    if call.h0 != NULL:
        call.h0 = <const char *> call.h0 + first * call.ldh0 * element_size
    if call.c0 != NULL:
        call.c0 = <const char *> call.c0 + first * call.ldc0 * element_size
    if call.y != NULL:
        call.y = <char *> call.y + first * call.ldy_b * element_size
    if call.y_h != NULL:
        call.y_h = <char *> call.y_h + first * call.ldy_h * element_size
    if call.y_c != NULL:
        call.y_c = <char *> call.y_c + first * call.ldy_c * element_size
    if call.trace != NULL:
        call.trace = <char *> call.trace + first * call.ldtrace_b * element_size


cdef size_t share_out(team_t *team, const rt_layer *layer, const rt_call *whole, int d, int threads) noexcept nogil:
    """Append direction d's jobs for that many threads; returns the bytes of workspace they take."""
    cdef int n_batch = whole.n_batch
    cdef int n_rows = min(threads, n_batch // THREAD_ROWS)
    cdef int n_units = 1
    cdef double reading = reading_ns(team.kernels, layer, layer.n_hidden)
    cdef double step = hidden_ns(team.kernels, layer, n_batch)
    cdef int k
    cdef int first
    cdef size_t size = 0
    cdef job_t *job
    if n_rows < threads or step < n_rows * reading:     # too few rows each to pay for reading all weights
        n_rows = 1
        n_units = <int> max(1.0, min(<double> min(threads, layer.n_blocks), step / STEP_NS))
    rt_barrier_set(&team.barriers[d], n_units)
    for k in range(n_rows * n_units):
        job = &team.jobs[team.n_jobs]
        team.n_jobs += 1
        job.layer, job.call = layer, whole[0]
        job.call.part, job.call.n_parts, job.call.barrier = k if n_units > 1 else 0, n_units, &team.barriers[d]
        if n_rows > 1:
            first = n_batch * k // n_rows
            take_rows(&job.call, first, n_batch * (k + 1) // n_rows - first, team.kernels.element_size)
        if k == 0 or n_units == 1:
            job.call.work = <void *> (<size_t> whole.work + size)     # no address yet: see plan_team
            size += team.kernels.work_size(layer, job.call.n_time, job.call.n_batch, n_units)
        else:
            job.call.work = (job - 1).call.work
    return size


cdef size_t plan_team(team_t *team, const rt_layer *layers, int n_directions, rt_call *calls, int threads) noexcept nogil:
    """The jobs of a call on that many threads, placed from address 0; returns the size of the workspace."""
    cdef size_t size = 0
    cdef int d
    cdef int each = max(1, threads // n_directions)
    if n_directions > 1 and in_turn(team.kernels, layers, calls[0].n_batch):
        each = threads                 # a member's jobs are of one direction after the other
    team.n_jobs = 0
    for d in range(n_directions):
        calls[d].work = <char *> size
        size += share_out(team, &layers[d], &calls[d], d, each)
    return size


cdef size_t team_size(const rt_kernels *kernels, const rt_layer *layers, int n_directions, rt_call *calls,
                      int threads) noexcept:
    """The workspace of a call on at most that many threads."""
    cdef team_t team
    cdef size_t size = 0
    cdef int n
    team.kernels = kernels
    for n in range(1, threads + 1):
        size = max(size, plan_team(&team, layers, n_directions, calls, n))
    return size


cdef void run_calls(const rt_kernels *kernels, const rt_layer *layers, int n_directions, rt_call *calls, int threads,
                    char *work) noexcept nogil:
    """Run the directions of a call on at most `threads` threads, in a workspace of team_size() bytes."""
    cdef team_t team
    cdef int k
    team.kernels = kernels
    team.n_members = 1
    plan_team(&team, layers, n_directions, calls, threads)
    if threads > 1:
        team.n_members = rt_team_acquire(min(threads, team.n_jobs), team.members)
        if team.n_members < team.n_jobs:
            plan_team(&team, layers, n_directions, calls, team.n_members)
    for k in range(team.n_jobs):
        team.jobs[k].call.work = work + <size_t> team.jobs[k].call.work
    rt_team_run(team.members, team.n_members, run_jobs, &team)


cdef run_team(Recurrent layer, rt_call *calls, int threads):
    """As run_calls, with a workspace of the layer's, and the GIL released where that pays."""
    cdef double work = layer.step_work * calls[0].n_time * calls[0].n_batch
    cdef int wanted = useful_threads(layer.kernels, layer.layers, layer.num_directions, calls[0].n_time, calls[0].n_batch,
                                     threads)
    cdef int n_directions = layer.num_directions
    cdef size_t size = team_size(layer.kernels, layer.layers, n_directions, calls, wanted)
    cdef Block workspace = layer.workspaces.pop() if layer.workspaces else None
    cdef uint64_t state
    if workspace is None or workspace.size < size:
        workspace = Block(size)
    if work < GIL_WORK:
        state = rt_fp_enter()
        run_calls(layer.kernels, layer.layers, n_directions, calls, wanted, <char *> workspace.data)
        rt_fp_leave(state)
    else:
        with nogil:
            state = rt_fp_enter()
            run_calls(layer.kernels, layer.layers, n_directions, calls, wanted, <char *> workspace.data)
            rt_fp_leave(state)
    if len(layer.workspaces) < 4:
        layer.workspaces.append(workspace)
