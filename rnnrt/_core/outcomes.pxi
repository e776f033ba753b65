# What a segment ends in: outputs, a call of a Python function, or a truth value that a branch depends on. Included by
# program.pyx.

cdef int make_outputs(Segment segment, Frame frame) except -1:
    cdef int k
    for k in range(segment.n_made):
        entry = segment.outputs[k]
        if entry is not None:
            array = new_array(&segment.made[k]) if segment.made[k].type >= 0 else np.empty(entry[1], entry[0])
            frame.hold(segment.first_base + k, array)
    return 0


cdef list deliver(Segment segment, Frame frame):
    cdef list results = []
    cdef int k = 0
    for entry in segment.outputs:
        if entry is not None:
            results.append(<object> frame.owners[segment.first_base + k])
        else:
            what = segment.terminal.objects[k]
            if type(what) is np_ndarray:
                results.append(what.copy())
            else:
                results.append(None if what is None else frame.objects[what])
        k += 1
    return results


cdef object argument(Frame frame, object item):
    """What a Python function gets: an array over the memory of a tensor, a constant, an object, or None."""
    cdef cnp.npy_intp dims[64]
    cdef cnp.npy_intp steps[64]
    cdef cnp.ndarray array
    cdef int k, n
    if item is None:
        return None
    kind, what = item
    if kind == "value":
        return what
    if kind == "object":
        return frame.objects[what]
    base, offset, dtype, shape, strides = what
    n = len(shape)
    for k in range(n):
        dims[k] = shape[k]
        steps[k] = strides[k]
    cdef cnp.dtype descr = dtype
    owner = <object> frame.owners[<int> base]
    Py_INCREF(descr)
    array = PyArray_NewFromDescr(&PyArray_Type, descr, n, dims, steps, frame.values[<int> base] + <ptrdiff_t> offset, 0, NULL)
    Py_INCREF(owner)
    PyArray_SetBaseObject(array, owner)
    return array


cdef tuple call(Segment segment, Frame frame):
    """Call the Python function, keep what it returns, and say what it is: (dtype, shape) or None for each."""
    cdef list key = []
    cdef cnp.ndarray array
    cdef int k
    terminal = segment.terminal
    results = terminal.call([argument(frame, item) for item in terminal.arguments])
    for k in range(terminal.n_results):
        value = results[k] if k < len(results) else None
        if isinstance(value, np.generic):
            value = np.asarray(value)
        if is_plain(value):
            array = value
            if not cnp.PyArray_ISCARRAY_RO(array):
                array = np.require(array, requirements=["C", "A"])
            frame.hold(segment.first_base + k, array)
            key.append((array.dtype, (<object> array).shape))
        else:
            frame.objects[terminal.first_object + k] = kept(value)
            key.append(None)
    return tuple(key)


cdef object kept(object value):
    """A list, or any other object, without arrays that lie in an arena: it may outlive what is there now."""
    if type(value) is list:
        return [kept(item) for item in <list> value]
    if isinstance(value, np.ndarray):
        owner = value
        while isinstance(owner, np.ndarray):
            owner = owner.base
        if type(owner) is Block:
            return value.copy()
    return value


cdef bint truth(Segment segment, Frame frame) except -1:
    """Whether the element that a branch depends on is other than zero."""
    cdef const char *p
    cdef int k
    base, offset, size = segment.terminal.condition
    p = frame.values[<int> base] + <ptrdiff_t> offset
    for k in range(<int> size):
        if p[k] != 0:
            return True
    return False
