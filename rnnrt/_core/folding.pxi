# What steps of known operands come to: computed once for the same values, and kept. Included by program.pyx.

cdef enum:
    CONTENT_BYTES = 256                # arrays so small are known by their content, larger ones by who they are
    KEPT_BYTES = 1 << 20               # results are kept if they and their operands are so small, …
    MOST_KEPT = 1 << 23                # … and all of them no more
    ENTRY_BYTES = 1 << 10              # what an entry takes besides


@cython.final
cdef class Folder:
    """Results of the steps of a plan whose operands are known, by what the operator is and by what it is given.

    Parameters
    ----------
    kind_of : callable
        ``kind_of(step)``: what the step's function depends on, the same for nodes that differ in names alone; False for
        random numbers.
    compute : callable
        ``compute(step, arrays)``: a list of constant tensors, or None.
    """

    cdef object kind_of, compute
    cdef dict numbers                  # of kinds
    cdef dict kinds, kept              # the numbers by step, -1 for random numbers; the results
    cdef int64_t n_bytes

    def __init__(self, kind_of not None, compute not None):
        self.kind_of, self.compute = kind_of, compute
        self.numbers, self.kinds, self.kept, self.n_bytes = {}, {}, {}, 0

    cdef list fold(self, step, list given):
        """The step's results for known operands, None if absent; None if random, too big, no arrays, or an error."""
        number = self.kinds.get(<size_t> <PyObject *> step)
        if number is None:
            number = self.kinds[<size_t> <PyObject *> step] = self.number_of(step)
        if number == -1:
            return None
        key = content(number, given)
        found = self.kept.get(key)
        if found is not None:
            return <list> (<tuple> found)[0]
        cdef list values = [None if x is None else (<Tensor> x).value for x in given]
        cdef list results = self.compute(step, values)
        if results is not None:
            self.keep(key, results, values)
        return results

    cdef object number_of(self, step):
        kind = self.kind_of(step)
        return -1 if kind is False else self.numbers.setdefault(kind, len(self.numbers))

    cdef int keep(self, key, list results, list values) except -1:
        cdef int64_t size = ENTRY_BYTES
        for x in values:
            if x is not None:
                size += <int64_t> x.nbytes
        for x in results:
            if x is not None:
                size += <int64_t> (<Tensor> x).nbytes
        if size > KEPT_BYTES:
            return 0
        if self.n_bytes + size > MOST_KEPT:
            self.kept, self.n_bytes = {}, 0
        self.kept[key] = (results, values)     # whose ids stay theirs as long as the arrays are held
        self.n_bytes += size
        return 0


cdef tuple content(number, list given):
    """A key for what a function of the kind with this number makes of known operands."""
    cdef list key = [number]
    cdef Tensor tensor
    cdef cnp.ndarray array
    for x in given:
        if x is None:
            key.append(None)
            continue
        tensor = x
        array = tensor.value
        if tensor.dtype.kind != c"O" and cnp.PyArray_NBYTES(array) <= CONTENT_BYTES:
            key.append(tensor.dtype)
            key.append(tensor.shape)
            key.append(PyBytes_FromStringAndSize(<const char *> cnp.PyArray_DATA(array), cnp.PyArray_NBYTES(array)))
        else:
            key.append(<size_t> <PyObject *> array)
    return tuple(key)
