# What binding does at every step of a plan, whatever the step is. Included by program.pyx.

cdef enum:
    OPERANDS_KNOWN = 1                 # all are the same in every run
    OPERANDS_PLAIN = 2                 # all are arrays of numbers, or absent
    OPERANDS_PENDING = 4               # some are not computed yet

KNOWN, PLAIN, PENDING = OPERANDS_KNOWN, OPERANDS_PLAIN, OPERANDS_PENDING


def operands(list values not None, tuple slots not None):
    """The values in `slots`, and what they are: KNOWN, PLAIN and PENDING, as far as that holds."""
    cdef list given = []
    cdef int what = OPERANDS_KNOWN | OPERANDS_PLAIN
    cdef Tensor tensor
    for slot in slots:
        value = values[slot]
        given.append(value)
        if value is None:
            continue
        if type(value) is not Tensor:
            what &= ~(OPERANDS_KNOWN | OPERANDS_PLAIN)
            continue
        tensor = value
        if tensor.value is None:       # and so of numbers
            what &= ~OPERANDS_KNOWN
            if tensor.pending is not None:
                what |= OPERANDS_PENDING
        elif tensor.dtype.kind == c"O":
            what &= ~OPERANDS_PLAIN
    return given, what


def store(list values not None, list uses not None, tuple outputs not None, results not None, tuple frees not None):
    """Put a step's results into their slots, counting their uses, and let go of what nobody needs after it."""
    cdef Py_ssize_t k
    for k in range(min(len(outputs), len(results))):
        slot, value = outputs[k], results[k]
        if slot:
            values[slot] = value
            if type(value) is Tensor:
                (<Tensor> value).uses += <int> uses[slot]
            elif value is not None:
                value.uses += uses[slot]
    for slot in frees:
        values[slot] = None


def fresh(tuple shape not None, cnp.dtype dtype not None):
    """A contiguous tensor in memory of its own."""
    return Tensor(dtype, shape, c_strides(shape), Buffer(elements(shape) * dtype.itemsize))


def view(Tensor tensor not None, tuple shape, tuple strides, int64_t offset):
    """Another look at a tensor in memory; strides and offset in elements."""
    return Tensor(tensor.dtype, shape, strides, tensor.buffer, tensor.offset + offset)
