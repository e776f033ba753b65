"""Normalisations and softmax as native steps, against the NumPy tier in float64, on every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bound import Bound, run_native, strided
from ops_util import run_op

SIZES = [1, 2, 3, 5, 8, 15, 16, 17, 33, 70]


def check(
    isa: str, op: str, *inputs: Any, known: tuple[int, ...] = (), parts: int = 1, tolerance: float = 4e-6, **attrs: Any
) -> None:
    """The native answer is the one in float64."""
    got = run_native(op, *inputs, isa=isa, known=known, parts=parts, **attrs)
    want = run_op(op, *(None if x is None else x.astype(np.float64) for x in inputs), **attrs)
    hint = f"{op} {[x.shape for x in inputs if x is not None]} {attrs}"
    assert got is not None, hint
    assert got.shape == want.shape, hint
    scale = max(1, np.abs(want[np.isfinite(want)]).max(initial=0))
    np.testing.assert_allclose(got, want, tolerance, tolerance * scale, err_msg=hint)


def shaped(rng: np.random.Generator, least: int = 1) -> tuple[int, ...]:
    shape = tuple(int(rng.choice(SIZES)) for _ in range(int(rng.integers(least, 5))))
    while np.prod(shape) > 30000:
        shape = shape[1:] if len(shape) > least else (3, 4, 5)
    return shape


def normals(rng: np.random.Generator, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "LpNormalization"])
def test_along_an_axis(isa, op):
    rng = np.random.default_rng(1)
    for trial in range(50):
        x = strided(rng, shaped(rng), trial % 4) * 3
        options = {"p": 1 + trial % 2} if op == "LpNormalization" else {}
        check(isa, op, x, axis=int(rng.integers(-x.ndim, x.ndim)), parts=1 + trial % 3, **options)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [0, 1])
def test_softmax_of_what_is_large_or_not_finite(isa, op, axis):
    x = np.random.default_rng(2).standard_normal((40, 40)).astype(np.float32)
    x[0] += 1e4
    x[1, 3], x[2, 5], x[3, 7] = np.inf, np.nan, -np.inf
    x[4] = -np.inf
    x[5, 6] = -1e30
    with np.errstate(invalid="ignore"):
        check(isa, op, x, axis=axis)
        check(isa, op, np.full((2, 3), -np.inf, np.float32), axis=axis)


def test_lp_norm_of_zeros_is_zero(isa):
    x = np.zeros((3, 19), np.float32)
    x[1] = 2
    for axis in (0, 1):
        check(isa, "LpNormalization", x, axis=axis)


@pytest.mark.parametrize("op", ["LayerNormalization", "RMSNormalization"])
def test_over_the_last_axes(isa, op):
    rng = np.random.default_rng(3)
    for trial in range(40):
        x = strided(rng, shaped(rng), trial % 4) * 3 + 1
        axis = int(rng.integers(-x.ndim, x.ndim))
        whole, last = x.shape[axis:], x.shape[-1:]
        bias = op == "LayerNormalization" and trial % 2
        for shape, known in [(whole, [(), (1,), (1, 2)][trial % 3]), (last, (1, 2)), ((1,), (1, 2))]:
            inputs = normals(rng, shape, shape)[: 1 + bias]
            known = tuple(k for k in known if k <= len(inputs))
            check(isa, op, x, *inputs, known=known, axis=axis, parts=1 + trial % 3, tolerance=2e-5)


def test_statistics_of_a_far_mean(isa):
    x = np.random.default_rng(4).standard_normal((2, 5000)).astype(np.float32) + 1000
    ones = np.ones(5000, np.float32)
    check(isa, "LayerNormalization", x, ones, ones, tolerance=2e-4)


@pytest.mark.parametrize("op", ["InstanceNormalization", "GroupNormalization", "BatchNormalization"])
def test_by_channels(isa, op):
    rng = np.random.default_rng(5)
    for trial in range(40):
        x = strided(rng, shaped(rng, 3), trial % 4) * 2 + 1
        c = x.shape[1]
        scale, bias, mean, spread = normals(rng, *[(c,)] * 4)
        if op == "BatchNormalization":
            check(isa, op, x, scale, bias, mean, spread**2 + np.float32(0.1), known=(1, 2, 3, 4), parts=1 + trial % 3)
            continue
        groups = [g for g in range(1, c + 1) if c % g == 0]
        options = {"num_groups": int(rng.choice(groups))} if op == "GroupNormalization" else {}
        known = (1, 2) if trial % 2 else ()
        check(isa, op, x, scale, bias, known=known, parts=1 + trial % 3, tolerance=1e-4, **options)


def test_batch_normalization_of_few_axes(isa):
    rng = np.random.default_rng(6)
    for shape, c in [((5, 19), 19), ((33,), 1)]:
        x, scale, bias, mean = normals(rng, shape, (c,), (c,), (c,))
        check(isa, "BatchNormalization", x, scale, bias, mean, np.full(c, 0.3, np.float32), known=(1, 2, 3, 4))


def test_not_finite(isa):
    x = np.random.default_rng(7).standard_normal((4, 3, 20)).astype(np.float32)
    x[0, 0, 3], x[1, 1, 7] = np.nan, np.inf
    ones = np.ones(3, np.float32)
    with np.errstate(invalid="ignore"):
        check(isa, "InstanceNormalization", x, ones, ones, tolerance=1e-5)
        check(isa, "LayerNormalization", x, np.ones(20, np.float32), tolerance=1e-5)
        check(isa, "BatchNormalization", x, ones, ones, ones, ones, known=(1, 2, 3, 4))


def test_an_activation_follows(isa):
    rng = np.random.default_rng(8)
    x, scale = normals(rng, (5, 3, 21), (21,))
    channels = normals(rng, (3,), (3,), (3,), (3,))
    channels[3] = np.abs(channels[3])
    for op, inputs in [("LayerNormalization", (x, scale, scale)), ("BatchNormalization", (x, *channels))]:
        bound = Bound(isa)
        y = bound.node(op, *inputs, known=tuple(range(1, len(inputs))))
        y.producer.words[y.producer.epilogue] = 2
        np.testing.assert_allclose(bound.run(y), np.maximum(run_op(op, *inputs), 0), 1e-5, 1e-5)


def test_what_is_left_to_numpy(isa):
    x, one = np.ones((2, 3, 4), np.float32), np.ones(3, np.float32)
    assert run_native("BatchNormalization", x, one, one, one, one, isa=isa, known=(1, 2, 3)) is None
    assert run_native("BatchNormalization", x, one, one, one, one, isa=isa, known=(1, 2, 3, 4), training_mode=1) is None
    assert run_native("LayerNormalization", x, one, isa=isa, axis=1) is None
    assert run_native("Softmax", x.astype(np.float64), isa=isa) is None
    assert run_native("Softmax", x, isa=isa, axis=3) is None
