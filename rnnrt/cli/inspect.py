"""`rnnrt inspect`: what a model is and what its plan does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import model as _model
from ..graph import Value
from ..profile import Profile
from ..session import NodeArg
from .arguments import INPUTS, MODEL, SEED, SHAPES, THREADS
from .feeds import Wanted, make_feed, recorded_cases
from .show import console, error_console, number, shape, table


def inspect(
    model: MODEL,
    plan: Annotated[bool, typer.Option(help="Show the plan, step by step.")] = True,
    profile: Annotated[bool, typer.Option("--profile", help="Run the model and show where the time goes.")] = False,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the profile as a Chrome trace; implies --profile.")
    ] = None,
    inputs: INPUTS = [],  # noqa: B006
    shapes: SHAPES = [],  # noqa: B006
    runs: Annotated[int, typer.Option(min=1, help="Runs that a profile is made of.")] = 50,
    threads: THREADS = 1,
    seed: SEED = 0,
) -> None:
    """Show a model's inputs, outputs, states and origin, and the plan that runs it."""
    loaded = _model.load(model, threads=threads)
    feed = None
    if profile or trace is not None or inputs or shapes:
        wanted = Wanted(files=inputs, shapes=shapes, seed=seed)
        feed = make_feed(loaded.inputs, loaded.states, wanted, recorded_cases(model))
        for note in feed.notes:
            error_console().print(note, style="dim", markup=False)
        loaded.run(feed.arrays)
    out = console()
    out.print(_about(loaded))
    out.print(_values("inputs", loaded.inputs))
    out.print(_values("outputs", loaded.outputs))
    if loaded.states:
        made = table("states", ("input", "comes from output"))
        for into, out_of in loaded.states.items():
            made.add_row(into, out_of)
        out.print(made)
    if plan:
        out.print(loaded.describe(), markup=False, soft_wrap=True)
    if feed is not None and (profile or trace is not None):
        found = loaded.profile(feed.arrays, runs)
        out.print(_profile(found))
        out.print(
            f"{len(found.steps)} steps, {number(found.seconds * 1e6)} µs, {found.native_share:.1%} of it native; "
            f"a run without clocks takes {number(found.run_seconds * 1e6)} µs"
        )
        if trace is not None:
            found.save(trace)


def _profile(found: Profile) -> Any:
    columns = ("step", "tier", "operator", "µs", "share", "kFLOP", "kB", "x limit")
    made = table("profile", columns, columns[3:])
    for step in found.steps:
        limit = "" if step.times_floor is None else number(step.times_floor)
        work = f"{step.flops / 1e3:.1f}", f"{step.bytes / 1e3:.1f}"
        times = number(step.seconds * 1e6), f"{step.share:.1%}"
        made.add_row(step.label, step.tier, step.operator, *times, *work, limit)
    return made


def _about(loaded: _model.Model) -> Any:
    made = table("model", ("what", "value"))
    for key, value in loaded.metadata.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k or 'ai.onnx'} {v}" for k, v in value.items())
        if value not in ("", 0, None):
            made.add_row(key.replace("_", " "), str(value))
    return made


def _values(title: str, values: Iterable[Value]) -> Any:
    made = table(title, ("name", "type", "shape"))
    for value in values:
        made.add_row(value.name, NodeArg(value).type, shape(value.shape))
    return made
