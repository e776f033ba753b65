"""Gather, Scatter, OneHot, ReverseSequence, Trilu as native steps against the NumPy operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bound import check_exactly, run_native
from hypothesis import given
from hypothesis import strategies as st
from test_native_views import i64, numbers

from rnnrt._core import program

BAD_INDEX, BAD_LENGTH = program.WRONG[1:3]
DTYPES = [np.int8, np.float16, np.float32, np.int64, np.complex128]


def refuses(wrong: str, *args: Any, **options: Any) -> None:
    """The step says what is wrong with the values."""
    with pytest.raises(ValueError, match=f"^{wrong}$"):
        run_native(*args, **options)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_gather_of_indices_known_or_not(isa: str, dtype: Any, kind: Any) -> None:
    rng = np.random.default_rng(1)
    for shape in ((7,), (7, 1), (3, 5), (2, 3, 33), (2, 4, 3, 5)):
        x = rng.integers(0, 100, [n + 1 for n in shape]).astype(dtype)
        for data in (x, x[tuple([slice(1, None)] * x.ndim)], x.transpose(rng.permutation(x.ndim))):
            for axis in range(-x.ndim, x.ndim):
                n = data.shape[axis]
                index = rng.integers(-n, n, (3, 2)).astype(kind)
                check_exactly("Gather", isa, data, index, axis=axis)
                check_exactly("Gather", isa, data, index, known=(1,), axis=axis)
                check_exactly("Gather", isa, data, index[::-1, 1], axis=axis)


@pytest.mark.parametrize(
    "index", [0, -1, [2], [[1]], [0, 1, 2], [4, 2, 0], [1, 1], [-2, -1], [[0, 1], [2, 3]], [[-1, -3]]]
)
def test_gather_of_even_indices_is_a_view(isa: str, index: Any) -> None:
    x = numbers(5, 5, 5)[:, ::-1]
    for axis in range(3):
        assert not check_exactly("Gather", isa, x, np.array(index, np.int64), known=(1,), axis=axis).steps
        check_exactly("Gather", isa, x, np.array(index, np.int64), axis=axis)


def test_gather_refuses_indices_outside(isa: str) -> None:
    x = numbers(3, 4)
    for index in ([3], [0, -4], [2**40, 0]):
        refuses(BAD_INDEX, "Gather", x, i64(*index), isa=isa)
        refuses(BAD_INDEX, "GatherElements", x, i64(*index).reshape(-1, 1), isa=isa)
        refuses(BAD_INDEX, "GatherND", x, i64(*index).reshape(-1, 1), isa=isa)
        updates = np.ones((len(index), 4), np.float32)
        refuses(BAD_INDEX, "ScatterND", x, i64(*index).reshape(-1, 1), updates, isa=isa)
        refuses(BAD_INDEX, "ScatterElements", x, i64(*index).reshape(-1, 1), updates[:, :1], isa=isa)
    refuses(BAD_INDEX, "Gather", x, i64(3, 0), isa=isa, known=(1,))
    assert run_native("Gather", x, np.array([1.0]), isa=isa) is None
    assert run_native("Gather", x, i64(0), isa=isa, axis=2) is None


def test_gather_of_nothing(isa: str) -> None:
    check_exactly("Gather", isa, numbers(3, 4), i64())
    check_exactly("Gather", isa, numbers(3, 0), i64(1, 2), axis=0)
    refuses(BAD_INDEX, "Gather", numbers(3, 0), i64(1, 0), known=(1,), isa=isa, axis=1)


@given(st.data())
def test_elements_and_tuples(isa: str, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    rank = data.draw(st.integers(1, 4))
    x = rng.integers(0, 100, [data.draw(st.integers(1, 5)) for _ in range(rank)]).astype(
        data.draw(st.sampled_from(DTYPES))
    )
    x = x.transpose(rng.permutation(rank))
    kind = data.draw(st.sampled_from([np.int32, np.int64]))
    axis = data.draw(st.integers(0, rank - 1))
    shape = [data.draw(st.integers(0, n)) for n in x.shape]
    shape[axis] = data.draw(st.integers(0, 7))
    index = rng.integers(-x.shape[axis], x.shape[axis], shape).astype(kind)
    signed = axis - data.draw(st.sampled_from([0, rank]))
    check_exactly("GatherElements", isa, x, index, axis=signed)
    check_exactly("ScatterElements", isa, x, index, rng.integers(0, 9, shape).astype(x.dtype), axis=signed)
    batch = data.draw(st.integers(0, rank - 1))
    k = data.draw(st.integers(1, rank - batch))
    lead = (*x.shape[:batch], data.draw(st.integers(0, 3)), 2)
    tuples = np.stack([rng.integers(-n, n, lead) for n in x.shape[batch : batch + k]], -1).astype(kind)
    check_exactly("GatherND", isa, x, tuples, batch_dims=batch)
    tuples = np.stack([rng.integers(-n, n, (3, 2)) for n in x.shape[:k]], -1).astype(kind)
    check_exactly("ScatterND", isa, x, tuples, rng.integers(0, 9, (3, 2, *x.shape[k:])).astype(x.dtype))
    check_exactly("ScatterND", isa, x, tuples, rng.integers(0, 9, (3, 2, *x.shape[k:])).astype(x.dtype), known=(1,))


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter_with_a_reduction(isa: str, reduction: str) -> None:
    rng = np.random.default_rng(2)
    x, updates = rng.normal(size=(4, 6)).astype(np.float32), rng.normal(size=(9, 6)).astype(np.float32)
    x[1, 2], updates[3, 4] = np.nan, np.nan
    index = rng.integers(-4, 4, (9, 1))
    check_exactly("ScatterND", isa, x, index, updates, reduction=reduction)
    check_exactly("ScatterElements", isa, x, np.tile(index, (1, 6)), updates, reduction=reduction, axis=0)
    if reduction != "none":
        assert (
            run_native("ScatterND", x.astype(np.float64), index, updates.astype(np.float64), reduction=reduction)
            is None
        )


def test_scatter_of_a_range_is_a_copy(isa: str) -> None:
    x, rows, columns = numbers(6, 5), np.arange(1, 4), np.arange(2, 5)
    index = np.stack(np.broadcast_arrays(rows[:, None], columns), -1)
    for places, shape in ((index, (3, 3)), (rows[:, None], (3, 5)), (rows[::-1, None] - 6, (3, 5)), (i64(4), (5,))):
        for known in ((), (1,)):
            steps = check_exactly("ScatterND", isa, x, places, -numbers(*shape), known=known).steps
            assert steps[-1].op == ("copy" if known else "scatter_nd")
            steps = check_exactly("GatherND", isa, x[:, ::-1], places, known=known).steps
            assert len(steps) == 0 if known else steps
    for axis in range(3):
        for first, last in ((0, 2), (1, 3), (2, 4), (0, 1), (1, 4)):
            grid = np.indices((4, 4, 4)).transpose(1, 2, 3, 0)
            cut = (slice(None),) * axis + (slice(first, last),)
            updates = -numbers(4, 4, 4)[cut]
            for data in (numbers(4, 4, 4), numbers(4, 4, 4).T):
                check_exactly("ScatterND", isa, data, np.ascontiguousarray(grid[cut]), updates, known=(1,))
                if axis == 1:
                    check_exactly(
                        "ScatterND", isa, data, np.ascontiguousarray(grid[cut][..., 0, :2]), updates, known=(1,)
                    )
    whole = np.arange(6)[::-1, None]
    assert len(check_exactly("ScatterND", isa, x, whole, -numbers(6, 5), known=(1,)).steps) == 1
    check_exactly("ScatterND", isa, x, i64(1, 1, 1)[:, None], np.ones((3, 5), np.float32), known=(1,), reduction="add")
    check_exactly("ScatterND", isa, x, i64(2, 2, 2)[:, None], np.ones((3, 5), np.float32), known=(1,))
    refuses(BAD_INDEX, "ScatterND", x, i64(5, 6)[:, None], numbers(2, 5), known=(1,), isa=isa)


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_one_hot(isa: str, kind: Any) -> None:
    index = np.array([[0, 3, -1], [4, -5, 1]], kind)
    for axis in (-1, 0, 1, 2):
        for values in (np.float32([0, 1]), i64(7, -3)):
            check_exactly("OneHot", isa, index, np.array(4, np.int64), values, known=(1,), axis=axis)
            check_exactly("OneHot", isa, index, np.array([4]), values, known=(1, 2), axis=axis)
    check_exactly("OneHot", isa, np.array(2, kind), np.array(4), np.float32([0, 1]), known=(1,))
    assert run_native("OneHot", index, np.array(4), i64(0, 1), isa=isa) is None


def test_reverse_sequence(isa: str) -> None:
    x = numbers(4, 3, 5)
    for lengths in (i64(4, 0, 2), np.array([1, 3, 4], np.int32)):
        check_exactly("ReverseSequence", isa, x, lengths, time_axis=0, batch_axis=1)
        check_exactly("ReverseSequence", isa, x.transpose(1, 0, 2), lengths, time_axis=1, batch_axis=0)
        check_exactly("ReverseSequence", isa, x[..., 0], lengths, time_axis=0, batch_axis=1)
    check_exactly("ReverseSequence", isa, x[..., :0], i64(4, 0, 2))
    refuses(BAD_LENGTH, "ReverseSequence", x, i64(4, 5, 2), isa=isa)
    refuses(BAD_LENGTH, "ReverseSequence", x, i64(4, -1, 2), isa=isa)


@pytest.mark.parametrize("upper", [0, 1])
def test_trilu(isa: str, upper: int) -> None:
    for shape in ((3, 5), (5, 3), (2, 4, 4), (0, 3), (1, 1)):
        for k in (-9, -2, -1, 0, 1, 2, 3, 9):
            check_exactly("Trilu", isa, numbers(*shape) + 1, np.array(k), known=(1,), upper=upper)
    check_exactly("Trilu", isa, numbers(3, 4).astype(np.int8).T, upper=upper)
