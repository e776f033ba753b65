"""Joining, repeating and rearranging: Concat, Pad, Tile, DepthToSpace, SpaceToDepth, EyeLike, Trilu."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from .._core.program import (
    front_axes,
    known_integer,
    known_integers,
    moved_inside,
    pad_constant,
    pad_repeated,
    pads_of,
)
from ..graph import Node
from ..ops.common import dtype_of
from ..ops.limits import check_size
from .emitter import Emitter, Word
from .registry import native
from .tensor import Tensor, c_strides

PAIRS = 32
"""From this size on, interleaving two tensors in one step beats copying one after the other."""


@native("Concat")
def concat(emitter: Emitter, node: Node, *tensors: Tensor) -> Tensor | None:
    """The inputs joined along `axis`; one that is made for this alone is written in its place from the start."""
    axis, first = node.attrs.get("axis"), tensors[0]
    rank = first.ndim
    if axis is None or not -rank <= axis < rank:
        return None
    axis %= rank
    before, after = first.shape[:axis], first.shape[axis + 1 :]
    total = 0
    for t in tensors:
        shape = t.shape
        if t.dtype != first.dtype or len(shape) != rank or shape[:axis] != before or shape[axis + 1 :] != after:
            return None
        total += shape[axis]
    filled = [t for t in tensors if 0 not in t.shape]
    if len(filled) == 1:
        return emitter.view(filled[0], filled[0].shape, filled[0].strides)
    y = emitter.empty((*before, total, *after), first.dtype)
    if len(filled) == 2 and y.dtype.itemsize == 4 and total == 2 and math.prod(after) == 1 and y.size >= PAIRS:
        a, b = filled
        if a.contiguous() and b.contiguous():
            emitter.emit("zip", [a, b, y, a.size], y.size)
            return y
    in_one_run = math.prod(before) == 1
    at, step = 0, y.strides[axis]
    for t in filled:
        if not (in_one_run and moved_inside(t, y, at * step)):
            emitter.copy_into(t, emitter.view(y, t.shape, y.strides, at * step))
        at += t.shape[axis]
    return y


@native("Pad")
def pad(
    emitter: Emitter, node: Node, x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor | None:
    """Known numbers of elements put before and after along each axis, or taken away where negative."""
    counts, rank = known_integers(pads), x.ndim
    chosen = range(rank) if axes is None else known_integers(axes)
    found = None if chosen is None else front_axes(chosen, rank)
    if counts is None or found is None or len(counts) != 2 * len(found):
        return None
    mode = node.attrs.get("mode", "constant")
    mode = mode.decode("utf-8", "replace") if isinstance(mode, bytes) else mode
    filling = _filling(emitter, x, value) if mode == "constant" else None
    if mode == "constant" and filling is None:
        return None
    cut = pads_of(x, counts, found)
    if cut is None or (mode != "constant" and not _repeatable(mode, *cut)):
        return None
    inside, before, after = cut
    if not any(before) and not any(after):
        return inside
    full = tuple([b + n + a for b, n, a in zip(before, inside.shape, after, strict=True)])
    check_size(full, x.dtype, emitter.label)
    y = emitter.empty(full, x.dtype)
    if filling is not None:
        pad_constant(emitter, inside, y, filling, before)
    else:
        pad_repeated(emitter, inside, y, mode, before, after)
    return y


@lru_cache(maxsize=64)
def _zero(dtype: np.dtype) -> np.ndarray:
    return np.zeros(1, dtype)


def _filling(emitter: Emitter, x: Tensor, value: Tensor | None) -> Tensor | None:
    """The one element to pad with, in the dtype of `x`."""
    if value is None:
        return emitter.constant(_zero(x.dtype))
    if value.size != 1:
        return None
    if value.dtype == x.dtype:
        return emitter.view(value, (1,), (1,))
    return None if value.value is None else emitter.constant(value.value.reshape(1).astype(x.dtype))


def _repeatable(mode: str, inside: Tensor, before: list[int], after: list[int]) -> bool:
    """Whether each padding is one run of what is there; longer ones go to the NumPy tier."""
    if mode == "edge":
        return all(n or not (b or a) for n, b, a in zip(inside.shape, before, after, strict=True))
    if mode in ("reflect", "wrap"):
        less = mode == "reflect"
        return all(max(b, a) <= max(n - less, 0) for n, b, a in zip(inside.shape, before, after, strict=True))
    return False


@native("Tile")
def tile(emitter: Emitter, node: Node, x: Tensor, repeats: Tensor) -> Tensor | None:
    """The input repeated a known number of times along each axis."""
    counts = known_integers(repeats)
    if counts is None or len(counts) != x.ndim or (counts and min(counts) < 0):
        return None
    shape = tuple([n * r for n, r in zip(x.shape, counts, strict=True)])
    if shape == x.shape:
        return emitter.view(x, x.shape, x.strides)
    check_size(shape, x.dtype, emitter.label)
    y = emitter.empty(shape, x.dtype)
    sizes: list[int] = []
    strides: list[int] = []
    for n, r, s in zip(x.shape, counts, x.strides, strict=True):
        sizes += (r, n)
        strides += (0, s)
    paired = tuple(sizes)
    emitter.copy_into(emitter.view(x, paired, tuple(strides)), emitter.view(y, paired, c_strides(paired)))
    return y


@native("DepthToSpace", "SpaceToDepth")
def depth_space(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """Blocks of channels (N, C, H, W) to blocks of space and back, as one copy over six axes."""
    block, mode = node.attrs.get("blocksize", 0), node.attrs.get("mode", "DCR")
    if x.ndim != 4 or block < 1 or mode not in ("DCR", b"DCR", "CRD", b"CRD"):
        return None
    by_column = mode in ("CRD", b"CRD")
    n, c, h, w = x.shape
    sn, sc, sh, sw = x.strides
    if node.op == "SpaceToDepth":
        if h % block or w % block:
            return None
        height, width = h // block, w // block
        depth, pixel = (c, sc), ((block, sh), (block, sw))
        channels = (depth, *pixel) if by_column else (*pixel, depth)
        axes = ((n, sn), *channels, (height, sh * block), (width, sw * block))
        shape = (n, c * block * block, height, width)
    else:
        if c % (block * block):
            return None
        count = c // (block * block)
        row, column, layer = (block, 1, block * block) if by_column else (block * count, count, 1)
        axes = ((n, sn), (count, layer * sc), (h, sh), (block, row * sc), (w, sw), (block, column * sc))
        shape = (n, count, h * block, w * block)
    sizes, strides = zip(*axes, strict=True)
    y = emitter.empty(shape, x.dtype)
    emitter.copy_into(emitter.view(x, sizes, strides), emitter.view(y, sizes, c_strides(sizes)))
    return y


@native("Trilu")
def trilu(emitter: Emitter, node: Node, x: Tensor, k: Tensor | None = None) -> Tensor | None:
    """The upper or lower triangle of the last two axes, zero elsewhere; a known `k` shifts the diagonal."""
    shift = 0 if k is None else known_integer(k)
    if shift is None or x.ndim < 2:
        return None
    x = emitter.contiguous(x)
    y = emitter.empty(x.shape, x.dtype)
    if y.size:
        rows, columns = x.shape[-2:]
        words: list[Word] = [x, y, x.dtype.itemsize, math.prod(x.shape[:-2]), rows, columns]
        words += [max(min(shift, columns + 1), -rows - 1), int(node.attrs.get("upper", 1) != 0)]
        emitter.emit("trilu", words, x.size)
    return y


@native("EyeLike")
def eye_like(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """Ones on diagonal `k` of a matrix with the input's shape: known once the shape is."""
    if x.ndim != 2:
        return None
    dtype = dtype_of(node, "dtype") if "dtype" in node.attrs else x.dtype
    rows, columns = x.shape
    k = max(min(node.attrs.get("k", 0), columns), -rows)
    return emitter.constant(np.eye(rows, columns, k, dtype=dtype))
