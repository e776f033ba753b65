"""What binders write steps with: the compiled `Emitter`, and the types that go with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .._core.program import Emitted, Emitter
from .tensor import Shape, Tensor

__all__ = ["FLOAT", "Convolution", "Emitted", "Emitter", "Word"]

FLOAT = np.dtype(np.float32)

Word = int | float | Tensor


class Convolution(NamedTuple):
    """A step that makes an output of `shape`, and what makes the largest of each 2x2 of it.

    `pools` tells whether that can be done, and pays; `pooled` emits the step that does it.
    """

    step: Emitted
    shape: Shape
    pools: Callable[[], bool]
    pooled: Callable[[Tensor], Emitted]
