"""What the proof knows of a graph's values while it goes through them: :class:`Flow`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..graph import Graph, Node, captured
from ..ops.random import RANDOM
from ..rewrite.known import Known
from ..rewrite.views import Size

Axis = tuple[Size, ...]
Arrangement = tuple[Axis, ...]

ONE: Axis = (1,)


class NotPointwise(Exception):
    """Why there is no proof."""


class OneRow(NotPointwise):
    """There is none since the model is made for one row."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A node that takes the first or the last entry of an axis: of which size, where, and whether the axis stays."""

    node: Node
    size: Size
    axis: int
    last: bool
    keeps: bool


@dataclass(slots=True)
class Flow:
    """How the values of a graph are arranged, as far as the proof has come.

    Attributes
    ----------
    axes
        The arrangement of each value; absent where not even the rank is known.
    sizes
        Values that are made of sizes: shapes and what is computed from them. They may be used as shapes only.
    mixed
        Tokens of sizes along which something is mixed, or that a number settles.
    recurrent
        Each recurrent node with the axes of time and batch of its X.
    """

    graph: Graph
    known: Known
    axes: dict[str, Arrangement] = field(default_factory=dict)
    sizes: set[str] = field(default_factory=set)
    mixed: dict[str, str] = field(default_factory=dict)
    recurrent: list[tuple[Node, Axis, Axis]] = field(default_factory=list)
    picks: list[Pick] = field(default_factory=list)
    _same: dict[str, str] = field(default_factory=dict)

    def find(self, size: Size) -> Size:
        """The one token that stands for all that are the same size."""
        while isinstance(size, str) and size in self._same:
            size = self._same[size]
        return size

    def normal(self, axis: Axis) -> Axis:
        """`axis` with its tokens found and without ones; a size that is nothing else is one."""
        return tuple(self.find(d) for d in axis if d != 1) or ONE

    def arrangement(self, name: str) -> Arrangement:
        """How the value called `name` is arranged."""
        array = self.known.constant(name)
        if array is not None:
            return tuple((d,) for d in array.shape)
        if name in self.sizes or name not in self.axes:
            raise NotPointwise(f"the value {name!r} is used, {'a size' if name in self.sizes else 'of unknown rank'}")
        return self.axes[name]

    def put(self, name: str, arrangement: Iterable[Axis]) -> None:
        """Say how the value called `name` is arranged; what is known of its shape are the same sizes."""
        if not name:
            return
        self.axes[name] = tuple(self.normal(axis) for axis in arrangement)
        shape = self.known.shape(name)
        for size, axis in zip(shape or (), self.axes[name], strict=False):
            if isinstance(size, str) and len(axis) == 1 and isinstance(axis[0], str):
                self._union(size, axis[0])

    def mix(self, axes: Iterable[Axis], why: str) -> None:
        """What lies along `axes` depends on each other."""
        for axis in axes:
            for size in axis:
                if isinstance(size, str):
                    self.mixed.setdefault(size, why)

    def join(self, axes: Sequence[Axis], why: str) -> Axis:
        """The axis to which `axes` broadcast, their tokens made the same."""
        wide = [self.normal(axis) for axis in axes]
        wide = [axis for axis in wide if axis != ONE] or [ONE]
        first = wide[0]
        for other in wide[1:]:
            alike = len(first) == len(other) and all(type(a) is type(b) for a, b in zip(first, other, strict=True))
            if not alike or any(isinstance(a, int) and a != b for a, b in zip(first, other, strict=True)):
                self.mix((first, other), why)  # a number settles what the other one is
                continue
            for a, b in zip(first, other, strict=True):
                if isinstance(a, str) and isinstance(b, str):
                    self._union(a, b)
        return self.normal(first)

    def _union(self, a: Size, b: Size) -> None:
        a, b = self.find(a), self.find(b)
        if a != b and isinstance(a, str):
            self._same[a] = str(b)

    def unknown(self, node: Node) -> None:
        """A node of which nothing is known but the shapes of its outputs: it mixes all that it reads."""
        for name in dict.fromkeys((*node.inputs, *captured(node))):
            if name in self.sizes:
                raise NotPointwise(f"{node.label()} computes with a size")
            if name:
                self.mix(self.axes.get(name, ()), node.label())
        if node.op in RANDOM:
            raise NotPointwise(f"{node.label()} is random")
        for out in node.outputs:
            shape = self.known.shape(out) if out else None
            if shape is not None:
                self.put(out, [(d,) for d in shape])
                self.mix(self.axes[out], node.label())

    def declare(self) -> None:
        """The inputs of the graph; sizes of one name are the same."""
        names: dict[str, str] = {}
        for value in self.graph.inputs:
            shape = self.known.shape(value.name)
            if shape is None:
                continue
            for size, declared in zip(shape, value.shape or (), strict=False):
                if isinstance(size, str) and isinstance(declared, str):
                    self._union(size, names.setdefault(declared, size))
            self.put(value.name, [(d,) for d in shape])
