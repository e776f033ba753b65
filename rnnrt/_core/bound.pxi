# A recurrent layer as a bound step (ops.h): the executor calls it with words, without the GIL. Included by engine.pyx.

cdef extern from "ops.h" nogil:
    ctypedef struct rt_ref:
        int64_t base, offset
    char *rt_at(char *const *values, rt_ref ref)
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


cdef inline char *of_direction(char *const *values, const placed_t *a, int d, ptrdiff_t element) noexcept nogil:
    cdef char *p = rt_at(values, a.at)
    return NULL if p == NULL else p + d * a.stride_d * element


cdef void fill_call(const bound_t *s, char *const *values, int d, rt_call *call) noexcept nogil:
    """The call of direction d, but for its workspace."""
    cdef ptrdiff_t element = s.kernels.element_size
    call.n_time, call.n_batch = <int> s.n_time, <int> s.n_batch
    call.reverse = s.reverse or d == 1
    call.x, call.ldx_t, call.ldx_b = of_direction(values, &s.x, d, element), s.x.stride_t, s.x.stride_b
    call.lengths = <const int *> rt_at(values, s.lengths)
    call.h0, call.ldh0 = of_direction(values, &s.h0, d, element), s.h0.stride_b
    call.c0, call.ldc0 = of_direction(values, &s.c0, d, element), s.c0.stride_b
    call.y, call.ldy_t, call.ldy_b = of_direction(values, &s.y, d, element), s.y.stride_t, s.y.stride_b
    call.y_h, call.ldy_h = of_direction(values, &s.y_h, d, element), s.y_h.stride_b
    call.y_c, call.ldy_c = of_direction(values, &s.y_c, d, element), s.y_c.stride_b
    call.trace, call.ldtrace_t, call.ldtrace_b = NULL, 0, 0
    call.part, call.n_parts, call.barrier = 0, 1, NULL


cdef int run_bound(const int64_t *words, char *const *values, int part, int n_parts) noexcept nogil:
    cdef const bound_t *s = <const bound_t *> words
    cdef const int *lengths = <const int *> rt_at(values, s.lengths)
    cdef char *work = rt_at(values, s.workspace)
    cdef rt_call calls[2]
    cdef int b, d
    if lengths != NULL:
        for b in range(<int> s.n_batch):
            if lengths[b] < 0 or lengths[b] > s.n_time:
                return RT_BAD_LENGTH
    for d in range(<int> s.n_directions):
        fill_call(s, values, d, &calls[d])
    if n_parts > 1:
        run_calls(s.kernels, s.layers, <int> s.n_directions, calls, min(n_parts, <int> s.n_threads), work)
    else:
        for d in range(<int> s.n_directions):
            calls[d].work = work
            s.kernels.run(&s.layers[d], &calls[d])
    return RT_OK
