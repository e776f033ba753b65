# A segment run a known number of times as a step of another one. Included by program.pyx after repeat.pxi.

cdef struct body_t:                    # what a step that repeats a segment knows of it
    const step_t *steps
    int64_t n
    int n_steps, n_bases, arena_base, first_base
    int n_carried, n_slices, n_scanned, n_taken, n_made
    bint counted
    const ptrdiff_t *moves             # [n_slices] bytes from one slice to the next
    const size_t *carried_bytes        # [n_carried]
    size_t arena_bytes, work_bytes


cdef inline char *take_bytes(char **work, size_t size) noexcept nogil:
    """The next `size` bytes of what a step works in, on a cache line of their own."""
    cdef char *p = work[0]
    work[0] = p + (size + ALIGN - 1) // ALIGN * ALIGN
    return p


cdef char *lay_out(const body_t *body, char *work, repeat_t *r, char **arena, char **spare) noexcept nogil:
    """Place what a step that repeats works in, from `work` on; returns the end. Spare places of carried values lie from
    `spare` on."""
    cdef int k
    r.values = <char **> take_bytes(&work, body.n_bases * sizeof(char *))
    r.carried = <carried_t *> take_bytes(&work, body.n_carried * sizeof(carried_t))
    r.slices = <slice_t *> take_bytes(&work, body.n_slices * sizeof(slice_t))
    r.number = <int64_t *> take_bytes(&work, 3 * sizeof(int64_t))
    arena[0] = take_bytes(&work, body.arena_bytes)
    spare[0] = work
    for k in range(body.n_carried):
        take_bytes(&work, body.carried_bytes[k])
    return work


cdef void begin(const body_t *body, const rt_ref *given, char *const *values, repeat_t *r) noexcept nogil:
    """The addresses of the first iteration; but for what a Loop counts and asks, all are given."""
    cdef int first_in = 1 + 2 * body.counted
    cdef int first_out = body.first_base + body.counted
    cdef int k
    r.values[0] = NULL
    for k in range(body.n_taken):
        r.values[first_in + k] = rt_at(values, given[k])
    for k in range(body.n_made):
        r.values[first_out + k] = rt_at(values, given[body.n_taken + k])
    for k in range(body.n_carried):
        r.carried[k].taken, r.carried[k].given = first_in + k, first_out + k
    for k in range(body.n_slices):
        r.slices[k].base = body.n_carried + (first_in + k if k < body.n_scanned else first_out + k - body.n_scanned)
        r.slices[k].step = body.moves[k]
    if body.counted:                   # the number of the iteration; that there is one; whether there is another
        r.number[0], r.number[1] = 0, 1
        r.values[1], r.values[2] = <char *> &r.number[0], <char *> &r.number[1]
        r.values[body.first_base] = <char *> &r.number[2]


cdef void aim_carried(const body_t *body, const repeat_t *r, const rt_ref *made, char *const *values, char *spare,
                      bint last) noexcept nogil:
    """Let the next iteration write what is carried to where it goes in the end, or to its spare places."""
    cdef int k
    cdef char *place
    for k in range(body.n_carried):
        place = take_bytes(&spare, body.carried_bytes[k])
        r.values[r.carried[k].given] = rt_at(values, made[k]) if last else place


cdef int run_repeated(const int64_t *words, char *const *values, int part, int n_parts) noexcept nogil:
    """A step: words are the body_t, where to work, what the body takes and where to put what it makes.

    What is carried is read where it lies, and then written to the two places by turns, in the end to the right one.
    """
    cdef const body_t *body = <const body_t *> <size_t> words[0]
    cdef const rt_ref *refs = <const rt_ref *> (words + 1)
    cdef const rt_ref *made = refs + 1 + body.n_taken
    cdef repeat_t r
    cdef int64_t done = 0
    cdef int step, wrong
    cdef bint odd = body.n & 1
    cdef char *arena
    cdef char *spare
    memset(&r, 0, sizeof(r))
    lay_out(body, rt_at(values, refs[0]), &r, &arena, &spare)
    r.steps, r.n_steps, r.n_carried, r.n_slices = body.steps, body.n_steps, body.n_carried, body.n_slices
    begin(body, refs + 1, values, &r)
    r.values[body.arena_base] = arena
    aim_carried(body, &r, made, values, spare, odd)
    wrong = iterate(&r, 1, n_parts > 1, &done, &step)
    if wrong == RT_OK:
        aim_carried(body, &r, made, values, spare, not odd)
        wrong = iterate(&r, body.n - 1, n_parts > 1, &done, &step)
    return wrong


@cython.final
cdef class RepeatedBody:
    """What a step needs to run a segment `n` times.

    Parameters
    ----------
    body : Segment
        One that ends with arrays.
    n : int
        At least 1.
    n_carried : int
        Outputs that go in again.
    counted : bool
        A Loop's: its inputs begin with the number of the iteration and a truth value, its outputs with a truth value.
    scanned, stacked : list of int
        Bytes from one slice to the next, of inputs after the carried ones and of outputs after them.
    n_inputs : int
        Of the segment.

    Attributes
    ----------
    function, address, size : int
        Of the step: what runs it, its first word, and the bytes of scratch that it works in.
    threads : bool
        Whether threads may help.
    """

    cdef body_t body
    cdef ptrdiff_t *moves
    cdef size_t *carried_bytes
    cdef Segment segment               # which `body` points into
    cdef readonly size_t function, address, size
    cdef readonly bint threads

    def __cinit__(self):
        self.moves, self.carried_bytes = NULL, NULL

    def __dealloc__(self):
        free(self.moves)
        free(self.carried_bytes)

    def __init__(self, Segment body not None, int64_t n, int n_carried, bint counted, list scanned not None,
                 list stacked not None, int n_inputs):
        cdef body_t *b = &self.body
        cdef repeat_t r
        cdef char *arena
        cdef char *spare
        cdef int k
        self.segment = body
        b.steps, b.n_steps, b.n_bases = body.steps, body.n_steps, body.n_bases
        b.arena_base, b.first_base, b.arena_bytes = body.arena_base, body.first_base, body.arena_size
        b.n, b.n_carried, b.counted, b.n_scanned = n, n_carried, counted, <int> len(scanned)
        b.n_slices = <int> (len(scanned) + len(stacked))
        b.n_taken, b.n_made = n_inputs - 2 * counted, body.n_made - counted
        self.moves = <ptrdiff_t *> malloc(max(1, b.n_slices) * sizeof(ptrdiff_t))
        self.carried_bytes = <size_t *> malloc(max(1, n_carried) * sizeof(size_t))
        if self.moves == NULL or self.carried_bytes == NULL:
            raise MemoryError("rnnrt: no memory for a loop")
        for k, step in enumerate([*scanned, *stacked]):
            self.moves[k] = step
        for k in range(n_carried):
            self.carried_bytes[k] = body.made[counted + k].n_bytes
        b.moves, b.carried_bytes = self.moves, self.carried_bytes
        self.function, self.address = <size_t> &run_repeated, <size_t> b
        self.size = <size_t> lay_out(b, NULL, &r, &arena, &spare)
        self.threads = body.tuner is not None
