"""Normalisations and softmaxes against float64 formulas, with onnxruntime as a second opinion."""

from __future__ import annotations

import numpy as np
import pytest
from ops_util import run_op
from ort_util import run_onnxruntime

from rnnrt.errors import InputError, UnsupportedError

rng = np.random.default_rng(4)
TYPES = [np.float16, np.float32, np.float64]
SHAPES = [(3,), (2, 5), (2, 3, 4), (1, 2, 3, 1), (0, 3), (2, 0), (3, 1, 2, 2, 4)]


def floats(*shape: int, dtype: type = np.float32, scale: float = 1.0) -> np.ndarray:
    return (rng.standard_normal(shape) * scale).astype(dtype)


def assert_close(got: np.ndarray, want: np.ndarray, dtype: type) -> None:
    tolerance = {np.float16: 4e-3, np.float32: 2e-5, np.float64: 1e-10}[dtype]
    assert got.dtype == dtype
    assert got.shape == want.shape
    np.testing.assert_allclose(got.astype(np.float64), want, rtol=tolerance, atol=tolerance)


def by_channel(v: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return v.astype(np.float64).reshape(-1, *[1] * (len(shape) - 2))


def standardized(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
    x = x.astype(np.float64)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_softmaxes(shape: tuple, dtype: type) -> None:
    x = floats(*shape, dtype=dtype, scale=8)
    for axis in range(-x.ndim, x.ndim):
        if not x.size:
            want = log = hard = np.zeros(shape)
        else:
            e = np.exp(x.astype(np.float64) - x.max(axis, keepdims=True))
            want = e / e.sum(axis, keepdims=True)
            log = np.log(want)
            hard = np.arange(shape[axis]).reshape([-1 if k == axis % x.ndim else 1 for k in range(x.ndim)])
            hard = (hard == x.argmax(axis).reshape([1 if k == axis % x.ndim else n for k, n in enumerate(shape)])) * 1.0
        assert_close(run_op("Softmax", x, axis=axis), want, dtype)
        assert_close(run_op("LogSoftmax", x, axis=axis), log, dtype)
        assert_close(run_op("Hardmax", x, axis=axis), hard, dtype)


def test_softmax_far_from_zero_is_finite() -> None:
    x = np.array([[3e38, -3e38, 3e38], [-1e30, -1e30, -1e30]], np.float32)
    np.testing.assert_allclose(run_op("Softmax", x), [[0.5, 0, 0.5], [1 / 3] * 3], rtol=1e-6)
    np.testing.assert_array_equal(run_op("Hardmax", np.array([1, 1, 0], np.float32)), [1, 0, 0])
    with pytest.raises(InputError, match="axis"):
        run_op("Softmax", x, axis=2)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 0), (0, 3, 2), (1, 3, 4, 2)])
def test_batch_and_instance_normalization(shape: tuple, dtype: type) -> None:
    x, scale, b, mean = (floats(*s, dtype=dtype) for s in (shape, (3,), (3,), (3,)))
    var = np.abs(floats(3, dtype=dtype)) + dtype(0.5)
    want = (x - by_channel(mean, shape)) / np.sqrt(by_channel(var, shape) + 1e-3) * by_channel(
        scale, shape
    ) + by_channel(b, shape)
    assert_close(run_op("BatchNormalization", x, scale, b, mean, var, epsilon=1e-3), want, dtype)
    if len(shape) > 2 and x.size:
        want = standardized(x, tuple(range(2, len(shape))), 1e-5) * by_channel(scale, shape) + by_channel(b, shape)
        assert_close(run_op("InstanceNormalization", x, scale, b), want, dtype)


def test_batch_normalization_in_training() -> None:
    x, scale, b, mean, var = floats(4, 3, 5), floats(3), floats(3), floats(3), np.abs(floats(3))
    attrs = {"training_mode": 1, "momentum": 0.7, "epsilon": 1e-3}
    y, new_mean, new_var = run_op("BatchNormalization", x, scale, b, mean, var, outputs=3, **attrs)
    assert_close(y, standardized(x, (0, 2), 1e-3) * scale[:, None] + b[:, None], np.float32)
    assert_close(new_mean, mean * 0.7 + x.mean((0, 2)) * 0.3, np.float32)
    assert_close(new_var, var * 0.7 + x.var((0, 2)) * 0.3, np.float32)
    with pytest.raises(UnsupportedError, match="training_mode"):
        run_op("BatchNormalization", x, scale, b, mean, var, outputs=3)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("axis", [-1, 1, 0, -2])
def test_layer_and_rms_normalization(axis: int, dtype: type) -> None:
    shape = (2, 3, 4)
    x, scale, b = floats(*shape, dtype=dtype), floats(*shape[axis:], dtype=dtype), floats(*shape[axis:], dtype=dtype)
    axes = tuple(range(axis % 3, 3))
    wide = x.astype(np.float64)
    mean, var = wide.mean(axes, keepdims=True), wide.var(axes, keepdims=True)
    y, got_mean, got_inverse = run_op("LayerNormalization", x, scale, b, outputs=3, axis=axis)
    assert_close(y, standardized(x, axes, 1e-5) * scale + b, dtype)
    assert_close(got_mean, mean, np.float32)
    assert_close(got_inverse, 1 / np.sqrt(var + 1e-5), np.float32)
    assert_close(run_op("LayerNormalization", x, scale, axis=axis), standardized(x, axes, 1e-5) * scale, dtype)
    want = wide / np.sqrt((wide * wide).mean(axes, keepdims=True) + 1e-5) * scale
    assert_close(run_op("RMSNormalization", x, scale, axis=axis), want, dtype)


def test_rms_normalization_has_the_type_of_scale() -> None:
    assert run_op("RMSNormalization", floats(2, 3, dtype=np.float16), floats(3)).dtype == np.float32


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("shape", "groups"), [((2, 6, 5), 3), ((1, 4, 2, 3), 1), ((3, 4, 2, 1, 2), 4), ((0, 4, 2), 2)])
def test_group_normalization(shape: tuple, groups: int, dtype: type) -> None:
    x, scale, b = floats(*shape, dtype=dtype), floats(shape[1], dtype=dtype), floats(shape[1], dtype=dtype)
    got = run_op("GroupNormalization", x, scale, b, num_groups=groups, epsilon=1e-2)
    want = standardized(x.reshape(shape[0], groups, int(np.prod(shape[1:])) // groups), (2,), 1e-2).reshape(shape)
    assert_close(got, want * by_channel(scale, shape) + by_channel(b, shape), dtype)


@pytest.mark.parametrize("p", [1, 2])
def test_lp_normalization(p: int) -> None:
    x = floats(2, 3, 4)
    x[0, 1] = 0
    for axis in (-1, 0, 1):
        norm = np.linalg.norm(x.astype(np.float64), p, axis, keepdims=True)
        assert_close(run_op("LpNormalization", x, axis=axis, p=p), x / np.where(norm == 0, 1, norm), np.float32)
    with pytest.raises(UnsupportedError):
        run_op("LpNormalization", x, p=3)


@pytest.mark.parametrize("size", [1, 3, 5, 4, 99])
def test_lrn(size: int) -> None:
    x = floats(2, 7, 3, 2)
    low, high = (size - 1) // 2, size // 2
    total = np.stack([(x[:, max(c - low, 0) : c + high + 1].astype(np.float64) ** 2).sum(1) for c in range(7)], 1)
    got = run_op("LRN", x, size=size, alpha=0.3, beta=0.6, bias=1.2)
    assert_close(got, x / (1.2 + 0.3 / size * total) ** 0.6, np.float32)


def test_mean_variance_normalization() -> None:
    x = floats(2, 3, 4, 2)
    for attrs, axes in [({}, (0, 2, 3)), ({"axes": [-1, 1]}, (1, 3))]:
        got = run_op("MeanVarianceNormalization", x, **attrs)
        assert_close(got, standardized(x, axes, 0), np.float32)


def test_as_onnxruntime() -> None:
    x, c = floats(2, 3, 4, 5), [floats(3) for _ in range(3)]
    for op, args, attrs in [
        ("BatchNormalization", (x, *c, np.abs(c[0]) + 0.1), {"epsilon": 1e-2}),
        ("InstanceNormalization", (x, *c[:2]), {}),
        ("GroupNormalization", (x, *c[:2]), {"num_groups": 3}),
        ("LayerNormalization", (x, floats(4, 5), floats(4, 5)), {"axis": 2}),
        ("LpNormalization", (x,), {"axis": 1}),
        ("LRN", (x,), {"size": 3, "alpha": 0.2}),
        ("MeanVarianceNormalization", (x,), {}),
        ("LogSoftmax", (x,), {"axis": 2}),
    ]:
        np.testing.assert_allclose(
            run_op(op, *args, **attrs), run_onnxruntime(op, *args, **attrs), rtol=1e-4, atol=1e-4
        )


def test_shapes_that_do_not_fit() -> None:
    x = floats(2, 3, 4)
    for op, args, attrs in [
        ("BatchNormalization", (x, *[floats(4)] * 4), {}),
        ("InstanceNormalization", (x, floats(1), floats(1)), {}),
        ("LayerNormalization", (x, floats(3)), {}),
        ("LayerNormalization", (x, floats(4), floats(5, 2, 3, 4)), {}),
        ("LayerNormalization", (x, floats(4)), {"axis": 3}),
        ("RMSNormalization", (x, floats(2, 2, 3, 4)), {}),
        ("GroupNormalization", (x, floats(3), floats(3)), {"num_groups": 2}),
        ("GroupNormalization", (x, floats(1), floats(3)), {"num_groups": 1}),
        ("MeanVarianceNormalization", (x,), {}),
        ("LRN", (floats(3),), {"size": 1}),
    ]:
        with pytest.raises(InputError, match=op):
            run_op(op, *args, **attrs)
