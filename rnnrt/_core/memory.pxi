# Memory that is zero at first and begins at a cache line, large pieces in huge pages (memory.h). Included by engine.pyx.

cdef extern from "memory.h":
    void *rt_memory_new(size_t size)
    void rt_memory_free(void *data, size_t size)


cdef class Block:
    """Memory that is freed with the object."""

    def __cinit__(self, size_t size):
        self.size = size
        self.data = rt_memory_new(size)
        if self.data == NULL:
            raise MemoryError(f"rnnrt: no memory for {size} bytes")

    def __dealloc__(self):
        rt_memory_free(self.data, self.size)


def memory(size_t size):
    """A Block of `size` bytes as an array of uint8."""
    block = Block(size)
    cdef cnp.npy_intp n = <cnp.npy_intp> size
    cdef cnp.ndarray array = cnp.PyArray_SimpleNewFromData(1, &n, cnp.NPY_UINT8, (<Block> block).data)
    cnp.set_array_base(array, block)
    return array
