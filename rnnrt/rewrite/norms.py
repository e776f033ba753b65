"""Norms that are written out as means, differences and roots become LayerNormalization or InstanceNormalization.

``d = x - mean(x)``, ``y = d / sqrt(mean(d * d) + epsilon)``, and ``y * gain + offset`` where those are constants of the
normalised axes (or of the channels, for InstanceNormalization). The normalised axes have to be the last ones; axes of
size 1 count as normalised or not, as it fits. Only float32: the operators compute in no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from ..graph import Graph, Node
from ..records import record
from .edit import NEWEST
from .known import Known
from .names import Names
from .order import put_in_order
from .views import Size
from .write import Writer

_MOST_ELEMENTS = 1 << 20  # of a gain that is written out


@record
class _Norm:
    """What has been recognised: `last` makes the result; its gain and offset are as they are in the graph."""

    x: str
    axis: int
    epsilon: float
    last: Node
    gain: np.ndarray | None = None
    offset: np.ndarray | None = None


def name_norms(graph: Graph, known: Known, names: Names | None = None) -> int:
    """Replace the norms of `graph` and of the graphs in it, in place; returns how many."""
    if not {"ReduceMean", "Sqrt"} <= graph.operators():
        return 0
    names = names or Names(graph)
    count = 0
    finder = _Finder(graph, known)
    writer = Writer(graph, names)
    gone: set[int] = set()
    for sub in graph.bodies():
        count += name_norms(sub, known.inner[id(sub)], names)
    for node in graph.nodes:
        norm = finder.find(node) if node.op in ("Div", "Mul") and not node.domain else None
        if norm is not None:
            finder.extend(norm)
            if _write(norm, known, writer):
                gone.add(id(norm.last))
    if gone:
        graph.nodes[:] = [node for node in graph.nodes if id(node) not in gone] + writer.nodes
        put_in_order(graph)
    return count + len(gone)


class _Finder:
    def __init__(self, graph: Graph, known: Known) -> None:
        self.known = known
        self.users, self.outputs = graph.consumers(), {v.name for v in graph.outputs}

    def _made(self, name: str, *ops: str) -> Node | None:
        found = self.known.producer(name)
        node = found[0] if found is not None and found[1] is self.known else None
        return node if node is not None and node.op in ops and not node.domain else None

    def find(self, node: Node) -> _Norm | None:
        """The norm that ends in `node`, a Div or a Mul, before gain and offset."""
        for difference, spread in [node.inputs] if node.op == "Div" else permutations(node.inputs, 2):
            if node.op == "Mul":
                inverse = self._made(spread, "Reciprocal")
                spread = inverse.inputs[0] if inverse is not None else ""
            root, sub = self._made(spread, "Sqrt"), self._made(difference, "Sub")
            total = self._made(root.inputs[0], "Add") if root is not None else None
            if total is None or sub is None or self.known.dtype(sub.inputs[0]) != np.float32:
                continue
            for squares, small in permutations(total.inputs, 2):
                mean, epsilon = self._made(squares, "ReduceMean"), self.known.constant(small)
                if mean is None or epsilon is None or epsilon.size != 1 or not self._is_square(mean, difference):
                    continue
                axis = self._axis(sub, mean)
                # What is between has to be of no other use, or it would be computed twice.
                if axis is not None and self._only(difference, 2) and self._only(spread, 1):
                    return _Norm(sub.inputs[0], axis, float(epsilon.reshape(())), node)
        return None

    def _only(self, name: str, most: int) -> bool:
        return name not in self.outputs and len(self.users.get(name, ())) <= most

    def _is_square(self, mean: Node, difference: str) -> bool:
        square = self._made(mean.inputs[0], "Mul", "Pow")
        if square is None or square.inputs[0] != difference:
            return False
        if square.op == "Mul":
            return square.inputs[1] == difference
        power = self.known.constant(square.inputs[1])
        return power is not None and power.size == 1 and bool(power.reshape(()) == 2)

    def _axis(self, sub: Node, second: Node) -> int | None:
        """The first of the last axes, if both means are taken over them and kept."""
        first, shape = self._made(sub.inputs[1], "ReduceMean"), self.known.shape(sub.inputs[0])
        if first is None or shape is None or first.inputs[0] != sub.inputs[0]:
            return None
        axes = [self._reduced(node, shape) for node in (first, second)]
        return _last_axes(axes[0], shape) if axes[0] is not None and axes[0] == axes[1] else None

    def _reduced(self, node: Node, shape: Sequence[Size]) -> set[int] | None:
        axes = self.known.ints(node, 1, "axes")
        if not axes or not node.attrs.get("keepdims", 1) or any(not -len(shape) <= a < len(shape) for a in axes):
            return None
        return {a % len(shape) for a in axes}

    def extend(self, norm: _Norm) -> None:
        """Take the gain and the offset that follow into `norm`."""
        for op in ("Mul", "Add"):
            name = norm.last.outputs[0]
            readers = self.users.get(name, ())
            if name in self.outputs or len(readers) != 1 or readers[0].op != op or readers[0].domain:
                continue
            reader = readers[0]
            others = [other for other in reader.inputs if other != name]
            array = self.known.constant(others[0]) if len(others) == 1 else None
            shape = self.known.shape(norm.x)
            if array is None or shape is None or not _fits(array, shape, norm, op):
                return
            if op == "Mul":
                norm.gain = array
            else:
                norm.offset = array
            norm.last = reader


def _last_axes(axes: set[int], shape: Sequence[Size]) -> int | None:
    """The first of the axes, if but for axes of size 1 they are the last ones."""
    first = next((k for k in range(len(shape)) if k in axes and shape[k] != 1), None)
    if first is None or any(k not in axes and shape[k] != 1 for k in range(first, len(shape))):
        return None
    return first


def _fits(array: np.ndarray, shape: Sequence[Size], norm: _Norm, op: str) -> bool:
    """Whether a gain or offset can go into the operator that `norm` will be."""
    if array.dtype != np.float32 or array.ndim > len(shape):
        return False
    full = (1,) * (len(shape) - array.ndim) + array.shape
    if not all(d in (1, size) for d, size in zip(full, shape, strict=True)):
        return False
    if all(d == 1 for d in full[: norm.axis]):
        # Of the normalised axes; after a gain of the channels there can be no such offset.
        return norm.gain is None or op == "Mul" or not _of_channels(norm.gain, shape, norm.axis)
    return _of_channels(array, shape, norm.axis) and (
        op == "Mul" or norm.gain is None or _of_channels(norm.gain, shape, norm.axis)
    )


def _of_channels(array: np.ndarray, shape: Sequence[Size], axis: int) -> bool:
    """Whether `array` is a number for each channel, axis 1, of what is normalised from axis 2 on."""
    full = (1,) * (len(shape) - array.ndim) + array.shape
    return axis == 2 and shape[1] != 1 and full[1] == shape[1] and full[0] == 1 and all(d == 1 for d in full[2:])


def _write(norm: _Norm, known: Known, writer: Writer) -> bool:
    shape = known.shape(norm.x)
    if shape is None:
        return False
    given = [a for a in (norm.gain, norm.offset) if a is not None]
    output = norm.last.outputs[0]
    if any(_of_channels(a, shape, norm.axis) for a in given):
        channels = int(shape[1])
        parts = [np.ones(1) if norm.gain is None else norm.gain, np.zeros(1) if norm.offset is None else norm.offset]
        inputs = [norm.x, *(_constant(p.reshape(-1), (channels,), writer) for p in parts)]
        node = Node("InstanceNormalization", inputs, [output], {"epsilon": norm.epsilon}, version=NEWEST)
        writer.nodes.append(node)
        return True
    sizes = shape[norm.axis :]
    if not all(isinstance(d, int) for d in sizes) or np.prod(sizes) > _MOST_ELEMENTS:  # type: ignore[arg-type]
        return False
    full = tuple(int(d) for d in sizes)
    gain = np.ones(1, np.float32) if norm.gain is None else norm.gain
    inputs = [norm.x, _constant(gain, full, writer)]
    if norm.offset is not None:
        inputs.append(_constant(norm.offset, full, writer))
    attrs = {"axis": norm.axis - len(shape), "epsilon": norm.epsilon, "stash_type": 1}
    writer.nodes.append(Node("LayerNormalization", inputs, [output], attrs, version=NEWEST))
    return True


def _constant(array: np.ndarray, shape: tuple[int, ...], writer: Writer) -> str:
    array = array.reshape(array.shape[max(0, array.ndim - len(shape)) :])
    whole = np.ascontiguousarray(np.broadcast_to(array, shape), np.float32)
    return writer.constant(whole, (whole.shape, whole.tobytes()), "norm")
