"""Resize: an axis after the other, by the tables of source elements and weights that the NumPy operator makes."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ..graph import Node
from ..ops.limits import check_size
from ..ops.resize import Resizer
from .emitter import Emitter, Word
from .gather import emit_gather
from .registry import native
from .tensor import Tensor

Step = tuple[int, np.ndarray, np.ndarray | None]
"""An axis, the source elements (taps, out), and their weights (taps, out), None for one tap."""


@native("Resize")
def resize(
    emitter: Emitter,
    node: Node,
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Tensor | None:
    """By known scales or to known sizes: nearest of any type, linear and cubic of float32."""
    given = [t for t in (scales, sizes) if t is not None and (t.value is None or t.value.size)]
    mode = node.attrs.get("coordinate_transformation_mode", "half_pixel")
    if len(given) != 1 or given[0].value is None or mode in ("tf_crop_and_resize", b"tf_crop_and_resize"):
        return None
    if x.dtype != "float32" and node.attrs.get("mode", "nearest") not in ("nearest", b"nearest"):
        return None
    steps = _steps(node, x, given[0] is scales, given[0].value)
    if not steps:
        return emitter.view(x, x.shape, x.strides)
    shape = list(x.shape)
    for axis, places, _ in steps:
        shape[axis] = places.shape[1]
    if 0 in shape:
        return emitter.empty(tuple(shape), x.dtype)
    for step in steps:
        x = _resized(emitter, x, *step)
    return x


def _steps(node: Node, x: Tensor, by_scales: bool, values: np.ndarray) -> list[Step]:
    """What to do along which axis, those that shrink first.

    Raises
    ------
    InputError
        If the scales or sizes make no sense; the words are the NumPy operator's.
    """
    resizer = _resizer(node)
    plans = resizer.plans(x.shape, None, values if by_scales else None, None if by_scales else values)
    shape = list(x.shape)
    for plan in plans:
        shape[plan.axis] = plan.out
    check_size(shape, x.dtype, node.label())  # before there are tables of that size
    found: list[Step] = []
    for plan in sorted(plans, key=lambda p: p.out / max(p.n, 1)):
        places, weights, _outside = resizer.table(plan)
        found.append((plan.axis, places.astype(np.int64, copy=False), weights))
    return found


@lru_cache(maxsize=64)
def _resizer(node: Node) -> Resizer:
    """The node's tables; it keeps those that were asked for last."""
    return Resizer(node)


def _resized(emitter: Emitter, x: Tensor, axis: int, places: np.ndarray, weights: np.ndarray | None) -> Tensor:
    y = emitter.empty((*x.shape[:axis], places.shape[1], *x.shape[axis + 1 :]), x.dtype)
    if weights is None:
        emit_gather(emitter, x, axis, emitter.constant(places[0]), y)
        return y
    x = emitter.contiguous(x)
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    table = emitter.constant(places), emitter.constant(weights.astype(np.float32, copy=False))
    words: list[Word] = [x, *table, y, outer, x.shape[axis], places.shape[1], inner, len(places)]
    emitter.emit("resample", words, y.size * len(places))
    return y
