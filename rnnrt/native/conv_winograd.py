"""Convolutions of 3x3 taps by Winograd's minimal filtering (op_conv_winograd.h), which needs 16 products for 36."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .._core.windows import Planes, Sums
from .emitter import Emitted, Emitter, Word
from .tensor import Tensor, c_strides, memory, whole_lines

KINDS = 16
"""Products of a patch and a channel."""

ROOM = 1 << 18
"""Floats that the inputs and products of a group of patches should not exceed, so that they stay in the L2 cache."""

CACHE = 1 << 20
"""Bytes of weights that stay in the L2 cache."""

CYCLE_L2, CYCLE_L3 = 40, 8
"""Bytes of weights that come in a clock cycle, from L2 and from beyond, while products are computed."""

LARGEST = 1e36
"""Weights above it are left to sums over taps."""

LINE = 16
"""Floats of a cache line: kinds lie one more apart than they need, or all would meet in the same sets of the cache."""


class Patches(NamedTuple):
    """How patches, 2x2 outputs each, are taken: see op_conv_winograd.h."""

    rows: int
    columns: int
    run: int
    bands: int
    slab: int
    slabs: int
    join: int

    @property
    def most(self) -> int:
        """Patches of a group, at most."""
        return self.join * self.run * self.slab


def suits(emitter: Emitter, w: Tensor) -> bool:
    """Whether weights are finite, with some room for their sums, and no whole numbers.

    Those stand for quantised ones, whose sums over taps are exact, and have to be.
    """
    assert w.value is not None
    return bool(emitter.packed("suits patches", w.value, _suit).value)


def _suit(w: np.ndarray) -> np.ndarray:
    moderate = w.min() > -LARGEST and w.max() < LARGEST
    return np.array(bool(moderate) and not (_whole(w[:1]) and _whole(w)))  # a channel tells of nearly all


def _whole(w: np.ndarray) -> bool:
    return np.array_equal(w, np.rint(w))


def patches(sums: Sums, width: int) -> Patches:
    """The patches of all outputs, where a panel has `width` output channels."""
    rows, columns = -(-sums.rows[0].count // 2), -(-sums.columns[0].count // 2)
    most = max(ROOM // (KINDS * (sums.channels + width)), 8)
    slab, slabs = _even(columns, most)
    run, bands = _even(rows, most // slab)
    join = _even(sums.n, most // (slab * run))[0] if bands == slabs == 1 else 1
    return Patches(rows, columns, run, bands, slab, slabs, join)


def _even(n: int, most: int) -> tuple[int, int]:
    """`n` in as few pieces as `most` allows, as equal as can be: the size of one, and how many there are."""
    pieces = -(-n // max(most, 1))
    size = -(-n // pieces)
    return size, -(-n // size)


def cost(lanes: int, sums: Sums, block: int, panels: int, vectors: int) -> float:
    """Clock cycles, on the scale of the other tilings."""
    p = patches(sums, block * lanes)
    count, units = sums.n * p.rows * p.columns, sums.n * p.bands * p.slabs
    wide = -(-p.slab // lanes)
    inputs = sums.channels * units * ((4 * p.run + 4) * (8 + 2 * wide) + p.run * wide * 60)
    products = KINDS * (sums.channels * count * vectors / 2 + panels * -(-count // 6) * 40)
    size = KINDS * sums.channels * vectors * lanes * 4
    fetched = -(-units // p.join) * size / (CYCLE_L2 if size <= CACHE else CYCLE_L3)
    return inputs + max(products, fetched) + count * (40 * vectors + 2 * sums.m)


def transformed(packed: np.ndarray, channels: int, m: int, width: int, lanes: int) -> np.ndarray:
    """Weights as patches take them, of those packed for op_conv_channels.h: `m` channels in panels of `width`."""
    found = memory(packed.size // 9 * KINDS)
    whole = m // width * width
    rest = -(-(m - whole) // lanes) * lanes
    for panels, size, at in ((whole // width, width, 0), (1, rest, whole)):
        if panels and size:
            taps = packed[at * channels * 9 :][: panels * size * channels * 9].reshape(panels, channels, 3, 3, size)
            kinds = found[at * channels * KINDS :][: panels * size * channels * KINDS]
            _transform(taps, kinds.reshape(panels, 4, 4, channels, size))
    return found


def _transform(taps: np.ndarray, kinds: np.ndarray) -> None:
    """``kinds[:, i, j] = (G g G')[i, j]`` for g = ``taps[:, :, i, j]``."""
    for i, row in enumerate(_filtered([taps[:, :, k] for k in range(3)])):
        for j, kind in enumerate(_filtered([row[:, :, k] for k in range(3)])):
            kinds[:, i, j] = kind


def _filtered(g: list[np.ndarray]) -> Iterator[np.ndarray]:
    """G g."""
    yield g[0]
    ends = (g[0] + g[2]) * np.float32(0.5)
    middle = g[1] * np.float32(0.5)
    yield ends + middle
    yield ends - middle
    yield g[2]


def emit(
    emitter: Emitter,
    x: Planes,
    b: Tensor | None,
    weights: Tensor,
    y: Tensor,
    sums: Sums,
    block: int,
    panels: int,
    pool: bool = False,
) -> Emitted:
    """Emit the step for output `y`, with `weights` for panels of `block` vectors.

    With `pool`, y holds the largest of each patch.
    """
    width, n, c = block * emitter.lanes, sums.n, sums.channels
    p = patches(sums, width)
    ld = whole_lines(p.most + emitter.lanes)
    copy = whole_lines(2 * (2 * p.run + 2) * (p.slab + 1) + 2 * emitter.lanes)
    apart = c * ld + LINE, p.most * width + LINE
    size = copy + KINDS * sum(apart)
    words: list[Word] = [x.tensor, y, weights]
    words += [0, 0] if b is None else [emitter.contiguous(b)]
    words.append(emitter.scratch(4 * size * emitter.threads))
    epilogue = len(words)
    yn, ym, yh, _ = c_strides(y.shape)
    words += [-1, 0.0, 0.0, n, c, x.h, x.w, *x.strides, -sums.rows[0].start, -sums.columns[0].start]
    words += [sums.m, sums.rows[0].count, sums.columns[0].count, int(pool), yn, ym, yh, block, panels]
    words += [p.run, p.bands, p.slab, p.slabs, p.join, ld, copy, *apart, size]
    step = emitter.emit("conv_winograd", words, math.prod(y.shape) * sums.taps() * (4 if pool else 1))
    step.epilogue = epilogue
    return step
