"""What is known of the values of a graph before it runs: constants, element types, shapes, contents of shape vectors.

Everything that `Known` says holds whenever the graph runs without an error: a size is a number only where every run
must have that number, and a token (``"x[1]"``: the size of axis 1 of value x) otherwise, the same token being the
same size. The integers that the inputs of the whole model declare count as known, since `Model.run` refuses feeds
that differ; what the inputs of a subgraph declare does not.

One `Known` goes through all passes over a graph: going over it again costs where something has changed since.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._core import facts
from ..graph import Graph, Node
from .contents_rules import CONTENTS
from .element_types import ALIKE, TYPES
from .shape_rules import SHAPES, Sizes
from .views import Size

_RULES = facts.Rules(SHAPES, CONTENTS, TYPES, ALIKE)


class Known(facts.Facts):
    """What is known of one graph and, through `outer`, of the graphs round it.

    With `named`, axes of the model's inputs that are declared under one name count as one size. That holds for the
    feeds that the model declares, and no one checks that others do not come: for rewrites whose results refuse those.
    """

    __slots__ = ()

    def __init__(self, graph: Graph, outer: Known | None = None, named: bool = False) -> None:
        super().__init__(graph, outer, _RULES)
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

    def scope(self, sub: Graph) -> Known:
        """What is known of a graph in this one."""
        inner = self.inner.get(id(sub))
        if inner is None:
            inner = self.inner[id(sub)] = Known(sub, self)
        return inner

    def number(self, name: str) -> Size | None:
        """The one number in `name`, or the size that it is, of whatever type; None if not known."""
        scope: Any = self
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
