"""Binding element-wise nodes by hand, and running what they emit on any instruction set, between guard bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from ops_util import make_node

from rnnrt._core import program
from rnnrt.native.emitter import Emitter
from rnnrt.native.registry import NATIVE
from rnnrt.native.tensor import Buffer, Tensor

GUARD = 64
PATTERN = 0xA5


def operand(array: np.ndarray, uses: int = 1) -> Tensor:
    """A tensor over an array's memory, whatever its strides, whose values the binder does not see."""
    address = array.__array_interface__["data"][0]
    strides = tuple(s // array.itemsize for s in array.strides)
    tensor = Tensor(array.dtype, array.shape, strides, Buffer(array.nbytes, 0, address, array))
    tensor.uses = uses
    return tensor


class Bound:
    """Nodes bound one after the other, and their memory."""

    def __init__(self, isa: str) -> None:
        self.isa = isa
        self.emitter = Emitter(16, {})
        self.blocks: dict[int, tuple[Buffer, np.ndarray]] = {}

    def constant(self, array: Any) -> Tensor:
        """A tensor whose values the binder sees."""
        tensor = self.emitter.constant(np.asarray(array))
        tensor.uses = 1
        return tensor

    def node(self, op: str, *args: Any, uses: int = 1, **attrs: Any) -> Any:
        """What the binder of `op` makes of tensors or arrays; None if it does not know the form."""
        tensors = [operand(x) if isinstance(x, np.ndarray) else x for x in args]
        result = NATIVE["", op].bind(self.emitter, make_node(op, len(tensors), **attrs), *tensors)
        if result is not None:
            result.uses += uses
        return result

    def steps(self) -> int:
        """How many steps there are."""
        return len(self.emitter.steps)

    def run(self, tensor: Tensor, parts: int = 1) -> np.ndarray:
        """The values of `tensor`, each step run in so many parts."""
        tensor.force(self.emitter)
        for step in self.emitter.steps:
            words: list[int | float] = []
            for word in step.words:
                words += (0, self._address(word)) if isinstance(word, Tensor) else (word,)
            for part in range(parts):
                wrong = program.apply(step.op, words, self.isa, part, parts)
                if wrong:
                    raise ValueError(wrong)
        for buffer, block in self.blocks.values():
            assert (block[:GUARD] == PATTERN).all()
            assert (block[GUARD + buffer.size :] == PATTERN).all()
        address = self._address(tensor)
        base, block = next((k, b) for k, b in self._memory() if k <= address <= k + b.size)
        strides = tuple(s * tensor.dtype.itemsize for s in tensor.strides)
        return np.ndarray(tensor.shape, tensor.dtype, block.data, address - base, strides).copy()

    def _memory(self) -> list[tuple[int, np.ndarray]]:
        return [(block.__array_interface__["data"][0], block) for _, block in self.blocks.values()]

    def _address(self, tensor: Tensor) -> int:
        assert tensor.buffer is not None
        root = tensor.buffer.root()
        base, offset = tensor.buffer.place()
        offset += tensor.offset * tensor.dtype.itemsize
        if base == 0:
            return offset
        if id(root) not in self.blocks:
            self.blocks[id(root)] = root, np.full(root.size + 2 * GUARD, PATTERN, np.uint8)
        return self.blocks[id(root)][1].__array_interface__["data"][0] + GUARD + offset
