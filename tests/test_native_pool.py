"""Pools as native steps, alone and in the convolution before them, against the NumPy tier, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from bound import LANES, Bound, run_native
from ops_util import run_op
from test_native_conv import SIZES, attributes, close, expected, strided

import rnnrt.native.conv
import rnnrt.native.conv_winograd

WAYS = {"positions": "conv_positions", "bands": "conv_positions", "patches": "conv_winograd"}
HALVES = {"kernel_shape": [2, 2], "strides": [2, 2]}


@pytest.mark.parametrize("way", WAYS)
def test_convolutions_pool_their_outputs(isa: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conv, an activation or none, and the largest of each 2x2 are one step, with the answers of three."""
    monkeypatch.setattr(rnnrt.native.conv, "cheaper", lambda positions, channels: True)
    monkeypatch.setattr(rnnrt.native.conv, "sparing", lambda patches, sums: way == "patches")
    monkeypatch.setattr(rnnrt.native.conv, "POOLING", 1e9)
    monkeypatch.setattr(rnnrt.native.conv_winograd, "ROOM", 1500)
    if way == "bands":
        monkeypatch.setattr(rnnrt.native.conv, "CACHED", 100)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        kernel = (3, 3) if way == "patches" else [(2, 2), (3, 3), (1, 3), (5, 4)][seed % 4]
        groups = 1 if way == "patches" else 1 + seed % 2
        stride = 2 if way == "positions" and seed % 5 == 0 else 1
        channels, m = groups * int(rng.integers(1, 5)), groups * int(rng.choice([2, 5, 8, 17, 70]))
        high, wide = int(rng.integers(2, 12)), int(rng.choice([0, 1, 2, 5, 31, 33])) + 2 * LANES[isa]
        pads = [int(p) for p in rng.integers(0, 3, 4)]
        size = [
            max(stride * (n - 1) + k - sum(pads[a::2]), 1)
            for a, (n, k) in enumerate(zip((high, wide), kernel, strict=True))
        ]
        x = strided(rng, (1 + seed % 2, channels, *size))
        if seed % 7 == 0:
            x[0, 0, size[0] // 2, size[1] // 2] = np.nan
        weights = rng.standard_normal((m, channels // groups, *kernel)).astype(np.float32)
        inputs = [x, weights, rng.standard_normal(m).astype(np.float32) if seed % 3 else None]
        attrs = {"pads": pads, "group": groups, "strides": [stride, stride]}
        want = expected("Conv", inputs, attrs)
        assert want is not None
        bound, activation = Bound(isa, threads=3), [None, "Relu", "Tanh"][seed % 3]
        y = bound.node("Conv", *inputs, known=(1, 2), **attrs)
        if activation is not None:
            y, want = bound.node(activation, y), run_op(activation, want)
        y = bound.node("MaxPool", y, **HALVES)
        assert [step.op for step in bound.steps] == [WAYS[way]]
        whole = bound.run(y)
        close(whole, run_op("MaxPool", want, **HALVES), inputs)
        assert np.array_equal(bound.run(y, parts=3), whole, equal_nan=True), "bits depend on the number of parts"


def test_convolutions_that_do_not_pool_their_outputs(isa: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 3, 6, 2 * LANES[isa] + 2)).astype(np.float32)
    weights = rng.standard_normal((8, 3, 1, 3)).astype(np.float32)
    narrow, square = x[..., : LANES[isa] + 2], {"kernel_shape": [2, 2]}
    for given, uses, attrs in [
        (narrow, 1, HALVES),
        (x, 2, HALVES),
        (x, 1, square),
        (x, 1, {**square, "strides": [2, 1]}),
        (x, 1, {**HALVES, "pads": [1, 0, 0, 0]}),
        (x, 1, {"kernel_shape": [3, 3], "strides": [2, 2]}),
    ]:
        bound = Bound(isa)
        y = bound.node("Conv", given, weights, known=(1,), uses=uses)
        pooled = bound.node("MaxPool", y, **attrs)
        assert [step.op for step in bound.steps][-1] == "pool"
        want = run_op("MaxPool", run_op("Conv", given.astype(np.float64), weights.astype(np.float64)), **attrs)
        np.testing.assert_allclose(bound.run(pooled), want, rtol=1e-5, atol=1e-5)
    bound = Bound(isa)
    turned = bound.node("Transpose", bound.node("Conv", x, weights, known=(1,)), perm=[0, 1, 3, 2])
    bound.node("MaxPool", turned, **HALVES)
    assert "pool" in [step.op for step in bound.steps]


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_pools(isa: str, op: str) -> None:
    """Random windows; NaN goes through as in NumPy."""
    tried = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        rank = int(rng.integers(1, 3))
        sizes = tuple(int(n) for n in rng.choice(SIZES[: 15 if rank == 1 else 10], rank))
        x = strided(rng, (2, 3, *sizes))
        if seed % 3 == 0:
            x[0, 0, ..., 0] = np.nan
        attrs = {**attributes(rng, rank, False), "kernel_shape": [int(k) for k in rng.integers(2, 6, rank)]}
        if op == "AveragePool":
            attrs["count_include_pad"] = int(rng.integers(0, 2))
        if rng.random() < 0.5:
            attrs["ceil_mode"] = 1
        want = expected(op, [x], attrs)
        if want is None or not want.size:
            continue
        bound = Bound(isa, threads=3)
        y = bound.node(op, x, **attrs)
        if y is None:
            continue
        with np.errstate(invalid="ignore"):
            close(bound.run(y), want, [x])
        assert np.array_equal(bound.run(y), bound.run(y, parts=3), equal_nan=True)
        tried += 1
    assert tried > 40


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(("columns", "stride"), [(2, 2), (3, 2), (5, 2), (4, 4), (3, 4), (1, 3), (3, 3), (7, 5)])
def test_windows_apart_are_read_where_they_lie(isa: str, op: str, columns: int, stride: int) -> None:
    rng = np.random.default_rng(columns)
    for more in (0, 1, 3, 8, 17, 40):
        width = stride * (64 + more) + columns  # of more outputs than any instruction set has lanes
        for height in (3, 6):
            x = rng.standard_normal((2, 3, height, width)).astype(np.float32)
            x[0, 1, 2, width - columns] = np.nan
            for base in (x, np.ascontiguousarray(np.moveaxis(x, 1, 2)).transpose(0, 2, 1, 3)):
                bound = Bound(isa, threads=2)
                y = bound.node(op, base, kernel_shape=[2, columns], strides=[2, stride])
                assert [step.op for step in bound.emitter.steps] == ["pool"]
                want = run_op(op, base.astype(np.float64), kernel_shape=[2, columns], strides=[2, stride])
                np.testing.assert_allclose(bound.run(y), want, rtol=1e-6, atol=1e-6)
                assert np.array_equal(bound.run(y), bound.run(y, parts=2), equal_nan=True)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_windows_that_cover_rows_are_one_row(isa: str, op: str) -> None:
    rng = np.random.default_rng(0)
    for height, width, columns, stride in [(40, 8, 4, 4), (70, 4, 2, 2), (33, 6, 2, 3), (64, 5, 1, 1), (50, 12, 3, 4)]:
        attrs = {"kernel_shape": [1, columns], "strides": [1, stride]}
        x = rng.standard_normal((2, 3, height, width)).astype(np.float32)
        bound = Bound(isa)
        y = bound.node(op, x, **attrs)
        assert [step.op for step in bound.emitter.steps] == ["pool"]
        np.testing.assert_allclose(bound.run(y), run_op(op, x.astype(np.float64), **attrs), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools(isa: str, op: str) -> None:
    for seed, n in enumerate((*SIZES, 200)):
        rng = np.random.default_rng(seed)
        x = strided(rng, (2, 3, 2, n))
        got = run_native(op, x, isa=isa, parts=3)
        np.testing.assert_allclose(got, run_op(op, x.astype(np.float64)), rtol=1e-5, atol=1e-6)
