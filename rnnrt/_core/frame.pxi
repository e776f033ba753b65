# What a run holds: arenas, and the arrays behind the bases. Included by program.pyx.

cdef struct layout_t:                  # an array that a segment reads or makes; type -1: any other object
    int type, n_axes
    cnp.npy_intp shape[MAX_AXES]
    ptrdiff_t n_bytes
    PyObject *dtype                    # borrowed from what the layout was written from


cdef int write_layout(layout_t *layout, object entry) except -1:
    """`entry` is (dtype, shape) or None."""
    cdef int k
    layout.type = -1
    if entry is not None and len(entry[1]) <= MAX_AXES:
        layout.type = (<cnp.dtype> entry[0]).num
        layout.n_axes = <int> len(entry[1])
        layout.dtype = <PyObject *> entry[0]
        layout.n_bytes = (<cnp.dtype> entry[0]).itemsize
        for k in range(layout.n_axes):
            layout.shape[k] = entry[1][k]
            layout.n_bytes *= layout.shape[k]
    return 0


cdef bint all_arrays(const layout_t *layouts, int n) noexcept:
    cdef int k
    for k in range(n):
        if layouts[k].type < 0:
            return False
    return True


cdef inline bint fits(const layout_t *layout, object value) noexcept:
    """Whether steps bound to that layout can read the array as it is."""
    cdef cnp.ndarray array
    cdef int k
    if type(value) is not np_ndarray:
        return False
    array = <cnp.ndarray> value
    if cnp.PyArray_TYPE(array) != layout.type or cnp.PyArray_NDIM(array) != layout.n_axes:
        return False
    if not cnp.PyArray_ISCARRAY_RO(array):
        return False
    for k in range(layout.n_axes):
        if cnp.PyArray_DIMS(array)[k] != layout.shape[k]:
            return False
    return True


@cython.final
cdef class Frame:
    """What one run holds: the addresses of the bases, and the objects that own them."""

    cdef char **values
    cdef PyObject **owners         # strong references, or NULL
    cdef int n_values
    cdef dict objects
    cdef dict blocks               # segment -> its arena
    cdef Frame next                # of those that wait for a run

    def __cinit__(self):
        self.values, self.owners, self.n_values = NULL, NULL, 0
        self.objects, self.blocks = {}, {}

    def __dealloc__(self):
        self.drop_all()
        free(self.values)
        free(self.owners)

    cdef int grow(self, int n) except -1:
        cdef void *more
        if n > self.n_values:
            more = realloc(self.values, n * sizeof(char *))
            if more != NULL:
                self.values = <char **> more
                more = realloc(self.owners, n * sizeof(PyObject *))
            if more == NULL:
                raise MemoryError("rnnrt: no memory for a run")
            self.owners = <PyObject **> more
            memset(self.values + self.n_values, 0, (n - self.n_values) * sizeof(char *))
            memset(self.owners + self.n_values, 0, (n - self.n_values) * sizeof(PyObject *))
            self.n_values = n
        return 0

    cdef int place(self, Segment segment) except -1:
        """Room for the segment's bases, and its arena."""
        cdef Block block
        self.grow(segment.n_bases)
        if segment.arena_size:
            block = self.blocks.get(segment)
            if block is None:
                block = self.blocks[segment] = Block(segment.arena_size)
            self.values[segment.arena_base] = <char *> block.data
            self.own(segment.arena_base, block)
        return 0

    cdef inline void own(self, int base, object owner) noexcept:
        """Keep what a base belongs to until the end of the run, or `drop`."""
        cdef PyObject *before = self.owners[base]
        Py_INCREF(owner)
        self.owners[base] = <PyObject *> owner
        Py_XDECREF(before)

    cdef inline void hold(self, int base, cnp.ndarray array) noexcept:
        """Let a base be an array's memory."""
        self.own(base, array)
        self.values[base] = <char *> cnp.PyArray_DATA(array)

    cdef inline void drop(self, int base) noexcept:
        cdef PyObject *before = self.owners[base]
        self.owners[base] = NULL
        Py_XDECREF(before)

    cdef inline void drop_all(self) noexcept:
        cdef int base
        for base in range(self.n_values):
            if self.owners[base] != NULL:
                self.drop(base)

    cdef void forget(self):
        """Let go of the arrays of a run; arenas are kept for the next."""
        self.drop_all()
        if self.objects:
            self.objects.clear()
