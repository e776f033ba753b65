# TensorProto and ValueInfoProto. Included by messages.pyx.
#
# Where a function gives None, the message is for protobuf's own class: it is of a rarer form, or there is something wrong
# with it, which is then said by whoever reads that.

cdef enum:
    MAX_AXES = 32
    LARGE = 1 << 14                    # bytes of data from which on it goes where first touches cost less
    MARK = 24                          # bytes of a mark
    FLOAT_DATA = 4, INT32_DATA, STRING_DATA, INT64_DATA, NAME, RAW_DATA, DOUBLE_DATA, UINT64_DATA

# Of TensorProto.DataType, the types whose elements are whole bytes, and numbers to NumPy; -1: the others.
cdef int[14] TYPES
TYPES[:] = [
    -1, cnp.NPY_FLOAT32, cnp.NPY_UINT8, cnp.NPY_INT8, cnp.NPY_UINT16, cnp.NPY_INT16, cnp.NPY_INT32, cnp.NPY_INT64,
    -1, cnp.NPY_BOOL, cnp.NPY_FLOAT16, cnp.NPY_FLOAT64, cnp.NPY_UINT32, cnp.NPY_UINT64,
]


cdef class Tensor:
    """A TensorProto: its `name`, and a read-only `array` of its own; `taken` tells that the data was not in the message."""

    cdef readonly str name
    cdef readonly object array
    cdef readonly bint taken


cdef class Declared:
    """A ValueInfoProto of a tensor; `elem_type` 0 and `dims` None where it says nothing, a dim an int, a str or None."""

    cdef readonly str name
    cdef readonly int elem_type
    cdef readonly tuple dims


cdef Tensor read_tensor(dict taken, const field_t *outer):
    cdef Tensor tensor = Tensor()
    cdef const uint8_t *at = outer.body
    cdef const uint8_t *end = outer.body + outer.size
    cdef field_t field
    cdef field_t data
    cdef uint64_t seen = 0
    cdef uint64_t code = 0
    cdef list dims = []
    data.number = 0
    tensor.name = ""
    while next_field(&at, end, &field):
        if field.number == 1:
            add_numbers(dims, &field)
        elif field.number in (3, STRING_DATA, 13, 14):     # segments, strings, external data
            return None
        elif field.number == 2:
            once(&seen, 2)
            number(&field)
            code = field.value
        elif field.number == NAME:
            once(&seen, NAME)
            tensor.name = words(&field)
        elif FLOAT_DATA <= field.number <= UINT64_DATA:
            if data.number or field.kind != 2:
                return None
            data = field
    if code >= 14 or TYPES[code] < 0 or len(dims) > MAX_AXES:
        return None
    tensor.array = read_array(tensor, taken, dims, TYPES[code], &data)
    return None if tensor.array is None else tensor


cdef object read_array(Tensor tensor, dict taken, list dims, int type_number, const field_t *data):
    """The array in a tensor's one field of data, which has number 0 where there is none."""
    cdef cnp.dtype dtype = cnp.PyArray_DescrFromType(type_number)
    cdef Py_ssize_t size = dtype.itemsize
    cdef Py_ssize_t room = size        # as size, axes of no elements left out: NumPy wants that much to be countable, too
    cdef cnp.npy_intp[MAX_AXES] shape
    cdef Py_ssize_t k
    cdef cnp.ndarray array
    for k in range(len(dims)):
        if not 0 <= dims[k] < 1 << 40:
            return None
        shape[k] = dims[k]
        if room > (<Py_ssize_t> 1 << 62) // max(shape[k], <cnp.npy_intp> 1):
            return None
        room *= max(shape[k], <cnp.npy_intp> 1)
        size *= shape[k]
    if data.number == RAW_DATA and data.size == MARK and taken:
        source = taken.get(content(data))
        if source is not None:
            if source.nbytes != size:
                return None
            tensor.taken = True
            whole = (source != 0 if type_number == cnp.NPY_BOOL else source.view(dtype)).reshape(dims)
            whole.setflags(write=False)
            return whole
    if data.number in (INT32_DATA, INT64_DATA):
        return read_integers(dims, dtype, data)
    if data.number == FLOAT_DATA and type_number != cnp.NPY_FLOAT32:
        return None
    if data.number == DOUBLE_DATA and type_number != cnp.NPY_FLOAT64 or data.number == UINT64_DATA:
        return None
    if size != (data.size if data.number else 0):
        return None
    if size < LARGE:
        array = cnp.PyArray_SimpleNew(<int> len(dims), shape, type_number)
    else:
        array = memory(dims, dtype, True)
    if size:
        memcpy(cnp.PyArray_DATA(array), data.body, size)
    if type_number == cnp.NPY_BOOL:                       # true is every byte but 0, and to NumPy 1
        for k in range(size):
            (<uint8_t *> cnp.PyArray_DATA(array))[k] = (<uint8_t *> cnp.PyArray_DATA(array))[k] != 0
    cnp.PyArray_CLEARFLAGS(array, cnp.NPY_ARRAY_WRITEABLE)
    return array


cdef object read_integers(list dims, cnp.dtype dtype, const field_t *data):
    """The array of packed varints, where each of them is an element."""
    cdef list values = []
    if dtype.num != (cnp.NPY_INT64 if data.number == INT64_DATA else cnp.NPY_INT32):
        return None
    add_numbers(values, data)
    try:
        array = np.array(values, dtype).reshape(dims)
    except (OverflowError, ValueError):
        return None
    array.setflags(write=False)
    return array


cdef Declared read_declared(const field_t *outer):
    cdef Declared declared = Declared()
    cdef const uint8_t *at = outer.body
    cdef const uint8_t *end = outer.body + outer.size
    cdef field_t field
    cdef uint64_t seen = 0
    declared.name, declared.elem_type, declared.dims = "", 0, None
    while next_field(&at, end, &field):
        if field.number in (1, 2):
            once(&seen, field.number)
            want(&field, 2)
            if field.number == 1:
                declared.name = words(&field)
            elif not read_type(declared, &field):
                return None
    return declared if declared.name else None


cdef bint read_type(Declared declared, const field_t *outer) except? False:
    """Whether a TypeProto is that of a tensor, which goes to `declared`, or says nothing."""
    cdef const uint8_t *at = outer.body
    cdef const uint8_t *end = outer.body + outer.size
    cdef const uint8_t *inner
    cdef field_t field
    cdef uint64_t seen = 0
    cdef bint found = False
    while next_field(&at, end, &field):
        if field.number == 6:          # its denotation
            continue
        if field.number != 1 or found:
            return False
        want(&field, 2)
        found = True
        inner = field.body
        while next_field(&inner, at, &field):
            once(&seen, field.number)
            if field.number == 1:
                number(&field)
                if field.value >= 1 << 16:
                    return False
                declared.elem_type = <int> field.value
            elif field.number == 2:
                want(&field, 2)
                declared.dims = read_dims(&field)
                if declared.dims is None:
                    return False
    return True


cdef tuple read_dims(const field_t *outer):
    """The dimensions in a TensorShapeProto."""
    cdef const uint8_t *at = outer.body
    cdef const uint8_t *end = outer.body + outer.size
    cdef const uint8_t *inner
    cdef field_t field
    cdef list dims = []
    cdef bint found
    while next_field(&at, end, &field):
        if field.number != 1:
            continue
        want(&field, 2)
        inner, found, dim = field.body, False, None
        while next_field(&inner, at, &field):
            if field.number in (1, 2):
                if found:
                    return None
                found = True
                dim = number(&field) if field.number == 1 else words(&field) or None
                if field.number == 1 and dim < -1:
                    return None
        dims.append(None if dim == -1 else dim)
    return tuple(dims)
