# What binding knows of a value: shape and layout, and the memory it lies in; and a step being put together. Included by
# program.pyx.
#
# Nothing here holds numbers of a run: memory is named by a base (an input, an output, an arena) and an offset, and only a
# run puts addresses to bases.

cdef enum:
    ARENA_BASE = -1                    # of a buffer whose place is not chosen yet

ARENA = ARENA_BASE


cdef class Buffer:
    """Memory: `size` bytes at `offset` from `base`, or inside the buffer `inside`, `offset` bytes from its start."""

    cdef public int64_t size, offset
    cdef public int base
    cdef public Buffer inside
    cdef public object keep
    cdef int first_use, last_use       # numbers of steps (arena.pxi); -1: not used yet

    def __init__(self, int64_t size, int base=-1, int64_t offset=0, keep=None):
        self.size, self.base, self.offset, self.keep = size, base, offset, keep
        self.inside = None
        self.first_use = self.last_use = -1

    cpdef Buffer root(self):
        """The buffer that this one lies in, at last."""
        cdef Buffer buffer = self
        while buffer.inside is not None:
            buffer = buffer.inside
        return buffer

    def place(self):
        """Base and offset in bytes."""
        cdef int64_t offset = self.offset
        cdef Buffer buffer = self
        while buffer.inside is not None:
            buffer = buffer.inside
            offset += buffer.offset
        return buffer.base, offset


cdef class Tensor:
    """A value of a bound plan.

    Attributes
    ----------
    dtype, shape
        As NumPy has them.
    strides
        In elements.
    buffer, offset
        Where it lies; the offset of its first element from the start of the buffer, in elements. The buffer is None
        while `pending` says how to make it.
    value
        The array itself where it is the same in every run of these shapes, else None.
    pending
        What computes it once somebody needs it in memory: an object with ``force(emitter, tensor)``.
    producer
        The step that computes this tensor and nothing else, as long as something may be merged into that step.
    uses
        How many nodes and outputs of the plan take it.
    """

    cdef public cnp.dtype dtype
    cdef public tuple shape, strides
    cdef public Buffer buffer
    cdef public int64_t offset
    cdef public int uses
    cdef public object value, pending, producer

    def __init__(self, cnp.dtype dtype, tuple shape, tuple strides, Buffer buffer, int64_t offset=0):
        self.dtype, self.shape, self.strides, self.buffer, self.offset = dtype, shape, strides, buffer, offset
        self.value = self.pending = self.producer = None
        self.uses = 0

    @property
    def ndim(self):
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self):
        """Number of elements."""
        return elements(self.shape)

    @property
    def nbytes(self):
        """Bytes of its elements."""
        return elements(self.shape) * self.dtype.itemsize

    def contiguous(self):
        """Whether the elements lie side by side in C order; axes of size 1 do not count."""
        cdef int64_t expected = 1
        cdef int64_t size
        cdef Py_ssize_t k
        for k in range(len(self.shape) - 1, -1, -1):
            size = self.shape[k]
            if size != 1:
                if <int64_t> self.strides[k] != expected:
                    return size == 0 or 0 in self.shape
                expected *= size
        return True

    def force(self, emitter):
        """The tensor itself, computed if it was not yet."""
        if self.pending is not None:
            pending, self.pending = self.pending, None
            pending.force(emitter, self)
        return self


def c_strides(tuple shape not None):
    """Strides in elements of a C-contiguous array; Python numbers, which nothing is too large for."""
    cdef Py_ssize_t k
    cdef object step = 1
    cdef list strides = [1] * len(shape)
    for k in range(len(shape) - 1, -1, -1):
        strides[k] = step
        step = step * int(shape[k])
    return tuple(strides)


def constant(cnp.ndarray array not None):
    """A tensor of a known array, which lies where the array lies."""
    cdef Tensor tensor
    if not cnp.PyArray_ISCARRAY_RO(array):
        array = np.require(array, requirements=["C", "A"])
    shape = (<object> array).shape
    buffer = Buffer(cnp.PyArray_NBYTES(array), 0, <size_t> cnp.PyArray_DATA(array), array)
    tensor = Tensor(array.dtype, shape, c_strides(shape), buffer)
    tensor.value = array
    return tensor


cdef object elements(tuple shape):
    """The product of sizes; a Python number, which nothing is too large for."""
    cdef object product = 1
    for size in shape:
        product = product * size
    return product


cdef class Emitted:
    """A step: an operator of the instruction set by name (or the address of a function), and its words.

    Attributes
    ----------
    words
        Integers, floats (stored as doubles), and tensors: two words, their base and offset.
    epilogue
        Index of three words ``activation, alpha, beta`` that a following activation may still be written to, or None.
    work
        Multiply-adds, or elements touched, whichever is more: what the step costs, roughly.
    label
        The node it comes from.
    threads
        Threads that the function at an address may use of its own accord.
    name
        What a step that is a function at an address is called.
    body
        The segment that it runs several times, and how often, or None.
    """

    cdef public object op, epilogue, body
    cdef public list words
    cdef public double work
    cdef public str label, name
    cdef public int threads

    def __init__(self, op, list words, double work, str label):
        self.op, self.words, self.work, self.label = op, words, work, label
        self.epilogue = self.body = None
        self.threads = 1
        self.name = "recurrent"
