"""New nodes and constants that a rewrite adds to a graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..graph import Graph, Node
from .affine import Source
from .edit import NEWEST
from .names import Names
from .views import Size


class Writer:
    """New nodes and constants of one graph."""

    def __init__(self, graph: Graph, names: Names) -> None:
        self.graph, self.names = graph, names
        self.nodes: list[Node] = []
        self._constants: dict[object, str] = {}

    def node(self, op: str, inputs: Sequence[str], base: str, output: str | None = None, **attrs: object) -> str:
        """A node with one output, and its name."""
        output = output or self.names.fresh(f"{base}__{op}")
        self.nodes.append(Node(op, list(inputs), [output], attrs, version=NEWEST))
        return output

    def ints(self, *values: int) -> str:
        """A constant of int64."""
        return self.constant(np.array(values, np.int64), ("int64", values), "ints")

    def constant(self, array: np.ndarray, key: object, base: str) -> str:
        """A constant; the same one for the same key."""
        if key not in self._constants:
            self._constants[key] = name = self.names.fresh(f"rnnrt__{base}")
            array.setflags(write=False)
            self.graph.constants[name] = array
        return self._constants[key]

    def viewed(self, source: Source) -> str:
        """The value that `source` stands for."""
        name = source.name
        for kind, *args in source.views:
            if kind == "transpose":
                name = self.node("Transpose", [name], name, perm=list(args[0]))
            elif kind in ("squeeze", "unsqueeze"):
                name = self.node(kind.capitalize(), [name, self.ints(*args[0])], name)
            elif kind == "index":
                index = self.constant(np.array(args[1], np.int64), ("scalar", args[1]), "index")
                name = self.node("Gather", [name, index], name, axis=args[0])
            else:
                axis, start, stop, step = args
                bounds = [self.ints(v) for v in (start, stop, axis, step)]
                name = self.node("Slice", [name, *bounds], name)
        return name

    def rows(self, name: str, shape: Sequence[Size]) -> str:
        """``[1, B, K]`` of a value whose axes, in this order, are these and axes of size 1."""
        if len(shape) == 3 and shape[0] == 1:
            return name
        if len(shape) == 2:
            return self.node("Unsqueeze", [name, self.ints(0)], name)
        batch = any(d != 1 for d in shape[:-1])
        return self.node("Reshape", [name, self.ints(1, -1 if batch else 1, int(shape[-1]))], name)

    def from_rows(self, name: str, lead: Sequence[Size], units: int, output: str) -> None:
        """Make `output`, of shape ``(*lead, units)``, of ``[1, B, units]``."""
        if len(lead) == 1:
            self.node("Squeeze", [name, self.ints(0)], name, output)
        elif len(lead) == 2 and lead[0] == 1:
            self.node("Identity", [name], name, output)
        else:
            self.node("Reshape", [name, self.ints(*(1 if d == 1 else -1 for d in lead), units)], name, output)
