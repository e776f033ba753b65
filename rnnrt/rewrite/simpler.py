"""Operators that constants or known shapes make simpler ones.

* ScatterND to a box that is a part of one axis: Concat of what is before, the updates, and what is after
* Gather of consecutive places: Slice; of the one place of an axis: Unsqueeze or nothing
* Slice of such a Concat, or of a Slice, on one axis: of the part that it takes from; Concat of Concats: one
* Pad with nothing: nothing; Pow of 2: Mul
* Einsum of two operands: MatMul between Transposes
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from .._core import facts
from ..graph import Graph, Node
from .known import Known
from .names import Names, rename_inputs
from .views import END, views_of
from .write import Writer


class _Writer(Writer):
    """`filled` are the Concats that stand for ScatterND."""

    def __init__(self, graph: Graph, names: Names) -> None:
        super().__init__(graph, names)
        self.filled: set[str] = set()


_Rule = Callable[[Node, Known, _Writer], bool]


def simplify(graph: Graph, known: Known, names: Names | None = None) -> int:
    """Replace such nodes of `graph` and of the graphs in it, in place; returns how many.

    `known` follows, so that what takes the place of one node is looked at by the next.
    """
    names = names or Names(graph)
    outputs = {v.name for v in graph.outputs}
    writer = _Writer(graph, names)
    alias: dict[str, str] = {}
    nodes, at, kept = list(graph.nodes), 0, []
    count = 0
    while True:
        stop = facts.pass_by(nodes, at, known, alias, _LOOKED_AT)
        kept += nodes[at:stop]
        if stop == len(nodes):
            break
        node, at = nodes[stop], stop + 1
        if alias:
            rename_inputs(node, alias)
        for _, sub in node.subgraphs():
            count += simplify(sub, known.scope(sub), names)
        if node.op == "Identity" and not node.domain and node.outputs[0] not in outputs:
            alias[node.outputs[0]] = node.inputs[0]
            continue
        rule = _RULES.get(node.op) if not node.domain and len(node.outputs) == 1 else None
        if rule is not None and rule(node, known, writer):
            nodes[stop:at] = writer.nodes
            at = stop
            count += 1
        else:
            known.learn(node)
            kept.append(node)
        writer.nodes.clear()
    graph.nodes[:] = kept
    return count


def _scatter_nd(node: Node, known: Known, writer: _Writer) -> bool:
    indices, shape = known.constant(node.input(1)), known.shape(node.input(0))
    if indices is None or shape is None or node.attrs.get("reduction", "none") not in ("none", b"none"):
        return False
    k = indices.shape[-1] if indices.ndim else 0
    sizes = tuple([d for d in shape[:k] if isinstance(d, int)])
    if indices.ndim != k + 1 or len(sizes) != k:
        return False
    start = facts.box_start(indices, sizes)
    if start is None:
        return False
    box = indices.shape[:-1]
    partial = [axis for axis in range(k) if box[axis] != sizes[axis]]
    if known.shape(node.input(2)) != (*box, *shape[k:]) or len(partial) > 1:
        return False
    if not partial:
        writer.node("Identity", [node.inputs[2]], node.outputs[0], node.outputs[0])
        return True
    axis = partial[0]
    first, last = start[axis], start[axis] + box[axis]
    parts = [node.inputs[2]]
    for at, (a, b) in ((0, (0, first)), (len(parts) + 1, (last, shape[axis]))):
        if a != b:
            bounds = [writer.ints(int(v)) for v in (a, b, axis, 1)]
            parts.insert(at, writer.node("Slice", [node.inputs[0], *bounds], node.outputs[0]))
    writer.node("Concat", parts, node.outputs[0], node.outputs[0], axis=axis)
    writer.filled.add(node.outputs[0])
    return True


def _gather(node: Node, known: Known, writer: _Writer) -> bool:
    index, shape = known.constant(node.input(1)), known.shape(node.input(0))
    axis = int(node.attrs.get("axis", 0))
    if index is None or shape is None or not -len(shape) <= axis < len(shape) or index.size == 0:
        return False
    axis %= len(shape)
    size = shape[axis]
    if index.dtype.kind not in "iu" or not isinstance(size, int):
        return False
    if index.ndim != 1 and not (index.ndim > 1 and index.size == 1 and size == 1):
        return False
    places = index.reshape(-1).tolist()
    if min(places) < -size or max(places) >= size:
        return False
    places = [place + size if place < 0 else place for place in places]
    step = places[1] - places[0] if len(places) > 1 else 1
    if step == 0 or places != [places[0] + k * step for k in range(len(places))]:
        return False
    name = node.inputs[0]
    if len(places) != size or step != 1:
        end = places[0] + step * len(places)
        bounds = [places[0], end if end >= 0 else -END - 1, axis, step]
        name = writer.node("Slice", [name, *map(writer.ints, bounds)], node.outputs[0])
    more = [axis + 1 + k for k in range(index.ndim - 1)]
    if more:
        name = writer.node("Unsqueeze", [name, writer.ints(*more)], node.outputs[0])
    writer.node("Identity", [name], node.outputs[0], node.outputs[0])
    return True


def _slice(node: Node, known: Known, writer: _Writer) -> bool:
    """A slice of one axis of a Concat on it takes whole parts, or from within one; of a Slice, it is one.

    Only of a Concat that was a ScatterND: in others, a cache and what is new to it, one may have to see the cache.
    """
    views = views_of(node, 0, known)
    shape, found = known.shape(node.inputs[0]), known.producer(node.inputs[0])
    if views is None or len(views) != 1 or shape is None or found is None or found[1] is not known or found[0].domain:
        return False
    _, axis, *where = views[0]
    size = shape[axis] if -len(shape) <= axis < len(shape) else None
    if not isinstance(size, int) or where[2] != 1:
        return False
    taken, made = range(size)[slice(*where)], found[0]
    if made.op == "Concat" and made.outputs[0] not in writer.filled:
        return False
    parts = _parts(made, axis % len(shape), known)
    if not taken or parts is None:
        return False
    chosen: list[str] = []
    for name, start, end, within in parts:
        a, b = max(start, taken[0]), min(end, taken[-1] + 1)
        if a < b:
            whole = (a, b) == (start, end) and within is None
            bounds = [writer.ints(v) for v in (a - start + (within or 0), b - start + (within or 0), axis, 1)]
            chosen.append(name if whole else writer.node("Slice", [name, *bounds], node.outputs[0]))
            if not whole and len(parts) > 1 and (a, b) != (taken[0], taken[-1] + 1):
                return False  # the rest of one part and something of the next: as it is
    joined = chosen[0] if len(chosen) == 1 else writer.node("Concat", chosen, node.outputs[0], axis=axis)
    if len(chosen) > 1:
        writer.filled.add(joined)
    writer.node("Identity", [joined], node.outputs[0], node.outputs[0])
    return True


def _parts(made: Node, axis: int, known: Known) -> list[tuple[str, int, int, int | None]] | None:
    """What is put together on `axis` by `made`: name, start, end, and where it starts in a value that is sliced."""
    shape = known.shape(made.inputs[0]) if made.inputs and made.inputs[0] else None
    if shape is None:
        return None
    if made.op == "Concat":
        if int(made.attrs.get("axis", 0)) % len(shape) != axis:
            return None
        shapes = [known.shape(name) for name in made.inputs]
        if any(s is None or not isinstance(s[axis], int) for s in shapes):
            return None
        ends = np.cumsum([s[axis] for s in shapes])  # type: ignore[index]
        return [(n, int(e - s[axis]), int(e), None) for n, s, e in zip(made.inputs, shapes, ends, strict=True)]  # type: ignore[index]
    views = views_of(made, 0, known) if made.op == "Slice" else None
    if views is None or len(views) != 1 or views[0][1] % len(shape) != axis or not isinstance(shape[axis], int):
        return None
    taken = range(int(shape[axis]))[slice(*views[0][2:])]
    if not taken or views[0][4] != 1:
        return None
    return [(made.inputs[0], 0, len(taken), taken[0])]


def _concat(node: Node, known: Known, writer: _Writer) -> bool:
    """A Concat of Concats on the same axis is one."""
    shape = known.shape(node.inputs[0])
    if not shape:
        return False
    parts: list[str] = []
    for name in node.inputs:
        found = known.producer(name)
        inner = found[0] if found is not None and found[1] is known and found[0].op == "Concat" else None
        axes = [int(n.attrs.get("axis", 0)) % len(shape) for n in (node, inner) if n is not None]
        parts += inner.inputs if inner is not None and axes[0] == axes[-1] and not inner.domain else [name]
    if len(parts) == len(node.inputs):
        return False
    if any(name in writer.filled for name in node.inputs):
        writer.filled.add(node.outputs[0])
    writer.node("Concat", parts, node.outputs[0], node.outputs[0], axis=int(node.attrs.get("axis", 0)))
    return True


def _pad(node: Node, known: Known, writer: _Writer) -> bool:
    pads = known.ints(node, 1, "pads")
    if pads is None or any(pads):
        return False
    writer.node("Identity", [node.inputs[0]], node.outputs[0], node.outputs[0])
    return True


def _pow(node: Node, known: Known, writer: _Writer) -> bool:
    power, dtype = known.constant(node.input(1)), known.dtype(node.input(0))
    shape = known.shape(node.input(0))
    if power is None or dtype is None or dtype.kind != "f" or power.size != 1 or power.reshape(-1)[0] != 2:
        return False
    if power.ndim and (shape is None or power.ndim > len(shape)):
        return False
    writer.node("Mul", [node.inputs[0]] * 2, node.outputs[0], node.outputs[0])
    return True


def _einsum(node: Node, known: Known, writer: _Writer) -> bool:
    """``[.., batch, m, k] @ [batch, k, n]``: labels of the first alone but the last are broadcast over the second."""
    equation = node.attrs.get("equation", "")
    equation = equation.decode("utf-8", "replace") if isinstance(equation, bytes) else equation
    found = re.fullmatch(r"([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]+)", equation.replace(" ", ""))
    if found is None or len(node.inputs) != 2 or any(len(set(term)) != len(term) for term in found.groups()):
        return False
    a, b, out = found.groups()
    shapes = [known.shape(name) for name in node.inputs]
    dtype = known.dtype(node.inputs[0])
    if dtype is None or dtype.kind != "f":
        return False
    if any(s is None or len(s) != len(term) for s, term in zip(shapes, (a, b), strict=True)):
        return False
    sizes = [dict(zip(term, s or (), strict=True)) for s, term in zip(shapes, (a, b), strict=True)]
    # A size of 1 may be broadcast by Einsum, even against the other operand's.
    if any(sizes[0][label] != sizes[1][label] for label in set(a) & set(b)):
        return False
    if set(a) - set(b) - set(out) or set(b) - set(a) - set(out) or set(out) - set(a) - set(b):
        return False
    shared = [label for label in out if label in a and label in b]
    summed = [label for label in a if label in b and label not in out]
    rows = [label for label in a if label not in b]
    columns = [label for label in b if label not in a]
    if len(summed) != 1 or len(columns) != 1 or not rows:
        return False
    left = [*rows[:-1], *shared, rows[-1], *summed]
    right = [*shared, *summed, *columns]
    names = []
    for name, term, order in ((node.inputs[0], a, left), (node.inputs[1], b, right)):
        perm = [term.index(label) for label in order]
        names.append(writer.node("Transpose", [name], node.outputs[0], perm=perm) if perm != sorted(perm) else name)
    result = [*rows[:-1], *shared, rows[-1], *columns]
    product = writer.node("MatMul", names, node.outputs[0])
    writer.node("Transpose", [product], product, node.outputs[0], perm=[result.index(label) for label in out])
    return True


_RULES: dict[str, _Rule] = {
    "Concat": _concat,
    "Einsum": _einsum,
    "Gather": _gather,
    "Pad": _pad,
    "Pow": _pow,
    "ScatterND": _scatter_nd,
    "Slice": _slice,
}
_LOOKED_AT = frozenset((*_RULES, "Identity"))
