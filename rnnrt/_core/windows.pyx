# cython: language_level=3
"""What convolutions and pools read along their axes, as numbers: native/conv.py and its neighbours put them into words.

A `Phase` is a set of outputs that read alike along one axis. A convolution has one phase, a transposed one as many as its
stride. `Planes` are an input, or a copy with a `Margin`; `Sums` are a whole convolution.

Numbers of an axis are at most `LARGEST`, and none of what is computed of them here exceeds 64 bits: `plain` and
`transposed` have no phases for others.
"""

cimport cython
cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t

import numpy as np

cnp.import_array()

cdef object FLOAT = np.dtype(np.float32)

cdef enum:
    LARGEST = 1 << 30
    MOST_STRIDE = 1 << 12              # a copy has a piece for each element of a stride, a transposed one a phase
    MOST_LOOKED_AT = 256               # taps of all rows of outputs: where there are more, few of them lie in the padding
    MOST_PHASES = 5
    MOST_LAYOUTS = 64                  # of a node, by sizes, that are kept
    AHEAD = 16                         # CONV_AHEAD of op_conv.h

include "phases.pxi"
include "planes.pxi"
include "tilings.pxi"
