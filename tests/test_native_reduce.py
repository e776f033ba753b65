"""Reductions, ArgMax and running sums as native steps, against the NumPy tier, on every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bound import run_native, strided
from onnx import helper
from onnx_util import FLOAT
from ops_util import run_op

import rnnrt

SIZES = [1, 2, 3, 5, 8, 15, 16, 17, 33, 70]
REDUCTIONS = [
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "ReduceLogSum",
    "ReduceLogSumExp",
]


def check(isa: str, op: str, *inputs: Any, parts: int = 1, **attrs: Any) -> None:
    """The native answer is that of NumPy, of floats in float64."""
    known = tuple(range(1, len(inputs)))
    got = run_native(op, *inputs, isa=isa, known=known, parts=parts, **attrs)
    x = inputs[0].astype(np.float64) if inputs[0].dtype.kind == "f" else inputs[0]
    want = run_op(op, x, *inputs[1:], **attrs)
    hint = f"{op} {inputs[0].shape} {inputs[0].strides} {inputs[1:]} {attrs}"
    assert got is not None, hint
    assert got.shape == want.shape, hint
    if want.dtype.kind == "f":
        scale = max(1, np.abs(want[np.isfinite(want)]).max(initial=0))
        # Every factor of a product adds a rounding of 2^-24 at most to its relative error; they mostly cancel.
        factors = inputs[0].size / max(want.size, 1) if op == "ReduceProd" else 1
        np.testing.assert_allclose(got, want, max(5e-6, 4 * factors**0.5 * 2**-24), 2e-6 * scale, err_msg=hint)
    else:
        assert got.dtype == want.dtype, hint
        np.testing.assert_array_equal(got, want, hint)


def shaped(rng: np.random.Generator) -> tuple[int, ...]:
    shape = tuple(int(rng.choice(SIZES)) for _ in range(int(rng.integers(1, 5))))
    while np.prod(shape) > 40000:
        shape = shape[:-1]
    return shape


def some_axes(rng: np.random.Generator, rank: int) -> np.ndarray:
    axes = rng.permutation(rank)[: int(rng.integers(0, rank + 1))]
    return np.array([int(a) - (rank if rng.integers(2) else 0) for a in axes], np.int64)


@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions(isa, op):
    rng = np.random.default_rng(len(op))
    for trial in range(30):
        x = strided(rng, shaped(rng), trial % 4)
        if op == "ReduceProd":
            x = np.sign(x) * np.exp(np.float32(0.02) * x)
        if op == "ReduceLogSum":
            x = np.abs(x)
        options = {"keepdims": int(rng.integers(2)), "noop_with_empty_axes": int(trial == 7)}
        check(isa, op, x, some_axes(rng, x.ndim), parts=1 + trial % 3, **options)


@pytest.mark.parametrize("op", [op for op in REDUCTIONS if op not in ("ReduceProd", "ReduceLogSum")])
def test_not_finite(isa, op):
    rng = np.random.default_rng(1)
    for trial in range(24):
        x = strided(rng, shaped(rng), trial % 4)
        for value in ([np.nan], [np.inf], [-np.inf], [np.inf, np.nan, -np.inf])[trial % 4]:
            x[tuple(int(rng.integers(n)) for n in x.shape)] = value
        with np.errstate(all="ignore"):
            check(isa, op, x, some_axes(rng, x.ndim))


def test_log_sum_exp_of_infinities(isa):
    x = np.full((3, 20), -np.inf, np.float32)
    x[1, 4] = np.inf
    for axis in (0, 1):
        with np.errstate(all="ignore"):
            check(isa, "ReduceLogSumExp", x, np.array([axis]))


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean", "ReduceL2", "ReduceMax", "ReduceLogSumExp"])
def test_long_sums_stay_exact(isa, op):
    x = np.random.default_rng(2).random((3, 100001)).astype(np.float32) + 1
    got = run_native(op, x, np.array([1]), isa=isa, known=(1,))
    np.testing.assert_allclose(got, run_op(op, x.astype(np.float64), np.array([1])), 1e-6)


def test_bits_do_not_depend_on_parts(isa):
    rng = np.random.default_rng(3)
    for shape, axes in [((7, 300), [1]), ((300, 70), [0]), ((129, 2), [1]), ((4, 30, 50), [1])]:
        x = strided(rng, shape, 0)
        whole = run_native("ReduceSum", x, np.array(axes), isa=isa, known=(1,))
        assert np.array_equal(whole, run_native("ReduceSum", x, np.array(axes), isa=isa, known=(1,), parts=3))


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers(isa, dtype):
    rng = np.random.default_rng(4)
    for trial in range(36):
        shape = tuple(int(rng.choice([1, 2, 3, 8])) for _ in range(int(rng.integers(1, 4))))
        x = rng.integers(-5, 6, shape).astype(dtype)
        first = int(rng.integers(len(shape)))
        axes = np.arange(first, int(rng.integers(first + 1, len(shape) + 1)))
        op = ["ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceSumSquare"][trial % 6]
        check(isa, op, x, axes, keepdims=trial % 2)


def test_what_is_left_to_numpy(isa):
    x = np.ones((2, 3), np.float32)
    assert run_native("ReduceSum", x, np.array([0]), isa=isa) is None, "axes that a run decides"
    assert run_native("ReduceMean", x.astype(np.int64), np.array([0]), isa=isa, known=(1,)) is None
    assert run_native("ReduceMax", x[:0], np.array([0]), isa=isa, known=(1,)) is None
    assert run_native("ReduceMax", x.astype(np.float64), np.array([0]), isa=isa, known=(1,)) is None


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
def test_arg(isa, dtype):
    rng = np.random.default_rng(5)
    for trial in range(40):
        x = rng.integers(-4, 5, shaped(rng)).astype(dtype)
        if dtype == np.float32 and trial % 3 == 0:
            x.flat[rng.integers(x.size, size=2)] = np.nan
        options = {
            "axis": int(rng.integers(-x.ndim, x.ndim)),
            "keepdims": trial % 2,
            "select_last_index": trial // 2 % 2,
        }
        check(isa, ("ArgMax", "ArgMin")[trial // 4 % 2], x, parts=1 + trial % 3, **options)


@pytest.mark.parametrize("op", ["CumSum", "CumProd"])
def test_running_sums(isa, op):
    rng = np.random.default_rng(6)
    for trial in range(40):
        shape = tuple(int(rng.choice([1, 2, 3, 8, 17])) for _ in range(int(rng.integers(1, 4))))
        x = strided(rng, shape, trial % 4) if trial % 2 else rng.integers(-2, 3, shape).astype(np.int64)
        axis = np.array(int(rng.integers(-x.ndim, x.ndim)))
        check(isa, op, x, axis, reverse=trial // 2 % 2, exclusive=trial // 4 % 2)


@pytest.mark.parametrize("size", [1, 15, 16, 17, 63, 64, 65, 300])
@pytest.mark.parametrize("ops", [("ReduceMin", "ReduceMax"), ("ReduceMax", "ReduceMin")])
def test_both_extremes_are_found_in_one_pass(ops, size):
    values = [helper.make_tensor_value_info(op, FLOAT, []) for op in ops]
    given = [helper.make_tensor_value_info("x", FLOAT, ["n"])]
    graph = helper.make_graph([helper.make_node(op, ["x"], [op], keepdims=0) for op in ops], "g", given, values)
    model = rnnrt.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))
    x = np.random.default_rng(size).standard_normal(size).astype(np.float32)
    assert model.run({"x": x}) == {"ReduceMin": x.min(), "ReduceMax": x.max()}
    assert "extremes" in [step.operator for step in model.profile({"x": x}, runs=1).steps]
    x[size // 2] = np.nan
    assert all(np.isnan(y) for y in model.run({"x": x}).values())
