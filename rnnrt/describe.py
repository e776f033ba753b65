"""A model's plan as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._core import engine

if TYPE_CHECKING:
    from .model import Model
    from .plan import Plan


def describe(model: Model) -> str:
    """See :meth:`Model.describe`."""
    plan = model._plan
    counts = ", ".join(f"{n} {tier}" for tier, n in plan.count().items()) or "none"
    lines = [
        f"model {model.metadata['graph_name']!r}: {len(model.inputs)} inputs, {len(model.outputs)} outputs, "
        f"steps: {counts}",
        f"instruction set {engine.in_use}; threads {model.threads}",
        *(f"state {into} <- {out}" for into, out in model.states.items()),
        model._ragged_plan().describe(),
        *plan.notes,
        "",
        *_steps(plan, ""),
    ]
    return "\n".join(lines)


def _steps(plan: Plan, indent: str) -> list[str]:
    width = max((len(step.label) for step in plan.steps), default=0)
    lines = []
    for k, step in enumerate(plan.steps):
        shapes = ", ".join(_shape(s) for s in step.shapes)
        lines.append(f"{indent}{k:4d}  {step.tier:9s}  {step.label:{width}s}  -> {shapes}")
        if step.detail:
            lines.append(f"{indent}{'':15s}  {step.detail}")
        for name, inner in step.plans:
            lines.append(f"{indent}      {name}:")
            lines += _steps(inner, indent + "        ")
    return lines


def _shape(shape: tuple[Any, ...] | None) -> str:
    return "?" if shape is None else f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
