"""Writes ``rnnrt/operators.txt``, what the ``onnx`` package says about the standard operators, for :mod:`rnnrt.schema`.

    python tests/make_operators.py

Opening a model then needs no import of ``onnx``, which takes longer than all the rest.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
from onnx import defs

FILE = Path(__file__).resolve().parent.parent / "rnnrt" / "operators.txt"


def entry(schema: Any) -> list[Any]:
    """Version; None if withdrawn, else counts of inputs and outputs, needed inputs, attributes, needed ones of them."""
    if schema.deprecated:
        return [schema.since_version, None]
    single = defs.OpSchema.FormalParameterOption.Single
    return [
        schema.since_version,
        [schema.min_input, schema.max_input],
        [schema.min_output, schema.max_output],
        [[k, p.name] for k, p in enumerate(schema.inputs) if p.option == single],
        {name: a.type.name for name, a in sorted(schema.attributes.items())},
        [name for name, a in sorted(schema.attributes.items()) if a.required],
    ]


def text() -> str:
    """The file: newest IR version and opset, then a line an operator with an entry a version, the newest last."""
    operators: dict[str, list[list[Any]]] = {}
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "":
            operators.setdefault(schema.name, []).append(entry(schema))
    lines = [f"{onnx.IR_VERSION} {defs.onnx_opset_version()}"]
    for name, entries in sorted(operators.items()):
        lines.append(f"{name} {json.dumps(sorted(entries, key=lambda e: e[0]), separators=(',', ':'))}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
