"""`Stream`: a model run step by step, its state kept inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ._core.program import RepeatedStep, Stepper
from .errors import InputError, RnnrtError
from .graph import Value
from .model import Model
from .ops.limits import check_size


class Stream(RepeatedStep):
    """One sequence of steps over a model whose `states` say what is carried from step to step.

    A stream belongs to one thread at a time; a second one that steps it meanwhile gets an `RnnrtError`.

    Parameters
    ----------
    model
        A model with at least one state pair.

    Raises
    ------
    InputError
        If the model has no state.
    """

    def __init__(self, model: Model) -> None:
        if not model.states:
            raise InputError(
                "stream: no output of this model is known to carry state back into an input; "
                "use model.run, or name the pairs: rnnrt.load(..., states={input: output})"
            )
        self.model = model
        kept = set(model.states.values())
        self._inputs = tuple(v.name for v in model.inputs if v.name not in model.states)
        self._outputs = tuple(v.name for v in model.outputs if v.name not in kept)
        by_name = {v.name: v for v in model.inputs}
        self._values = {name: by_name[name] for name in model.states}
        self._shapes = _state_shapes(model)
        names = tuple(v.name for v in model.inputs), tuple(v.name for v in model.outputs)
        self._repeat(Stepper(model._plan.program, *names, dict(model.states)))

    def _step(self, feeds: Mapping[str, Any], out: Mapping[str, np.ndarray] | None) -> dict[str, Any]:
        """A step in full: the first one, one of another shape, or one that is refused."""
        if not self._stepper.enter():
            raise RnnrtError("stream: another thread is in the middle of a step; use one stream a thread")
        try:
            state = self._stepper.get()
            if state:
                results = self._run(feeds, dict(zip(self._values, state, strict=True)))
            else:
                results = self._first(feeds)
            answer = {name: results[name] for name in self._outputs}
            if out is not None:
                _deliver(answer, out)
            root = self._stepper.root
            self._stepper.set([results[made] for made in self.model.states.values()])
            self._stepper.root = root
            return answer
        finally:
            self._stepper.leave()

    def reset(self) -> None:
        """Go back to the start: every state is zero."""
        self._begin([])

    @property
    def state(self) -> dict[str, np.ndarray]:
        """A copy of the state, by input name; empty before the first step if its shape depends on what will be fed."""
        state = self._stepper.get()
        if state:
            return {name: array.copy() for name, array in zip(self._values, state, strict=True)}
        if not all(dims is not None and all(isinstance(d, int) for d in dims) for dims in self._shapes.values()):
            return {}
        return self._zeros(self._shapes)

    @state.setter
    def state(self, saved: Mapping[str, np.ndarray]) -> None:
        if not isinstance(saved, Mapping):
            raise InputError(f"state: expected a dict of arrays by input name, got {type(saved).__name__}")
        if saved and set(saved) != set(self._values):
            raise InputError(f"state: expected {', '.join(self._values)}; got {', '.join(map(str, saved))}")
        for name, value in self._values.items():
            if saved:
                _check_state(value, saved[name])
        self._begin([np.array(saved[name], order="C") for name in self._values] if saved else [])

    def _begin(self, state: list[np.ndarray]) -> None:
        if not self._stepper.enter():
            raise RnnrtError("stream: another thread is in the middle of a step")
        try:
            self._stepper.set(state)
        finally:
            self._stepper.leave()

    def __reduce__(self) -> tuple:
        return _restored, (self.model, self.state if self._stepper.get() else {})

    def _run(self, feeds: Mapping[str, Any], state: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """All outputs of the model, once the names fed are those that are no state."""
        self._check_names(feeds)
        values = self.model._checked({**feeds, **state})
        results = dict(zip(self._stepper.outputs, self.model._fresh(self._stepper.run(values)), strict=True))
        self._check_kept(state, {into: results[made] for into, made in self.model.states.items()})
        return results

    def _check_names(self, feeds: Mapping[str, Any]) -> None:
        if not isinstance(feeds, Mapping):
            raise InputError(
                f"stream: expected a dict of arrays by input name ({', '.join(self._inputs)}), "
                f"got {type(feeds).__name__}"
            )
        if len(feeds) != len(self._inputs) or any(name not in feeds for name in self._inputs):
            names = ", ".join(map(str, feeds)) or "none"
            raise InputError(
                f"stream: expected the inputs that are no state ({', '.join(self._inputs) or 'none'}), got {names}"
            )

    def _check_kept(self, used: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]) -> None:
        for name, array in state.items():
            if array.shape != used[name].shape:
                raise InputError(
                    f"state {name!r}: went in with shape {used[name].shape} and came out with {array.shape}; "
                    f"set stream.state to arrays of the right shape"
                )

    def _first(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """The first step, from zeros; sizes that the model leaves open are found by what it accepts and gives back."""
        self._check_names(feeds)
        for check in self.model._checks:
            if check.name in feeds:
                check(feeds[check.name])
        errors: list[InputError] = []
        for shapes in self._candidates(feeds):
            try:
                return self._run(feeds, self._zeros(shapes))
            except InputError as error:
                errors.append(error)
        if len(errors) == 1:
            raise errors[0]
        tried = f"; with each guess, the model failed; first: {errors[0]}" if errors else ""
        raise InputError(f"stream: the shapes of the states are unknown; set stream.state to arrays of zeros{tried}")

    def _candidates(self, feeds: Mapping[str, Any]) -> Iterator[dict[str, tuple[int, ...]]]:
        """Shapes that the states may have: a size with a name as in the feeds, any other as one in the feeds, or 1."""
        named: dict[str, int] = {}
        free: list[int] = []
        for value in self.model.inputs:
            shape = np.shape(feeds[value.name]) if value.name in feeds else ()
            for axis, (dim, size) in enumerate(zip(value.shape or (None,) * len(shape), shape, strict=False)):
                named[f"{value.name}[{axis}]"] = size
                if isinstance(dim, str):
                    named.setdefault(dim, size)
                if not isinstance(dim, int):
                    free.append(size)
        if any(dims is None for dims in self._shapes.values()):
            return
        found = {name: [_size(dim, named) for dim in dims or ()] for name, dims in self._shapes.items()}
        for size in dict.fromkeys([*free, 1]):
            yield {name: tuple(size if n is None else n for n in sizes) for name, sizes in found.items()}
            if not any(None in sizes for sizes in found.values()):
                return

    def _zeros(self, shapes: Mapping[str, Any]) -> dict[str, np.ndarray]:
        for name, value in self._values.items():
            check_size(shapes[name], np.dtype(value.dtype), f"state {name!r}")
        return {name: np.zeros(shapes[name], value.dtype) for name, value in self._values.items()}


_Dim = int | tuple[str | int, ...]
"""The size of a state's axis, or what may tell it: names of sizes, and last what the model declares of its output."""


def _state_shapes(model: Model) -> dict[str, tuple[_Dim, ...] | None]:
    """What is known of the shapes of the states before anything is fed, from both ends of each."""
    inputs = {v.name: v.shape for v in model.inputs}
    outputs = {v.name: (shape, v.shape) for v, shape in zip(model.outputs, model._plan.output_shapes, strict=True)}
    return {into: _merged(inputs[into], *outputs[made]) for into, made in model.states.items()}


def _merged(given: Any, inferred: Any, declared: Any) -> tuple[_Dim, ...] | None:
    shapes = [shape for shape in (given, inferred, declared) if shape is not None]
    rank = len(shapes[0]) if shapes else 0
    aligned = [
        shape if shape is not None and len(shape) == rank else (None,) * rank for shape in (given, inferred, declared)
    ]
    dims: list[_Dim] = []
    for axis in zip(*aligned, strict=True):
        sure = [n for n in axis[:2] if isinstance(n, int)]
        dims.append(sure[0] if sure else tuple(n for n in axis if n is not None))
    return tuple(dims) if shapes else None


def _size(dim: _Dim, named: Mapping[str, int]) -> int | None:
    """The first size that `dim` comes to."""
    if isinstance(dim, int):
        return dim
    return next((n for name in dim if (n := name if isinstance(name, int) else named.get(name)) is not None), None)


def _check_state(value: Value, array: Any) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != value.dtype:
        raise InputError(
            f"state {value.name!r}: expected an array of {value.dtype}, got {getattr(array, 'dtype', type(array))}"
        )
    shape = value.shape
    if shape is not None and (
        len(shape) != array.ndim or any(isinstance(d, int) and d != n for d, n in zip(shape, array.shape, strict=True))
    ):
        raise InputError(f"state {value.name!r}: expected shape {shape}, got {array.shape}")


def _deliver(answer: dict[str, Any], out: Mapping[str, np.ndarray]) -> None:
    """Write outputs into the caller's arrays; all are checked before any is written."""
    if not isinstance(out, Mapping):
        raise InputError(f"out: expected a dict of arrays by output name, got {type(out).__name__}")
    for name, target in out.items():
        if name not in answer:
            raise InputError(f"out: no output is called {name!r}; expected {', '.join(answer)}")
        value = answer[name]
        if not isinstance(target, np.ndarray) or target.shape != value.shape or target.dtype != value.dtype:
            got = f"{target.dtype} {target.shape}" if isinstance(target, np.ndarray) else type(target).__name__
            raise InputError(f"out: {name!r}: expected {value.dtype} {value.shape}, got {got}")
        if not target.flags.writeable:
            raise InputError(f"out: {name!r}: expected an array that can be written")
    for name, target in out.items():
        np.copyto(target, answer[name])
        answer[name] = target


def _restored(model: Model, state: dict[str, np.ndarray]) -> Stream:
    stream = Stream(model)
    stream.state = state
    return stream
