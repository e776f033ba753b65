"""What is known of the values of a graph before it runs: constants, element types, shapes, contents of shape vectors.

Everything that `Known` says holds whenever the graph runs without an error: a size is a number only where every run
must have that number, and a token (``"x[1]"``: the size of axis 1 of value x) otherwise, the same token being the
same size. The integers that the inputs of the whole model declare count as known, since `Model.run` refuses feeds
that differ; what the inputs of a subgraph declare does not.

One `Known` goes through all passes over a graph: going over it again costs where something has changed since.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..graph import Graph, Node
from .contents_rules import CONTENTS
from .element_types import element_type
from .shape_rules import SHAPES, Sizes
from .views import Size

_Learned = tuple[int, Node, str, "dict[str, Any]", "list[str]", "list[str]"]
"""When a node was learned, the node, and its operator, attributes, inputs and outputs then."""


class _Log:
    """Counts what is learned, in all scopes of a model, and says when a fact last became another by a value's name."""

    def __init__(self) -> None:
        self.time = 0
        self.changed: dict[str, int] = {}


_SMALL = 64  # elements: the longest constant that is looked at as a shape vector


class Known:
    """What is known of one graph and, through `outer`, of the graphs round it.

    With `named`, axes of the model's inputs that are declared under one name count as one size. That holds for the
    feeds that the model declares, and no one checks that others do not come: for rewrites whose results refuse those.
    """

    def __init__(self, graph: Graph, outer: Known | None = None, named: bool = False) -> None:
        self.graph = graph
        self.outer = outer
        self.inner: dict[int, Known] = {}
        self.producers: dict[str, Node] = {}
        self._shapes: dict[str, Sizes] = {}
        self._dtypes: dict[str, np.dtype] = {}
        self._contents: dict[str, np.ndarray] = {}
        self._learned: dict[int, _Learned] = {}
        self._log: _Log = _Log() if outer is None else outer._log
        self._own = {v.name for v in graph.inputs}
        if outer is None:
            for value in graph.inputs:
                if value.kind == "tensor" and value.dtype is not None:
                    self._dtypes[value.name] = value.dtype
                if value.kind == "tensor" and value.shape is not None:
                    self._shapes[value.name] = tuple(
                        d if isinstance(d, int) and d >= 0 else f"{value.name}[{k}]" for k, d in enumerate(value.shape)
                    )
        if named and outer is None:
            self._trust_names()

    @staticmethod
    def has_names(graph: Graph) -> bool:
        """Whether `named` would make a difference: two axes of inputs are declared under one name."""
        names = [d for value in graph.inputs for d in value.shape or () if isinstance(d, str)]
        return len(set(names)) < len(names)

    def _trust_names(self) -> None:
        first: dict[str, Size] = {}
        for value in self.graph.inputs:
            sizes = self._shapes.get(value.name)
            if sizes is not None and value.shape is not None:
                pairs = zip(value.shape, sizes, strict=True)
                self._shapes[value.name] = tuple(first.setdefault(d, s) if isinstance(d, str) else s for d, s in pairs)

    def assume(self, name: str, shape: Sizes | None, dtype: np.dtype | None) -> None:
        """Take the shape and element type of an input of this graph for given."""
        if shape is not None:
            self._shapes[name] = shape
        if dtype is not None:
            self._dtypes[name] = dtype

    @classmethod
    def of(cls, graph: Graph, outer: Known | None = None, named: bool = False) -> Known:
        """All that can be said about `graph` as it stands."""
        known = cls(graph, outer, named)
        known.learn_all()
        return known

    def learn_all(self) -> None:
        """Learn the graph as it stands."""
        for node in self.graph.nodes:
            for _, sub in node.subgraphs():
                self.scope(sub).learn_all()
            self.learn(node)

    def scope(self, sub: Graph) -> Known:
        """What is known of a graph in this one."""
        inner = self.inner.get(id(sub))
        if inner is None:
            inner = self.inner[id(sub)] = Known(sub, self)
        return inner

    @property
    def time(self) -> int:
        """When something was last learned."""
        return self._log.time

    def learn(self, node: Node) -> None:
        """Conclude what the inputs of `node` tell about its outputs; its subgraphs must be in `inner` already.

        Nothing is done if node and inputs are what they were the last time. Attributes that decide about shapes may
        not change in place without another change of the node.
        """
        if self.is_learned(node):
            return
        self._log.time = time = self._log.time + 1
        if not node.subgraphs():
            self._learned[id(node)] = (time, node, node.op, node.attrs, node.inputs.copy(), node.outputs.copy())
        before = {}
        for out in node.outputs:
            if out:
                if out in self.producers:
                    before[out] = self._forget(out)
                self.producers[out] = node
                self._own.add(out)
        self._conclude(node)
        for out, facts in before.items():
            if facts != self._facts(out):
                self._log.changed[out] = time

    def is_learned(self, node: Node, by: float = math.inf) -> bool:
        """Whether `node` was learned, at `time` `by` at the latest, and nothing has changed since."""
        last = self._learned.get(id(node))
        if last is None:
            return False
        time, _, op, attrs, inputs, outputs = last
        if time > by or op != node.op or attrs is not node.attrs or inputs != node.inputs or outputs != node.outputs:
            return False
        changed = self._log.changed
        return not changed or changed.keys().isdisjoint(inputs) or all(changed.get(name, 0) < time for name in inputs)

    def give(self, constants: Mapping[str, np.ndarray]) -> None:
        """Make values constants that nodes made."""
        self._log.time += 1
        self._log.changed.update(dict.fromkeys(constants, self._log.time))
        self.graph.constants.update(constants)

    def _facts(self, name: str) -> tuple[Any, ...]:
        contents = self._contents.get(name)
        held = None if contents is None else (contents.shape, contents.reshape(-1).tolist())
        return self._shapes.get(name), self._dtypes.get(name), held

    def _forget(self, name: str) -> tuple[Any, ...]:
        """What was known of `name`."""
        facts = self._facts(name)
        for known in (self._shapes, self._dtypes, self._contents):
            known.pop(name, None)
        return facts

    def _conclude(self, node: Node) -> None:
        element_type(node, self, self._dtypes)
        rule = SHAPES.get((node.domain, node.op))
        shapes = rule(node, self) if rule else None
        for out, shape in zip(node.outputs, shapes or (), strict=False):
            if out and shape is not None:
                if None in shape:
                    shape = [f"{out}[{k}]" if d is None else d for k, d in enumerate(shape)]
                self._shapes[out] = tuple(shape)  # type: ignore[arg-type]
        look = CONTENTS.get(node.op) if node.domain == "" else None
        found = look(node, self) if look else None
        if found is not None and found.size <= _SMALL:
            self._contents[node.outputs[0]] = found

    def _home(self, name: str) -> Known | None:
        """The innermost graph that defines `name`."""
        scope: Known | None = self
        if name in self._own:
            return self
        while scope is not None and name not in scope._own and name not in scope.graph.constants:
            scope = scope.outer
        return scope

    def constant(self, name: str) -> np.ndarray | None:
        """The constant called `name`, here or in a graph round this one."""
        scope: Known | None = self if name else None
        while scope is not None:
            array = scope.graph.constants.get(name)
            if array is not None or name in scope._own:
                return array
            scope = scope.outer
        return None

    def producer(self, name: str) -> tuple[Node, Known] | None:
        """The node that makes `name`, with the scope in which it stands."""
        home = self._home(name) if name else None
        node = home.producers.get(name) if home else None
        return (node, home) if home is not None and node is not None else None

    def shape(self, name: str) -> Sizes | None:
        """The shape of `name`, None where even the rank is unknown."""
        scope: Known | None = self
        while scope is not None:
            array = scope.graph.constants.get(name)
            if array is not None:
                return array.shape
            if name in scope._own:
                return scope._shapes.get(name)
            scope = scope.outer
        return None

    def dtype(self, name: str) -> np.dtype | None:
        """The element type of `name`, None if unknown."""
        scope: Known | None = self
        while scope is not None:
            array = scope.graph.constants.get(name)
            if array is not None:
                return array.dtype
            if name in scope._own:
                return scope._dtypes.get(name)
            scope = scope.outer
        return None

    def contents(self, name: str) -> np.ndarray | None:
        """A small integer or bool value as an object array of ints, bools and size tokens; None if not known."""
        home = self._home(name) if name else None
        if home is None:
            return None
        array = home.graph.constants.get(name)
        if array is None:
            return home._contents.get(name)
        return array.astype(object) if array.dtype.kind in "iub" and array.size <= _SMALL else None

    def ints(self, node: Node, k: int, attribute: str) -> list[int] | None:
        """Integers that `node` takes as input `k` or, in older versions, as an attribute; None if not constant."""
        value = node.attrs.get(attribute)
        if value is None:
            value = self.constant(node.inputs[k]) if k < len(node.inputs) else None
            if value is None:
                return None
        if isinstance(value, np.ndarray):
            if value.ndim > 1 or value.dtype.kind not in "iu":
                return None
            return value.tolist() if value.ndim else [value.item()]
        return [int(v) for v in value] if isinstance(value, list | tuple) else [int(value)]

    def settled(self, name: str) -> np.ndarray | None:
        """The value of `name` as an array where `contents` holds no token."""
        found = self.contents(name)
        dtype = self.dtype(name) if found is not None else None
        if found is None or dtype is None or str in map(type, found.reshape(-1).tolist()):
            return None
        return found.astype(dtype)

    def number(self, name: str) -> Size | None:
        """The one number in `name`, or the size that it is, of whatever type; None if not known."""
        scope: Known = self
        for _ in range(8):
            array = scope.constant(name)
            if array is not None:
                value = array.reshape(-1)[0] if array.size == 1 and array.dtype.kind in "iuf" else 0.5
                return int(value) if value == np.round(value) and abs(value) < 2**53 else None
            contents = scope.contents(name)
            if contents is not None and contents.size == 1:
                found = contents.reshape(-1)[0]
                return found if isinstance(found, str) else int(found)
            made = scope.producer(name)
            if made is None or made[0].op not in ("Cast", "Identity") or made[0].domain:
                return None
            name, scope = made[0].inputs[0], made[1]
        return None

    def branch_shapes(self, node: Node) -> list[list[Sequence[Size | None] | None]]:
        """For each subgraph of `node` the shapes of its outputs, without the tokens that mean something inside only."""
        results: list[list[Sequence[Size | None] | None]] = []
        for _, sub in node.subgraphs():
            scope = self.inner.get(id(sub))
            shapes = [scope.shape(v.name) for v in sub.outputs] if scope else []
            results.append([s and tuple([scope._visible_outside(d) for d in s]) for s in shapes] if scope else [])
        return results

    def _visible_outside(self, size: Size) -> Size | None:
        # Branches of one If may use one name for two values.
        return size if isinstance(size, int) or size[: size.rindex("[")] not in self._own else None
