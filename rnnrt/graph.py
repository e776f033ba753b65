"""The graph as every later stage sees it: plain Python and NumPy, no protobuf.

A :class:`Graph` is made by :mod:`rnnrt.onnx_file`, changed by the passes of :mod:`rnnrt.rewrite`, and read once by
:mod:`rnnrt.plan`. Values are named by strings; the empty string stands for an absent optional input or output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ._core.facts import WITH_BODIES, captured, consumers, taken
from .records import field, fields_of, record

__all__ = ["WITH_BODIES", "Dim", "Graph", "Node", "Scope", "Value", "captured", "taken"]

Dim = int | str | None
"""A known size, a named unknown size, or an unnamed one."""


@record
class Value:
    """A graph input or output: its name, element type and shape, as far as they are declared.

    ``dtype`` is None for what is no tensor (sequences, optionals, maps) or was not declared; ``kind`` then says what it
    is in ONNX's notation, for example ``seq(tensor(float))``. ``shape`` is None where the rank itself is unknown.
    """

    name: str
    dtype: np.dtype | None = None
    shape: tuple[Dim, ...] | None = None
    kind: str = "tensor"

    def __eq__(self, other: object) -> bool:
        return type(other) is Value and fields_of(self) == fields_of(other)

    __hash__ = None  # type: ignore[assignment]  # its name may change


@record
class Node:
    """One operator application.

    Attributes
    ----------
    op, domain
        The operator; ``domain`` is ``""`` for the ONNX standard ones and ``"rnnrt"`` for those that rewrites introduce.
    version
        The opset version whose definition of the operator holds for this node.
    inputs, outputs
        Names of values; ``""`` where an optional one is absent. Trailing absent ones may be missing altogether.
    attrs
        Python values: int, float, str, bytes, lists of them, ``numpy.ndarray`` for tensors, `Graph` for subgraphs.
    proto
        The message it was read from, ``onnx.NodeProto`` or ``_core.messages.Node``, while that says the same; None as
        soon as a rewrite has changed it.
    """

    op: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Any] = field(default_factory=dict)
    domain: str = ""
    version: int = 1
    name: str = ""
    proto: Any = None

    def input(self, k: int) -> str:
        """Name of input `k`, ``""`` if absent."""
        return self.inputs[k] if k < len(self.inputs) else ""

    def output(self, k: int) -> str:
        """Name of output `k`, ``""`` if absent."""
        return self.outputs[k] if k < len(self.outputs) else ""

    def label(self) -> str:
        """How error messages and plans name this node: ``Conv '/encoder/conv'``."""
        op = f"{self.domain}.{self.op}" if self.domain else self.op
        where = self.name or next((o for o in self.outputs if o), "")
        return f"{op} {where!r}" if where else op

    def subgraphs(self) -> list[tuple[str, Graph]]:
        """The graphs among the attributes, with the attribute's name."""
        if self.op not in WITH_BODIES and (not self.domain or self.domain == "rnnrt"):
            return []
        return [(key, value) for key, value in self.attrs.items() if type(value) is Graph]


@record
class Graph:
    """Nodes in topological order, the constants they use, and what goes in and out.

    A subgraph (of If, Loop, Scan) may use names of the graphs around it; names are unique along any chain of nested
    graphs, which :mod:`rnnrt.onnx_file` sees to.
    """

    inputs: list[Value]
    outputs: list[Value]
    nodes: list[Node]
    constants: dict[str, np.ndarray]
    name: str = ""

    def producers(self) -> dict[str, Node]:
        """Which node of this graph (not of its subgraphs) makes each value."""
        return {out: node for node in self.nodes for out in node.outputs if out}

    def consumers(self) -> dict[str, list[Node]]:
        """Which nodes of this graph use each value; a node with a subgraph is a user of all that it captures."""
        return consumers(self.nodes)

    def operators(self) -> set[str]:
        """Names of the operators in the graph and in those in it, of whatever domain."""
        found = {node.op for node in self.nodes}
        return found.union(*(sub.operators() for sub in self.bodies()))

    def bodies(self) -> list[Graph]:
        """The graphs among the attributes of its nodes."""
        holders = [node for node in self.nodes if node.op in WITH_BODIES or node.domain]
        return [sub for node in holders for _, sub in node.subgraphs()]

    def walk(self) -> Iterator[Graph]:
        """Yield the graph and every graph nested in it, outermost first."""
        yield self
        for sub in self.bodies():
            yield from sub.walk()


class Scope:
    """What names stand for inside a graph: its own, then those of the graphs around it."""

    __slots__ = ("outer", "own")

    def __init__(self, own: Mapping[str, Any], outer: Scope | None = None) -> None:
        self.own, self.outer = own, outer

    def get(self, name: str, default: Any = None) -> Any:
        """What `name` stands for."""
        scope: Scope | None = self
        while scope is not None:
            found = scope.own.get(name)
            if found is not None:
                return found
            scope = scope.outer
        return default

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __getitem__(self, name: str) -> Any:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found
