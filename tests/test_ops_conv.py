"""Conv and ConvTranspose against a float64 sum over taps, and against onnxruntime."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops_util import run_op
from ort_util import run_onnxruntime

from rnnrt.errors import InputError, ModelError
from rnnrt.ops import conv
from rnnrt.ops.limits import limit

rng = np.random.default_rng(2)


def floats(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return rng.standard_normal(shape).astype(dtype)


def scattered(x: np.ndarray, w: np.ndarray, group: int, strides: list[int], dilations: list[int]) -> np.ndarray:
    """The transposed convolution before padding is cut off, in float64, tap by tap."""
    c, m = x.shape[1] // group, w.shape[1]
    full = [
        (n - 1) * s + (k - 1) * d + 1 for n, k, s, d in zip(x.shape[2:], w.shape[2:], strides, dilations, strict=True)
    ]
    y = np.zeros((x.shape[0], m * group, *full))
    for tap in itertools.product(*map(range, w.shape[2:])):
        at = tuple(
            slice(j * d, j * d + (n - 1) * s + 1, s)
            for j, d, n, s in zip(tap, dilations, x.shape[2:], strides, strict=True)
        )
        for g in range(group):
            part = np.einsum(
                "nc...,cm->nm...",
                x[:, g * c : g * c + c].astype(np.float64),
                w[(slice(g * c, g * c + c), slice(None), *tap)],
            )
            y[(slice(None), slice(g * m, g * m + m), *at)] += part
    return y


def gathered(x: np.ndarray, w: np.ndarray, group: int, strides: list[int], dilations: list[int]) -> np.ndarray:
    """The convolution of an already padded input, in float64, tap by tap."""
    c, m = w.shape[1], w.shape[0] // group
    out = [
        (n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], w.shape[2:], strides, dilations, strict=True)
    ]
    y = np.zeros((x.shape[0], w.shape[0], *out))
    for tap in itertools.product(*map(range, w.shape[2:])):
        at = tuple(
            slice(j * d, j * d + (n - 1) * s + 1, s) for j, d, n, s in zip(tap, dilations, out, strides, strict=True)
        )
        for g in range(group):
            part = x[(slice(None), slice(g * c, g * c + c), *at)].astype(np.float64)
            y[:, g * m : g * m + m] += np.einsum(
                "nc...,mc->nm...", part, w[(slice(g * m, g * m + m), slice(None), *tap)]
            )
    return y


@st.composite
def geometries(draw: st.DrawFn) -> dict[str, Any]:
    """Sizes, kernel and attributes over 1 to 3 axes, with at least one output."""
    rank = draw(st.integers(1, 3))
    several = lambda low, high: draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))  # noqa: E731
    kernel, strides, dilations = several(1, 4 if rank < 3 else 3), several(1, 3), several(1, 3)
    begin, end = several(0, 2), several(0, 2)
    sizes = [
        max((k - 1) * d + 1 - b - e, 1) + extra
        for k, d, b, e, extra in zip(kernel, dilations, begin, end, several(0, 5), strict=True)
    ]
    return {
        "kernel": kernel,
        "strides": strides,
        "dilations": dilations,
        "begin": begin,
        "end": end,
        "sizes": sizes,
        "batch": draw(st.integers(0, 3)),
        "group": draw(st.integers(1, 3)),
        "c": draw(st.integers(1, 3)),
        "m": draw(st.integers(1, 3)),
        "bias": draw(st.booleans()),
        "dtype": draw(st.sampled_from([np.float32, np.float64, np.float16])),
    }


def tolerance(dtype: type) -> dict[str, float]:
    return {
        np.float16: {"rtol": 2e-3, "atol": 2e-3},
        np.float32: {"rtol": 1e-4, "atol": 1e-5},
        np.float64: {"rtol": 1e-12, "atol": 1e-12},
    }[dtype]


@given(geometries())
def test_conv(case: dict[str, Any]) -> None:
    g, dtype = case["group"], case["dtype"]
    x = floats(case["batch"], g * case["c"], *case["sizes"], dtype=dtype)
    w = floats(g * case["m"], case["c"], *case["kernel"], dtype=dtype)
    b = floats(g * case["m"], dtype=dtype) if case["bias"] else None
    pads = case["begin"] + case["end"]
    got = run_op("Conv", x, w, b, group=g, strides=case["strides"], dilations=case["dilations"], pads=pads)
    padded = np.pad(x, [(0, 0), (0, 0), *zip(case["begin"], case["end"], strict=True)])
    want = gathered(padded, w, g, case["strides"], case["dilations"])
    if b is not None:
        want += b.reshape(-1, *[1] * len(case["sizes"]))
    assert got.dtype == dtype
    np.testing.assert_allclose(got, want, **tolerance(dtype))


@given(geometries(), st.data())
def test_conv_transpose(case: dict[str, Any], data: st.DataObject) -> None:
    g, dtype, strides = case["group"], case["dtype"], case["strides"]
    x = floats(case["batch"], g * case["c"], *case["sizes"], dtype=dtype)
    w = floats(g * case["c"], case["m"], *case["kernel"], dtype=dtype)
    b = floats(g * case["m"], dtype=dtype) if case["bias"] else None
    extra = [data.draw(st.integers(0, s - 1)) for s in strides]
    want = np.pad(scattered(x, w, g, strides, case["dilations"]), [(0, 0), (0, 0), *((0, e) for e in extra)])
    pads = [min(p, (n - 1) // 2) for p, n in zip(case["begin"] + case["end"], want.shape[2:] * 2, strict=True)]
    rank = len(strides)
    cut = tuple(slice(lo, n - hi) for lo, hi, n in zip(pads[:rank], pads[rank:], want.shape[2:], strict=True))
    want = want[(..., *cut)]
    if b is not None:
        want = want + b.reshape(-1, *[1] * rank)
    attrs = {"group": g, "strides": strides, "dilations": case["dilations"], "pads": pads, "output_padding": extra}
    got = run_op("ConvTranspose", x, w, b, **attrs)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, want, **tolerance(dtype))


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [(3, 4), (4, 3)])
def test_auto_pad_as_onnxruntime(auto_pad: str, stride: int, kernel: tuple) -> None:
    x, w = floats(2, 4, 7, 10), floats(6, 2, *kernel)
    attrs = {"group": 2, "strides": [stride, 1], "auto_pad": auto_pad}
    np.testing.assert_allclose(
        run_op("Conv", x, w, **attrs), run_onnxruntime("Conv", x, w, **attrs), rtol=1e-4, atol=1e-4
    )
    w = floats(4, 3, *kernel)
    want = run_onnxruntime("ConvTranspose", x, w, **attrs)
    np.testing.assert_allclose(run_op("ConvTranspose", x, w, **attrs), want, rtol=1e-4, atol=1e-4)


def test_same_padding_counts_dilation_and_never_crops() -> None:
    x, w = floats(1, 2, 9), floats(3, 2, 3)
    want = gathered(np.pad(x, [(0, 0), (0, 0), (2, 2)]), w, 1, [1], [2])
    np.testing.assert_allclose(run_op("Conv", x, w, auto_pad="SAME_UPPER", dilations=[2]), want, rtol=1e-4, atol=1e-5)
    y = run_op("ConvTranspose", x, floats(2, 3, 1), auto_pad="SAME_UPPER", strides=[3])
    assert y.shape == (1, 3, 27)
    assert not y[..., 1::3].any()


@pytest.mark.parametrize("auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("wanted", [(13, 8), (12, 9), (14, 7)])
def test_output_shape_as_onnxruntime(auto_pad: str, wanted: tuple) -> None:
    x, w = floats(1, 2, 7, 7), floats(2, 3, 4, 3)
    attrs = {"strides": [2, 1], "output_shape": list(wanted), "auto_pad": auto_pad}
    np.testing.assert_allclose(
        run_op("ConvTranspose", x, w, **attrs), run_onnxruntime("ConvTranspose", x, w, **attrs), rtol=1e-4, atol=1e-5
    )


def test_columns_in_pieces_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = floats(2, 4, 20, 6), floats(6, 2, 3, 3)
    whole = run_op("Conv", x, w, group=2, pads=[1, 1, 1, 1])
    monkeypatch.setattr(conv, "_COLUMNS", 4000)
    np.testing.assert_allclose(run_op("Conv", x, w, group=2, pads=[1, 1, 1, 1]), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel", [1, 5])
def test_an_input_without_elements(kernel: int) -> None:
    assert run_op("Conv", floats(1, 2, 0), floats(3, 2, kernel), floats(3)).shape == (1, 3, 0)
    assert run_op("Conv", floats(0, 2, 8), floats(3, 2, kernel)).shape == (0, 3, 9 - kernel)


def test_errors_name_what_does_not_fit() -> None:
    x = floats(1, 4, 8)
    for w, attrs, message in [
        (floats(3, 3, 2), {}, "weights"),
        (floats(3, 2, 2), {"group": 2}, "weights"),
        (floats(4, 4, 2, 2), {}, "weights"),
        (floats(4, 4, 9), {}, "at least 9 elements"),
        (floats(4, 4, 2), {"strides": [1, 1]}, "'strides'"),
        (floats(4, 4, 2), {"kernel_shape": [3]}, "kernel"),
    ]:
        with pytest.raises(InputError, match=message):
            run_op("Conv", x, w, **attrs)
    with pytest.raises(InputError, match="bias"):
        run_op("Conv", x, floats(3, 4, 2), floats(1))
    with pytest.raises(InputError, match="leave an output"):
        run_op("ConvTranspose", x, floats(4, 2, 2), pads=[5, 5])
    for attrs in [{"auto_pad": "SAME"}, {"pads": [-1, 0]}, {"strides": [0]}, {"group": 0}, {"dilations": "1"}]:
        with pytest.raises(ModelError, match="attribute"):
            run_op("Conv", x, floats(4, 4, 2), **attrs)


def test_sizes_from_attributes_are_bounded() -> None:
    x, w = floats(1, 1, 4), floats(1, 1, 2)
    for op, attrs in [
        ("Conv", {"pads": [1 << 40, 0]}),
        ("ConvTranspose", {"strides": [1 << 40]}),
        ("ConvTranspose", {"output_shape": [1 << 40]}),
        ("ConvTranspose", {"dilations": [1 << 40]}),
        ("Conv", {"auto_pad": "SAME_UPPER", "dilations": [1 << 40]}),
    ]:
        with limit(1 << 20), pytest.raises(InputError, match="bytes"):
            run_op(op, x, w, **attrs)
