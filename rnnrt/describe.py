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
        *_bound(model),
    ]
    return "\n".join(lines)


def _bound(model: Model) -> list[str]:
    """What has been bound so far: for each combination of input shapes, its steps and memory."""
    lines: list[str] = []
    for signature, root in model._plan.program.roots.items():
        shapes = ", ".join(
            f"{value.name} {'?' if entry is None else _shape(entry[1])}"
            for value, entry in zip(model.inputs, signature, strict=True)
        )
        lines += ["", f"bound to {shapes or 'no inputs'}", *_segment(root, "")]
    return lines


def _segment(segment: Any, indent: str) -> list[str]:
    lines = [f"{indent}arena {segment.arena_size} bytes, of which at most {segment.peak} are in use at once"]
    for k, (label, name) in enumerate(zip(segment.labels, segment.names, strict=True)):
        inside, times = segment.bodies.get(k, (None, 1))
        lines.append(f"{indent}{k:4d}  {name:16s}  {label}" + (f", {times} times" if inside else ""))
        if note := segment.note(k):
            lines.append(f"{indent}{'':24s}{note}")
        if inside:
            lines += _segment(inside, indent + "        ")
    end = segment.terminal
    if end.kind == 1:
        lines.append(f"{indent}      {end.tier:16s}  {end.label}")
    for key, child in segment.children.items():
        if end.kind == 2:
            lines.append(f"{indent}      {end.label}: {'then' if key else 'else'}")
        lines += _segment(child, indent + "  " if end.kind == 2 else indent)
    return lines


def _steps(plan: Plan, indent: str) -> list[str]:
    width = max((len(step.label) for step in plan.steps), default=0)
    lines = []
    for k, step in enumerate(plan.steps):
        shapes = ", ".join(_shape(s) for s in step.shapes)
        lines.append(f"{indent}{k:4d}  {step.expected:9s}  {step.label:{width}s}  -> {shapes}")
        if step.detail:
            lines.append(f"{indent}{'':15s}  {step.detail}")
        for name, inner in step.plans:
            lines.append(f"{indent}      {name}:")
            lines += _steps(inner, indent + "        ")
    return lines


def _shape(shape: tuple[Any, ...] | None) -> str:
    return "?" if shape is None else f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
