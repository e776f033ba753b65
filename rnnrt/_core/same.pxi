# Whether weights are the same bytes. Included by engine.pyx.

cdef extern from "string.h" nogil:
    int memcmp(const void *a, const void *b, size_t n)


def sample_weights(Recurrent layer, int n_samples):
    """Bytes from `n_samples` places of each block of the packed weights: different for nearly all different weights."""
    cdef Block block
    cdef size_t step, at, word = sizeof(uint64_t)
    parts = []
    for block in layer.blocks:
        step = max(block.size // n_samples // word, <size_t> 1) * word
        at = 0
        while at + word <= block.size:
            parts.append((<const char *> block.data)[at:at + word])
            at += step
    return b"".join(parts)


def same_weights(a, b):
    """Whether two packed layers, or two C-contiguous arrays of one shape and dtype, hold the same bytes."""
    if isinstance(a, Recurrent) and isinstance(b, Recurrent):
        return same_blocks((<Recurrent> a).blocks, (<Recurrent> b).blocks)
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)) or a.shape != b.shape or a.dtype != b.dtype:
        return False
    return same_bytes(cnp.PyArray_DATA(a), cnp.PyArray_DATA(b), a.nbytes)


cdef bint same_blocks(list a, list b):
    cdef Block x, y
    if len(a) != len(b):
        return False
    for x, y in zip(a, b):
        if x.size != y.size or not same_bytes(x.data, y.data, x.size):
            return False
    return True


cdef bint same_bytes(const void *a, const void *b, size_t size):
    cdef bint same
    with nogil:
        same = memcmp(a, b, size) == 0
    return same
