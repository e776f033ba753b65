"""Loop and Scan as steps: where the number of iterations is known, and all of the body is native steps.

Any other is a call that runs the iterations natively if it can (``Program.repeat``), and else one after the other
(:mod:`rnnrt.control`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._core.program import RepeatedBody, Segment, known_integer
from ..control import Loop, Repeated, Scan
from ..ops.limits import check_size
from .emitter import Emitter, Word
from .tensor import Shape, Tensor

MOST_WORK = 1e9
"""Of all iterations together, about a second: a step cannot be interrupted."""

_CALLING = 100  # the work of calling a step

Results = tuple[Tensor | None, ...]


def repeated(emitter: Emitter, what: Repeated, given: Sequence[Any]) -> Results | None:
    """The outputs of a Loop or Scan that goes as one step; None, and nothing emitted, of any other."""
    if any(type(t) is not Tensor or t.dtype.kind == "O" for t in given if t is not None):
        return None
    if isinstance(what, Loop):
        return _loop(emitter, what, given)
    return _scan(emitter, what, given) if isinstance(what, Scan) else None


def _loop(emitter: Emitter, what: Loop, given: Sequence[Tensor | None]) -> Results | None:
    n, condition = known_integer(given[0]), given[1]
    if n is None or n < 1 or not (condition is None or (condition.value is not None and condition.value.all())):
        return None
    number, going = what.own(0)
    start = [(number.dtype, number.shape), going]
    first = 2 + what.n_carried
    return _Repetition(what, n, given[2:first], [], what.pick(given[first:])).emit(emitter, start)


def _scan(emitter: Emitter, what: Scan, given: Sequence[Tensor | None]) -> Results | None:
    first = what.n_carried + what.n_scanned
    scanned = list(zip(given[what.n_carried : first], what.in_axes, what.in_back, strict=True))
    if any(t is None or not -t.ndim <= axis < t.ndim for t, axis, _ in scanned):
        return None
    slices = [_Slices(t, axis, back) for t, axis, back in scanned if t is not None]
    lengths = {s.n for s in slices}
    if len(lengths) != 1 or 0 in lengths:
        return None
    outer = what.pick(given[first:])
    return _Repetition(what, lengths.pop(), given[: what.n_carried], slices, outer).emit(emitter, [])


class _Slices:
    """A tensor cut along an axis.

    Attributes
    ----------
    n
        How many slices.
    shape
        Of each.
    step
        Bytes from one to the next, in the order of the iterations.
    """

    def __init__(self, tensor: Tensor, axis: int, back: bool) -> None:
        self.tensor, self.axis, self.back = tensor, axis % tensor.ndim, back
        self.n = tensor.shape[axis]
        self.rest = [k for k in range(tensor.ndim) if k != self.axis]
        self.shape: Shape = tuple([tensor.shape[k] for k in self.rest])
        self.step = 0

    def first(self, emitter: Emitter) -> Tensor:
        """The first slice, contiguous as all of them, in a copy of the tensor if need be."""
        tensor = self.tensor.force(emitter)
        strides = tuple([tensor.strides[k] for k in self.rest])
        moved = emitter.view(tensor, (self.n, *self.shape), (tensor.strides[self.axis], *strides))
        if not emitter.view(tensor, self.shape, strides).contiguous():
            moved = emitter.copy(moved)
        stride = moved.strides[0]
        self.step = (-stride if self.back else stride) * moved.dtype.itemsize
        return emitter.view(moved, self.shape, moved.strides[1:], (self.n - 1) * stride if self.back else 0)


class _Repetition:
    """A Loop or Scan of `n` iterations, and what goes into it."""

    def __init__(
        self, what: Repeated, n: int, carried: Sequence[Tensor | None], slices: list[_Slices], outer: Sequence[Any]
    ) -> None:
        self.what, self.n, self.carried, self.slices, self.outer = what, n, carried, slices, outer

    def emit(self, emitter: Emitter, start: list[Any]) -> Results | None:
        """Emit the step, if it can be one; `start` are the first inputs of the body, that are not given to the node."""
        carried = [t for t in self.carried if t is not None]
        if len(carried) < len(self.carried) or None in self.outer:
            return None
        entries = [*start, *((t.dtype, t.shape) for t in carried), *((s.tensor.dtype, s.shape) for s in self.slices)]
        entries += [t.value if t.value is not None else (t.dtype, t.shape) for t in self.outer]
        segment = self.what.body.binding.whole(entries)
        n_own = 1 if start else 0
        work = 0 if segment is None else self.n * (segment.work + _CALLING * segment.n_steps)
        if segment is None or work > MOST_WORK or not _goes_on(segment, carried, n_own):
            return None
        taken = [emitter.contiguous(t.force(emitter)) for t in carried]
        taken += [s.first(emitter) for s in self.slices]
        taken += [emitter.contiguous(t.force(emitter)) for t in self.outer]
        outputs = segment.terminal.outputs[n_own:]
        made = [emitter.empty(t.shape, t.dtype) for t in carried]
        stacks = [self._stack(emitter, k, *entry) for k, entry in enumerate(outputs[len(carried) :])]
        body = RepeatedBody(
            segment, self.n, len(carried), n_own == 1,
            [s.step for s in self.slices], [s.step for s in stacks], len(entries),
        )  # fmt: skip
        words: list[Word] = [
            body.address,
            emitter.scratch(body.size),
            *taken,
            *made,
            *(s.first(emitter) for s in stacks),
        ]
        step = emitter.emit(body.function, words, work)
        step.name, step.body = "repeat", (segment, self.n)
        step.threads = emitter.threads if body.threads else 1
        emitter.keep.append(body)
        return (*made, *(s.tensor for s in stacks))

    def _stack(self, emitter: Emitter, k: int, dtype: np.dtype, shape: Shape) -> _Slices:
        """The k-th stacked output, as the node has it."""
        what = self.what
        axis, back = (what.out_axes[k], what.out_back[k]) if isinstance(what, Scan) else (0, False)
        check_size((self.n, *shape), dtype, what.label)
        y = emitter.empty((self.n, *shape), dtype)
        axis %= y.ndim
        order = [*range(1, axis + 1), 0, *range(axis + 1, y.ndim)]
        moved = emitter.view(y, tuple([y.shape[k] for k in order]), tuple([y.strides[k] for k in order]))
        slices = _Slices(moved, axis, back)
        slices.step = (-y.strides[0] if back else y.strides[0]) * dtype.itemsize
        return slices


def _goes_on(segment: Segment, carried: list[Tensor], n_own: int) -> bool:
    """Whether a body hands on what it takes, for as long as it is asked."""
    outputs, known = segment.terminal.outputs, segment.terminal.known
    if None in outputs or outputs[n_own : n_own + len(carried)] != [(t.dtype, t.shape) for t in carried]:
        return False
    return not n_own or (known[0] is not None and bool(known[0].all()))
