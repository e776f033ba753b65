"""Names of values: new ones, and old ones replaced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..graph import Graph, Node
from ..ops.registry import lookup


class Names:
    """All names that a graph and the graphs in it define; gives out new ones."""

    def __init__(self, graph: Graph) -> None:
        self._count: Counter[str] = Counter()
        for part in graph.walk():
            self._count.update(definitions(part))

    def is_unique(self, name: str) -> bool:
        """Whether only one graph defines `name`."""
        return self._count[name] <= 1

    def fresh(self, base: str) -> str:
        """A name like `base` that nobody has."""
        name, k = base, 0
        while name in self._count:
            k += 1
            name = f"{base}__{k}"
        self._count[name] += 1
        return name


def definitions(graph: Graph) -> list[str]:
    """The names that `graph` itself defines."""
    made = [out for node in graph.nodes for out in node.outputs if out]
    return [*(v.name for v in graph.inputs), *graph.constants, *made]


def rename_inputs(node: Node, names: Mapping[str, str]) -> bool:
    """Let `node`, and the graphs in it, use ``names[x]`` instead of x; whether that changed something."""
    if not names:
        return False
    changed = not names.keys().isdisjoint(node.inputs)
    if changed:
        node.inputs = [names.get(name, name) for name in node.inputs]
    for _, sub in node.subgraphs():
        changed |= _rename_uses(sub, names)
    if changed:
        node.proto = _message(node)
    return changed


def _message(node: Node) -> Any:
    """What `node` was read from, if somebody may need it; its names are replaced then (:mod:`rnnrt.ops.reference`)."""
    return None if lookup(node) is not None or node.subgraphs() else node.proto


def _rename_uses(graph: Graph, names: Mapping[str, str]) -> bool:
    changed = False
    for node in graph.nodes:
        changed |= rename_inputs(node, names) or node.proto is None
    for value in graph.outputs:
        if value.name in names:
            value.name, changed = names[value.name], True
    return changed


def rename_definitions(graph: Graph, names: Mapping[str, str]) -> None:
    """Give values that `graph` makes other names, wherever they are used; its outputs included."""
    if not names:
        return
    for node in graph.nodes:
        if any(out in names for out in node.outputs):
            node.outputs = [names.get(out, out) for out in node.outputs]
            node.proto = _message(node)
        rename_inputs(node, names)
    for name in [n for n in graph.constants if n in names]:
        graph.constants[names[name]] = graph.constants.pop(name)
    for value in (*graph.inputs, *graph.outputs):
        value.name = names.get(value.name, value.name)
