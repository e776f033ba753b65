# A recurrent layer as a bound step (ops.h): the executor calls it with words, without the GIL. Included by engine.pyx.

cdef extern from "ops.h" nogil:
    ctypedef struct rt_ref:
        int64_t base, offset
    enum:
        RT_OK, RT_BAD_LENGTH


cdef struct placed_t:                  # an array [.., D, B, H] or [T, B, I]; strides in elements; base 0, offset 0: absent
    rt_ref at
    int64_t stride_t, stride_d, stride_b


cdef struct bound_t:                   # the words of a step
    const rt_kernels *kernels
    const rt_layer *layers
    int64_t n_directions, reverse, n_threads, n_time, n_batch
    double work
    rt_ref lengths, workspace
    placed_t x, h0, c0, y, y_h, y_c


cdef inline char *address(char *const *values, rt_ref at) noexcept nogil:
    return <char *> (<size_t> values[at.base] + <size_t> at.offset)


cdef inline char *of_direction(char *const *values, const placed_t *a, int d, ptrdiff_t element) noexcept nogil:
    cdef char *p = address(values, a.at)
    return NULL if p == NULL else p + d * a.stride_d * element


cdef int run_bound(const int64_t *words, char *const *values, int part, int n_parts) noexcept nogil:
    cdef const bound_t *s = <const bound_t *> words
    cdef ptrdiff_t element = s.kernels.element_size
    cdef const int *lengths = <const int *> address(values, s.lengths)
    cdef char *work = address(values, s.workspace)
    cdef rt_call calls[2]
    cdef rt_call *call
    cdef int b, d
    if lengths != NULL:
        for b in range(<int> s.n_batch):
            if lengths[b] < 0 or lengths[b] > s.n_time:
                return RT_BAD_LENGTH
    for d in range(<int> s.n_directions):
        call = &calls[d]
        call.n_time, call.n_batch = <int> s.n_time, <int> s.n_batch
        call.reverse = s.reverse or d == 1
        call.x, call.ldx_t, call.ldx_b = of_direction(values, &s.x, d, element), s.x.stride_t, s.x.stride_b
        call.lengths = lengths
        call.h0, call.ldh0 = of_direction(values, &s.h0, d, element), s.h0.stride_b
        call.c0, call.ldc0 = of_direction(values, &s.c0, d, element), s.c0.stride_b
        call.y, call.ldy_t, call.ldy_b = of_direction(values, &s.y, d, element), s.y.stride_t, s.y.stride_b
        call.y_h, call.ldy_h = of_direction(values, &s.y_h, d, element), s.y_h.stride_b
        call.y_c, call.ldy_c = of_direction(values, &s.y_c, d, element), s.y_c.stride_b
        call.trace, call.ldtrace_t, call.ldtrace_b = NULL, 0, 0
        call.part, call.n_parts, call.barrier = 0, 1, NULL
    if s.n_threads > 1:
        run_calls(s.kernels, s.layers, <int> s.n_directions, calls, <int> s.n_threads, work)
    else:
        for d in range(<int> s.n_directions):
            calls[d].work = work
            s.kernels.run(&s.layers[d], &calls[d])
    return RT_OK


def choice_of(size_t words):
    """How the step with these words goes, for people: threads, and what each of them does."""
    cdef const bound_t *s = <const bound_t *> words
    cdef rt_call calls[2]
    cdef team_t team
    cdef rt_choice choice
    cdef const rt_call *first
    cdef int d
    memset(calls, 0, sizeof(calls))
    for d in range(<int> s.n_directions):
        calls[d].n_time, calls[d].n_batch = <int> s.n_time, <int> s.n_batch
    team.kernels = s.kernels
    plan_team(&team, s.layers, <int> s.n_directions, calls, <int> s.n_threads)
    first = &team.jobs[0].call
    choice = s.kernels.choose(s.layers, <int> s.n_time, first.n_batch)
    if choice.across and first.n_parts == 1:
        parts = ["rows across lanes"]
    elif choice.chunk:
        parts = [f"inputs of {choice.chunk} steps projected at once"]
    else:
        parts = ["x and h in one pass"]
    if choice.far and parts != ["rows across lanes"]:
        parts.append("weights fetched ahead")
    if s.n_threads > 1:
        split = "units" if first.n_parts > 1 else "rows" if team.n_jobs > s.n_directions else "directions"
        parts.append(f"{min(s.n_threads, team.n_jobs)} threads by {split}")
    return ", ".join(parts)
