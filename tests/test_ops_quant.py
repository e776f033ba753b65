"""Quantised operators, bit for bit against onnxruntime; narrow types against their definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops_util import run_op, run_reference
from ort_util import most_weight, run_onnxruntime

from rnnrt.errors import InputError, ModelError, UnsupportedError

rng = np.random.default_rng(6)
MS = "com.microsoft"


def floats(*shape: int, dtype: type = np.float32, scale: float = 1.0) -> np.ndarray:
    return (rng.standard_normal(shape) * scale).astype(dtype)


def bytes_of(dtype: type, *shape: int) -> np.ndarray:
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, endpoint=True).astype(dtype)


def weights(*shape: int) -> np.ndarray:
    return rng.integers(-most_weight() - 1, most_weight(), shape, endpoint=True).astype(np.int8)


def steps(*shape: int, low: float = 0.01, high: float = 0.05) -> np.ndarray:
    return np.asarray(rng.uniform(low, high, shape), np.float32)


def zero(dtype: type) -> np.ndarray:
    return np.array(rng.integers(3, 100), dtype)


def assert_same(
    op: str, *args: Any, domain: str = "", opset: int = 22, outputs: int = 1, exact: bool = True, **attrs: Any
) -> None:
    """rnnrt's answer is onnxruntime's, to the last bit if `exact`."""
    want = run_onnxruntime(op, *args, domain=domain, opset=opset, outputs=outputs, **attrs)
    got = run_op(op, *args, domain=domain, outputs=outputs, **attrs)
    for g, w in zip(*((got, want) if outputs > 1 else ((got,), (want,))), strict=True):
        assert g.dtype == w.dtype
        np.testing.assert_allclose(g, w, rtol=0 if exact else 1e-5, atol=0 if exact else 1e-4)


GRAINS = {"tensor": (), "axis": (5,), "last axis": (6,), "blocks": (4, 3, 6)}


def grain(name: str) -> dict[str, int]:
    return {"tensor": {}, "axis": {"axis": 1}, "last axis": {"axis": -1}, "blocks": {"axis": 1, "block_size": 2}}[name]


@pytest.mark.parametrize("name", GRAINS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
def test_quantize_and_dequantize(dtype: type, name: str) -> None:
    shape, attrs = GRAINS[name], grain(name)
    for zero_point in (None, rng.integers(0, 50, shape).astype(dtype)):
        x = floats(4, 5, 6, scale=5)
        x.reshape(-1)[:4] = np.inf, -np.inf, 1e30, 2.5
        scale = steps(*shape)
        assert_same("QuantizeLinear", x, scale, zero_point, **attrs)
        assert_same("DequantizeLinear", bytes_of(dtype, 4, 5, 6), scale, zero_point, **attrs)


def test_quantize_rounds_to_even_before_it_adds_the_zero_point() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5], np.float32)
    one, odd = np.float32(1), np.uint8(3)
    np.testing.assert_array_equal(run_op("QuantizeLinear", x, one, odd), [3, 5, 5, 3])


@pytest.mark.parametrize(
    "kind", ["int4", "uint4", "int2", "uint2", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float4_e2m1fn"]
)
def test_narrow_types_as_reference(kind: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.dtype(getattr(ml_dtypes, kind))
    x, scale, zero_point = floats(3, 4, scale=6), np.float32(0.3), np.zeros((), dtype)
    x[0, 0] = 1e6
    (want,) = run_reference("QuantizeLinear", x, scale, zero_point)
    got = run_op("QuantizeLinear", x, scale, zero_point)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got.astype(np.float32), want.astype(np.float32))
    (want,) = run_reference("DequantizeLinear", got, scale, zero_point)
    np.testing.assert_array_equal(run_op("DequantizeLinear", got, scale, zero_point), want)


def test_output_types() -> None:
    from onnx import TensorProto

    x = floats(2, 3)
    assert run_op("QuantizeLinear", x, np.float32(1), output_dtype=TensorProto.INT16).dtype == np.int16
    assert run_op("DequantizeLinear", np.int8([1, 2]), np.float16(2)).dtype == np.float16
    assert (
        run_op("DequantizeLinear", np.int8([1, 2]), np.float32(2), output_dtype=TensorProto.FLOAT16).dtype == np.float16
    )
    assert run_op("DequantizeLinear", np.int32([1 << 20, -5]), np.float32(0.5)).tolist() == [1 << 19, -2.5]


@pytest.mark.parametrize("scale", [1, 0, -3])
@pytest.mark.parametrize("shape", [(7,), (2, 3, 4)])
def test_dynamic_quantize_linear(shape: tuple, scale: int) -> None:
    assert_same("DynamicQuantizeLinear", floats(*shape, scale=scale), outputs=3)
    assert_same("DynamicQuantizeLinear", np.abs(floats(*shape)) + np.float32(1), outputs=3)


@pytest.mark.parametrize("per_column", [False, True])
@pytest.mark.parametrize("k", [4, 400])
@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_products(batch: tuple, k: int, per_column: bool) -> None:
    a, b, b8 = bytes_of(np.uint8, *batch, 5, k), bytes_of(np.uint8, k, 6), weights(k, 6)
    of_b = (6,) if per_column else ()
    b_zero = np.full(of_b, 7, np.uint8)
    assert_same("MatMulInteger", a, b, zero(np.uint8), b_zero)
    assert_same("MatMulInteger", a, b8)
    y_scale = np.asarray(steps() * 20 * np.sqrt(k), np.float32)
    args = (a, steps(), zero(np.uint8), b8, steps(*of_b), np.zeros(of_b, np.int8), y_scale, zero(np.uint8))
    assert_same("QLinearMatMul", *args)
    args = (a, b, steps(), steps(*of_b), zero(np.uint8), b_zero, floats(6))
    assert_same("MatMulIntegerToFloat", *args, domain=MS, exact=False)
    args = (floats(*batch, 5, k), b, steps(*of_b), b_zero, floats(6))
    assert_same("DynamicQuantizeMatMul", *args, domain=MS, exact=False)


def test_products_are_exact_where_float32_is_not() -> None:
    k = 70_000
    a, b = np.full((1, k), 255, np.uint8), np.full((k, 2), 255, np.uint8)
    b[0, 0] = 254
    want = (np.array([[k * 65025 - 255, k * 65025]]) + 2**31) % 2**32 - 2**31
    np.testing.assert_array_equal(run_op("MatMulInteger", a, b), want)


def test_row_parameters() -> None:
    a, b = bytes_of(np.int8, 2, 3, 4), bytes_of(np.int8, 2, 4, 5)
    rows = np.array([1, 2, 3], np.int8)
    want = np.matmul(a.astype(np.int32) - rows[:, None], b.astype(np.int32))
    np.testing.assert_array_equal(run_op("MatMulInteger", a, b, rows), want)
    for bad in (np.int8([1, 2]), np.ones((2, 3, 4), np.int8)):
        with pytest.raises(InputError, match="a_zero_point"):
            run_op("MatMulInteger", a, b, bad)


@pytest.mark.parametrize("case", range(8))
def test_qgemm(case: int) -> None:
    per_column, trans_a, floating = case & 1, case >> 1 & 1, case >> 2
    a = bytes_of(np.uint8, *((4, 3) if trans_a else (3, 4)))
    scale = steps(*((5,) if per_column else ()))
    out = (None, None) if floating else (np.float32(0.9), np.uint8(40))
    args = (
        a,
        steps(),
        zero(np.uint8),
        weights(4, 5),
        scale,
        np.zeros(scale.shape, np.int8),
        np.arange(5, dtype=np.int32),
        *out,
    )
    assert_same("QGemm", *args, domain=MS, exact=not floating, transA=trans_a, alpha=0.5)


@pytest.mark.parametrize(
    "attrs", [{}, {"strides": [2, 1], "pads": [1, 0, 2, 1]}, {"auto_pad": "SAME_LOWER"}, {"dilations": [1, 2]}]
)
@pytest.mark.parametrize("group", [1, 2, 4])
def test_convolutions(group: int, attrs: dict) -> None:
    x, w = bytes_of(np.uint8, 2, 4, 7, 6), weights(8, 4 // group, 3, 2)
    attrs = {**attrs, "group": group}
    assert_same("ConvInteger", x, bytes_of(np.uint8, *w.shape), zero(np.uint8), zero(np.uint8), **attrs)
    for of_w in ((), (8,)):
        y_scale, bias = steps(low=1, high=3), rng.integers(-900, 900, 8).astype(np.int32)
        args = (x, steps(), zero(np.uint8), w, steps(*of_w), np.zeros(of_w, np.int8), y_scale, zero(np.uint8))
        assert_same("QLinearConv", *args, **attrs)
        assert_same("QLinearConv", *args, bias, **attrs)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("shapes", [((3, 4), (3, 4)), ((2, 3, 4), (4,)), ((2, 1, 4), (1, 3, 1))])
def test_elementwise(shapes: tuple, dtype: type) -> None:
    a, b = (bytes_of(dtype, *s) for s in shapes)
    args = (a, steps(), zero(dtype), b, steps(), zero(dtype), steps(), zero(dtype))
    assert_same("QLinearAdd", *args, domain=MS)
    assert_same("QLinearMul", *args, domain=MS)
    assert_same("QLinearLeakyRelu", a, steps(), zero(dtype), steps(), zero(dtype), domain=MS, alpha=0.2)
    assert_same("QLinearSigmoid", a, steps(), zero(dtype), np.float32(1 / 256), dtype(0), domain=MS)
    assert_same(
        "QLinearConcat", steps(), zero(dtype), a, steps(), zero(dtype), a[:1], steps(), zero(dtype), domain=MS, axis=0
    )
    pooled = (bytes_of(dtype, 2, 3, 4, 5), steps(), zero(dtype), steps(), zero(dtype))
    assert_same("QLinearGlobalAveragePool", *pooled, domain=MS, channels_last=0)


def test_refusals() -> None:
    x = floats(2, 3)
    for args, attrs in [
        ((x, steps(2)), {}),
        ((x, steps(3), np.zeros(2, np.uint8)), {}),
        ((x, steps(2, 3)), {"block_size": 3, "axis": 0}),
        ((x, steps(3)), {"axis": 2}),
        ((x, steps(), np.int8(1)), {"output_dtype": 2}),
    ]:
        with pytest.raises(InputError, match="QuantizeLinear 'node'"):
            run_op("QuantizeLinear", *args, **attrs)
    with pytest.raises(ModelError):
        run_op("QLinearConcat", steps(), np.uint8(1), domain=MS, axis=0)
    with pytest.raises(UnsupportedError, match="channels_last"):
        run_op("QLinearGlobalAveragePool", bytes_of(np.uint8, 1, 2, 3, 3), *[steps()] * 4, domain=MS, channels_last=1)
