# What program.pyx shares with engine.pyx.

cdef enum:
    GIL_WORK = 50_000              # a call or segment of fewer multiply-adds is over in a few microseconds and keeps the GIL


cdef class Block:
    cdef void *data
    cdef size_t size
    cdef int kind
