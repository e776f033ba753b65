"""Element-wise programs: expressions put off until somebody needs them, and the words of the steps that compute them.

A `Chain` is an expression in postfix order: 0 stands for the next of its operands, anything else is an operation. A
chain that only one element-wise node uses becomes part of that node's own, so that the elements pass through the
registers of one step (``_core/element_blocks.h``) instead of through memory. Values are never overwritten, so it does
not matter when a chain is computed.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .emitter import Emitter, Word
from .tensor import Buffer, Shape, Tensor, c_strides

OPERANDS = 8
"""Operands of a step: EW_OPERANDS of element_blocks.h. Expressions of so few need no more registers than there are."""

MOST_AXES = 8
MOST_TOKENS = 64
REGISTER_BYTES = 4096

DIRECT, SCALAR, EXPANDED = range(3)

TYPES = {
    np.dtype(t): k for k, t in enumerate((np.float32, np.bool_, np.int32, np.int64, np.float64, np.uint8, np.int8))
}
"""The types of elements as element_blocks.h numbers them."""


class Op(NamedTuple):
    """An operation: its number in op_elementwise.h or op_integers.h, operands, two numbers, and what it costs."""

    code: int
    arity: int = 1
    alpha: float = 0.0
    beta: float = 0.0
    cost: int = 1


LEAF = 0
Token = int | Op
Tokens = tuple[Token, ...]


class Chain:
    """What is to be computed in float32: operands in memory, and tokens over them in postfix order."""

    __slots__ = ("label", "operands", "tokens")

    def __init__(self, operands: list[Tensor], tokens: Tokens, label: str) -> None:
        self.operands, self.tokens, self.label = operands, tokens, label

    def force(self, emitter: Emitter, tensor: Tensor) -> None:
        """Emit the step that computes `tensor`."""
        label, emitter.label = emitter.label, self.label
        emit_program(emitter, "elementwise", tensor, self.operands, self.tokens)
        emitter.label = label


def broadcast_shape(tensors: list[Tensor]) -> Shape | None:
    """The shape that `tensors` broadcast to; None if they do not, or to one of more axes than a step walks."""
    shape = tensors[0].shape
    for x in tensors:
        other = x.shape
        if other == shape:
            continue
        if len(other) > len(shape):
            shape, other = other, shape
        extra = len(shape) - len(other)
        sizes = list(shape)
        for k, size in enumerate(other, extra):
            if sizes[k] == 1:
                sizes[k] = size
            elif size not in (1, sizes[k]):
                return None
        shape = tuple(sizes)
    return shape if len(shape) <= MOST_AXES else None


def chain(
    emitter: Emitter, dtype: np.dtype, args: list[Tensor], tokens: Tokens, shape: Shape | None = None
) -> Tensor | None:
    """The tensor, not computed yet, that `tokens` make of `args`, each of which occurs once and in order.

    None if the arguments do not broadcast. Arguments that are chains of this shape and have no other use become part of
    it as long as there are operands left.
    """
    if shape is None:
        shape = broadcast_shape(args)
        if shape is None:
            return None
    free = OPERANDS - len(args)
    length = len(tokens)
    operands: list[Tensor] = []
    parts: list[Tokens] | None = None
    for k, x in enumerate(args):
        pending = x.pending
        if pending is not None:
            if (
                x.uses == 1
                and x.shape == shape
                and pending.__class__ is Chain
                and len(pending.operands) <= free + 1
                and len(pending.tokens) + length <= MOST_TOKENS
            ):
                free -= len(pending.operands) - 1
                length += len(pending.tokens)
                if parts is None:
                    parts = [(LEAF,)] * len(args)
                parts[k] = pending.tokens
                operands += pending.operands
                continue
            x.force(emitter)
        operands.append(x)
    if parts is not None:
        following = iter(parts)
        tokens = tuple(t for token in tokens for t in (next(following) if token == LEAF else (token,)))
    result = Tensor(dtype, shape, c_strides(shape), None)
    result.pending = Chain(operands, tokens, emitter.label)
    return result


def now(emitter: Emitter, name: str, dtype: np.dtype, args: list[Tensor], tokens: Tokens) -> Tensor | None:
    """The tensor that `tokens` make of `args`, computed by a step of its own; None if they do not broadcast."""
    shape = broadcast_shape(args)
    if shape is None:
        return None
    for x in args:
        x.force(emitter)
    result = Tensor(dtype, shape, c_strides(shape), None)
    emit_program(emitter, name, result, args, tokens)
    return result


def emit_program(emitter: Emitter, name: str, y: Tensor, operands: list[Tensor], tokens: Tokens) -> None:
    """Put `y` into memory, and emit the step that computes it with the operator `name`."""
    shape, size = y.shape, y.size
    y.buffer = Buffer(size * y.dtype.itemsize)
    if not size:
        return
    native, item = (0, 4) if name == "elementwise" else (3, 8)
    capacity = REGISTER_BYTES // item
    strides = y.strides
    # kind, type, strides in elements: rows, elements, outer axes
    layouts: list[tuple[int, int, int, int, tuple[int, ...]]] = []
    outer: tuple[int, ...] = ()
    n = run = size
    for x in operands:
        kind = TYPES[x.dtype]
        if x.shape == shape and (x.strides == strides or x.contiguous()):
            layouts.append((DIRECT if kind == native else EXPANDED, kind, 0, 1, ()))
        elif x.size == 1:
            form = DIRECT if size == 1 else SCALAR
            layouts.append((form if kind == native else EXPANDED, kind, 0, 0, ()))
        else:
            outer, n, run, layouts = walk(shape, operands, native, capacity)
            break
    kinds = tuple([layout[0] for layout in layouts])
    ops, n_ops, n_registers, cost = program(tokens, kinds)
    if n != run:
        block = capacity // run * run
    elif n_ops == 1 and EXPANDED not in kinds and TYPES[y.dtype] == native:
        block = 32 * capacity
    else:
        block = capacity
    n_blocks = -(-n // block)
    words: list[Word] = [y, TYPES[y.dtype], len(outer), len(operands), n_ops, n_registers, n, block, run]
    words += (n_blocks, n_blocks * math.prod(outer), *outer)
    for x, (kind, dtype, row, step, rest) in zip(operands, layouts, strict=True):
        size_of = x.dtype.itemsize
        advance = block // run * row if n != run else block * step
        words += (x, kind, dtype, row * size_of, step * size_of, advance * size_of, *[s * size_of for s in rest])
    words += ops
    emitter.emit(name, words, size * cost)


def walk(
    shape: Shape, operands: list[Tensor], native: int, capacity: int
) -> tuple[tuple[int, ...], int, int, list[tuple[int, int, int, int, tuple[int, ...]]]]:
    """Outer axes, elements of an inner run and of its rows, and how each operand lies in them.

    Short rows are taken together, as many as a register holds; long ones one by one.
    """
    spread = []
    for x in operands:
        own: Sequence[int] = x.strides
        if x.shape != shape:
            own = [0] * (len(shape) - x.ndim) + [0 if n == 1 else s for n, s in zip(x.shape, own, strict=True)]
        spread.append(own)
    # innermost first: sizes, and the strides of all operands; an axis that continues the one inside it joins it
    sizes: list[int] = []
    steps: list[list[int]] = []
    for axis in range(len(shape) - 1, -1, -1):
        if shape[axis] == 1:
            continue
        here = [strides[axis] for strides in spread]
        if sizes and here == [s * sizes[-1] for s in steps[-1]]:
            sizes[-1] *= shape[axis]
        else:
            sizes.append(shape[axis])
            steps.append(here)
    n = run = sizes[0]
    inner = 1
    rows = [0] * len(operands)
    if len(sizes) > 1 and 2 * run <= capacity:
        n, rows, inner = sizes[1] * run, steps[1], 2
    outer = tuple(sizes[: inner - 1 : -1])
    layouts = []
    for k, x in enumerate(operands):
        kind, row, step = TYPES[x.dtype], rows[k], steps[0][k]
        if kind != native:
            form = EXPANDED
        elif step == 1 and (n == run or row == run):
            form = DIRECT
        elif step == 0 and row == 0:
            form = SCALAR
        else:
            form = EXPANDED
        layouts.append((form, kind, row, step, tuple([here[k] for here in steps[: inner - 1 : -1]])))
    return outer, n, run, layouts


@functools.lru_cache(4096)
def program(tokens: Tokens, kinds: tuple[int, ...]) -> tuple[list[int], int, int, int]:
    """The words of the operations, how many they and their registers are, and their cost an element."""
    if tokens == (LEAF,):
        tokens = (LEAF, Op(0))
    words: list[int] = []
    stack: list[tuple[int, int]] = []
    registers = list(range(2 * OPERANDS, OPERANDS, -1))
    fewest = len(registers)
    leaves = iter(range(len(kinds)))
    last = len(tokens) - 1
    cost = 0
    for k, token in enumerate(tokens):
        if not isinstance(token, Op):
            leaf = next(leaves)
            stack.append((1 + leaf, int(kinds[leaf] == SCALAR)))
            continue
        taken = stack[-token.arity :]
        del stack[-token.arity :]
        for slot, _ in taken:
            if slot > OPERANDS:
                registers.append(slot)
        target = 0 if k == last else registers.pop()
        fewest = min(fewest, len(registers))
        taken += [taken[0]] * (3 - token.arity)
        word = token.code | target << 8
        for place, (slot, scalar) in enumerate(taken):
            word |= slot << 8 * (2 + place) | scalar << 40 + place
        words += (word, struct.unpack("=q", struct.pack("=ff", token.alpha, token.beta))[0])
        stack.append((target, 0))
        cost += token.cost
    return words, len(words) // 2, OPERANDS - fewest, cost
