# What the views of a recurrent layer's inputs (rewrite/views.py) are for a tensor that has no memory yet. Included by
# program.pyx.

def apply_views(Emitter emitter not None, Tensor tensor not None, views):
    """As :func:`rnnrt.rewrite.views.apply_views`, of a tensor.

    Raises
    ------
    ValueError, IndexError
        If a view does not fit the tensor's shape.
    """
    for view in views:
        tensor = apply_view(emitter, tensor, view[0], view)
    return tensor


@cython.boundscheck(True)
cdef Tensor apply_view(Emitter emitter, Tensor tensor, str kind, tuple view):
    cdef tuple shape = tensor.shape
    cdef Py_ssize_t rank = len(shape)
    if kind == "transpose":
        return permuted(tensor, [p % rank for p in view[1]])
    if kind == "squeeze":
        gone = {a % rank for a in view[1]}
        if [a for a in gone if shape[a] != 1]:
            raise ValueError(f"axes {view[1]} of shape {shape} are not all of size 1")
        return permuted(tensor, [a for a in range(rank) if a not in gone])
    if kind == "unsqueeze":
        return widened(tensor, view[1])
    if kind == "slice":
        return sliced(tensor, [view[1] % rank], [view[2]], [view[3]], [view[4]])
    if kind == "index":
        return indexed(tensor, view[1] % rank, view[2])
    return reshaped(emitter, tensor, inferred(shape, view[1]))


cdef Tensor permuted(Tensor tensor, list order):
    """The view of these axes, in order; those left out have size 1."""
    return Tensor(tensor.dtype, picked(tensor.shape, order), picked(tensor.strides, order), tensor.buffer, tensor.offset)


@cython.boundscheck(True)
cdef Tensor widened(Tensor tensor, axes):
    """With axes of size 1 at these places of the result."""
    cdef Py_ssize_t total = len(tensor.shape) + len(axes)
    cdef Py_ssize_t k
    cdef Py_ssize_t at = 0
    cdef list shape = []
    cdef list strides = []
    new = {a % total for a in axes}
    for k in range(total):
        if k in new:
            shape.append(1)
            strides.append(0)
        else:
            if at == len(tensor.shape):
                raise ValueError(f"axes {axes} occur twice")
            shape.append(tensor.shape[at])
            strides.append(tensor.strides[at])
            at += 1
    return Tensor(tensor.dtype, tuple(shape), tuple(strides), tensor.buffer, tensor.offset)


@cython.boundscheck(True)
cdef Tensor indexed(Tensor tensor, Py_ssize_t axis, at):
    """One place along an axis, which goes."""
    cdef tuple shape = tensor.shape
    cdef tuple strides = tensor.strides
    place = range(shape[axis])[at]
    return Tensor(tensor.dtype, shape[:axis] + shape[axis + 1:], strides[:axis] + strides[axis + 1:], tensor.buffer,
                  tensor.offset + place * strides[axis])


@cython.boundscheck(True)
cdef tuple inferred(tuple shape, target):
    """The sizes that a reshape means: 0 keeps an axis's, a negative one is what is left."""
    cdef list sizes = [shape[k] if n == 0 else n for k, n in enumerate(target)]
    total, known = elements(shape), 1
    for n in sizes:
        known = known * (n if n >= 0 else 1)
    found = tuple([(total // known if known else 0) if n < 0 else n for n in sizes])
    if elements(found) != total:
        raise ValueError(f"{total} elements do not fit the shape {target}")
    return found
