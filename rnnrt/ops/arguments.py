"""Reading a node's attributes with their bounds, checking operands, choosing the precision to work in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import InputError, ModelError
from ..graph import Node


def text(node: Node, name: str, default: str, choices: Sequence[str] = ()) -> str:
    """String attribute `name`; one of `choices` if any are given."""
    value = node.attrs.get(name, default)
    value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if not isinstance(value, str) or (choices and value not in choices):
        raise ModelError(f"{node.label()}: attribute {name!r}: expected one of {', '.join(choices)}, got {value!r}")
    return value


def integer(node: Node, name: str, default: int | None = None, least: int | None = None) -> int:
    """Integer attribute `name`, at least `least`; required when there is no default."""
    value = node.attrs.get(name, default)
    if not isinstance(value, int):
        raise ModelError(f"{node.label()}: attribute {name!r}: expected an integer, got {value!r}")
    if least is not None and value < least:
        raise ModelError(f"{node.label()}: attribute {name!r}: expected at least {least}, got {value}")
    return int(value)


def real(node: Node, name: str, default: float | None = None) -> float:
    """Float attribute `name`; required when there is no default."""
    value = node.attrs.get(name, default)
    if not isinstance(value, int | float):
        raise ModelError(f"{node.label()}: attribute {name!r}: expected a number, got {value!r}")
    return float(value)


def integers(node: Node, name: str, least: int | None = None) -> tuple[int, ...] | None:
    """Attribute `name`, a list of integers each at least `least`, or None if it is absent."""
    value = node.attrs.get(name)
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(v, int) for v in value):
        raise ModelError(f"{node.label()}: attribute {name!r}: expected a list of integers, got {value!r}")
    if least is not None and min(value, default=least) < least:
        raise ModelError(f"{node.label()}: attribute {name!r}: expected values of at least {least}, got {list(value)}")
    return tuple([int(v) for v in value])


def mismatch(node: Node, what: str, expected: object, got: object) -> InputError:
    """The error for an operand that does not fit."""
    return InputError(f"{node.label()}: {what}: expected {expected}, got {got}")


def axis_of(node: Node, axis: int, rank: int) -> int:
    """`axis` counted from the front; InputError if there is no such axis."""
    if not -rank <= axis < rank:
        raise mismatch(node, "axis", f"{-rank} to {rank - 1}", axis)
    return axis % rank


def widened(x: np.ndarray) -> np.ndarray:
    """`x`, as float32 if it is float16 or bfloat16, so that sums do not lose what float32 keeps."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind in "fV" else x


def per_channel(v: np.ndarray, rank: int) -> np.ndarray:
    """`v` of shape (C,) viewed so that it broadcasts along axis 1 of an array of `rank` axes."""
    return v.reshape((-1,) + (1,) * (rank - 2)) if rank > 2 else v
