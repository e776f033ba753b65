"""What is known inside of the body of a Loop or Scan, of values that each step hands on to the next."""

from __future__ import annotations

import numpy as np

from ..graph import Graph, Node
from .edit import NEWEST
from .known import Known
from .names import rename_inputs
from .views import Size

_ROUNDS = 4  # after which nothing is assumed any more


def inside(node: Node, body: Graph, known: Known) -> Known:
    """What is known in `body` of `node`, whatever step it is.

    By induction: values that are carried have in all steps the type and shape that they start with, if a step that gets
    them so gives them out so.
    """
    first = _starts(node, body, known)
    if not first and id(body) in known.inner:
        return known.inner[id(body)]
    for _ in range(_ROUNDS if first else 0):
        inner = _assuming(body, known, first)
        wrong = [
            name
            for name, (result, shape, dtype) in first.items()
            if result and (inner.shape(result) != shape or inner.dtype(result) != dtype)
        ]
        if not wrong:
            return inner
        for name in wrong:
            del first[name]
    return Known.of(body, known)


_Start = tuple[str, "tuple[Size, ...] | None", "np.dtype | None"]


def _starts(node: Node, body: Graph, known: Known) -> dict[str, _Start]:
    """Inputs of the body: the output that follows it if there is one, and shape and type at the start."""
    starts: dict[str, _Start] = {}
    if node.domain or node.op not in ("Loop", "Scan"):
        return starts
    skip = 2 if node.op == "Loop" else 0
    n_carried = len(node.inputs) - (2 if skip else int(node.attrs.get("num_scan_inputs", 0)))
    if skip and len(body.inputs) >= 2:
        starts[body.inputs[0].name] = ("", (), np.dtype(np.int64))
        starts[body.inputs[1].name] = ("", (), np.dtype(bool))
    outputs = body.outputs[skip // 2 :]
    for k in range(min(n_carried, len(outputs), len(body.inputs) - skip)):
        name = node.inputs[skip + k]
        starts[body.inputs[skip + k].name] = (outputs[k].name, known.shape(name), known.dtype(name))
    axes = node.attrs.get("scan_input_axes") or [0] * len(node.inputs)
    for k, name in enumerate(node.inputs[n_carried:] if not skip and n_carried >= 0 else ()):
        shape = known.shape(name) if k < len(axes) else None
        if n_carried + k >= len(body.inputs) or shape is None or not -len(shape) <= axes[k] < len(shape):
            continue
        axis = axes[k] % len(shape)
        starts[body.inputs[n_carried + k].name] = ("", (*shape[:axis], *shape[axis + 1 :]), known.dtype(name))
    return {name: start for name, start in starts.items() if start[1] is not None}


def _assuming(body: Graph, outer: Known, first: dict[str, _Start]) -> Known:
    known = Known(body, outer)
    for name, (_, shape, dtype) in first.items():
        known.assume(name, shape, dtype)
    for node in body.nodes:
        for _, sub in node.subgraphs():
            known.inner[id(sub)] = inside(node, sub, known)
        known.learn(node)
    return known


def free_invariants(graph: Graph) -> int:
    """Let bodies of Loops take from outside what they only hand on from step to step, in place; returns how many."""
    count = 0
    nodes: list[Node] = []
    for sub in graph.bodies():
        count += free_invariants(sub)
    for node in graph.nodes:
        body = node.attrs.get("body")
        if node.op == "Loop" and not node.domain and isinstance(body, Graph):
            count += _free(node, body, nodes)
        nodes.append(node)
    graph.nodes[:] = nodes
    return count


def _free(node: Node, body: Graph, before: list[Node]) -> int:
    """Take the invariants away from one Loop; what they were outputs of it for is put `before` it."""
    names: dict[str, str] = {}
    for k in reversed(range(len(node.inputs) - 2)):
        if 2 + k >= len(body.inputs) or 1 + k >= len(body.outputs) or not node.inputs[2 + k]:
            continue
        if body.outputs[1 + k].name != body.inputs[2 + k].name:
            continue
        names[body.inputs[2 + k].name] = node.inputs[2 + k]
        if node.output(k):
            before.append(Node("Identity", [node.inputs[2 + k]], [node.outputs[k]], version=NEWEST))
        del node.inputs[2 + k], body.inputs[2 + k], body.outputs[1 + k], node.outputs[k : k + 1]
        node.proto = None
    for inner_node in body.nodes:
        rename_inputs(inner_node, names)
    for value in body.outputs:
        value.name = names.get(value.name, value.name)
    return len(names)
