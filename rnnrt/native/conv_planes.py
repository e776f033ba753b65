"""Depthwise convolutions, plain and transposed: every plane by itself (op_conv_planes.h)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .._core.windows import Phase, Planes, Sums, margin
from .emitter import Emitter, Word
from .margin import distances
from .tensor import Tensor, aligned, c_strides, whole_lines

LINE = 1024
"""Elements of a line of several rows, at most: with a plane's rows it stays in the first-level cache."""


BATCH = 4096
"""Elements of planes that are copied at a time, at most."""


class Lines(NamedTuple):
    """How the outputs of a phase are computed: `run` rows a line, which goes to the output as it is if `direct`."""

    run: int
    direct: bool
    length: int


def lines(rows: Phase, columns: Phase, step: int, lanes: int) -> Lines:
    """The lines of a phase whose rows begin `step` elements apart."""
    height, width = rows.count, columns.count
    run = 1
    if rows.stride == 1 and step == width:
        run = height
    elif rows.stride == 1 and width < step and width < 2 * lanes:
        run = min(height, max(LINE // step, 1))
    length = (run - 1) * step + width
    return Lines(run, columns.step == 1 and (run == 1 or step == width) and length >= lanes, length)


def convolve_planes(
    emitter: Emitter, x: Planes, w: Tensor, b: Tensor | None, sums: Sums, shape: tuple[int, ...]
) -> Tensor:
    """Emit the step for an output of `shape`."""
    assert w.value is not None
    lanes, stride = emitter.lanes, sums.columns[0].stride
    grid = [(rows, columns) for rows in sums.rows for columns in sums.columns]
    short = any(
        columns.count < lanes and lines(rows, columns, rows.stride * x.strides[2], lanes).run * columns.count < lanes
        for rows, columns in grid
    )
    partial = any(columns.count < lanes and x.strides[2] != columns.count for _, columns in grid)
    copy = margin(x, sums.rows, sums.columns, stride, short or partial or x.strides[3] != 1)
    planes = x if copy is None else copy.planes(x, x.tensor)
    step = sums.rows[0].stride * planes.strides[2]
    phases: list[Word] = []
    table: list[int] = []
    weights = at = longest = 0
    for rows, columns in grid:
        n_taps = rows.n_taps * columns.n_taps
        line = lines(rows, columns, step, lanes)
        phases += (0, rows.first * shape[-1] + columns.first, weights, at, n_taps)
        phases += (rows.count, columns.count, line.run, int(line.direct))
        table += planes.taps(1, rows, columns)
        longest = max(longest, line.length)
        weights += sums.groups * n_taps
        at += n_taps
    y = emitter.empty(shape)
    apart = 0 if copy is None else whole_lines(copy.size + lanes)
    batch = min(max(BATCH // apart, 1), 64) if apart else sums.n * sums.groups
    start = batch * apart if apart else 0
    size = start + whole_lines(longest + lanes)
    words: list[Word] = [
        x.tensor,
        y,
        emitter.packed(("planes", *sums.packing()), w.value, lambda value: pack(value, sums)),
    ]
    words += [0, 0] if b is None else [emitter.contiguous(b)]
    words += [distances(tuple(table), False), emitter.scratch(4 * size * emitter.threads)]
    epilogue = len(words)
    yn, yc, *_ = c_strides(shape)
    words += [-1, 0.0, 0.0, sums.n, sums.groups, x.strides[0], x.strides[1], step, yn, yc]
    words += [sums.rows[0].step * shape[-1], sums.columns[0].step]
    n_tensors = 5 + (b is not None)
    n_words = len(words) + n_tensors + 6 + len(phases)
    words += [0 if copy is None else n_words, batch, apart, start, size, len(grid), *phases]
    if copy is not None:
        words += [0, 0, 0, 0, 0.0, *copy.words]
    step_of_y = emitter.emit("conv_planes", words, math.prod(shape) * sums.taps())
    step_of_y.epilogue = epilogue
    y.producer = step_of_y
    return y


def pack(w: np.ndarray, sums: Sums) -> np.ndarray:
    """Weights by phases: (phases, C, taps) in one row."""
    w = w.reshape(sums.groups, -1, w.shape[-1])
    parts = [w[:, rows.taken][:, :, columns.taken].ravel() for rows in sums.rows for columns in sums.columns]
    return aligned(np.concatenate(parts))
