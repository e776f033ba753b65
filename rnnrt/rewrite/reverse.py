"""Sequences turned round: ReverseSequence of whole ones is a Slice, and a recurrent node between two goes backwards."""

from __future__ import annotations

import numpy as np

from ..graph import Graph, Node
from .edit import NEWEST
from .known import Known
from .names import Names
from .views import Size, Views, turns_round, views_of


def slice_whole_reversals(graph: Graph, known: Known, names: Names) -> int:
    """Replace such nodes of `graph`, of which `known` is known, and of the graphs in it, in place; returns how many."""
    if "ReverseSequence" not in graph.operators():
        return 0
    return _sweep(graph, known, names)


def _sweep(graph: Graph, known: Known, names: Names) -> int:
    count = 0
    for sub in graph.bodies():
        count += _sweep(sub, known.inner[id(sub)], names)
    for node in graph.nodes:
        if node.op != "ReverseSequence" or node.domain:
            continue
        shape, axis = known.shape(node.inputs[0]), int(node.attrs.get("time_axis", 0))
        if shape is None or axis >= len(shape) or _everywhere(node.inputs[1], known) != shape[axis]:
            continue
        bounds = []
        for what, value in (("start", -1), ("end", -(2**63)), ("axis", axis), ("step", -1)):
            bounds.append(names.fresh(f"{node.outputs[0]}__{what}"))
            graph.constants[bounds[-1]] = np.array([value], np.int64)
        node.op, node.inputs, node.attrs = "Slice", [node.inputs[0], *bounds], {}
        node.version, node.proto = NEWEST, None
        count += 1
    return count


def turn_nodes(graph: Graph, known: Known, names: Names) -> int:
    """Let recurrent nodes between two reversals in time go backwards instead, in place; returns how many."""
    if graph.operators().isdisjoint(_RECURRENT):
        return 0
    users, outputs = graph.consumers(), {v.name for v in graph.outputs}
    count = 0
    for sub in graph.bodies():
        count += turn_nodes(sub, known.inner[id(sub)], names)
    for node in graph.nodes:
        direction = node.attrs.get("direction", "forward")
        direction = direction.decode("utf-8", "replace") if isinstance(direction, bytes) else direction
        turned = direction in _OTHER and node.op in _RECURRENT and not node.domain
        if not turned or node.input(4) or node.attrs.get("layout", 0):
            continue
        made = known.producer(node.inputs[0])
        views = views_of(made[0], 0, made[1]) if made is not None and made[0].op == "Slice" else None
        if made is None or views is None or not _turns(views, 0):
            continue
        back = _turned_back(node.outputs[0], 0, known, users, outputs) if node.output(0) else []
        if back is None:
            continue
        node.inputs[0], node.attrs["direction"], node.proto = made[0].inputs[0], _OTHER[direction], None
        for last in back:
            last.op, last.inputs, last.attrs, last.proto = "Identity", last.inputs[:1], {}, None
        count += 1
    return count


def _turned_back(
    name: str, axis: int, known: Known, users: dict[str, list[Node]], outputs: set[str], depth: int = 4
) -> list[Node] | None:
    """The Slices that turn `axis` of `name` round, if all uses of `name` come to such; through views that keep it."""
    readers, shape = users.get(name, ()), known.shape(name)
    if name in outputs or not readers or not depth or shape is None:
        return None
    found: list[Node] = []
    for reader in readers:
        if reader.op == "Identity" and not reader.domain:
            further = _turned_back(reader.outputs[0], axis, known, users, outputs, depth - 1)
            if further is None:
                return None
            found += further
            continue
        views = views_of(reader, 0, known)
        if views is None or len(views) != 1 or reader.inputs[0] != name or len(reader.outputs) != 1:
            return None
        if reader.op == "Slice" and _turns(views, axis):
            found.append(reader)
            continue
        kind, *args = views[0]
        if kind == "transpose" and len(args[0]) == len(shape):
            now = [p % len(shape) for p in args[0]].index(axis)
        elif kind == "squeeze" and axis not in (a % len(shape) for a in args[0]):
            now = axis - sum(1 for a in args[0] if a % len(shape) < axis)
        else:
            return None
        further = _turned_back(reader.outputs[0], now, known, users, outputs, depth - 1)
        if further is None:
            return None
        found += further
    return found


_RECURRENT = ("LSTM", "GRU", "RNN")
_OTHER = {"forward": "reverse", "reverse": "forward"}


def _turns(views: Views, axis: int) -> bool:
    return len(views) == 1 and views[0][0] == "slice" and views[0][1] == axis and turns_round(views[0][2:])


def _everywhere(name: str, known: Known) -> Size | None:
    """The number, or the size, that every element of `name` is."""
    array = known.constant(name)
    if array is not None:
        return (
            int(array.flat[0]) if array.size and array.dtype.kind in "iu" and np.all(array == array.flat[0]) else None
        )
    made = known.producer(name)
    node: Node | None = made[0] if made is not None and not made[0].domain else None
    if node is None or made is None:
        return None
    if node.op in ("Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze", "Expand", "Tile"):
        return made[1].number(node.inputs[0]) or _everywhere(node.inputs[0], made[1])
    if node.op == "ConstantOfShape":
        value = node.attrs.get("value")
        return int(value.reshape(-1)[0]) if isinstance(value, np.ndarray) and value.dtype.kind in "iu" else None
    return None
