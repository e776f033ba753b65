"""BatchNormalization, Mul, Add, Sub and Div by constants go into the weights and bias of the product before them.

``(W x + b) * s + t = (s W) x + (s b + t)`` with s and t a number for each channel, where nobody else reads W x + b.
Products are Conv, ConvTranspose, Gemm and MatMul with constant weights; a MatMul of matrices that gets a bias becomes a
Gemm, others get none. What scales and shifts the rows that a Gemm or MatMul alone reads goes into it just so:
``W (s x + t) + b = (W s) x + (W t + b)``. It is computed in float64 and rounded once, and left as it was if it would
overflow. A Pad with zeros goes into the Conv that alone reads it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..graph import Graph, Node
from .edit import NEWEST
from .known import Known
from .names import Names

_CHANNELED = ("Conv", "ConvTranspose")


def fold_scales(graph: Graph, known: Known, names: Names | None = None) -> int:
    """Fold such nodes of `graph`, of which `known` is known, and of the graphs in it, in place; returns how many."""
    return _Scaler(names or Names(graph)).sweep(graph, known)


class _Scaler:
    def __init__(self, names: Names) -> None:
        self.names = names

    def sweep(self, graph: Graph, known: Known) -> int:
        count = 0
        users, outputs = graph.consumers(), {v.name for v in graph.outputs}
        makers = graph.producers()
        kept: list[Node] = []
        for node in graph.nodes:
            for _, sub in node.subgraphs():
                count += self.sweep(sub, known.inner[id(sub)])
            before = None
            if not node.domain:
                name = node.inputs[self._data(node, known)] if node.inputs else ""
                alone = len(users.get(name, ())) == 1 and name not in outputs and node.inputs.count(name) == 1
                before = makers.get(name) if alone else None
            if before is not None and not before.domain and self._fold(node, before, graph, known):
                count += 1
                if node.op in _OPS:  # it is gone, and the one before makes what it made
                    before.outputs = node.outputs[:1]
                    makers[node.outputs[0]] = before
                    continue
            while (
                not node.domain and node.op in ("Gemm", "MatMul") and (made := makers.get(node.inputs[0])) is not None
            ):
                alone = len(users.get(node.inputs[0], ())) == 1 and node.inputs[0] not in outputs
                if not alone or not self._take(made, node, graph, known):
                    break
                count += 1
            kept.append(node)
        graph.nodes[:] = kept
        return count

    def _take(self, before: Node, node: Node, graph: Graph, known: Known) -> bool:
        """Let the product `node` do what `before` does to its rows."""
        weights, shape = known.constant(node.input(1)), known.shape(node.inputs[0])
        if before.domain or before.op not in _OPS or weights is None or weights.ndim != 2 or weights.dtype.kind != "f":
            return False
        attrs = node.attrs
        if shape is None or attrs.get("transA", 0) or attrs.get("alpha", 1.0) != 1.0 or attrs.get("beta", 1.0) != 1.0:
            return False
        turned = bool(attrs.get("transB", 0))
        rows = int(weights.shape[1 if turned else 0])
        columns = int(weights.shape[0 if turned else 1])
        k = self._data(before, known)
        if (
            known.shape(before.inputs[k]) != shape
            or shape[-1] != rows
            or known.dtype(before.inputs[k]) != weights.dtype
        ):
            return False
        found = _scale_and_shift(before, Node("MatMul", [], before.outputs), rows, len(shape), known)
        bias = known.constant(node.input(2)) if node.input(2) else np.zeros(columns)
        if found is None or bias is None or bias.ndim > 1 or bias.size not in (1, columns):
            return False
        scale, shift = found
        if shift is not None and node.op == "MatMul" and len(shape) != 2:
            return False
        wide = weights.astype(np.float64).T if turned else weights.astype(np.float64)
        scaled = wide if scale is None else wide * scale[:, None]
        new = np.broadcast_to(bias, columns).astype(np.float64) + (0.0 if shift is None else shift @ wide)
        with np.errstate(over="ignore"):
            new, scaled = new.astype(weights.dtype), (scaled.T if turned else scaled).astype(weights.dtype)
        if not (np.all(np.isfinite(new)) and np.all(np.isfinite(scaled))):
            return False
        inputs = [before.inputs[k], node.inputs[1]]
        if scale is not None:
            inputs[1] = self._constant(scaled, node.inputs[1], graph)
        if shift is not None or node.input(2):
            inputs.append(self._constant(new, node.input(2) or f"{node.inputs[1]}__bias", graph))
            node.op, node.version = "Gemm", NEWEST
        node.inputs, node.proto = inputs, None
        return True

    def _data(self, node: Node, known: Known) -> int:
        """Which input of `node` is not a constant."""
        two = node.op in ("Add", "Mul", "Sub") and len(node.inputs) == 2
        return int(two and known.constant(node.inputs[0]) is not None)

    def _fold(self, node: Node, before: Node, graph: Graph, known: Known) -> bool:
        """Make `node` part of `before`, which makes the input that nobody else reads."""
        if node.op == "Conv":
            return before.op == "Pad" and _pad_conv(before, node, known)
        if node.op not in _OPS or len([out for out in node.outputs if out]) != 1:
            return False
        weights = known.constant(before.input(1))
        if before.op not in (*_CHANNELED, "Gemm", "MatMul") or weights is None or weights.dtype.kind != "f":
            return False
        if weights.ndim < 2 or (before.op == "MatMul" and weights.ndim != 2):
            return False
        channels = _channels(before, weights)
        found = _scale_and_shift(node, before, channels, weights.ndim, known)
        if found is None:
            return False
        return self._scale(before, weights, *found, channels, graph, known)

    def _scale(
        self, node: Node, weights: np.ndarray, scale: np.ndarray | None, shift: np.ndarray | None, channels: int,
        graph: Graph, known: Known,
    ) -> bool:  # fmt: skip
        """Give `node` the weights and the bias that scale and shift what it gives."""
        bias = known.constant(node.input(2)) if node.input(2) else None
        if node.input(2) and (bias is None or bias.size not in (1, channels) or bias.ndim > 1):
            return False
        if node.op == "Gemm" and (node.attrs.get("alpha", 1.0) != 1.0 or node.attrs.get("beta", 1.0) != 1.0):
            return False
        if node.op == "MatMul" and shift is not None:
            shape = known.shape(node.inputs[0])
            if shape is None or len(shape) != 2:
                return False
        old = np.zeros(channels) if bias is None else np.broadcast_to(bias, channels).astype(np.float64)
        new = old * (1.0 if scale is None else scale) + (0.0 if shift is None else shift)
        scaled = weights if scale is None else _times(node, weights, scale)
        with np.errstate(over="ignore"):
            new, scaled = new.astype(weights.dtype), scaled.astype(weights.dtype)
        if not (np.all(np.isfinite(new)) and np.all(np.isfinite(scaled))):
            return False
        inputs = [node.inputs[0], node.inputs[1]]
        if scale is not None:
            inputs[1] = self._constant(scaled, node.inputs[1], graph)
        if bias is not None or shift is not None:
            inputs.append(self._constant(new, node.input(2) or f"{node.inputs[1]}__bias", graph))
            if node.op == "MatMul":
                node.op, node.version = "Gemm", NEWEST
        node.inputs, node.proto = inputs, None
        return True

    def _constant(self, array: np.ndarray, base: str, graph: Graph) -> str:
        name = self.names.fresh(f"{base}__scaled")
        array = np.ascontiguousarray(array)
        array.setflags(write=False)
        graph.constants[name] = array
        return name


def _channels(node: Node, weights: np.ndarray) -> int:
    if node.op == "ConvTranspose":
        return int(weights.shape[1] * node.attrs.get("group", 1))
    if node.op == "Gemm":
        return int(weights.shape[0 if node.attrs.get("transB", 0) else 1])
    return int(weights.shape[1 if node.op == "MatMul" else 0])


def _times(node: Node, weights: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The weights with each output channel times its `scale`."""
    wide = weights.astype(np.float64)
    ones = (1,) * (weights.ndim - 2)
    if node.op == "ConvTranspose":
        group = int(node.attrs.get("group", 1))
        parts = wide.reshape(group, -1, *weights.shape[1:]) * scale.reshape(group, 1, -1, *ones)
        return parts.reshape(weights.shape)
    first = node.op == "Conv" or (node.op == "Gemm" and node.attrs.get("transB", 0))
    return wide * (scale.reshape(-1, 1, *ones) if first else scale)


_OPS = ("BatchNormalization", "Add", "Div", "Mul", "Sub")


def _scale_and_shift(
    node: Node, before: Node, channels: int, rank: int, known: Known
) -> tuple[np.ndarray | None, np.ndarray | None] | None:
    """What `node` multiplies each channel with and adds to it, in float64; None where it does not."""
    if node.op == "BatchNormalization":
        return _normalisation(node, before, channels, known)
    if len(node.inputs) != 2:
        return None
    which = [known.constant(name) for name in node.inputs]
    k = 0 if which[0] is not None else 1
    array = which[k]
    shape = known.shape(node.inputs[1 - k])
    if array is None or array.dtype.kind != "f" or (shape is None and before.op == "MatMul"):
        return None
    rank = len(shape) if shape is not None else 2 if before.op == "Gemm" else rank
    values = _per_channel(array, channels, rank, 1 if before.op in _CHANNELED else rank - 1)
    if values is None:
        return None
    if node.op == "Mul":
        return values, None
    if node.op == "Add":
        return None, values
    if node.op == "Sub":
        return (None, -values) if k == 1 else (np.full(channels, -1.0), values)
    return (1 / values, None) if k == 1 and np.all(values != 0) else None


def _per_channel(array: np.ndarray, channels: int, rank: int, axis: int) -> np.ndarray | None:
    """`array`, broadcast against `rank` axes of which `axis` has the channels, as a number for each of them."""
    if array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(d != 1 for k, d in enumerate(shape) if k != axis) or shape[axis] not in (1, channels):
        return None
    return np.broadcast_to(array.reshape(-1), channels).astype(np.float64)


def _normalisation(
    node: Node, before: Node, channels: int, known: Known
) -> tuple[np.ndarray | None, np.ndarray | None] | None:
    if node.attrs.get("training_mode", 0) or len(node.inputs) != 5:
        return None
    shape = known.shape(before.outputs[0])
    if before.op == "MatMul" and (shape is None or len(shape) != 2):
        return None
    arrays = [known.constant(name) for name in node.inputs[1:]]
    if any(a is None or a.shape != (channels,) or a.dtype.kind != "f" for a in arrays):
        return None
    gain, offset, mean, variance = (a.astype(np.float64) for a in arrays if a is not None)
    spread = variance + float(node.attrs.get("epsilon", 1e-5))
    if not np.all(spread > 0):
        return None
    scale = gain / np.sqrt(spread)
    return scale, offset - mean * scale


def _pad_conv(pad: Node, conv: Node, known: Known) -> bool:
    """Let `conv` pad by itself what `pad` does, if that is with zeros."""
    mode = pad.attrs.get("mode", "constant")
    shape, weights = known.shape(pad.inputs[0]), known.shape(conv.input(1))
    pads, value = known.ints(pad, 1, "pads"), known.constant(pad.input(2)) if pad.input(2) else np.zeros(1)
    if mode not in ("constant", b"constant") or pads is None or value is None or value.size != 1 or np.any(value):
        return False
    if conv.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", b"NOTSET") or shape is None or weights is None:
        return False
    rank = len(shape)
    axes = known.ints(pad, 3, "axes") if pad.input(3) else list(range(rank))
    if axes is None or len(pads) != 2 * len(axes) or min(pads, default=0) < 0 or rank != len(weights) or rank < 3:
        return False
    more = _spatial(pads, axes, rank)
    own = [int(p) for p in conv.attrs.get("pads") or [0] * (2 * (rank - 2))]
    if more is None or len(own) != len(more) or min(own, default=0) < 0:
        return False
    conv.attrs["pads"] = [a + b for a, b in zip(own, more, strict=True)]
    conv.inputs[0], conv.proto = pad.inputs[0], None
    return True


def _spatial(pads: Sequence[int], axes: Sequence[int], rank: int) -> list[int] | None:
    """Pads in Conv's order; None if other axes are padded."""
    result = [0] * (2 * (rank - 2))
    for k, axis in enumerate(axes):
        axis %= rank
        start, end = pads[k], pads[k + len(axes)]
        if axis < 2:
            if start or end:
                return None
            continue
        result[axis - 2] += start
        result[axis - 2 + rank - 2] += end
    return result
