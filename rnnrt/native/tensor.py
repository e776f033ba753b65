"""What binding knows of a value: `Tensor` is its shape and layout, `Buffer` the memory it lies in.

Nothing here holds numbers of a run: memory is named by a base (an input, an output, an arena) and an offset, and only
the executor (``_core/program.pyx``) puts addresses to bases.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .emitter import Emitted, Emitter

ARENA = -1
"""The base of a buffer whose place is not chosen yet."""

Shape = tuple[int, ...]


class Buffer:
    """Memory: `size` bytes at `offset` from `base`, or inside the buffer `inside`, `offset` bytes from its start."""

    __slots__ = ("base", "inside", "keep", "offset", "size")

    def __init__(self, size: int, base: int = ARENA, offset: int = 0, keep: Any = None) -> None:
        self.size, self.base, self.offset, self.keep = size, base, offset, keep
        self.inside: Buffer | None = None

    def root(self) -> Buffer:
        """The buffer that this one lies in, at last."""
        buffer = self
        while buffer.inside is not None:
            buffer = buffer.inside
        return buffer

    def place(self) -> tuple[int, int]:
        """Base and offset in bytes."""
        offset, buffer = self.offset, self
        while buffer.inside is not None:
            buffer = buffer.inside
            offset += buffer.offset
        return buffer.base, offset


class Tensor:
    """A value of a bound plan.

    Attributes
    ----------
    dtype, shape
        As NumPy has them.
    strides
        In elements.
    buffer, offset
        Where it lies; the offset of its first element from the start of the buffer, in elements. The buffer is None
        while `pending` says how to make it.
    value
        The array itself where it is the same in every run of these shapes, else None.
    pending
        What computes it once somebody needs it in memory: an object with ``force(emitter, tensor)``.
    producer
        The step that computes this tensor and nothing else, as long as something may be merged into that step.
    uses
        How many nodes and outputs of the plan take it.
    """

    __slots__ = ("buffer", "dtype", "offset", "pending", "producer", "shape", "strides", "uses", "value")

    def __init__(self, dtype: np.dtype, shape: Shape, strides: Shape, buffer: Buffer | None, offset: int = 0) -> None:
        self.dtype, self.shape, self.strides, self.buffer, self.offset = dtype, shape, strides, buffer, offset
        self.value: np.ndarray | None = None
        self.pending: Any = None
        self.producer: Emitted | None = None
        self.uses = 0

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * self.dtype.itemsize

    def contiguous(self) -> bool:
        """Whether the elements lie side by side in C order; axes of size 1 do not count."""
        if self.strides == c_strides(self.shape):
            return True
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size != 1:
                if stride != expected:
                    return size == 0 or 0 in self.shape
                expected *= size
        return True

    def force(self, emitter: Emitter) -> Tensor:
        """The tensor itself, computed if it was not yet."""
        if self.pending is not None:
            pending, self.pending = self.pending, None
            pending.force(emitter, self)
        return self


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
