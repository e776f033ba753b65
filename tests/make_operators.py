"""Writes ``rnnrt/operators.txt``, what the ``onnx`` package says about the standard operators, for :mod:`rnnrt.schema`.

    python tests/make_operators.py

Opening a model then needs no import of ``onnx``, which takes longer than all the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import defs

FILE = Path(__file__).resolve().parent.parent / "rnnrt" / "operators.txt"


def entry(schema: Any) -> str:
    """The version alone if withdrawn; else with counts of inputs and outputs, needed inputs, and attributes.

    ``version least,most least,most number:name,... name:TYPE,...``; attributes that must be there end in ``!``.
    """
    if schema.deprecated:
        return str(schema.since_version)
    single = defs.OpSchema.FormalParameterOption.Single
    inputs = [f"{k}:{p.name}" for k, p in enumerate(schema.inputs) if p.option == single]
    attributes = [f"{name}:{a.type.name}{'!' if a.required else ''}" for name, a in sorted(schema.attributes.items())]
    counts = f"{schema.min_input},{schema.max_input} {schema.min_output},{schema.max_output}"
    return f"{schema.since_version} {counts} {','.join(inputs)} {','.join(attributes)}"


def text() -> str:
    """The file: newest IR version and opset, then a line an operator with an entry a version, the newest last."""
    operators: dict[str, list[tuple[int, str]]] = {}
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "":
            operators.setdefault(schema.name, []).append((schema.since_version, entry(schema)))
    lines = [f"{onnx.IR_VERSION} {defs.onnx_opset_version()}"]
    for name, entries in sorted(operators.items()):
        lines.append(f"{name} {';'.join(line for _, line in sorted(entries))}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
