"""Conv and ConvTranspose in one and two dimensions: op_conv_positions.h, _channels.h or _winograd.h, by the shapes.

X is (N, C, *sizes), Y is (N, M, *out); weights are known before the run, float32 throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from .._core.windows import (
    SINGLE,
    ConvNode,
    Margin,
    Planes,
    Sums,
    conv_words,
    copied,
    costs,
    cycles,
    inside,
    margin,
    margins,
    merged,
    plain,
    planes_of,
    three_by_three,
    transposed,
)
from ..graph import Node
from ..ops.arguments import integer
from ..ops.conv_transpose import Placement
from ..ops.windows import Windows
from . import conv_winograd
from .conv_planes import convolve_planes
from .emitter import Emitted, Emitter, Word
from .margin import Phases, cropped, distances, with_margin
from .registry import native
from .tensor import Tensor, c_strides, memory

ROWS_OF_VECTORS = {16: (8, 8, 8, 8, 6), 8: (8, 8, 6, 4, 3), 4: (8, 8, 6, 4, 3)}
"""Rows of a tile by its vectors, as TILE_ROWS of the simd headers has them; too few is no harm."""


CACHED = 1 << 15
"""Elements of an input that are padded at a time, so that they are still in cache when they are read."""


POOLING = 0.5
"""Clock cycles for an element that is written, and read again to be pooled."""


Tiling = tuple[bool, int, int, int]
"""``wide, block, blocks, most``: positions in the lanes (wide) or output channels; those of a group by blocks.

A block is channels if wide, else vectors of them. The other side of a tile is at most vectors of positions if wide,
else positions.
"""


@native("Conv")
def conv(emitter: Emitter, node: Node, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor | None:
    """Conv of one or two spatial axes with known weights."""
    found = emitter.once("layout", node, _plain).sums(x, w, b)
    return None if found is None else convolve(emitter, x, w, b, *found)


@native("ConvTranspose")
def conv_transpose(emitter: Emitter, node: Node, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor | None:
    """ConvTranspose of one or two spatial axes with known weights."""
    found = emitter.once("layout", node, _transposed).sums(x, w, b)
    return None if found is None else convolve(emitter, x, w, b, *found)


Sizes = tuple[int, ...]
Found = tuple[Sizes, Phases, Phases]


def _plain(node: Node) -> ConvNode:
    windows = Windows(node)

    def find(sizes: Sizes, kernel: Sizes) -> Found:
        layout = windows.layout(sizes, kernel)
        return _found(plain, sizes, kernel, layout.strides, layout.dilations, layout.begin, layout.out)

    return ConvNode(integer(node, "group", 1, least=1), False, find)


def _transposed(node: Node) -> ConvNode:
    placement = Placement(node)

    def find(sizes: Sizes, kernel: Sizes) -> Found:
        out, begin, strides, dilations, _ = placement.find(sizes, kernel)
        return _found(transposed, sizes, kernel, strides, dilations, begin, out)

    return ConvNode(integer(node, "group", 1, least=1), True, find)


def _found(phases: Callable[..., Phases], *spatial: Sizes) -> Found:
    """What a `ConvNode` asks for, of phases along each axis; `spatial` is what they take, the output's sizes last."""
    out = spatial[-1]
    if 0 in out:
        return out, (), ()
    axes = [phases(*axis) for axis in zip(*spatial, strict=True)]
    return out, axes[0] if len(axes) == 2 else (SINGLE,), axes[-1]


def convolve(emitter: Emitter, x: Tensor, w: Tensor, b: Tensor | None, sums: Sums, shape: Sizes) -> Tensor | None:
    """Emit the steps of `sums` for an output of `shape`."""
    planes, lanes = planes_of(x), emitter.lanes
    if not planes.fit(sums.rows, sums.columns, lanes):
        return None
    across = margins(sums.columns, planes.w) != (0, 0)
    if planes.is_row(sums.rows):
        planes, rows = cropped(planes, sums.rows[0])
        sums = sums.over(rows)
    if sums.m == 1 and sums.channels == 1:
        return convolve_planes(emitter, planes, w, b, sums, shape)
    plan, sums = choose(emitter, sums, planes, w, across)
    if plan is None:
        return convolve_patches(emitter, planes, w, b, sums, shape)
    y = emitter.empty(shape)
    if plan[0]:
        y.producer = positions(emitter, planes, w, b, y, sums, plan)
        emitter.convolution = (
            y.producer,
            shape,
            lambda: pools(lanes, sums, planes, across),
            lambda y: positions(emitter, planes, w, b, y, sums, pooled_tiling(lanes, sums.m), pool=True),
        )
    else:
        padded = with_margin(emitter, planes, sums.rows, sums.columns, 1, False)
        y.producer = emit(emitter, padded.tensor, padded, None, w, b, y, sums, plan)
    return y


def positions(
    emitter: Emitter, x: Planes, w: Tensor, b: Tensor | None, y: Tensor, sums: Sums, plan: Tiling, pool: bool = False
) -> Emitted:
    """Emit the step with positions in the lanes, which makes a copy of `x` if it needs margins."""
    one = None if pool else merged(sums, x)
    shortest = min(p.count for p in sums.columns) if one is None else one
    needed = shortest < emitter.lanes or x.strides[3] != 1
    copy = margin(x, sums.rows, sums.columns, sums.columns[0].stride, needed, CACHED, 2 if pool else 1)
    planes = x if copy is None else copy.planes(x, x.tensor)
    return emit(emitter, x.tensor, planes, copy, w, b, y, sums, plan, pool)


def convolve_patches(
    emitter: Emitter, x: Planes, w: Tensor, b: Tensor | None, sums: Sums, shape: tuple[int, ...]
) -> Tensor:
    """Emit the step for an output of `shape` by patches of it."""
    lanes = emitter.lanes
    *_, panels, panel, _, _ = _tiles(lanes, sums.m)

    def make(value: np.ndarray) -> np.ndarray:
        return conv_winograd.transformed(pack(value, sums, panel, lanes), sums.channels, sums.m, panel * lanes, lanes)

    assert w.value is not None
    weights = emitter.packed(("patches", lanes, panel), w.value, make)
    y = emitter.empty(shape)
    y.producer = conv_winograd.emit(emitter, x, b, weights, y, sums, panel, panels)
    emitter.convolution = (
        y.producer,
        shape,
        lambda: True,
        lambda y: conv_winograd.emit(emitter, x, b, weights, y, sums, panel, panels, pool=True),
    )
    return y


def choose(emitter: Emitter, sums: Sums, x: Planes, w: Tensor, padded: bool) -> tuple[Tiling | None, Sums]:
    """The cheapest tiling, and the sums as it takes them; `padded`: rows get margins, so that they lie apart.

    None says that patches are cheaper.
    """
    lanes = emitter.lanes
    tiles = _tiles(lanes, sums.m)
    blocks, block, vectors, panels, panel, widest, highest = tiles
    wide, tall = costs(sums, x, padded, lanes, tiles)
    fewer = inside(sums, x.h)
    if fewer is not None:
        less = costs(fewer, x, padded, lanes, tiles)[1]
        fewer, tall = (fewer, less) if less < tall else (None, tall)
    if three_by_three(sums):
        patches = conv_winograd.cost(lanes, sums, panel, panels, vectors)
        if sparing(patches, min(wide, tall)) and conv_winograd.suits(emitter, w):
            return None, sums
    if cheaper(wide, tall):
        return (True, block, blocks, widest), sums
    return (False, panel, panels, highest), fewer or sums


@lru_cache(maxsize=256)
def _tiles(lanes: int, m: int) -> tuple[int, int, int, int, int, int, int]:
    """For m channels: blocks and channels of one; vectors, panels and vectors of one; the widest and highest tile."""
    most = ROWS_OF_VECTORS[lanes]
    blocks = -(-m // (8 if lanes == 16 else 4))
    block = -(-m // blocks)
    vectors = -(-m // lanes)
    panels = -(-vectors // 4)
    panel = -(-vectors // panels)
    return blocks, block, vectors, panels, panel, max(v for v in range(1, 5) if most[v] >= block), most[panel]


def pools(lanes: int, sums: Sums, x: Planes, padded: bool) -> bool:
    """Whether it pays for a step with positions in the lanes to find the largest of each 2x2 outputs itself."""
    height, width = sums.rows[0].count // 2, sums.columns[0].count // 2
    if len(sums.rows) > 1 or len(sums.columns) > 1 or width < lanes or not height:
        return False
    blocks = pooled_tiling(lanes, sums.m)[2]
    tile = 100 + sums.taps() * cycles(sums.m / blocks, 4)
    together = sums.n * sums.groups * height * -(-width // lanes) * blocks * tile
    apart = costs(sums, x, padded, lanes, _tiles(lanes, sums.m))[0]
    return together < apart + POOLING * sums.n * sums.groups * sums.m * 4 * height * width


def pooled_tiling(lanes: int, m: int) -> Tiling:
    """The tiles, of four vectors, where 2x2 outputs are pooled."""
    blocks = -(-m // ROWS_OF_VECTORS[lanes][4])
    return True, -(-m // blocks), blocks, 4


def cheaper(positions: float, channels: float) -> bool:
    """Whether positions in the lanes cost less."""
    return positions <= channels


def sparing(patches: float, sums: float) -> bool:
    """Whether patches cost less than sums over taps, by enough to be worth their rounding errors."""
    return patches < 0.9 * sums


def emit(
    emitter: Emitter,
    source: Tensor,
    x: Planes,
    copy: Margin | None,
    w: Tensor,
    b: Tensor | None,
    y: Tensor,
    sums: Sums,
    plan: Tiling,
    pool: bool = False,
) -> Emitted:
    """Emit the step itself, over planes `x` with their margins; with a `copy` the step makes them of `source`.

    With `pool`, y holds the largest of each 2x2 outputs.
    """
    assert w.value is not None
    (wide, block, *_), lanes = plan, emitter.lanes
    key = ("conv", wide, lanes, block, *sums.packing())
    packed = emitter.packed(key, w.value, lambda value: pack(value, sums, block, 0 if wide else lanes))
    yn, ym, *_ = c_strides(y.shape)
    numbers, taps = conv_words(sums, x, copy, (yn, ym, y.shape[-1]), plan, pool, lanes)
    words: list[Word] = [source, y, packed]
    words += [0, 0] if b is None else [emitter.contiguous(b)]
    words.append(distances(taps, sums.packed is not None))
    words += [0, 0] if copy is None else [emitter.scratch(4 * copied(sums, copy, lanes) * emitter.threads)]
    epilogue = len(words)
    words += numbers
    work = sums.n * sums.groups * sums.m * sums.taps() * math.prod(y.shape[2:]) * (4 if pool else 1)
    step = emitter.emit("conv_positions" if wide else "conv_channels", words, work)
    step.epilogue = epilogue
    return step


def pack(w: np.ndarray, sums: Sums, block: int, lanes: int) -> np.ndarray:
    """Weights of all phases as op_conv_positions.h (`lanes` 0) or op_conv_channels.h has them, 64-byte aligned."""
    g, c, m = sums.groups, sums.channels, sums.m
    w = w.reshape(g, *((c, m) if sums.transposed else (m, c)), -1, w.shape[-1])
    if sums.transposed:
        w = w.swapaxes(1, 2)
    size, room = (block * lanes, -(-m // lanes) * lanes) if lanes else (block, m)
    if sums.packed is None:
        parts = [
            w[:, :, :, rows.taken, :][..., columns.taken].reshape(g, m, -1).swapaxes(1, 2)
            for rows in sums.rows
            for columns in sums.columns
        ]
    else:
        all_taps = w[:, :, :, sums.packed.taken, :][..., sums.columns[0].taken]
        parts = [all_taps.transpose(0, 1, 3, 2, 4).reshape(g, m, -1).swapaxes(1, 2)]
    packed = memory(g * room * sum([part.shape[1] for part in parts]))
    n_blocks = m // size
    whole = n_blocks * size
    at = 0
    for part in parts:
        k = part.shape[1]
        place = packed[at : at + g * room * k].reshape(g, room * k)
        blocks = place[:, : whole * k].reshape(g, n_blocks, k, size)
        blocks[...] = part[:, :, :whole].reshape(g, k, n_blocks, size).swapaxes(1, 2)
        if whole < room:
            rest = place[:, whole * k :].reshape(g, k, room - whole)
            rest[:, :, : m - whole] = part[:, :, whole:]
            rest[:, :, m - whole :] = 0
        at += g * room * k
    return packed
