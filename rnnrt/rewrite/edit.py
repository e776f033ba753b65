"""Changing one node of a graph: what :mod:`rnnrt.rewrite.versions` writes its rules with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..graph import Graph, Node
from ..records import field, record
from .names import Names

NEWEST = 28
"""The opset version that the rules lead to."""


@record
class Edit:
    """A node being changed, its graph, the nodes to come before and after it, and the constants that it can see."""

    node: Node
    graph: Graph
    names: Names
    known: Mapping[str, np.ndarray]
    before: list[Node] = field(default_factory=list)
    after: list[Node] = field(default_factory=list)
    changed: bool = False

    def pop(self, key: str, default: Any = None) -> Any:
        """Take an attribute away; its value, or `default` if it is absent."""
        if key not in self.node.attrs:
            return default
        self.changed = True
        return self.node.attrs.pop(key)

    def set(self, **attrs: Any) -> None:
        """Give the node attributes."""
        self.node.attrs.update(attrs)
        self.changed = True

    def default(self, **attrs: Any) -> None:
        """Write down defaults that a later version changed."""
        missing = {key: value for key, value in attrs.items() if key not in self.node.attrs}
        if missing:
            self.set(**missing)

    def rename(self, op: str) -> None:
        """Make the node another operator."""
        self.node.op = op
        self.changed = True

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        """A new constant of the graph."""
        name = self.names.fresh(f"{self._base()}_constant")
        self.graph.constants[name] = array = np.array(value, dtype)
        array.setflags(write=False)
        return name

    def put(self, k: int, name: str) -> None:
        """Make `name` input `k` of the node."""
        inputs = self.node.inputs
        inputs += [""] * (k + 1 - len(inputs))
        inputs[k] = name
        self.changed = True

    def put_constant(self, k: int, value: Any, dtype: Any = np.int64) -> None:
        """Make a new constant input `k` of the node."""
        self.put(k, self.constant(value, dtype))

    def add(self, op: str, *inputs: str, **attrs: Any) -> str:
        """A new node before this one, with one output; the output's name."""
        return self._new(self.before, op, inputs, self.names.fresh(f"{self._base()}_{op}"), attrs)

    def append(self, op: str, *inputs: str, output: str, **attrs: Any) -> None:
        """A new node after this one, making `output`."""
        self._new(self.after, op, inputs, output, attrs)

    def divert(self, k: int = 0) -> tuple[str, str]:
        """Give output `k` a new name; the new and the old one, which a node after this one has to make."""
        old = self.node.outputs[k]
        self.node.outputs[k] = new = self.names.fresh(f"{self._base()}_inner")
        self.changed = True
        return new, old

    def _new(self, nodes: list[Node], op: str, inputs: tuple[str, ...], output: str, attrs: dict[str, Any]) -> str:
        name = self.names.fresh(f"{self._base()}_{op}_node")
        nodes.append(Node(op, list(inputs), [output], attrs, version=NEWEST, name=name))
        self.changed = True
        return output

    def _base(self) -> str:
        return self.node.name or next((out for out in self.node.outputs if out), self.node.op)


Rule = Callable[[Edit], None]
RULES: dict[str, list[tuple[int, Rule]]] = {}


def rule(*ops: str, below: int) -> Callable[[Rule], Rule]:
    """Register a rule for `ops` of versions below `below`; rules of one operator apply in the order of registration."""

    def register(apply: Rule) -> Rule:
        for op in ops:
            RULES.setdefault(op, []).append((below, apply))
        return apply

    return register
