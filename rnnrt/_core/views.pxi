# Views: other shapes and strides over the same memory, and the known integers that tell which. Included by program.pyx.

def known_integers(Tensor t):
    """The integers of a known 1-D or 0-d tensor, else None."""
    cdef cnp.ndarray array
    cdef const int64_t *values
    cdef Py_ssize_t k
    if t is None or t.value is None:
        return None
    array = t.value
    if cnp.PyArray_NDIM(array) > 1 or array.dtype.kind not in "iu":
        return None
    if cnp.PyArray_TYPE(array) == cnp.NPY_INT64 and cnp.PyArray_ISCARRAY_RO(array):
        values = <const int64_t *> cnp.PyArray_DATA(array)
        return [values[k] for k in range(cnp.PyArray_SIZE(array))]
    return array.ravel().tolist()


def known_integer(Tensor t):
    """The one integer of a known tensor, else None."""
    if t is None or t.value is None or t.value.size != 1 or t.value.dtype.kind not in "iu":
        return None
    return int(t.value.item())


def front_axes(axes, Py_ssize_t rank):
    """`axes` counted from the front; None if one is out of range or occurs twice."""
    cdef list found = []
    for axis in axes:
        if axis < 0:
            axis += rank
        if not 0 <= axis < rank or axis in found:
            return None
        found.append(axis)
    return found


def whole_view(Tensor x not None, tuple shape not None, tuple strides not None):
    """A view of all elements of `x`; what may still be merged into the step that makes `x` may be through the view."""
    cdef Tensor y = Tensor(x.dtype, shape, strides, x.buffer, x.offset)
    if x.uses == 1:
        y.producer = x.producer
    return y


@cython.boundscheck(True)
def picked(items not None, order):
    """The items at these places."""
    return tuple([items[k] for k in order])


@cython.boundscheck(True)
def reshaped_strides(tuple shape not None, tuple strides not None, tuple target not None):
    """Strides with which `target` shows the elements of (shape, strides) in C order; None if no strides do.

    Both shapes are cut into the shortest groups of axes of equal size. The axes of a group on the old side have to be
    one run, each stride being the next one times its size; its last stride is then the unit of the group's new axes.
    """
    cdef Py_ssize_t k, end, place
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t rank = len(target)
    cdef int64_t size, wanted, unit, stride
    cdef int64_t last = 1
    cdef list found = [1] * rank
    if elements(shape) != elements(target):
        raise ValueError(f"{shape} and {target} have different numbers of elements")
    if 0 in shape:
        return c_strides(target)
    k = 0
    while k < rank:
        if target[k] == 1:
            found[k] = last
            k += 1
            continue
        while shape[at] == 1:
            at += 1
        size, last = shape[at], strides[at]
        at += 1
        end, wanted = k + 1, target[k]
        while size != wanted:
            if size < wanted:
                while shape[at] == 1:
                    at += 1
                stride = strides[at]
                if last != <int64_t> shape[at] * stride:
                    return None
                size, last = size * <int64_t> shape[at], stride
                at += 1
            else:
                wanted *= <int64_t> target[end]
                end += 1
        unit = last
        for place in range(end - 1, k - 1, -1):
            found[place] = unit
            unit *= <int64_t> target[place]
        k = end
    return tuple(found)


def reshaped(Emitter emitter not None, Tensor x not None, tuple shape not None):
    """The elements of `x` in another shape of as many: a view, or a view of a contiguous copy."""
    strides = c_strides(shape) if x.contiguous() else reshaped_strides(x.shape, x.strides, shape)
    if strides is None:
        return emitter.view(emitter.copy(x), shape, c_strides(shape))
    return whole_view(x, shape, strides)


def sliced(Tensor x not None, list axes not None, list starts not None, list ends not None, list steps not None):
    """A view of ranges of some axes, which count from the front; starts and ends as those of Python's slices."""
    cdef list shape = list(x.shape)
    cdef list strides = list(x.strides)
    cdef object offset = x.offset
    cdef Py_ssize_t k
    for k in range(len(axes)):
        axis = axes[k]
        start, stop, step = slice(starts[k], ends[k], steps[k]).indices(shape[axis])
        count = len(range(start, stop, step))
        if count:
            offset = offset + start * strides[axis]
        shape[axis], strides[axis] = count, strides[axis] * step
    return Tensor(x.dtype, tuple(shape), tuple(strides), x.buffer, offset)


cpdef Tensor laid_out(cnp.dtype dtype, tuple sizes, order):
    """A tensor in memory of its own, whose axes lie in it in that order; None: in their own."""
    cdef int64_t step = 1
    cdef list strides
    cdef Py_ssize_t k
    if order is None:
        return Tensor(dtype, sizes, c_strides(sizes), Buffer(elements(sizes) * dtype.itemsize))
    strides = [0] * len(sizes)
    for k in range(len(sizes) - 1, -1, -1):
        strides[order[k]] = step
        step *= <int64_t> sizes[order[k]]
    return Tensor(dtype, sizes, tuple(strides), Buffer(step * <int64_t> dtype.itemsize))


def evenly(Tensor index not None, int64_t n):
    """(first, step) of known int32 or int64 indices that are evenly spaced within n elements, in C order; else None."""
    cdef const int64_t *flat
    cdef cnp.ndarray array
    cdef int64_t first, last, step
    cdef Py_ssize_t k, count
    if index.value is None or index.dtype.kind != c"i":
        return None
    array = np.ascontiguousarray(index.value, np.int64)
    flat, count = <const int64_t *> cnp.PyArray_DATA(array), cnp.PyArray_SIZE(array)
    if not count or not (-n <= flat[0] < n and -n <= flat[count - 1] < n):
        return None
    first, last = flat[0], flat[count - 1]
    step = (last - first) // (count - 1) if count > 1 else 0
    for k in range(1, count):
        if flat[k] != first + step * k:
            return None
    if first < 0 and last < 0:
        first, last = first + n, last + n
    return (first, step) if first >= 0 and last >= 0 else None


def moved_inside(Tensor t not None, Tensor y not None, int64_t offset):
    """Put the memory of `t` into that of `y`, `offset` elements from its start, if that is free to move and all of `t`.

    Nothing was placed yet that belongs to this segment, so a buffer with a base is an input, a constant or older.
    """
    cdef Buffer buffer = t.buffer
    if buffer is None or buffer.base != ARENA_BASE or buffer.inside is not None or t.offset:
        return False
    if elements(t.shape) * t.dtype.itemsize != buffer.size or not t.contiguous():
        return False
    buffer.inside, buffer.offset = y.buffer, offset * t.dtype.itemsize
    return True


def broadcast_pair(tuple a not None, tuple b not None):
    """``np.broadcast_shapes`` of two, or None."""
    cdef list both
    cdef Py_ssize_t k, extra
    if a == b:
        return a
    if len(b) > len(a):
        a, b = b, a
    extra = len(a) - len(b)
    both = list(a)
    for k in range(len(b)):
        if both[extra + k] != b[k]:
            if both[extra + k] != 1 and b[k] != 1:
                return None
            if both[extra + k] == 1:
                both[extra + k] = b[k]
    return tuple(both)


def repeated_strides(tuple shape not None, tuple strides not None, tuple to not None):
    """Strides of an array of a shape broadcast to shape `to`."""
    cdef Py_ssize_t extra = len(to) - len(shape)
    cdef list found = [0] * len(to)
    cdef Py_ssize_t k
    for k in range(len(shape)):
        if shape[k] != 1:
            found[extra + k] = strides[k]
    return tuple(found)
