"""Pools against onnxruntime where it is right, and against a plain loop where it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops_util import run_op
from ort_util import run_onnxruntime

from rnnrt.errors import InputError, ModelError

rng = np.random.default_rng(3)


def floats(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return rng.standard_normal(shape).astype(dtype)


@st.composite
def pools(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[str, Any]]:
    rank = draw(st.integers(1, 3))
    several = lambda low, high: draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))  # noqa: E731
    kernel, strides, auto = (
        several(1, 4),
        several(1, 3),
        draw(st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])),
    )
    # onnxruntime forgets dilations with SAME, and crops where a stride is larger than its kernel.
    same = auto.startswith("SAME")
    dilations = [1] * rank if same else several(1, 2)
    strides = [min(s, k) for s, k in zip(strides, kernel, strict=True)] if same else strides
    attrs = {
        "kernel_shape": kernel,
        "strides": strides,
        "dilations": dilations,
        "auto_pad": auto,
        "ceil_mode": draw(st.integers(0, 1)),
    }
    if auto == "NOTSET":
        del attrs["auto_pad"]
        attrs["pads"] = [draw(st.integers(0, k - 1)) for k in kernel * 2]
    sizes = [(k - 1) * d + 1 + extra for k, d, extra in zip(kernel, dilations, several(0, 6), strict=True)]
    return (draw(st.integers(0, 2)), draw(st.integers(1, 3)), *sizes), attrs


@given(pools(), st.integers(0, 1))
def test_pools_as_onnxruntime(case: tuple, flag: int) -> None:
    shape, attrs = case
    x = floats(*shape)
    np.testing.assert_array_equal(run_op("MaxPool", x, **attrs), run_onnxruntime("MaxPool", x, **attrs))
    more = {**attrs, "count_include_pad": flag}
    want = run_onnxruntime("AveragePool", x, **more)
    np.testing.assert_allclose(run_op("AveragePool", x, **more), want, rtol=1e-4, atol=1e-5)
    more = {**attrs, "p": flag + 1}
    np.testing.assert_allclose(run_op("LpPool", x, **more), run_onnxruntime("LpPool", x, **more), rtol=1e-4, atol=1e-5)


@given(pools(), st.integers(0, 1), st.booleans())
def test_indices_as_onnxruntime(case: tuple, order: int, ties: bool) -> None:
    shape, attrs = case
    x = np.rint(floats(*shape)) if ties else floats(*shape)
    got = run_op("MaxPool", x, outputs=2, storage_order=order, **attrs)
    want = run_onnxruntime("MaxPool", x, outputs=2, storage_order=order, **attrs)
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_array_equal(got[1], want[1])
    assert got[1].dtype == np.int64


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.float16, np.float64])
def test_max_pool_of_other_types(dtype: type) -> None:
    x = np.clip(floats(2, 3, 9) * 60, 0 if dtype == np.uint8 else -120, 120).astype(dtype)
    got = run_op("MaxPool", x, kernel_shape=[3], strides=[2], pads=[1, 1])
    wide = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (1, 1)], constant_values=-np.inf)
    np.testing.assert_array_equal(got, np.stack([wide[..., k : k + 9 : 2] for k in range(3)]).max(0))
    assert got.dtype == dtype


def test_nan_wins() -> None:
    x = np.array([[[1, np.nan, 3, 4, 2]]], np.float32)
    want = np.array([[[np.nan, np.nan, 4, 4]]])
    np.testing.assert_array_equal(run_op("MaxPool", x, kernel_shape=[2]), want)
    y, where = run_op("MaxPool", x, outputs=2, kernel_shape=[2])
    np.testing.assert_array_equal(y, want)
    np.testing.assert_array_equal(where, [[[1, 1, 3, 3]]])


def test_long_kernels() -> None:
    x = floats(2, 2, 300)
    want = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), 100, 2)[:, :, ::7]
    attrs = {"kernel_shape": [100], "strides": [7]}
    np.testing.assert_allclose(run_op("AveragePool", x, **attrs), want.mean(-1), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(run_op("MaxPool", x, **attrs), want.max(-1).astype(np.float32))


@pytest.mark.parametrize("shape", [(2, 3, 5), (1, 2, 3, 4), (2, 1, 2, 3, 2), (0, 3, 4)])
def test_global_pools(shape: tuple) -> None:
    for dtype in (np.float16, np.float32, np.float64):
        x, axes = floats(*shape, dtype=dtype), tuple(range(2, len(shape)))
        wide = x.astype(np.float64)
        close = {"rtol": 2e-3 if dtype == np.float16 else 1e-5, "atol": 1e-3 if dtype == np.float16 else 1e-6}
        np.testing.assert_allclose(run_op("GlobalAveragePool", x), wide.mean(axes, keepdims=True), **close)
        np.testing.assert_array_equal(run_op("GlobalMaxPool", x), x.max(axes, keepdims=True))
        want = (np.abs(wide) ** 3).sum(axes, keepdims=True) ** (1 / 3)
        np.testing.assert_allclose(run_op("GlobalLpPool", x, p=3), want, **close)


def test_errors() -> None:
    with pytest.raises(ModelError, match="kernel_shape"):
        run_op("MaxPool", floats(1, 1, 4))
    with pytest.raises(InputError, match="at least 5 elements"):
        run_op("MaxPool", floats(1, 1, 4), kernel_shape=[5])
    with pytest.raises(InputError, match="3 axes"):
        run_op("AveragePool", floats(4, 4), kernel_shape=[2])
    with pytest.raises(InputError, match="element"):
        run_op("GlobalMaxPool", floats(1, 1, 0))
