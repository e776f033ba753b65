"""Binding one node and running its steps on one instruction set, in memory with guards round every buffer."""

from __future__ import annotations

from typing import Any

import numpy as np
from ops_util import make_node

from rnnrt._core import program
from rnnrt.native.emitter import Emitter
from rnnrt.native.registry import NATIVE
from rnnrt.native.tensor import ARENA, Buffer, Tensor, constant

LANES = {"avx512": 16, "avx2": 8, "baseline": 4, "neon": 4}
GUARD = 64


class Memory:
    """Bytes for one buffer, aligned, between guards; all 0xFF at first, which is NaN."""

    def __init__(self, size: int) -> None:
        self.size, self.bytes = size, np.full(size + 2 * GUARD + 64, 0xFF, np.uint8)
        self.begin = -self.bytes.ctypes.data % 64 + GUARD

    @property
    def address(self) -> int:
        return self.bytes.ctypes.data + self.begin

    def check(self) -> None:
        """The guards are as they were."""
        before, after = self.bytes[: self.begin], self.bytes[self.begin + self.size :]
        assert (before == 0xFF).all(), "a step wrote before its buffer"
        assert (after == 0xFF).all(), "a step wrote beyond its buffer"


def variable(array: np.ndarray, base: int) -> Tensor:
    """A tensor of an input that lies where `array` lies, strides and all."""
    strides = tuple(s // array.itemsize for s in array.strides)
    return Tensor(array.dtype, array.shape, strides, Buffer(array.nbytes, base))


def bind(
    op: str, *inputs: Any, isa: str, known: tuple[int, ...] = (), domain: str = "", threads: int = 1, **attrs: Any
):
    """The emitter after the node's binder ran, and what it returned; None for absent inputs."""
    emitter, tensors, places = Emitter(LANES[isa], {}, threads), [], {0: 0}
    for k, x in enumerate(inputs):
        if x is None:
            tensors.append(None)
        elif k in known:
            tensors.append(constant(np.ascontiguousarray(x)))
        else:
            places[k + 1] = x.ctypes.data
            tensors.append(variable(x, k + 1))
    node = make_node(op, len(inputs), domain=domain, **attrs)
    return emitter, NATIVE[domain, op].bind(emitter, node, *tensors), places


def execute(emitter: Emitter, result: Tensor, places: dict[int, int], isa: str, parts: int = 1) -> np.ndarray:
    """Run the emitted steps; the value of `result`."""
    memories: dict[Any, Memory] = {}

    def address(tensor: Tensor) -> int:
        root = tensor.buffer.root()
        base, offset = tensor.buffer.place()
        offset += tensor.offset * tensor.dtype.itemsize
        if base != ARENA:
            return places[base] + offset
        if root not in memories:
            memories[root] = Memory(root.size)
        return memories[root].address + offset - root.offset

    address(result)
    for step in emitter.steps:
        words: list[Any] = []
        for item in step.words:
            words += [0, address(item)] if isinstance(item, Tensor) else [item]
        for part in range(parts):
            assert program.apply(step.op, words, isa, part, parts) == ""
    for memory in memories.values():
        memory.check()
    memory, item = memories[result.buffer.root()], result.dtype.itemsize
    elements = memory.bytes[memory.begin : memory.begin + memory.size].view(result.dtype)
    at = (address(result) - memory.address) // item
    return np.lib.stride_tricks.as_strided(elements[at:], result.shape, [s * item for s in result.strides]).copy()


def run_native(op: str, *inputs: Any, isa: str, parts: int = 1, **options: Any) -> np.ndarray | None:
    """The native answer, or None for a form that is left to NumPy."""
    emitter, result, places = bind(op, *inputs, isa=isa, threads=parts, **options)
    if result is None:
        assert not emitter.steps
        return None
    if isinstance(result, tuple):
        result = result[0]
    return execute(emitter, result, places, isa, parts)


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
