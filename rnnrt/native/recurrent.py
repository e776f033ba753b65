"""The step of a lowered LSTM, GRU or RNN whose weights are packed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .._core import engine
from .._core.program import apply_views, laid_out, picked, reshaped
from ..errors import InputError
from ..graph import Node
from ..rewrite.views import Groups
from . import wavefront
from .emitter import Emitter, Word
from .tensor import Tensor, c_strides
from .wavefront import Link

_NAMES = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
_ABSENT = (0, 0, 0, 0, 0)  # a reference to nothing, and three strides


class RecurrentBinder:
    """Emits a layer's step.

    Parameters
    ----------
    node
        The lowered node (:mod:`rnnrt.rewrite.lower`).
    layer
        Its packed weights.
    taken
        The numbers of the inputs that are given when it is bound: all that are no weights.
    threads
        Threads that the step may use.
    """

    lazy = False

    def __init__(self, node: Node, layer: engine.Recurrent, taken: Sequence[int], threads: int) -> None:
        self.layer, self.taken, self.threads = layer, tuple(taken), threads
        self.label = node.label()
        self.views = node.attrs["in_views"]
        self.arrangements = node.attrs["out_axes"]
        self.wanted = [bool(node.output(k)) for k in range(3)]
        self.n_outputs = len(node.outputs)
        self.orders = [self._order(k) for k in range(3)]

    def bind(self, emitter: Emitter, node: Node, *arrays: Tensor | None) -> tuple[Tensor | None, ...]:
        """Emit the step; the outputs, None for those without a name."""
        layer = self.layer
        given: dict[int, Tensor] = {}
        for k, array in zip(self.taken, arrays, strict=True):
            if array is not None:
                given[k] = self._viewed(emitter, k, array)
        x = given.get(0)
        if x is None or len(x.shape) != 3:
            shape = None if x is None else x.shape
            raise InputError(f"{self.label}: X: expected (T, B, {layer.input_size}), got {shape}")
        n_time, n_batch, _ = x.shape
        state = (layer.num_directions, n_batch, layer.hidden_size)
        function, begin, size, work, threads = layer.bound(n_time, n_batch, self.threads)
        words: list[Word] = [*begin]
        words += (0, 0) if 4 not in given else (self._lengths(emitter, given[4], n_batch),)
        words.append(emitter.scratch(size))
        x = self._read(emitter, 0, x, (n_time, n_batch, layer.input_size))
        words += (x, x.strides[0], 0, x.strides[1])
        states: list[Tensor] = []
        for k in (5, 6):
            if k not in given:
                words += _ABSENT
                continue
            tensor = self._read(emitter, k, given[k], state)
            words += (tensor, 0, *tensor.strides[:2])
            states.append(tensor)
        made: list[Tensor | None] = []
        for k in range(3):
            if not self.wanted[k]:
                words += _ABSENT
                made.append(None)
                continue
            tensor = laid_out(layer.dtype, state if k else (n_time, *state), self.orders[k])
            words += (tensor, 0, *tensor.strides[:2]) if k else (tensor, *tensor.strides[:3])
            made.append(tensor)
        if self.threads > 1 and layer.direction == "forward" and 4 not in given and not layer.quantized:
            link = Link(layer, words, work, threads, self.label, x, states, list(made))
            wavefront.emit(emitter, function, link, self.threads)
        else:
            emitter.emit(function, words, work).threads = threads
        for k, groups in self.arrangements.items():
            output = made[k]
            if output is not None:
                made[k] = self._arranged(emitter, k, output, groups)
        return tuple(made[: self.n_outputs])

    def _viewed(self, emitter: Emitter, k: int, tensor: Tensor) -> Tensor:
        if k == 4:
            return tensor
        if tensor.dtype != self.layer.dtype:
            raise InputError(f"{self.label}: {_NAMES[k]}: expected {self.layer.dtype}, got {tensor.dtype}")
        if k not in self.views:
            return tensor
        try:
            return apply_views(emitter, tensor, self.views[k])
        except (ValueError, IndexError) as error:
            raise InputError(f"{self.label}: {_NAMES[k]}: shape {tensor.shape} does not fit: {error}") from None

    def _read(self, emitter: Emitter, k: int, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
        """An input as the step can read it: of that shape, the last axis contiguous."""
        if tensor.shape != shape:
            raise InputError(f"{self.label}: {_NAMES[k]}: expected shape {shape}, got {tensor.shape}")
        return tensor if tensor.strides[-1] == 1 or tensor.shape[-1] == 1 else emitter.copy(tensor)

    def _lengths(self, emitter: Emitter, tensor: Tensor, n_batch: int) -> Tensor:
        if tensor.shape != (n_batch,) or tensor.dtype != np.int32:
            got = f"{tensor.dtype} {tensor.shape}"
            raise InputError(f"{self.label}: sequence_lens: expected int32 of shape {(n_batch,)}, got {got}")
        return emitter.contiguous(tensor)

    def _order(self, k: int) -> list[int] | None:
        """The order in memory of the axes of output `k`; None where that is their own."""
        rank = 3 if k else 4
        groups: Groups | None = self.arrangements.get(k)
        if groups is None:
            return None
        named = [axis for group in groups for axis in group]
        order = [axis for axis in range(rank) if axis not in named] + named
        return order if order[-1] == rank - 1 else None

    def _arranged(self, emitter: Emitter, k: int, made: Tensor, groups: Groups) -> Tensor:
        """Output `k` as the graph wants it."""
        sizes = made.shape
        shape = tuple([math.prod([sizes[axis] for axis in group]) for group in groups])
        if self.orders[k] is not None:
            return emitter.view(made, shape, c_strides(shape))
        named = [axis for group in groups for axis in group]
        order = named + [axis for axis in range(made.ndim) if axis not in named]
        moved = emitter.view(made, picked(sizes, order), picked(made.strides, order))
        return reshaped(emitter, moved, shape)
