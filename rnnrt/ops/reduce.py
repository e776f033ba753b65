"""Reductions over axes that come as an input; over all axes, or none, when there are none.

float16 and bfloat16 are accumulated in float32 and rounded once. Integers stay in their type, wrapping as in C; where a
function of integers is none (ReduceMean, ReduceL2, ReduceLogSum, ReduceLogSumExp), float64 is truncated.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..graph import Node
from .common import integers, is_half, normal_axes
from .registry import Function, operator

Axes = tuple[int, ...]


def _reducer(node: Node, reduce: Callable[[np.ndarray, Axes, bool], np.ndarray], wide: str) -> Function:
    """The function of a Reduce node; `wide` says which integers are computed in float64: "" (none) or "iu" (all)."""
    keepdims, noop = bool(node.attrs.get("keepdims", 1)), bool(node.attrs.get("noop_with_empty_axes", 0))
    label = node.label()

    def run(x: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
        if axes is None or not axes.size:
            over: Axes = () if noop else tuple(range(x.ndim))
        else:
            over = tuple(normal_axes(integers(axes, label), x.ndim, label))
        if is_half(x):
            y = reduce(x.astype(np.float32), over, keepdims).astype(x.dtype)
        elif wide and x.dtype.kind in wide:
            y = reduce(x.astype(np.float64), over, keepdims).astype(x.dtype)
        else:
            y = reduce(x, over, keepdims)
        return y if y.__class__ is np.ndarray else np.asarray(y)

    return run


def _sum(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    return np.add.reduce(x, axis=axes, dtype=x.dtype, keepdims=keepdims)  # type: ignore[call-overload]  # wants a literal


def _count(x: np.ndarray, axes: Axes) -> int:
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    return count


def _mean(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    total = _sum(x, axes, keepdims)
    total /= _count(x, axes)
    return total


def _prod(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    return np.multiply.reduce(x, axis=axes, dtype=x.dtype, keepdims=keepdims)  # type: ignore[call-overload]


def _l1(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    return _sum(np.absolute(x), axes, keepdims)


def _square_sum(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    return _sum(x * x, axes, keepdims)


def _l2(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    return np.sqrt(_square_sum(x, axes, keepdims))


def _log_sum(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    return np.log(_sum(x, axes, keepdims))


def _log_sum_exp(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
    """Maximum + log(sum(exp(x - max))), with 0 for a maximum that is infinite: inf - inf would be NaN."""
    top = np.maximum.reduce(x, axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, x.dtype.type(0))
    y = np.log(_sum(np.exp(x - top), axes, keepdims))
    return y + top.reshape(np.shape(y))


def _extremum(ufunc: np.ufunc) -> Callable[[np.ndarray, Axes, bool], np.ndarray]:
    """Maximum or minimum; of nothing it is the other end of the type's range."""
    largest = ufunc is np.minimum

    def reduce(x: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray:
        if x.size:
            return ufunc.reduce(x, axis=axes, keepdims=keepdims)
        if x.dtype.kind == "b":
            unit: float = largest
        elif x.dtype.kind in "iu":
            unit = np.iinfo(x.dtype).max if largest else np.iinfo(x.dtype).min
        else:
            unit = np.inf if largest else -np.inf
        return ufunc.reduce(x, axis=axes, keepdims=keepdims, initial=unit)

    return reduce


REDUCTIONS = {
    "ReduceSum": (_sum, ""),
    "ReduceMean": (_mean, "iu"),
    "ReduceProd": (_prod, ""),
    "ReduceMax": (_extremum(np.maximum), ""),
    "ReduceMin": (_extremum(np.minimum), ""),
    "ReduceL1": (_l1, ""),
    "ReduceL2": (_l2, "iu"),
    "ReduceSumSquare": (_square_sum, ""),
    "ReduceLogSum": (_log_sum, "iu"),
    "ReduceLogSumExp": (_log_sum_exp, "iu"),
}


@operator(*REDUCTIONS)
def build_reduce(node: Node) -> Function:
    """The reduction that the operator's name says, over the axes of its second input."""
    reduce, wide = REDUCTIONS[node.op]
    return _reducer(node, reduce, wide)
