"""Which inputs of a model carry state, and which output is the next value of each.

Found from the rewritten graph (:func:`rnnrt.rewrite.rewrite`): its structure says so, names and order only break ties.
An input is *moved* to where it is used by views, Concat, Gather and the like; so is a new value to an output. A pair is

* an input moved into the initial state of a recurrent node, and an output moved from its final state;
* an input concatenated with (or overwritten in part by) new data, and an output moved from that: a cache;
* the first and the last value of what a Loop or Scan carries on;
* an input that a written-out cell multiplies by a gate, and an output moved from the sum: c of an LSTM, h of a GRU;
  and with it an input of the cell's matrix products, and an output that is a gate times tanh(c): h of an LSTM;
* an input and an output of one shape with one name, if the name is one that states have (``h_in`` and ``h_out``).
"""

from __future__ import annotations

import re
from collections import ChainMap, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .graph import Graph, Node, Value
from .rewrite.absorb import canonical_sizes
from .rewrite.known import Known

Leaf = tuple[str, object]
"""Where data comes from: ("input", name), ("h" or "c", recurrent node), ("carried" or "value", output of a node)."""

Sources = frozenset[Leaf]

_NOTHING: Sources = frozenset()
_MOST = 256  # leaves; a value made of more counts as made anew
_PAIRS = 1 << 16  # of inputs and outputs; a model with more is no model with states
_JOINS_LOOKED_AT = 64  # of each input
_FIRST = {
    "Cast", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Pad", "Reshape", "Slice", "Split",
    "Squeeze", "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip
_JOINS = {"Concat": slice(None), "ScatterND": slice(0, 3, 2), "ScatterElements": slice(0, 3, 2)}
_LOOPS = {"Loop": (2, 1), "Scan": (0, 0)}  # inputs and outputs of the body before those that are carried on
_GATES = {"Sigmoid", "HardSigmoid"}
_ARITHMETIC = {"Add", "Div", "Mul", "Sub"}
_SUMS = {"Add", "Sum"}
_PRODUCTS = {"Gemm", "MatMul", "FusedMatMul"}
_SURE, _LIKELY = 0.3, 0.1  # evidence: that which is enough, and that of names


def find_states(graph: Graph) -> dict[str, str]:
    """The state inputs of a rewritten graph: input name -> name of the output that is its next value."""
    if len(graph.inputs) * len(graph.outputs) > _PAIRS:
        return {}
    known = Known.of(graph)
    flow = _Flow(graph, known)
    flow.follow(graph, known, {v.name: frozenset([("input", v.name)]) for v in graph.inputs})
    pairs = []
    for i, given in enumerate(graph.inputs):
        for o, result in enumerate(graph.outputs):
            if not _alike(given, result, known):
                continue
            same = same_name(given.name, result.name)
            score, leads = flow.evidence(given.name, flow.outputs[o])
            if score < _SURE and same and is_state_name(given.name) and is_state_name(result.name):
                score = _LIKELY
            if score < _LIKELY:
                continue
            # States come last among the inputs and the outputs, if anywhere in particular.
            distance = abs((len(graph.inputs) - i) - (len(graph.outputs) - o))
            pairs.append((-round(score, 6), not same, not leads, distance, i, o))
    return _matched(pairs, graph)


def _matched(pairs: list[tuple[float, bool, bool, int, int, int]], graph: Graph) -> dict[str, str]:
    """The best pairs first, each input and each output once; in the order of the inputs."""
    taken_inputs: dict[int, int] = {}
    for *_, i, o in sorted(pairs):
        if i not in taken_inputs and o not in taken_inputs.values():
            taken_inputs[i] = o
    return {graph.inputs[i].name: graph.outputs[o].name for i, o in sorted(taken_inputs.items())}


def _alike(given: Value, result: Value, known: Known) -> bool:
    """Whether types agree and shapes may; what is not known agrees with everything."""
    if given.name == result.name or given.kind != "tensor" or result.kind != "tensor":
        return False
    dtype = result.dtype or known.dtype(result.name)
    if given.dtype is None or (dtype is not None and dtype != given.dtype):
        return False
    for shape in (result.shape, known.shape(result.name)):
        if given.shape is None or shape is None:
            continue
        if len(shape) != len(given.shape) or not shape:
            return False
        if any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(given.shape, shape, strict=True)):
            return False
    return True


@dataclass
class _Made:
    """What made a "value" leaf: the node, and the sources of all values visible to it."""

    node: Node
    sources: Mapping[str, Sources]


@dataclass
class _Flow:
    """Where the data of a graph goes and comes from.

    Attributes
    ----------
    outputs
        Sources of each output of the main graph.
    starts
        For each input, the leaves that carry it on: states of recurrent nodes and loops, sums and outputs of cells.
    joins
        For each input, the sources of values in which it and other data are put together, and whether it comes first.
    """

    graph: Graph
    known: Known
    outputs: list[Sources] = field(default_factory=list)
    starts: dict[str, set[Leaf]] = field(default_factory=lambda: defaultdict(set))
    joins: dict[str, list[tuple[Sources, bool]]] = field(default_factory=lambda: defaultdict(list))
    made: dict[Leaf, _Made] = field(default_factory=dict)
    cells: set[Leaf] = field(default_factory=set)

    def follow(self, graph: Graph, known: Known, sources: Mapping[str, Sources]) -> list[Sources]:
        """Go through `graph` in order; returns the sources of its outputs."""
        seen: ChainMap[str, Sources] = ChainMap({}, sources)  # type: ignore[arg-type]  # only the first is written
        for node in graph.nodes:
            inner = [self.follow(sub, known.inner[id(sub)], seen) for _, sub in node.subgraphs()]
            for k, out in enumerate(node.outputs):
                if out:
                    seen[out] = self._sources(node, k, seen, inner, known)
        results = [seen.get(v.name, _NOTHING) for v in graph.outputs]
        if graph is self.graph:
            self.outputs = results
        return results

    def _sources(
        self, node: Node, k: int, seen: Mapping[str, Sources], inner: list[list[Sources]], known: Known
    ) -> Sources:
        op = node.op
        if node.domain == "rnnrt" and op in ("LSTM", "GRU", "RNN"):
            return self._recurrent(node, k, seen, known)
        if node.domain == "" and op in _LOOPS:
            return self._carried(node, k, seen)
        if node.domain == "" and op in _FIRST:
            return seen.get(node.inputs[0], _NOTHING)
        found = _NOTHING
        if node.domain == "" and op in _JOINS:
            found = _union(seen, node.inputs[_JOINS[op]])
            first = seen.get(node.inputs[0], _NOTHING)
            for leaf in found if 1 < len(found) <= _MOST else ():
                if leaf[0] == "input" and len(self.joins[str(leaf[1])]) < _JOINS_LOOKED_AT:
                    self.joins[str(leaf[1])].append((found, leaf in first))
        elif node.domain == "" and op == "Where":
            found = _union(seen, node.inputs[1:])
        elif node.domain == "" and op in _ARITHMETIC:
            # One number added to or multiplied with all of a state leaves it one.
            several = [name for name in node.inputs if not _is_one_number(known.shape(name))]
            found = seen.get(several[0], _NOTHING) if len(several) == 1 else _NOTHING
        elif node.domain == "" and op == "If":
            found = frozenset().union(*(branch[k] for branch in inner if k < len(branch)))
        if found and len(found) <= _MOST:
            return found
        leaf = ("value", (id(node), k))
        self.made[leaf] = _Made(node, seen)
        if op in _SUMS:
            self._cell_sum(node, leaf, seen)
        elif op == "Mul":
            self._cell_output(node, leaf, seen)
        return frozenset([leaf])

    def _carried(self, node: Node, k: int, seen: Mapping[str, Sources]) -> Sources:
        """What a Loop or Scan carries from step to step starts as an input of it and ends as an output."""
        body = node.attrs.get("body")
        skip_inputs, skip_outputs = _LOOPS[node.op]
        count = len(node.inputs) - skip_inputs
        if node.op == "Scan":
            count -= int(node.attrs.get("num_scan_inputs", 0))
        leaf: Leaf = ("carried", (id(node), k))
        if isinstance(body, Graph) and k < count and len(self.graph.inputs) > 1:
            given = seen.get(node.inputs[skip_inputs + k], _NOTHING)
            if body.outputs[skip_outputs + k].name == body.inputs[skip_inputs + k].name:
                return given
            for kind, name in given:
                if kind == "input":
                    self.starts[str(name)].add(leaf)
        return frozenset([leaf])

    def _recurrent(self, node: Node, k: int, seen: Mapping[str, Sources], known: Known) -> Sources:
        for index, kind in ((5, "h"), (6, "c")) if node.op == "LSTM" else ((5, "h"),):
            for leaf in self._scaled(seen.get(node.input(index), _NOTHING)):
                if leaf[0] == "input":
                    self.starts[str(leaf[1])].add((kind, id(node)))
        if k == 2:
            return frozenset([("c", id(node))])
        # With one step, Y holds what Y_h does.
        if k == 1 or canonical_sizes(node, 0, known)[0] == 1:
            return frozenset([("h", id(node))])
        return frozenset([("value", (id(node), k))])

    def _scaled(self, sources: Sources) -> set[Leaf]:
        """`sources`, and what a product among them (a state times a reset flag) is made of."""
        result = set(sources)
        for leaf in sources:
            made = self.made.get(leaf)
            if made is not None and made.node.op == "Mul":
                result |= _union(made.sources, made.node.inputs)
        return result

    def _cell_sum(self, node: Node, leaf: Leaf, seen: Mapping[str, Sources]) -> None:
        """In gate * state + ..., the sum carries the state on."""
        if len(self.graph.inputs) < 2:
            return
        for term in _union(seen, node.inputs):
            made = self.made.get(term)
            if made is None or made.node.op != "Mul" or len(made.node.inputs) != 2:
                continue
            a, b = made.node.inputs
            for gate, state in ((a, b), (b, a)):
                if not self._is_gate(made.sources.get(gate, _NOTHING)):
                    continue
                self.cells.add(leaf)
                carried = set(made.sources.get(state, _NOTHING))
                for part in list(carried):
                    difference = self.made.get(part)
                    if difference is not None and difference.node.op == "Sub":
                        carried |= _union(difference.sources, difference.node.inputs)
                for kind, name in carried:
                    if kind == "input":
                        self.starts[str(name)].add(leaf)

    def _is_gate(self, sources: Sources) -> bool:
        """Whether all of a value comes out of sigmoids (1 - sigmoid included)."""
        for leaf in sources:
            made = self.made.get(leaf)
            if made is None or made.node.op not in _GATES:
                return False
        return bool(sources)

    def _only(self, sources: Sources) -> _Made | None:
        return self.made.get(next(iter(sources))) if len(sources) == 1 else None

    def _cell_output(self, node: Node, leaf: Leaf, seen: Mapping[str, Sources]) -> None:
        """What gate * tanh(c), with c the sum of a cell, carries on is what the gate is a linear function of."""
        if len(node.inputs) != 2:
            return
        a, b = node.inputs
        for gate, tanh in ((a, b), (b, a)):
            squashed = self._only(seen.get(tanh, _NOTHING))
            if squashed is None or squashed.node.op != "Tanh" or not self._is_gate(seen.get(gate, _NOTHING)):
                continue
            if self.cells.isdisjoint(squashed.sources.get(squashed.node.inputs[0], _NOTHING)):
                continue
            for name in self._linear_inputs(seen.get(gate, _NOTHING)):
                self.starts[name].add(leaf)

    def _linear_inputs(self, sources: Sources) -> set[str]:
        """Inputs of the model of which the argument of a gate is a sum of matrix products."""
        found: set[str] = set()
        pending, done = list(sources), set(sources)
        while pending and len(done) <= _MOST:
            made = self.made.get(pending.pop())
            if made is None:
                continue
            op, names = made.node.op, made.node.inputs
            if op in _PRODUCTS:
                found |= {str(name) for kind, name in _union(made.sources, names[:2]) if kind == "input"}
                names = names[2:]
            elif op not in _SUMS and op not in _GATES and op != "Sub":
                continue
            more = _union(made.sources, names) - done
            done |= more
            pending += more
        return found

    def evidence(self, name: str, result: Sources) -> tuple[float, bool]:
        """How surely an output with the sources `result` is the next value of input `name`.

        Returns
        -------
        score, leads
            From 0 (it is not) to 1, and whether the input comes before the new data, as what is older does.
        """
        starts = self.starts.get(name, set())
        ends = {leaf for leaf in result if leaf[0] in ("h", "c", "carried") or leaf in self.made}
        shared = len(starts & ends)
        best = _SURE + (1 - _SURE) * 2 * shared / (len(starts) + len(ends)) if shared else 0.0
        own: Leaf = ("input", name)
        leads = False
        for join, first in self.joins.get(name, ()):
            common = (join & result) - {own}
            if common:
                overlap = len(join & result) / len(join | result)
                # A cache that keeps part of itself is one for certain; one that is all new data has to be most of it.
                score = _SURE + (1 - _SURE) * overlap if own in result else overlap
                best, leads = max((best, leads), (score, first))
        return best, leads


def _union(sources: Mapping[str, Sources], names: Iterable[str]) -> Sources:
    return frozenset().union(*(sources.get(name, _NOTHING) for name in names))


def _is_one_number(shape: tuple | None) -> bool:
    return shape is not None and all(d == 1 for d in shape)


_AFFIXES = {
    "final", "in", "init", "initial", "input", "inputs", "last", "n", "new", "next", "old", "out", "output",
    "outputs", "past", "present", "prev", "previous", "t", "updated",
}  # fmt: skip
_STATE_WORDS = {
    "buf", "buffer", "c", "cache", "caches", "carry", "cell", "context", "ctx", "cx", "gru", "h", "hc", "hidden",
    "hist", "history", "hx", "lstm", "mem", "memory", "past", "present", "rnn", "state", "states",
}  # fmt: skip


def _words(name: str) -> list[str]:
    """A name's words and numbers: ``stateN`` -> state, n; ``h1_in`` -> h, 1, in; ``hn`` and ``h0`` -> h, n."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+", name.split(":")[0])
    joined = [w.lower() for w in words]
    if len(joined) == 2 and joined[0] in ("h", "c") and joined[1] == "0":
        return [joined[0], "n"]
    return [part for w in joined for part in ((w[0], "n") if w in ("hn", "cn", "hin", "cin") else (w,))]


def same_name(given: str, result: str) -> bool:
    """Whether two names differ only in words like in, out, new, next: ``cache_in_1`` and ``cache_out_1``."""
    a, b = ([w for w in _words(name) if w not in _AFFIXES] for name in (given, result))
    return bool(a) and a == b


def is_state_name(name: str) -> bool:
    """Whether a name has a word that states are called by."""
    return not _STATE_WORDS.isdisjoint(_words(name))
