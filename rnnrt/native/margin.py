"""An input as windows read it: the tensor itself, or a copy with a margin, taken apart by the stride of its last axis."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .emitter import Emitter, Word
from .tensor import Tensor
from .taps import Phase, distances, margins

MOST = 2**31 - 1
"""Distances between taps are int32."""


class Planes(NamedTuple):
    """Planes (N, C, H, W) in memory: `piece` > 1 says that a row is that many pieces of `pitch` elements.

    Element ``w`` of a row then is number ``w // piece`` of piece ``w % piece``. `top` and `left` are the margins.
    """

    tensor: Tensor
    n: int
    c: int
    h: int
    w: int
    strides: tuple[int, int, int, int]
    top: int = 0
    left: int = 0
    piece: int = 1
    pitch: int = 0

    def row(self, h: int) -> int:
        """Distance of row `h` from the first."""
        return (h + self.top) * self.strides[2]

    def column(self, w: int) -> int:
        """Distance of element `w` of a row from the row's beginning."""
        w += self.left
        return w % self.piece * self.pitch + w // self.piece if self.piece > 1 else w * self.strides[3]

    def taps(self, channels: int, rows: Phase, columns: Phase) -> np.ndarray:
        """Distances of all taps, int32 (channels * rows * columns,)."""
        if not rows.n_taps or not columns.n_taps:
            return distances(0, 0, (0,), (0,))
        down = tuple(self.row(rows.start + t * rows.start_step) for t in range(rows.n_taps))
        right = tuple(self.column(columns.start + t * columns.start_step) for t in range(columns.n_taps))
        return distances(channels, self.strides[1], down, right)


def planes_of(x: Tensor) -> Planes:
    """An input of one or two spatial axes."""
    if x.ndim == 3:
        return Planes(x, *x.shape[:2], 1, x.shape[2], (*x.strides[:2], 0, x.strides[2]))
    return Planes(x, *x.shape, x.strides)


def with_margin(
    emitter: Emitter, x: Planes, rows: list[Phase], columns: list[Phase], piece: int, copy: bool, fill: float = 0.0
) -> Planes:
    """The planes with the margins that the phases read; the same ones if none are needed and `copy` is false.

    A copy is readable for a vector past its end.
    """
    top, bottom = margins(rows, x.h)
    left, right = margins(columns, x.w)
    if not (copy or top or bottom or left or right or piece > 1):
        return x
    height, width = top + x.h + bottom, left + x.w + right
    pitch = -(-width // piece)
    row = piece * pitch
    target = emitter.scratch(4 * (x.n * x.c * height * row + emitter.lanes))
    words: list[Word] = [x.tensor, target, fill, x.n, x.c, x.h, *x.strides, top, height, pitch, piece]
    for q in range(piece):
        low = min(max(-((q - left) // piece), 0), pitch)
        words += (low, max(min((x.w - 1 + left - q) // piece + 1, pitch) - low, 0), low * piece + q - left)
    emitter.emit("conv_pad", words, x.n * x.c * height * row)
    strides = (x.c * height * row, height * row, row, 1)
    return Planes(target, x.n, x.c, x.h, x.w, strides, top, left, piece, pitch)
