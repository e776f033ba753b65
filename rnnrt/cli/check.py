"""`rnnrt check`: the same inputs through rnnrt and every other engine at hand, and how far they are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import SpinnerColumn, TextColumn

from .. import model as _model
from ..errors import InputError
from .arguments import INPUTS, MODEL, SEED, SHAPES
from .engines import installed, open_engine, reason
from .feeds import Wanted, make_feed, read_cases, recorded_cases
from .show import console, error_console, number, progress_bar, shape, table

HALF_TOLERANCE = 4e-3
"""What half precision is allowed in any case, absolutely and relatively: four units in the last place of 1."""


@dataclass(frozen=True)
class Difference:
    """The largest difference of two arrays, the same as a share of the largest value, and whether it is allowed."""

    largest: float
    relative: float
    allowed: bool
    what: str = ""


def check(
    model: MODEL,
    inputs: INPUTS = [],  # noqa: B006
    shapes: SHAPES = [],  # noqa: B006
    cases: Annotated[bool, typer.Option("--cases", help="Check the cases recorded beside the model as well.")] = False,
    rtol: Annotated[float, typer.Option(min=0, help="Relative tolerance.")] = 1e-4,
    atol: Annotated[float, typer.Option(min=0, help="Absolute tolerance.")] = 1e-4,
    seed: SEED = 0,
) -> None:
    """Compare a model's answers with those of every other engine that is installed.

    Exit code 1 if rnnrt stands against the others.
    """
    loaded = _model.load(model)
    recorded = recorded_cases(model)
    if cases and recorded is None:
        raise InputError(f"--cases: expected a file cases.npz beside {model!r}, got none")
    wanted = Wanted(files=inputs, shapes=shapes, seed=seed, zero_states=False)
    feed = make_feed(loaded.inputs, loaded.states, wanted, recorded)
    out = console()
    for note in feed.notes:
        error_console().print(note, style="dim", markup=False)
    names = [value.name for value in loaded.outputs]
    ours = list(loaded.run(feed.arrays).values())
    answers, failures = _ask_others(model, feed.arrays)
    made = table(f"rnnrt beside the others, inputs {_shapes(feed.arrays)}", *_COLUMNS)
    good = _compare(made, names, ours, answers, rtol, atol)
    if cases and recorded is not None:
        for k, (given, expected) in enumerate(read_cases(recorded)):
            got = loaded.run(given)
            want = {f"case {k}": [expected.get(name) for name in names]}
            good &= _compare(made, names, [got[name] for name in names], want, rtol, atol)
    out.print(made)
    for engine, why in failures.items():
        out.print(f"[yellow]{engine}[/yellow] gave no answer: ", end="")
        out.print(why, markup=False)
    if made.row_count == 0:
        raise InputError("check: no other engine gave an answer, so there is nothing to compare with")
    out.print("[green]rnnrt agrees[/green]" if good else "[bold red]rnnrt stands against the others[/bold red]")
    raise typer.Exit(0 if good else 1)


_NUMBERS = ("max |difference|", "of the largest")
_COLUMNS = (("engine", "output", "shape", *_NUMBERS, ""), _NUMBERS)


def _shapes(arrays: Mapping[str, np.ndarray]) -> str:
    return ", ".join(f"{name} {shape(array.shape)}" for name, array in arrays.items()) or "none"


def _ask_others(path: str, feed: Mapping[str, np.ndarray]) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """The outputs by engine, and by engine why there are none."""
    answers: dict[str, list[Any]] = {}
    failures: dict[str, str] = {}
    columns = SpinnerColumn(), TextColumn("{task.description}")
    with progress_bar(*columns) as progress:
        task = progress.add_task("")
        for engine in installed():
            if engine == "rnnrt":
                continue
            progress.update(task, description=f"asking {engine}")
            try:
                answers[engine] = open_engine(engine, path)(feed)
            except Exception as error:  # an engine may raise anything; it is named and left out
                failures[engine] = reason(error)
    return answers, failures


def _compare(
    made: Any, names: Sequence[str], ours: Sequence[Any], answers: Mapping[str, Sequence[Any]], rtol: float, atol: float
) -> bool:
    """Add a row an engine and output; whether rnnrt is with the majority on every output."""
    good = True
    for k, name in enumerate(names):
        theirs = {engine: outputs[k] for engine, outputs in answers.items() if outputs[k] is not None}
        for engine, value in theirs.items():
            apart = difference(ours[k], value, rtol, atol)
            made.add_row(
                engine,
                name,
                shape(np.shape(ours[k])) if isinstance(ours[k], np.ndarray) else "",
                apart.what or number(apart.largest),
                "" if apart.what else number(apart.relative),
                "[green]agrees[/green]" if apart.allowed else "[red]differs[/red]",
            )
        good &= stands_with(ours[k], list(theirs.values()), rtol, atol)
    return good


def stands_with(ours: Any, theirs: Sequence[Any], rtol: float, atol: float) -> bool:
    """Whether no group of others that agree among themselves is larger than the group that agrees with us."""
    with_us = sum(difference(ours, other, rtol, atol).allowed for other in theirs)
    against = [other for other in theirs if not difference(ours, other, rtol, atol).allowed]
    return all(sum(difference(a, b, rtol, atol).allowed for b in theirs) <= with_us for a in against)


def difference(got: Any, want: Any, rtol: float, atol: float) -> Difference:
    """Compare two outputs; sequences count as their worst element, integers have to be equal."""
    if isinstance(got, (list, tuple)) or isinstance(want, (list, tuple)):
        if not (isinstance(got, (list, tuple)) and isinstance(want, (list, tuple)) and len(got) == len(want)):
            return Difference(np.inf, np.inf, False, "another length")
        parts = [difference(g, w, rtol, atol) for g, w in zip(got, want, strict=True)]
        return max(parts, key=lambda d: (not d.allowed, d.largest), default=Difference(0.0, 0.0, True))
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape:
        return Difference(np.inf, np.inf, False, f"shape {shape(want.shape)}")
    if got.dtype != want.dtype and got.dtype.kind not in "OSUT":
        return Difference(np.inf, np.inf, False, f"dtype {want.dtype}")
    if got.dtype.kind in "OSUT":
        same = bool(np.array_equal(got.astype(str), want.astype(str)))
        return Difference(0.0, 0.0, same, "" if same else "other strings")
    if got.dtype.name in ("float16", "bfloat16"):
        rtol, atol = max(rtol, HALF_TOLERANCE), max(atol, HALF_TOLERANCE)
    if got.dtype.kind in "biu":
        rtol = atol = 0.0
    wide = np.complex128 if got.dtype.kind == "c" else np.float64
    a, b = got.astype(wide), want.astype(wide)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(a - b))
    apart = np.where(np.isnan(apart), np.inf, apart)
    finite = np.abs(b[np.isfinite(b)])
    peak = float(finite.max()) if finite.size else 0.0
    largest = float(apart.max()) if apart.size else 0.0
    allowed = bool(np.all(same | (np.isfinite(b) & (apart <= atol + rtol * np.abs(b)))))
    return Difference(largest, largest / peak if peak else (0.0 if largest == 0 else np.inf), allowed)
