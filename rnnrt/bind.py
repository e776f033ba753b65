"""Plan + input shapes -> segments: shapes become numbers, shape arithmetic is folded, and values get places in memory.

:class:`Binding` walks the steps of a plan once for given input shapes. What depends on nothing but shapes and constants
is computed now; a step with a native binder (:mod:`rnnrt.native`) emits compiled steps; any other ends the segment with
a call of its function, and what follows is bound when its result is first seen, once for each shape of it. An If whose
condition is known is gone; any other is a branch whose sides are bound in the same way, steps and all that comes after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from . import folded
from ._core import program
from .collector import paused
from .errors import InputError, RnnrtError
from .native.emitter import Emitter
from .native.repeat import repeated
from .native.tensor import ARENA, Buffer, Opaque, Tensor, c_strides, constant
from .ops.limits import quiet
from .records import field, record

if TYPE_CHECKING:
    from .plan import Plan, Step

Signature = tuple[tuple[np.dtype, tuple[int, ...]] | None, ...]
"""For each value: its dtype and shape, or None if it is no array of numbers."""


@record
class End:
    """The outputs: (dtype, shape) of those that are made; of the others the number of an object, or a known array.

    `known` are the arrays of outputs that are the same in every run.
    """

    outputs: list[tuple[np.dtype, tuple[int, ...]] | None]
    objects: list[int | np.ndarray | None]
    known: list[np.ndarray | None]
    first_base: int
    kind: int = 0


@record
class Call:
    """A Python function: ``call`` takes the list of its arguments; `next` binds what follows a signature of results."""

    label: str
    op: str
    tier: str
    call: Callable[[list[Any]], Sequence[Any]]
    arguments: list[Any]
    n_results: int
    first_base: int
    first_object: int
    next: Callable[[Signature], program.Segment]
    outputs: None = None
    kind: int = 1


@record
class Branch:
    """A truth value in memory: base, offset and bytes; `next` binds the side that it chooses."""

    label: str
    condition: tuple[int, int, int]
    next: Callable[[bool], program.Segment]
    first_base: int = 0
    outputs: None = None
    kind: int = 2


@record
class _Level:
    """Where a walk stands in one plan: its values by slot, and the next step."""

    plan: Plan
    values: list[Any]
    at: int = 0


@record
class _Place:
    """Where a walk stands: the plans from the outermost to the one whose step is next, and what is taken so far."""

    levels: list[_Level]
    n_bases: int
    n_objects: int
    held: frozenset[int] = field(default_factory=frozenset)

    def copy(self) -> _Place:
        levels = [_Level(x.plan, list(x.values), x.at) for x in self.levels]
        return _Place(levels, self.n_bases, self.n_objects, self.held)


class Binding:
    """Binds a plan to shapes, segment by segment.

    Parameters
    ----------
    plan
        What is bound.
    threads
        Threads that a step may use.
    """

    def __init__(self, plan: Plan, threads: int = 1) -> None:
        self.plan, self.threads = plan, threads
        self._packed: dict[Any, Any] = {}
        self._branches: dict[tuple[int, bool], tuple[Plan, tuple[int, ...]]] = {}
        self._folder = program.Folder(folded.kind, folded.results)

    def start(self, signature: Signature) -> program.Segment:
        """The first segment for inputs of these dtypes and shapes."""
        return self._first(signature)

    def whole(self, entries: Sequence[tuple[np.dtype, tuple[int, ...]] | np.ndarray]) -> program.Segment | None:
        """The one segment for inputs of these dtypes and shapes, or of known arrays; None if there are several."""
        segment = self._first(entries)
        return segment if type(segment.terminal) is End else None

    def _first(self, entries: Sequence[Any]) -> program.Segment:
        place = _Place([], 1 + len(entries), len(entries))
        values = self.plan.constants()
        place.levels.append(_Level(self.plan, values))
        program.enter(values, self.plan.uses, [_input(entry, k) for k, entry in enumerate(entries)])
        return self._segment(place)

    def _segment(self, place: _Place) -> program.Segment:
        """The segment of the steps that come next."""
        with paused(), quiet():
            return self._walk(place)

    def _walk(self, place: _Place) -> program.Segment:
        emitter = Emitter(program.LANES, self._packed, self.threads)
        while True:
            level = place.levels[-1]
            steps, values = level.plan.steps, level.values
            at, given = program.advance(values, level.plan.uses, steps, level.at, emitter, self._folder, repeated)
            level.at = at + 1
            if given is None:
                if len(place.levels) == 1:
                    return self._end(place, emitter)
                self._leave(place)
                continue
            step = steps[at]
            if step.op != "If" or not step.plans:
                return self._call(place, step, given, emitter)
            known = _known_truth(given[0])
            if known is None:
                return self._branch(place, step, emitter)
            self._enter(place, step, known)

    def _enter(self, place: _Place, step: Step, condition: bool) -> None:
        """Go on inside a branch of an If."""
        found = self._branches.get((id(step), condition))
        if found is None:
            inner = dict(step.plans)["then_branch" if condition else "else_branch"]
            slots = tuple([step.inputs[step.names.index(name)] for name in inner.captures])
            found = self._branches[id(step), condition] = inner, slots
        inner, slots = found
        values = inner.constants()
        program.enter(values, inner.uses, program.picked(place.levels[-1].values, slots))
        place.levels.append(_Level(inner, values))

    def _leave(self, place: _Place) -> None:
        """Take a branch's outputs over into the plan round it."""
        inner = place.levels.pop()
        outer = place.levels[-1]
        step = outer.plan.steps[outer.at - 1]
        results = program.picked(inner.values, inner.plan.outputs)
        program.store(outer.values, outer.plan.uses, step.outputs, results, step.frees)

    def _branch(self, place: _Place, step: Step, emitter: Emitter) -> program.Segment:
        condition = place.levels[-1].values[step.inputs[0]]
        if type(condition) is not Tensor or condition.size != 1:
            shape = condition.shape if type(condition) is Tensor else "no array"
            raise InputError(f"{step.label}: expected a single value, got shape {shape}")
        condition.force(emitter)

        def after(truth: bool) -> program.Segment:
            then = kept.copy()
            self._enter(then, step, truth)
            return self._segment(then)

        terminal = Branch(step.label, (0, 0, 0), after)
        segment, kept = self._finish(place, emitter, terminal, [condition])
        assert condition.buffer is not None
        base, offset = condition.buffer.place()
        terminal.condition = (base, offset + condition.offset * condition.dtype.itemsize, condition.dtype.itemsize)
        return segment

    def _call(self, place: _Place, step: Step, given: list[Any], emitter: Emitter) -> program.Segment:
        for x in given:
            if type(x) is Tensor and x.value is None:
                x.force(emitter)
        n_results = len(step.outputs)

        def after(signature: Signature) -> program.Segment:
            then = kept.copy()
            results: list[Any] = []
            for k, entry in enumerate(signature):
                if entry is None:
                    results.append(Opaque(terminal.first_object + k))
                else:
                    results.append(_placed(entry, terminal.first_base + k))
            then.held = then.held.union(range(terminal.first_base, terminal.first_base + n_results))
            level = then.levels[-1]
            program.store(level.values, level.plan.uses, step.outputs, results, step.frees)
            return self._segment(then)

        first = place.n_bases + 1
        terminal = Call(step.label, step.op, step.tier, _caller(step), [], n_results, first, place.n_objects, after)
        arguments = [x for x in given if type(x) is Tensor]
        segment, kept = self._finish(place, emitter, terminal, arguments, n_results)
        terminal.arguments = [_argument(x) for x in given]
        return segment

    def _end(self, place: _Place, emitter: Emitter) -> program.Segment:
        level = place.levels[-1]
        first = place.n_bases + 1
        outputs: list[Any] = []
        objects: list[int | np.ndarray | None] = []
        known: list[np.ndarray | None] = []
        for k, slot in enumerate(level.plan.outputs):
            value = level.values[slot]
            known.append(value.value if type(value) is Tensor else None)
            if type(value) is not Tensor:
                outputs.append(None)
                objects.append(None if value is None else value.index)
                continue
            if value.dtype.kind == "O":  # strings, which only a constant has
                outputs.append(None)
                objects.append(value.value)
                continue
            outputs.append((value.dtype, value.shape))
            objects.append(None)
            value.force(emitter)
            if not _claim(value, first + k):
                emitter.label = f"output {level.plan.outputs_declared[k].name!r}"
                buffer = Buffer(value.nbytes, first + k)
                emitter.copy_into(value, Tensor(value.dtype, value.shape, c_strides(value.shape), buffer))
        terminal = End(outputs, objects, known, first)
        return self._finish(place, emitter, terminal, [], len(outputs))[0]

    def _finish(
        self, place: _Place, emitter: Emitter, terminal: Any, needed: Sequence[Tensor], n_results: int = 0
    ) -> tuple[program.Segment, _Place]:
        """The segment, and where the walk stands after it."""
        live = list(needed)
        if terminal.kind != 0:
            for level in place.levels:
                for value in level.values:
                    if type(value) is Tensor and value.value is None:
                        live.append(value.force(emitter))
                        value.producer = None
        base = place.n_bases
        size, peak = program.place(emitter.steps, [x.buffer for x in live if x.buffer is not None], base)
        n_bases = base + 1 + n_results
        used = {x.buffer.root().base for x in live if x.buffer is not None}
        drops = sorted(base for base in place.held if base not in used)
        segment = program.Segment(emitter.steps, size, peak, base, n_bases, terminal, emitter.keep, drops, self.threads)
        after = _Place(place.levels, n_bases, place.n_objects + n_results, place.held.difference(drops))
        return segment, after


def _input(entry: Any, k: int) -> Any:
    """Input `k` as it is known: an array, one of a dtype and shape, or None for what is no array of numbers."""
    if entry is None:
        return Opaque(k)
    return constant(entry) if isinstance(entry, np.ndarray) else _placed(entry, 1 + k)


def _placed(entry: tuple[np.dtype, tuple[int, ...]], base: int) -> Tensor:
    """A contiguous tensor at a base of its own."""
    dtype, shape = entry
    tensor = Tensor(dtype, shape, c_strides(shape), None)
    tensor.buffer = Buffer(tensor.nbytes, base)
    return tensor


def _claim(tensor: Tensor, base: int) -> bool:
    """Let a tensor be written where it goes out; False if it has to be copied there."""
    buffer = tensor.buffer
    if buffer is None or buffer.base != ARENA or buffer.inside is not None or tensor.value is not None:
        return False
    if tensor.offset or buffer.size != tensor.nbytes or not tensor.contiguous():
        return False
    buffer.base = base
    return True


def _caller(step: Step) -> Callable[[list[Any]], Sequence[Any]]:
    """The function of a step, with errors that say where and from what."""
    fn, multiple, label = step.fn, step.multiple, step.label

    def call(arguments: list[Any]) -> Sequence[Any]:
        try:
            with quiet():
                results = fn(*arguments)
        except (RnnrtError, MemoryError):
            raise
        except Exception as error:
            given = ", ".join(_seen(x) for x in arguments)
            raise InputError(f"{label}: cannot be computed from ({given}): {error}") from error
        return results if multiple else (results,)

    return call


def _argument(value: Any) -> Any:
    """How the executor makes the argument of a function: by kind, and what that kind needs."""
    if value is None:
        return None
    if type(value) is Opaque:
        return "object", value.index
    if value.value is not None:
        return "value", value.value
    base, offset = value.buffer.place()
    item = value.dtype.itemsize
    strides = tuple(s * item for s in value.strides)
    if base == 0:  # a look at a constant, which lies where it lies
        return "value", as_strided(value.buffer.root().keep.reshape(-1)[value.offset :], value.shape, strides)
    return "array", (base, offset + value.offset * item, value.dtype, value.shape, strides)


def _known_truth(condition: Any) -> bool | None:
    if type(condition) is Tensor and condition.value is not None and condition.size == 1:
        return bool(condition.value.reshape(())[()])
    return None


def _seen(value: Any) -> str:
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
