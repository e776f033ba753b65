"""Loops and Scans whose body is a recurrent cell become recurrent nodes over time.

The body of such a Loop takes step i of a value from outside with Gather, runs cells whose states it carries, and may
give h' of each step out. How often it runs has to be the size of the axis that it takes steps from; its condition has
to be one that never ends it sooner (TensorFlow writes ``counter < maximum`` twice). A Scan says the same by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Graph, Node
from ..records import field, record
from .affine import Source
from .bodies import inside
from .cell import Cell
from .cells import Finder
from .known import Known
from .names import Names
from .order import put_in_order
from .roll import write_node
from .views import Size
from .write import Writer


@record
class _Steps:
    """What a body is run for: values of it by their names inside.

    ``carried`` maps an input to (value at the start, output, result of the node); ``slices`` what is taken of a value
    outside at each step to (value, axis, whether backwards); ``stacked`` are (output, result, axis, backwards).
    """

    body: Graph
    known: Known
    count: Size
    carried: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    slices: dict[str, tuple[str, int, bool]] = field(default_factory=dict)
    stacked: list[tuple[str, str, int, bool]] = field(default_factory=list)


def lift_loops(graph: Graph, names: Names) -> int:
    """Replace the recurrent Loops and Scans of `graph` and of the graphs in it, in place; returns how many."""
    if graph.operators().isdisjoint(("Loop", "Scan")):
        return 0
    return _lift(graph, Known(graph, named=True), names)


def _lift(graph: Graph, known: Known, names: Names) -> int:
    """Go through `graph` in order, with `known` following; what takes the place of one Loop is known to the next."""
    count = 0
    writer = Writer(graph, names)
    gone: set[int] = set()
    used = {v.name for v in graph.outputs} | graph.consumers().keys()
    for node in graph.nodes:
        before = len(writer.nodes)
        body = node.attrs.get("body") if node.op in ("Loop", "Scan") and not node.domain else None
        if isinstance(body, Graph):
            inner = inside(node, body, known)
            steps = (_loop if node.op == "Loop" else _scan)(node, body, inner, known, used)
            if steps is not None and _write(steps, writer, known):
                gone.add(id(node))
        for _, sub in node.subgraphs() if id(node) not in gone else ():
            known.inner[id(sub)] = scope = Known(sub, known)
            count += _lift(sub, scope, names)
        for new in writer.nodes[before:] if id(node) in gone else [node]:
            known.learn(new)
    if gone:
        graph.nodes[:] = [node for node in graph.nodes if id(node) not in gone] + writer.nodes
        put_in_order(graph)
    return count + len(gone)


# ---------------------------------------------------------------------------------------------------------------- Loop


class _Indices:
    """Integers in a Loop's body that are the number of the step, or constants, or how many steps there are."""

    def __init__(self, node: Node, body: Graph, inner: Known, known: Known) -> None:
        self.inner = inner
        self.counters = {body.inputs[0].name: 0}
        self.count = known.number(node.input(0)) if node.input(0) else None
        for k, name in enumerate(node.inputs[2:]):
            start = known.constant(name)
            made = inner.producer(body.outputs[1 + k].name)
            if start is None or start.size != 1 or start.dtype.kind not in "iu" or start.ndim or made is None:
                continue
            counter = body.inputs[2 + k].name
            if made[0].op == "Add" and counter in made[0].inputs and not made[0].domain:
                other = made[0].inputs[1 - made[0].inputs.index(counter)]
                by = inner.constant(other)
                if by is not None and by.size == 1 and by.ndim == 0 and by.reshape(())[()] == 1:
                    self.counters[counter] = int(start)

    def offset(self, name: str) -> int | None:
        """K where `name` is the number of the step plus k."""
        more = 0
        for _ in range(8):
            if name in self.counters:
                return more + self.counters[name]
            made = self.inner.producer(name)
            if made is None or made[1] is not self.inner or made[0].domain:
                return None
            node = made[0]
            if node.op == "Add":
                numbers = [self.inner.number(v) for v in node.inputs]
                k = next((k for k, n in enumerate(numbers) if isinstance(n, int)), None)
                if k is None:
                    return None
                more, name = more + int(numbers[k]), node.inputs[1 - k]  # type: ignore[arg-type]
            elif node.op in ("Cast", "Identity"):
                name = node.inputs[0]
            else:
                return None
        return None

    def goes_on(self, name: str, condition: str) -> bool:
        """Whether the condition `name` that a step gives is true unless the step was the last by count."""
        array = self.inner.constant(name)
        if array is not None:
            return array.size == 1 and bool(array.reshape(())[()])
        if name == condition:
            return True
        made = self.inner.producer(name)
        if made is None or made[0].domain:
            return False
        node = made[0]
        if node.op == "And":
            return all(self.goes_on(v, condition) for v in node.inputs)
        if node.op in ("Identity", "Cast"):
            return self.goes_on(node.inputs[0], condition)
        if node.op not in ("Less", "Greater"):
            return False
        low, high = node.inputs if node.op == "Less" else reversed(node.inputs)
        offset = self.offset(low)
        return offset is not None and offset <= 1 and self.count is not None and self._is_count(high)

    def _is_count(self, name: str) -> bool:
        return self.inner.number(name) == self.count

    def starts(self, name: str, known: Known) -> bool:
        """Whether the condition at the start is true if there is a step at all by count."""
        if not name:
            return True
        array = known.constant(name)
        if array is not None:
            return array.size == 1 and bool(array.reshape(())[()])
        made = known.producer(name)
        if made is None or made[0].domain:
            return False
        node = made[0]
        if node.op == "And":
            return all(self.starts(v, known) for v in node.inputs)
        if node.op not in ("Less", "Greater") or self.count is None:
            return False
        low, high = node.inputs if node.op == "Less" else reversed(node.inputs)
        least = known.number(low)
        return isinstance(least, int) and least <= 0 and known.number(high) == self.count


def _loop(node: Node, body: Graph, inner: Known, known: Known, used: set[str]) -> _Steps | None:
    n_carried = len(node.inputs) - 2
    if len(body.inputs) != 2 + n_carried or len(body.outputs) < 1 + n_carried:
        return None
    indices = _Indices(node, body, inner, known)
    if indices.count is None or not indices.starts(node.input(1), known):
        return None
    if not indices.goes_on(body.outputs[0].name, body.inputs[1].name):
        return None
    steps = _Steps(body, inner, indices.count)
    for k in range(n_carried):
        name = body.inputs[2 + k].name
        if name not in indices.counters:
            steps.carried[name] = (node.inputs[2 + k], body.outputs[1 + k].name, node.output(k))
        elif node.output(k) in used:
            return None
    for k, value in enumerate(body.outputs[1 + n_carried :]):
        if node.output(n_carried + k) in used:
            steps.stacked.append((value.name, node.output(n_carried + k), 0, False))
    for taker in body.nodes:
        if taker.op != "Gather" or taker.domain or indices.offset(taker.inputs[1]) != 0:
            continue
        index, shape = inner.shape(taker.inputs[1]), known.shape(taker.inputs[0])
        axis = int(taker.attrs.get("axis", 0))
        if index == () and shape is not None and -len(shape) <= axis < len(shape) and _is_outside(taker, inner):
            axis %= len(shape)
            if _enough(shape[axis], indices.count):
                steps.slices[taker.outputs[0]] = (taker.inputs[0], axis, False)
    return steps


def _is_outside(taker: Node, inner: Known) -> bool:
    return taker.inputs[0] not in inner.producers and taker.inputs[0] not in {v.name for v in inner.graph.inputs}


def _enough(size: Size, count: Size) -> bool:
    return size == count or (isinstance(size, int) and isinstance(count, int) and 0 < count <= size)


# ---------------------------------------------------------------------------------------------------------------- Scan


def _scan(node: Node, body: Graph, inner: Known, known: Known, used: set[str]) -> _Steps | None:
    n_scanned = int(node.attrs.get("num_scan_inputs", 0))
    n_carried = len(node.inputs) - n_scanned
    n_stacked = len(body.outputs) - n_carried
    if node.version < 9 or n_scanned < 1 or n_carried < 1 or n_stacked < 0 or len(body.inputs) != len(node.inputs):
        return None
    steps = _Steps(body, inner, 0)
    axes, back = (node.attrs.get(f"scan_input_{what}") or [0] * n_scanned for what in ("axes", "directions"))
    if len(axes) != n_scanned or len(back) != n_scanned:
        return None
    counts = set()
    for k, name in enumerate(node.inputs[n_carried:]):
        shape = known.shape(name)
        if shape is None or not -len(shape) <= axes[k] < len(shape):
            return None
        counts.add(shape[axes[k]])
        steps.slices[body.inputs[n_carried + k].name] = (name, axes[k] % len(shape), bool(back[k]))
    if len(counts) != 1:
        return None
    steps.count = counts.pop()
    for k in range(n_carried):
        steps.carried[body.inputs[k].name] = (node.inputs[k], body.outputs[k].name, node.output(k))
    axes, back = (node.attrs.get(f"scan_output_{what}") or [0] * n_stacked for what in ("axes", "directions"))
    if len(axes) != n_stacked or len(back) != n_stacked:
        return None
    for k, value in enumerate(body.outputs[n_carried:]):
        if node.output(n_carried + k) in used:
            steps.stacked.append((value.name, node.output(n_carried + k), int(axes[k]), bool(back[k])))
    return steps


# ---------------------------------------------------------------------------------------------------------------- both


def _write(steps: _Steps, writer: Writer, known: Known) -> bool:
    """Write what stands for the node, if its body is nothing but cells."""
    cells = _chosen(steps)
    if cells is None:
        return False
    made = {cell.h_out: cell for cell in cells}
    backwards = {steps.slices[s.name][2] for cell in cells for s in cell.x if s.name in steps.slices}
    if len(backwards) != 1:
        return False
    reverse = backwards.pop()
    if any(back != reverse or name not in made or axis != 0 for name, _, axis, back in steps.stacked):
        return False
    layers: dict[str, str] = {}  # h' inside -> all steps, [T, B, H]
    for cell in cells:
        parts = [layers[s.name] if s.name in layers else _sequence(steps, s, writer, known) for s in cell.x]
        x = parts[0] if len(parts) == 1 else writer.node("Concat", parts, parts[0], axis=2)
        states = [steps.carried[s][0] if s else None for s in (cell.h, cell.c)]
        y, h, c = write_node(cell, states, x, writer, known, reverse)
        layers[cell.h_out] = writer.node("Squeeze", [y, writer.ints(1)], cell.h_out)
        for name, _, result in ((out, *rest) for _, out, *rest in _results(steps)):
            if result and name in (cell.h_out, cell.c_out):
                writer.from_rows(h if name == cell.h_out else c, cell.lead, cell.units, result)
    for name, result, _, _ in steps.stacked:
        lead = made[name].lead
        if len(lead) == 1:
            writer.node("Identity", [layers[name]], result, result)
        else:
            writer.node("Unsqueeze", [layers[name], writer.ints(1 if lead[0] == 1 else 2)], result, result)
    return True


def _results(steps: _Steps) -> list[tuple[str, str, str, str]]:
    return [(name, out, start, result) for name, (start, out, result) in steps.carried.items()]


def _chosen(steps: _Steps) -> list[Cell] | None:
    """The cells that carry all states of the body, in order; None if there is more to it."""
    found = Finder(steps.body, steps.known).find()
    ends = {out: name for name, (_, out, _) in steps.carried.items()}
    cells = [cell for cell in found if cell.h_out in ends]
    layers = {cell.h_out for cell in cells}
    carried: set[str] = set()
    for cell in cells:
        if cell.h != ends[cell.h_out] or (cell.op == "LSTM" and (not cell.c or cell.c != ends.get(cell.c_out))):
            return None
        if any(s.views or (s.name not in steps.slices and s.name not in layers) for s in cell.x):
            return None
        if len(cell.lead) > 2 or (len(cell.lead) == 2 and 1 not in cell.lead):
            return None
        carried.update(name for name in (cell.h, cell.c) if name)
    return cells if cells and carried == steps.carried.keys() else None


def _sequence(steps: _Steps, source: Source, writer: Writer, known: Known) -> str:
    """All that a step takes of, one after the other: [T, B, K]."""
    name, axis, _ = steps.slices[source.name]
    shape = list(known.shape(name) or ())
    if shape[axis] != steps.count and isinstance(steps.count, int):
        bounds = [writer.ints(v) for v in (0, steps.count, axis, 1)]
        name = writer.node("Slice", [name, *bounds], name)
    if axis:
        perm = [axis, *(k for k in range(len(shape)) if k != axis)]
        name = writer.node("Transpose", [name], name, perm=perm)
    ones = [1 + k for k, d in enumerate(d for j, d in enumerate(shape) if j != axis) if d == 1 and k < len(shape) - 2]
    return _three(name, len(shape), ones, writer)


def _three(name: str, rank: int, ones: Sequence[int], writer: Writer) -> str:
    """A sequence of `rank` axes made one of three; all but one of the axes between its first and last are `ones`."""
    if rank == 2:
        return writer.node("Unsqueeze", [name, writer.ints(1)], name)
    drop = list(ones)[: rank - 3]
    return writer.node("Squeeze", [name, writer.ints(*drop)], name) if drop else name
