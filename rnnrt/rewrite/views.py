"""Views: the data-moving nodes round a recurrent node, as plain tuples.

A *view* is one of

    ("transpose", perm)   ("squeeze", axes)   ("unsqueeze", axes)   ("reshape", shape)
    ("slice", axis, start, stop, step)        ("index", axis, i)

with the meaning of the ONNX operator: ``slice`` bounds are clamped as in Python (a ``None`` bound is open),
``reshape`` takes 0 for "as in the input" and one -1, axes and indices may be negative. An *arrangement*
(``out_axes``) says how the axes of an array are made of a canonical array's axes: a tuple of groups, one a
resulting axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph import Node

if TYPE_CHECKING:
    from .known import Known

Size = int | str
"""A number, or a token for a size that only the run tells; the same token is the same size."""

END = 2**31 - 1
"""What exporters write for "to the end" is at least this, and no axis is longer."""

View = tuple[Any, ...]
Views = tuple[View, ...]
Groups = tuple[tuple[int, ...], ...]


def apply_views(array: np.ndarray, views: Iterable[View]) -> np.ndarray:
    """`array` seen through `views` in order; copies only where a reshape has to."""
    for kind, *args in views:
        if kind == "transpose":
            array = array.transpose(args[0])
        elif kind == "squeeze":
            array = np.squeeze(array, axis=tuple(args[0]))
        elif kind == "unsqueeze":
            array = np.expand_dims(array, axis=tuple(args[0]))
        elif kind == "slice":
            axis, start, stop, step = args
            array = array[_at(array.ndim, axis, slice(start, stop, step))]
        elif kind == "index":
            array = array[_at(array.ndim, args[0], args[1])]
        elif kind == "reshape":
            array = array.reshape([array.shape[k] if d == 0 else d for k, d in enumerate(args[0])])
        else:
            raise ValueError(f"unknown view {kind!r}")
    return array


def _at(rank: int, axis: int, what: Any) -> tuple[Any, ...]:
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} of an array with {rank} axes")
    return (slice(None),) * (axis % rank) + (what,)


def arrange(canonical: np.ndarray, groups: Groups) -> np.ndarray:
    """The canonical array with its axes grouped as `groups` says; an axis that is in no group has size 1."""
    order = [axis for group in groups for axis in group]
    order += [axis for axis in range(canonical.ndim) if axis not in order]
    shape = [math.prod(canonical.shape[axis] for axis in group) for group in groups]
    return canonical.transpose(order).reshape(shape)


_MOST_PARTS = 1024  # of a Split that is looked at


def views_of(node: Node, output: int, known: Known) -> Views | None:
    """The views that make output `output` of `node` of its first input; None if it is none, or not known.

    A view never hides an error: bounds that ONNX would refuse give None.
    """
    if node.domain or not node.input(0):
        return None
    read = _READERS.get(node.op)
    return read(node, output, known) if read else None


def _transpose(node: Node, output: int, known: Known) -> Views | None:
    perm = node.attrs.get("perm")
    if perm is None:
        shape = known.shape(node.inputs[0])
        if shape is None:
            return None
        perm = range(len(shape))[::-1]
    return (("transpose", tuple(int(p) for p in perm)),)


def _squeeze(node: Node, output: int, known: Known) -> Views | None:
    axes = known.ints(node, 1, "axes")
    if axes is None and not node.input(1):
        shape = known.shape(node.inputs[0])
        if shape is not None and all(isinstance(d, int) for d in shape):
            axes = [k for k, d in enumerate(shape) if d == 1]
    return None if axes is None else (("squeeze", tuple(axes)),)


def _unsqueeze(node: Node, output: int, known: Known) -> Views | None:
    axes = known.ints(node, 1, "axes")
    return None if axes is None else (("unsqueeze", tuple(axes)),)


def _reshape(node: Node, output: int, known: Known) -> Views | None:
    shape = known.ints(node, 1, "shape")
    if shape is None or (node.attrs.get("allowzero", 0) and 0 in shape):
        return None
    return (("reshape", tuple(shape)),)


def _slice(node: Node, output: int, known: Known) -> Views | None:
    starts, ends = known.ints(node, 1, "starts"), known.ints(node, 2, "ends")
    if starts is None or ends is None:
        return None
    axes = known.ints(node, 3, "axes") if node.input(3) or "axes" in node.attrs else list(range(len(starts)))
    steps = known.ints(node, 4, "steps") if node.input(4) else [1] * len(starts)
    if axes is None or steps is None or 0 in steps or not len(starts) == len(ends) == len(axes) == len(steps):
        return None
    return tuple(("slice", *bounds) for bounds in zip(axes, starts, ends, steps, strict=True))


def _gather(node: Node, output: int, known: Known) -> Views | None:
    index = known.constant(node.input(1))
    if index is None or index.size != 1 or index.ndim > 1:
        return None
    axis, i = int(node.attrs.get("axis", 0)), int(index.reshape(()))
    if index.ndim == 0:
        return (("index", axis, i),)
    # An index out of bounds is an error and a slice out of bounds is not, so a slice needs the size.
    shape = known.shape(node.inputs[0])
    size = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    if not isinstance(size, int) or not -size <= i < size:
        return None
    return (("slice", axis, i % size, i % size + 1, 1),)


def _split(node: Node, output: int, known: Known) -> Views | None:
    axis = int(node.attrs.get("axis", 0))
    shape = known.shape(node.inputs[0])
    size = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    if not isinstance(size, int) or len(node.outputs) > _MOST_PARTS:
        return None
    parts = known.ints(node, 1, "split")
    if parts is None:
        if node.input(1) or size % len(node.outputs):
            return None
        parts = [size // len(node.outputs)] * len(node.outputs)
    if sum(parts) != size or min(parts) < 0 or len(parts) != len(node.outputs):
        return None
    start = sum(parts[:output])
    return (("slice", axis, start, start + parts[output], 1),)


_READERS = {
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Slice": _slice,
    "Gather": _gather,
    "Split": _split,
}


def arrangement_shape(canonical: Sequence[Size | None], groups: Groups) -> tuple[Size | None, ...]:
    """The shape that :func:`arrange` gives a canonical array of this shape."""
    return tuple(quotient([canonical[axis] for axis in group], []) for group in groups)


def view_shape(shape: Sequence[Size | None], view: View) -> tuple[Size | None, ...] | None:
    """The shape that `view` makes of `shape`; None for an unknown size, and alone where even the rank is unknown."""
    kind, *args = view
    rank = len(shape)
    if kind == "transpose":
        return tuple(shape[p] for p in args[0]) if sorted(args[0]) == list(range(rank)) else None
    if kind == "squeeze":
        drop = {a % rank for a in args[0] if -rank <= a < rank}
        return tuple(d for k, d in enumerate(shape) if k not in drop)
    if kind == "unsqueeze":
        return unsqueezed(shape, args[0], 1)
    if kind == "reshape":
        return reshaped(shape, args[0])
    axis = args[0]
    if not -rank <= axis < rank:
        return None
    axis %= rank
    if kind == "index":
        return (*shape[:axis], *shape[axis + 1 :])
    size = shape[axis]
    length: Size | None = len(range(*slice(*args[1:]).indices(size))) if isinstance(size, int) else None
    if length is None and (args[1:] == [0, max(args[2] or 0, END), 1] or turns_round(args[1:])):
        length = size
    return (*shape[:axis], length, *shape[axis + 1 :])


def turns_round(bounds: Sequence[int | None]) -> bool:
    """Whether a slice of these start, stop and step takes all of an axis of any size, backwards."""
    start, stop, step = bounds
    return start == step == -1 and stop is not None and stop <= -END


def unsqueezed(items: Sequence[Any], axes: Sequence[int], new: Any) -> tuple[Any, ...] | None:
    """`items`, one an axis, with `new` where Unsqueeze of `axes` puts an axis; None if the axes are wrong."""
    rank = len(items) + len(axes)
    if any(not -rank <= a < rank for a in axes) or len({a % rank for a in axes}) != len(axes):
        return None
    at = {a % rank for a in axes}
    rest = iter(items)
    return tuple(new if k in at else next(rest) for k in range(rank))


def reshaped(shape: Sequence[Size | None], target: Sequence[Size]) -> tuple[Size | None, ...] | None:
    """The shape that Reshape to `target` (0 copies, one -1 is inferred) makes of `shape`; None where not known."""
    if any(d == 0 and k >= len(shape) for k, d in enumerate(target)) or list(target).count(-1) > 1:
        return None
    wanted: list[Size | None] = [shape[k] if d == 0 else d for k, d in enumerate(target)]
    if -1 in wanted:
        hole = wanted.index(-1)
        wanted[hole] = quotient(shape, [d for d in wanted if d != -1])
    return tuple(wanted)


def quotient(sizes: Sequence[Size | None], divisors: Sequence[Size | None]) -> Size | None:
    """The product of `sizes` over that of `divisors`, if that is one number or one unknown size for certain."""
    if None in sizes or None in divisors:
        return None
    rest = list(sizes)
    number = 1
    for d in divisors:
        if isinstance(d, int):
            number *= d
        elif d in rest:
            rest.remove(d)
        else:
            return None
    product = math.prod(d for d in rest if isinstance(d, int))
    tokens = [d for d in rest if not isinstance(d, int)]
    if number <= 0 or product % number:
        return None
    if not tokens:
        return product // number
    return tokens[0] if len(tokens) == 1 and product == number else None
