"""MaxPool, AveragePool and the global pools of float32 in one and two dimensions (op_pool.h)."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from .._core.windows import SINGLE, Phase, Planes, margins, plain, planes_of
from ..graph import Node
from ..ops.arguments import integer
from ..ops.windows import Layout, Windows
from .emitter import FLOAT, Convolution, Emitter, Word
from .margin import distances, with_margin
from .registry import native
from .tensor import Tensor


@native("MaxPool")
def max_pool(emitter: Emitter, node: Node, x: Tensor) -> Tensor | tuple[Tensor, None] | None:
    """MaxPool without indices."""
    if node.output(1):
        return None
    y = windowed(emitter, node, x, None)
    return y if y is None or len(node.outputs) == 1 else (y, None)


@native("AveragePool")
def average_pool(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """AveragePool."""
    return windowed(emitter, node, x, bool(integer(node, "count_include_pad", 0)))


def windowed(emitter: Emitter, node: Node, x: Tensor, include: bool | None) -> Tensor | None:
    """The largest of each window (`include` None), or its mean, which counts padding if `include`."""
    if x.dtype != FLOAT or x.ndim not in (3, 4) or 0 in x.shape:
        return None
    layout = emitter.once("windows", node, Windows).layout(x.shape[2:])
    if include is None and (y := _by_convolution(emitter, x, layout)) is not None:
        return y
    if 0 in layout.out:
        return None
    planes = planes_of(x)
    spatial = zip(x.shape[2:], layout.kernel, layout.strides, layout.dilations, layout.begin, layout.out, strict=True)
    axes = [plain(*axis) for axis in spatial]
    if not all(axes):
        return None
    rows, columns = (axes[0][0], axes[1][0]) if len(axes) == 2 else (SINGLE, axes[0][0])
    largest = include is None
    if not rows.n_taps or not columns.n_taps or not planes.fit((rows,), (columns,), emitter.lanes):
        return None
    high, sides = margins((rows,), planes.h), margins((columns,), planes.w)
    if not any((*high, *sides)):
        planes, rows, columns = _as_one_row(planes, rows, columns)
    n_taps = rows.n_taps * columns.n_taps
    copy, across = columns.count < emitter.lanes or planes.strides[3] != 1, 0
    if _go_apart(columns) and not (copy or any((*high, *sides))):
        across, columns = columns.n_taps, columns.changed(n_taps=1)  # the elements of a window's row go together
    else:
        fill = -math.inf if largest else 0.0
        planes = with_margin(emitter, planes, (rows,), (columns,), columns.stride, copy, fill)
    y = emitter.empty((*x.shape[:2], *layout.out))
    words: list[Word] = [planes.tensor, y, distances(planes.taps(1, rows, columns), False)]
    if largest:
        words += [0, 0]
    else:
        pads = [(b, n + e) for b, e, n in zip(layout.begin, layout.end, x.shape[2:], strict=True)]
        spans = tuple((-b, e) if include else (0, n) for (b, e), n in zip(pads, x.shape[2:], strict=True))
        words.append(
            emitter.constant(counts(layout.kernel, layout.strides, layout.dilations, layout.begin, layout.out, spans))
        )
    words += [int(largest), planes.n, planes.c, rows.count, columns.count, rows.n_taps * columns.n_taps]
    words += [planes.strides[0], planes.strides[1], rows.stride * planes.strides[2], across, columns.stride]
    emitter.emit("pool", words, y.size * n_taps)
    return y


def _by_convolution(emitter: Emitter, x: Tensor, layout: Layout) -> Tensor | None:
    """The output, if the convolution that makes `x`, which nothing else uses, can pool it itself."""
    made: Convolution | None = emitter.convolution
    if made is None or x.producer is not made[0] or emitter.steps[-1] is not made[0] or x.uses != 1:
        return None
    _, shape, pays, pooled = made
    halves = tuple([n // 2 for n in x.shape[2:]])
    plain_ = layout.kernel == layout.strides == (2, 2) and layout.dilations == (1, 1) and layout.begin == (0, 0)
    if x.shape != shape or not x.contiguous() or not plain_ or layout.out != halves or 0 in halves or not pays():
        return None
    before = emitter.steps.pop()
    emitter.label = before.label
    y = emitter.empty((*x.shape[:2], *halves))
    step = pooled(y)
    assert before.epilogue is not None
    assert step.epilogue is not None
    step.words[step.epilogue : step.epilogue + 3] = before.words[before.epilogue : before.epilogue + 3]
    return y


def _as_one_row(planes: Planes, rows: Phase, columns: Phase) -> tuple[Planes, Phase, Phase]:
    """Planes whose windows lie each in a row and cover it: one row of them all, which fills more lanes."""
    apart = rows.n_taps == rows.stride == 1 and rows.start == 0 and rows.count == planes.h
    if not apart or planes.strides[2:] != (planes.w, 1) or planes.w != columns.count * columns.stride:
        return planes, rows, columns
    longer = Planes(planes.tensor, planes.n, planes.c, 1, planes.h * planes.w, planes.strides)
    return longer, SINGLE, columns.changed(count=planes.h * columns.count)


def _go_apart(columns: Phase) -> bool:
    """Whether windows some elements apart are read as they lie, with no margins."""
    return columns.stride > 1 and columns.start_step == 1 and (columns.stride > 2 or columns.n_taps > 1)


@lru_cache(maxsize=64)
def counts(
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    begin: tuple[int, ...],
    out: tuple[int, ...],
    spans: tuple[tuple[int, int], ...],
) -> np.ndarray:
    """How many elements inside `spans` each window holds: float32 (*out)."""
    total = np.ones((), np.float32)
    for k, s, d, b, o, (low, high) in zip(kernel, strides, dilations, begin, out, spans, strict=True):
        reads = np.arange(o)[:, None] * s - b + np.arange(k) * d
        total = total[..., None] * ((reads >= low) & (reads < high)).sum(1, dtype=np.float32)
    return total


@native("GlobalAveragePool", "GlobalMaxPool")
def global_pool(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """The mean or the largest element of each plane."""
    if x.dtype != FLOAT or x.ndim < 2 or 0 in x.shape:
        return None
    y = emitter.empty((*x.shape[:2], *(1,) * (x.ndim - 2)))
    size = math.prod(x.shape[2:])
    plane = emitter.view(x, x.shape[2:], x.strides[2:])
    if not plane.contiguous():
        x = emitter.contiguous(x)
    words: list[Word] = [x, y, int(node.op == "GlobalMaxPool"), *x.shape[:2], size, *x.strides[:2]]
    emitter.emit("pool_all", words, x.size)
    return y
