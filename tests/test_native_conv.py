"""Native convolutions against the NumPy tier, on every instruction set of this processor."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from bound import Bound, run_native
from ops_util import run_op
from oracle import ACTIVATIONS

import rnnrt.native.conv
import rnnrt.native.conv_winograd
import rnnrt.native.pool
from rnnrt._core.windows import Planes, distances, plain, transposed

ORDER = (
    "tanh", "sigmoid", "relu", "affine", "leakyrelu", "thresholdedrelu",
    "scaledtanh", "hardsigmoid", "elu", "softsign", "softplus",
)  # fmt: skip
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 65, 70)


def attributes(rng: np.random.Generator, rank: int, transposed: bool) -> dict[str, Any]:
    """Random window attributes."""
    attrs: dict[str, Any] = {
        "strides": [int(s) for s in rng.choice((1, 1, 2, 3, 4), rank)],
        "dilations": [int(d) for d in rng.choice((1, 1, 2, 3), rank)],
    }
    auto = rng.choice(("pads", "SAME_UPPER", "SAME_LOWER", "VALID"), p=(0.7, 0.1, 0.1, 0.1))
    if auto == "pads":
        attrs["pads"] = [int(p) for p in rng.integers(0, 4, 2 * rank)]
    else:
        attrs["auto_pad"] = str(auto)
    if transposed and rng.random() < 0.4:
        attrs["output_padding"] = [int(rng.integers(0, s)) for s in attrs["strides"]]
    return attrs


def strided(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers, sometimes as a view that is not contiguous."""
    x = rng.standard_normal(shape).astype(np.float32)
    kind = rng.integers(0, 5)
    if kind == 0:
        return np.ascontiguousarray(x.swapaxes(1, -1)).swapaxes(1, -1)
    if kind == 1:
        big = np.full((*shape[:-1], shape[-1] + 3), np.nan, np.float32)
        big[..., 1:-2] = x
        return big[..., 1:-2]
    if kind == 2:
        return x[..., ::-1]
    return x


def case(seed: int, transposed: bool) -> tuple[list[np.ndarray | None], dict[str, Any]] | None:
    """Operands and attributes of a convolution, or None where they leave no output."""
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 3))
    group = int(rng.choice((1, 1, 1, 2, 3, 8)))
    c, m = (int(v) for v in rng.choice((1, 2, 3, 5, 8, 17, 33), 2))
    if group == 8:
        c = m = 1
    sizes = tuple(int(n) for n in rng.choice(SIZES, rank))
    if rank == 2 and sizes[0] > 17:
        sizes = (5, sizes[1])
    kernel = tuple(int(k) for k in rng.integers(1, 6, rank))
    attrs = attributes(rng, rank, transposed)
    x = strided(rng, (int(rng.integers(1, 4)), c * group, *sizes))
    w_shape = (c * group, m, *kernel) if transposed else (m * group, c, *kernel)
    w = rng.standard_normal(w_shape).astype(np.float32)
    b = rng.standard_normal(m * group).astype(np.float32) if rng.random() < 0.7 else None
    return [x, w, b], {**attrs, "group": group}


def expected(op: str, inputs: list[np.ndarray | None], attrs: dict[str, Any]) -> np.ndarray | None:
    """The answer in float64, or None where the NumPy tier says that there is none."""
    try:
        return run_op(op, *(None if a is None else a.astype(np.float64) for a in inputs), **attrs)
    except Exception:
        return None


def close(got: np.ndarray, want: np.ndarray, inputs: list[np.ndarray | None]) -> None:
    assert got.shape == want.shape
    terms = max(1, inputs[1].size // inputs[1].shape[0]) if len(inputs) > 1 else 1
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=2e-6 * (terms + 3))


@pytest.mark.parametrize("tiling", ["chosen", "positions", "bands", "channels"])
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_convolutions(isa: str, tiling: str, op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random shapes and attributes, with either tiling, padded as a whole and by bands, run whole and in parts."""
    if tiling != "chosen":
        monkeypatch.setattr(rnnrt.native.conv, "cheaper", lambda positions, channels: tiling != "channels")
    if tiling == "bands":
        monkeypatch.setattr(rnnrt.native.conv, "CACHED", 100)
    tried = 0
    for seed in range(60):
        inputs, attrs = case(seed, op == "ConvTranspose")
        want = expected(op, inputs, attrs)
        if want is None or not want.size:
            continue
        bound = Bound(isa, threads=3)
        y = bound.node(op, *inputs, known=(1, 2) if seed % 2 else (1,), **attrs)
        assert y is not None
        whole = bound.run(y)
        close(whole, want, inputs)
        assert np.array_equal(bound.run(y, parts=3), whole), "bits depend on the number of parts"
        tried += 1
    assert tried > 30


PATCHED = list(
    itertools.product((1, 2, 3), (1, 3, 17, 40), (2, 3, 4, 7), (2, 3, 5, 16, 17, 33, 70), (1, 7, 16, 17, 70))
)
"""Images, channels, rows and columns of outputs, output channels."""


@pytest.mark.parametrize("room", [1 << 18, 1500, 20000])
def test_patches(isa: str, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions of 3x3 taps by patches, in one group and in many, whole and in parts."""
    monkeypatch.setattr(rnnrt.native.conv, "sparing", lambda patches, sums: True)
    monkeypatch.setattr(rnnrt.native.conv_winograd, "ROOM", room)
    for seed, (n, c, height, width, m) in enumerate(PATCHED[room % 7 :: 7]):
        rng = np.random.default_rng(seed)
        pads = [int(p) for p in rng.integers(0, 3, 4)]
        h, w = height + 2 - pads[0] - pads[2], width + 2 - pads[1] - pads[3]
        if h < 3 or w < 3 or c == m == 1:
            continue
        x, weights = strided(rng, (n, c, h, w)), rng.standard_normal((m, c, 3, 3)).astype(np.float32)
        b = rng.standard_normal(m).astype(np.float32) if seed % 3 else None
        bound = Bound(isa, threads=3)
        y = bound.node("Conv", x, weights, b, known=(1, 2), pads=pads)
        assert [step.op for step in bound.steps] == ["conv_winograd"]
        inputs = [x, weights, b]
        whole = bound.run(y)
        close(whole, expected("Conv", inputs, {"pads": pads}), inputs)
        assert np.array_equal(bound.run(y, parts=3), whole), "bits depend on the number of parts"
        y.producer.words[y.producer.epilogue] = ORDER.index("relu")
        np.testing.assert_array_equal(bound.run(y), np.maximum(whole, 0))


def test_patches_keep_what_is_not_finite_to_the_outputs_that_read_it(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where sums of finite inputs would overflow; weights that are not finite are left to sums over taps."""
    rng = np.random.default_rng(7)
    for bad in (np.nan, np.inf, -np.inf, 3.1e38):
        x = rng.standard_normal((2, 5, 9, 23)).astype(np.float32)
        w, b = rng.standard_normal((19, 5, 3, 3)).astype(np.float32) * 0.1, rng.standard_normal(19).astype(np.float32)
        x[0, 2, 4, 6:8] = x[1, 4, 0, 22] = bad
        found = []
        for patches in (True, False):
            monkeypatch.setattr(rnnrt.native.conv, "sparing", lambda a, b, patches=patches: patches)
            bound = Bound(isa)
            y = bound.node("Conv", x, w, b, known=(1, 2), pads=[1, 1, 1, 1])
            assert (bound.steps[-1].op == "conv_winograd") == patches
            found.append(bound.run(y))
        np.testing.assert_array_equal(np.isnan(found[0]), np.isnan(found[1]))
        np.testing.assert_array_equal(np.isinf(found[0]), np.isinf(found[1]))
        np.testing.assert_allclose(found[0], found[1], 1e-5, 1e-5)
    monkeypatch.setattr(rnnrt.native.conv, "sparing", lambda a, b: True)
    for weights in (np.where(w > 0.1, bad, w) for bad in (np.nan, np.inf, 1e37)):
        bound = Bound(isa)
        bound.node("Conv", x, weights.astype(np.float32), b, known=(1, 2), pads=[1, 1, 1, 1])
        assert bound.steps[-1].op != "conv_winograd"


def test_whole_numbers_are_summed_exactly(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of quantised numbers, which are of whole floats, never go by patches."""
    monkeypatch.setattr(rnnrt.native.conv, "sparing", lambda a, b: True)
    rng = np.random.default_rng(8)
    x, w = (rng.integers(-255, 256, s).astype(np.float32) for s in ((1, 20, 12, 19), (33, 20, 3, 3)))
    bound = Bound(isa)
    y = bound.node("Conv", x, w, known=(1,), pads=[1, 1, 1, 1])
    assert bound.steps[-1].op != "conv_winograd"
    np.testing.assert_array_equal(bound.run(y), expected("Conv", [x, w], {"pads": [1, 1, 1, 1]}))


@pytest.mark.parametrize("height", [2, 3, 4, 7])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_taps_in_the_padding_above_and_below_are_left_out(isa: str, height: int, dilation: int, stride: int) -> None:
    """Rows of outputs as phases that share their weights, whole and in parts."""
    rng = np.random.default_rng(height)
    x, b = rng.standard_normal((2, 40, height, 9)).astype(np.float32), rng.standard_normal(70).astype(np.float32)
    attrs = {"pads": [1, 1, 1, 1], "strides": [stride, 1], "dilations": [dilation, 1]}
    if dilation == 2:
        attrs["pads"] = [2, 1, 2, 1]
    for group in (1, 2):
        w = rng.standard_normal((70, 40 // group, 3, 3)).astype(np.float32)
        bound = Bound(isa, threads=3)
        y = bound.node("Conv", x, w, b, known=(1,), group=group, **attrs)
        whole = bound.run(y)
        close(whole, run_op("Conv", *(a.astype(np.float64) for a in (x, w, b)), group=group, **attrs), [x, w, b])
        assert np.array_equal(bound.run(y, parts=3), whole), "bits depend on the number of parts"


def test_phases_inside_an_axis_are_what_its_outputs_read() -> None:
    split = 0
    for n, k, stride, dilation, begin in itertools.product((1, 2, 3, 5, 8), (1, 2, 3, 5), (1, 2, 3), (1, 2), (0, 1, 2)):
        out = (n + 2 * begin - (k - 1) * dilation - 1) // stride + 1
        if out < 1:
            continue
        (phase,) = plain(n, k, stride, dilation, begin, out)
        parts = phase.inside(n)
        assert sum(p.count for p in parts) == out
        split += len(parts) > 1
        for part in parts:
            for i in range(part.count):
                taps = [(part.tap + t, part.start + t * part.start_step + i * part.stride) for t in range(part.n_taps)]
                at = (part.first + i) * stride - begin
                want = [(t, at + t * dilation) for t in range(k) if 0 <= at + t * dilation < n]
                assert taps == want, (n, k, stride, dilation, begin)
    assert split > 50


@pytest.mark.parametrize("activation", range(11))
def test_activations(isa: str, activation: int) -> None:
    """A merged activation gives what it gives on the plain result."""
    function, *defaults = ACTIVATIONS[ORDER[activation]]
    given = {
        k: float(np.float32(v))
        for k, v, d in zip(("alpha", "beta"), (0.3, 0.7), defaults, strict=True)
        if d is not None
    }
    for shape, w_shape, attrs in [
        ((1, 3, 40), (9, 3, 3), {}),
        ((2, 20, 1), (33, 20, 1), {}),
        ((1, 4, 5, 7), (4, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    ]:
        rng = np.random.default_rng(activation)
        inputs = [rng.standard_normal(s).astype(np.float32) for s in (shape, w_shape, w_shape[:1])]
        bound = Bound(isa, threads=3)
        plain, merged = (bound.node("Conv", *inputs, known=(1, 2), **attrs) for _ in range(2))
        step = merged.producer
        step.words[step.epilogue : step.epilogue + 3] = [activation, 0.3, 0.7]
        want = function(bound.run(plain).astype(np.float64), **given)
        np.testing.assert_allclose(bound.run(merged), want, rtol=1e-6, atol=1e-6)


def test_what_is_left_to_numpy() -> None:
    """Weights that are not known, other types, more axes, indices of maxima."""
    x, w = np.zeros((1, 2, 9), np.float32), np.zeros((3, 2, 3), np.float32)
    assert run_native("Conv", x, w) is None
    assert run_native("Conv", x.astype(np.float64), w.astype(np.float64), known=(1,)) is None
    assert run_native("Conv", x[..., None, None], w[..., None, None], known=(1,)) is None
    assert run_native("MaxPool", x, kernel_shape=[2], outputs=2) is None


@pytest.mark.parametrize("stride", [1 << 33, 5000])
def test_strides_past_the_input(isa, stride):
    """A stride decides nothing where there is one window, and a large one costs no loop over it."""
    x = np.random.default_rng(4).standard_normal((1, 2, 3, 5)).astype(np.float32)
    w = np.random.default_rng(5).standard_normal((2, 1, 2, 3)).astype(np.float32)
    for pads in ([0, 0, 0, 0], [0, 1, 0, 2]):
        attrs = {"strides": [stride, stride], "pads": pads}
        want = run_op("MaxPool", x, kernel_shape=[2, 3], **attrs)
        np.testing.assert_allclose(run_native("MaxPool", x, isa=isa, kernel_shape=[2, 3], **attrs), want)
        want = run_op("Conv", x, w, group=2, **attrs)
        np.testing.assert_allclose(run_native("Conv", x, w, isa=isa, known=(1,), group=2, **attrs), want, 1e-5)


@pytest.mark.parametrize("parts", [1, 3])
def test_panels_that_are_taken_in_pieces(isa, parts):
    """Thousands of taps: sums wait in memory between pieces of them, and come out as if they had not."""
    rng = np.random.default_rng(6)
    x = rng.standard_normal((1, 1200, 14, 15)).astype(np.float32)
    w = (rng.standard_normal((40, 1200, 3, 3)) * 0.02).astype(np.float32)
    b = rng.standard_normal(40).astype(np.float32)
    got = run_native("Conv", x, w, b, isa=isa, known=(1, 2), parts=parts, pads=[1, 1, 1, 1])
    np.testing.assert_allclose(got, run_op("Conv", x, w, b, pads=[1, 1, 1, 1]), 1e-4, 1e-4)


def test_numbers_that_taps_cannot_hold_are_left_to_numpy() -> None:
    """No phases, so that nothing is computed of them in 64 bits."""
    many = 1 << 62
    assert plain(5, 3, 1, many, 0, 3) == ()
    assert plain(5, 3, 1, 1, many, 3) == ()
    assert plain(5, 3, 1, 1, 0, many) == ()
    assert transposed(5, 3, 1, many, 0, 3) == ()
    assert transposed(5, 3, 5000, 1, 0, 20000) == ()
    assert len(transposed(5, 3, 5000, 1, 0, 7)) == 7
    (phase,) = plain(5, 3, many, 1, 0, 1)
    assert phase.stride == 1
    x = Bound().made((1, 2, 3, 5))
    lines = plain(3, 1, 1, 1, 0, 3), plain(5, 3, 1, 1, 0, 3)
    assert Planes(x, 1, 2, 3, 5, (30, 15, 5, 1)).fit(*lines, 16)
    assert not Planes(x, 1, 2, 3, 5, (30, 1 << 32, 5, 1)).fit(*lines, 16), "channels too far apart for distances"
    assert not Planes(x, 1, 2, 3, 5, (30, 15, 5, 1)).fit(lines[0], plain(5, 3, 1, 1, 1 << 29, 1 << 29), 16)


@pytest.mark.parametrize("rows_first", [False, True])
def test_distances_of_taps(rows_first: bool) -> None:
    (rows,), (columns,) = plain(7, 3, 1, 2, 0, 3), plain(9, 2, 3, 1, 0, 3)
    planes = Planes(Bound().made((1, 4, 7, 9)), 1, 4, 7, 9, (400, 100, 10, 1), 1, 2, 3, 5)
    table = planes.taps(4, rows, columns)
    want = np.zeros((4, 3, 2), int)
    for c, t, u in np.ndindex(want.shape):
        at = u + 2
        want[c, t, u] = c * 100 + (1 + 2 * t) * 10 + at % 3 * 5 + at // 3
    want = want.swapaxes(0, 1) if rows_first else want
    got = distances(table + table, rows_first)
    assert got.dtype == np.int32
    assert got.tolist() == [*want.ravel(), *want.ravel(), *[0] * 16]
