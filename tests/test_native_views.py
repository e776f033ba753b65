"""Views of native steps against NumPy: the same elements, and no step where strides can say it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bound import Bound, run_native
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_util import assert_same, run_op

from rnnrt._core.program import apply_views, evenly, reshaped_strides
from rnnrt.errors import InputError
from rnnrt.native.tensor import c_strides, constant
from rnnrt.rewrite import views as of_arrays


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def numbers(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


@st.composite
def strided(draw: st.DrawFn, most: int = 4, least: int = 0) -> np.ndarray:
    """An array of small sizes whose axes are cut, reversed, repeated and permuted."""
    shape = draw(st.lists(st.integers(0, 4), min_size=least, max_size=most))
    x = numbers(*[2 * n + 1 for n in shape])
    x = x[(*[slice(0, 2 * n, 2) if draw(st.booleans()) else slice(1, n + 1) for n in shape], ...)]
    for k, n in enumerate(shape):
        if n and draw(st.integers(0, 5)) == 0:
            x = np.broadcast_to(x.take([0], k), x.shape)
        elif draw(st.integers(0, 5)) == 0:
            x = np.flip(x, k)
    return x.transpose(draw(st.permutations(range(x.ndim))))


def check(op: str, x: np.ndarray, *rest: Any, steps: int | None = 0, **attrs: Any) -> None:
    """The native form gives what the NumPy operator gives, in `steps` steps."""
    bound = Bound()
    outputs = attrs.pop("outputs", 1)
    made = bound.node(op, x, *rest, known=tuple(range(1, 1 + len(rest))), outputs=outputs, **attrs)
    want = run_op(op, x, *rest, outputs=outputs, **attrs)
    assert made is not None
    got = bound.run(*made) if isinstance(made, tuple) else (bound.run(made),)
    for g, w in zip(got, want if outputs > 1 else (want,), strict=True):
        assert_same(g, w)
    assert steps is None or len(bound.steps) == steps


@given(strided(), st.data())
@settings(max_examples=300)
def test_reshape_is_a_view_exactly_where_numpy_has_one(x: np.ndarray, data: st.DataObject) -> None:
    shape = [n for n in x.shape if n != 1]
    target: list[int] = []
    for n in shape:
        if target and data.draw(st.booleans()):
            target[-1] *= n
        elif n == 4 and data.draw(st.booleans()):
            target += [2, 2]
        else:
            target.append(n)
    for _ in range(data.draw(st.integers(0, 2))):
        target.insert(data.draw(st.integers(0, len(target))), 1)
    strides = reshaped_strides(x.shape, tuple(s // 4 for s in x.strides), tuple(target))
    y = x.view()
    try:
        y.shape = tuple(target)
        viewable = True
    except AttributeError:
        viewable = False
    if x.size:
        assert (strides is not None) == viewable
    check("Reshape", x, i64(*target), steps=None, allowzero=1)


@pytest.mark.parametrize(
    ("shape", "target", "allowzero"),
    [
        ((2, 3, 4), [4, 6], 0), ((2, 3, 4), [0, -1], 0), ((2, 3, 4), [0, 0, 2, -1], 0), ((2, 3, 4), [-1], 0),
        ((1,), [], 0), ((), [1, 1], 0), ((), [-1], 0), ((0, 3), [0, -1], 0), ((0, 4, 6), [0, 0, 2, -1], 0),
        ((0, 3), [3, 0], 1), ((3, 0, 2), [-1, 0], 0), ((3, 1), [1, 3, 1, 1], 0),
    ],
)  # fmt: skip
def test_reshape_forms(shape: tuple, target: list, allowzero: int) -> None:
    check("Reshape", numbers(*shape), i64(*target), allowzero=allowzero)


@pytest.mark.parametrize("target", [[5], [-1, 5], [-1, -1], [0, 0, 0, 2], [-2, -3], [2, 3, 0]])
def test_reshape_leaves_what_is_wrong_to_the_numpy_operator(target: list) -> None:
    assert run_native("Reshape", numbers(2, 3), i64(*target), known=(1,)) is None
    with pytest.raises(InputError):
        run_op("Reshape", numbers(2, 3), i64(*target))


@given(strided(), st.data())
@settings(max_examples=150)
def test_transpose_squeeze_unsqueeze_flatten(x: np.ndarray, data: st.DataObject) -> None:
    check("Transpose", x)
    check("Transpose", x, perm=data.draw(st.permutations(range(x.ndim))))
    check("Squeeze", x)
    ones = [k - data.draw(st.sampled_from([0, x.ndim])) for k, n in enumerate(x.shape) if n == 1]
    check("Squeeze", x, i64(*ones))
    new = data.draw(st.lists(st.integers(0, x.ndim + 1), min_size=2, max_size=2, unique=True))
    check("Unsqueeze", x, i64(*new))
    check("Unsqueeze", x, i64(new[0] - x.ndim - 2, new[1]))
    check("Flatten", x, axis=data.draw(st.integers(-x.ndim, x.ndim)), steps=None)
    check("Identity", x)


@given(strided(least=1), st.data())
@settings(max_examples=200)
def test_slice(x: np.ndarray, data: st.DataObject) -> None:
    axes = data.draw(st.lists(st.integers(0, x.ndim - 1), max_size=x.ndim, unique=True))
    bound = st.sampled_from([-(2**63), -9, -3, -2, -1, 0, 1, 2, 3, 9, 2**63 - 1])
    starts, ends = ([data.draw(bound) for _ in axes] for _ in range(2))
    steps = [data.draw(st.sampled_from([-3, -2, -1, 1, 2, 7])) for _ in axes]
    signed = [a - data.draw(st.sampled_from([0, x.ndim])) for a in axes]
    check("Slice", x, i64(*starts), i64(*ends), i64(*signed), i64(*steps))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_split(axis: int) -> None:
    x = numbers(6, 5, 4)[:, ::-1]
    n = x.shape[axis]
    check("Split", x, axis=axis, outputs=3, num_outputs=3)
    check("Split", x, i64(1, 0, n - 1), axis=axis, outputs=3)
    assert run_native("Split", x, i64(1, 2), known=(1,), axis=axis, outputs=2) is None


@given(strided(), st.data())
@settings(max_examples=100)
def test_expand(x: np.ndarray, data: st.DataObject) -> None:
    extra = data.draw(st.lists(st.integers(0, 3), max_size=2))
    own = [data.draw(st.integers(0, 3)) if n == 1 else data.draw(st.sampled_from([1, n])) for n in x.shape]
    check("Expand", x, i64(*extra, *own))


def test_expand_has_a_limit_and_refuses_what_does_not_broadcast() -> None:
    assert run_native("Expand", numbers(2, 3), i64(4), known=(1,)) is None
    with pytest.raises(InputError, match="limit"):
        run_native("Expand", numbers(1), i64(1 << 40), known=(1,))


@pytest.mark.parametrize("shape", [(), (0,), (2, 3), (1, 0, 4)])
def test_shape_size_dropout(shape: tuple) -> None:
    x = numbers(*shape)
    check("Shape", x)
    check("Shape", x, start=-1)
    check("Shape", x, start=1, end=-1)
    check("Size", x)
    check("Dropout", x, outputs=2)
    assert run_native("Dropout", x, np.float32(0.5), np.array(True), known=(1, 2)) is None


def test_unknown_contents_are_no_view() -> None:
    x = numbers(2, 3)
    assert run_native("Reshape", x, i64(6)) is None
    assert run_native("Slice", x, i64(0), i64(1)) is None
    assert run_native("Squeeze", x, i64(0)) is None


def test_what_can_be_merged_into_a_step_can_be_through_a_view_of_all_of_it() -> None:
    bound = Bound()
    x = bound.made((2, 1, 3))
    x.producer = bound.emitter.emit("copy", [], 0)
    y = bound.node("Squeeze", x)
    assert y is not None
    assert y.producer is x.producer
    assert y.strides == c_strides((2, 3))
    x.uses = 2
    y = bound.node("Squeeze", x)
    assert y is not None
    assert y.producer is None


VIEWS = [
    [("transpose", (2, 0, -2))],
    [("unsqueeze", (0, -1)), ("squeeze", (0,))],
    [("slice", 1, 2, None, -1), ("slice", -1, 0, 9, 2)],
    [("index", 0, -1), ("transpose", (1, 0)), ("reshape", (0, -1))],
    [("reshape", (-1, 4)), ("index", 1, 3)],
    [("slice", 2, 3, 1, 1), ("reshape", (6, 0))],
]


@pytest.mark.parametrize("views", VIEWS, ids=str)
def test_views_of_a_layer_are_those_of_arrays(views: list) -> None:
    x = numbers(2, 3, 4)
    bound = Bound()
    try:
        want = of_arrays.apply_views(x, views)
    except ValueError:
        with pytest.raises(ValueError, match="fit"):
            apply_views(bound.emitter, bound.input(x), views)
        return
    assert_same(bound.run(apply_views(bound.emitter, bound.input(x), views)), want)


@pytest.mark.parametrize(
    "views",
    [
        [("squeeze", (1,))],
        [("unsqueeze", (0, 0))],
        [("index", 1, 3)],
        [("index", 1, -4)],
        [("reshape", (5, -1))],
        [("reshape", (2, 3, 4, 0))],
    ],
    ids=str,
)
def test_views_that_do_not_fit_a_layers_input_are_refused(views: list) -> None:
    bound = Bound()
    with pytest.raises((ValueError, IndexError)):
        apply_views(bound.emitter, bound.input(numbers(2, 3, 4)), views)


def test_strides_are_for_as_many_elements() -> None:
    with pytest.raises(ValueError, match="different numbers"):
        reshaped_strides((2, 3), (3, 1), (2, 4))


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_evenly_spaced_indices(dtype: type) -> None:
    def found(*values: int, n: int = 10) -> tuple[int, int] | None:
        return evenly(constant(np.array(values, dtype)), n)

    assert found(3) == (3, 0)
    assert found(1, 3, 5) == (1, 2)
    assert found(5, 3, 1) == (5, -2)
    assert found(1, 3, 4) is None
    assert found(1, 2, n=2) is None
    assert found() is None
    assert found(-1, -3) == (9, -2)
    assert found(-1, 0, 1) is None
    assert found(-11) is None
    assert evenly(constant(np.array([[1, 2], [3, 4]], dtype)), 10) == (1, 1)
    assert evenly(constant(np.array([255], np.uint8)), 300) is None
