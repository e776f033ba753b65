"""Conv over any number of spatial axes: windows gathered into columns, then one batched matrix product.

X is (N, C, *sizes), W is (M, C / group, *kernel), B is (M,), Y is (N, M, *out).
"""

from __future__ import annotations

import math

import numpy as np

from ..graph import Node
from .arguments import integer, mismatch, per_channel, widened
from .limits import check_size
from .registry import Function, operator
from .windows import Windows, padded, patches

_COLUMNS = 1 << 25
"""Bytes of columns gathered at a time; what is larger is done in pieces of the first spatial axis."""


@operator("Conv")
def build_conv(node: Node) -> Function:
    """Cross-correlation with W, plus the bias."""
    windows, group = Windows(node), integer(node, "group", 1, least=1)

    def run(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
        y = convolve(node, windows, group, widened(x), widened(w))
        if b is not None:
            y += checked_bias(node, b, y)
        return y.astype(x.dtype, copy=False)

    return run


def checked_bias(node: Node, b: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bias `b` of shape (M,) in the shape in which it is added to `y` of shape (N, M, ...)."""
    if b.shape != y.shape[1:2]:
        raise mismatch(node, "bias", f"shape {y.shape[1:2]}", b.shape)
    return per_channel(widened(b), y.ndim)


def convolve(node: Node, windows: Windows, group: int, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The convolution of `x` with `w` as a fresh array (N, M, *out), in the precision of its operands."""
    if x.ndim < 2 or w.ndim != x.ndim:
        raise mismatch(node, "weights", f"the rank of input {x.shape}, at least 2", w.shape)
    n, c = x.shape[:2]
    m = w.shape[0]
    if w.shape[1] * group != c or m % group:
        raise mismatch(node, "weights", f"(M, {c} / {group}, ...) with M a multiple of {group}", w.shape)
    layout = windows.layout(x.shape[2:], w.shape[2:])
    taps = w.reshape(group, m // group, -1) if w.size else np.zeros((group, m // group, 0), w.dtype)
    shape = (n, m, *layout.out)
    check_size(shape, x.dtype, f"{node.label()}: output")
    if not math.prod(shape) or not w.size:
        return np.zeros(shape, x.dtype)
    if layout.trivial():
        return _multiply(taps, x, n, group).reshape(shape)
    x = padded(node, x, layout)
    columns = patches(x, layout)
    bytes_per_row = x.itemsize * n * c * math.prod(layout.kernel) * math.prod(layout.out[1:])
    rows = max(_COLUMNS // bytes_per_row, 1)
    if rows >= layout.out[0]:
        return _multiply(taps, columns, n, group).reshape(shape)
    y = np.empty(shape, x.dtype)
    along = (slice(None),) * (2 + len(layout.kernel))
    for r in range(0, layout.out[0], rows):
        piece = columns[(*along, slice(r, r + rows))]
        y[:, :, r : r + rows] = _multiply(taps, piece, n, group).reshape(n, m, -1, *layout.out[1:])
    return y


def _multiply(taps: np.ndarray, columns: np.ndarray, n: int, group: int) -> np.ndarray:
    """(G, M/G, C/G * K) @ (N, C, *kernel, *out) with the columns' rows grouped: (N, G, M/G, L)."""
    if group == 1:
        return taps[0] @ columns.reshape(n, taps.shape[2], -1)
    return taps @ columns.reshape(n, group, taps.shape[2], -1)
