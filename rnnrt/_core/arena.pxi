# Places in an arena: buffers whose lives do not overlap may share bytes. Included by program.pyx.

cdef enum:
    ALIGN = 64                         # every buffer begins on a cache line


cdef struct taken_t:                   # bytes from start to end, until after the step `last`
    int64_t start, end
    int last


def place(list steps, live, int base):
    """Put the buffers that the Emitted `steps` use at offsets from `base`; those of `live` are needed after the last step.

    Returns
    -------
    size, peak
        Bytes of the arena, and the most that are in use at once: what no arrangement could do without.
    """
    cdef list found = []               # in the order of their first use
    cdef int k = 0
    cdef Emitted step
    cdef Buffer buffer
    for step in steps:
        for word in step.words:
            if type(word) is Tensor:
                use((<Tensor> word).buffer, k, found)
        k += 1
    for buffer in live:
        use(buffer, k, found)
    return fit(found, base)


cdef int use(Buffer buffer, int step, list found) except -1:
    if buffer is None:
        raise AssertionError("a step uses a tensor that is not in memory")
    buffer = buffer.root()
    if buffer.base == ARENA_BASE:
        if buffer.last_use < 0:
            buffer.first_use = step
            found.append(buffer)
        buffer.last_use = step
    return 0


cdef tuple fit(list found, int base):
    """First fit, in the order of first use."""
    cdef taken_t *taken = <taken_t *> malloc(max(1, len(found)) * sizeof(taken_t))   # by start
    cdef int n = 0
    cdef int k, kept
    cdef int64_t at, need
    cdef int64_t size = 0
    cdef int64_t peak = 0
    cdef int64_t used = 0
    cdef Buffer buffer
    if taken == NULL:
        raise MemoryError("rnnrt: no memory for a plan")
    for buffer in found:
        kept = 0
        for k in range(n):
            if taken[k].last >= buffer.first_use:
                taken[kept] = taken[k]
                kept += 1
            else:
                used -= taken[k].end - taken[k].start
        n = kept
        need = (max(buffer.size, <int64_t> 1) + ALIGN - 1) // ALIGN * ALIGN
        at = 0
        for k in range(n + 1):
            if k == n or taken[k].start - at >= need:
                break
            at = taken[k].end
        memmove(&taken[k + 1], &taken[k], (n - k) * sizeof(taken_t))
        taken[k].start, taken[k].end, taken[k].last = at, at + need, buffer.last_use
        n += 1
        buffer.base, buffer.offset = base, at
        used += need
        size, peak = max(size, at + need), max(peak, used)
    free(taken)
    return size, peak
