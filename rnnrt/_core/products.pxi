# One matrix product as a step of op_gemm.h: which axes are its rows, columns and batch, and how its right operand is
# read. Included by program.pyx.

cdef enum:
    PRODUCT_AXES = 4                   # of a batch; GEMM_AXES of op_gemm.h
    MAX_NV = 4                         # vectors of a panel
    GEMM_C = 2                         # where in a step's words the addend stands, …
    GEMM_COLUMNS = 7
    GEMM_EPILOGUE = 20                 # … and the activation
    BLOCK = 1 << 15                    # numbers of the left operand that pass by a panel before the next one is taken
    FOLD = 6                           # what folding a vector to a number costs, in multiply-adds of vectors
    NEAR = 1 << 14                     # a right operand of no more numbers is read where it is, a larger one by few rows

cdef enum:                             # forms of the right operand, as op_gemm.h has them
    PACKED, DIRECT, LOOSE, DOTS

NOTHING = Tensor(np.dtype(np.float32), (0,), (1,), Buffer(0, 0, 0))
"""A tensor at NULL: an operand that is absent."""
C, N_COLUMNS, EPILOGUE = GEMM_C, GEMM_COLUMNS, GEMM_EPILOGUE


cpdef (int64_t, int64_t, int64_t) vectors_of(int64_t n, int64_t lanes):
    """Vectors of n columns, panels, and vectors of every panel but the last."""
    cdef int64_t n_vec = (n + lanes - 1) // lanes
    cdef int64_t n_panels = (n_vec + MAX_NV - 1) // MAX_NV
    return n_vec, n_panels, (n_vec + n_panels - 1) // n_panels


cdef class Product:
    """``y[batch, rows, columns] = c + scale * sum over inner of a b``, by axes and their strides in elements.

    Attributes
    ----------
    batch
        ``(size, a, b, y)`` of each axis.
    rows, columns, inner
        ``(size, a, y)``, ``(size, b, y)`` and ``(size, a, b)``.
    c, c_row
        Vectors padded to whole lanes, the same for all of the batch; from row to row.
    """

    cdef public Tensor a, b, y, c
    cdef public object batch, rows, columns, inner
    cdef public double scale
    cdef public int64_t c_row

    def __init__(self, Tensor a not None, Tensor b not None, Tensor y not None, batch, rows, columns, inner, double scale=1.0,
                 Tensor c not None=NOTHING, int64_t c_row=0):
        self.a, self.b, self.y, self.c = a, b, y, c
        self.batch, self.rows, self.columns, self.inner = batch, rows, columns, inner
        self.scale, self.c_row = scale, c_row

    def swapped(self):
        """The same with the operands in each other's place."""
        batch = [(n, b, a, y) for n, a, b, y in self.batch]
        inner = [(n, b, a) for n, a, b in self.inner]
        return type(self)(self.b, self.a, self.y, batch, self.columns, self.rows, inner, self.scale, self.c, self.c_row)

    def emit(self, Emitter emitter not None):
        """Emit the step; False, with nothing emitted, if the axes are not those of one product."""
        cdef axis_t inner[MOST_READ]
        cdef axis_t columns[MOST_READ]
        cdef axis_t outer[MOST_READ]
        cdef axis_t row
        cdef int k
        cdef int at = -1
        cdef int n = 0
        inner[0] = columns[0] = SOLE
        if read_axes(inner, 0, self.inner, 2) > 1 or read_axes(columns, 0, self.columns, 2) > 1:
            return False
        if columns[0].size != 1 and columns[0].steps[1] != 1:
            return False
        n = read_axes(outer, 0, self.batch, 3)
        n = read_axes(outer, n, [(size, a, 0, y) for size, a, y in self.rows], 3)
        for k in range(n):             # the longest axis that meets the right operand again and again
            if outer[k].steps[1] == 0 and (at < 0 or outer[k].size > outer[at].size):
                at = k
        if self.c_row and (n > 1 or (n == 1 and at < 0)):
            return False
        row.size, row.steps[0], row.steps[1] = 1, 0, 0
        if at >= 0:
            row.size, row.steps[0], row.steps[1] = outer[at].size, outer[at].steps[0], outer[at].steps[2]
            n -= 1
            memmove(&outer[at], &outer[at + 1], (n - at) * sizeof(axis_t))
        if n > PRODUCT_AXES:
            return False
        self.write(emitter, outer, n, &row, columns, inner)
        return True

    cdef int write(self, Emitter emitter, axis_t *batch, int n_batch, const axis_t *row, const axis_t *column,
                   const axis_t *inner) except -1:
        cdef int64_t lanes = emitter.lanes
        cdef int64_t threads = emitter.threads
        cdef int64_t m = row.size
        cdef int64_t n = column.size
        cdef int64_t k = inner.size
        cdef int64_t b_k = inner.steps[1]
        cdef int64_t b_n = column.steps[0]
        cdef int64_t n_vec, n_panels, nv
        cdef int64_t count = 1
        cdef int64_t block
        cdef int at
        cdef Tensor b = self.b
        cdef Tensor scratch = NOTHING
        cdef bint known = b.value is not None
        cdef double scale = self.scale
        cdef int form = form_of(known, m, n, k, inner.steps[0], b_k, b_n, lanes, scale)
        n_vec, n_panels, nv = vectors_of(n, lanes)
        if form == PACKED or (form == DOTS and known and (b_k != 1 or scale != 1.0)):
            b, b_k, b_n = self.packed(emitter, form, batch, n_batch, inner, column, lanes), 1, k
        elif form == LOOSE:
            scratch = emitter.scratch(k * nv * lanes * 4 * threads)
        block = m if form == LOOSE else max(<int64_t> 64, BLOCK // k)
        if threads > 1 and form != LOOSE:
            block = min(block, max(<int64_t> 24, (m + 4 * threads - 1) // (4 * threads)))
        words = [
            self.a, b, self.c, self.y, scratch, form, m, n, k, row.steps[0], inner.steps[0], b_k, b_n, row.steps[1], self.c_row,
            n_vec, n_panels, nv, block, scale, -1, 0.0, 0.0,
        ]
        for at in range(n_batch):
            count *= batch[at].size
        words += (count, n_batch)
        for at in range(n_batch):
            words += (batch[at].size, batch[at].steps[0], batch[at].steps[1], 0, batch[at].steps[2])
        words += [0] * (5 * (PRODUCT_AXES - n_batch))
        cdef Emitted step = emitter.emit("gemm", words, <double> m * n * k * count)
        if self.y.contiguous():
            step.epilogue = GEMM_EPILOGUE
            self.y.producer = step
        return 0

    cdef Tensor packed(self, Emitter emitter, int form, axis_t *batch, int n_batch, const axis_t *inner,
                       const axis_t *column, int64_t lanes):
        """The right operand as op_gemm.h wants it, whose strides are put to the batch's axes."""
        cdef int64_t k = inner.size
        cdef int64_t n = column.size
        cdef int64_t step = k * n if form == DOTS else k * ((n + lanes - 1) // lanes) * lanes
        cdef list shape = []
        cdef list strides = []
        cdef int at
        for at in range(n_batch):
            if batch[at].steps[1] != 0:
                shape.append(batch[at].size)
                strides.append(batch[at].steps[1])
        for at in range(n_batch - 1, -1, -1):
            if batch[at].steps[1] != 0:
                batch[at].steps[1] = step
                step *= batch[at].size
        shape += (k, n)
        strides += (inner.steps[1], column.steps[0])
        return self.pack(emitter, form == DOTS, tuple(shape), tuple(strides))


cdef int form_of(bint known, int64_t m, int64_t n, int64_t k, int64_t a_k, int64_t b_k, int64_t b_n, int64_t lanes,
                 double scale) noexcept nogil:
    """How the right operand is read; of a known one it depends on n and k alone, as does the order of sums."""
    if known:
        return DOTS if a_k == 1 and n * (k // lanes + FOLD) <= k else PACKED
    if a_k == 1 and b_k == 1 and scale == 1.0 and m * (k // lanes + FOLD) <= (k + m * k // lanes) * 5 // 8:
        return DOTS
    if b_n == 1 and n % lanes == 0 and scale == 1.0 and (n * k <= NEAR or m <= 2 * lanes):
        return DIRECT
    return LOOSE
