# Axes of several operands walked together: as few as walk the same places in the same order, and copies along them.
# Included by program.pyx.

cdef enum:
    STRIDES = 3                        # of operands, at most
    MOST_READ = 128                    # axes, twice NumPy's
    COPY_SHORT = 8                     # an inner axis so short changes places with a longer one


cdef struct axis_t:
    int64_t size
    int64_t steps[STRIDES]             # of each operand, in elements


cdef axis_t SOLE                       # an axis of one element
SOLE.size = 1
SOLE.steps[0] = SOLE.steps[1] = SOLE.steps[2] = 1


cdef int join_axis(axis_t *axes, int n, const axis_t *entry, int operands) noexcept nogil:
    """Append an axis, or make it part of the last one if they are one run in all operands; the number of axes then."""
    cdef int k
    if entry.size == 1:
        return n
    if n:
        for k in range(operands):
            if axes[n - 1].steps[k] != entry.steps[k] * entry.size:
                break
        else:
            axes[n - 1].size *= entry.size
            for k in range(operands):
                axes[n - 1].steps[k] = entry.steps[k]
            return n
    axes[n] = entry[0]
    return n + 1


cdef int read_axes(axis_t *axes, int n, entries, int operands) except -1:
    """Append the tuples ``(size, stride, stride, …)``, joined, to `n` axes; their number then. There are `MOST_READ` places."""
    cdef axis_t entry
    cdef int k
    for item in entries:
        if n == MOST_READ:
            raise InputError(f"expected tensors of at most {MOST_READ} axes")
        entry.size = item[0]
        for k in range(operands):
            entry.steps[k] = item[1 + k]
        n = join_axis(axes, n, &entry, operands)
    return n


cdef tuple axis_of(const axis_t *axis, int operands):
    if operands == 1:
        return axis.size, axis.steps[0]
    if operands == 2:
        return axis.size, axis.steps[0], axis.steps[1]
    return axis.size, axis.steps[0], axis.steps[1], axis.steps[2]


def joined(entries, int operands):
    """As few axes as walk the same places in the same order, of ``(size, stride, …)`` with the strides of `operands`."""
    cdef axis_t axes[MOST_READ]
    cdef int k
    cdef int n = read_axes(axes, 0, entries, operands)
    return [axis_of(&axes[k], operands) for k in range(n)]


def merged_axes(tuple shape not None, *strides):
    """``(size, stride, stride, …)`` of the fewest axes that walk all operands in order; None for an empty shape.

    At least one axis is returned; those of size 1 are left out, and neighbours that are one run in all operands join.
    """
    if 0 in shape:
        return None
    return joined(zip(shape, *strides), <int> len(strides)) or [(1, *[1 for _ in strides])]


def copy_words(tuple shape not None, tuple source not None, tuple target not None, int64_t item):
    """The words of a ``copy`` step after its tensors, for a shape and the strides of both; None for an empty shape.

    The order of the axes is the step's to choose: first by the target, so that it is written in order; then the longer
    one of the last two innermost if the other is short.
    """
    cdef axis_t axes[MOST_READ]
    cdef axis_t row, inner
    cdef list words
    cdef int64_t unit = item
    cdef int k
    cdef int turned = 0
    cdef int n = copied_axes(axes, shape, source, target)
    if n < 0:
        return None
    row.size, row.steps[0], row.steps[1] = 1, 0, 0
    inner = row
    if n and axes[n - 1].steps[0] == 1 and axes[n - 1].steps[1] == 1:
        n -= 1
        unit *= axes[n].size
    for k in range(n):
        axes[k].steps[0] *= item
        axes[k].steps[1] *= item
    if n:
        n -= 1
        inner = axes[n]
    if n:
        if inner.steps[1] == unit and inner.steps[0] != 0 and unit in (1, 2, 4, 8, 16):
            for k in range(n):
                if axes[k].steps[0] == unit:
                    row, turned = axes[k], 1
                    n -= 1
                    memmove(&axes[k], &axes[k + 1], (n - k) * sizeof(axis_t))
                    break
        if not turned:
            n -= 1
            row = axes[n]
            if inner.size < COPY_SHORT and row.size > inner.size:
                row, inner = inner, row
    words = [unit, turned, n, row.size, row.steps[0], row.steps[1], inner.size, inner.steps[0], inner.steps[1]]
    for k in range(n):
        words += axis_of(&axes[k], 2)
    return words


cdef int copied_axes(axis_t *axes, tuple shape, tuple source, tuple target) except -2:
    """The axes of a copy, the target's longest strides first; -1 for an empty shape."""
    cdef axis_t entry
    cdef int k, at
    cdef int n = 0
    if len(shape) > MOST_READ:
        raise InputError(f"expected tensors of at most {MOST_READ} axes")
    for k in range(<int> len(shape)):
        entry.size, entry.steps[0], entry.steps[1] = shape[k], source[k], target[k]
        if not entry.size:
            return -1
        n = join_axis(axes, n, &entry, 2)
    for k in range(1, n):
        if abs(axes[k - 1].steps[1]) < abs(axes[k].steps[1]):
            break
    else:
        return n
    for k in range(1, n):              # in order, those of equal strides as they were
        entry, at = axes[k], k
        while at and abs(axes[at - 1].steps[1]) < abs(entry.steps[1]):
            axes[at] = axes[at - 1]
            at -= 1
        axes[at] = entry
    at, n = n, 0
    for k in range(at):
        entry = axes[k]
        n = join_axis(axes, n, &entry, 2)
    return n
