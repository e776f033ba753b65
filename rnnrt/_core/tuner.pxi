# Threads only where they pay: other work on the machine may make a run with them slower than one without, by a lot where a
# worker has to wait for its processor. Results do not depend on it. Included by program.pyx before segment.pxi.

cdef enum:
    TRY_OFTEN = 64                 # runs from one look at the slower way to the next
    TRY_SELDOM = 512               # where it takes more than twice as long


@cython.final
cdef class Tuner:
    """Whether the runs of a segment are faster with threads or without, by the time that they took."""

    cdef int64_t runs
    cdef int64_t taken[2]          # nanoseconds without and with threads, smoothed; 0: not known

    def __cinit__(self):
        self.runs = self.taken[0] = self.taken[1] = 0

    cpdef bint shared(self):
        """Whether the next run is to use threads: two runs do, one does not, then the faster way is taken."""
        cdef int64_t n = self.runs
        cdef bint faster = self.taken[1] <= self.taken[0]
        self.runs += 1
        if n < 3:
            return n < 2
        if n % (TRY_SELDOM if self.taken[not faster] > 2 * self.taken[faster] else TRY_OFTEN) == 0:
            return not faster
        return faster

    cpdef int took(self, bint shared, int64_t ns) except -1:
        """Learn from a run; the first one, for which workers are hired, does not count.

        The faster way's time is smoothed over its runs. A look at the other way, long after the last, counts by itself.
        """
        cdef bint faster = self.taken[1] <= self.taken[0]
        if self.runs <= 1:
            return 0
        if shared == faster and self.taken[shared]:
            ns = self.taken[shared] + (ns - self.taken[shared]) // 4
        self.taken[shared] = max(ns, 1)
        return 0
