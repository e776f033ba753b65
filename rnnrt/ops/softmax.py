"""Softmax, LogSoftmax and Hardmax along one axis."""

from __future__ import annotations

import numpy as np

from ..graph import Node
from .arguments import axis_of, integer, widened
from .registry import Function, operator


def _shifted(x: np.ndarray, axis: int) -> np.ndarray:
    """`x`, widened, minus its maximum along the axis: exp of it does not overflow."""
    wide = widened(x)
    return wide - np.maximum.reduce(wide, axis, keepdims=True)


@operator("Softmax")
def build_softmax(node: Node) -> Function:
    """``exp(x) / sum(exp(x))``."""
    axis = integer(node, "axis", -1)

    def run(x: np.ndarray) -> np.ndarray:
        k = axis_of(node, axis, x.ndim)
        if not x.size:
            return x
        y = _shifted(x, k)
        np.exp(y, out=y)
        y /= np.add.reduce(y, k, keepdims=True)
        return y.astype(x.dtype, copy=False)

    return run


@operator("LogSoftmax")
def build_log_softmax(node: Node) -> Function:
    """The logarithm of softmax, without its underflow."""
    axis = integer(node, "axis", -1)

    def run(x: np.ndarray) -> np.ndarray:
        k = axis_of(node, axis, x.ndim)
        if not x.size:
            return x
        y = _shifted(x, k)
        y -= np.log(np.add.reduce(np.exp(y), k, keepdims=True))
        return y.astype(x.dtype, copy=False)

    return run


@operator("Hardmax")
def build_hardmax(node: Node) -> Function:
    """One at the first maximum along the axis, zero elsewhere."""
    axis = integer(node, "axis", -1)

    def run(x: np.ndarray) -> np.ndarray:
        k = axis_of(node, axis, x.ndim)
        y = np.zeros_like(x)
        if x.size:
            np.put_along_axis(y, np.expand_dims(np.argmax(x, k), k), x.dtype.type(1), k)
        return y

    return run
