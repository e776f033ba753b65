"""`Emitter`: what a binder writes its steps to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._core.program import Emitted, fresh, view
from ..graph import Node
from .copying import copy_of
from .tensor import Buffer, Shape, Tensor, constant

if TYPE_CHECKING:
    from .wavefront import Stack

FLOAT = np.dtype(np.float32)

Word = int | float | Tensor


class Convolution(NamedTuple):
    """A step that makes an output of `shape`, and what makes the largest of each 2x2 of it.

    `pools` tells whether that can be done, and pays; `pooled` emits the step that does it.
    """

    step: Emitted
    shape: tuple[int, ...]
    pools: Callable[[], bool]
    pooled: Callable[[Tensor], Emitted]


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
        self.stack: Stack | None = None  # the recurrent layers emitted last
        self.convolution: Convolution | None = None  # the one emitted last that may do so with its outputs pooled
        self._packed = packed

    def empty(self, shape: Shape, dtype: np.dtype = FLOAT) -> Tensor:
        """A contiguous tensor in memory of its own, to be written by the steps emitted next."""
        return fresh(shape, dtype)

    def scratch(self, n_bytes: int) -> Tensor:
        """Memory that one step works in, 64-byte aligned."""
        return Tensor(np.dtype(np.uint8), (n_bytes,), (1,), Buffer(n_bytes))

    def constant(self, array: np.ndarray) -> Tensor:
        """A tensor of a known array."""
        return constant(array)

    def view(self, tensor: Tensor, shape: Shape, strides: Shape, offset: int = 0) -> Tensor:
        """Another look at a tensor in memory; strides and offset in elements."""
        return view(tensor, shape, strides, offset)

    def packed(self, key: Any, array: np.ndarray, make: Callable[[np.ndarray], np.ndarray]) -> Tensor:
        """``make(array)`` as a constant, made once for `array` and `key`."""
        found = self._packed.get((key, id(array)))
        if found is None:
            found = self._packed[key, id(array)] = (constant(make(array)), array)
        return found[0]

    def once(self, what: str, node: Node, make: Callable[[Node], Any]) -> Any:
        """``make(node)``, which depends on the node alone, made once for it."""
        found = self._packed.get((what, id(node)))
        if found is None:
            found = self._packed[what, id(node)] = make(node)
        return found

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
        words = copy_of(source.shape, source.strides, target.strides, source.dtype.itemsize)
        if words is not None:
            self.emit("copy", [source, target, *words], source.size)

    def emit(self, op: str | int, words: list[Word], work: float) -> Emitted:
        """Append a step."""
        step = Emitted(op, words, work, self.label)
        self.steps.append(step)
        return step
