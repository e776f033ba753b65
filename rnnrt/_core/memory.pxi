# Memory that is zero at first and begins at a cache line, large pieces in huge pages (memory.h). Included by engine.pyx.

import math

cdef extern from "memory.h":
    enum:
        RT_LASTING, RT_PASSING, RT_PLAIN
    void *rt_memory_new(size_t size, int kind)
    void rt_memory_free(void *data, size_t size, int kind)


cdef class Block:
    """Memory that is freed with the object: a workspace, or of another kind (memory.h)."""

    def __cinit__(self, size_t size, int kind=RT_PLAIN):
        self.size, self.kind = size, kind
        self.data = rt_memory_new(size, kind)
        if self.data == NULL:
            raise MemoryError(f"rnnrt: no memory for {size} bytes")

    def __dealloc__(self):
        rt_memory_free(self.data, self.size, self.kind)


def memory(shape, dtype="uint8", bint passing=False):
    """Zeros for weights, which are `passing` where they are needed only while a model is opened."""
    dims = (shape,) if isinstance(shape, int) else shape
    cdef cnp.npy_intp size = math.prod(dims) * np.dtype(dtype).itemsize
    block = Block(size, RT_PASSING if passing else RT_LASTING)
    cdef cnp.ndarray array = cnp.PyArray_SimpleNewFromData(1, &size, cnp.NPY_UINT8, (<Block> block).data)
    cnp.set_array_base(array, block)
    return array.view(dtype).reshape(dims)
