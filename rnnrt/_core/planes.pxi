# An input as windows read it: the tensor itself, or a copy with a margin, its last axis taken apart by the stride.
# Included by windows.pyx.

cdef double MOST = 2.0 ** 31 - 1       # distances between taps are int32


@cython.final
cdef class Planes:
    """Planes (N, C, H, W) in memory: `piece` > 1 says that rows lie in that many pieces, `apart` elements each.

    Element ``w`` of a row then is number ``w // piece`` of its piece ``w % piece``. `top` and `left` are the margins.
    """

    cdef readonly object tensor
    cdef readonly int64_t n, c, h, w, top, left, piece, apart
    cdef readonly tuple strides
    cdef int64_t s_n, s_c, s_h, s_w

    def __init__(self, tensor, int64_t n, int64_t c, int64_t h, int64_t w, tuple strides, int64_t top=0, int64_t left=0,
                 int64_t piece=1, int64_t apart=0):
        self.tensor, self.n, self.c, self.h, self.w, self.strides = tensor, n, c, h, w, strides
        self.s_n, self.s_c, self.s_h, self.s_w = strides
        self.top, self.left, self.piece, self.apart = top, left, piece, apart

    def taps(self, int64_t channels, Phase rows not None, Phase columns not None):
        """Where all taps of a phase lie, for `distances`."""
        cdef int64_t row = (rows.start + self.top) * self.s_h
        cdef int64_t column = columns.start + self.left
        return (
            channels, self.s_c, row, rows.start_step * self.s_h, rows.n_taps, column, columns.start_step, columns.n_taps,
            self.s_w, self.piece, self.apart,
        )

    def is_row(self, tuple rows not None):
        """Whether there is one row of outputs, which reads other rows than all of the planes' in order."""
        cdef Phase phase = rows[0]
        if len(rows) > 1 or phase.count > 1 or not phase.n_taps:
            return False
        return phase.start != 0 or phase.start_step != 1 or phase.n_taps != self.h

    def fit(self, tuple rows not None, tuple columns not None, int64_t lanes):
        """Whether the planes, and those with the margins that phases need, are so small that taps have distances."""
        cdef reach_t high = reach_of(rows, self.h)
        cdef reach_t sides = reach_of(columns, self.w)
        cdef double height = self.h + high.before + high.behind
        cdef double width = self.w + sides.before + sides.behind + lanes
        cdef double span = <double> self.c * abs(self.s_c) + <double> self.h * abs(self.s_h) + <double> self.w * abs(self.s_w)
        if (<Phase> columns[0]).stride > MOST_STRIDE:
            return False
        return span <= MOST and <double> self.n * self.c * height * width <= MOST


def planes_of(x):
    """An input of one or two spatial axes."""
    cdef tuple shape = x.shape
    cdef tuple strides = x.strides
    if len(shape) == 3:
        return Planes(x, shape[0], shape[1], 1, shape[2], (strides[0], strides[1], 0, strides[2]))
    return Planes(x, shape[0], shape[1], shape[2], shape[3], strides)


@cython.final
cdef class Margin:
    """A copy with margins, or of a band of rows at a time: `words` are those of an ``rt_conv_pad`` after `fill`.

    Of a plane, `size` elements in `rows` rows; `bands` of them, each for `run` rows of outputs.
    """

    cdef readonly list words
    cdef readonly int64_t rows, size, top, left, pitch, piece, bands, run

    def planes(self, Planes x not None, target):
        """What the copy of all planes looks like."""
        strides = (x.c * self.size, self.size, self.pitch, 1)
        return Planes(target, x.n, x.c, x.h, x.w, strides, self.top, self.left, self.piece, self.rows * self.pitch)


def margin(Planes x not None, tuple rows not None, tuple columns not None, int64_t piece, bint copy, int64_t most=0,
           int64_t unit=1):
    """The copy that the phases need; None if they read nothing but the planes, and `copy` is false.

    Where there are `most` and one phase of rows, a copy of all channels has no more elements, if it can, but is of the
    rows that some rows of outputs read, a multiple of `unit`.
    """
    cdef reach_t high = reach_of(rows, x.h)
    cdef reach_t sides = reach_of(columns, x.w)
    if not (copy or high.before or high.behind or sides.before or sides.behind or piece > 1):
        return None
    cdef Margin found = Margin.__new__(Margin)
    cdef Phase phase = rows[0]
    cdef int64_t height = high.before + x.h + high.behind
    cdef int64_t step = 0
    cdef int64_t first, last, reach, q, low
    found.top, found.left, found.piece, found.bands, found.run = high.before, sides.before, piece, 1, 0
    found.pitch = ceil_of(sides.before + x.w + sides.behind, piece)
    if most and len(rows) == 1 and phase.n_taps and x.c * height * found.pitch * piece > most:
        first, last = phase.start, phase.start + (phase.n_taps - 1) * phase.start_step
        reach = max(first, last) - min(first, last) + 1
        found.run = max(floor_of(most // (x.c * found.pitch * piece) - reach, phase.stride) + 1, <int64_t> 1)
        found.bands = ceil_of(phase.count, found.run)
        if found.bands > 1:
            found.run = ceil_of(phase.count, found.bands * unit) * unit
            found.bands = ceil_of(phase.count, found.run)
            found.top, height, step = -min(first, last), (found.run - 1) * phase.stride + reach, found.run * phase.stride
    found.rows, found.size = height, height * found.pitch * piece
    found.words = [x.n, x.c, x.h, *x.strides, found.top, height, step, found.pitch, piece]
    for q in range(piece):
        low = min(max(-floor_of(q - found.left, piece), <int64_t> 0), found.pitch)
        last = min(floor_of(x.w - 1 + found.left - q, piece) + 1, found.pitch)
        found.words.append(low)
        found.words.append(max(last - low, <int64_t> 0))
        found.words.append(low * piece + q - found.left)
    return found
