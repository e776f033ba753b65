"""Pools: MaxPool, AveragePool, LpPool and their global forms, over any number of spatial axes.

A maximum or a sum over a box is one over each axis in turn, so the work grows with the sum of the kernel's sizes, not
with their product.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..graph import Node
from .arguments import integer, mismatch, widened
from .limits import check_size
from .registry import Function, operator
from .windows import Layout, Sizes, Windows, padded

_UNROLLED = 32
"""Kernels of more taps than this along an axis are reduced through a view instead of tap by tap."""


def _layout(node: Node, windows: Windows, x: np.ndarray) -> Layout:
    if x.ndim < 3:
        raise mismatch(node, "input", "at least 3 axes (N, C, ...)", f"shape {x.shape}")
    layout = windows.layout(x.shape[2:])
    check_size(x.shape[:2] + layout.out, x.dtype, f"{node.label()}: output")
    return layout


def _reads(layout: Layout, i: int, tap: int) -> slice:
    """The elements along spatial axis `i` that `tap` of the kernel reads, one for each window."""
    start, s = tap * layout.dilations[i], layout.strides[i]
    return slice(start, start + (layout.out[i] - 1) * s + 1, s)


def _along(x: np.ndarray, layout: Layout, i: int, combine: np.ufunc) -> np.ndarray:
    """`combine` over the windows along spatial axis `i` alone."""
    if layout.kernel[i] > _UNROLLED:
        axis = 2 + i
        shape, strides = list(x.shape), list(x.strides)
        shape[axis], strides[axis] = layout.out[i], layout.strides[i] * x.strides[axis]
        shape.append(layout.kernel[i])
        strides.append(layout.dilations[i] * x.strides[axis])
        return combine.reduce(as_strided(x, shape, strides, writeable=False), -1)
    before = (slice(None),) * (2 + i)
    y = x[(*before, _reads(layout, i, 0))].copy()
    for tap in range(1, layout.kernel[i]):
        combine(y, x[(*before, _reads(layout, i, tap))], out=y)
    return y


def _over_windows(node: Node, x: np.ndarray, layout: Layout, combine: np.ufunc, fill: float) -> np.ndarray:
    """`combine` over every window of `x`, padding counting as `fill`: a fresh array (N, C, *out)."""
    shape = x.shape[:2] + layout.out
    if not math.prod(shape):
        return np.zeros(shape, x.dtype)
    y = padded(node, x, layout, fill)
    for i in range(len(layout.out)):
        y = _along(y, layout, i, combine)
    return y


def _lowest(dtype: np.dtype) -> float:
    return int(np.iinfo(dtype).min) if dtype.kind in "iu" else -math.inf


@operator("MaxPool", multiple=True)
def build_max_pool(node: Node) -> Function:
    """The maximum of each window; the second output is where it was, counted through the whole of X."""
    windows, column_major = Windows(node), integer(node, "storage_order", 0)

    def run(x: np.ndarray) -> tuple[np.ndarray | None, ...]:
        layout = _layout(node, windows, x)
        if node.output(1):
            return _max_and_where(node, x, layout, bool(column_major))
        y = _over_windows(node, x, layout, np.maximum, _lowest(x.dtype))
        return (y, None)[: len(node.outputs)]

    return run


def _max_and_where(node: Node, x: np.ndarray, layout: Layout, column_major: bool) -> tuple[np.ndarray, np.ndarray]:
    """Maxima and the index of each; of equals the first in row-major order counts, and NaN is more than any number."""
    shape, sizes, rank = x.shape[:2] + layout.out, x.shape[2:], len(layout.out)
    y = np.full(shape, _lowest(x.dtype), x.dtype)
    where = np.full(shape, -1, np.int64)
    if not y.size:
        return y, where
    big = padded(node, x, layout, _lowest(x.dtype))
    numbers = np.arange(math.prod(sizes), dtype=np.int64).reshape(sizes, order="F" if column_major else "C")
    places = padded(node, numbers[None, None], layout, -1)
    for tap in np.ndindex(layout.kernel):
        read: tuple[Any, ...] = (..., *(_reads(layout, i, j) for i, j in enumerate(tap)))
        value, place = big[read], places[read]
        better = (~(value <= y) & ~np.isnan(y) | (where < 0)) & (place >= 0)
        np.copyto(y, value, where=better)
        np.copyto(where, place, where=better)
    planes = np.arange(math.prod(x.shape[:2]), dtype=np.int64).reshape(x.shape[:2] + (1,) * rank)
    return y, np.where(where < 0, where, where + planes * math.prod(sizes))


@operator("AveragePool")
def build_average_pool(node: Node) -> Function:
    """The mean of each window; with count_include_pad of its padding too, but never of what ceil_mode adds."""
    windows, include = Windows(node), bool(integer(node, "count_include_pad", 0))

    @lru_cache(maxsize=16)
    def counts(layout: Layout, sizes: Sizes) -> np.ndarray:
        """How many elements each window averages: (*out)."""
        total = np.ones((), np.float64)
        for i, n in enumerate(sizes):
            low, high = (-layout.begin[i], n + layout.end[i]) if include else (0, n)
            starts = np.arange(layout.out[i]) * layout.strides[i] - layout.begin[i]
            reads = starts[:, None] + np.arange(layout.kernel[i]) * layout.dilations[i]
            total = total[..., None] * ((reads >= low) & (reads < high)).sum(1)
        return total

    def run(x: np.ndarray) -> np.ndarray:
        layout = _layout(node, windows, x)
        y = _over_windows(node, widened(x), layout, np.add, 0)
        y /= counts(layout, x.shape[2:]).astype(y.dtype)
        return y.astype(x.dtype, copy=False)

    return run


def _powers(x: np.ndarray, p: int) -> np.ndarray:
    return np.abs(x) if p == 1 else x * x if p == 2 else np.abs(x) ** p


def _root(x: np.ndarray, p: int) -> np.ndarray:
    return x if p == 1 else np.sqrt(x) if p == 2 else x ** (1 / p)


@operator("LpPool")
def build_lp_pool(node: Node) -> Function:
    """The p-norm of each window; padding is zero."""
    windows, p = Windows(node), integer(node, "p", 2, least=1)

    def run(x: np.ndarray) -> np.ndarray:
        layout = _layout(node, windows, x)
        y = _over_windows(node, _powers(widened(x), p), layout, np.add, 0)
        return _root(y, p).astype(x.dtype, copy=False)

    return run


def _spatial(node: Node, x: np.ndarray) -> tuple[tuple[int, ...], int]:
    """The spatial axes of `x` and how many elements they hold."""
    if x.ndim < 2:
        raise mismatch(node, "input", "at least 2 axes (N, C, ...)", f"shape {x.shape}")
    return tuple(range(2, x.ndim)), math.prod(x.shape[2:])


@operator("GlobalAveragePool")
def build_global_average_pool(node: Node) -> Function:
    """The mean of each plane; NaN for a plane without elements."""

    def run(x: np.ndarray) -> np.ndarray:
        axes, n = _spatial(node, x)
        wide = widened(x)
        return (np.add.reduce(wide, axes, keepdims=True) / wide.dtype.type(n)).astype(x.dtype, copy=False)

    return run


@operator("GlobalMaxPool")
def build_global_max_pool(node: Node) -> Function:
    """The maximum of each plane."""

    def run(x: np.ndarray) -> np.ndarray:
        axes, n = _spatial(node, x)
        if not n:
            raise mismatch(node, "input", "at least one element a plane", f"shape {x.shape}")
        return np.maximum.reduce(x, axes, keepdims=True)

    return run


@operator("GlobalLpPool")
def build_global_lp_pool(node: Node) -> Function:
    """The p-norm of each plane."""
    p = integer(node, "p", 2, least=1)

    def run(x: np.ndarray) -> np.ndarray:
        axes, _ = _spatial(node, x)
        return _root(np.add.reduce(_powers(widened(x), p), axes, keepdims=True), p).astype(x.dtype, copy=False)

    return run
