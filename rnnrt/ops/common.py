"""What builders of several families share: reading attributes, axes, and making sure of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import InputError, ModelError, UnsupportedError
from ..graph import Node
from ..tensors import element_type

ndarray, asarray = np.ndarray, np.asarray


def array_result(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """`function` of one, two or more arrays, but with 0-d arrays where NumPy's functions give scalars."""

    def run(*args: np.ndarray) -> np.ndarray:
        y = function(*args)
        return y if y.__class__ is ndarray else asarray(y)

    return run


class Typed(dict):
    """A number as a 0-d array of each dtype asked for: with it NumPy computes faster than with a Python number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def __missing__(self, dtype: np.dtype) -> np.ndarray:
        array = self[dtype] = np.array(self.value, dtype)
        return array


ZERO, ONE = Typed(0), Typed(1)


def text(value: str | bytes) -> str:
    """A string attribute as str, whatever its bytes are."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value


def choice(node: Node, key: str, default: str, known: tuple[str, ...]) -> str:
    """A string attribute that must be one of `known`."""
    value = text(node.attrs.get(key, default))
    if value not in known:
        raise UnsupportedError(f"{node.label()}: attribute {key!r}: expected one of {', '.join(known)}, got {value!r}")
    return value


def number(node: Node, key: str, default: float) -> float:
    """A float attribute; ONNX has them in float32, defaults too."""
    return float(np.float32(node.attrs.get(key, default)))


def required(node: Node, key: str) -> Any:
    """An attribute that has no default."""
    if key not in node.attrs:
        raise ModelError(f"{node.label()}: attribute {key!r} is missing")
    return node.attrs[key]


def dtype_of(node: Node, key: str, code: int | None = None) -> np.dtype:
    """The dtype that the attribute `key` (an ONNX element type) names; `code` is its default."""
    value = node.attrs.get(key, code)
    if value is None:
        raise ModelError(f"{node.label()}: attribute {key!r} is missing")
    try:
        return element_type(int(value))[0]
    except (KeyError, TypeError, ValueError):
        what = f"{node.label()}: attribute {key!r}"
        raise ModelError(f"{what}: expected an element type of ONNX, got {value!r}") from None


def normal_axis(axis: int, rank: int, what: str) -> int:
    """`axis` counted from the front, checked against `rank`."""
    if not -rank <= axis < rank:
        raise InputError(f"{what}: expected an axis in [{-rank}, {rank - 1}], got {axis}")
    return axis + rank if axis < 0 else axis


def normal_axes(axes: list[int], rank: int, what: str) -> list[int]:
    """`axes` counted from the front; each may occur once."""
    if len(axes) == 1:
        return [normal_axis(axes[0], rank, what)]
    found = [normal_axis(axis, rank, what) for axis in axes]
    if len(set(found)) != len(found):
        raise InputError(f"{what}: expected each axis once, got {axes}")
    return found


def integers(values: np.ndarray, what: str) -> list[int]:
    """The values of a 1-D (or 0-d) tensor of integers."""
    if values.ndim == 1 and values.dtype.kind == "i":
        return values.tolist()
    if values.dtype.kind not in "iu" or values.ndim > 1:
        raise InputError(f"{what}: expected a 1-D tensor of integers, got {values.dtype}{list(values.shape)}")
    return values.reshape(-1).tolist()


def integer(value: np.ndarray, what: str) -> int:
    """The value of a tensor that holds one integer."""
    if value.size != 1 or value.dtype.kind not in "iu":
        raise InputError(f"{what}: expected one integer, got {value.dtype}{list(value.shape)}")
    return int(value.item())


def is_half(x: np.ndarray) -> bool:
    """Whether `x` is of a 16-bit (or smaller) floating-point type, whose intermediate results deserve float32."""
    return x.dtype.itemsize <= 2 and x.dtype.kind not in "iub"


def in_float32(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """`function` of floating-point arrays; of float16 and bfloat16 computed in float32 and rounded once."""

    def run(x: np.ndarray, *rest: np.ndarray) -> np.ndarray:
        if x.dtype.itemsize > 2:
            y = function(x, *rest)
            return y if y.__class__ is ndarray else asarray(y)
        wide = [a if a is None else a.astype(np.float32) for a in (x, *rest)]
        return asarray(function(*wide)).astype(x.dtype)

    return run
