# cython: language_level=3
"""The cells for AVX-512; `kernels` is the capsule of their table (kernels.h)."""

cdef extern from "simd_avx512.h":
    pass

include "cells.pxi"
include "tiles.pxi"
include "steps.pxi"
include "steps_gru.pxi"
include "call.pxi"
include "table.pxi"
