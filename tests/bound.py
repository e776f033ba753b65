"""Nodes bound by hand, without a plan, and their steps run on any instruction set; every byte round them is watched.

A `Bound` is a segment under construction: `input` and `constant` make tensors, `node` binds an operator to tensors or
arrays, `run` runs all steps emitted so far and returns the values asked for. `run_native` does all of it for one node.

Each buffer that steps write lies between guard bytes, 16 bytes past a cache line, and holds 0xFF, which is NaN, before
every run. Inputs end where their elements end, with NaN in the gaps between them, and must come out as they went in.
Steps in parts are run from the last part to the first and the other way round, to the same bits.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import numpy as np
from ops_util import make_node, run_op

import rnnrt.native
from rnnrt._core import program
from rnnrt.native.emitter import Emitted, Emitter
from rnnrt.native.registry import NATIVE
from rnnrt.native.tensor import ARENA, Buffer, Shape, Tensor

LANES = {"avx512": 16, "avx2": 8, "baseline": 4, "neon": 4}
GUARD = 64
GUARD_BYTE, FRESH_BYTE = 0xA5, 0xFF

for _module in pkgutil.iter_modules(rnnrt.native.__path__):
    importlib.import_module(f"rnnrt.native.{_module.name}")


class Bound:
    """Nodes bound one after the other, and the memory of their steps.

    Parameters
    ----------
    isa
        The instruction set that steps are bound for and run on; by default the one in use.
    threads
        Threads that a step may use: the parts that it has scratch memory for.
    """

    def __init__(self, isa: str | None = None, threads: int = 1) -> None:
        self.isa = isa
        self.emitter = Emitter(LANES[isa] if isa else program.LANES, {}, threads)
        self._inputs: list[tuple[np.ndarray, np.ndarray | None]] = []  # memory, and what it must hold
        self._buffers: dict[int, tuple[Buffer, np.ndarray]] = {}  # with room for guards

    @property
    def steps(self) -> list[Emitted]:
        """The steps so far."""
        return self.emitter.steps

    def input(self, array: np.ndarray, uses: int = 1, writable: bool = False) -> Tensor:
        """A tensor over a copy of `array` that has its strides; the binder does not see its values."""
        spans = [(n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)] if array.size else []
        low, high = sum(min(s, 0) for s in spans), sum(max(s, 0) for s in spans)
        memory = np.full(high - low + array.itemsize if array.size else 0, FRESH_BYTE, np.uint8)
        if array.size:
            np.ndarray(array.shape, array.dtype, memory, -low, array.strides)[...] = array
        self._inputs.append((memory, None if writable else memory.copy()))
        strides = tuple(s // array.itemsize for s in array.strides)
        buffer = Buffer(memory.nbytes, len(self._inputs))
        tensor = Tensor(array.dtype, array.shape, strides, buffer, -low // array.itemsize)
        tensor.uses = uses
        return tensor

    def constant(self, array: Any) -> Tensor:
        """A tensor whose values the binder sees."""
        tensor = self.emitter.constant(np.asarray(array))
        tensor.uses = 1
        return tensor

    def made(self, shape: Shape, dtype: Any = np.float32) -> Tensor:
        """A tensor as a step of this segment would have made it."""
        tensor = self.emitter.empty(shape, np.dtype(dtype))
        tensor.uses = 1
        return tensor

    def node(
        self,
        op: str,
        *args: Any,
        known: tuple[int, ...] = (),
        outputs: int = 1,
        uses: int = 1,
        domain: str = "",
        **attrs: Any,
    ) -> Any:
        """What the binder of `op` makes of tensors and arrays, of which those in `known` are constants.

        Returns
        -------
        A tensor, a tuple of tensors and None, or None for a form that is left to NumPy.
        """
        tensors, n_steps = [], len(self.steps)
        for k, x in enumerate(args):
            if x is None or isinstance(x, Tensor):
                tensors.append(x)
            else:
                tensors.append(self.constant(x) if k in known else self.input(np.asarray(x)))
        result = NATIVE[domain, op].bind(self.emitter, make_node(op, len(args), outputs, domain, **attrs), *tensors)
        if result is None:
            given = any(isinstance(x, Tensor) for x in args)  # which the binder may have had to compute first
            assert given or len(self.steps) == n_steps, "emitted, then gave up"
        for tensor in result if isinstance(result, tuple) else (result,):
            if tensor is not None:
                tensor.uses += uses
        return result

    def run(self, *results: Tensor | None, parts: int = 1) -> Any:
        """Run all steps, each in so many parts; the values of `results`, a tuple if they are not one.

        Raises
        ------
        ValueError
            With what a step finds wrong with the values.
        """
        for tensor in results:
            if tensor is not None:
                tensor.force(self.emitter)
        answers = []
        for order in (range(parts - 1, -1, -1), range(parts))[: min(parts, 2)]:
            self._run(order)
            answers.append([None if t is None else self.array(t).copy() for t in results])
        for first, *others in zip(*answers, strict=True):
            assert all(x.tobytes() == first.tobytes() for x in others), "parts depend on their order"
            if first is not None and first.dtype == bool:
                assert (first.view(np.uint8) <= 1).all(), "neither true nor false"
        return answers[0][0] if len(results) == 1 else tuple(answers[0])

    def _run(self, order: range) -> None:
        for _, room in self._buffers.values():
            room[...] = FRESH_BYTE
        for step in self.steps:
            words: list[Any] = []
            for word in step.words:
                words += (0, self._address(word)) if isinstance(word, Tensor) else (word,)
            for buffer, room in self._buffers.values():
                begin = _begin(room)
                room[:begin] = room[begin + buffer.size :] = GUARD_BYTE
            for part in order:
                wrong = program.apply(step.op, words, self.isa, part, len(order))
                if wrong:
                    raise ValueError(wrong)
            for buffer, room in self._buffers.values():
                begin = _begin(room)
                assert (room[:begin] == GUARD_BYTE).all(), f"{step.op} wrote before a buffer"
                assert (room[begin + buffer.size :] == GUARD_BYTE).all(), f"{step.op} wrote past a buffer"
        for memory, before in self._inputs:
            assert before is None or np.array_equal(memory, before), "an input was changed"

    def array(self, tensor: Tensor) -> np.ndarray:
        """What lies where `tensor` looks, as a view."""
        assert tensor.buffer is not None
        if 0 in tensor.shape:
            return np.zeros(tensor.shape, tensor.dtype)
        root = tensor.buffer.root()
        if root.base == ARENA:
            memory = self._room(root)
        else:
            memory = self._inputs[root.base - 1][0] if root.base else root.keep.reshape(-1).view(np.uint8)
        strides = tuple(s * tensor.dtype.itemsize for s in tensor.strides)
        return np.ndarray(tensor.shape, tensor.dtype, memory, self._address(tensor) - _start(memory), strides)

    def _address(self, tensor: Tensor) -> int:
        """Where the first element of a tensor lies."""
        assert tensor.buffer is not None
        root, (base, offset) = tensor.buffer.root(), tensor.buffer.place()
        offset += tensor.offset * tensor.dtype.itemsize
        if base == ARENA:
            room = self._room(root)
            return _start(room) + _begin(room) + offset - root.offset
        return offset + (_start(self._inputs[base - 1][0]) if base else 0)

    def _room(self, root: Buffer) -> np.ndarray:
        """The memory of a buffer that steps write, with its guards."""
        if id(root) not in self._buffers:
            self._buffers[id(root)] = root, np.full(root.size + 2 * GUARD + 80, FRESH_BYTE, np.uint8)
        return self._buffers[id(root)][1]


def _start(memory: np.ndarray) -> int:
    return memory.__array_interface__["data"][0]


def _begin(room: np.ndarray) -> int:
    """Where a buffer begins in its room."""
    return -_start(room) % 64 + GUARD + 16


def run_native(op: str, *inputs: Any, isa: str | None = None, outputs: int = 1, parts: int = 1, **options: Any) -> Any:
    """What the native form of `op` gives: an array, or a tuple of `outputs`; None for a form that is left to NumPy."""
    bound = Bound(isa, parts)
    result = bound.node(op, *inputs, outputs=outputs, **options)
    if result is None:
        return None
    if outputs > 1:
        return bound.run(*result, parts=parts)
    return bound.run(result[0] if isinstance(result, tuple) else result, parts=parts)


def check_exactly(op: str, isa: str, *inputs: Any, known: tuple[int, ...] = (), **attrs: Any) -> Bound:
    """The native answer is that of NumPy, bit for bit; returns what made it."""
    bound = Bound(isa)
    result = bound.node(op, *inputs, known=known, **attrs)
    assert isinstance(result, Tensor), result
    np.testing.assert_array_equal(bound.run(result), run_op(op, *inputs, **attrs), strict=True)
    return bound


def strided(rng: np.random.Generator, shape: tuple[int, ...], kind: int) -> np.ndarray:
    """float32 normals of a shape: in C order, with axes swapped, with gaps, or turned round."""
    if kind == 1 and len(shape) > 1:
        x = rng.standard_normal((*shape[:-2], shape[-1], shape[-2])).astype(np.float32)
        return x.swapaxes(-1, -2)
    if kind == 2:
        x = rng.standard_normal(tuple(n + 1 for n in shape)).astype(np.float32)
        return x[tuple(slice(1, None) for _ in shape)]
    if kind == 3:
        x = rng.standard_normal((*shape[:-1], 2 * shape[-1])).astype(np.float32)
        return x[..., ::-2]
    return rng.standard_normal(shape).astype(np.float32)
