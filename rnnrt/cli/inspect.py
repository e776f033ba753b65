"""`rnnrt inspect`: what a model is and what its plan does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from .. import model as _model
from ..graph import Value
from ..session import NodeArg
from .arguments import MODEL, THREADS
from .show import console, shape, table


def inspect(
    model: MODEL,
    plan: Annotated[bool, typer.Option(help="Show the plan, step by step.")] = True,
    threads: THREADS = 1,
) -> None:
    """Show a model's inputs, outputs, states and origin, and the plan that runs it."""
    loaded = _model.load(model, threads=threads)
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
