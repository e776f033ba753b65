"""Sorting, searching and running sums: TopK, ArgMax, NonZero, Unique, Compress, CumSum, ..."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..graph import Node
from .common import integer, is_half, normal_axis
from .registry import Function, operator


@operator("TopK", multiple=True)
def build_top_k(node: Node) -> Function:
    """The k largest (or smallest) elements along `axis`, sorted, and their indices.

    Of equal elements the first comes first; NaN counts as larger than any number.
    """
    axis, largest, label = node.attrs.get("axis", -1), bool(node.attrs.get("largest", 1)), node.label()

    def run(x: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count, along = integer(k, label), normal_axis(axis, x.ndim, label)
        n = x.shape[along]
        if not 0 <= count <= n:
            raise InputError(f"{label}: expected k in [0, {n}], got {count}")
        keys = x.astype(np.float32) if is_half(x) else x
        if largest:
            order = n - 1 - np.flip(np.flip(keys, along).argsort(along, kind="stable"), along)
        else:
            order = keys.argsort(along, kind="stable")
        order = order[(slice(None),) * along + (slice(count),)].astype(np.int64, copy=False)
        return np.take_along_axis(x, order, along), order

    return run


@operator("ArgMax", "ArgMin")
def build_arg(node: Node) -> Function:
    """int64 index of the largest (smallest) element along `axis`; of equal ones the first, or the last if so asked."""
    search = np.argmax if node.op == "ArgMax" else np.argmin
    axis, label = node.attrs.get("axis", 0), node.label()
    keepdims, last = bool(node.attrs.get("keepdims", 1)), bool(node.attrs.get("select_last_index", 0))

    def run(x: np.ndarray) -> np.ndarray:
        if x.ndim == 0 and axis in (0, -1):
            return np.zeros((), np.int64)
        along = normal_axis(axis, x.ndim, label)
        n = x.shape[along]
        if n == 0:
            raise InputError(f"{label}: axis {along} of {list(x.shape)} has no elements")
        if is_half(x):
            x = x.astype(np.float32)
        y = search(np.flip(x, along) if last else x, axis=along, keepdims=keepdims)
        return np.asarray(n - 1 - y if last else y, np.int64)

    return run


@operator("NonZero")
def build_non_zero(node: Node) -> Function:
    """int64 [rank, count] indices of what is not zero, in row-major order; [0, 0 or 1] for a scalar."""

    def run(x: np.ndarray) -> np.ndarray:
        if x.ndim == 0:
            return np.zeros((0, int(bool(x.item()))), np.int64)
        return np.array(x.nonzero(), np.int64)

    return run


@operator("Compress")
def build_compress(node: Node) -> Function:
    """The slices along `axis` (or the elements, flattened) where the condition, which may be shorter, holds."""
    axis, label = node.attrs.get("axis"), node.label()

    def run(x: np.ndarray, condition: np.ndarray) -> np.ndarray:
        data, along = (x.reshape(-1), 0) if axis is None else (x, normal_axis(axis, x.ndim, label))
        if condition.ndim != 1 or condition.size > data.shape[along]:
            raise InputError(
                f"{label}: expected a 1-D condition of at most {data.shape[along]}, got {list(condition.shape)}"
            )
        return data.take(condition.nonzero()[0], along)

    return run


@operator("CumSum", "CumProd")
def build_cumulative(node: Node) -> Function:
    """Running sum or product along an axis, from the end if `reverse`, without the element itself if `exclusive`."""
    ufunc, unit = (np.add, 0) if node.op == "CumSum" else (np.multiply, 1)
    exclusive, reverse, label = bool(node.attrs.get("exclusive", 0)), bool(node.attrs.get("reverse", 0)), node.label()

    def run(x: np.ndarray, axis: np.ndarray) -> np.ndarray:
        along = normal_axis(integer(axis, label), x.ndim, label)
        data = np.flip(x, along) if reverse else x
        dtype = np.dtype(np.float32) if is_half(x) else x.dtype
        y = ufunc.accumulate(data, along, dtype=dtype)
        if exclusive:
            shifted = np.full(y.shape, unit, dtype)
            before = (slice(None),) * along
            shifted[(*before, slice(1, None))] = y[(*before, slice(None, -1))]
            y = shifted
        y = y.astype(x.dtype, copy=False)
        return np.flip(y, along) if reverse else y

    return run


@operator("Unique", multiple=True)
def build_unique(node: Node) -> Function:
    """The distinct elements (or slices along `axis`), sorted or in order of first occurrence.

    Also int64: where each occurs first, which of them each input element is, and how often each occurs. NaN is distinct
    from any other NaN.
    """
    axis, ordered, label = node.attrs.get("axis"), bool(node.attrs.get("sorted", 1)), node.label()
    count = len(node.outputs)

    def run(x: np.ndarray) -> tuple[np.ndarray, ...]:
        if axis is None:
            along, data = None, x.reshape(-1)
        else:
            along, data = normal_axis(axis, x.ndim, label), x
        values, first, inverse, counts = np.unique(
            data, return_index=True, return_inverse=True, return_counts=True, axis=along, equal_nan=False
        )
        inverse = inverse.reshape(-1)
        if not ordered:
            order = first.argsort()
            rank = np.empty_like(order)
            rank[order] = np.arange(order.size)
            values, first, inverse, counts = values.take(order, along or 0), first[order], rank[inverse], counts[order]
        return (values, *(a.astype(np.int64, copy=False) for a in (first, inverse, counts)))[:count]

    return run
