"""Products and layers of quantised tensors, made of floats by the rewrites, and the LSTM that multiplies bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cell_graphs import Written
from graph_eval import ops, run
from onnx import TensorProto, helper, numpy_helper
from ops_util import run_op
from test_ops_dynamic_lstm import arguments

import rnnrt
from rnnrt._core import engine
from rnnrt.errors import ModelError
from rnnrt.rewrite import rewrite
from rnnrt.rewrite.quantised import Quantized, signed_bytes

FLOAT = 1


def bytes_of(b: Written, dtype: type, *shape: int) -> np.ndarray:
    info = np.iinfo(dtype)
    return b.random.integers(info.min, info.max, shape, endpoint=True).astype(dtype)


def left(b: Written, *shapes: tuple[int, ...], tolerance: float = 1e-5) -> set[str]:
    """The quantised operators that `rewrite` leaves, the answers being the same."""
    feeds = {v.name: b.random.normal(size=s).astype(v.dtype) for v, s in zip(b.graph.inputs, shapes, strict=True)}
    want = run(b.graph, feeds)
    rewrite(b.graph)
    got = run(b.graph, feeds)
    for name, value in want.items():
        assert got[name].dtype == value.dtype
        np.testing.assert_allclose(got[name], value, tolerance, tolerance, err_msg=name)
    return {op for op in ops(b.graph) if "uantize" in op or "Integer" in op or "QLinear" in op}


def product(b: Written, op: str, x: str, w: np.ndarray, zero: np.ndarray | None, **attrs: Any) -> str:
    """x, quantised as it comes, times constant bytes, and scaled."""
    q, scale, point = b.node("DynamicQuantizeLinear", x, outputs=3)
    more = [] if zero is None else [b.constant(zero)]
    whole = b.node("Cast", b.node(op, q, b.constant(w), point, *more, **attrs), to=FLOAT)
    return b.node("Mul", whole, b.node("Mul", scale, b.constant(np.float32(0.02))))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("zero", ["none", "one", "each"])
def test_products_are_of_floats(dtype: type, zero: str) -> None:
    b = Written(1)
    point = {"none": None, "one": np.array([3], dtype), "each": bytes_of(b, dtype, 6)}[zero]
    b.output(product(b, "MatMulInteger", b.input("x", "B", 5), bytes_of(b, dtype, 5, 6), point))
    kernels = bytes_of(b, dtype, 6, 2, 3)
    b.output(product(b, "ConvInteger", b.input("y", "B", 4, "T"), kernels, point, group=2, pads=[1, 0]))
    assert left(b, (3, 5), (2, 4, 9)) == set()


@pytest.mark.parametrize("others", ["none", "output", "cast"])
def test_products_with_an_integer_bias(others: str) -> None:
    """Added before the cast, as onnxruntime's quantizer of 2020 did; whoever else reads the integers keeps them."""
    b = Written(9)
    q, scale, point = b.node("DynamicQuantizeLinear", b.input("y", "B", 4, "T"), outputs=3)
    whole = b.node("ConvInteger", q, b.constant(bytes_of(b, np.int8, 6, 4, 3)), point, pads=[1, 1])
    bias = b.node("Floor", b.node("Div", b.constant(np.arange(6, dtype=np.float32).reshape(1, 6, 1)), scale))
    summed = b.node("Add", b.node("Cast", bias, to=TensorProto.INT32), whole)
    b.output(b.node("Mul", b.node("Cast", summed, to=FLOAT), scale))
    if others == "output":
        b.output(summed)
    if others == "cast":
        b.output(b.node("Cast", summed, to=TensorProto.INT64))
    assert left(b, (2, 4, 9)) == (set() if others == "none" else {"ConvInteger"})


def test_bytes_that_others_read_stay_bytes() -> None:
    b = Written(2)
    q, scale, point = b.node("DynamicQuantizeLinear", b.input("x", "B", 5), outputs=3)
    other = b.constant(np.uint8(7))
    for zero in (point, other):
        whole = b.node("MatMulInteger", q, b.constant(bytes_of(b, np.int8, 5, 6)), zero)
        b.output(b.node("Cast", whole, to=FLOAT))
    for name in (q, scale, point):
        b.output(name)
    assert left(b, (3, 5)) == set()


def test_zeros_have_the_scale_1() -> None:
    b = Written(3)
    for name in b.node("DynamicQuantizeLinear", b.node("Mul", b.input("x", 4), b.constant(np.float32(0))), outputs=3):
        b.output(name)
    assert left(b, (4,)) == set()


@pytest.mark.parametrize("what", ["kept", "rows", "weights"])
def test_products_that_stay(what: str) -> None:
    b = Written(4)
    q = b.node("Cast", b.node("Abs", b.input("x", 3, 5)), to=TensorProto.UINT8)
    w = b.constant(bytes_of(b, np.uint8, 5, 6))
    zero = b.constant(bytes_of(b, np.uint8, 3) if what == "rows" else np.uint8(2))
    whole = b.node("MatMulInteger", q, w, zero)
    if what == "kept":
        b.output(whole)
    if what == "weights":
        whole = b.node("MatMulInteger", b.constant(bytes_of(b, np.uint8, 6, 3)), q)
    b.output(b.node("Cast", whole, to=FLOAT))
    assert left(b, (3, 5)) == {"MatMulInteger"}


def pair(b: Written, x: str, dtype: type, scales: tuple[float, float], zeros: tuple[int, int]) -> str:
    parts = [[b.constant(np.float32(s)), b.constant(np.array(z, dtype))] for s, z in zip(scales, zeros, strict=True)]
    return b.node("DequantizeLinear", b.node("QuantizeLinear", x, *parts[0]), *parts[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_there_and_back(dtype: type) -> None:
    b = Written(5)
    x = b.input("x", "B", 300)
    b.output(pair(b, x, dtype, (0.01, 0.01), (5, 5)))
    assert left(b, (2, 300), tolerance=0) == set()
    b = Written(5)
    x = b.input("x", "B", 300)
    b.output(pair(b, x, dtype, (0.01, 0.02), (5, 5)))
    b.output(pair(b, x, dtype, (0.01, 0.01), (5, 6)))
    assert left(b, (2, 300), tolerance=0) == {"DequantizeLinear", "QuantizeLinear"}


@pytest.mark.parametrize("each", [False, True])
def test_scaled_products(each: bool) -> None:
    b = Written(6)
    scale = lambda *shape: b.constant(np.asarray(b.random.uniform(0.01, 0.03, shape), np.float32))  # noqa: E731
    x = b.node("QuantizeLinear", b.input("x", 2, 4, 9), scale(), b.constant(np.uint8(120)))
    a, point = scale(), b.constant(np.uint8(120))
    w = [b.constant(bytes_of(b, np.int8, 6, 2, 3)), scale(*([6] if each else [])), b.constant(np.int8(0))]
    bias = b.constant(b.random.integers(-900, 900, 6).astype(np.int32))
    one = b.constant(np.float32(0.4))
    y = b.node("QLinearConv", x, a, point, *w, one, b.constant(np.int8(-3)), bias, group=2)
    b.output(y)
    b.output(b.node("MaxPool", y, kernel_shape=[2], strides=[2]))
    m = [b.constant(bytes_of(b, np.uint8, 9, 5)), scale(*([5] if each else [])), b.constant(np.uint8(9))]
    b.output(b.node("QLinearMatMul", x, a, point, *m, one, b.constant(np.uint8(80))))
    assert left(b, (2, 4, 9), tolerance=0) == {"QuantizeLinear"}


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("signed", [False, True])
def test_an_lstm_becomes_one_of_bytes(direction: str, signed: bool) -> None:
    d = 1 + (direction == "bidirectional")
    args = arguments(6, 3, 5, 7, d, signed, per_channel=True)
    args[5] = args[6] = None
    names = ["" if a is None else f"x{k}" for k, a in enumerate(args)]
    attrs = {"hidden_size": 7, "direction": direction, "clip": 0.9}
    node = helper.make_node("DynamicQuantizeLSTM", names, ["y", "h", "c"], domain="com.microsoft", **attrs)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x0", FLOAT, ["T", "B", 5])],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in ("y", "h", "c")],
        [numpy_helper.from_array(a, name) for a, name in zip(args[1:], names[1:], strict=True) if name],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = rnnrt.load(helper.make_model(graph, opset_imports=opsets, ir_version=10))
    got = model.run({"x0": args[0]})
    assert set(model._plan.count()) == {"native"}
    want = run_op("DynamicQuantizeLSTM", *args, outputs=3, domain="com.microsoft", **attrs)
    for g, w in zip(got.values(), want, strict=True):
        np.testing.assert_allclose(g, w, 1e-5, 1e-5)
    # together they would be quantised by another scale
    parts = [args[0][:, :1], args[0][:4, 1:2]]
    for g, x in zip(model.run_ragged(parts), parts, strict=True):
        for one, alone in zip(g, model.run({"x0": x}).values(), strict=True):
            np.testing.assert_array_equal(one, alone)


SHAPES = [(1, 1, 3, 5), (7, 1, 4, 16), (5, 3, 20, 33), (4, 40, 3, 2), (3, 2, 1, 1), (2, 7, 17, 15), (3, 13, 6, 70)]
"""Steps, rows, inputs, units."""


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_layer_multiplies_bytes(isa: str, shape: tuple[int, ...], signed: bool, plain: bool) -> None:
    t, b, i, h = shape
    args = arguments(t, b, i, h, signed=signed, per_channel=True)
    if plain:
        args[7] = None
    else:  # zero points of all sorts
        rng = np.random.default_rng(h)
        for k in (9, 11):
            args[k] = (args[k] + rng.integers(-20, 20, args[k].shape)).astype(args[k].dtype)
    x, w, r, bias, _, h0, c0, p, *scales = args
    want = run_op("DynamicQuantizeLSTM", *args, outputs=3, domain="com.microsoft")
    parts = [signed_bytes(w, *scales[:2]), signed_bytes(r, *scales[2:])]
    assert None not in parts
    layer = engine.Recurrent(
        "LSTM", parts[0][0], parts[1][0], bias, p, quantized=Quantized(*parts[0][1:], *parts[1][1:]), isa=isa
    )
    answers = []
    for threads in (1, 3):
        made = [np.full((*lead, 1, b, h), np.nan, np.float32) for lead in ((t,), (), ())]
        layer.run(x, None, h0, c0, *made, threads=threads)
        answers.append(made)
        for got, expected in zip(made, want, strict=True):
            np.testing.assert_allclose(got, expected, 1e-5, 1e-5)
    for one, more in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, more)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_cannot_be_quantised(isa: str, bad: float) -> None:
    x, w, r, bias, _, h0, c0, _, *scales = arguments(4, 3, 5, 17)
    w, *w_rest = signed_bytes(w, *scales[:2])
    r, *r_rest = signed_bytes(r, *scales[2:])
    layer = engine.Recurrent("LSTM", w, r, bias, quantized=Quantized(*w_rest, *r_rest), isa=isa)
    y = np.zeros((4, 1, 3, 17), np.float32)
    x[2, 1, 4] = bad
    layer.run(x, None, h0, c0, y, None, None)
    assert np.isnan(y).all()
    h0[0, 2, 16] = bad
    x[2, 1, 4] = 0
    layer.run(x, None, h0, c0, y, None, None)
    assert np.isnan(y).all()


def test_the_layer_says_what_does_not_fit() -> None:
    _, w, r, bias, _, _, _, _, *scales = arguments(1, 1, 3, 4)
    w, *w_rest = signed_bytes(w, *scales[:2])
    r, *r_rest = signed_bytes(r, *scales[2:])
    good = Quantized(*w_rest, *r_rest)
    with pytest.raises(ModelError, match="int8"):
        engine.Recurrent("LSTM", w.astype(np.int16), r, bias, quantized=good)
    with pytest.raises(ModelError, match="LSTM"):
        engine.Recurrent("RNN", w[:, :4], r[:, :4], quantized=good)
    with pytest.raises(ModelError, match="scale of R"):
        engine.Recurrent("LSTM", w, r, bias, quantized=Quantized(*w_rest, r_rest[0][:, :3], r_rest[1]))
    with pytest.raises(ModelError, match="zero point of W"):
        engine.Recurrent("LSTM", w, r, bias, quantized=Quantized(w_rest[0], w_rest[1].astype(float), *r_rest))


def test_a_file_cannot_ask_for_it() -> None:
    w = [numpy_helper.from_array(np.zeros((1, 12, n), np.float32), f"w{n}") for n in (2, 3)]
    node = helper.make_node("LSTM", ["x", "w2", "w3"], ["y"], hidden_size=3, quantized=1)
    values = [helper.make_tensor_value_info(name, FLOAT, None) for name in ("x", "y")]
    graph = helper.make_graph([node], "g", values[:1], values[1:], w)
    with pytest.raises(ModelError, match="quantized"):
        rnnrt.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("each", [False, True])
def test_products_as_onnxruntime_saves_them(each: bool, bias: bool) -> None:
    b = Written(8)
    x, w = b.input("x", "B", 5), b.constant(bytes_of(b, np.int8, 5, 6))
    scale = b.constant(np.asarray(b.random.uniform(0.01, 0.03, (6,) if each else ()), np.float32))
    zero = b.constant(bytes_of(b, np.int8, 6) if each else np.int8(3))
    more = [b.constant(b.weights(6))] if bias else []
    b.output(b.node("DynamicQuantizeMatMul", x, w, scale, zero, *more))
    q, step, point = b.node("DynamicQuantizeLinear", x, outputs=3)
    b.output(b.node("MatMulIntegerToFloat", q, w, step, scale, point, zero, *more))
    for node in b.graph.nodes:
        node.domain = "com.microsoft" if "MatMul" in node.op else ""
    assert left(b, (3, 5)) == set()
    assert "com.microsoft.MatMulIntegerToFloat" not in ops(b.graph)


def test_pieces() -> None:
    b = Written(9)
    parts = []
    for name, scale, zero in (("x", 0.02, 120), ("y", 0.03, 7)):
        known = [b.constant(np.float32(scale)), b.constant(np.uint8(zero))]
        parts += [b.node("QuantizeLinear", b.input(name, "B", 5), *known), *known]
    b.output(b.node("QLinearConcat", b.constant(np.float32(0.05)), b.constant(np.uint8(60)), *parts, axis=1))
    b.graph.nodes[-1].domain = "com.microsoft"
    assert left(b, (3, 5), (3, 5), tolerance=0) == {"QuantizeLinear"}
