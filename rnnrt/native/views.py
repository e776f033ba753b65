"""Other looks at the same memory: Transpose, Reshape, Squeeze, Slice, Split, Expand, ...

Nothing is copied but by a Reshape that strides cannot say. A binder here returns None for whatever it cannot make
sense of; the NumPy operator then says what is wrong.
"""

from __future__ import annotations

import math

import numpy as np

from .._core.program import front_axes, known_integers, picked, reshaped, sliced, whole_view
from ..graph import Node
from ..ops.limits import check_size
from .emitter import Emitter
from .registry import native
from .tensor import Tensor


@native("Identity")
def identity(emitter: Emitter, node: Node, x: Tensor) -> Tensor:
    """The input."""
    return whole_view(x, x.shape, x.strides)


@native("Dropout")
def dropout(
    emitter: Emitter, node: Node, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None
) -> tuple | None:
    """The input; dropping at random is left to the NumPy tier, which refuses it."""
    if training is not None and (training.value is None or training.value.any()):
        return None
    y = whole_view(x, x.shape, x.strides)
    return (
        (y, emitter.constant(np.ones(x.shape, np.bool_))) if node.output(1) else (y,) + (None,) * len(node.outputs[1:])
    )


@native("Shape")
def shape(emitter: Emitter, node: Node, x: Tensor) -> Tensor:
    """The sizes of axes start to end, known."""
    sizes, rank = x.shape, x.ndim
    start, end = node.attrs.get("start", 0), node.attrs.get("end")
    if start or end is not None:
        ends = (start, rank if end is None else end)
        first, last = (min(max(e + rank if e < 0 else e, 0), rank) for e in ends)
        sizes = sizes[first:last]
    return emitter.constant(np.array(sizes, np.int64))


@native("Size")
def size(emitter: Emitter, node: Node, x: Tensor) -> Tensor:
    """The number of elements, known."""
    return emitter.constant(np.array(x.size, np.int64))


@native("Transpose")
def transpose(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """A view with its axes in the order `perm`."""
    perm = node.attrs.get("perm")
    shape, strides = x.shape, x.strides
    if perm is None:
        return whole_view(x, shape[::-1], strides[::-1])
    if len(perm) != len(shape) or front_axes(perm, len(shape)) != list(perm):
        return None
    return whole_view(x, picked(shape, perm), picked(strides, perm))


@native("Reshape")
def reshape(emitter: Emitter, node: Node, x: Tensor, target: Tensor) -> Tensor | None:
    """The elements in another shape; 0 keeps a size unless `allowzero`, one -1 stands for what is left."""
    sizes = known_integers(target)
    if sizes is None:
        return None
    if 0 in sizes and not node.attrs.get("allowzero", 0):
        if max(k for k, n in enumerate(sizes) if n == 0) >= x.ndim:
            return None
        if -1 in sizes and 0 in x.shape:
            return _reshape_empty(emitter, x, sizes)
        sizes = [n or x.shape[k] for k, n in enumerate(sizes)]
    total = x.size
    if -1 in sizes:
        k = sizes.index(-1)
        rest = -math.prod(sizes)
        if rest <= 0 or total % rest:
            return None
        sizes[k] = total // rest
    if math.prod(sizes) != total or (sizes and min(sizes) < 0):
        return None
    return reshaped(emitter, x, tuple(sizes))


def _reshape_empty(emitter: Emitter, x: Tensor, sizes: list[int]) -> Tensor | None:
    """An empty tensor reshaped with both 0 and -1: the sizes kept count on neither side."""
    left = math.prod(n for k, n in enumerate(x.shape) if k >= len(sizes) or sizes[k] != 0)
    given = math.prod(n for n in sizes if n not in (0, -1))
    if sizes.count(-1) > 1 or given <= 0 or left % given:
        return None
    shape = [left // given if n == -1 else n or x.shape[k] for k, n in enumerate(sizes)]
    return reshaped(emitter, x, tuple(shape)) if math.prod(shape) == 0 else None


@native("Flatten")
def flatten(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """Two axes: the ones before `axis`, and the rest."""
    axis, rank = node.attrs.get("axis", 1), x.ndim
    if not -rank <= axis <= rank:
        return None
    first = axis + rank if axis < 0 else axis
    return reshaped(emitter, x, (math.prod(x.shape[:first]), math.prod(x.shape[first:])))


@native("Squeeze")
def squeeze(emitter: Emitter, node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor | None:
    """Without the axes given, each of size 1, or without all of size 1."""
    shape, strides = x.shape, x.strides
    if axes is None:
        gone = [k for k, n in enumerate(shape) if n == 1]
    else:
        values = known_integers(axes)
        found = None if values is None else front_axes(values, len(shape))
        if found is None or any(shape[k] != 1 for k in found):
            return None
        gone = found
    kept = [k for k in range(len(shape)) if k not in gone]
    return whole_view(x, picked(shape, kept), picked(strides, kept))


@native("Unsqueeze")
def unsqueeze(emitter: Emitter, node: Node, x: Tensor, axes: Tensor) -> Tensor | None:
    """With axes of size 1 where `axes`, which count in the output, say."""
    values = known_integers(axes)
    new = None if values is None else front_axes(values, x.ndim + len(values))
    if new is None:
        return None
    shape, strides = list(x.shape), list(x.strides)
    for axis in sorted(new):
        shape.insert(axis, 1)
        strides.insert(axis, 1)
    return whole_view(x, tuple(shape), tuple(strides))


@native("Slice")
def slice_axes(
    emitter: Emitter,
    node: Node,
    x: Tensor,
    starts: Tensor,
    ends: Tensor,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor | None:
    """A view of known ranges of some axes; starts and ends count from the end if negative and are clamped."""
    first, last = known_integers(starts), known_integers(ends)
    if first is None or last is None:
        return None
    chosen = list(range(len(first))) if axes is None else known_integers(axes)
    pace = [1] * len(first) if steps is None else known_integers(steps)
    if chosen is None or pace is None or not len(first) == len(last) == len(chosen) == len(pace) or 0 in pace:
        return None
    found = front_axes(chosen, x.ndim)
    if found is None:
        return None
    return sliced(x, found, first, last, pace)


@native("Split")
def split(emitter: Emitter, node: Node, x: Tensor, sizes: Tensor | None = None) -> tuple | None:
    """Views of pieces along `axis`: of known sizes, or of equal size with a smaller last one."""
    count, axis, rank = len(node.outputs), node.attrs.get("axis", 0), x.ndim
    if not -rank <= axis < rank or node.attrs.get("num_outputs", count) != count:
        return None
    axis %= rank
    total, stride = x.shape[axis], x.strides[axis]
    if sizes is None:
        most = -(-total // count)
        lengths: list[int] | None = [most] * (count - 1) + [total - most * (count - 1)]
    else:
        lengths = known_integers(sizes)
    if lengths is None or len(lengths) != count or sum(lengths) != total or min(lengths) < 0:
        return None
    before, after, start, pieces = x.shape[:axis], x.shape[axis + 1 :], 0, []
    for n in lengths:
        pieces.append(emitter.view(x, (*before, n, *after), x.strides, start * stride))
        start += n
    return tuple(pieces)


@native("Expand")
def expand(emitter: Emitter, node: Node, x: Tensor, target: Tensor) -> Tensor | None:
    """A view of the input broadcast together with a known shape: stride 0 where it repeats."""
    sizes = known_integers(target)
    if sizes is None:
        return None
    extra = max(len(sizes) - x.ndim, 0)
    own = [1] * extra + list(x.shape)
    strides = [0] * extra + list(x.strides)
    for k, n in enumerate(sizes, len(own) - len(sizes)):
        if own[k] == 1 and n != 1:
            own[k], strides[k] = n, 0
        elif n not in (1, own[k]):
            return None
    check_size(own, x.dtype, emitter.label)
    return emitter.view(x, tuple(own), tuple(strides))
