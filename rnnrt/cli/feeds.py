"""Inputs for a model: given by files, recorded beside it, or made up from declared shapes.

A made-up input is seeded. Unknown dimensions get a size from ``--shape``, ``--batch`` or ``--steps``, else from what
their name and place suggest; what was chosen is told in `Feed.notes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..graph import Value

_TIME = re.compile(r"time|seq|step|frame|len|samples?|chars?|tokens?|words?|phon|(^|_)(t|l|s)(_|$)", re.IGNORECASE)
_BATCH = re.compile(r"batch|(^|_)(n|b|bs|bsz)(_|$)", re.IGNORECASE)
_RATE = re.compile(r"^(sr|fs|rate|sampl(e|ing)_?rate)$", re.IGNORECASE)
_LENGTHS = re.compile(r"len|size", re.IGNORECASE)

BATCH, STEPS, SAMPLE_RATE, MAX_ELEMENTS = 1, 100, 16000, 1 << 28


@dataclass
class Feed:
    """Arrays by input name, and a sentence for every choice that was made for the user."""

    arrays: dict[str, np.ndarray]
    notes: list[str] = field(default_factory=list)
    steps: int = 1


@dataclass(frozen=True)
class Wanted:
    """What the user said about inputs: ``name=file`` and ``name=1x512`` strings, sizes, a seed."""

    files: Sequence[str] = ()
    shapes: Sequence[str] = ()
    batch: int | None = None
    steps: int | None = None
    seed: int = 0
    zero_states: bool = True

    @property
    def sized(self) -> bool:
        """Whether any size was asked for."""
        return bool(self.shapes) or self.batch is not None or self.steps is not None


def make_feed(inputs: Iterable[Value], states: Mapping[str, str], wanted: Wanted, recorded: Path | None) -> Feed:
    """Arrays for all `inputs`: files first, then the recorded case if no size is asked for, then random ones.

    Raises
    ------
    InputError
        For a name that is no input, a file that cannot be read, a shape that does not fit the declared one.
    """
    values = {value.name: value for value in inputs}
    feed = Feed({name: _read(name, path) for name, path in _pairs(wanted.files, "--input", values).items()})
    shapes = {name: _parse_shape(name, text) for name, text in _pairs(wanted.shapes, "--shape", values).items()}
    missing = [name for name in values if name not in feed.arrays]
    if recorded is not None and missing and not wanted.sized:
        case = _recorded_case(recorded, missing)
        if case:
            feed.arrays.update(case)
            feed.notes.append(f"{', '.join(case)} from case 0 of {recorded.name} beside the model")
            missing = [name for name in missing if name not in case]
    sizes = _Sizes(wanted, set(states))
    for name, known in [*((n, a.shape) for n, a in feed.arrays.items()), *shapes.items()]:
        sizes.learn(values[name], known)
    rng = np.random.default_rng(wanted.seed)
    for name in missing:
        dims = shapes[name] if name in shapes else sizes.choose(values[name])
        feed.arrays[name] = _invent(values[name], dims, rng, sizes, wanted.zero_states and name in states)
    feed.notes += sizes.notes()
    steps = sizes.time_of([value for name, value in values.items() if name not in states])
    return Feed({name: feed.arrays[name] for name in values}, feed.notes, steps)


def recorded_cases(model: str) -> Path | None:
    """The file of recorded cases beside a model, if there is one."""
    path = Path(model).parent / "cases.npz"
    return path if path.is_file() else None


def read_cases(path: Path) -> list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """The cases of a file with entries ``c<k>.in.<name>`` and ``c<k>.out.<name>``, as (inputs, outputs)."""
    cases: dict[int, tuple[dict[str, np.ndarray], dict[str, np.ndarray]]] = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for key in file.files:
                match = re.fullmatch(r"c(\d+)\.(in|out)\.(.+)", key, re.DOTALL)
                if match:
                    pair = cases.setdefault(int(match[1]), ({}, {}))
                    pair[match[2] == "out"][match[3]] = file[key]
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the recorded cases {str(path)!r}: {error}") from None
    return [cases[k] for k in sorted(cases)]


def _recorded_case(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    cases = read_cases(path)
    return {name: cases[0][0][name] for name in names if cases and name in cases[0][0]}


def _pairs(items: Sequence[str], option: str, values: Mapping[str, Value]) -> dict[str, str]:
    pairs = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not value:
            raise InputError(f"{option} {item!r}: expected name=value")
        if name not in values:
            raise InputError(f"{option} {item!r}: expected one of the inputs {', '.join(values)}, got {name!r}")
        pairs[name] = value
    return pairs


def _read(name: str, path: str) -> np.ndarray:
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"input {name!r}: cannot read {path!r} as .npy: {error}") from None
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        if name not in loaded.files:
            raise InputError(f"input {name!r}: expected it in {path!r}, got only {', '.join(loaded.files)}")
        return loaded[name]


def _parse_shape(name: str, text: str) -> tuple[int, ...]:
    if text == "scalar":
        return ()
    if not re.fullmatch(r"\d+([x,]\d+)*", text):
        raise InputError(f"--shape {name}={text}: expected sizes such as 1x512, or 'scalar'")
    return tuple(int(size) for size in re.split("[x,]", text))


class _Sizes:
    """Sizes of unknown dimensions, remembered by symbol so that equal symbols get equal sizes."""

    def __init__(self, wanted: Wanted, states: set[str]) -> None:
        self._states = states
        self._batch = BATCH if wanted.batch is None else wanted.batch
        self._batch_given = wanted.batch is not None
        self.steps = STEPS if wanted.steps is None else wanted.steps
        self._known: dict[str, int] = {}
        self._chosen: dict[str, int] = {}

    def learn(self, value: Value, shape: Sequence[int]) -> None:
        """Take the sizes of symbols from a given shape, which has to fit the declared one."""
        declared = value.shape
        if declared is None:
            return
        fixed = [(dim, size) for dim, size in zip(declared, shape, strict=False) if isinstance(dim, int)]
        if len(declared) != len(shape) or any(dim != size for dim, size in fixed):
            want = ", ".join("?" if d is None else str(d) for d in declared)
            raise InputError(f"input {value.name!r}: expected ({want}), got {tuple(shape)}")
        for dim, size in zip(declared, shape, strict=True):
            if isinstance(dim, str):
                self._known.setdefault(dim, int(size))
        if not self._batch_given and len(shape) > 1 and declared[0] is None and value.name not in self._states:
            self._batch = int(shape[0])

    def choose(self, value: Value) -> tuple[int, ...]:
        """A shape for an input."""
        if value.shape is None:
            self._chosen[f"the rank of {value.name}"] = 1
            return (self.steps,)
        return tuple(self._size(value, axis, dim) for axis, dim in enumerate(value.shape))

    def _size(self, value: Value, axis: int, dim: Any) -> int:
        if isinstance(dim, int):
            return dim
        if dim in self._known:
            return self._known[dim]
        size = self._guess(value, axis, dim)
        if dim is not None:
            self._known[dim] = size
        self._chosen[dim if dim is not None else f"{value.name}[{axis}]"] = size
        return size

    def _guess(self, value: Value, axis: int, dim: str | None) -> int:
        """By the name; failing that by the place: the first unknown axis is a batch, the others are time."""
        if dim is not None and _BATCH.search(dim):
            return self._batch
        if dim is not None and _TIME.search(dim):
            return self.steps
        if value.name in self._states or value.shape is None:
            return self._batch
        unknown = [k for k, d in enumerate(value.shape) if not isinstance(d, int)]
        named_batch = any(isinstance(d, str) and _BATCH.search(d) for d in value.shape)
        if axis == unknown[0] and not named_batch and (axis == 0 or len(unknown) > 1):
            return self._batch
        return self.steps

    def time_of(self, values: Iterable[Value]) -> int:
        """The number of time steps in one call: the size of the first dimension that was taken for time, else 1."""
        for value in values:
            for axis, dim in enumerate(value.shape or ()):
                if isinstance(dim, str) and _TIME.search(dim) and not _BATCH.search(dim):
                    return self._known.get(dim, 1)
                if self._chosen.get(f"{value.name}[{axis}]") == self.steps != self._batch:
                    return self.steps
        return 1

    def notes(self) -> list[str]:
        """What was chosen."""
        if not self._chosen:
            return []
        sizes = ", ".join(f"{name} = {size}" for name, size in self._chosen.items())
        return [f"chosen: {sizes} (--shape, --batch and --steps set sizes)"]


def _invent(value: Value, shape: tuple[int, ...], rng: np.random.Generator, sizes: _Sizes, zeros: bool) -> np.ndarray:
    """A random array; integers are small, as indices are, unless the name says a sample rate or lengths."""
    if value.dtype is None:
        raise InputError(f"input {value.name!r}: a {value.kind} cannot be made up; this input has to be given")
    sizes.learn(value, shape)
    if np.prod(shape, dtype=float) > MAX_ELEMENTS:
        raise InputError(f"input {value.name!r}: expected at most {MAX_ELEMENTS} elements, got the shape {shape}")
    dtype = value.dtype
    if zeros:
        return np.zeros(shape, dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        if _RATE.search(value.name):
            return np.full(shape, min(SAMPLE_RATE, np.iinfo(dtype).max), dtype)
        if _LENGTHS.search(value.name):
            return np.full(shape, min(sizes.steps, np.iinfo(dtype).max), dtype)
        return np.asarray(rng.integers(0, 10, shape)).astype(dtype)
    if dtype.kind in "OSUT":
        return np.full(shape, "a", dtype)
    return np.asarray(rng.standard_normal(shape)).astype(dtype)
