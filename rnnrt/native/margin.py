"""Planes that windows read, in memory: where they lie, and their copies with margins."""

from __future__ import annotations

from functools import lru_cache

from .._core import windows
from .._core.windows import Phase, Planes, margin
from .emitter import Emitter
from .tensor import Tensor, constant

Phases = tuple[Phase, ...]


@lru_cache(maxsize=512)
def distances(table: tuple[int, ...], rows_first: bool) -> Tensor:
    """:func:`rnnrt._core.windows.distances` of the taps of all phases."""
    return constant(windows.distances(table, rows_first))


def cropped(x: Planes, phase: Phase) -> tuple[Planes, Phases]:
    """The planes with no more than the rows that one row of outputs reads, and its phase over these."""
    n, c, h, w = x.strides
    tensor = x.tensor
    view = Tensor(tensor.dtype, tensor.shape, tensor.strides, tensor.buffer, tensor.offset + phase.start * h)
    planes = Planes(view, x.n, x.c, phase.n_taps, x.w, (n, c, phase.start_step * h, w))
    return planes, (phase.changed(start=0, start_step=1),)


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
