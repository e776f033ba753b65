"""What binding knows of a value: `Tensor` is its shape and layout, `Buffer` the memory it lies in.

Both are the executor's (``_core/tensor.pxi``): there are many of them, and each is made anew for every length.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .._core.program import ARENA, Buffer, Tensor

__all__ = ["ARENA", "Buffer", "Opaque", "Shape", "Tensor", "c_strides", "constant"]

Shape = tuple[int, ...]


class Opaque:
    """A value that is no array of numbers (strings, sequences, optionals): the executor's object number `index`."""

    __slots__ = ("index", "uses")

    def __init__(self, index: int) -> None:
        self.index = index
        self.uses = 0


@lru_cache(maxsize=4096)
def c_strides(shape: Shape) -> Shape:
    """Strides in elements of a C-contiguous array."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= int(size)
    return tuple(reversed(strides))


def constant(array: np.ndarray) -> Tensor:
    """A tensor of a known array, which lies where the array lies."""
    if not array.flags.c_contiguous or not array.flags.aligned:
        array = np.require(array, requirements=["C", "A"])
    buffer = Buffer(array.nbytes, 0, array.__array_interface__["data"][0], array)
    tensor = Tensor(array.dtype, array.shape, c_strides(array.shape), buffer)
    tensor.value = array
    return tensor
