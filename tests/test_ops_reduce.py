"""Reductions against ``onnx.reference``, and the facts about nothing, infinity and integers."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from ops_util import assert_same, random_array, run_onnxruntime, run_op, run_reference

from rnnrt.errors import InputError
from rnnrt.ops.reduce import REDUCTIONS

SHAPES = [(), (3,), (2, 3), (3, 1, 4), (2, 3, 2, 2)]
FLOATS = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)


@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_reduction_agrees_with_the_reference(op: str, shape: tuple) -> None:
    rng, rank = np.random.default_rng(1), len(shape)
    axes = [None, [], [-1], list(range(rank)), [-rank, -1], [rank - 1, 0]] if rank else [None, []]
    for dtype in FLOATS:
        x = random_array(rng, shape, dtype, 0.5, 2)
        for chosen in axes:
            if chosen and len({a % rank for a in chosen}) < len(chosen):
                continue
            for keepdims in (0, 1):
                for noop in (0, 1):
                    attrs = {"keepdims": keepdims, "noop_with_empty_axes": noop}
                    args = [x] if chosen is None else [x, np.array(chosen, np.int64)]
                    want = _expected(op, x, chosen, keepdims, noop)
                    assert_same(run_op(op, *args, **attrs), want, f"{op} {x.dtype}{shape} {chosen} {attrs}")


def _expected(op: str, x: np.ndarray, axes: list | None, keepdims: int, noop: int) -> np.ndarray:
    """From the definition, in float64."""
    over = tuple(axes) if axes else () if noop else tuple(range(x.ndim))
    w, options = x.astype(np.float64), {"axis": over, "keepdims": bool(keepdims)}
    y = {
        "ReduceSum": lambda: w.sum(**options),
        "ReduceMean": lambda: w.mean(**options),
        "ReduceProd": lambda: w.prod(**options),
        "ReduceMax": lambda: w.max(**options),
        "ReduceMin": lambda: w.min(**options),
        "ReduceL1": lambda: np.abs(w).sum(**options),
        "ReduceL2": lambda: np.sqrt((w * w).sum(**options)),
        "ReduceSumSquare": lambda: (w * w).sum(**options),
        "ReduceLogSum": lambda: np.log(w.sum(**options)),
        "ReduceLogSumExp": lambda: np.log(np.exp(w).sum(**options)),
    }[op]()
    return np.asarray(y).astype(x.dtype)


@pytest.mark.parametrize("op", REDUCTIONS)
def test_float32_and_integers_agree_with_the_evaluator(op: str) -> None:
    rng = np.random.default_rng(2)
    for dtype in (np.float32, np.int32, np.int64):
        x = random_array(rng, (3, 4), dtype, 1, 5)
        if op in ("ReduceLogSum", "ReduceLogSumExp") and dtype is not np.float32:
            continue
        args = [x, np.array([1], np.int64)]
        assert_same(run_op(op, *args), np.asarray(run_reference(op, *args)[0]).astype(dtype))
        if dtype is not np.int64:
            assert_same(run_op(op, *args), run_onnxruntime(op, *args, version=18)[0])


EMPTY = {
    "ReduceSum": 0,
    "ReduceMean": np.nan,
    "ReduceProd": 1,
    "ReduceMax": -np.inf,
    "ReduceMin": np.inf,
    "ReduceL1": 0,
    "ReduceL2": 0,
    "ReduceSumSquare": 0,
    "ReduceLogSum": -np.inf,
    "ReduceLogSumExp": -np.inf,
}


@pytest.mark.parametrize("op", REDUCTIONS)
def test_reduction_of_nothing(op: str) -> None:
    for dtype in FLOATS:
        y = run_op(op, np.zeros((2, 0, 4), dtype), np.array([1], np.int64))
        assert_same(y, np.full((2, 1, 4), EMPTY[op], np.float64).astype(dtype), op)
        assert run_op(op, np.zeros((2, 0), dtype), np.array([0], np.int64), keepdims=0).shape == (0,)


def test_extrema_of_integers_and_booleans() -> None:
    none = np.zeros((0, 2), np.int8)
    assert run_op("ReduceMax", none, np.array([0], np.int64), keepdims=0).tolist() == [-128, -128]
    assert run_op("ReduceMin", none, np.array([0], np.int64), keepdims=0).tolist() == [127, 127]
    flags = np.array([[True, False], [False, False]])
    assert run_op("ReduceMax", flags, np.array([1], np.int64), keepdims=0).tolist() == [True, False]
    assert run_op("ReduceMin", flags, keepdims=0).tolist() is False


def test_log_sum_exp_at_the_ends() -> None:
    big = np.array([[1000, 1000], [-1000, -1000], [np.inf, 0], [-np.inf, -np.inf], [np.nan, 0]], np.float32)
    want = np.array([1000 + np.log(2), -1000 + np.log(2), np.inf, -np.inf, np.nan], np.float32)
    assert_same(run_op("ReduceLogSumExp", big, np.array([1], np.int64), keepdims=0), want)


def test_integer_sums_stay_in_their_type() -> None:
    x = np.array([100, 100], np.int8)
    assert_same(run_op("ReduceSum", x, keepdims=0), np.int8(-56))
    assert_same(run_op("ReduceMean", np.array([-3, -4], np.int32), keepdims=0), np.int32(-3))
    assert_same(run_op("ReduceSum", np.full(5000, 1, np.float16), keepdims=0), np.float16(5000))


def test_wrong_axes_are_refused() -> None:
    x = np.zeros((2, 3), np.float32)
    for axes in ([2], [-3], [0, 0], [1, -1]):
        with pytest.raises(InputError, match="axis"):
            run_op("ReduceSum", x, np.array(axes, np.int64))
    with pytest.raises(InputError, match="integers"):
        run_op("ReduceSum", x, np.array([0.0], np.float32))
