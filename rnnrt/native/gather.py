"""Moves by index: Gather, GatherElements, GatherND, ScatterND, ScatterElements, OneHot, ReverseSequence."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from .._core.program import evenly, known_integer, merged_axes
from ..graph import Node
from ..ops.limits import check_size
from .emitter import Emitter, Word
from .registry import native
from .tensor import Shape, Tensor, c_strides

REDUCE = {"none": 0, "add": 1, "mul": 2, "max": 3, "min": 4}


def readable(index: Tensor) -> bool:
    """Whether a step can read indices of this type."""
    return index.dtype.kind == "i" and index.dtype.itemsize in (4, 8)


@native("Gather")
def gather(emitter: Emitter, node: Node, data: Tensor, index: Tensor) -> Tensor | None:
    """Slices of `data` along `axis`; a view where the indices are known and evenly spaced."""
    axis, rank = node.attrs.get("axis", 0), data.ndim
    if not -rank <= axis < rank:
        return None
    axis %= rank
    n, along = data.shape[axis], data.strides[axis]
    before, after = data.shape[:axis], data.shape[axis + 1 :]
    shape = (*before, *index.shape, *after)
    even = evenly(index, n)
    if even is not None:
        first, step = even
        inserted = [s * step * along for s in c_strides(index.shape)]
        strides = (*data.strides[:axis], *inserted, *data.strides[axis + 1 :])
        return emitter.view(data, shape, strides, first * along)
    if not readable(index):
        return None
    check_size(shape, data.dtype, emitter.label)
    y = emitter.empty(shape, data.dtype)
    if y.size == 0:
        return y if index.size == 0 or index.value is None else None
    emit_gather(emitter, data, axis, index, y)
    return y


def emit_gather(emitter: Emitter, data: Tensor, axis: int, index: Tensor, y: Tensor) -> None:
    """The step y[…, i, …] = data[…, index[i], …] along `axis`, for an output that is not empty."""
    run = emitter.view(data, data.shape[axis + 1 :], data.strides[axis + 1 :])
    outer = merged_axes(data.shape[:axis], data.strides[:axis])
    if outer is None or len(outer) > 1 or not run.contiguous():
        data = emitter.copy(data)
        outer = merged_axes(data.shape[:axis], data.strides[:axis])
    assert outer is not None
    item = data.dtype.itemsize
    words: list[Word] = [data, emitter.contiguous(index), y, int(index.dtype.itemsize == 8)]
    words += [outer[0][0], index.size, data.shape[axis], outer[0][1] * item, data.strides[axis] * item, run.nbytes]
    emitter.emit("gather", words, y.size)


@native("GatherElements")
def gather_elements(emitter: Emitter, node: Node, data: Tensor, index: Tensor) -> Tensor | None:
    """out[i, j, ...] = data[index[i, j, ...], j, ...] for axis 0, and alike for others."""
    axis = _element_axis(node, data, index)
    if axis is None:
        return None
    y = emitter.empty(index.shape, data.dtype)
    if y.size:
        _emit_elements(emitter, "gather_elements", data, axis, index, y, 0)
    return y


def _element_axis(node: Node, data: Tensor, index: Tensor) -> int | None:
    """The axis of GatherElements or ScatterElements if the shapes fit, else None."""
    axis, rank = node.attrs.get("axis", 0), data.ndim
    if not -rank <= axis < rank or index.ndim != rank or not readable(index):
        return None
    axis %= rank
    fits = all(k == axis or m <= n for k, (m, n) in enumerate(zip(index.shape, data.shape, strict=True)))
    return axis if fits else None


def _emit_elements(emitter: Emitter, op: str, data: Tensor, axis: int, index: Tensor, other: Tensor, how: int) -> None:
    item = data.dtype.itemsize
    strides = [s * (k != axis) for k, s in enumerate(data.strides)]
    axes = merged_axes(index.shape, strides)
    assert axes is not None
    words: list[Word] = [data, emitter.contiguous(index), other, int(index.dtype.itemsize == 8), how, item]
    words += [data.shape[axis], data.strides[axis] * item, len(axes)]
    for size, stride in axes:
        words += (size, stride * item)
    emitter.emit(op, words, index.size)


@native("GatherND")
def gather_nd(emitter: Emitter, node: Node, data: Tensor, index: Tensor) -> Tensor | None:
    """Slices of `data` at the index tuples in the last axis of `index`, for each of `batch_dims` leading axes."""
    batch = node.attrs.get("batch_dims", 0)
    if not _tuples_fit(data, index, batch):
        return None
    k = index.shape[-1]
    shape = (*index.shape[:-1], *data.shape[batch + k :])
    check_size(shape, data.dtype, emitter.label)
    if 0 in shape and index.size:
        return None
    places = _even_places(index, data.shape[:k], data.strides[:k]) if batch == 0 else None
    if places is not None:
        return emitter.view(data, shape, (*places[2:], *data.strides[k:]), places[0])
    y = emitter.empty(shape, data.dtype)
    if y.size:
        _emit_tuples(emitter, "gather_nd", emitter.contiguous(data), index, y, batch, 0)
    return y


def _tuples_fit(data: Tensor, index: Tensor, batch: int) -> bool:
    if index.ndim <= batch or batch < 0 or not readable(index) or index.shape[:batch] != data.shape[:batch]:
        return False
    return 1 <= index.shape[-1] <= data.ndim - batch


def _emit_tuples(emitter: Emitter, op: str, data: Tensor, index: Tensor, other: Tensor, batch: int, how: int) -> None:
    """The step between a contiguous `data` and the slices of it that tuples name, in `other`."""
    k, item, strides = index.shape[-1], data.dtype.itemsize, data.strides
    groups = math.prod(index.shape[:batch])
    run = math.prod(data.shape[batch + k :]) * item
    words: list[Word] = [data, emitter.contiguous(index), other, int(index.dtype.itemsize == 8), how, groups]
    words += [index.size // k // groups, run, k, math.prod(data.shape[batch:]) * item]
    for size, stride in zip(data.shape[batch : batch + k], strides[batch : batch + k], strict=True):
        words += (size, stride * item)
    emitter.emit(op, words, other.size)


def _even_places(index: Tensor, sizes: Shape, strides: Shape) -> list[int] | None:
    """``[offset, distinct, *steps]`` if known tuples name evenly spaced places of axes of these sizes and strides.

    Place [i, j, ...] of the leading axes of `index` is then `offset` + i * steps[0] + j * steps[1] + ... elements from
    the start; `distinct` tells whether no place occurs twice. None if they are not, or one lies outside.
    """
    tuples = index.value
    if tuples is None or tuples.size == 0:
        return None
    return _even(tuples.tobytes(), tuples.dtype, tuples.shape, sizes, strides)


@lru_cache(maxsize=256)
def _even(content: bytes, dtype: np.dtype, shape: Shape, sizes: Shape, strides: Shape) -> list[int] | None:
    tuples = np.frombuffer(content, dtype).reshape(shape).astype(np.int64)
    limits = np.array(sizes, np.int64)
    if ((tuples < -limits) | (tuples >= limits)).any():
        return None
    places = np.asarray(np.where(tuples < 0, tuples + limits, tuples) @ np.array(strides, np.int64))
    first, rank = int(places.flat[0]), places.ndim
    unit = [tuple([int(j == k and n > 1) for j in range(rank)]) for k, n in enumerate(places.shape)]
    steps = [int(places[at]) - first for at in unit]
    even = np.full(places.shape, first)
    grids: Any = np.indices(places.shape, sparse=True)
    for step, grid in zip(steps, grids, strict=True):
        even += step * grid
    if (places != even).any():
        return None
    return [first, int(len(np.unique(places)) == places.size), *steps]


def _reduction(node: Node, data: Tensor) -> int | None:
    """Number of the reduction, None if no step does it for this type."""
    name = node.attrs.get("reduction", "none")
    how = REDUCE.get(name.decode("utf-8", "replace") if isinstance(name, bytes) else name)
    return how if how == 0 or data.dtype == "float32" else None


def _copy_rest(emitter: Emitter, data: Tensor, y: Tensor, sizes: Shape, places: list[int]) -> None:
    """Copy what a ScatterND to `places` keeps; all of it where that is not one piece cut out along one axis."""
    if math.prod(sizes) == data.size:
        return
    strides, steps = y.strides, places[2:]
    lead = len(steps)
    box = len(sizes) == y.ndim and all(n == 1 or a == b for n, a, b in zip(sizes, steps, strides, strict=False))
    partial = [k for k, n in enumerate(sizes) if n != y.shape[k]] if box else []
    if len(partial) != 1 or partial[0] >= lead:
        emitter.copy_into(data, y)
        return
    k = partial[0]
    start = places[0] // strides[k]
    for first, count in ((0, start), (start + sizes[k], y.shape[k] - start - sizes[k])):
        if count:
            shape = (*y.shape[:k], count, *y.shape[k + 1 :])
            source = emitter.view(data, shape, data.strides, first * data.strides[k])
            emitter.copy_into(source, emitter.view(y, shape, strides, first * strides[k]))


@native("ScatterND")
def scatter_nd(emitter: Emitter, node: Node, data: Tensor, index: Tensor, updates: Tensor) -> Tensor | None:
    """A copy of `data` with slices replaced by, or combined with, `updates` at the index tuples of `index`."""
    how = _reduction(node, data)
    if how is None or updates.dtype != data.dtype or not _tuples_fit(data, index, 0):
        return None
    if updates.shape != (*index.shape[:-1], *data.shape[index.shape[-1] :]) or (0 in updates.shape and index.size):
        return None
    k, strides = index.shape[-1], c_strides(data.shape)
    places = _even_places(index, data.shape[:k], strides[:k]) if how == 0 and updates.size else None
    if places is not None and places[1]:
        y = emitter.empty(data.shape, data.dtype)
        _copy_rest(emitter, data, y, updates.shape, places)
        emitter.copy_into(updates, emitter.view(y, updates.shape, (*places[2:], *strides[k:]), places[0]))
        return y
    y = emitter.copy(data)
    if updates.size:
        _emit_tuples(emitter, "scatter_nd", y, index, emitter.contiguous(updates), 0, how)
    return y


@native("ScatterElements")
def scatter_elements(emitter: Emitter, node: Node, data: Tensor, index: Tensor, updates: Tensor) -> Tensor | None:
    """A copy of `data` with out[index[i, j, ...], j, ...] set to, or combined with, updates[i, j, ...] for axis 0."""
    how, axis = _reduction(node, data), _element_axis(node, data, index)
    if how is None or axis is None or updates.dtype != data.dtype or updates.shape != index.shape:
        return None
    y = emitter.copy(data)
    if updates.size:
        _emit_elements(emitter, "scatter_elements", y, axis, index, emitter.contiguous(updates), how)
    return y


@native("OneHot")
def one_hot(emitter: Emitter, node: Node, index: Tensor, depth: Tensor, values: Tensor) -> Tensor | None:
    """A new axis of a known size with the second of `values` at each index and the first elsewhere."""
    n, rank, axis = known_integer(depth), index.ndim + 1, node.attrs.get("axis", -1)
    if n is None or n < 0 or values.shape != (2,) or not -rank <= axis < rank or not readable(index):
        return None
    axis %= rank
    shape = (*index.shape[:axis], n, *index.shape[axis:])
    check_size(shape, values.dtype, emitter.label)
    y = emitter.empty(shape, values.dtype)
    if y.size:
        emitter.copy_into(emitter.view(values, shape, (0,) * rank), y)
        on = emitter.view(values, (1,), (1,), values.strides[0])
        words: list[Word] = [emitter.contiguous(index), on, y, int(index.dtype.itemsize == 8), y.dtype.itemsize]
        words += [math.prod(shape[:axis]), math.prod(shape[axis + 1 :]), n]
        emitter.emit("one_hot", words, index.size)
    return y


@native("ReverseSequence")
def reverse_sequence(emitter: Emitter, node: Node, x: Tensor, lengths: Tensor) -> Tensor | None:
    """Along the time axis, the first `lengths[b]` elements of batch row b reversed."""
    time, batch = node.attrs.get("time_axis", 0), node.attrs.get("batch_axis", 1)
    if {time, batch} != {0, 1} or x.ndim < 2 or lengths.shape != (x.shape[batch],) or not readable(lengths):
        return None
    x = emitter.contiguous(x)
    y = emitter.empty(x.shape, x.dtype)
    item = x.dtype.itemsize
    strides = c_strides(x.shape)
    words: list[Word] = [x, emitter.contiguous(lengths), y, int(lengths.dtype.itemsize == 8), x.shape[time]]
    words += [x.shape[batch], strides[time] * item, strides[batch] * item, math.prod(x.shape[2:]) * item]
    emitter.emit("reverse_sequence", words, x.size)
    return y
