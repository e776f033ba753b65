# cython: language_level=3
"""The operators for any processor; `ops` is the capsule of their table (ops.h)."""

from cpython.pycapsule cimport PyCapsule_New

cdef extern from "simd_baseline.h":
    pass

cdef extern from "ops_table.h":
    ctypedef struct rt_ops:
        pass
    const rt_ops op_table

ops = PyCapsule_New(<void *> &op_table, b"rnnrt.ops", NULL)
