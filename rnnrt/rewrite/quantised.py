"""Products of quantised tensors become products of the floats that hold the same whole numbers.

* MatMulInteger and ConvInteger that are only cast to float, at once or with an integer bias added: MatMul and Conv of
  ``a - a_zero_point`` and weights that are centred once; as integers, their sums would be rounded to float32 after, not
  before they are added up
* DynamicQuantizeLinear: ``clip(round(x / scale), -zero_point, 255 - zero_point)`` for such products, and for others
  bytes of it
* QLinearMatMul and QLinearConv: QuantizeLinear of such a product; MatMulIntegerToFloat and DynamicQuantizeMatMul, which
  onnxruntime makes of it and its surroundings: scaled
* DynamicQuantizeLSTM: the LSTM whose weights are bytes, with the attribute ``quantized``, which holds their scales
* DequantizeLinear of what QuantizeLinear made with the same parameters: ``clip(round(x / scale), low, high) * scale``

So a step of float32 takes the place of several on bytes, and what is done to floats elsewhere is done to them, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..graph import Graph, Node
from ..records import record
from .edit import NEWEST
from .known import Known
from .names import Names
from .write import Writer

_FLOAT, _UINT8, _INT8 = 1, 2, 3
_PRODUCTS = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}
_LSTM = "DynamicQuantizeLSTM"
_SCALED = {"QLinearMatMul": "MatMul", "QLinearConv": "Conv"}
_MICROSOFT = (_LSTM, "DynamicQuantizeMatMul", "MatMulIntegerToFloat")
_OPERATORS = frozenset((*_PRODUCTS, *_SCALED, *_MICROSOFT, "DequantizeLinear", "DynamicQuantizeLinear"))
_BYTES = (np.dtype(np.uint8), np.dtype(np.int8))


@record
class Quantized:
    """Scales and zero points, (D, 4H), of an LSTM's int8 weights, which stand for ``(q - zero) * scale``."""

    w_scale: np.ndarray
    w_zero: np.ndarray
    r_scale: np.ndarray
    r_zero: np.ndarray

    def __repr__(self) -> str:
        return f"Quantized({id(self)})"  # nodes are compared by the texts of their attributes


def unquantise(graph: Graph, known: Known, names: Names | None = None) -> int:
    """Replace such nodes of `graph` and of the graphs in it, in place; returns how many. `known` has to learn of it."""
    if not _OPERATORS & graph.operators():
        return 0
    names = names or Names(graph)
    pass_ = _Pass(graph, known, names)
    count = 0
    for node in graph.nodes:
        for _, sub in node.subgraphs():
            count += unquantise(sub, known.inner[id(sub)], names)
        count += pass_.take(node)
    graph.nodes[:] = pass_.writer.nodes
    return count


class _Pass:
    """One graph.

    `floats` are the products, and sums of them with others, by the names that they had as integers, `centred` what
    DynamicQuantizeLinear makes, less its zero point, and the name of that, by the name of the bytes.
    """

    def __init__(self, graph: Graph, known: Known, names: Names) -> None:
        self.known, self.writer = known, Writer(graph, names)
        self.users, self.outputs = graph.consumers(), {v.name for v in graph.outputs}
        self.floats: dict[str, str] = {}
        self.centred: dict[str, tuple[str, str]] = {}
        self.products = {id(node) for node in graph.nodes if self._is_product(node)}

    def take(self, node: Node) -> bool:
        """Write what takes the place of `node`, or the node; whether it was replaced."""
        if node.domain == "com.microsoft" and node.op in _MICROSOFT and self._of_microsoft(node):
            return True
        if not node.domain and node.input(0) and node.output(0):
            if id(node) in self.products:
                self._product(node)
                return True
            if node.op == "Add" and not self.floats.keys().isdisjoint(node.inputs):
                self._sum(node)
                return True
            if node.op == "Cast" and node.inputs[0] in self.floats and node.attrs.get("to") == _FLOAT:
                self.writer.node("Identity", [self.floats[node.inputs[0]]], node.outputs[0], node.outputs[0])
                return True
            if node.op == "DynamicQuantizeLinear":
                self._dynamic(node)
                return True
            if node.op in _SCALED and self._scaled(node):
                return True
            if node.op == "MaxPool" and self._largest(node):
                return True
            if node.op == "DequantizeLinear" and self._pair(node):
                return True
        self.writer.nodes.append(node)
        return False

    def _is_product(self, node: Node) -> bool:
        """Whether it is one of integers by known weights, all of whose users cast it to float, or a sum with it."""
        if node.domain or node.op not in _PRODUCTS or not node.output(0):
            return False
        users = self.users.get(node.outputs[0], [])
        sums = [user for user in users if user.op == "Add" and not user.domain]
        if not all(self._is_cast(sum_.outputs[0]) for sum_ in sums) or not self._is_cast(node.outputs[0], sums):
            return False
        return self._multiplies(node, _PRODUCTS[node.op], node.input(0), node.input(2), node.input(1), node.input(3))

    def _is_cast(self, name: str, but: Sequence[Node] = ()) -> bool:
        """Whether all users of a value, aside from some, cast it to float."""
        users = [user for user in self.users.get(name, []) if all(user is not other for other in but)]
        cast = all(u.op == "Cast" and not u.domain and u.attrs.get("to") == _FLOAT for u in users)
        return cast and name not in self.outputs

    def _sum(self, node: Node) -> None:
        """Add with a product among its operands."""
        given = [self.floats.get(name) or self.writer.node("Cast", [name], name, to=_FLOAT) for name in node.inputs]
        self.floats[node.outputs[0]] = self.writer.node("Add", given, node.outputs[0])

    def _multiplies(self, node: Node, op: str, x: str, x_zero: str, w: str, w_zero: str) -> bool:
        """Whether `node` is known to be a product `op` of bytes by constant ones, and how to centre them."""
        known = self.known
        point = known.shape(x_zero) if x_zero else ()
        if known.dtype(x) not in _BYTES or point not in ((), (1,)) or (w_zero and known.constant(w_zero) is None):
            return False
        return _centred(op, known.constant(w), known.constant(w_zero)) is not None

    def _multiply(self, node: Node, op: str, x: str, x_zero: str, w: str, w_zero: str, *more: str) -> str:
        """The product in floats."""
        writer, known = self.writer, self.known
        centred = _centred(op, known.constant(w), known.constant(w_zero))
        assert centred is not None
        name, zero = self.centred.get(x, ("", ""))
        left = name if name and zero == x_zero else self._less(x, x_zero)
        right = writer.constant(centred, (op, w, w_zero), "centred")
        attrs = dict(node.attrs) if op == "Conv" else {}
        return writer.node(op, [left, right, *more], node.outputs[0], **attrs)

    def _product(self, node: Node) -> None:
        parts = node.input(0), node.input(2), node.input(1), node.input(3)
        self.floats[node.outputs[0]] = self._multiply(node, _PRODUCTS[node.op], *parts)

    def _less(self, x: str, zero: str) -> str:
        """Bytes less their zero point."""
        writer = self.writer
        name = writer.node("Cast", [x], x, to=_FLOAT)
        if not zero:
            return name
        point = writer.node("Cast", [zero], x, to=_FLOAT)
        if self.known.shape(zero) != ():
            point = writer.node("Squeeze", [point, writer.ints(0)], point)
        return writer.node("Sub", [name, point], x)

    def _scaled(self, node: Node) -> bool:
        """QLinearMatMul and QLinearConv with parameters that are all constants."""
        known, writer, op = self.known, self.writer, _SCALED[node.op]
        x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = (node.input(k) for k in range(8))
        scales = [known.constant(name) for name in (x_scale, w_scale, y_scale)]
        bias, zero = known.constant(node.input(8)), known.constant(y_zero)
        if any(s is None or s.dtype != np.float32 for s in scales) or zero is None or zero.dtype not in _BYTES:
            return False
        a, b, c = (s for s in scales if s is not None)
        if a.size != 1 or c.size != 1 or zero.size != 1 or (node.input(8) and (bias is None or op != "Conv")):
            return False
        weights = known.constant(w)
        if weights is None or not self._multiplies(node, op, x, x_zero, w, w_zero):
            return False
        axis, size = (1, weights.shape[:1]) if op == "Conv" else (-1, weights.shape[-1:])
        if b.size != 1 and (b.shape != size or weights.ndim < 2):
            return False
        with np.errstate(all="ignore"):
            step = np.asarray(c.reshape(()) / (a.reshape(()) * b), np.float32)
        step = step.reshape(()) if step.size == 1 else step
        more = [] if bias is None else [writer.constant(bias.astype(np.float32), ("bias", node.input(8)), "bias")]
        name = self._multiply(node, op, x, x_zero, w, w_zero, *more)
        point = writer.constant(np.broadcast_to(zero.reshape(()), step.shape).copy(), (y_zero, step.shape), "zero")
        by = writer.constant(step, (node.outputs[0], "step"), "step")
        writer.node("QuantizeLinear", [name, by, point], node.outputs[0], node.outputs[0], axis=axis)
        return True

    def _largest(self, node: Node) -> bool:
        """The largest of bytes, as float and back."""
        writer, dtype = self.writer, self.known.dtype(node.inputs[0])
        if dtype not in _BYTES or node.output(1):
            return False
        x = writer.node("Cast", [node.inputs[0]], node.inputs[0], to=_FLOAT)
        y = writer.node("MaxPool", [x], node.outputs[0], **node.attrs)
        writer.node("Cast", [y], node.outputs[0], node.outputs[0], to=_UINT8 if dtype == np.uint8 else _INT8)
        return True

    def _of_microsoft(self, node: Node) -> bool:
        if node.op == _LSTM:
            return self._lstm(node)
        known, writer, base = self.known, self.writer, node.output(0)
        if not base:
            return False
        if node.op == "MatMulIntegerToFloat":
            a, b, a_scale, b_scale, a_zero, b_zero, bias = (node.input(k) for k in range(7))
            if (
                not b_scale
                or known.shape(a_scale) not in ((), (1,))
                or not self._multiplies(node, "MatMul", a, a_zero, b, b_zero)
            ):
                return False
            y = self._multiply(node, "MatMul", a, a_zero, b, b_zero)
        else:
            a, b, b_scale, b_zero, bias = (node.input(k) for k in range(5))
            weights = _centred("MatMul", known.constant(b), known.constant(b_zero))
            if not a or not b_scale or weights is None or (b_zero and known.constant(b_zero) is None):
                return False
            centred, a_scale, _ = quantised_dynamically(writer, a)
            y = writer.node("MatMul", [centred, writer.constant(weights, ("MatMul", b, b_zero), "centred")], base)
        y = writer.node("Mul", [y, writer.node("Mul", [a_scale, b_scale], base)], base, None if bias else base)
        if bias:
            writer.node("Add", [y, bias], base, base)
        return True

    def _dynamic(self, node: Node) -> None:
        writer, base = self.writer, node.inputs[0]
        centred, _, zero = quantised_dynamically(writer, base, node.output(1) or None)
        if node.output(0):
            self.centred[node.output(0)] = centred, node.output(2)
            writer.node("Cast", [writer.node("Add", [centred, zero], base)], base, node.output(0), to=_UINT8)
        if node.output(2):
            writer.node("Cast", [zero], base, node.output(2), to=_UINT8)

    def _lstm(self, node: Node) -> bool:
        known, writer = self.known, self.writer
        w, r = (signed_bytes(*(known.constant(node.input(k)) for k in (k, first, first + 1))) for k, first in _PARTS)
        if node.input(4) or not node.input(0) or len(node.inputs) > 12:
            return False
        if any(node.input(k) and known.constant(node.input(k)) is None for k in (9, 11)):
            return False
        if w is None or r is None:
            return False
        inputs = [node.inputs[0]]
        for k, part in zip((1, 2), (w, r), strict=True):
            inputs.append(writer.constant(part[0], (_LSTM, node.inputs[k]), "signed"))
        inputs += [node.input(k) for k in range(3, 8)]
        attrs = {**node.attrs, "quantized": Quantized(*w[1:], *r[1:])}
        writer.nodes.append(Node("LSTM", inputs, list(node.outputs), attrs, version=NEWEST, name=node.name))
        return True

    def _pair(self, node: Node) -> bool:
        """QuantizeLinear and back, with one scale and zero point."""
        known = self.known
        found = known.producer(node.inputs[0])
        made = found[0] if found is not None else None
        if made is None or made.op != "QuantizeLinear" or made.domain or not made.input(0):
            return False
        if any(key not in ("axis", "saturate") for n in (made, node) for key in n.attrs):
            return False
        scale, again = (known.constant(n.input(1)) for n in (made, node))
        zero, back = (known.constant(n.input(2)) if n.input(2) else np.zeros((), np.uint8) for n in (made, node))
        if scale is None or zero is None or again is None or back is None or zero.dtype not in _BYTES:
            return False
        if any(a.size != 1 for a in (scale, zero, again, back)) or scale.dtype != np.float32:
            return False
        if scale.item() != again.item() or zero.item() != back.item() or back.dtype != zero.dtype or scale.item() == 0:
            return False
        if known.dtype(made.inputs[0]) != np.float32:
            return False
        low, high = (float(v) - zero.item() for v in (np.iinfo(zero.dtype).min, np.iinfo(zero.dtype).max))
        step, base = _number(self.writer, scale.item()), node.outputs[0]
        y = self.writer.node("Round", [self.writer.node("Div", [made.inputs[0], step], base)], base)
        y = self.writer.node("Clip", [y, _number(self.writer, low), _number(self.writer, high)], base)
        self.writer.node("Mul", [y, step], base, base)
        return True


MOST_TERMS = 1 << 14
"""RT_BYTES_MOST of kernels.h."""

_PARTS = ((1, 8), (2, 10))
"""W and R of a DynamicQuantizeLSTM, and where their scales are, before their zero points."""


def signed_bytes(
    q: np.ndarray | None, scale: np.ndarray | None, zero: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Weights (D, K, 4H) as int8 (D, 4H, K), their scales and zero points (D, 4H); None if they do not fit."""
    if q is None or scale is None or q.ndim != 3 or q.dtype not in _BYTES or scale.dtype != np.float32:
        return None
    shapes = (q.shape[:1], (q.shape[0], q.shape[2]))
    if scale.shape not in shapes or (zero is not None and (zero.shape not in shapes or zero.dtype != q.dtype)):
        return None
    if q.shape[1] > MOST_TERMS:
        return None
    points = np.zeros(shapes[1], np.int32)
    points += 0 if zero is None else zero.astype(np.int32).reshape(q.shape[0], -1)
    if q.dtype == np.uint8:
        q, points = (q ^ np.uint8(128)).view(np.int8), points - 128
    scales = np.array(np.broadcast_to(scale.reshape(q.shape[0], -1), shapes[1]))
    return np.ascontiguousarray(q.transpose(0, 2, 1)), scales, points.astype(np.int32)


def _centred(op: str, w: np.ndarray | None, zero: np.ndarray | None) -> np.ndarray | None:
    """Weights of a MatMul or Conv less their zero point, as float32; None for a form that is not known."""
    if w is None or w.dtype not in _BYTES:
        return None
    y = w.astype(np.float32)
    if zero is None:
        return y
    if zero.size == 1:
        return y - zero.astype(np.float32).reshape(())
    if op == "MatMul":
        return y - zero.astype(np.float32) if w.ndim > 1 and zero.shape == w.shape[-1:] else None
    return y - zero.astype(np.float32).reshape((-1,) + (1,) * (w.ndim - 1)) if zero.shape == w.shape[:1] else None


def _number(writer: Writer, value: float) -> str:
    """A constant of float32 without axes."""
    return writer.constant(np.array(value, np.float32), ("float", value), "number")


def quantised_dynamically(writer: Writer, x: str, scale: str | None = None) -> tuple[str, str, str]:
    """`x` as DynamicQuantizeLinear quantises it, less its zero point; the scale, called so if a name is given; and the
    zero point. All are float32.
    """

    def node(op: str, *inputs: str, output: str | None = None, **attrs: int) -> str:
        return writer.node(op, inputs, x, output, **attrs)

    nothing, most = _number(writer, 0.0), _number(writer, 255.0)
    low = node("Min", node("ReduceMin", x, keepdims=0), nothing)
    high = node("Max", node("ReduceMax", x, keepdims=0), nothing)
    raw = node("Div", node("Sub", high, low), most)
    scale = node("Where", node("Equal", raw, nothing), _number(writer, 1.0), raw, output=scale)
    zero = node("Clip", node("Round", node("Div", node("Neg", low), scale)), nothing, most)
    whole = node("Round", node("Div", x, scale))
    centred = node("Min", node("Max", whole, node("Neg", zero)), node("Sub", most, zero))
    return centred, scale, zero
