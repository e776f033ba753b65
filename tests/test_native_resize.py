"""Resize and TopK as native steps against the NumPy operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bound import Bound, run_native
from ops_util import run_op
from test_native_views import i64, numbers

from rnnrt.errors import InputError

MODES = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]


@pytest.mark.parametrize("coordinates", MODES)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("shape", [(1, 2, 5), (2, 3, 4, 7), (1, 1, 3, 33)], ids=str)
def test_resize(isa: str, mode: str, coordinates: str, shape: tuple) -> None:
    x = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    attrs = {"mode": mode, "coordinate_transformation_mode": coordinates}
    for scale in (2.0, 0.6, 1.0, 3.5):
        scales = np.array([1, 1, *[scale] * (len(shape) - 2)], np.float32)
        for data in (x, x.transpose(1, 0, *range(2, x.ndim)), x[..., ::-1]):
            got = run_native("Resize", data, None, scales, known=(2,), isa=isa, **attrs)
            np.testing.assert_array_equal(got, run_op("Resize", data, None, scales, **attrs))
    sizes = i64(*shape[:2], *[6] * (len(shape) - 2))
    got = run_native("Resize", x, None, None, sizes, known=(3,), isa=isa, **attrs)
    np.testing.assert_array_equal(got, run_op("Resize", x, None, None, sizes, **attrs))


def test_resize_of_other_types(isa: str) -> None:
    x, scales = numbers(1, 2, 5).astype(np.int8), np.float32([1, 1, 2])
    np.testing.assert_array_equal(run_native("Resize", x, None, scales, known=(2,), isa=isa), x.repeat(2, -1))
    assert run_native("Resize", x, None, scales, known=(2,), isa=isa, mode="linear") is None
    assert run_native("Resize", x, None, scales, isa=isa) is None
    bound = Bound(isa)
    np.testing.assert_array_equal(bound.run(bound.node("Resize", x, None, np.float32([1, 1, 1]), known=(2,))), x)
    assert not bound.steps
    with pytest.raises(InputError):
        run_native("Resize", x, None, np.float32([1, 2]), known=(2,), isa=isa)


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_top_k(isa: str, axis: int, largest: int) -> None:
    rng = np.random.default_rng(4)
    x = rng.integers(-4, 4, (5, 6, 9)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    x[rng.random(x.shape) < 0.1] = -np.inf
    whole = rng.integers(-4, 4, (5, 6, 9))
    for data in (x, -x[::-1, :, ::2], x.astype(np.float64), whole, whole.astype(np.int32)):
        for k in range(min(6, data.shape[axis] + 1)):
            args: Any = (data, np.array([k]))
            got = run_native("TopK", *args, known=(1,), outputs=2, isa=isa, axis=axis, largest=largest)
            want = run_op("TopK", *args, outputs=2, axis=axis, largest=largest)
            for g, w in zip(got, want, strict=True):
                np.testing.assert_array_equal(g, w, strict=True)
    assert run_native("TopK", x, np.array([99]), known=(1,), outputs=2, isa=isa) is None
    assert run_native("TopK", x.astype(np.float16), np.array([2]), known=(1,), outputs=2, isa=isa) is None
