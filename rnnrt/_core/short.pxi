# The short way: a run that is one segment, of arrays in and arrays out. Included by program.pyx.

cdef inline cnp.ndarray new_array(const layout_t *made):
    """A fresh array."""
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
