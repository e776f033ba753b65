"""ConvTranspose over any number of spatial axes: one batched matrix product, its columns added up where they overlap.

X is (N, C, *sizes), W is (C, M / group, *kernel), B is (M,), Y is (N, M, *out). Along an axis, tap ``j`` of input
element ``i`` belongs to element ``i * s + j * d`` of the full result, of which the output is a piece. With the kernel
spread to dilation 1 and zero padded to ``q`` blocks of ``s`` taps, ``j = u * s + p``, that element is number ``i + u``
of phase ``p``: so whole phases are added at once, in ``q`` shifts, and interleaved at the end.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product as cartesian
from typing import Any

import numpy as np

from ..graph import Node
from .arguments import integer, integers, mismatch, widened
from .conv import checked_bias
from .limits import check_size
from .registry import Function, operator
from .windows import Sizes, Windows


class Placement:
    """Where the output of a ConvTranspose lies in its full result, and in what blocks the kernel is taken."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.windows = Windows(node)
        self.output_padding = integers(node, "output_padding", least=0)
        self.output_shape = integers(node, "output_shape", least=0)
        self.find = lru_cache(maxsize=64)(self._find)

    def _find(self, sizes: Sizes, kernel: Sizes) -> tuple[Sizes, Sizes, Sizes, Sizes, Sizes]:
        """Output sizes, elements of the full result before the output, strides, dilations, blocks q; each by axis."""
        rank = len(sizes)
        self.windows.kernel_of(rank, kernel)
        strides, dilations, pads = self.windows.per_axis(rank)
        extra = self.output_padding or (0,) * rank
        wanted = self.output_shape
        if len(extra) != rank or (wanted and len(wanted) != rank):
            raise mismatch(self.node, "output_padding and output_shape", f"{rank} values each", f"{extra} and {wanted}")
        spans = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
        full = tuple(s * (n - 1) + e + k for n, s, e, k in zip(sizes, strides, extra, spans, strict=True))
        auto = self.windows.auto
        if not wanted and auto.startswith("SAME"):
            wanted = tuple(n * s for n, s in zip(sizes, strides, strict=True))
        if wanted:
            spare = [max(f - w, 0) for f, w in zip(full, wanted, strict=True)]
            begin = tuple(p // 2 if auto == "SAME_UPPER" else p - p // 2 for p in spare)
        else:
            begin = pads[:rank] if auto == "NOTSET" else (0,) * rank
            end = pads[rank:] if auto == "NOTSET" else (0,) * rank
            wanted = tuple(f - b - e for f, b, e in zip(full, begin, end, strict=True))
            if min(wanted) < 1 and 0 not in sizes:
                raise mismatch(self.node, "input", "sizes that leave an output", f"{sizes}, of which is left {wanted}")
            wanted = tuple(max(n, 0) for n in wanted)
        blocks = tuple(-(-k // s) for k, s in zip(spans, strides, strict=True))
        return wanted, begin, strides, dilations, blocks


@operator("ConvTranspose")
def build_conv_transpose(node: Node) -> Function:
    """The gradient of Conv with respect to its input, plus the bias."""
    placement, group = Placement(node), integer(node, "group", 1, least=1)

    def run(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
        dtype = x.dtype
        x, w = widened(x), widened(w)
        if x.ndim < 3 or w.ndim != x.ndim:
            raise mismatch(node, "weights", f"the rank of input {x.shape}, at least 3", w.shape)
        if w.shape[0] != x.shape[1] or w.shape[0] % group:
            raise mismatch(node, "weights", f"({x.shape[1]}, M / group, ...) with groups of {group}", w.shape)
        sizes = x.shape[2:]
        out, begin, strides, dilations, blocks = placement.find(sizes, w.shape[2:])
        shape = (x.shape[0], w.shape[1] * group, *out)
        check_size(shape, x.dtype, f"{node.label()}: output")
        if not x.size or not w.size or not math.prod(shape):
            y = np.zeros(shape, x.dtype)
        else:
            w = _blocked(node, w, strides, dilations, blocks)
            full = ((n + q - 1) * s for n, q, s in zip(sizes, blocks, strides, strict=True))
            check_size((*shape[:2], *full), x.dtype, f"{node.label()}: full result")
            y = _piece(_add_up(_columns(x, w, group, blocks, strides), blocks), begin, out)
        if b is not None:
            y = y + checked_bias(node, b, y)
        return y.astype(dtype, copy=False)

    return run


def _blocked(node: Node, w: np.ndarray, strides: Sizes, dilations: Sizes, blocks: Sizes) -> np.ndarray:
    """The kernel spread to dilation 1 and filled with zeros to whole blocks: (C, M / group, *(q * s))."""
    shape = w.shape[:2] + tuple(q * s for q, s in zip(blocks, strides, strict=True))
    if shape == w.shape:
        return w
    check_size(shape, w.dtype, f"{node.label()}: kernel")
    spread = np.zeros(shape, w.dtype)
    taps: tuple[Any, ...] = (..., *(slice(0, (k - 1) * d + 1, d) for k, d in zip(w.shape[2:], dilations, strict=True)))
    spread[taps] = w
    return spread


def _columns(x: np.ndarray, w: np.ndarray, group: int, blocks: Sizes, strides: Sizes) -> np.ndarray:
    """Every product of an input element with a tap: (N, M, q1, s1, q2, s2, ..., *sizes)."""
    n, c, *sizes = x.shape
    split = tuple(v for pair in zip(blocks, strides, strict=True) for v in pair)
    if group == 1:
        y = w.reshape(c, -1).T @ x.reshape(n, c, -1)
    else:
        y = w.reshape(group, c // group, -1).swapaxes(1, 2) @ x.reshape(n, group, c // group, -1)
    return y.reshape(n, w.shape[1] * group, *split, *sizes)


def _add_up(columns: np.ndarray, blocks: Sizes) -> np.ndarray:
    """Blocks added at their shifts: (N, M, s1, s2, ..., n1 + q1 - 1, n2 + q2 - 1, ...)."""
    rank = len(blocks)
    sizes = columns.shape[2 + 2 * rank :]
    phases = columns.shape[3 : 2 + 2 * rank : 2]
    if set(blocks) == {1}:
        return columns.reshape(columns.shape[:2] + phases + sizes)
    lengths = tuple(n + q - 1 for n, q in zip(sizes, blocks, strict=True))
    y = np.zeros(columns.shape[:2] + phases + lengths, columns.dtype)
    for shift in cartesian(*map(range, blocks)):
        block = columns[(slice(None), slice(None), *(i for u in shift for i in (u, slice(None))))]
        place: tuple[Any, ...] = (..., *(slice(u, u + n) for u, n in zip(shift, sizes, strict=True)))
        y[place] += block
    return y


def _piece(y: np.ndarray, begin: Sizes, out: Sizes) -> np.ndarray:
    """Phases interleaved, and the output cut from the result, with zeros where it reaches beyond: (N, M, *out)."""
    rank = len(out)
    order = [0, 1] + [axis for i in range(rank) for axis in (2 + rank + i, 2 + i)]
    full = tuple(s * n for s, n in zip(y.shape[2 : 2 + rank], y.shape[2 + rank :], strict=True))
    y = y.transpose(order).reshape(*y.shape[:2], *full)
    cut: tuple[Any, ...] = (..., *(slice(b, b + o) for b, o in zip(begin, out, strict=True)))
    y = y[cut]
    if y.shape[2:] == out:
        return y
    whole = np.zeros(y.shape[:2] + out, y.dtype)
    whole[tuple(slice(0, n) for n in y.shape)] = y
    return whole
