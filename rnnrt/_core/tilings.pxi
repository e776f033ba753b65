# Convolutions as sums over taps: what they cost by one tiling and by another, and their phases in words. Included by
# windows.pyx.

@cython.final
cdef class Sums:
    """A convolution as sums over taps: phases along both axes, and the sizes that all of them share.

    Where `packed` is given, phases of rows have some of its taps each, and share weights that are packed for it: rows
    of the kernel outermost, so that what a phase has lies together.
    """

    cdef readonly tuple rows, columns
    cdef readonly int64_t n, groups, channels, m
    cdef readonly bint transposed
    cdef readonly Phase packed

    def __init__(self, tuple rows, tuple columns, int64_t n, int64_t groups, int64_t channels, int64_t m, bint transposed,
                 Phase packed=None):
        self.rows, self.columns, self.n, self.groups, self.channels, self.m = rows, columns, n, groups, channels, m
        self.transposed, self.packed = transposed, packed

    def over(self, tuple rows not None, Phase packed=None):
        """The same with other phases of rows."""
        return Sums(rows, self.columns, self.n, self.groups, self.channels, self.m, self.transposed, packed)

    cpdef int64_t taps(self):
        """Terms of a sum, of the phase that has most."""
        return self.channels * most_taps(self.rows) * most_taps(self.columns)

    def packing(self):
        """What packed weights depend on besides the weights and the tiles: the taps of all phases, mainly."""
        cdef tuple rows = self.rows if self.packed is None else (self.packed,)
        cdef list key = [self.transposed, self.groups, self.packed is None, len(rows)]
        cdef Phase p
        for phases in (rows, self.columns):
            for p in phases:
                key.append(p.tap)
                key.append(p.tap_step)
                key.append(p.n_taps)
        return tuple(key)


cdef int64_t most_taps(tuple phases) except -1:
    cdef int64_t most = 0
    cdef Phase p
    for p in phases:
        most = max(most, p.n_taps)
    return most


@cython.final
cdef class ConvNode:
    """What a node says of its convolution, whatever the sizes; it keeps what it finds for those seen last.

    Parameters
    ----------
    groups, transposed
        Of the convolution.
    find : callable
        ``find(sizes, kernel)``: sizes of the output, and the phases of rows and of columns, for those of an input and of
        its kernel; no phases where there is no output, or none that the steps are for.
    """

    cdef readonly object groups
    cdef bint transposed
    cdef object find
    cdef dict kept

    def __init__(self, groups, bint transposed, find not None):
        self.groups, self.transposed, self.find, self.kept = groups, transposed, find, {}

    def sums(self, x, w, b):
        """The sums, and the output's shape, for an input, known weights and a bias or None; None if steps are not for them."""
        cdef tuple shape = x.shape
        cdef tuple kernel = w.shape
        cdef Py_ssize_t rank = len(shape)
        if w.value is None or len(kernel) != rank or rank not in (3, 4) or 0 in shape or 0 in kernel:
            return None
        if x.dtype != FLOAT or w.dtype != FLOAT or (b is not None and b.dtype != FLOAT):
            return None
        if self.transposed:
            inputs, channels, m = kernel[0], kernel[0] // self.groups, kernel[1]
        else:
            inputs, channels, m = kernel[1] * self.groups, kernel[1], kernel[0] // self.groups
        if inputs != shape[1] or kernel[0] % self.groups or (b is not None and b.shape != (m * self.groups,)):
            return None
        out, rows, columns = self.phases(shape[2:], kernel[2:])
        if not rows or not columns:
            return None
        sums = Sums(rows, columns, shape[0], self.groups, channels, m, self.transposed)
        return sums, (shape[0], m * self.groups, *out)

    cdef tuple phases(self, tuple sizes, tuple kernel):
        key = (sizes, kernel)
        found = self.kept.get(key)
        if found is None:
            if len(self.kept) >= MOST_LAYOUTS:
                self.kept.clear()
            found = self.kept[key] = self.find(sizes, kernel)
        return found


def inside(Sums sums not None, int64_t height):
    """The same without the taps that lie above or below the input, if there are some that are worth it."""
    cdef Phase rows = sums.rows[0]
    cdef Phase p
    if len(sums.rows) > 1 or len(sums.columns) > 1 or rows.count > MOST_LOOKED_AT or rows.n_taps > MOST_LOOKED_AT:
        return None
    if not 1 < rows.n_taps * rows.count <= MOST_LOOKED_AT:
        return None
    cdef tuple phases = rows.inside(height)
    if not 1 < len(phases) <= MOST_PHASES:
        return None
    for p in phases:
        if not p.n_taps:
            return None
    return sums.over(phases, rows)


cdef int64_t merged_of(Sums sums, Planes x) except? -1:
    """As `merged`; -1 for None."""
    cdef Phase rows = sums.rows[0]
    cdef Phase columns = sums.columns[0]
    if len(sums.rows) > 1 or len(sums.columns) > 1 or columns.stride != 1 or x.s_w != 1:
        return -1
    if rows.count > 1 and rows.stride * x.s_h != columns.count:
        return -1
    return rows.count * columns.count


def merged(Sums sums not None, Planes x not None):
    """Positions of a plane, if its rows follow each other in the input as they do in the output; else None."""
    cdef int64_t found = merged_of(sums, x)
    return None if found < 0 else found


cpdef double cycles(double rows, double vectors):
    """Clock cycles of one tap of a tile, roughly."""
    return max(rows * vectors, rows + vectors + 1, 6.0) / 2


def costs(Sums sums not None, Planes x not None, bint padded, int64_t lanes, tuple tiles not None):
    """Clock cycles with positions in the lanes and with channels, with the `tiles` that native/conv.py tells.

    Two multiply-adds or two loads take one, and a tile some besides. `padded`: rows get margins, so that they lie apart.
    """
    cdef int64_t blocks, block, vectors, panels, panel, widest, highest, taps, height, width, across, pieces, positions
    cdef int64_t one = -1 if padded else merged_of(sums, x)
    cdef double wide = 0
    cdef double tall = 0
    cdef double tile
    cdef Phase rows, columns
    blocks, block, vectors, panels, panel, widest, highest = tiles
    for rows in sums.rows:
        for columns in sums.columns:
            taps = sums.channels * rows.n_taps * columns.n_taps
            height, width = rows.count, columns.count
            if one >= 0:
                height, width = 1, one
            across = height * ceil_of(width, lanes)
            pieces = ceil_of(across, widest)
            tile = 25 + taps * cycles(<double> sums.m / blocks, <double> across / pieces)
            wide += <double> sums.n * sums.groups * pieces * blocks * tile
            positions = sums.n * height * width
            pieces = ceil_of(positions, highest)
            tile = max(cycles(<double> positions / pieces, <double> vectors / panels), 1.6 * vectors / panels)
            tall += <double> sums.groups * panels * pieces * (40 + taps * tile) + 1.2 * positions * sums.groups * sums.m
    if (<Phase> sums.columns[0]).stride > 1 or x.s_w != 1:
        wide += <double> x.n * x.c * x.h * x.w / 4
    return wide, tall


def three_by_three(Sums sums not None):
    """Whether a convolution has 3x3 taps, one apart, and is of one group."""
    cdef Phase p
    if sums.groups > 1 or sums.transposed or len(sums.rows) > 1 or len(sums.columns) > 1:
        return False
    for p in (sums.rows[0], sums.columns[0]):
        if p.n_taps != 3 or p.stride != 1 or p.start_step != 1 or p.tap_step != 1 or p.count <= 1:
            return False
    return True


cdef enum:
    CONV_REFERENCES = 12               # words of op_conv.h before its numbers, and those numbers before the phases
    CONV_NUMBERS = 22


def conv_words(Sums sums not None, Planes x not None, Margin copy, tuple y not None, tuple tiling not None, bint pool,
               int64_t lanes):
    """A step's words after its tensors as op_conv.h has them, and the entries of `distances` for all taps.

    Parameters
    ----------
    x, copy
        Planes with their margins, which a copy that the step makes has, if there is one.
    y
        The output's strides, and its width.
    tiling
        ``wide, block, blocks, most`` of native/conv.py.
    pool
        Whether the output holds the largest of each 2x2.
    """
    cdef int64_t y_n, y_m, width, block, blocks, most, room, size
    cdef bint wide
    cdef int64_t one = -1
    cdef Phase rows = sums.rows[0]
    cdef Phase columns = sums.columns[0]
    cdef list phases
    cdef list words
    y_n, y_m, width = y
    wide, block, blocks, most = tiling
    room = sums.m if wide else ceil_of(sums.m, lanes) * lanes
    if wide and not pool and (copy is None or copy.bands == 1):
        one = merged_of(sums, x)
    phases, table = phase_words(sums, x, wide, one, most, room, width)
    words = [
        -1, 0.0, 0.0, sums.n, sums.groups, sums.m, block, blocks,
        x.s_n, sums.channels * x.s_c, rows.stride * x.s_h, 1 if wide else columns.stride * x.s_w,
        y_n, y_m, rows.step * width, columns.step,
    ]
    if copy is None:
        words += (0, 0, 1, 0)
    else:
        size = copied(sums, copy, lanes)
        words += (CONV_REFERENCES + CONV_NUMBERS + len(phases), copy.run, copy.bands, size)
    words += (int(pool), len(sums.rows) * len(sums.columns))
    words += phases
    if copy is not None:
        words += (0, 0, 0, 0, 0.0)
        words += copy.words
    return words, table


cpdef int64_t copied(Sums sums, Margin copy, int64_t lanes):
    """Floats, in whole cache lines, of a copy with margins of one image's planes."""
    return ceil_of(sums.groups * sums.channels * copy.size + lanes, 16) * 16


cdef tuple phase_words(Sums sums, Planes x, bint wide, int64_t one, int64_t most, int64_t room, int64_t width):
    """The words of all phases, and the entries of `distances`; `one`: `merged`, where planes are taken as rows, else -1.

    A tap of the weights takes `room` numbers.
    """
    cdef list words = []
    cdef list tables = []
    cdef int64_t weights = 0
    cdef int64_t at = 0
    cdef int64_t row, n_taps, first, together, high, across, positions, pieces
    cdef Phase rows, columns
    for rows in sums.rows:
        for columns in sums.columns:
            high, across = rows.count, columns.count
            if one >= 0:
                high, across = 1, one
            row = sums.channels * columns.n_taps
            n_taps, first, together = row * rows.n_taps, 0, row * rows.n_taps
            if sums.packed is not None:
                first = (rows.tap - sums.packed.tap) // sums.packed.tap_step * row
                together = sums.packed.n_taps * row
            words += (0, rows.first * width + columns.first, weights, at, n_taps, first, together, high, across)
            if wide:
                words += (0, most, 0)
            else:
                positions = sums.n * high * across
                pieces = ceil_of(positions, most)
                words += (pieces, positions // pieces, positions % pieces)
            tables += x.taps(sums.channels, rows, columns)
            if sums.packed is None:
                weights += sums.groups * room * n_taps
            at += n_taps
    return words, tuple(tables)
