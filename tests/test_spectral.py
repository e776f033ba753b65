"""STFT in NumPy against a sum over its definition, and as native steps against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bound import Bound, run_native
from ops_util import run_op, run_reference
from text_models import parsed

import rnnrt
from rnnrt.errors import InputError


def signal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def defined(x: np.ndarray, step: int, window: np.ndarray, bins: int) -> np.ndarray:
    """Y as the operator's text has it, of a complex signal (B, L)."""
    n = len(window)
    count = (x.shape[1] - n) // step + 1
    waves = np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(bins)) / n)
    frames = np.stack([x[:, f * step : f * step + n] for f in range(count)], axis=1)
    y = (frames * window.astype(np.float64)) @ waves
    return np.stack([y.real, y.imag], axis=-1)


@pytest.mark.parametrize("n", [1, 2, 5, 16, 31])
@pytest.mark.parametrize("step", [1, 4, 40])
@pytest.mark.parametrize("onesided", [0, 1])
def test_the_definition(n: int, step: int, onesided: int) -> None:
    x, window = signal(2, 67), signal(n)
    bins = n // 2 + 1 if onesided else n
    want = defined(x, step, window, bins)
    for given in (x, x[:, :, None]):
        got = run_op("STFT", given, np.int64(step), window, onesided=onesided)
        np.testing.assert_allclose(got, want, 1e-5, 1e-5)
        assert np.array_equal(run_op("STFT", given, np.int64(step), window, np.int64(n), onesided=onesided), got)
    got = run_op("STFT", x, np.int64(step), None, np.int64(n), onesided=onesided)
    np.testing.assert_allclose(got, defined(x, step, np.ones(n), bins), 1e-5, 1e-5)


def test_a_complex_signal() -> None:
    x, window = signal(2, 40, 2), signal(8)
    want = defined(x[..., 0] + 1j * x[..., 1], 3, window, 8)
    np.testing.assert_allclose(run_op("STFT", x, np.int64(3), window, onesided=0), want, 1e-5, 1e-5)
    with pytest.raises(InputError, match="complex"):
        run_op("STFT", x, np.int64(3), window)


def test_the_reference_agrees() -> None:
    x, window = signal(2, 40, 1), signal(8)
    want = run_reference("STFT", x, np.int64(3), window, np.int64(8))[0]
    np.testing.assert_allclose(run_op("STFT", x, np.int64(3), window), want, 1e-4, 1e-5)


@pytest.mark.parametrize("n", [1, 2, 7, 16, 33, 160])
@pytest.mark.parametrize("how", ["row", "column", "step", "backwards", "no window", "all bins"])
def test_native(isa: str, n: int, how: str) -> None:
    for batch, length, step in ((1, n, 1), (3, n + 9, 2), (2, 3 * n + 1, max(n // 2, 1))):
        x: np.ndarray = signal(batch, 2 * length)
        x = {"step": x[:, ::2], "backwards": x[:, length - 1 :: -1]}.get(how, x[:, :length])
        x = x[:, :, None] if how == "column" else x
        rest: list[Any] = [np.int64(step), None if how == "no window" else signal(n)]
        rest += [np.int64(n)] if how == "no window" else []
        attrs = {"onesided": 0} if how == "all bins" else {}
        bound = Bound(isa, threads=2)
        y = bound.node("STFT", x, *rest, known=(1, 2, 3), **attrs)
        assert y is not None
        assert [step.op for step in bound.steps] == ["gemm"]
        want = run_op("STFT", x.astype(np.float64), *rest, **attrs)
        np.testing.assert_allclose(bound.run(y), want, 1e-5, 1e-6 * n)


def test_what_is_not_native() -> None:
    x, window = signal(2, 4000), signal(8)
    assert run_native("STFT", x, np.int64(3), window, known=(2,)) is None
    assert run_native("STFT", x, np.int64(3), window, known=(1,)) is None
    assert run_native("STFT", x.astype(np.float64), np.int64(3), window, known=(1, 2)) is None
    assert run_native("STFT", x, np.int64(3), None, np.int64(2000), known=(1, 2, 3)) is None


@pytest.mark.parametrize(
    ("shape", "step", "n", "text"),
    [((9,), 1, 4, "signal"), ((1, 9, 3), 1, 4, "signal"), ((1, 9), 0, 4, "frame_step"), ((1, 9), 1, 5, "window")],
)
def test_what_does_not_fit_is_refused(shape: tuple[int, ...], step: int, n: int, text: str) -> None:
    with pytest.raises(InputError, match=text):
        run_op("STFT", signal(*shape), np.int64(step), signal(4), np.int64(n))
    with pytest.raises(InputError, match="window"):
        run_op("STFT", signal(1, 9), np.int64(1))


def test_a_model_that_hands_on_its_signal_as_pytorch_writes_it() -> None:
    window = ", ".join(["0.5"] * 16)
    model = rnnrt.load(
        parsed(
            "(float[B, L] x) => (float[B, F, 9, 2] y) { step = Constant <value_int = 4> ()"
            f" window = Constant <value = float[16] {{{window}}}> () y = STFT <onesided = 1> (x, step, window) }}"
        )
    )
    x = signal(2, 64)
    np.testing.assert_allclose(model.run({"x": x})["y"], defined(x, 4, np.full(16, 0.5), 9), 1e-5, 1e-5)
    assert model.run({"x": x[:, :7]})["y"].shape == (2, 0, 9, 2)
