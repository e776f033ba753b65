"""What binders write steps with: the compiled `Emitter`, and the types that go with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._core.program import Emitted, Emitter
from .tensor import Shape, Tensor

__all__ = ["FLOAT", "Convolution", "Emitted", "Emitter", "Word"]

FLOAT = np.dtype(np.float32)

Word = int | float | Tensor


Convolution = tuple[Emitted, Shape, Callable[[], bool], Callable[[Tensor], Emitted]]
"""A step that makes an output of a shape, and what makes the largest of each 2x2 of it.

The first function tells whether that can be done, and pays; the second emits the step that does it.
"""
