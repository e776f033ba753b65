"""Binding one node and running what it emits, on any instruction set, without the binder of whole plans."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnrt._core import program
from rnnrt.graph import Node
from rnnrt.native.emitter import Emitter
from rnnrt.native.registry import NATIVE
from rnnrt.native.tensor import Buffer, Tensor, constant

LANES = {"avx512": 16, "avx2": 8, "baseline": 4, "neon": 4}
GUARD = 64


def given(array: np.ndarray) -> Tensor:
    """A tensor of an array that steps may only read; its strides may be any."""
    buffer = Buffer(array.nbytes, 0, array.__array_interface__["data"][0], array)
    return Tensor(array.dtype, array.shape, tuple(s // array.itemsize for s in array.strides), buffer)


class Bound:
    """The steps of one node, with memory between guards for all that they write."""

    def __init__(
        self, isa: str, node: Node, *inputs: np.ndarray | None, known: tuple[int, ...] = (), **options: Any
    ) -> None:
        self.isa = isa
        self.emitter = Emitter(LANES[isa], {}, threads=3)
        tensors = []
        for k, array in enumerate(inputs):
            tensor = None if array is None else constant(array) if k in known else given(array)
            tensors.append(tensor)
        result = NATIVE[node.domain, node.op].bind(self.emitter, node, *tensors)
        self.supported = result is not None
        self.outputs = result if isinstance(result, tuple) else (result,)
        self.memory: dict[int, tuple[Buffer, np.ndarray]] = {}

    def place(self) -> None:
        """Give every buffer that is written memory of its own, full of guard values."""
        for step in self.emitter.steps:
            for word in step.words:
                if isinstance(word, Tensor):
                    root = word.buffer.root()
                    if root.base == -1 and id(root) not in self.memory:
                        room = np.full(root.size + 2 * GUARD + 64, 0xA5, np.uint8)
                        start = room.__array_interface__["data"][0]
                        root.base, root.offset = 0, start + GUARD + (-(start + GUARD) % 64)
                        self.memory[id(root)] = root, room

    def run(self, n_parts: int = 1) -> list[np.ndarray | None]:
        """Run the steps, in parts the last one first, and return copies of the outputs."""
        self.place()
        for step in self.emitter.steps:
            words: list[Any] = []
            for word in step.words:
                if isinstance(word, Tensor):
                    base, offset = word.buffer.place()
                    assert base == 0
                    words += [0, offset + word.offset * word.dtype.itemsize]
                else:
                    words.append(word)
            for part in reversed(range(n_parts)):
                assert not program.apply(step.op, words, self.isa, part, n_parts)
        for root, room in self.memory.values():
            begin = root.offset - room.__array_interface__["data"][0]
            assert (room[:begin] == 0xA5).all(), "written before a buffer"
            assert (room[begin + root.size :] == 0xA5).all(), "written past a buffer"
        return [None if t is None else self.read(t) for t in self.outputs]

    def read(self, tensor: Tensor) -> np.ndarray:
        """A copy of a tensor's elements."""
        _, offset = tensor.buffer.place()
        root = tensor.buffer.root()
        if id(root) not in self.memory:
            room = root.keep.reshape(-1).view(np.uint8)
        else:
            room = self.memory[id(root)][1]
        begin = offset - room.__array_interface__["data"][0] + tensor.offset * tensor.dtype.itemsize
        flat = room[begin : begin + tensor.nbytes].view(tensor.dtype)
        strides = [s * tensor.dtype.itemsize for s in tensor.strides]
        return np.lib.stride_tricks.as_strided(flat, tensor.shape, strides).copy()
