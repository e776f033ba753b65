"""Copies, Concat, Pad, Tile, DepthToSpace as native steps against the NumPy operators, on every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bound import Bound, check_exactly, run_native
from hypothesis import given, settings
from hypothesis import strategies as st
from test_native_views import i64, numbers, strided

from rnnrt._core import program
from rnnrt._core.program import copy_words, joined, merged_axes

DTYPES = [np.int8, np.float16, np.float32, np.int64, np.complex128]


def copied(isa: str, source: np.ndarray, target: np.ndarray | None = None) -> np.ndarray:
    """A copy, into memory of the strides of `target` if given."""
    bound = Bound(isa)
    x = bound.input(source)
    y = bound.made(x.shape, x.dtype) if target is None else bound.input(target, writable=True)
    bound.emitter.copy_into(x, y)
    return bound.run(y)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_runs_of_every_length(isa: str, dtype: Any) -> None:
    for n in [*range(1, 70), 127, 128, 129, 255, 1023, 1024, 1025, 5000]:
        x = np.arange(3 * (n + 2)).reshape(3, n + 2).astype(dtype)
        np.testing.assert_array_equal(copied(isa, x[:, 1 : n + 1]), x[:, 1 : n + 1])


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_transposes_of_every_size(isa: str, dtype: Any) -> None:
    sizes = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33]
    for rows in sizes:
        for columns in sizes:
            x = np.arange(rows * columns).reshape(rows, columns).astype(dtype)
            np.testing.assert_array_equal(copied(isa, x.T), x.T)
            y = np.stack([x, x + 1], axis=-1).transpose(2, 1, 0)
            np.testing.assert_array_equal(copied(isa, y), y)


@given(strided(5), st.sampled_from(DTYPES), st.data())
@settings(max_examples=60)
def test_any_strides(isa: str, x: np.ndarray, dtype: Any, data: st.DataObject) -> None:
    x = x.astype(dtype, order="K") if data.draw(st.booleans()) else x
    np.testing.assert_array_equal(copied(isa, x), x)
    order = data.draw(st.permutations(range(x.ndim)))
    target = np.zeros([x.shape[k] + 1 for k in order], x.dtype)[(slice(1, None),) * x.ndim]
    target = target.transpose(np.argsort(order)) if x.ndim else target
    np.testing.assert_array_equal(copied(isa, x, target), x)


def test_bytes_round_a_strided_target_are_left_alone(isa: str) -> None:
    for n in range(1, 40):
        whole = np.full((4, n + 2), 7, np.float32)
        bound = Bound(isa)
        y = bound.input(whole, writable=True)
        inside = bound.emitter.view(y, (4, n), y.strides, 1)
        bound.emitter.copy_into(bound.input(numbers(n, 4).T), inside)
        got = bound.run(y)
        np.testing.assert_array_equal(got[:, 1:-1], numbers(n, 4).T)
        assert (got[:, 0] == 7).all()
        assert (got[:, -1] == 7).all()


def test_axes_are_joined_and_ordered(isa: str) -> None:
    assert merged_axes((2, 3, 4), (12, 4, 1), (12, 4, 1)) == [(24, 1, 1)]
    assert merged_axes((2, 1, 3), (3, 9, 1), (6, 9, 2)) == [(6, 1, 2)]
    assert merged_axes((2, 0), (1, 1), (1, 1)) is None
    assert merged_axes((1, 1), (5, 5), (5, 5)) == [(1, 1, 1)]
    assert joined([(2, 6, 1), (3, 2, 2)], 2) == [(2, 6, 1), (3, 2, 2)]
    assert copy_words((24,), (1,), (1,), 4)[:3] == [96, 0, 0]
    assert copy_words((5, 9), (1, 5), (9, 1), 4)[:3] == [4, 1, 0]
    assert program.operators()["copy"] == 0


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_concat(isa: str, axis: int, dtype: Any) -> None:
    rng = np.random.default_rng(axis % 3)
    for outer in (1, 3):
        shapes = [[outer, 2, 5] for _ in range(4)]
        for shape, n in zip(shapes, (3, 1, 0, 6), strict=True):
            shape[axis] = n
        arrays = [rng.integers(0, 100, shape).astype(dtype) for shape in shapes]
        check_exactly("Concat", isa, *arrays, axis=axis)
        check_exactly("Concat", isa, *arrays, known=(1,), axis=axis)
        check_exactly("Concat", isa, arrays[0], arrays[2], axis=axis)
        check_exactly("Concat", isa, *[np.flip(a, 2) for a in arrays], axis=axis)


def test_pairs_are_interleaved_in_one_step(isa: str) -> None:
    for n in (1, 15, 16, 17, 33, 64):
        x = numbers(3, n, 1)
        steps = check_exactly("Concat", isa, x, -x, axis=2).steps
        assert [step.op for step in steps] == (["zip"] if n >= 15 else ["copy", "copy"])
        check_exactly("Concat", isa, x, np.flip(x, 1), axis=-1)


def test_concat_of_what_does_not_fit_is_left_alone(isa: str) -> None:
    assert run_native("Concat", numbers(2, 3), numbers(2, 4), isa=isa, axis=0) is None
    assert run_native("Concat", numbers(2, 3), numbers(2, 3).astype(np.int32), isa=isa, axis=0) is None
    assert run_native("Concat", numbers(2, 3), isa=isa, axis=2) is None


def test_fresh_tensors_are_written_in_place(isa: str) -> None:
    bound = Bound(isa)
    emitter = bound.emitter
    x = bound.input(numbers(5, 1, 3))
    made = emitter.copy(emitter.view(x, (1, 3, 5), (3, 1, 3)))
    given_, part = bound.input(numbers(1, 2, 5)), bound.made((1, 4, 5))
    emitter.copy_into(emitter.view(x, (1, 4, 5), (0, 0, 0)), part)
    half = emitter.view(part, (1, 2, 5), part.strides)
    y = bound.node("Concat", made, given_, part, made, half, axis=1)
    assert y is not None
    assert made.buffer is not None
    assert part.buffer is not None
    assert made.buffer.place() == (-1, 0)
    assert part.buffer.place() == (-1, 100)
    assert made.buffer.inside is y.buffer
    assert len(emitter.steps) == 2 + 3
    a = numbers(5, 3).T[None]
    want = np.concatenate([a, numbers(1, 2, 5), np.zeros((1, 4, 5)), a, np.zeros((1, 2, 5))], 1)
    for got, expected in zip(bound.run(y, made), (want, a), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_concat_in_place_of_concat_in_place(isa: str) -> None:
    bound = Bound(isa)
    x = bound.input(numbers(4))
    inner = bound.node("Concat", bound.emitter.copy(x), x, axis=0)
    outer = bound.node("Concat", x, inner, axis=0)
    assert outer.buffer is inner.buffer.inside
    assert len(bound.steps) == 3
    np.testing.assert_array_equal(bound.run(outer), np.tile(np.arange(4), 3))


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
@given(x=strided(3), data=st.data())
@settings(max_examples=40)
def test_pad(isa: str, mode: str, x: np.ndarray, data: st.DataObject) -> None:
    pads = [data.draw(st.integers(-1, 3)) for _ in range(2 * x.ndim)]
    for k, n in enumerate(x.shape):
        b, a = pads[k], pads[k + x.ndim]
        left = n + min(b, 0) + min(a, 0)
        most = {"constant": 3, "edge": 3 if left else 0, "reflect": left - 1, "wrap": left}[mode]
        pads[k], pads[k + x.ndim] = (0, 0) if left < 0 else (min(b, max(most, 0)), min(a, max(most, 0)))
    check_exactly("Pad", isa, x, i64(*pads), known=(1,), mode=mode)


def test_pad_values(isa: str) -> None:
    x = numbers(2, 3)
    check_exactly("Pad", isa, x, i64(1, 2), np.float32(5), i64(-1), known=(1, 2, 3))
    check_exactly("Pad", isa, x, i64(1, 2, 0, 1), np.array([5], np.float32), known=(1,))
    check_exactly("Pad", isa, x, i64(1, 2, 0, 1), np.int64(5), known=(1, 2))
    check_exactly("Pad", isa, numbers(2, 3, 400), i64(1, 1, 1, 1, 1, 1), np.float32(5), known=(1, 2))
    check_exactly("Pad", isa, numbers(3, 30, 100), i64(1, 1, 1, 1, 1, 1), np.float32(5), known=(1, 2))
    assert not check_exactly("Pad", isa, x, i64(0, 0, 0, 0), known=(1,)).steps
    assert run_native("Pad", x, i64(0, 0, 0, 1), isa=isa) is None
    assert run_native("Pad", x, i64(0, 0, 0, 3), isa=isa, known=(1,), mode="reflect") is None
    assert run_native("Pad", x, i64(0, 1), isa=isa, known=(1,)) is None


def test_tile_and_blocks(isa: str) -> None:
    for repeats in ((2, 3, 1), (1, 1, 1), (0, 2, 1), (1, 1, 4)):
        check_exactly("Tile", isa, numbers(2, 3, 4)[:, ::-1], i64(*repeats), known=(1,))
    x = numbers(2, 12, 4, 6)
    for mode in ("DCR", "CRD"):
        for op in ("DepthToSpace", "SpaceToDepth"):
            check_exactly(op, isa, x, blocksize=2, mode=mode)
            check_exactly(op, isa, x.transpose(0, 1, 3, 2), blocksize=2, mode=mode)
    assert run_native("DepthToSpace", x, isa=isa, blocksize=5) is None
