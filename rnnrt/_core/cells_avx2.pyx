# cython: language_level=3
"""The cells for AVX2 with FMA; `kernels` is the capsule of their table (kernels.h)."""

cdef extern from "simd_avx2.h":
    pass

include "cells.pxi"
include "tiles.pxi"
include "steps.pxi"
include "steps_gru.pxi"
include "call.pxi"
include "table.pxi"
