"""`load` and `Model`: what a user holds."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .collector import paused
from .errors import InputError
from .graph import Value
from .onnx_file import read_model
from .plan import Plan
from .processors import usable
from .recurrent import release
from .rewrite import rewritten
from .shared import share_constants

if TYPE_CHECKING:
    import onnx

    from .profile import Profile
    from .ragged import Ragged
    from .stream import Stream

Source = str | os.PathLike[str] | bytes | bytearray | memoryview

MOST_THREADS = 64
"""More are never used, whatever is asked for."""


def load(source: Source | onnx.ModelProto, *, threads: int = 1, states: Mapping[str, str] | None = None) -> Model:
    """Open an ONNX model.

    Parameters
    ----------
    source
        A path, the bytes of an ONNX file, or an ``onnx.ModelProto``. External data is read from inside the model's
        folder.
    threads
        Threads a run may use; 1, the default, uses the caller's alone, 0 as many as the processors that this process
        may run on, within the quota of its control groups.
    states
        ``{input: output}`` pairs that carry state from one call to the next; found from the graph by default.

    Raises
    ------
    ModelError
        If the file is damaged or against the ONNX specification.
    UnsupportedError
        If nothing here can run some of its nodes; all of them are named.
    InputError
        If `threads` or `states` make no sense.
    """
    return Model(source, threads=threads, states=states)


class Model:
    """A model ready to run; made by `load`, immutable, and safe to share between threads.

    Attributes
    ----------
    inputs, outputs : tuple of Value
        Name, shape (ints, names of unknown sizes, None) and dtype of each.
    metadata : dict
        What the file says about itself: producer_name, graph_name, version, opsets, custom_metadata_map, …
    threads : int
        Threads a run may use.
    """

    def __init__(self, source: Any, *, threads: int = 1, states: Mapping[str, str] | None = None) -> None:
        self.threads = _checked_threads(threads)
        with paused():
            self._open(source, states)

    def _open(self, source: Any, states: Mapping[str, str] | None) -> None:
        file = read_model(source)
        graph = file.graph
        notes, known = rewritten(graph)
        self.inputs: tuple[Value, ...] = tuple(graph.inputs)
        self.outputs: tuple[Value, ...] = tuple(graph.outputs)
        for value in (*self.inputs, *self.outputs):
            value.name = sys.intern(value.name)  # as a program's own keys are: found without a comparison
        self._states = None if states is None else self._checked_states(states)
        self.metadata: dict[str, Any] = {
            "producer_name": file.producer,
            "producer_version": file.producer_version,
            "graph_name": file.graph_name,
            "domain": file.domain,
            "description": file.description,
            "graph_description": file.graph_description,
            "version": file.version,
            "ir_version": file.ir_version,
            "opsets": dict(file.opsets),
            "custom_metadata_map": dict(file.metadata),
        }
        self._source = _kept(source if file.path is None else os.path.abspath(file.path))
        share_constants(graph)
        self._plan = Plan(graph, notes, self.threads, known=known)
        release(graph)
        self._graph = graph
        self._ragged: Ragged | None = None
        self._checks = tuple(_Check(value) for value in self.inputs)
        self._program = self._plan.program
        self._input_names = tuple(value.name for value in self.inputs)
        self._output_names = tuple(value.name for value in self.outputs)
        self._opaque = any(value.dtype is None or value.dtype == object for value in self.outputs)

    @property
    def states(self) -> dict[str, str]:
        """``{input: output}`` pairs that carry state: those given, or those found when they are first asked for."""
        if self._states is None:
            from .states import find_states

            self._states = find_states(self._graph)
        return self._states

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Run the model.

        Parameters
        ----------
        feeds
            One array an input, by name, of the declared dtype and shape; any memory layout.

        Returns
        -------
        dict
            One fresh array an output, by name.

        Raises
        ------
        InputError
            If a name, dtype or shape does not fit, or the model cannot be computed on these values.
        """
        answer = None if self._opaque else self._program.run_named(self._input_names, self._output_names, feeds)
        return dict(zip(self._output_names, self._answers(feeds), strict=True)) if answer is None else answer

    def __call__(self, *values: Any) -> Any:
        """Run on `values` in the order of `inputs`; one output comes bare, several as a tuple."""
        if len(values) != len(self._checks):
            raise InputError(f"model: expected {len(self._checks)} inputs ({self._names()}), got {len(values)}")
        results = self._fresh(self._plan.run([check(v) for check, v in zip(self._checks, values, strict=True)]))
        return results[0] if len(results) == 1 else tuple(results)

    def run_ragged(self, sequences: Sequence[Any]) -> list[Any]:
        """Run the model on each of `sequences`, at the cost of their real steps.

        Where it can be shown that a row of a padded batch is what it is alone, sequences of unequal length run
        together; elsewhere one by one, as `describe` says. Recurrent layers give the same bits either way.

        Parameters
        ----------
        sequences
            For each sequence what `run` takes, a dict of arrays by input name, or, if the model has one input, the
            array alone. The batch axis (of any size) may be left out where sequences run together. So may an input
            that recurrent layers take as lengths: it is then the number of steps.

        Returns
        -------
        list
            For each sequence, in the order given, what `run` returns; what calling the model returns (one output comes
            bare, several as a tuple) if it was an array. Without the batch axis if the sequence had none.

        Raises
        ------
        InputError
            If a name, dtype or shape of a sequence does not fit; the message says of which.
        """
        from .ragged import run_ragged

        return run_ragged(self, sequences)

    def _ragged_plan(self) -> Ragged:
        if self._ragged is None:
            from .ragged import Ragged

            self._ragged = Ragged(self._graph, self.threads)
        return self._ragged

    def stream(self) -> Stream:
        """A new stream over this model, its state at the start. See `Stream`."""
        from .stream import Stream

        return Stream(self)

    def profile(self, feeds: Mapping[str, Any], runs: int = 50) -> Profile:
        """Where the time of a run goes.

        Parameters
        ----------
        feeds
            As for `run`.
        runs
            How often it is run; times are medians.

        Returns
        -------
        Profile
            A step each: time, share of the whole, operations, bytes, and times the machine's limit. ``print`` shows a
            table, ``save`` writes a Chrome trace.
        """
        from .profile import profile

        return profile(self, feeds, runs)

    def describe(self) -> str:
        """The plan as text: each step with its tier and shapes, and what the rewrites did."""
        from .describe import describe

        return describe(self)

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {tier}" for tier, n in self._plan.count().items())
        return f"<rnnrt.Model {self.metadata['graph_name']!r}: inputs {self._names()}; steps: {counts or 'none'}>"

    def __copy__(self) -> Model:
        return self

    def __deepcopy__(self, memo: dict) -> Model:
        return self  # nothing of a model changes

    def __reduce__(self) -> tuple:
        return _reload, (self._source, self.threads, self.states)

    def _answers(self, feeds: Mapping[str, Any]) -> list[Any]:
        """The outputs in order. Arrays of the layout that was run last need no other check than that."""
        results = self._program.run_again(self._input_names, feeds)
        return self._fresh(self._plan.run(self._checked(feeds)) if results is None else results)

    def _checked(self, feeds: Mapping[str, Any]) -> list[Any]:
        """One value an input, each as the model declares it."""
        try:
            given = [feeds[name] for name in self._input_names]
            if len(feeds) != len(given):
                raise self._wrong_names(feeds)
        except (KeyError, TypeError, IndexError):
            raise self._wrong_names(feeds) from None
        return [check(value) for check, value in zip(self._checks, given, strict=True)]

    def _fresh(self, results: list[Any]) -> list[Any]:
        """Outputs that are lists or strings as nobody else's memory; plain arrays are fresh already."""
        return [_copied(value) for value in results] if self._opaque else results

    def _names(self) -> str:
        return ", ".join(check.name for check in self._checks) or "none"

    def _wrong_names(self, feeds: Any) -> InputError:
        if not isinstance(feeds, Mapping):
            return InputError(
                f"feeds: expected a dict of arrays by input name ({self._names()}), got {type(feeds).__name__}"
            )
        expected = [check.name for check in self._checks]
        missing = [name for name in expected if name not in feeds]
        unknown = [str(name) for name in feeds if name not in expected]
        parts = [f"missing {', '.join(missing)}"] if missing else []
        parts += [f"no input is called {', '.join(unknown)}"] if unknown else []
        return InputError(f"inputs: expected {self._names()}; {'; '.join(parts)}")

    def _checked_states(self, states: Mapping[str, str]) -> dict[str, str]:
        if not isinstance(states, Mapping):
            raise InputError(f"states: expected a dict of output names by input name, got {type(states).__name__}")
        inputs, outputs = {v.name: v for v in self.inputs}, {v.name: v for v in self.outputs}
        for into, out in states.items():
            if into not in inputs:
                raise InputError(f"states: no input is called {into!r}; expected one of {', '.join(inputs)}")
            if out not in outputs:
                raise InputError(f"states: no output is called {out!r}; expected one of {', '.join(outputs)}")
            a, b = inputs[into], outputs[out]
            unlike = b.dtype is not None and a.dtype != b.dtype
            if unlike or (a.shape is not None and b.shape is not None and len(a.shape) != len(b.shape)):
                raise InputError(
                    f"states: {into!r} is {_shown(a)}, {out!r} is {_shown(b)}: expected the same type and rank"
                )
        if len(set(states.values())) != len(states):
            raise InputError(f"states: expected a different output for each input, got {dict(states)}")
        return dict(states)


class _Check:
    """Checks one input of a model."""

    __slots__ = ("dtype", "fixed", "name", "rank", "value")

    def __init__(self, value: Value) -> None:
        self.value = value
        self.name = value.name
        self.dtype = value.dtype
        self.rank = None if value.shape is None else len(value.shape)
        self.fixed = tuple((k, d) for k, d in enumerate(value.shape or ()) if isinstance(d, int) and d >= 0)

    def __call__(self, array: Any) -> Any:
        if self.dtype is None:
            return self._other(array)
        if type(array) is not np.ndarray:
            array = self._converted(array)
        if array.dtype != self.dtype or self.dtype == object:
            array = self._strings(array)
        if self.rank is not None:
            shape = array.shape
            if len(shape) != self.rank:
                raise InputError(f"input {self.name!r}: expected {_shape(self.value)}, got {shape}")
            for axis, size in self.fixed:
                if shape[axis] != size:
                    raise InputError(f"input {self.name!r}: expected {_shape(self.value)}, got {shape}")
        return array

    def _converted(self, value: Any) -> np.ndarray:
        if isinstance(value, (np.ndarray, np.generic)):
            return np.asarray(value)
        raise InputError(f"input {self.name!r}: expected a NumPy array of {self.dtype}, got {type(value).__name__}")

    def _strings(self, array: np.ndarray) -> np.ndarray:
        """Strings as Python objects, in which form operators have them; nothing else is converted."""
        if self.dtype == object and (array.dtype.kind == "U" or all(isinstance(item, str) for item in array.flat)):
            return array.astype(object)
        what = "str" if self.dtype == object else self.dtype
        raise InputError(f"input {self.name!r}: expected {what} {_shape(self.value)}, got {array.dtype} {array.shape}")

    def _other(self, value: Any) -> Any:
        """What is no tensor: a sequence has to come as a list of arrays."""
        arrays = isinstance(value, list) and all(isinstance(item, np.ndarray) for item in value)
        if self.value.kind.startswith("seq(tensor(") and not arrays:
            raise InputError(
                f"input {self.name!r}: expected {self.value.kind} as a list of arrays, got {type(value).__name__}"
            )
        return value


def _shape(value: Value) -> str:
    if value.shape is None:
        return "any shape"
    return f"({', '.join('?' if d is None else str(d) for d in value.shape)}{',' if len(value.shape) == 1 else ''})"


def _shown(value: Value) -> str:
    return f"{value.dtype if value.dtype is not None else value.kind} {_shape(value)}"


def _checked_threads(threads: Any) -> int:
    if not isinstance(threads, int | np.integer) or isinstance(threads, bool) or threads < 0:
        raise InputError(f"threads: expected 0 (all processors) or a positive number, got {threads!r}")
    return min(int(threads) or usable(), MOST_THREADS)


def _copied(value: Any) -> Any:
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value.copy() if isinstance(value, np.ndarray) else value


def _kept(source: Any) -> str | bytes | Any:
    """What a copy of the model can be loaded from, whatever becomes of the caller's object."""
    if isinstance(source, str | bytes):
        return source
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    try:
        return source.SerializeToString()
    except ValueError:  # past 2 GiB a message has no serial form
        return source


def _reload(source: Any, threads: int, states: dict[str, str]) -> Model:
    return load(source, threads=threads, states=states)
