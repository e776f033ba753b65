"""What binding knows of a value: `Tensor` is its shape and layout, `Buffer` the memory it lies in.

Both are the executor's (``_core/tensor.pxi``): there are many of them, and each is made anew for every length.
"""

from __future__ import annotations

import numpy as np

from .._core import engine
from .._core.program import ARENA, Buffer, Tensor, c_strides, constant

__all__ = [
    "ARENA",
    "Buffer",
    "Opaque",
    "Shape",
    "Tensor",
    "aligned",
    "c_strides",
    "constant",
    "memory",
    "strided",
]

Shape = tuple[int, ...]


class Opaque:
    """A value that is no array of numbers (strings, sequences, optionals): the executor's object number `index`."""

    __slots__ = ("index", "uses")

    def __init__(self, index: int) -> None:
        self.index = index
        self.uses = 0


def memory(size: int, dtype: np.dtype | type = np.float32) -> np.ndarray:
    """Zeros that begin at a cache line."""
    return engine.memory(size, dtype)


def whole_lines(n: int) -> int:
    """`n` floats rounded up to whole cache lines."""
    return -(-n // 16) * 16


def aligned(array: np.ndarray) -> np.ndarray:
    """A contiguous copy that begins at a cache line."""
    copy = memory(array.size, array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def strided(array: np.ndarray, shape: Shape, strides: Shape) -> np.ndarray:
    """A contiguous array seen with another shape and strides, in elements."""
    return np.ndarray(shape, array.dtype, array, 0, [s * array.itemsize for s in strides])
