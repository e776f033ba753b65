"""Running what one binder emits, step by step, without a plan; every buffer it writes lies between guard bytes."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import numpy as np
from ops_util import run_op

import rnnrt.native
from rnnrt._core import program
from rnnrt.graph import Node
from rnnrt.native.emitter import Emitter
from rnnrt.native.registry import NATIVE
from rnnrt.native.tensor import Buffer, Shape, Tensor, c_strides

GUARD = 64

for _module in pkgutil.iter_modules(rnnrt.native.__path__):
    importlib.import_module(f"rnnrt.native.{_module.name}")


class Memory:
    """Arrays behind the bases of a segment, and an arena in which each buffer has guards of its own."""

    def __init__(self) -> None:
        self.emitter = Emitter(program.LANES, {})
        self.inputs: list[np.ndarray] = []
        self.arenas: dict[int, tuple[Buffer, np.ndarray]] = {}

    def input(self, array: np.ndarray) -> Tensor:
        """A tensor over a copy of `array` that has its strides, whatever they are."""
        low = sum(min((n - 1) * s, 0) for n, s in zip(array.shape, array.strides, strict=True)) if array.size else 0
        high = sum(max((n - 1) * s, 0) for n, s in zip(array.shape, array.strides, strict=True)) if array.size else 0
        memory = np.zeros(high - low + array.itemsize if array.size else 0, np.uint8)
        if array.size:
            view = np.ndarray(array.shape, array.dtype, memory, -low, array.strides)
            view[...] = array
        self.inputs.append(memory)
        strides = tuple(s // array.itemsize for s in array.strides)
        return Tensor(
            array.dtype, array.shape, strides, Buffer(memory.nbytes, len(self.inputs)), -low // array.itemsize
        )

    def array(self, tensor: Tensor) -> np.ndarray:
        """What lies where `tensor` looks, as a view."""
        assert tensor.buffer is not None
        root, (base, offset) = tensor.buffer.root(), tensor.buffer.place()
        memory = self.inputs[base - 1] if base > 0 else self.arena(root) if base < 0 else None
        if memory is None:
            memory, offset = root.keep.reshape(-1).view(np.uint8) if root.keep.size else np.zeros(0, np.uint8), 0
        elif base < 0:
            offset += GUARD - root.offset
        offset += tensor.offset * tensor.dtype.itemsize
        strides = tuple(s * tensor.dtype.itemsize for s in tensor.strides)
        if 0 in tensor.shape:
            return np.zeros(tensor.shape, tensor.dtype)
        return np.ndarray(tensor.shape, tensor.dtype, memory, offset, strides)

    def arena(self, root: Buffer) -> np.ndarray:
        """The memory of a buffer of the arena, with its guards."""
        if id(root) not in self.arenas:
            self.arenas[id(root)] = (root, np.full(root.size + 2 * GUARD, 0xA5, np.uint8))
        return self.arenas[id(root)][1]

    def run(self, isa: str | None = None) -> str:
        """Apply all steps; what is wrong with the values, if anything."""
        for step in self.emitter.steps:
            words: list[Any] = []
            for word in step.words:
                words.append(self.pointer(word) if isinstance(word, Tensor) else word)
            wrong = program.apply(step.op, words, isa)
            if wrong:
                return wrong
        for _, memory in self.arenas.values():
            guards = np.concatenate([memory[:GUARD], memory[-GUARD:]])
            assert (guards == 0xA5).all(), "written outside"
        return ""

    def pointer(self, tensor: Tensor) -> np.ndarray:
        """An array that starts where the tensor's first element lies."""
        one = Tensor(tensor.dtype, (1,) * tensor.ndim, tensor.strides, tensor.buffer, tensor.offset)
        return self.array(one) if tensor.buffer is not None and tensor.buffer.size else np.zeros(1, np.uint8)


def run_native(
    op: str,
    *inputs: Any,
    known: tuple[int, ...] = (),
    outputs: int = 1,
    isa: str | None = None,
    memory: Memory | None = None,
    **attrs: Any,
) -> Any:
    """What the native form of `op` gives: one array or a tuple, None if there is no such form, or what is wrong (str).

    `known` says which inputs are constants; inputs may be Tensors already.
    """
    memory = Memory() if memory is None else memory
    node = Node(op, [f"x{k}" for k in range(len(inputs))], [f"y{k}" for k in range(outputs)], attrs, "", 28, "node")
    tensors = []
    for k, x in enumerate(inputs):
        if x is None or isinstance(x, Tensor):
            tensors.append(x)
        else:
            tensors.append(memory.emitter.constant(np.asarray(x)) if k in known else memory.input(np.asarray(x)))
            tensors[-1].uses = 1
    result = NATIVE["", op].bind(memory.emitter, node, *tensors)
    if result is None:
        assert not memory.emitter.steps or any(isinstance(x, Tensor) for x in inputs), "emitted, then gave up"
        return None
    wrong = memory.run(isa)
    if wrong:
        return wrong
    results = result if isinstance(result, tuple) else (result,)
    arrays = tuple(t if t is None else memory.array(t).copy() for t in results)
    return arrays if isinstance(result, tuple) else arrays[0]


def check(op: str, isa: str, *inputs: Any, known: tuple[int, ...] = (), **attrs: Any) -> Memory:
    """The native answer is that of NumPy, bit for bit; the memory that it was made in."""
    memory = Memory()
    got = run_native(op, *inputs, known=known, isa=isa, memory=memory, **attrs)
    assert isinstance(got, np.ndarray), got
    want = run_op(op, *inputs, **attrs)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want, strict=True)
    return memory


def fresh(shape: Shape, dtype: Any = np.float32) -> Tensor:
    """A tensor as a step of the same segment would have made it."""
    dtype = np.dtype(dtype)
    t = Tensor(dtype, shape, c_strides(shape), Buffer(int(np.prod(shape, dtype=int)) * dtype.itemsize))
    t.uses = 1
    return t
