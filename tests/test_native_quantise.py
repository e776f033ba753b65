"""QuantizeLinear and DequantizeLinear as native steps, bit for bit as the NumPy tier."""

from __future__ import annotations

import numpy as np
import pytest
from bound import check_exactly, run_native, strided

SHAPES = [(1,), (3,), (17,), (4, 5), (3, 1, 33), (2, 5, 3, 7)]


def parameters(rng: np.random.Generator, shape: tuple[int, ...], dtype: type) -> tuple[np.ndarray, np.ndarray]:
    info = np.iinfo(dtype)
    scale = np.asarray(rng.uniform(0.01, 0.05, shape), np.float32)
    return scale, np.asarray(rng.integers(info.min, info.max, shape, endpoint=True), dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("form", ["none", "scalar", "one", "axis", "last"])
def test_there_and_back(isa: str, dtype: type, form: str) -> None:
    rng = np.random.default_rng(1)
    for trial, shape in enumerate(SHAPES):
        axis = {"axis": 0, "last": -1}.get(form, 1 % len(shape))
        size = (shape[axis],) if form in ("axis", "last") else (1,) if form == "one" else ()
        scale, zero = parameters(rng, size, dtype)
        given = [scale] if form == "none" else [scale, zero]
        x = strided(rng, shape, trial % 4) * 2
        check_exactly("QuantizeLinear", isa, x, *given, axis=axis)
        info = np.iinfo(dtype)
        q = rng.integers(info.min, info.max, shape, endpoint=True).astype(dtype)
        check_exactly("DequantizeLinear", isa, q, *given, axis=axis)


def test_int32_and_what_does_not_fit(isa: str) -> None:
    rng = np.random.default_rng(2)
    sums = rng.integers(-(2**20), 2**20, (3, 5)).astype(np.int32)
    check_exactly("DequantizeLinear", isa, sums, np.float32(0.3))
    x = np.array([np.inf, -np.inf, 1e30, -1e30, 0.5, 1.5, -0.5, 2.5], np.float32)
    check_exactly("QuantizeLinear", isa, x, np.float32(1), np.uint8(3))
    check_exactly("QuantizeLinear", isa, x, np.float32(1), np.int8(-3))


def test_forms_that_numpy_runs() -> None:
    x, scale = np.zeros((4, 6), np.float32), np.ones((4, 3), np.float32)
    assert run_native("QuantizeLinear", x, scale, axis=1, block_size=2) is None
    assert run_native("QuantizeLinear", x, np.float32(1), np.int16(0)) is None
    assert run_native("QuantizeLinear", x, np.ones(5, np.float32), axis=1) is None
    assert run_native("DequantizeLinear", x.astype(np.uint8), np.float16(1)) is None
