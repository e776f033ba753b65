# Padding: what lies round a tensor, copied a slab at a time. Included by program.pyx.

cdef enum:
    SMALL_PAD = 4096                   # elements of an output that is filled as a whole where slabs would be many


cdef Tensor region(Tensor y, list start, list sizes):
    """The view of `sizes` elements along each axis, from `start` on."""
    cdef int64_t offset = y.offset
    cdef Py_ssize_t k
    for k in range(len(start)):
        offset += <int64_t> start[k] * <int64_t> y.strides[k]
    return Tensor(y.dtype, tuple(sizes), y.strides, y.buffer, offset)


def pads_of(Tensor x not None, list counts not None, list axes not None):
    """What numbers of elements before and after some axes mean, negative ones being cut off.

    Returns
    -------
    inside, before, after
        What is left of x, and how many elements go before and after it along each axis; None if they cut off too many.
    """
    cdef Py_ssize_t n = len(axes)
    cdef Py_ssize_t rank = len(x.shape)
    cdef Py_ssize_t k
    cdef list shape = list(x.shape)
    cdef list before = [0] * rank
    cdef list after = [0] * rank
    offset = x.offset
    for k in range(n):
        axis, b, a = axes[k], counts[k], counts[k + n]
        if b >= 0:
            before[axis] = b
        else:
            shape[axis] += b
            offset = offset - b * x.strides[axis]
        if a >= 0:
            after[axis] = a
        else:
            shape[axis] += a
        if shape[axis] < 0:
            return None
    return Tensor(x.dtype, tuple(shape), x.strides, x.buffer, offset), before, after


def pad_constant(Emitter emitter not None, Tensor inside not None, Tensor y not None, Tensor filling not None,
                 list before not None):
    """The filling round `inside`: slabs that do not overlap, or all of a small `y` first if there were many."""
    cdef Py_ssize_t rank = len(y.shape)
    cdef Py_ssize_t k
    cdef list start = [0] * rank
    cdef list sizes = list(y.shape)
    cdef list slabs = []
    for k in range(rank):
        b, n = before[k], inside.shape[k]
        rest = y.shape[k] - b - n
        if b:
            sizes[k] = b
            slabs.append(region(y, start, sizes))
        if rest:
            start[k], sizes[k] = b + n, rest
            slabs.append(region(y, start, sizes))
        start[k], sizes[k] = b, n
    if len(slabs) > 2 and elements(y.shape) <= SMALL_PAD:
        slabs = [y]
    for slab in slabs:
        shape = (<Tensor> slab).shape
        emitter.copy_into(Tensor(y.dtype, shape, (0,) * rank, filling.buffer, filling.offset), slab)
    emitter.copy_into(inside, region(y, start, sizes))


def pad_repeated(Emitter emitter not None, Tensor inside not None, Tensor y not None, str mode not None, list before not None,
                 list after not None):
    """`inside`, and then an axis at a time what lies before and after, copied from the part of `y` that is there.

    The mode is edge, reflect or wrap.
    """
    cdef Py_ssize_t k
    cdef list start = list(before)
    cdef list sizes = list(inside.shape)
    cdef int step = {"edge": 0, "reflect": -1, "wrap": 1}[mode]
    emitter.copy_into(inside, region(y, start, sizes))
    for k in range(len(sizes)):
        b, n, a = before[k], inside.shape[k], after[k]
        first, last = (b, b + n - 1) if step == 0 else (2 * b, b + n - 2) if step < 0 else (n, b)
        if b:
            repeat_slab(emitter, y, start, sizes, k, 0, b, first, step)
        if a:
            repeat_slab(emitter, y, start, sizes, k, b + n, a, last, step)
        start[k], sizes[k] = 0, b + n + a


cdef int repeat_slab(Emitter emitter, Tensor y, list start, list sizes, Py_ssize_t axis, to, count, source, int step) except -1:
    """Elements `to` and following of an axis of `y`, from those at `source` and a step further each."""
    cdef Tensor target, origin
    cdef list strides = list(y.strides)
    sizes[axis], start[axis] = count, to
    target = region(y, start, sizes)
    start[axis] = source
    origin = region(y, start, sizes)
    strides[axis] = strides[axis] * step
    emitter.copy_into(Tensor(y.dtype, origin.shape, tuple(strides), origin.buffer, origin.offset), target)
    return 0
