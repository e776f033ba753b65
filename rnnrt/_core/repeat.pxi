# A plan that is one segment, run over and over as Loop and Scan do, without going back to Python: as a step of the plan round it
# where the number of iterations is known when that is bound (`RepeatedBody`), else as a call (`Repetition`). Included by
# program.pyx.
#
# From one iteration to the next only addresses change: slices move on, and a carried value's two places, one that is read and
# one that is written, change sides.

from cpython.exc cimport PyErr_CheckSignals

cdef enum:
    STACK_BYTES = 1 << 20          # of slices to make room for where the number of iterations is not certain
    AT_ONCE = 20000000             # work of the iterations between two looks at signals


cdef struct slice_t:
    int base
    ptrdiff_t step                 # bytes from one iteration to the next


cdef struct carried_t:
    int taken, given               # bases


cdef struct repeat_t:
    const step_t *steps
    int n_steps, n_carried, n_slices
    char **values
    carried_t *carried
    slice_t *slices
    int64_t *number                # of the iteration; NULL: nobody asks
    const char *going              # whether there is to be another one, or NULL


cdef int iterate(const repeat_t *r, int64_t n, bint shared, int64_t *done, int *at) noexcept nogil:
    """At most n iterations, until one says that it is the last one; how many is added to `done`."""
    cdef int64_t i
    cdef int k, wrong
    cdef char *place
    for i in range(n):
        wrong = run_steps(r.steps, r.n_steps, r.values, shared, at)
        if wrong != RT_OK:
            return wrong
        for k in range(r.n_carried):
            place = r.values[r.carried[k].taken]
            r.values[r.carried[k].taken] = r.values[r.carried[k].given]
            r.values[r.carried[k].given] = place
        for k in range(r.n_slices):
            r.values[r.slices[k].base] += r.slices[k].step
        done[0] += 1
        if r.number != NULL:
            r.number[0] += 1
        if r.going != NULL and r.going[0] == 0:
            break
    return RT_OK


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


cdef inline char *at(char *const *values, rt_ref ref) noexcept nogil:
    return <char *> (<size_t> values[ref.base] + <size_t> ref.offset)


cdef void begin(const body_t *body, const rt_ref *given, char *const *values, repeat_t *r) noexcept nogil:
    """The addresses of the first iteration; but for what a Loop counts and asks, all are given."""
    cdef int first_in = 1 + 2 * body.counted
    cdef int first_out = body.first_base + body.counted
    cdef int k
    r.values[0] = NULL
    for k in range(body.n_taken):
        r.values[first_in + k] = at(values, given[k])
    for k in range(body.n_made):
        r.values[first_out + k] = at(values, given[body.n_taken + k])
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
        r.values[r.carried[k].given] = at(values, made[k]) if last else place


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
    lay_out(body, at(values, refs[0]), &r, &arena, &spare)
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
    cdef readonly Segment segment
    cdef readonly size_t function, address, size
    cdef readonly bint threads
    cdef readonly int64_t n

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
        self.segment, self.n = body, n
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


cdef inline bint same_layout(const layout_t *a, const layout_t *b) noexcept:
    cdef int k
    if a.type != b.type or a.n_axes != b.n_axes:
        return False
    for k in range(a.n_axes):
        if a.shape[k] != b.shape[k]:
            return False
    return True


@cython.final
cdef class Repetition:
    """The iterations of a segment, in memory of their own.

    Parameters
    ----------
    body : Segment
    given : list
        Inputs of the first iteration, laid out as the segment reads them.
    n_carried : int
        Values handed from one iteration to the next.
    scanned : list or None
        Of a Scan: inputs whose first axis is that of the iterations, and whether it is read backwards. The body's inputs
        begin with the carried values and a slice of each, its outputs with the carried values. None for a Loop: both begin
        with what it counts and asks, and then the carried values.
    make : callable
        ``make(n, dtype, shape)``: an array for n slices.
    """

    cdef Segment body
    cdef Frame frame
    cdef repeat_t r
    cdef int first_in, first_out, n_scanned
    cdef list carried, stacks, scanned, backward
    cdef object make
    cdef cnp.ndarray number, going

    def __cinit__(self):
        memset(&self.r, 0, sizeof(self.r))

    def __dealloc__(self):
        free(self.r.carried)
        free(self.r.slices)

    def __init__(self, Segment body, list given, int n_carried, scanned, backward, make):
        cdef bint counted = scanned is None
        cdef int k
        self.body, self.make = body, make
        self.scanned, self.backward = scanned or [], backward or []
        self.n_scanned = <int> len(self.scanned)
        self.first_in, self.first_out = 2 * counted, counted
        self.r.steps, self.r.n_steps, self.r.n_carried = body.steps, body.n_steps, n_carried
        self.r.n_slices = self.n_scanned + body.n_made - self.first_out - n_carried
        self.r.carried = <carried_t *> malloc(max(1, n_carried) * sizeof(carried_t))
        self.r.slices = <slice_t *> malloc(max(1, self.r.n_slices) * sizeof(slice_t))
        if self.r.carried == NULL or self.r.slices == NULL:
            raise MemoryError("rnnrt: no memory for a loop")
        self.frame = body.take()
        self.frame.place(body)
        for k in range(len(given)):
            self.frame.hold(1 + k, given[k])
        self.r.values = self.frame.values
        if counted:
            self.count()
        self.carry(given)

    cdef int count(self) except -1:
        """Of a Loop: places for the number of the iteration, and for whether there is another one."""
        self.number, self.going = np.zeros(1, np.int64), np.ones(1, np.bool_)
        self.r.number = <int64_t *> cnp.PyArray_DATA(self.number)
        self.r.going = cnp.PyArray_BYTES(self.going)
        self.r.values[1] = <char *> self.r.number
        self.r.values[self.body.first_base] = <char *> self.r.going
        return 0

    cdef int carry(self, list given) except -1:
        """Two places for each carried value, the one to be read holding what it begins with."""
        cdef cnp.ndarray here, there
        cdef carried_t *c
        cdef int k
        self.carried = []
        for k in range(self.r.n_carried):
            c = &self.r.carried[k]
            here, there = given[self.first_in + k].copy(), new_array(&self.body.made[self.first_out + k])
            c.taken, c.given = 1 + self.first_in + k, self.body.first_base + self.first_out + k
            self.r.values[c.taken], self.r.values[c.given] = cnp.PyArray_BYTES(here), cnp.PyArray_BYTES(there)
            self.carried.append((here, there))
        return 0

    cdef int scan(self) except -1:
        """Begin with the first, or the last, slice of what is scanned."""
        cdef cnp.ndarray array
        cdef slice_t *s
        cdef int k
        for k in range(self.n_scanned):
            array = self.scanned[k]
            s = &self.r.slices[k]
            s.base, s.step = 1 + self.r.n_carried + k, self.body.read[self.r.n_carried + k].n_bytes
            self.r.values[s.base] = cnp.PyArray_BYTES(array)
            if self.backward[k]:
                self.r.values[s.base] += (cnp.PyArray_DIM(array, 0) - 1) * s.step
                s.step = -s.step
        return 0

    cdef int make_room(self, int64_t n, int64_t done) except -1:
        """Room for n slices of each output that is stacked, the first ones being those that are there already."""
        cdef int first = self.first_out + self.r.n_carried
        cdef cnp.ndarray array
        cdef slice_t *s
        cdef int k
        cdef list stacks = []
        for k in range(self.body.n_made - first):
            dtype, shape = self.body.outputs[first + k]
            array = self.make(n, dtype, shape)
            if done:
                array[:done] = self.stacks[k]
            s = &self.r.slices[self.n_scanned + k]
            s.base, s.step = self.body.first_base + first + k, self.body.made[first + k].n_bytes
            self.r.values[s.base] = cnp.PyArray_BYTES(array) + done * s.step
            stacks.append(array)
        self.stacks = stacks
        return 0

    cdef int64_t certain(self, int64_t most) noexcept:
        """How many slices to make room for at first, of at most `most`."""
        cdef int64_t size = 1
        cdef int k
        for k in range(self.first_out + self.r.n_carried, self.body.n_made):
            size += self.body.made[k].n_bytes
        return min(most, max(<int64_t> 16, STACK_BYTES // size))

    cdef int64_t run(self, int64_t most, bint conditional) except -1:
        """At most that many iterations; how many it were."""
        cdef int64_t room = self.certain(most) if conditional else most
        cdef double work = self.body.work + 100 * self.body.n_steps + 10
        cdef int64_t done = 0
        cdef int64_t before, n
        self.scan()
        self.make_room(room, 0)
        while done < most:
            if done == room:
                room = min(most, 2 * room)
                self.make_room(room, done)
            before = done
            n = min(room - done, max(<int64_t> 1, <int64_t> (AT_ONCE / work)))
            self.iterations(n, n * work >= GIL_WORK, &done)
            if done - before < n or (self.r.going != NULL and self.r.going[0] == 0):
                break
            PyErr_CheckSignals()
        return done

    cdef int iterations(self, int64_t n, bint releases, int64_t *done) except -1:
        cdef Tuner tuner = self.body.tuner
        cdef bint shared = tuner is not None and tuner.shared()
        cdef int64_t began = nanoseconds()
        cdef int64_t before = done[0]
        cdef int at = 0
        cdef int wrong
        if releases:
            with nogil:
                wrong = iterate(&self.r, n, shared, done, &at)
        else:
            wrong = iterate(&self.r, n, shared, done, &at)
        if wrong != RT_OK:
            raise self.body.error(at, wrong, self.r.values)
        if tuner is not None:
            tuner.took(shared, (nanoseconds() - began) // (done[0] - before))
        return 0

    cdef tuple results(self, int64_t done):
        """The carried values, and the slices side by side."""
        cdef list stacks = [stack if len(stack) == done else stack[:done].copy() for stack in self.stacks]
        return [pair[done & 1] for pair in self.carried], stacks


cdef bint repeats(Segment body, int n_carried, bint counted):
    """Whether the outputs of a segment are what it takes as inputs the next time."""
    cdef int first_in = 2 * counted
    cdef int first_out = counted
    cdef int k
    if not body.is_short or (counted and (body.made[0].type != cnp.NPY_BOOL or body.made[0].n_bytes != 1)):
        return False
    for k in range(n_carried):
        if not same_layout(&body.read[first_in + k], &body.made[first_out + k]):
            return False
    return True


cdef tuple repeat(Segment body, list given, int n_carried, scanned, backward, int64_t most, bint conditional, make):
    cdef Repetition repetition
    if most < 1 or not repeats(body, n_carried, scanned is None):
        return None
    repetition = Repetition(body, given, n_carried, scanned, backward, make)
    try:
        return repetition.results(repetition.run(most, conditional))
    finally:
        body.give(repetition.frame)
