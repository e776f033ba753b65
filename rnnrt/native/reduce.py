"""Reductions over axes, ArgMax and ArgMin, running sums, as steps of op_reduce.h and op_scan.h."""

from __future__ import annotations

import math

import numpy as np

from .._core.program import joined
from ..graph import Node
from .emitter import FLOAT, Emitter, Word
from .registry import native
from .tensor import Shape, Tensor

ROWS, COLUMNS, PAIRS = range(3)
SUM, ABS, SQUARE, MAX, MIN, PRODUCT, EXP = range(7)
NONE, DIVIDE, SQRT, LOG, FINITE, LOG_PLUS = range(6)
AXES = 6
KIND = 4
"""Where in the words of a step its kind stands, and how it ends."""
SHORT = 16
"""Rows of fewer elements are taken side by side, an element of each in a vector."""

KINDS = {
    "ReduceSum": (SUM, NONE),
    "ReduceMean": (SUM, DIVIDE),
    "ReduceMax": (MAX, NONE),
    "ReduceMin": (MIN, NONE),
    "ReduceProd": (PRODUCT, NONE),
    "ReduceL1": (ABS, NONE),
    "ReduceL2": (SQUARE, SQRT),
    "ReduceSumSquare": (SQUARE, NONE),
    "ReduceLogSum": (SUM, LOG),
    "ReduceLogSumExp": (EXP, LOG_PLUS),
}
INTEGER = {"ReduceSum": 0, "ReduceL1": 1, "ReduceSumSquare": 2, "ReduceMax": 3, "ReduceMin": 4, "ReduceProd": 5}
ELEMENTS = {FLOAT: 0, np.dtype(np.int32): 1, np.dtype(np.int64): 2}
INT64 = np.dtype(np.int64)
REVERSE, EXCLUSIVE, CUMULATE_PRODUCT = 1, 2, 4
LAST, LEAST = 1, 2


@native(*KINDS)
def reduce(emitter: Emitter, node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor | None:
    """The reduction that the operator's name says."""
    over = _over(node, x, axes)
    if over is None or not x.size:
        return None
    keep = bool(node.attrs.get("keepdims", 1))
    shape = tuple(1 if k in over else n for k, n in enumerate(x.shape) if keep or k not in over)
    if x.dtype != FLOAT:
        return _integers(emitter, node.op, x, over, shape)
    kind, finish = KINDS[node.op]
    y, shift = emitter.empty(shape), None
    if _both_extremes(emitter, x, y, kind):
        return y
    if kind == EXP:
        shift = emitter.empty(shape)
        if not emit_reduce(emitter, x, over, shift, MAX, FINITE):
            return None
    return y if emit_reduce(emitter, x, over, y, kind, finish, shift) else None


def _both_extremes(emitter: Emitter, x: Tensor, y: Tensor, kind: int) -> bool:
    """Whether the step before, which finds one extreme of all of x, now finds this one in the same pass."""
    before = emitter.steps[-1] if emitter.steps else None
    if kind not in (MIN, MAX) or y.size != 1 or before is None or before.op != "reduce" or before.words[0] is not x:
        return False
    other, form = before.words[1], before.words[KIND : KIND + 2]
    if type(other) is not Tensor or other.size != 1 or form != [MIN + MAX - kind, NONE] or not x.contiguous():
        return False
    before.op, before.words = "extremes", [x, *((y, other) if kind == MIN else (other, y)), x.size]
    return True


def _over(node: Node, x: Tensor, axes: Tensor | None) -> set[int] | None:
    """The axes to reduce, or None if they are not known, or wrong."""
    if axes is None or not axes.size:
        return set() if node.attrs.get("noop_with_empty_axes", 0) else set(range(x.ndim))
    if axes.value is None or axes.ndim > 1 or axes.dtype.kind != "i":
        return None
    given = axes.value.reshape(-1).tolist()
    if any(not -x.ndim <= axis < x.ndim for axis in given):
        return None
    over = {axis % x.ndim for axis in given}
    return over if len(over) == len(given) else None


def emit_reduce(
    emitter: Emitter, x: Tensor, over: set[int], y: Tensor, kind: int, finish: int, shift: Tensor | None = None
) -> bool:
    """Emit the step that reduces x to y, a contiguous tensor; False, with nothing emitted, for too many axes."""
    kept, reduced = _axes(x, over, False), _axes(x, over, True)
    if len(kept) > AXES or len(reduced) > AXES:
        return False
    count = math.prod(n for n, _ in reduced)
    form, (n, stride), kept, reduced = _form(emitter.lanes, kept, reduced, kind)
    words: list[Word] = [x, y, shift or y, form, kind, finish, float(count), n, stride, len(kept), len(reduced)]
    for axes in (kept, reduced):
        for size, step in axes:
            words += (size, step)
        words += [0] * (2 * (AXES - len(axes)))
    emitter.emit("reduce", words, x.size)
    return True


def _axes(x: Tensor, over: set[int], reduced: bool) -> Axes:
    """``(size, stride)`` of the kept or the reduced axes, neighbours joined where they are one run."""
    sizes, strides = x.shape, x.strides
    return joined([(sizes[k], strides[k]) for k in range(len(sizes)) if (k in over) == reduced], 1)


Axes = list[tuple[int, ...]]


def _form(lanes: int, kept: Axes, reduced: Axes, kind: int) -> tuple[int, tuple[int, ...], Axes, Axes]:
    """Which axis vectors run along, and the axes that are left."""
    last = kept[-1] if kept else (1, 0)
    if len(reduced) == 1 and reduced[0] == (2, 1) and last[1] == 2 and kind != EXP:
        return PAIRS, last, kept[:-1], []
    run = next((axis for axis in reduced if axis[1] == 1), None)
    if run is not None and (run[0] >= SHORT or last[0] < lanes // 2):
        return ROWS, run, kept, [axis for axis in reduced if axis is not run]
    if kept and (last[1] == 1 or last[0] >= lanes // 2 or not reduced):
        return COLUMNS, last, kept[:-1], reduced or [(1, 0)]
    run = max(reduced, default=(1, 1))
    return ROWS, run, kept, [axis for axis in reduced if axis is not run]


def _integers(emitter: Emitter, op: str, x: Tensor, over: set[int], shape: Shape) -> Tensor | None:
    """int32 and int64, over neighbouring axes."""
    kind, element = INTEGER.get(op), ELEMENTS.get(x.dtype)
    if kind is None or element is None:
        return None
    begin, end = (min(over), max(over) + 1) if over else (0, 0)
    if any(n != 1 for k, n in enumerate(x.shape[begin:end], begin) if k not in over):
        return None
    y, outer, n, inner = emitter.empty(shape, x.dtype), *_around(x.shape, begin, end)
    emitter.emit("reduce_int", [emitter.contiguous(x), y, outer, n, inner, element, kind], x.size)
    return y


def _around(shape: Shape, begin: int, end: int) -> tuple[int, int, int]:
    """Elements before, in and behind the axes from `begin` to `end`."""
    return math.prod(shape[:begin]), math.prod(shape[begin:end]), math.prod(shape[end:])


@native("ArgMax", "ArgMin")
def arg(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """int64 index of the extremum along an axis."""
    axis, element = int(node.attrs.get("axis", 0)), ELEMENTS.get(x.dtype)
    if element is None or not -x.ndim <= axis < x.ndim or not x.shape[axis]:
        return None
    axis %= x.ndim
    shape = (*x.shape[:axis], *((1,) if node.attrs.get("keepdims", 1) else ()), *x.shape[axis + 1 :])
    y = emitter.empty(shape, INT64)
    if y.size:
        flags = (LAST if node.attrs.get("select_last_index", 0) else 0) | (LEAST if node.op == "ArgMin" else 0)
        words: list[Word] = [emitter.contiguous(x), y, *_around(x.shape, axis, axis + 1), element, flags]
        emitter.emit("arg", words, x.size)
    return y


@native("CumSum", "CumProd")
def cumulate(emitter: Emitter, node: Node, x: Tensor, axis: Tensor) -> Tensor | None:
    """Running sums or products along an axis."""
    element = ELEMENTS.get(x.dtype)
    if element is None or axis.value is None or axis.value.size != 1 or axis.dtype.kind not in "iu":
        return None
    along = int(axis.value.item())
    if not -x.ndim <= along < x.ndim:
        return None
    y = emitter.empty(x.shape, x.dtype)
    if x.size:
        flags = (REVERSE if node.attrs.get("reverse", 0) else 0) | (EXCLUSIVE if node.attrs.get("exclusive", 0) else 0)
        flags |= CUMULATE_PRODUCT if node.op == "CumProd" else 0
        along %= x.ndim
        words: list[Word] = [emitter.contiguous(x), y, *_around(x.shape, along, along + 1), element, flags]
        emitter.emit("cumulate", words, x.size)
    return y
