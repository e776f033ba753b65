"""Operators that onnxruntime saves after it has optimised a graph, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from ort_util import run_onnxruntime

import rnnrt

rng = np.random.default_rng(9)


def floats(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def load(op: str, *inputs: Any, outputs: int = 1, **attrs: Any) -> rnnrt.Model:
    names = ["" if x is None else f"x{k}" for k, x in enumerate(inputs)]
    made = [f"y{k}" if k in (0, 3) else "" for k in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(op, names, made, domain="com.microsoft", **attrs)], "g",
        [helper.make_tensor_value_info("x0", helper.np_dtype_to_tensor_dtype(inputs[0].dtype), None)],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in made if name],
        [numpy_helper.from_array(x, n) for x, n in zip(inputs[1:], names[1:], strict=True) if x is not None],
    )  # fmt: skip
    for value in graph.output:
        value.ClearField("type")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return rnnrt.load(helper.make_model(graph, opset_imports=opsets, ir_version=9))


ACTIVATIONS = [
    ("", []), ("Relu", []), ("Sigmoid", []), ("Tanh", []), ("LeakyRelu", [0.2]), ("Clip", [-0.3, 0.4]),
    ("HardSigmoid", [0.3, 0.4]),
]  # fmt: skip


def check(op: str, *inputs: Any, **attrs: Any) -> rnnrt.Model:
    model = load(op, *inputs, **attrs)
    want = run_onnxruntime(op, *inputs, domain="com.microsoft", opset=17, **attrs)
    np.testing.assert_allclose(model.run({"x0": inputs[0]})["y0"], want, 1e-5, 1e-5)
    assert set(model._plan.count()) == {"native"}
    return model


@pytest.mark.parametrize("addend", [False, True])
@pytest.mark.parametrize(("name", "numbers"), ACTIVATIONS)
def test_convolutions(name: str, numbers: list[float], addend: bool) -> None:
    attrs: dict[str, Any] = {"pads": [1, 1, 1, 1], "strides": [2, 1]}
    if name:
        attrs["activation"] = name
    if numbers:
        attrs["activation_params"] = numbers
    more = [floats(2, 4, 3, 5)] if addend else []
    check("FusedConv", floats(2, 3, 5, 5), floats(4, 3, 3, 3), floats(4), *more, **attrs)


@pytest.mark.parametrize(("name", "numbers"), [a for a in ACTIVATIONS[1:] if a[0] != "Clip"])
def test_matrix_products(name: str, numbers: list[float]) -> None:
    attrs: dict[str, Any] = dict(zip(("activation_alpha", "activation_beta"), numbers, strict=False))
    check("FusedGemm", floats(4, 3), floats(5, 3), floats(5), activation=name, transB=1, alpha=0.5, **attrs)


def test_gelus() -> None:
    x = floats(3, 8)
    check("QuickGelu", x)
    check("QuickGelu", x, alpha=1.0)
    check("Gelu", x)
    check("BiasGelu", x, floats(8))
    check("FastGelu", x)
    check("FastGelu", x, floats(8))


def test_norms_of_sums() -> None:
    x, skip, gamma, beta, bias = floats(2, 3, 8), floats(2, 3, 8), floats(8), floats(8), floats(8)
    for more in ([gamma], [gamma, beta], [gamma, beta, bias], [gamma, None, bias]):
        check("SkipLayerNormalization", x, skip, *more, epsilon=1e-3)
    model = load("SkipLayerNormalization", x, skip, gamma, beta, bias, outputs=4)
    np.testing.assert_allclose(model.run({"x0": x})["y3"], x + skip + bias, 1e-5, 1e-5)


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(rnnrt.UnsupportedError, match="FusedConv"):
        load("FusedConv", floats(1, 1, 4), floats(1, 1, 2), activation="Mystery")
    with pytest.raises(rnnrt.UnsupportedError, match="FusedConv"):
        load("FusedConv", floats(1, 1, 4), floats(1, 1, 2), activation="Clip", activation_params=[1.0])
    for op in ("FusedConv", "FusedGemm", "SkipLayerNormalization"):
        with pytest.raises(rnnrt.ModelError, match="inputs"):
            load(op, floats(1, 1, 4))
    with pytest.raises(rnnrt.ModelError, match="inputs"):
        load("FusedGemm", *(floats(3, 3) for _ in range(4)))


def test_a_native_step_is_not_bound_to_more_inputs_than_it_takes() -> None:
    with pytest.raises(rnnrt.InputError, match="DequantizeLinear"):
        load("DequantizeLinear", floats(3), *(np.float32(1) for _ in range(4))).run({"x0": floats(3)})


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_functions_of_bytes(dtype: type) -> None:
    info = np.iinfo(dtype)
    a, b = (rng.integers(info.min, info.max, (3, 16), endpoint=True).astype(dtype) for _ in range(2))
    scales = [np.float32(s) for s in (0.02, 0.03, 0.05)]
    zeros = [np.array(z, dtype) for z in (3, 7, 1)]
    both = (a, scales[0], zeros[0], b, scales[1], zeros[1], scales[2], zeros[2])
    for op in ("QLinearAdd", "QLinearMul"):
        check(op, *both)
    one = (a, scales[0], zeros[0], scales[2], zeros[2])
    check("QLinearLeakyRelu", *one, alpha=0.2)
    check("QLinearSigmoid", *one[:3], np.float32(1 / 256), zeros[2])
    e = np.exp((a.astype(np.float32) - 3) * scales[0])
    want = np.rint(e / e.sum(-1, keepdims=True) * 256) + info.min
    for attrs in ({"axis": -1, "opset": 17}, {"axis": 1, "opset": 11}):
        model = load("QLinearSoftmax", *one[:3], np.float32(1 / 256), np.array(info.min, dtype), **attrs)
        np.testing.assert_allclose(model.run({"x0": a})["y0"], np.clip(want, info.min, info.max), atol=1)


@pytest.mark.parametrize(
    "attrs", [{}, {"strides": [2, 1], "pads": [1, 0, 1, 1]}, {"pads": [1, 1, 1, 1], "count_include_pad": 1}]
)
def test_an_average_pool_of_bytes(attrs: dict[str, Any]) -> None:
    x = rng.integers(0, 255, (2, 3, 7, 6), endpoint=True).astype(np.uint8)
    given = (x, np.float32(0.02), np.uint8(3), np.float32(0.015), np.uint8(9))
    check("QLinearAveragePool", *given, kernel_shape=[3, 2], channels_last=0, **attrs)


def test_matrix_products_of_bytes() -> None:
    a = rng.integers(0, 255, (3, 5), endpoint=True).astype(np.uint8)
    scales, zeros = [np.float32(0.02)], [np.uint8(3)]
    w = rng.integers(-128, 127, (6, 5), endpoint=True).astype(np.int8)
    c = rng.integers(-500, 500, 6).astype(np.int32)
    each = rng.uniform(0.01, 0.03, 6).astype(np.float32)
    for scale, zero in ((each, np.zeros(6, np.int8)), (np.float32(0.02), np.int8(2))):
        given = (a, scales[0], zeros[0], w, scale, zero, c)
        check("QGemm", *given, None, None, transB=1)
        check("QGemm", *given, np.float32(0.3), np.uint8(90), transB=1)
        check("QGemm", a, scales[0], zeros[0], np.ascontiguousarray(w.T), scale, zero)
