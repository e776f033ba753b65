"""`Emitter`: what a binder writes its steps to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import UnsupportedError
from .tensor import Buffer, Shape, Tensor, c_strides, constant

FLOAT = np.dtype(np.float32)

COPY_AXES = 8
"""Axes that the copying step walks; RT_COPY_AXES of op_copy.h."""

Word = int | float | Tensor


class Emitted:
    """A step: an operator of the instruction set by name (or the address of a function), and its words.

    Attributes
    ----------
    words
        Integers, floats (stored as doubles), and tensors: two words, their base and offset.
    epilogue
        Index of three words ``activation, alpha, beta`` that a following activation may still be written to, or None.
    work
        Multiply-adds, or elements touched, whichever is more: what the step costs, roughly.
    label
        The node it comes from.
    """

    __slots__ = ("epilogue", "label", "op", "work", "words")

    def __init__(self, op: str | int, words: list[Word], work: float, label: str) -> None:
        self.op, self.words, self.work, self.label = op, words, work, label
        self.epilogue: int | None = None


class Emitter:
    """Collects the steps of one segment of a bound plan.

    Parameters
    ----------
    lanes
        Floats in a vector of the instruction set in use.
    packed
        Weights in the form that steps want, by key; shared by all that is bound from one plan.
    threads
        Threads that a step may use.
    """

    def __init__(self, lanes: int, packed: dict[Any, Any], threads: int = 1) -> None:
        self.lanes, self.threads = lanes, threads
        self.steps: list[Emitted] = []
        self.keep: list[Any] = []
        self.label = ""
        self._packed = packed

    def empty(self, shape: Shape, dtype: np.dtype = FLOAT) -> Tensor:
        """A contiguous tensor in memory of its own, to be written by the steps emitted next."""
        return Tensor(dtype, shape, c_strides(shape), Buffer(math.prod(shape) * dtype.itemsize))

    def scratch(self, n_bytes: int) -> Tensor:
        """Memory that one step works in, 64-byte aligned."""
        return Tensor(np.dtype(np.uint8), (n_bytes,), (1,), Buffer(n_bytes))

    def constant(self, array: np.ndarray) -> Tensor:
        """A tensor of a known array."""
        return constant(array)

    def view(self, tensor: Tensor, shape: Shape, strides: Shape, offset: int = 0) -> Tensor:
        """Another look at a tensor in memory; strides and offset in elements."""
        return Tensor(tensor.dtype, shape, strides, tensor.buffer, tensor.offset + offset)

    def packed(self, key: Any, array: np.ndarray, make: Callable[[np.ndarray], np.ndarray]) -> Tensor:
        """``make(array)`` as a constant, made once for `array` and `key`."""
        found = self._packed.get((key, id(array)))
        if found is None:
            found = self._packed[key, id(array)] = (make(array), array)
        return constant(found[0])

    def contiguous(self, tensor: Tensor) -> Tensor:
        """The tensor itself, or a copy in C order."""
        return tensor if tensor.contiguous() else self.copy(tensor)

    def copy(self, tensor: Tensor) -> Tensor:
        """A contiguous copy."""
        target = self.empty(tensor.shape, tensor.dtype)
        self.copy_into(tensor, target)
        return target

    def copy_into(self, source: Tensor, target: Tensor) -> None:
        """Copy elements into a tensor of the same shape and type, whatever the strides of both."""
        item = source.dtype.itemsize
        axes = merged_axes(source.shape, source.strides, target.strides)
        if axes is None:
            return
        if len(axes) > COPY_AXES:
            raise UnsupportedError(f"{self.label}: a copy over {len(axes)} axes; expected at most {COPY_AXES}")
        words: list[Word] = [source, target, item, len(axes)]
        for size, x, y in axes:
            words += (size, x * item, y * item)
        words += [0] * (3 * (COPY_AXES - len(axes)))
        self.emit("copy", words, source.size)

    def emit(self, op: str | int, words: list[Word], work: float) -> Emitted:
        """Append a step."""
        step = Emitted(op, words, work, self.label)
        self.steps.append(step)
        return step


def merged_axes(shape: Shape, *strides: Sequence[int]) -> list[tuple[int, ...]] | None:
    """``(size, stride, stride, …)`` of the fewest axes that walk all operands in order; None for an empty shape.

    At least one axis is returned; those of size 1 are left out, and neighbours that are one run in all operands join.
    """
    axes: list[tuple[int, ...]] = []
    for entry in zip(shape, *strides, strict=True):
        if entry[0] == 0:
            return None
        if entry[0] == 1:
            continue
        if axes and all(outer == inner * entry[0] for outer, inner in zip(axes[-1][1:], entry[1:], strict=True)):
            axes[-1] = (axes[-1][0] * entry[0], *entry[1:])
        else:
            axes.append(entry)
    return axes or [(1, *(1 for _ in strides))]
