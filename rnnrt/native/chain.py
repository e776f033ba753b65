"""What element-wise expressions are made of; the compiled `chain` and `now` put them together (_core/chains.pxi)."""

from __future__ import annotations

from typing import NamedTuple

from .._core.program import OPERANDS, TYPES, broadcast_shape, chain, now

__all__ = ["LEAF", "OPERANDS", "TYPES", "Op", "Tokens", "broadcast_shape", "chain", "now"]


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
