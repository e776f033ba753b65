"""Sequences of a tensor's slices become that tensor.

PyTorch's exporter writes a scripted loop over time with sequences: SplitToSequence takes the inputs apart, each step
takes its piece with SequenceAt and appends what it makes with SequenceInsert, and ConcatFromSequence joins that.

* SplitToSequence into pieces of one index: SequenceAt is Gather, SequenceLength the size of the axis
* a sequence that a Loop begins empty and that every step appends to: an output that the Loop stacks, of which
  ConcatFromSequence is a Transpose or Reshape

As tensors, the Loop may be recurrent (:mod:`.loops`), or run natively.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Graph, Node, Value
from .bodies import inside
from .edit import NEWEST
from .known import Known
from .names import Names
from .views import Size
from .write import Writer

_TAKERS = ("SequenceAt", "SequenceLength")


def replace_sequences(graph: Graph, known: Known, names: Names) -> int:
    """Replace such sequences of `graph` and of the graphs in it, in place; returns how many."""
    if graph.operators().isdisjoint(("SplitToSequence", "SequenceInsert")):
        return 0
    count = _Slices(graph, names).replace(known)
    if count:
        known.learn_all()
    # With the slices as tensors, ranks of what a step makes are known, if axes declared under one name are one size.
    named = Known.of(graph, named=True) if Known.has_names(graph) else known
    stacks = _Stacks(graph, names).replace(named)
    if stacks:
        known.learn_all()
    return count + stacks


class _Pass:
    """A model's graphs: who uses a value, by its name, what is an output, and what takes a node's place."""

    def __init__(self, graph: Graph, names: Names) -> None:
        self.graph, self.names = graph, names
        self.uses: dict[str, list[tuple[Graph, Node]]] = {}
        self.outputs: list[str] = []
        self.new: dict[int, list[Node]] = {}
        self.inner: dict[int, Known] = {}
        self._writers: dict[int, Writer] = {}
        for part in graph.walk():
            self.outputs += [value.name for value in part.outputs]
            for node in part.nodes:
                for name in filter(None, node.inputs):
                    self.uses.setdefault(name, []).append((part, node))

    def replace(self, known: Known) -> int:
        """The number of sequences replaced."""
        count = self.sweep(self.graph, known)
        for part in self.graph.walk() if count else ():
            part.nodes[:] = [new for node in part.nodes for new in self.new.get(id(node), (node,))]
        return count

    def sweep(self, graph: Graph, known: Known) -> int:
        """The number of sequences replaced in one graph and those in it."""
        count = 0
        self.inner[id(graph)] = known
        for node in graph.nodes:
            for _, sub in node.subgraphs():
                count += self.sweep(sub, inside(node, sub, known))
        return count + sum(self.count(node, known) for node in graph.nodes)

    def count(self, node: Node, known: Known) -> int:
        """The number of sequences replaced that `node` makes."""
        raise NotImplementedError

    def takers(self, sequence: str, *more: str) -> list[tuple[Graph, Node]] | None:
        """Who uses a sequence; None if that is more than taking elements or the length, or what `more` does."""
        uses = self.uses.get(sequence, [])
        if sequence in self.outputs or any(u.op not in (*_TAKERS, *more) or u.domain for _, u in uses):
            return None
        return uses

    def take(self, part: Graph, user: Node, x: str, axis: int, keep: bool) -> None:
        """An element, or the number of them, of the sequence of slices of x along `axis`."""
        writer, result = self.writer(part), user.outputs[0]
        if user.op == "SequenceLength":
            place = writer.constant(np.array(axis, np.int64), ("scalar", axis), "index")
            writer.node("Gather", [writer.node("Shape", [x], result), place], result, result, axis=0)
        else:
            index = user.inputs[1]
            if self.inner[id(part)].shape(index) != ():
                index = writer.node("Reshape", [index, writer.ints()], result)
            piece = writer.node("Gather", [x, index], result, None if keep else result, axis=axis)
            if keep:
                writer.node("Unsqueeze", [piece, writer.ints(axis)], result, result)
        self.put(user, writer)

    def writer(self, part: Graph) -> Writer:
        """Writes to one graph."""
        return self._writers.setdefault(id(part), Writer(part, self.names))

    def put(self, user: Node, writer: Writer) -> None:
        """Let what has just been written take the place of a node."""
        self.new[id(user)] = list(writer.nodes)
        writer.nodes.clear()


class _Slices(_Pass):
    """SplitToSequence into pieces of one index."""

    def count(self, node: Node, known: Known) -> int:
        if node.op != "SplitToSequence" or node.domain:
            return 0
        if node.input(1):
            split = known.constant(node.inputs[1])
            if split is None or split.ndim or split != 1:
                return 0
        uses = self.takers(node.outputs[0])
        if not uses:
            return 0
        axis, keep = int(node.attrs.get("axis", 0)), bool(node.attrs.get("keepdims", 1))
        for part, user in uses:
            self.take(part, user, node.inputs[0], axis, keep)
        self.new[id(node)] = []
        return 1


class _Stacks(_Pass):
    """What a Loop appends to a sequence that it begins empty."""

    def count(self, node: Node, known: Known) -> int:
        body = node.attrs.get("body")
        if node.op != "Loop" or node.domain or not isinstance(body, Graph):
            return 0
        return sum(self._stacks(node, body, k, known) for k in reversed(range(len(node.inputs) - 2)))

    def _stacks(self, node: Node, body: Graph, k: int, known: Known) -> bool:
        """Let a Loop stack what it appends to its carried sequence number `k`."""
        if 2 + k >= len(body.inputs) or 1 + k >= len(body.outputs) or len(node.outputs) >= len(body.outputs):
            return False
        start, carried, inserted = known.producer(node.inputs[2 + k]), body.inputs[2 + k].name, body.outputs[1 + k].name
        inner = self.inner[id(body)]
        found = inner.producer(inserted)
        if start is None or start[0].op != "SequenceEmpty" or found is None or found[1] is not inner:
            return False
        insert = found[0]
        if insert.op != "SequenceInsert" or insert.domain or insert.input(2) or insert.inputs[0] != carried:
            return False
        if len(self.uses[carried]) > 1 or self.uses.get(inserted) or self.outputs.count(inserted) > 1:
            return False
        shape = inner.shape(insert.inputs[1])
        uses = self.takers(node.output(k), "ConcatFromSequence")
        if not uses or carried in self.outputs or not _alike([user for _, user in uses], shape):
            return False
        self.new[id(insert)] = [Node("Identity", [insert.inputs[1]], [inserted], version=NEWEST)]
        del node.inputs[2 + k], node.outputs[k], body.inputs[2 + k], body.outputs[1 + k]
        node.outputs += [""] * (len(body.outputs) - 1 - len(node.outputs))
        stacked = self.names.fresh(f"{inserted}__stacked")
        node.outputs.append(stacked)
        body.outputs.append(Value(inserted, inner.dtype(insert.inputs[1]), None))
        node.proto = None
        for part, user in uses:
            if user.op == "ConcatFromSequence":
                self._join(part, user, stacked, shape)
            else:
                self.take(part, user, stacked, 0, keep=False)
        return True

    def _join(self, part: Graph, user: Node, x: str, shape: tuple[Size, ...] | None) -> None:
        """The elements, of `shape`, joined: a view of them stacked along axis 0."""
        writer, base, axis, new = self.writer(part), user.outputs[0], int(user.attrs["axis"]), _is_new(user)
        rank = 1 if shape is None else len(shape) + 1
        axis %= rank if new else rank - 1
        if axis:
            perm = [*range(1, axis + 1), 0, *range(axis + 1, rank)]
            x = writer.node("Transpose", [x], base, base if new else None, perm=perm)
        elif new:
            writer.node("Identity", [x], base, base)
        if not new:
            sizes: list[Any] = list(shape or ())
            sizes[axis] = -1
            writer.node("Reshape", [x, writer.ints(*sizes)], base, base)
        self.put(user, writer)


def _is_new(user: Node) -> bool:
    return bool(user.attrs.get("new_axis", 0))


def _alike(uses: list[Node], shape: tuple[Size, ...] | None) -> bool:
    """Whether elements of `shape` have the same in every step, if there is an answer, and can be joined as views."""
    joins = [user for user in uses if user.op == "ConcatFromSequence"]
    known = shape is not None and all(isinstance(d, int) for d in shape)
    for user in joins:
        axis, new = int(user.attrs["axis"]), _is_new(user)
        rank = None if shape is None else len(shape) + new
        if (rank is None and (axis or not new)) or (rank is not None and not -rank <= axis < rank):
            return False
        if not new and not (known and shape and 0 not in shape):
            return False
    return known or any(_is_new(user) for user in joins)
