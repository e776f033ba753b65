"""Gathering, scattering, selecting and running sums against ``onnx.reference``, onnxruntime and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from ops_util import assert_same, random_array, run_onnxruntime, run_op, run_reference

from rnnrt.errors import InputError, UnsupportedError

DTYPES = (np.float32, np.float64, np.int64, bool, object)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: t.__name__)
def test_gather(dtype: type) -> None:
    rng = np.random.default_rng(1)
    x = random_array(rng, (3, 4, 2), dtype)
    for axis in (0, 1, -1, -3):
        n = x.shape[axis]
        for indices in (np.int64(-1), np.int32(n - 1), rng.integers(-n, n, (2, 3)), np.zeros((0, 2), np.int64)):
            want = np.take(x, indices, axis)
            assert_same(run_op("Gather", x, indices, axis=axis), want)
        for wrong in (i64(n), i64(-n - 1), np.int64(n)):
            with pytest.raises(InputError, match=rf"\[{-n}, {n - 1}\]"):
                run_op("Gather", x, wrong, axis=axis)
    assert_same(run_op("Gather", x.reshape(-1), np.int64(5)), x.reshape(-1)[5])
    with pytest.raises(InputError, match="axis"):
        run_op("Gather", x, np.int64(0), axis=3)
    with pytest.raises(InputError, match="axis"):
        run_op("Gather", x, i64(0), axis=-4)
    with pytest.raises(InputError, match="integer"):
        run_op("Gather", x, np.array([0.0]))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: t.__name__)
def test_gather_and_scatter_elements(dtype: type) -> None:
    rng = np.random.default_rng(2)
    x = random_array(rng, (4, 3, 2), dtype)
    for axis in (0, 1, -1):
        shape = list(x.shape)
        for size in (1, 2):
            shape[axis] = size
            indices = np.argsort(rng.random(x.shape), axis).take(range(size), axis) - x.shape[axis]
            assert_same(run_op("GatherElements", x, indices, axis=axis), np.take_along_axis(x, indices, axis))
            updates = random_array(rng, indices.shape, dtype)
            want = x.copy()
            np.put_along_axis(want, indices, updates, axis)
            assert_same(run_op("ScatterElements", x, indices, updates, axis=axis), want)
    smaller = rng.integers(0, 4, (2, 2, 1))
    want = np.array([[[x[smaller[i, j, k], j, k] for k in range(1)] for j in range(2)] for i in range(2)], x.dtype)
    assert_same(run_op("GatherElements", x, smaller, axis=0), want)
    for wrong in (np.full((1, 3, 2), 4), np.full((1, 3, 2), -5), np.zeros((1, 4, 2), int), np.zeros((3, 2), int)):
        with pytest.raises(InputError):
            run_op("GatherElements", x, wrong, axis=0)
        with pytest.raises(InputError):
            run_op("ScatterElements", x, wrong, np.zeros(wrong.shape, x.dtype), axis=0)
    with pytest.raises(InputError, match="updates"):
        run_op("ScatterElements", x, np.zeros((1, 3, 2), int), x[:1, :, :1], axis=0)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter_reductions_agree_with_onnxruntime(reduction: str) -> None:
    rng = np.random.default_rng(3)
    x = random_array(rng, (4, 3), np.float32)
    indices = np.array([[0, 3, 1], [0, 3, -1], [2, 3, 0]], np.int64)
    if reduction == "none":
        indices = np.argsort(rng.random((4, 3)), 0)[:3]
    updates = random_array(rng, (3, 3), np.float32)
    want = run_onnxruntime("ScatterElements", x, indices, updates, version=18, reduction=reduction)[0]
    assert_same(run_op("ScatterElements", x, indices, updates, reduction=reduction), want)
    places = np.array([[1], [1], [0]], np.int64) if reduction != "none" else np.array([[1], [-1], [0]], np.int64)
    want = run_onnxruntime("ScatterND", x, places, updates, version=18, reduction=reduction)[0]
    assert_same(run_op("ScatterND", x, places, updates, reduction=reduction), want)


def test_gather_nd_and_scatter_nd() -> None:
    rng = np.random.default_rng(4)
    x = random_array(rng, (2, 3, 4), np.float32)
    several = (i64(1, 2, 3), i64(-1), np.array([[0, 1], [1, -3]]), np.array([[[1]], [[0]]]), np.zeros((0, 2), int))
    for indices in several:
        assert_same(run_op("GatherND", x, indices), x[tuple(np.moveaxis(indices, -1, 0))])
    for batch, indices in ((1, np.array([[[0], [2]], [[1], [1]]])), (2, rng.integers(-4, 4, (2, 3, 1)))):
        want = run_onnxruntime("GatherND", x, indices, batch_dims=batch)[0]
        assert_same(run_op("GatherND", x, indices, batch_dims=batch), want)
    updates = random_array(rng, (2, 4), np.float32)
    want = x.copy()
    want[0, 1], want[1, 0] = updates
    assert_same(run_op("ScatterND", x, np.array([[0, 1], [1, -3]]), updates), want)
    for wrong in (i64(2), i64(-3), i64(0, 0, 0, 0), np.zeros((2, 0), int), np.int64(0), np.zeros((1, 1))):
        with pytest.raises(InputError):
            run_op("GatherND", x, wrong)
        with pytest.raises(InputError):
            run_op("ScatterND", x, wrong, updates)
    with pytest.raises(InputError, match="updates"):
        run_op("ScatterND", x, np.array([[0, 1], [1, 0]]), updates[:1])
    with pytest.raises(UnsupportedError, match="reduction"):
        run_op("ScatterND", x, i64(0), updates, reduction="sub")


def test_one_hot() -> None:
    values = np.array([2, 5], np.float32)
    for indices in (i64(0, -1, 3, -4, 2), np.array([[1, 0]], np.int32), np.int64(1), np.array([1.0, 2.0], np.float32)):
        for axis in range(-indices.ndim - 1, indices.ndim + 1):
            y = run_op("OneHot", indices, np.int64(3), values, axis=axis)
            whole = indices.astype(int)
            hot = np.where(whole < 0, whole + 3, whole)[..., None] == np.arange(3)
            assert_same(y, np.moveaxis(np.where(hot, values[1], values[0]), -1, axis))
    assert run_op("OneHot", i64(0), np.float32([2]), np.array([0, 1], np.int8)).tolist() == [[1, 0]]
    with pytest.raises(InputError, match="axis"):
        run_op("OneHot", i64(0), np.int64(3), values, axis=2)
    with pytest.raises(InputError, match="two values"):
        run_op("OneHot", i64(0), np.int64(3), values[:1])
    with pytest.raises(InputError, match="at least 0"):
        run_op("OneHot", i64(0), np.int64(-3), values)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, np.uint8], ids=lambda t: t.__name__)
def test_top_k(dtype: type) -> None:
    rng = np.random.default_rng(5)
    x = random_array(rng, (3, 6, 2), dtype, 0, 3).round()
    for axis in (0, 1, -1):
        for largest in (1, 0):
            for k in (0, 1, x.shape[axis]):
                values, order = run_op("TopK", x, i64(k), outputs=2, axis=axis, largest=largest)
                moved = np.moveaxis(x, axis, -1).astype(float)
                want = (-moved if largest else moved).argsort(-1, kind="stable")[..., :k]
                assert_same(order, np.moveaxis(want, -1, axis))
                assert_same(values, np.take_along_axis(x, order, axis))
    with pytest.raises(InputError, match="k in"):
        run_op("TopK", x, i64(7), outputs=2, axis=1)
    assert run_op("TopK", np.array([1, np.nan, 2], np.float32), i64(2), outputs=2)[1].tolist() == [1, 2]


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_arg(op: str) -> None:
    rng = np.random.default_rng(6)
    x = rng.integers(0, 3, (3, 5, 4)).astype(np.float32)
    for axis in (0, 1, -1):
        for keepdims in (0, 1):
            for last in (0, 1):
                attrs = {"axis": axis, "keepdims": keepdims, "select_last_index": last}
                assert_same(run_op(op, x, **attrs), run_reference(op, x, **attrs)[0])
    assert_same(run_op(op, np.zeros((2, 0), np.float32), axis=0), np.zeros((1, 0), np.int64))
    assert_same(run_op(op, np.float32(3)), np.int64(0))
    for shape, axis in (((0, 2), 0), ((2, 3), 2)):
        with pytest.raises(InputError):
            run_op(op, np.zeros(shape, np.float32), axis=axis)


def test_non_zero() -> None:
    x = np.array([[1, 0, -2], [0, 0, 3]], np.float32)
    assert_same(run_op("NonZero", x), np.array([[0, 0, 1], [0, 2, 2]], np.int64))
    assert run_op("NonZero", np.float32(1)).shape == (0, 1)
    assert run_op("NonZero", np.float32(0)).shape == (0, 0)
    assert run_op("NonZero", np.zeros((0, 3))).shape == (2, 0)


def test_compress() -> None:
    x = np.arange(12).reshape(3, 4)
    for condition in ([True, False, True], [True], [False, False, False]):
        c = np.array(condition)
        for axis in (0, 1, -2, None):
            attrs = {} if axis is None else {"axis": axis}
            assert_same(run_op("Compress", x, c, **attrs), np.compress(c, x, axis))
    with pytest.raises(InputError, match="condition"):
        run_op("Compress", x, np.array([True] * 5), axis=0)


@pytest.mark.parametrize(("op", "function"), [("CumSum", np.cumsum), ("CumProd", np.cumprod)])
def test_cumulative(op: str, function: object) -> None:
    rng = np.random.default_rng(7)
    for dtype in (np.float32, np.float64, np.int32, np.float16):
        x = random_array(rng, (3, 4), dtype, -2, 2)
        for axis in (0, -1):
            for exclusive in (0, 1):
                for reverse in (0, 1):
                    attrs = {"exclusive": exclusive, "reverse": reverse}
                    want = run_reference(op, x, np.int64(axis), **attrs)[0]
                    assert_same(run_op(op, x, np.int64(axis), **attrs), want.astype(dtype))
        assert_same(run_op(op, x, i64(1)), function(x, 1, dtype=np.float64).astype(dtype))
        assert run_op(op, x[:0], np.int64(0), exclusive=1).shape == (0, 4)
    with pytest.raises(InputError, match="axis"):
        run_op(op, x, np.int64(2))


def test_unique() -> None:
    rng = np.random.default_rng(8)
    x = rng.integers(0, 3, (4, 3)).astype(np.float32)
    x[3] = x[0]
    for ordered in (0, 1):
        for axis in (None, 0, 1, -1):
            attrs = {"sorted": ordered} | ({} if axis is None else {"axis": axis})
            got = run_op("Unique", x, outputs=4, **attrs)
            # The reference evaluator takes from axis 0 of what it has not flattened.
            data = x.reshape(-1) if axis is None else x
            if ordered or axis in (None, 0):
                for a, b in zip(got, run_reference("Unique", data, outputs=4, **attrs), strict=True):
                    assert_same(a, b)
            values, first, inverse, counts = got
            flat = x.reshape(-1) if axis is None else x
            np.testing.assert_array_equal(values.take(inverse, axis or 0), flat)
            np.testing.assert_array_equal(flat.take(first, axis or 0), values)
            assert counts.sum() == flat.shape[axis or 0]
    values, first = run_op("Unique", np.array(["b", "a", "b"], object), outputs=2, sorted=0)
    assert values.tolist() == ["b", "a"]
    assert first.tolist() == [0, 1]
    assert run_op("Unique", np.zeros(0, np.float32), outputs=4)[3].shape == (0,)
