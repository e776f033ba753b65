"""An input as windows read it: the tensor itself, or a copy with a margin, its last axis taken apart by the stride."""

from __future__ import annotations

from typing import NamedTuple

from .emitter import Emitter, Word
from .taps import Phase, Phases, Table, margins
from .tensor import Tensor

MOST = 2**31 - 1
"""Distances between taps are int32."""

MOST_STRIDE = 1 << 12
"""A copy has a piece for each element of a stride; larger ones are left to the NumPy tier."""


class Planes(NamedTuple):
    """Planes (N, C, H, W) in memory: `piece` > 1 says that rows lie in that many pieces, `apart` elements each.

    Element ``w`` of a row then is number ``w // piece`` of its piece ``w % piece``. `top` and `left` are the margins.
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
    apart: int = 0

    def taps(self, channels: int, rows: Phase, columns: Phase) -> Table:
        """Where all taps of a phase lie, for `distances`."""
        _, apart, down, right = self.strides
        first, step, piece = rows.start + self.top, rows.start_step, self.piece
        vertical = [(first + t * step) * down for t in range(rows.n_taps)]
        first, step = columns.start + self.left, columns.start_step
        across = [first + t * step for t in range(columns.n_taps)]
        across = [w % piece * self.apart + w // piece for w in across] if piece > 1 else [w * right for w in across]
        return channels, apart, tuple(vertical), tuple(across)


def planes_of(x: Tensor) -> Planes:
    """An input of one or two spatial axes."""
    if x.ndim == 3:
        (n, c, w), (xn, xc, xw) = x.shape, x.strides
        return Planes(x, n, c, 1, w, (xn, xc, 0, xw))
    (n, c, h, w), (xn, xc, xh, xw) = x.shape, x.strides
    return Planes(x, n, c, h, w, (xn, xc, xh, xw))


def cropped(x: Planes, rows: Phases) -> tuple[Planes, Phases]:
    """The planes with no more than the rows that are read, if there is one row of outputs."""
    if len(rows) > 1 or rows[0].count > 1 or not rows[0].n_taps:
        return x, rows
    phase = rows[0]
    if phase.start == 0 and phase.start_step == 1 and phase.n_taps == x.h:
        return x, rows
    n, c, _, w = x.strides
    tensor = x.tensor
    at = tensor.offset + phase.start * x.strides[2]
    view = Tensor(tensor.dtype, tensor.shape, tensor.strides, tensor.buffer, at)
    strides = (n, c, phase.start_step * x.strides[2], w)
    return x._replace(tensor=view, h=phase.n_taps, strides=strides), (phase._replace(start=0, start_step=1),)


class Margin(NamedTuple):
    """A copy with margins, or of a band of rows at a time: `words` are those of an ``rt_conv_pad`` after `fill`.

    Of a plane, `size` elements in `rows` rows; `bands` of them, each for `run` rows of outputs.
    """

    words: list[Word]
    rows: int
    size: int
    top: int
    left: int
    pitch: int
    piece: int
    bands: int
    run: int

    def planes(self, x: Planes, target: Tensor) -> Planes:
        """What the copy of all planes looks like."""
        strides = (x.c * self.size, self.size, self.pitch, 1)
        return Planes(target, x.n, x.c, x.h, x.w, strides, self.top, self.left, self.piece, self.rows * self.pitch)


def margin(
    x: Planes, rows: Phases, columns: Phases, piece: int, copy: bool, most: int = 0, unit: int = 1
) -> Margin | None:
    """The copy that the phases need; None if they read nothing but the planes, and `copy` is false.

    Where there are `most` and one phase of rows, a copy of all channels has no more elements, if it can, but is of the
    rows that some rows of outputs read, a multiple of `unit`.
    """
    top, bottom = margins(rows, x.h)
    left, right = margins(columns, x.w)
    if not (copy or top or bottom or left or right or piece > 1):
        return None
    height, pitch = top + x.h + bottom, -(-(left + x.w + right) // piece)
    bands, run, step = 1, 0, 0
    if most and len(rows) == 1 and rows[0].n_taps and x.c * height * pitch * piece > most:
        phase = rows[0]
        ends = phase.start, phase.start + (phase.n_taps - 1) * phase.start_step
        reach = max(ends) - min(ends) + 1
        run = max((most // (x.c * pitch * piece) - reach) // phase.stride + 1, 1)
        bands = -(-phase.count // run)
        if bands > 1:
            run = -(-phase.count // (bands * unit)) * unit
            bands = -(-phase.count // run)
            top, height, step = -min(ends), (run - 1) * phase.stride + reach, run * phase.stride
    words: list[Word] = [x.n, x.c, x.h, *x.strides, top, height, step, pitch, piece]
    for q in range(piece):
        low = min(max(-((q - left) // piece), 0), pitch)
        words += (low, max(min((x.w - 1 + left - q) // piece + 1, pitch) - low, 0), low * piece + q - left)
    return Margin(words, height, height * pitch * piece, top, left, pitch, piece, bands, run)


def with_margin(
    emitter: Emitter, x: Planes, rows: Phases, columns: Phases, piece: int, copy: bool, fill: float = 0.0
) -> Planes:
    """The planes with the margins that the phases read; the same ones if none are needed and `copy` is false.

    A copy is readable for a vector past its end.
    """
    found = margin(x, rows, columns, piece, copy)
    if found is None:
        return x
    size = x.n * x.c * found.size
    target = emitter.scratch(4 * (size + emitter.lanes))
    emitter.emit("conv_pad", [x.tensor, target, fill, *found.words], size)
    return found.planes(x, target)
