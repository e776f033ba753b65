# The short way: a run that is one segment, of arrays in and arrays out. Included by program.pyx.

from libc.stdint cimport uintptr_t

cdef enum:
    LINE = 64
    ALIGNED_BYTES = 16 << 10           # from so many on an array begins at a cache line, which takes a second object

cdef cnp.ndarray aligned_array(const layout_t *made):
    """A fresh array that begins at a cache line."""
    cdef cnp.npy_intp size = made.n_bytes + LINE - 1
    cdef cnp.ndarray memory = cnp.PyArray_EMPTY(1, &size, cnp.NPY_UINT8, 0)
    cdef char *start = cnp.PyArray_BYTES(memory)
    start += -<uintptr_t> start % LINE
    Py_INCREF(<object> made.dtype)
    cdef object array = PyArray_NewFromDescr(&PyArray_Type, <cnp.dtype> made.dtype, made.n_axes, <cnp.npy_intp *> made.shape,
                                             NULL, start, cnp.NPY_ARRAY_CARRAY, NULL)
    Py_INCREF(memory)                  # for the array to keep
    PyArray_SetBaseObject(<cnp.ndarray> array, memory)
    return <cnp.ndarray> array


cdef inline cnp.ndarray new_array(const layout_t *made):
    """A fresh array."""
    if made.n_bytes >= ALIGNED_BYTES and made.type < cnp.NPY_OBJECT:
        return aligned_array(made)
    Py_INCREF(<object> made.dtype)     # for the call to keep
    return <cnp.ndarray> PyArray_NewFromDescr(&PyArray_Type, <cnp.dtype> made.dtype, made.n_axes, <cnp.npy_intp *> made.shape,
                                              NULL, NULL, 0, NULL)


cdef inline int hold_input(Segment root, Frame frame, int k, dict feeds, object name) except -1:
    """Let an empty frame have the k-th input; 0 if what is fed under that name does not fit."""
    cdef PyObject *value = PyDict_GetItemWithError(feeds, name)
    if value == NULL or not fits(&root.read[k], <object> value):
        return 0
    Py_INCREF(<object> value)
    frame.owners[1 + k] = value
    frame.values[1 + k] = <char *> cnp.PyArray_DATA(<cnp.ndarray> value)
    return 1


cdef inline void give_short(Segment root, Frame frame) noexcept:
    """As Segment.give, after a run that held nothing but inputs."""
    cdef int k
    for k in range(1, 1 + root.n_read):
        frame.drop(k)
    root.keep_idle(frame)


cdef list run_short(Segment root, tuple names, dict feeds):
    """The outputs, or None if the inputs do not fit."""
    cdef Frame frame = root.take()
    cdef cnp.ndarray array
    cdef list results
    cdef int k
    try:
        for k in range(root.n_read):
            if not hold_input(root, frame, k, feeds, names[k]):
                return None
        results = PyList_New(root.n_made)
        for k in range(root.n_made):
            array = new_array(&root.made[k])
            frame.values[root.first_base + k] = <char *> cnp.PyArray_DATA(array)
            Py_INCREF(array)           # for the list
            PyList_SET_ITEM(results, k, array)
        root.execute(frame.values)
        return results
    finally:
        give_short(root, frame)
