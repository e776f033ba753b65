"""Nodes that do nothing, nodes that undo each other, and nodes that are there twice.

One sweep over a graph in order: a node that leaves its input as it is goes away and its users read the input; two
views in a row become one; a node equal to an earlier one goes away too. Graph outputs of the whole model keep their
names.
"""

from __future__ import annotations

import numpy as np

from .._core import facts
from ..graph import Graph, Node
from ..ops.random import RANDOM
from ..records import record
from .edit import NEWEST
from .element_types import CAST
from .known import Known
from .names import Names, rename_definitions, rename_inputs
from .views import END, Size, quotient, turns_round, views_of

_VIEWS = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Slice")
# Operators that may do nothing, or be merged with the one before.
_LOOKED_AT = frozenset((*_VIEWS, "Gather", "Identity", "Cast", "Concat", "Expand"))
_SHARED_BYTES = 4096  # constants up to this size are compared by what they hold


@record
class Cleaned:
    """How many nodes went away: those that did nothing, those merged with a neighbour, those there twice, dead ones.

    ``time`` is that of the `Known` after the last sweep.
    """

    removed: int = 0
    merged: int = 0
    repeated: int = 0
    dead: int = 0
    time: int = -1

    def changes(self) -> int:
        """How much one sweep changed."""
        return self.removed + self.merged + self.repeated

    def add(self, other: Cleaned) -> None:
        """Count what another sweep did."""
        self.removed += other.removed
        self.merged += other.merged
        self.repeated += other.repeated
        self.dead += other.dead
        self.time = other.time


def clean(graph: Graph, known: Known | None = None, names: Names | None = None, since: int = -1) -> Cleaned:
    """Clean `graph` and the graphs in it, in place; `known` follows. See `fold` about `since`."""
    known = known or Known(graph)
    cleaner = _Cleaner(names or Names(graph), since)
    cleaner.sweep(graph, known)
    cleaner.cleaned.time = known.time
    if cleaner.has_renamed:
        known.learn_all()
    return cleaner.cleaned


class _Cleaner:
    def __init__(self, names: Names, since: int) -> None:
        self.names, self.since = names, since
        self.cleaned = Cleaned()
        self.has_renamed = False

    def sweep(self, graph: Graph, known: Known) -> None:
        alias = facts.share_constants(graph.constants, _SHARED_BYTES)
        fixed = {v.name for v in graph.outputs} if known.outer is None else set()
        for name in alias.keys() - fixed:
            del graph.constants[name]
        seen: dict[object, list[Node]] = {}
        kept: list[Node] = []
        aliases, producers = alias.keys(), known.producers
        changed: set[int] = set()
        at = 0
        while True:
            stop = facts.pass_clean(graph.nodes, at, known, self.since, alias, seen, changed, _LOOKED_AT, RANDOM)
            kept += graph.nodes[at:stop]
            if stop == len(graph.nodes):
                break
            node, at = graph.nodes[stop], stop + 1
            bodies = node.subgraphs()
            if bodies or not aliases.isdisjoint(node.inputs):
                rename_inputs(node, alias)
            for _, sub in bodies:
                self.sweep(sub, known.scope(sub))
            # Whether the node, or what makes its first input, has changed since the sweep before.
            has_changed = not known.is_learned(node, self.since)
            is_new = has_changed or (bool(node.inputs) and id(producers.get(node.inputs[0])) in changed)
            while is_new and node.op in _VIEWS and self._merge(node, known, graph):
                self.cleaned.merged += 1
                has_changed = True
            if is_new and len(node.outputs) == 1 and leaves_alone(node, known):
                if node.outputs[0] not in fixed:
                    alias[node.outputs[0]] = node.inputs[0]
                    self.cleaned.removed += 1
                    continue
                node.op, node.inputs, node.attrs, node.proto = "Identity", node.inputs[:1], {}, None
                has_changed = True
            like = None if bodies or node.op in RANDOM else facts.alike(seen, node)
            twin = _twin(node, like) if like is not None else None
            if twin is not None and not fixed.intersection(node.outputs):
                alias.update((mine, its) for mine, its in zip(node.outputs, twin.outputs, strict=True) if mine)
                self.cleaned.repeated += 1
                continue
            if has_changed:
                changed.add(id(node))
                known.learn(node)
            kept.append(node)
        graph.nodes[:] = kept
        self._name_outputs(graph, fixed)
        for value in graph.outputs:
            value.name = alias.get(value.name, value.name) if value.name not in fixed else value.name

    def _name_outputs(self, graph: Graph, fixed: set[str]) -> None:
        """Let nodes make the outputs of the model themselves where an Identity only gives a value its name."""
        last = [n for n in graph.nodes if n.op == "Identity" and not n.domain and n.outputs[0] in fixed]
        if not last:
            return
        made = {out for node in graph.nodes for out in node.outputs if out} - fixed
        names: dict[str, str] = {}
        gone: set[int] = set()
        for node in last:
            if node.inputs[0] in made and node.inputs[0] not in names:
                names[node.inputs[0]] = node.outputs[0]
                gone.add(id(node))
        graph.nodes[:] = [node for node in graph.nodes if id(node) not in gone]
        self.cleaned.removed += len(gone)
        rename_definitions(graph, names)
        self.has_renamed |= bool(names)

    def _merge(self, node: Node, known: Known, graph: Graph) -> bool:
        """Let a view of a view read the first one's input; whether that was possible."""
        if node.domain or not node.input(0):
            return False
        found = known.producer(node.inputs[0])
        if found is None or found[1] is not known or found[0].domain or len(found[0].outputs) != 1:
            return _settle_reshape(node, known, graph, self.names)
        first = found[0]
        if node.op == "Transpose" and first.op == "Transpose":
            return _merge_transposes(first, node, known)
        if node.op == "Slice":
            return first.op == "Slice" and _cancel_turns(first, node, known)
        if node.op == "Squeeze" and first.op == "Slice":
            return _merge_slice(first, node, known, graph, self.names)
        if node.op in ("Squeeze", "Unsqueeze") and {node.op, first.op} == {"Squeeze", "Unsqueeze"}:
            return _cancel_squeeze(first, node, known)
        if node.op == "Reshape" and first.op in ("Reshape", "Squeeze", "Unsqueeze"):
            target, shape = known.ints(node, 1, "shape"), known.shape(first.inputs[0])
            # A 0 copies a size of the first one's result; and with -1 what the first one refuses might go through.
            certain = first.op == "Unsqueeze" or (shape is not None and all(isinstance(d, int) for d in shape))
            if target is not None and 0 not in target and (certain or -1 not in target):
                node.inputs[0], node.proto = first.inputs[0], None
                return True
        return _settle_reshape(node, known, graph, self.names)


def _cancel_turns(first: Node, second: Node, known: Known) -> bool:
    """Turning an axis round twice: `second` becomes an Identity."""
    a, b, shape = views_of(first, 0, known), views_of(second, 0, known), known.shape(first.inputs[0])
    if a is None or b is None or shape is None or len(a) != 1 or len(b) != 1 or (a[0][1] - b[0][1]) % len(shape):
        return False
    if not (turns_round(a[0][2:]) and turns_round(b[0][2:])):
        return False
    second.op, second.inputs, second.attrs, second.proto = "Identity", [first.inputs[0]], {}, None
    return True


def _merge_transposes(first: Node, second: Node, known: Known) -> bool:
    a, b = views_of(first, 0, known), views_of(second, 0, known)
    if a is None or b is None:
        return False
    inner, outer = a[0][1], b[0][1]
    if sorted(inner) != list(range(len(inner))) or sorted(outer) != list(range(len(inner))):
        return False
    second.inputs[0], second.proto = first.inputs[0], None
    second.attrs = {"perm": [inner[p] for p in outer]}
    return True


def _merge_slice(first: Node, second: Node, known: Known, graph: Graph, names: Names) -> bool:
    """Squeeze after Slice of one element is Gather, which fails where the slice is empty just as Squeeze does."""
    a, b, shape = views_of(first, 0, known), views_of(second, 0, known), known.shape(first.inputs[0])
    if a is None or b is None or shape is None or len(a) != 1 or len(b[0][1]) != 1:
        return False
    _, axis, start, stop, step = a[0]
    single = step == 1 and (stop == start + 1 != 0 or (start == -1 and stop >= END))
    rank, squeezed = len(shape), b[0][1][0]
    if not single or any(not -rank <= k < rank for k in (axis, squeezed)) or (axis - squeezed) % rank:
        return False
    name = names.fresh(f"{second.outputs[0]}__index")
    graph.constants[name] = np.array(start, np.int64)
    second.op, second.inputs, second.attrs = "Gather", [first.inputs[0], name], {"axis": axis}
    second.version, second.proto = NEWEST, None
    return True


def _cancel_squeeze(first: Node, second: Node, known: Known) -> bool:
    """Squeeze after Unsqueeze of the same axes, or the reverse: `second` becomes an Identity."""
    shape = known.shape(first.inputs[0])
    a, b = views_of(first, 0, known), views_of(second, 0, known)
    if shape is None or a is None or b is None:
        return False
    axes, back = a[0][1], b[0][1]
    rank = len(shape) + (len(axes) if first.op == "Unsqueeze" else 0)
    if {k % rank for k in axes} != {k % rank for k in back} or any(not -rank <= k < rank for k in (*axes, *back)):
        return False
    if first.op == "Squeeze" and any(shape[k] != 1 for k in axes):
        return False  # it may fail, and must still
    second.op, second.inputs, second.attrs, second.proto = "Identity", [first.inputs[0]], {}, None
    return True


def _settle_reshape(node: Node, known: Known, graph: Graph, names: Names) -> bool:
    """Give a Reshape whose shape is made of sizes of its own input a constant shape with 0 or -1 in their places."""
    if node.op != "Reshape" or node.attrs.get("allowzero", 0) or known.constant(node.input(1)) is not None:
        return False
    shape, target = known.shape(node.inputs[0]), known.contents(node.input(1))
    if shape is None or target is None or target.ndim != 1:
        return False
    constant = constant_target(shape, list(target))
    if constant is None:
        return False
    name = names.fresh(f"{node.inputs[1]}__constant")
    graph.constants[name] = np.array(constant, np.int64)
    node.inputs[1], node.proto = name, None
    return True


def constant_target(shape: tuple[Size, ...], target: list[Size]) -> list[int] | None:
    """What lets Reshape give a value of `shape` the shape `target`; sizes not known are copied or inferred."""
    if any(d == 0 and k >= len(shape) for k, d in enumerate(target)):
        return None
    result = [0 if isinstance(d, str) and k < len(shape) and shape[k] == d else d for k, d in enumerate(target)]
    left = [k for k, d in enumerate(result) if isinstance(d, str)]
    if len(left) == 1 and -1 not in result:
        # The one size left is what -1 infers, if it is just what the others leave of the input.
        others = [shape[k] if d == 0 else d for k, d in enumerate(target) if k != left[0]]
        if quotient(shape, others) == target[left[0]]:
            result[left[0]], left = -1, []
    return None if left else [int(d) for d in result]


def leaves_alone(node: Node, known: Known) -> bool:
    """Whether the one output of `node` is its first input as it is, for certain."""
    if node.domain or not node.input(0):
        return False
    if node.op == "Identity":
        return True
    if node.op == "Cast":
        before, after = known.dtype(node.inputs[0]), CAST.get(node.attrs.get("to", 0))
        return before is not None and before == after
    if node.op == "Concat":
        return len(node.inputs) == 1
    if node.op == "Expand":
        shape, target = known.shape(node.inputs[0]), known.contents(node.input(1))
        return shape is not None and target is not None and target.ndim == 1 and tuple(target) == shape
    views = views_of(node, 0, known) if node.op in _VIEWS or node.op == "Gather" else None
    if views is None:
        return False
    return all(_view_leaves_alone(view, known.shape(node.inputs[0])) for view in views)


def _view_leaves_alone(view: tuple, shape: tuple[Size, ...] | None) -> bool:
    kind, *args = view
    if kind == "transpose":
        return tuple(args[0]) == tuple(range(len(args[0])))
    if kind in ("squeeze", "unsqueeze"):
        return not args[0]
    if shape is None:
        return False
    if kind == "reshape":
        target = args[0]
        same = [k < len(shape) and d in (0, shape[k]) for k, d in enumerate(target)]
        inferred = [k for k, d in enumerate(target) if d == -1]
        return len(target) == len(shape) and all(s or k in inferred for k, s in enumerate(same)) and len(inferred) < 2
    if kind == "slice":
        axis, start, stop, step = args
        size = shape[axis] if -len(shape) <= axis < len(shape) else None
        end = size if isinstance(size, int) else END
        return size is not None and step == 1 and start == 0 and stop >= end
    return False


def _twin(node: Node, like: list[Node]) -> Node | None:
    """Which of the nodes `like` it, of one operator and inputs, makes all that `node` makes; else it joins them."""
    attributes = _attributes(node)
    twin = next((other for other in like if attributes is not None and _attributes(other) == attributes), None)
    if twin is None:
        like.append(node)
        return None
    # Outputs are optional one by one.
    same = all(its or not mine for mine, its in zip(node.outputs, twin.outputs, strict=True))
    return twin if same else None


def _attributes(node: Node) -> object:
    """The attributes, to be compared; None if the node may not be merged with any."""
    attributes = []
    for name, value in sorted(node.attrs.items()):
        if isinstance(value, np.ndarray):
            if value.nbytes > _SHARED_BYTES or value.dtype.hasobject:
                return None
            value = (value.dtype.str, value.shape, value.tobytes())
        attributes.append((name, repr(value)))
    return attributes
