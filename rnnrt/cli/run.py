"""`rnnrt run`: feed a model and show or store its outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from .. import model as _model
from ..errors import InputError
from .arguments import INPUTS, MODEL, SEED, SHAPES, THREADS
from .feeds import Wanted, make_feed, recorded_cases
from .show import console, error_console, number, shape, table


def run(
    model: MODEL,
    inputs: INPUTS = [],  # noqa: B006
    shapes: SHAPES = [],  # noqa: B006
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Store the outputs in this .npz file.")] = None,
    seed: SEED = 0,
    threads: THREADS = 1,
) -> None:
    """Run a model once; inputs that are not given are made up."""
    loaded = _model.load(model, threads=threads)
    wanted = Wanted(files=inputs, shapes=shapes, seed=seed)
    feed = make_feed(loaded.inputs, loaded.states, wanted, recorded_cases(model))
    for note in feed.notes:
        error_console().print(note, style="dim", markup=False)
    outputs = loaded.run(feed.arrays)
    out = console()
    out.print(_table("inputs", feed.arrays))
    out.print(_table("outputs", outputs))
    if output is not None:
        _store(output, outputs)
        error_console().print(f"stored in {output}", style="dim", markup=False)


def _table(title: str, arrays: dict[str, Any]) -> Any:
    made = table(title, ("name", "shape", "dtype", "min", "mean", "max"), right=("min", "mean", "max"))
    for name, value in arrays.items():
        if not isinstance(value, np.ndarray):
            size = f"{len(value)} items" if isinstance(value, list) else ""
            made.add_row(name, size, type(value).__name__, "", "", "")
        elif value.size == 0 or value.dtype.kind not in "biufV":
            made.add_row(name, shape(value.shape), value.dtype.name, "", "", "")
        else:
            numbers = value.astype(np.float64)
            made.add_row(
                name,
                shape(value.shape),
                value.dtype.name,
                *(number(float(f(numbers))) for f in (np.min, np.mean, np.max)),
            )
    return made


def _store(path: Path, outputs: dict[str, Any]) -> None:
    if path.suffix != ".npz":
        raise InputError(f"--output: expected a file name that ends in .npz, got {str(path)!r}")
    for name, value in outputs.items():
        if not isinstance(value, np.ndarray):
            raise InputError(f"--output: expected arrays, got a {type(value).__name__} for {name!r}")
    with open(path, "wb") as file:  # a file object, as savez takes keywords and a name may be any string
        np.savez(file, **outputs)
