"""Sequences of unequal length at the cost of their real steps: what `Model.run_ragged` does.

Where :mod:`rnnrt.pointwise` proves that a row of a padded batch is what it is alone, the sequences run as batches:
longest first, padded with their own last step, every recurrent node told their lengths; a node that takes the last step
takes that of each row. Elsewhere each sequence runs alone. The answers are the same either way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError, ModelError, UnsupportedError
from .graph import Graph, Node, Value
from .plan import Plan
from .pointwise import Arrangement, NotPointwise, OneRow, Pick, Proof, prove
from .records import replaced
from .rewrite.edit import NEWEST

if TYPE_CHECKING:
    from .model import Model

MOST_ROWS = 256
"""Rows in a batch: more are no faster, and the lengths in one batch are more alike if it is no larger."""

LENGTHS, LAST = "rnnrt.lengths", "rnnrt.last"


class Ragged:
    """A model's plan for padded batches, or the reason why it has none; made once for each model.

    Attributes
    ----------
    reason
        Why sequences run one by one; empty if they run as batches.
    """

    def __init__(self, graph: Graph, threads: int) -> None:
        self.proof: Proof | None = None
        self.reason = ""
        try:
            self._prove(graph)
        except OneRow as error:
            self.reason = str(error)
            with suppress(NotPointwise):
                self._prove(_open_rows(graph))
        except NotPointwise as error:
            self.reason = str(error)
        self._threads = threads
        self._plan: Plan | None = None

    def _prove(self, graph: Graph) -> None:
        proof = prove(graph)
        self._graph, self.proof = _with_lengths(graph, proof), proof

    def plan(self) -> Plan:
        """The plan for padded batches, whose last inputs are lengths and last steps.

        Raises
        ------
        UnsupportedError
            If a node was only run by what is known no more of the file.
        """
        if self._plan is None:
            self._plan = Plan(self._graph, (), self._threads)
        return self._plan

    def describe(self) -> str:
        """One line: which sizes are time and batch, or why sequences run one by one."""
        if self.proof is None:
            return f"unequal lengths: one by one, since {self.reason}"
        return f"unequal lengths: batches, time {self.proof.time}, rows {self.proof.batch}"


def _open_rows(graph: Graph) -> Graph:
    """`graph` with inputs that leave open what they declare to be 1, for that is how many a batch of one row is."""
    inputs = [replaced(v, shape=v.shape and tuple([None if d == 1 else d for d in v.shape])) for v in graph.inputs]
    return Graph(inputs, graph.outputs, graph.nodes, graph.constants, graph.name)


def _with_lengths(graph: Graph, proof: Proof) -> Graph:
    """A copy of `graph` with two more inputs that it uses, the length of each row [B] and its last step [B, 1]."""
    layers = {id(node) for node in proof.layers}
    lasts = {id(pick.node): pick for pick in proof.lasts}
    nodes: list[Node] = []
    constants = dict(graph.constants)
    for node in graph.nodes:
        if id(node) in layers:
            inputs = [*node.inputs, *[""] * (5 - len(node.inputs))]
            inputs[4] = LENGTHS
            nodes.append(replaced(node, inputs=inputs))
        elif id(node) in lasts:
            nodes += _last_step(lasts[id(node)], proof, constants)
        else:
            nodes.append(node)
    more = [Value(LENGTHS, np.dtype(np.int32), (None,)), Value(LAST, np.dtype(np.int64), (None, 1))]
    return Graph([*graph.inputs, *more], graph.outputs, nodes, constants, graph.name)


def _last_step(pick: Pick, proof: Proof, constants: dict[str, np.ndarray]) -> Iterator[Node]:
    """Nodes that take each row's own last step in place of the node that takes the last one of all."""
    source, result = pick.node.inputs[0], pick.node.outputs[0]
    axes = proof.arrangements[source]
    if (proof.batch,) not in axes:
        raise NotPointwise(f"{pick.node.label()} takes the last step where rows are part of another axis")
    rows = axes.index((proof.batch,))
    rest = [a for a in range(len(axes)) if a not in (rows, pick.axis)]
    before = [rows, *rest]
    back = [before.index(a) for a in range(len(axes)) if a != pick.axis]
    first, taken = f"{result}__rows", f"{result}__last"
    arranged = f"{result}__arranged" if pick.keeps else result
    yield Node("Transpose", [source], [first], {"perm": [rows, pick.axis, *rest]}, version=NEWEST)
    yield Node("GatherND", [first, LAST], [taken], {"batch_dims": 1}, version=NEWEST)
    yield Node("Transpose", [taken], [arranged], {"perm": back}, version=NEWEST)
    if pick.keeps:
        axes_name = f"{result}__axes"
        constants[axes_name] = np.array([pick.axis], np.int64)
        yield Node("Unsqueeze", [arranged, axes_name], [result], version=NEWEST)


@dataclass(slots=True)
class _Sequence:
    """One sequence as given.

    Attributes
    ----------
    values
        One array an input, with all their axes.
    bare, unbatched
        Whether it came as an array instead of a dict, and whether without the batch axis: so go the answers.
    steps, rows
        Its sizes; 0 steps if it cannot be part of a batch.
    """

    values: list[Any]
    bare: bool = False
    unbatched: bool = False
    steps: int = 0
    rows: int = 1


def run_ragged(model: Model, sequences: Sequence[Any]) -> list[Any]:
    """See :meth:`Model.run_ragged`."""
    if isinstance(sequences, Mapping | str | bytes | np.ndarray):
        raise InputError(f"run_ragged: expected a list of arrays or of dicts, got {type(sequences).__name__}")
    ragged = model._ragged_plan()
    reader = _Reader(model, ragged)
    given = [reader.read(entry, f"sequence {k}") for k, entry in enumerate(sequences)]
    answers: list[Any] = [None] * len(given)
    for batch in _batches(given, ragged.proof):
        results = _run_batch(ragged, [given[k] for k in batch]) if len(batch) > 1 and ragged.proof else None
        for place, k in enumerate(batch):
            try:
                found = results[place] if results else model._plan.run(given[k].values)
            except InputError as error:
                raise InputError(f"sequence {k}: {error}") from None
            answers[k] = _answer(model, ragged.proof, given[k], found)
    return answers


def _answer(model: Model, proof: Proof | None, sequence: _Sequence, results: list[Any]) -> Any:
    if sequence.unbatched and proof:
        rows = (proof.batch,)
        results = [
            result[(slice(None),) * axes.index(rows) + (0,)] if rows in axes else result
            for result, axes in zip(results, proof.outputs, strict=True)
        ]
        results = [np.asarray(result) for result in results]
    if not sequence.bare:
        return dict(zip(model._output_names, results, strict=True))
    return results[0] if len(results) == 1 else tuple(results)


class _Reader:
    """Checks sequences and brings them to one form."""

    def __init__(self, model: Model, ragged: Ragged) -> None:
        self.model, self.proof, self.reason = model, ragged.proof, ragged.reason
        self.lengths = self.proof.lengths if self.proof else frozenset()
        self.names = [check.name for check in model._checks]
        self.arranged: list[Arrangement | None] = list(self.proof.inputs) if self.proof else [None] * len(self.names)

    def read(self, entry: Any, where: str) -> _Sequence:
        """The sequence that `entry` stands for; `where` names it in errors."""
        bare = not isinstance(entry, Mapping)
        feeds = self._named(entry, where) if bare else entry
        missing = [name for name in self.names if name not in feeds]
        unknown = [str(name) for name in feeds if name not in self.names]
        if unknown or not set(missing) <= self.lengths:
            raise InputError(f"{where}: {self.model._wrong_names(feeds)}")
        sequence = _Sequence([feeds.get(name) for name in self.names], bare)
        if self.proof:
            self._add_axes(sequence, where)
            self._measure(sequence)
            for k, name in enumerate(self.names):
                if name in missing:
                    sequence.values[k] = np.full(sequence.rows, self._steps(sequence, where), np.int32)
        try:
            sequence.values = [c(v) for c, v in zip(self.model._checks, sequence.values, strict=True)]
        except InputError as error:
            why = "" if self.proof else f"; every axis must be there, since {self.reason}"
            raise InputError(f"{where}: {error}{why}") from None
        if self.proof:
            self._check_lengths(sequence)
        return sequence

    def _named(self, entry: Any, where: str) -> dict[str, Any]:
        free = [name for name in self.names if name not in self.lengths]
        if len(free) != 1:
            raise InputError(
                f"{where}: expected a dict of arrays by input name ({', '.join(self.names)}), "
                f"got {type(entry).__name__}"
            )
        return {free[0]: entry}

    def _add_axes(self, sequence: _Sequence, where: str) -> None:
        """Put in the batch axis where the arrays of a sequence all lack it."""
        assert self.proof
        rows = (self.proof.batch,)
        lacking: dict[int, bool] = {}
        for k, (array, axes) in enumerate(zip(sequence.values, self.arranged, strict=True)):
            if axes is not None and rows in axes and isinstance(array, np.ndarray | np.generic | int):
                array = sequence.values[k] = self._as_array(k, array)
                lacking[k] = array.ndim == len(axes) - 1
        sequence.unbatched = bool(lacking) and all(lacking.values())
        if sequence.unbatched:
            for k in lacking:
                axes = self.arranged[k]
                assert axes is not None
                sequence.values[k] = np.expand_dims(sequence.values[k], axes.index(rows))
        elif any(lacking.values()):
            names = ", ".join(self.names[k] for k, lacks in lacking.items() if lacks)
            raise InputError(f"{where}: expected the batch axis in all inputs or in none, got {names} without it")

    def _as_array(self, k: int, array: Any) -> np.ndarray:
        dtype = np.int32 if self.names[k] in self.lengths and type(array) is int else None
        return np.asarray(array, dtype)

    def _measure(self, sequence: _Sequence) -> None:
        """Find the numbers of steps and rows; a sequence whose inputs differ in them is none for a batch."""
        assert self.proof
        steps: set[int] = set()
        rows: set[int] = set()
        for array, axes in zip(sequence.values, self.arranged, strict=True):
            if not isinstance(array, np.ndarray) or axes is None or array.ndim != len(axes):
                continue
            steps.update(n for n, axis in zip(array.shape, axes, strict=True) if axis == (self.proof.time,))
            rows.update(n for n, axis in zip(array.shape, axes, strict=True) if axis == (self.proof.batch,))
        sequence.steps = steps.pop() if len(steps) == 1 and len(rows) == 1 else 0
        sequence.rows = rows.pop() if len(rows) == 1 else 1
        if not sequence.rows:
            sequence.steps = 0

    def _steps(self, sequence: _Sequence, where: str) -> int:
        """The length to tell recurrent nodes where the caller tells none."""
        assert self.proof
        for array, axes in zip(sequence.values, self.arranged, strict=True):
            if isinstance(array, np.ndarray) and axes and array.ndim == len(axes) and (self.proof.time,) in axes:
                return array.shape[axes.index((self.proof.time,))]
        raise InputError(f"{where}: expected {', '.join(sorted(self.lengths))}, the sequence's length")

    def _check_lengths(self, sequence: _Sequence) -> None:
        """Lengths above the steps are an error, which the model itself reports where the sequence runs alone."""
        for name, array in zip(self.names, sequence.values, strict=True):
            if name in self.lengths and array.size and not 0 <= array.min() <= array.max() <= sequence.steps:
                sequence.steps = 0


def _batches(sequences: Sequence[_Sequence], proof: Proof | None) -> Iterator[list[int]]:
    """Numbers of sequences that can run together, longest first; one that can run with no other is alone."""
    alike: dict[object, list[int]] = {}
    for k, sequence in enumerate(sequences):
        key = _key(sequence, proof) if proof and sequence.steps else k
        alike.setdefault(key, []).append(k)
    for members in alike.values():
        batch: list[int] = []
        rows = 0
        for k in sorted(members, key=lambda k: -sequences[k].steps):
            if batch and rows + sequences[k].rows > MOST_ROWS:
                yield batch
                batch, rows = [], 0
            batch.append(k)
            rows += sequences[k].rows
        yield batch


_COMPARED_BYTES = 4096


def _key(sequence: _Sequence, proof: Proof) -> object:
    """What sequences of one batch have in common: sizes of the other axes, and inputs that have no rows."""
    parts: list[object] = []
    for array, axes in zip(sequence.values, proof.inputs, strict=True):
        if axes is not None and (proof.batch,) in axes:
            known = ((proof.time,), (proof.batch,))
            parts.append(tuple(n for n, axis in zip(array.shape, axes, strict=True) if axis not in known))
        elif isinstance(array, np.ndarray) and array.nbytes <= _COMPARED_BYTES and not array.dtype.hasobject:
            parts.append((array.shape, array.tobytes()))
        else:
            parts.append(id(array))
    return tuple(parts)


def _run_batch(ragged: Ragged, sequences: Sequence[_Sequence]) -> list[list[Any]] | None:
    """The outputs of each sequence; None if the model refuses the batch, so that each has to run alone."""
    proof = ragged.proof
    assert proof
    longest = max(sequence.steps for sequence in sequences)
    values = [
        _stacked([sequence.values[k] for sequence in sequences], axes, proof, longest)
        for k, axes in enumerate(proof.inputs)
    ]
    lengths = np.repeat([s.steps for s in sequences], [s.rows for s in sequences])
    values += [lengths.astype(np.int32), lengths[:, None] - 1]
    try:
        results = ragged.plan().run(values)
    except (InputError, ModelError, UnsupportedError):
        return None
    sizes: dict[Any, int] = {proof.time: longest, proof.batch: len(lengths)}
    cuts = [_Cut(array, axes, sizes) for array, axes in zip(results, proof.outputs, strict=True)]
    answers = []
    start = 0
    for sequence in sequences:
        parts = {proof.time: slice(sequence.steps), proof.batch: slice(start, start + sequence.rows)}
        start += sequence.rows
        answers.append([cut(parts) for cut in cuts])
    return answers


def _stacked(arrays: Sequence[Any], axes: Arrangement | None, proof: Proof, longest: int) -> Any:
    """The arrays one after the other along the batch axis, each padded with its last step to `longest`."""
    if axes is None or (proof.batch,) not in axes:
        return arrays[0]
    rows = axes.index((proof.batch,))
    if (proof.time,) not in axes:
        return np.concatenate(arrays, axis=rows)
    time = axes.index((proof.time,))
    shape = list(arrays[0].shape)
    shape[rows], shape[time] = sum(array.shape[rows] for array in arrays), longest
    result = np.empty(shape, arrays[0].dtype)
    seen = np.moveaxis(result, (time, rows), (0, 1))
    start = 0
    for array in arrays:
        part = np.moveaxis(array, (time, rows), (0, 1))
        stop = start + part.shape[1]
        seen[: len(part), start:stop] = part
        seen[len(part) :, start:stop] = part[-1:]
        start = stop
    return result


class _Cut:
    """Takes parts of an array whose axes are products of `sizes` and of others."""

    def __init__(self, array: Any, axes: Arrangement, sizes: Mapping[Any, int]) -> None:
        if not isinstance(array, np.ndarray) or array.ndim != len(axes):
            raise ModelError(f"an output has the shape {np.shape(array)}, expected {len(axes)} axes")
        shape: list[int] = []
        for n, axis in zip(array.shape, axes, strict=True):
            known = [sizes.get(size, size if isinstance(size, int) else -1) for size in axis]
            shape += [n // max(math.prod(d for d in known if d > 0), 1) if d < 0 else d for d in known]
        self.array = array.reshape(shape)
        self.flat = [size for axis in axes for size in axis]
        self.groups = [len(axis) for axis in axes]

    def __call__(self, parts: Mapping[Any, slice]) -> np.ndarray:
        part = self.array[tuple([parts.get(size, _ALL) for size in self.flat])].copy()
        if len(self.flat) == len(self.groups):
            return part
        left = iter(part.shape)
        return part.reshape([math.prod([next(left) for _ in range(n)]) for n in self.groups])


_ALL = slice(None)
