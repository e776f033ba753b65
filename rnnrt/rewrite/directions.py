"""A forward and a backward layer over one sequence whose outputs are put side by side become one bidirectional node."""

from __future__ import annotations

import numpy as np

from ..graph import Graph, Node
from .absorb import is_last
from .edit import NEWEST
from .known import Known
from .names import Names
from .order import put_in_order
from .views import views_of
from .write import Writer

_RECURRENT = ("LSTM", "GRU", "RNN")
_LISTS = ("activations", "activation_alpha", "activation_beta")


def join_directions(graph: Graph, known: Known, names: Names) -> int:
    """Join such pairs of nodes of `graph`, of which `known` is known, and of the graphs in it; returns how many."""
    found = [node for part in graph.walk() for node in part.nodes if node.op in _RECURRENT and not node.domain]
    if {"forward", "reverse"} - {_direction(node) for node in found}:
        return 0
    _read_last_states(graph, known, names)
    return _join(graph, known, names)


def _read_last_states(graph: Graph, known: Known, names: Names) -> None:
    """Let what takes the last step of Y read Y_h, so that Y is left to the Concat."""
    for sub in graph.bodies():
        _read_last_states(sub, known.inner[id(sub)], names)
    for node in graph.nodes:
        found = known.producer(node.inputs[0]) if node.op in ("Gather", "Slice") and not node.domain else None
        made = found[0] if found is not None and found[1] is known and found[0].op in _RECURRENT else None
        if made is None or made.domain or made.output(0) != node.inputs[0] or made.input(4):
            continue
        views, shape = views_of(node, 0, known), known.shape(made.inputs[0])
        if views is None or len(views) != 1 or views[0][1] != 0 or shape is None or made.attrs.get("layout", 0):
            continue
        kind, _, *where = views[0]
        if _direction(made) == "bidirectional" or not is_last(kind, where, _direction(made) == "reverse", shape[0]):
            continue
        made.outputs += [""] * (2 - len(made.outputs))
        made.outputs[1] = made.outputs[1] or names.fresh(f"{made.outputs[0]}__last")
        node.op, node.inputs, node.attrs, node.proto = "Identity", [made.outputs[1]], {}, None
        if kind == "slice":
            zero = names.fresh(f"{node.outputs[0]}__axis")
            graph.constants[zero] = np.array([0], np.int64)
            node.op, node.inputs, node.version = "Unsqueeze", [made.outputs[1], zero], NEWEST


def _join(graph: Graph, known: Known, names: Names) -> int:
    count = 0
    writer = Writer(graph, names)
    gone: set[int] = set()
    for sub in graph.bodies():
        count += _join(sub, known.inner[id(sub)], names)
    for node in graph.nodes:
        if node.op != "Concat" or node.domain or len(node.inputs) != 2:
            continue
        forward, backward = (_layer(name, known) for name in node.inputs)
        if forward is None or backward is None or gone.intersection((id(forward), id(backward))):
            continue
        shape = known.shape(node.inputs[0])
        if shape is None or int(node.attrs.get("axis", 0)) % len(shape) != 2 or not _alike(forward, backward, known):
            continue
        _write(node, forward, backward, writer, known)
        gone.update((id(node), id(forward), id(backward)))
    if gone:
        graph.nodes[:] = [node for node in graph.nodes if id(node) not in gone] + writer.nodes
        put_in_order(graph)
    return count + len(gone) // 3


def _layer(name: str, known: Known) -> Node | None:
    """The node of one direction that makes `name` as ``[T, B, H]``, its Y without the axis of directions."""
    made = known.producer(name)
    views = views_of(made[0], 0, known) if made is not None and made[1] is known else None
    if made is None or views not in ((("squeeze", (1,)),), (("squeeze", (-3,)),), (("index", 1, 0),)):
        return None
    found = known.producer(made[0].inputs[0])
    if found is None or found[1] is not known or found[0].op not in _RECURRENT or found[0].domain:
        return None
    return found[0] if found[0].output(0) == made[0].inputs[0] else None


def _direction(node: Node) -> str:
    value = node.attrs.get("direction", "forward")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _alike(forward: Node, backward: Node, known: Known) -> bool:
    """Whether the two can be one: all but direction and weights agrees."""
    if forward.op != backward.op or (_direction(forward), _direction(backward)) != ("forward", "reverse"):
        return False
    if forward.attrs.get("layout", 0) or backward.attrs.get("layout", 0):
        return False
    own = [{k: v for k, v in n.attrs.items() if k not in ("direction", *_LISTS)} for n in (forward, backward)]
    if own[0] != own[1] or not forward.attrs.get("hidden_size"):
        return False
    # Alphas are handed out to the functions that take them, in their order: those of both directions in a row.
    if any(bool(forward.attrs.get(key)) != bool(backward.attrs.get(key)) for key in _LISTS):
        return False
    if any(forward.attrs.get(key) for key in _LISTS[1:]) and not forward.attrs.get("activations"):
        return False
    if forward.input(0) != backward.input(0) or forward.input(4) != backward.input(4):
        return False
    for k in (1, 2, 3, 5, 6, 7):
        names = [n.input(k) for n in (forward, backward)]
        if bool(names[0]) != bool(names[1]):
            return False
        if k in (1, 2, 3, 7) and names[0] and any(known.constant(name) is None for name in names):
            return False
    return True


def _write(node: Node, forward: Node, backward: Node, writer: Writer, known: Known) -> None:
    inputs = [forward.input(0)]
    for k in range(1, max(len(forward.inputs), len(backward.inputs))):
        names = [forward.input(k), backward.input(k)]
        if k == 4 or not names[0]:
            inputs.append(names[0])
        elif k in (5, 6):
            inputs.append(writer.node("Concat", names, names[0], axis=0))
        else:
            arrays = [known.constant(name) for name in names]
            both = np.concatenate([a for a in arrays if a is not None])
            inputs.append(writer.constant(both, (names[0], names[1]), f"{forward.op}_{k}"))
    attrs = {**forward.attrs, "direction": "bidirectional"}
    for key in _LISTS:
        if forward.attrs.get(key):
            attrs[key] = [*forward.attrs[key], *backward.attrs[key]]
    outputs = [writer.names.fresh(f"{node.outputs[0]}__{out}") for out in ("Y", "Y_h", "Y_c")]
    outputs = outputs[: 3 if forward.op == "LSTM" else 2]
    name = writer.names.fresh(f"{node.outputs[0]}__both")
    writer.nodes.append(Node(forward.op, inputs, outputs, attrs, version=NEWEST, name=name))
    for out, whole in enumerate(outputs):
        for k, single in enumerate((forward, backward)):
            if single.output(out):
                bounds = [writer.ints(v) for v in (k, k + 1, 0 if out else 1, 1)]
                writer.node("Slice", [whole, *bounds], whole, single.output(out))
    units = int(forward.attrs["hidden_size"])
    turned = writer.node("Transpose", [outputs[0]], outputs[0], perm=[0, 2, 1, 3])
    writer.node("Reshape", [turned, writer.ints(0, 0, 2 * units)], turned, node.outputs[0])
