"""Whether a node keeps to its operator's definition: counts of inputs and outputs, attributes and their types.

The definitions are those of the ``onnx`` package. Importing it takes longer than all the rest, so they are written
down in ``operators.txt`` (by ``tests/make_operators.py``), and only what is newer or of other domains is looked up
there. An operator that it does not know is passed over here and left to the planner.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import NamedTuple

from .errors import ModelError
from .graph import Graph, Node


class Signature(NamedTuple):
    """What an operator takes and gives: counts from and to, inputs that must be there, types of attributes by name."""

    inputs: tuple[int, int]
    outputs: tuple[int, int]
    single: tuple[tuple[int, str], ...]
    attributes: Mapping[str, str]
    needed: tuple[str, ...]


@functools.cache
def _written() -> tuple[int, int, dict[str, str]]:
    """The newest IR version and opset that are written down, and the entries of operators by name."""
    with open(os.path.join(os.path.dirname(__file__), "operators.txt"), encoding="utf-8") as file:
        first, *lines = file.read().splitlines()
    ir_version, opset = first.split()
    return int(ir_version), int(opset), dict([line.split(" ", 1) for line in lines])


def newest_versions() -> tuple[int, int]:
    """The newest IR version and opset that are written down."""
    return _written()[:2]


@functools.lru_cache(maxsize=4096)
def signature(op: str, domain: str, version: int) -> Signature | None:
    """The signature of an operator at an opset version; None where it is unknown or has been withdrawn."""
    _, opset, operators = _written()
    if domain or version > opset:
        return _looked_up(op, domain, version)
    entries = [entry for entry in operators.get(op, "").split(";") if entry and int(entry.split(" ", 1)[0]) <= version]
    return _parsed(entries[-1]) if entries else None


def _parsed(entry: str) -> Signature | None:
    """The signature in an entry of ``operators.txt``, as ``tests/make_operators.py`` writes it; None if withdrawn."""
    _, *fields = entry.split(" ")
    if not fields:
        return None
    inputs, outputs, single, attributes = [[part for part in field.split(",") if part] for field in fields]
    types = dict([name.removesuffix("!").split(":") for name in attributes])
    return Signature(
        (int(inputs[0]), int(inputs[1])),
        (int(outputs[0]), int(outputs[1])),
        tuple([(int(k), name) for k, name in [part.split(":") for part in single]]),
        types,
        tuple([name.split(":")[0] for name in attributes if name.endswith("!")]),
    )


def _looked_up(op: str, domain: str, version: int) -> Signature | None:
    from onnx import defs

    try:
        schema = defs.get_schema(op, version, domain)
    except (defs.SchemaError, UnicodeError):
        return None
    if schema.deprecated:
        return None
    single = defs.OpSchema.FormalParameterOption.Single
    return Signature(
        inputs=(schema.min_input, schema.max_input),
        outputs=(schema.min_output, schema.max_output),
        single=tuple((k, p.name) for k, p in enumerate(schema.inputs) if p.option == single),
        attributes={name: a.type.name for name, a in schema.attributes.items()},  # type: ignore[attr-defined]
        needed=tuple(name for name, a in schema.attributes.items() if a.required),
    )


def check_node(node: Node, types: Mapping[str, str], where: str) -> None:
    """Compare `node` with its operator's definition.

    Parameters
    ----------
    types
        The type of each attribute as ONNX names it (``INTS``, ``TENSOR``, …), by name.

    Raises
    ------
    ModelError
        For the first difference found.
    """
    known = signature(node.op, node.domain, node.version)
    if known is None:
        return
    inputs = node.inputs
    count = len(inputs)
    if not known.inputs[0] <= count <= known.inputs[1]:
        _check_count("inputs", inputs, known.inputs, where)
    if not known.outputs[0] <= len(node.outputs) <= known.outputs[1]:
        _check_count("outputs", node.outputs, known.outputs, where)
    for k, name in known.single:
        if k >= count or not inputs[k]:
            raise ModelError(f"{where}: its input {name!r} (number {k}) is missing")
    for name, got in types.items():
        expected = known.attributes.get(name)
        if expected is None and not name.startswith("__"):
            raise ModelError(
                f"{where}: opset {node.version} defines no attribute {name!r} for it; "
                f"it has {', '.join(sorted(known.attributes)) or 'none'}"
            )
        if expected not in (None, got):
            raise ModelError(f"{where}: attribute {name!r}: expected {expected}, got {got}")
    for name in known.needed:
        if name not in types:
            raise ModelError(f"{where}: the attribute {name!r} is missing")
    if node.domain == "" and node.op in ("If", "Loop"):
        _check_bodies(node, where)


def _check_count(what: str, names: list[str], bounds: tuple[int, int], where: str) -> None:
    """Absent values at the end do not count."""
    count = len(names)
    while count > bounds[0] and not names[count - 1]:
        count -= 1
    if not bounds[0] <= count <= bounds[1]:
        expected = bounds[0] if bounds[0] == bounds[1] else f"{bounds[0]} to {bounds[1]}"
        expected = f"at least {bounds[0]}" if bounds[1] >= 1 << 30 else expected
        raise ModelError(f"{where}: expected {expected} {what}, got {count}")


def _check_bodies(node: Node, where: str) -> None:
    """The graphs inside If and Loop have to take and give as many values as the node hands in and out."""
    for key, graph in node.subgraphs():
        carried = max(len(node.inputs) - 2, 0)
        takes, gives = (0, len(node.outputs)) if node.op == "If" else (2 + carried, 1 + len(node.outputs))
        _compare(key, "inputs", graph, len(graph.inputs), takes, where)
        if node.op == "Loop" and len(graph.outputs) < 1 + carried:
            raise ModelError(
                f"{where}: {key} {graph.name!r}: expected outputs for the condition and the {carried} carried values, "
                f"got {len(graph.outputs)}"
            )
        if node.op == "If" or len(graph.outputs) < gives:
            _compare(key, "outputs", graph, len(graph.outputs), gives, where)


def _compare(key: str, what: str, graph: Graph, got: int, expected: int, where: str) -> None:
    if got != expected:
        raise ModelError(f"{where}: {key} {graph.name!r}: expected {expected} {what}, got {got}")
