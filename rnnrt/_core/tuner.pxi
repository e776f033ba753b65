# Threads only where they pay: other work on the machine may make a run with them slower than one without, by a lot where a
# worker has to wait for its processor. Results do not depend on it. Included by program.pyx before segment.pxi.

cdef enum:
    FIRST = 8                      # runs that look at both ways
    LOOK = 2                       # runs of a later look at threads: the first may have to wake workers
    TRY = 48                       # runs from one look at the slower way to the next, times how much slower it is: a 24th in all
    TRY_SOON = 12                  # where that are threads, no more than these at first, as others may leave; then twice as many
    TRY_SELDOM = 1024              # and no more than these
    OUTLIER = 2                    # times what a way takes: of a run that took longer, as something held it up, no more counts


@cython.final
cdef class Tuner:
    """Whether the runs of a segment are faster with threads or without, by the time that they took."""

    cdef int64_t runs
    cdef int64_t next              # run that looks at the slower way again: soon, as something may have held up the first ones
    cdef int64_t left              # runs to come of the look at hand
    cdef int64_t patience          # most runs to the next look at threads
    cdef bint other                # the way that it looks at
    cdef int64_t taken[2]          # nanoseconds without and with threads; 0: not known

    def __cinit__(self):
        self.runs = self.left = self.taken[0] = self.taken[1] = 0
        self.next, self.patience = 2 * FIRST, TRY_SOON

    cpdef bint shared(self):
        """Whether the next run is to use threads."""
        cdef int64_t n = self.runs
        cdef bint faster = self.faster()
        self.runs += 1
        if n < FIRST:
            return n % 3 != 2
        if self.left:
            self.left -= 1
            return self.other
        if n < self.next:
            return faster
        self.next = n + self.runs_to_next_look(faster)
        if not faster:
            self.patience = min(2 * self.patience, TRY_SELDOM)
        self.left, self.other = 0 if faster else LOOK - 1, not faster
        return self.other

    cdef bint faster(self):
        """Whether runs with threads are."""
        return self.taken[1] <= self.taken[0]

    cdef int64_t runs_to_next_look(self, bint faster):
        cdef int64_t known = max(self.taken[faster], <int64_t> 1)
        cdef int64_t slower = TRY * self.taken[not faster] // known
        return max(TRY, min(TRY_SELDOM, slower)) if faster else max(TRY_SOON, min(self.patience, slower - TRY))

    cpdef int took(self, bint shared, int64_t ns) except -1:
        """Learn from a run; the first one, for which workers are hired, does not count.

        A faster run counts at once, a slower one, which something else may have held up, by an eighth, so that it takes
        several of them to change the way.
        """
        cdef int64_t known = self.taken[shared]
        cdef bint before = self.faster()
        if self.runs > 1:
            self.taken[shared] = max(ns if known == 0 or ns < known else known + (min(ns, OUTLIER * known) - known) // 8, 1)
        if self.runs > 2 * FIRST and self.faster() != before:
            self.patience = TRY_SOON
            self.next = self.runs + self.runs_to_next_look(not before)
        return 0
