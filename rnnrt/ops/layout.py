"""Joining, cutting, padding and reversing: Concat, Slice, Split, Pad, Trilu, ReverseSequence, TensorScatter."""

from __future__ import annotations

import numpy as np

from ..errors import InputError, ModelError
from ..graph import Node
from .common import choice, integers, normal_axes, normal_axis, required
from .limits import check_size
from .registry import Function, operator


@operator("Concat")
def build_concat(node: Node) -> Function:
    """The inputs joined along `axis`; all other sizes agree."""
    axis, label = required(node, "axis"), node.label()
    concatenate = np.concatenate

    def run(*arrays: np.ndarray) -> np.ndarray:
        try:
            return concatenate(arrays, axis)
        except ValueError:
            shapes = ", ".join(str(list(a.shape)) for a in arrays)
            raise InputError(f"{label}: cannot join along axis {axis}: {shapes}") from None

    return run


@operator("Slice")
def build_slice(node: Node) -> Function:
    """A view of ranges of some axes; starts and ends count from the end if negative and are clamped."""
    label = node.label()

    def run(
        x: np.ndarray,
        starts: np.ndarray,
        ends: np.ndarray,
        axes: np.ndarray | None = None,
        steps: np.ndarray | None = None,
    ) -> np.ndarray:
        first, last = integers(starts, label), integers(ends, label)
        count = len(first)
        chosen = range(count) if axes is None else integers(axes, label)
        stride = [1] * count if steps is None else integers(steps, label)
        if len(last) != count or len(chosen) != count or len(stride) != count:
            lengths = f"{len(last)}, {len(chosen)}, {len(stride)}"
            raise InputError(f"{label}: expected {count} ends, axes and steps, got {lengths}")
        cut = [slice(None)] * x.ndim
        try:
            for k, axis in enumerate(chosen):
                cut[axis] = slice(first[k], last[k], stride[k])
            return x[tuple(cut)]
        except (IndexError, ValueError):
            raise InputError(
                f"{label}: cannot slice {list(x.shape)} along axes {list(chosen)} with steps {stride}"
            ) from None

    return run


@operator("Split", multiple=True)
def build_split(node: Node) -> Function:
    """Views of pieces along `axis`: of the sizes given, or of equal size with a smaller last one."""
    axis, count, label = node.attrs.get("axis", 0), len(node.outputs), node.label()
    if node.attrs.get("num_outputs", count) != count:
        raise ModelError(f"{label}: expected {node.attrs['num_outputs']} outputs, got {count}")

    def run(x: np.ndarray, split: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        along = normal_axis(axis, x.ndim, label)
        total = x.shape[along]
        if split is None:
            most = -(-total // count)
            sizes = [most] * (count - 1) + [total - most * (count - 1)]
        else:
            sizes = integers(split, label)
        if sum(sizes) != total or len(sizes) != count or min(sizes) < 0:
            raise InputError(f"{label}: expected {count} sizes that add up to {total}, got {sizes}")
        before, pieces, start = (slice(None),) * along, [], 0
        for size in sizes:
            pieces.append(x[(*before, slice(start, start + size))])
            start += size
        return tuple(pieces)

    return run


@operator("Pad")
def build_pad(node: Node) -> Function:
    """Elements put before and after along each axis, or taken away where a count is negative.

    The value of a constant padding is cast to the data's dtype. Taking away comes before reflecting or wrapping.
    """
    mode, label = choice(node, "mode", "constant", ("constant", "reflect", "edge", "wrap")), node.label()

    def run(
        x: np.ndarray, pads: np.ndarray, value: np.ndarray | None = None, axes: np.ndarray | None = None
    ) -> np.ndarray:
        counts = integers(pads, label)
        if not any(counts):
            return x
        chosen = range(x.ndim) if axes is None else normal_axes(integers(axes, label), x.ndim, label)
        if len(counts) != 2 * len(chosen):
            raise InputError(f"{label}: expected {2 * len(chosen)} pads, got {counts}")
        before, after = [0] * x.ndim, [0] * x.ndim
        for k, axis in enumerate(chosen):
            before[axis], after[axis] = counts[k], counts[k + len(chosen)]
        x = _cropped(x, before, after, label)
        before, after = [max(b, 0) for b in before], [max(a, 0) for a in after]
        shape = [b + n + a for b, n, a in zip(before, x.shape, after, strict=True)]
        check_size(shape, x.dtype, label)
        if mode == "constant":
            return _pad_constant(x, shape, before, value)
        return _pad_indexed(x, before, after, mode, label)

    return run


def _cropped(x: np.ndarray, before: list[int], after: list[int], label: str) -> np.ndarray:
    if min(before) >= 0 and min(after) >= 0:
        return x
    cut = []
    for b, n, a in zip(before, x.shape, after, strict=True):
        if min(b, 0) + min(a, 0) + n < 0:
            raise InputError(f"{label}: cannot take {-min(b, 0)} and {-min(a, 0)} elements away from {n}")
        cut.append(slice(max(-b, 0), n - max(-a, 0)))
    return x[tuple(cut)]


def _pad_constant(x: np.ndarray, shape: list[int], before: list[int], value: np.ndarray | None) -> np.ndarray:
    if value is None and x.dtype.kind not in "OU":
        y = np.zeros(shape, x.dtype)
    else:
        y = np.empty(shape, x.dtype)
        y[...] = "" if value is None else value.reshape(()).astype(x.dtype)
    y[tuple([slice(b, b + n) for b, n in zip(before, x.shape, strict=True)])] = x
    return y


def _pad_indexed(x: np.ndarray, before: list[int], after: list[int], mode: str, label: str) -> np.ndarray:
    for axis, (b, a) in enumerate(zip(before, after, strict=True)):
        n = x.shape[axis]
        if not b and not a:
            continue
        if n == 0:
            raise InputError(f"{label}: nothing to repeat along axis {axis} of {list(x.shape)}")
        index = np.arange(-b, n + a)
        if mode == "edge":
            index = index.clip(0, n - 1)
        elif mode == "wrap":
            index %= n
        else:
            index = np.abs((index + n - 1) % max(2 * n - 2, 1) - (n - 1))
        x = x.take(index, axis)
    return x


@operator("Trilu")
def build_trilu(node: Node) -> Function:
    """The upper or lower triangle of the last two axes, zero elsewhere; `k` shifts the diagonal."""
    upper, label = bool(node.attrs.get("upper", 1)), node.label()

    def run(x: np.ndarray, k: np.ndarray | None = None) -> np.ndarray:
        if x.ndim < 2:
            raise InputError(f"{label}: expected at least 2 axes, got {list(x.shape)}")
        n, m = x.shape[-2:]
        shift = 0 if k is None else max(min(int(k.item()), m + 1), -n - 1)
        diagonal = np.arange(m) - np.arange(n)[:, None]
        inside = diagonal >= shift if upper else diagonal <= shift
        return np.where(inside, x, np.zeros((), x.dtype))

    return run


@operator("ReverseSequence")
def build_reverse_sequence(node: Node) -> Function:
    """Along the time axis, the first `lengths[b]` elements of batch row b reversed."""
    time, batch, label = node.attrs.get("time_axis", 0), node.attrs.get("batch_axis", 1), node.label()
    if {time, batch} != {0, 1}:
        raise ModelError(f"{label}: expected time and batch axes 0 and 1 in some order, got {time} and {batch}")

    def run(x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        if x.ndim < 2 or lengths.shape != (x.shape[batch],):
            raise InputError(f"{label}: expected one length for each row of {list(x.shape)}, got {list(lengths.shape)}")
        steps = np.arange(x.shape[time])
        if lengths.size and not (lengths.min() >= 0 and lengths.max() <= steps.size):
            raise InputError(f"{label}: expected lengths in [0, {steps.size}], got {lengths.tolist()}")
        size = lengths[:, None]
        source = np.where(steps < size, size - 1 - steps, steps)
        rows = np.arange(lengths.size)[:, None]
        return x[rows, source] if batch == 0 else x[source.T, rows.T]

    return run


@operator("TensorScatter")
def build_tensor_scatter(node: Node) -> Function:
    """A cache with `update` written into axis `axis` of row b from position `write_indices[b]` on."""
    mode, axis, label = choice(node, "mode", "linear", ("linear", "circular")), node.attrs.get("axis", -2), node.label()

    def run(cache: np.ndarray, update: np.ndarray, starts: np.ndarray | None = None) -> np.ndarray:
        along = normal_axis(axis, cache.ndim, label)
        length, size = update.shape[along], cache.shape[along]
        expected = (*cache.shape[:along], length, *cache.shape[along + 1 :])
        if along == 0 or update.shape != expected or length > size:
            raise InputError(f"{label}: cannot write {list(update.shape)} into {list(cache.shape)} along axis {along}")
        first = np.zeros(cache.shape[0], np.int64) if starts is None else starts
        index = first[:, None] + np.arange(length)
        if mode == "circular":
            index = index % size
        elif index.size and (index.min() < 0 or index.max() >= size):
            raise InputError(f"{label}: expected positions in [0, {size}), got {first.tolist()} and {length} more")
        y = cache.copy()
        rows = np.arange(cache.shape[0])[:, None]
        np.moveaxis(y, along, 1)[rows, index] = np.moveaxis(update, along, 1)
        return y

    return run
