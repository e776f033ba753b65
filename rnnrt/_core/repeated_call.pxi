# A segment run over and over as a call, until a condition says so, looking at signals now and then. Included by program.pyx after
# repeat.pxi.

from cpython.exc cimport PyErr_CheckSignals

cdef enum:
    STACK_BYTES = 1 << 20          # of slices to make room for where the number of iterations is not certain
    AT_ONCE = 20000000             # work of the iterations between two looks at signals


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
