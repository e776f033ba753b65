# Memory that is zero at first and begins at a cache line, large pieces in huge pages (memory.h). Included by engine.pyx.

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


def memory(size_t size, bint passing=False):
    """An array of uint8 for weights, which are `passing` where they are needed only while a model is opened."""
    block = Block(size, RT_PASSING if passing else RT_LASTING)
    cdef cnp.npy_intp n = <cnp.npy_intp> size
    cdef cnp.ndarray array = cnp.PyArray_SimpleNewFromData(1, &n, cnp.NPY_UINT8, (<Block> block).data)
    cnp.set_array_base(array, block)
    return array
