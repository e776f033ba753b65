# Phases: what is read along one axis, as arithmetic progressions. Included by windows.pyx.

cdef inline int64_t floor_of(int64_t a, int64_t b) noexcept nogil:
    """``a // b`` as Python has it, for b > 0."""
    return a // b - (a % b < 0)


cdef inline int64_t ceil_of(int64_t a, int64_t b) noexcept nogil:
    return -floor_of(-a, b)


@cython.final
cdef class Phase:
    """Output ``first + i * step`` reads, with tap ``tap + t * tap_step``, element ``start + t * start_step + i * stride``.

    That is for ``i < count`` and ``t < n_taps``. Taps that read nothing but padding are left out.
    """

    cdef readonly int64_t first, step, count, stride, tap, tap_step, n_taps, start, start_step

    def __init__(self, int64_t first, int64_t step, int64_t count, int64_t stride, int64_t tap, int64_t tap_step,
                 int64_t n_taps, int64_t start, int64_t start_step):
        self.first, self.step, self.count, self.stride = first, step, count, stride
        self.tap, self.tap_step, self.n_taps = tap, tap_step, n_taps
        self.start, self.start_step = start, start_step

    def changed(self, count=None, n_taps=None, start=None, start_step=None):
        """The same with other numbers for those that are given."""
        return Phase(
            self.first, self.step, self.count if count is None else count, self.stride, self.tap, self.tap_step,
            self.n_taps if n_taps is None else n_taps, self.start if start is None else start,
            self.start_step if start_step is None else start_step,
        )

    @property
    def taken(self):
        """The taps, as a slice of a kernel's axis."""
        return slice(self.tap, self.tap + self.n_taps * self.tap_step, self.tap_step)

    cdef Phase trimmed(self, int64_t n):
        """Itself, without the taps at either end that no output reads inside an axis of `n` elements."""
        cdef int64_t reach = (self.count - 1) * self.stride
        cdef int64_t low = 0
        cdef int64_t high = self.n_taps
        while low < high and not -reach <= self.start + low * self.start_step < n:
            low += 1
        while low < high and not -reach <= self.start + (high - 1) * self.start_step < n:
            high -= 1
        self.tap += low * self.tap_step
        self.start += low * self.start_step
        self.n_taps = high - low
        return self

    cpdef tuple inside(self, int64_t n):
        """The phases that it falls into if no tap may lie outside of an axis of `n` elements."""
        cdef list found = []
        cdef Phase phase = None
        cdef int64_t i, t, at, low, taps
        for i in range(self.count):
            low = taps = 0
            for t in range(self.n_taps):
                at = self.start + t * self.start_step + i * self.stride
                if 0 <= at < n:
                    if not taps:
                        low = t
                    taps += 1
            if phase is not None and phase.tap == self.tap + low * self.tap_step and phase.n_taps == taps:
                phase.count += 1
                continue
            phase = Phase(
                self.first + i * self.step, self.step, 1, self.stride, self.tap + low * self.tap_step, self.tap_step,
                taps, self.start + low * self.start_step + i * self.stride, self.start_step,
            )
            found.append(phase)
        return tuple(found)


SINGLE = Phase(0, 1, 1, 1, 0, 1, 1, 0, 1)
"""The height of what has none."""


cdef bint moderate(tuple numbers) except -1:
    """Whether all numbers of an axis are so small that what is made of them fits into 64 bits."""
    for number in numbers:
        if not -LARGEST <= number <= LARGEST:
            return False
    return True


def plain(n, k, stride, dilation, begin, out):
    """The phase of a convolution with `k` taps over `n` elements padded by `begin`; none for numbers that are too large."""
    if out <= 1:
        stride = 1                     # it decides nothing
    if not moderate((n, k, stride, dilation, begin, out)):
        return ()
    return (Phase(0, 1, out, stride, 0, 1, k, -begin, dilation).trimmed(n),)


def transposed(n, k, stride, dilation, begin, out):
    """The phases of a transposed convolution, whose output begins at element `begin` of its full result."""
    if not moderate((n, k, stride, dilation, begin, out)) or min(stride, out) > MOST_STRIDE:
        return ()
    return interleaved(n, k, stride, dilation, begin, out)


cdef tuple interleaved(int64_t n, int64_t k, int64_t stride, int64_t dilation, int64_t begin, int64_t out):
    cdef list phases = []
    cdef int64_t every = stride // divisor(stride, dilation)
    cdef int64_t first, q, f, tap, n_taps, start, count
    for first in range(min(stride, out)):
        q, f = (first + begin) // stride, (first + begin) % stride
        tap = 0
        while tap < min(every, k) and (tap * dilation - f) % stride != 0:
            tap += 1
        if tap == every:
            tap = k                    # no tap falls on these outputs
        n_taps = ceil_of(k - tap, every)
        start = q - (tap * dilation - f) // stride
        count = ceil_of(out - first, stride)
        phases.append(
            Phase(first, stride, count, 1, tap, every, n_taps, start, -(dilation * every) // stride).trimmed(n)
        )
    return tuple(phases)


cdef int64_t divisor(int64_t a, int64_t b) noexcept nogil:
    """The greatest common one."""
    while b:
        a, b = b, a % b
    return a


cdef struct reach_t:
    int64_t before, behind


cdef reach_t reach_of(tuple phases, int64_t n) except *:
    """How many elements before and behind an axis of `n` elements are read."""
    cdef reach_t reach
    cdef int64_t low = 0
    cdef int64_t high = n - 1
    cdef int64_t last
    cdef Phase p
    for p in phases:
        if p.n_taps:
            last = p.start + (p.n_taps - 1) * p.start_step
            low = min(low, p.start, last)
            high = max(high, max(p.start, last) + (p.count - 1) * p.stride)
    reach.before, reach.behind = -low, high - (n - 1)
    return reach


def margins(tuple phases not None, int64_t n):
    """How many elements before and behind an axis of `n` elements are read."""
    cdef reach_t reach = reach_of(phases, n)
    return reach.before, reach.behind


cdef enum:
    TABLE = 11                         # numbers of `Planes.taps`


def distances(tuple table not None, bint rows_first):
    """For each entry of `Planes.taps` in turn ``c * step + row + column``, columns fastest.

    Channels are outermost, or if `rows_first` the rows. `AHEAD` entries follow, which tiles that fetch ahead look at.
    """
    cdef Py_ssize_t k
    cdef int64_t size = AHEAD
    cdef int32_t *at
    for k in range(0, len(table) // TABLE):
        size += <int64_t> table[k * TABLE] * <int64_t> table[k * TABLE + 4] * <int64_t> table[k * TABLE + 7]
    cdef cnp.ndarray found = np.zeros(size, np.int32)
    at = <int32_t *> cnp.PyArray_DATA(found)
    for k in range(0, len(table) // TABLE):
        at = write_distances(at, table[k * TABLE:(k + 1) * TABLE], rows_first)
    return found


cdef int32_t *write_distances(int32_t *at, tuple table, bint rows_first) except NULL:
    cdef int64_t channels, apart, row, down, rows, first, step, columns, right, piece, piece_apart
    cdef int64_t outer, inner, r, c, t, w
    channels, apart, row, down, rows, first, step, columns, right, piece, piece_apart = table
    for outer in range(rows if rows_first else channels):
        for inner in range(channels if rows_first else rows):
            r, c = inner, outer
            if rows_first:
                r, c = outer, inner
            for t in range(columns):
                w = first + t * step
                w = w % piece * piece_apart + w // piece if piece > 1 else w * right
                at[0] = <int32_t> (c * apart + row + r * down + w)
                at += 1
    return at
