"""exp, tanh and sigmoid of the core: error in ulp over the whole float32 range, limits, NaN, on every instruction set.

The bounds are those that vmath.h states. Results below the smallest normal number count as zero.
"""

from __future__ import annotations

import numpy as np
import oracle
import pytest

engine = pytest.importorskip("rnnrt._core.engine", reason="the core is not built")

NAMES = ("exp", "tanh", "sigmoid")
BOUND = {"exp": 3.1, "tanh": 4.0, "sigmoid": 3.0}
TAIL, TAIL_BOUND = -20, 6.0
"""Where sigmoid, of 2e-9 and less there, may be further off."""
EXACT = {"exp": np.exp, "tanh": np.tanh, "sigmoid": oracle.sigmoid}
TINY, HUGE = np.finfo("f4").tiny, np.finfo("f4").max


def every_exponent(per_exponent: int = 4200) -> np.ndarray:
    """Random mantissas under each sign and exponent, zeros and denormals included: 2.1 million floats."""
    rng = np.random.default_rng(11)
    mantissa = rng.integers(0, 1 << 23, (2, 255, per_exponent), dtype=np.uint32)
    mantissa[..., 0], mantissa[..., 1] = 0, (1 << 23) - 1
    exponent = np.arange(255, dtype=np.uint32)[:, None] << np.uint32(23)
    sign = np.array([0, 1 << 31], np.uint32)[:, None, None]
    return (sign | exponent | mantissa).view(np.float32).ravel()


def every_float_near(*centres: float, reach: int = 1 << 15) -> np.ndarray:
    """All floats within `reach` ulp of each centre, with both signs."""
    bits = np.array(centres, np.float32).view(np.uint32)[:, None] + np.arange(-reach, reach).astype(np.uint32)
    near = bits.view(np.float32).ravel()
    return np.concatenate([near, -near])


# where range reduction changes its integer, where functions saturate, and where most gates are
LN2 = np.log(2)
CRITICAL = (*(LN2 * (n + 0.5) / m for n in (0, 1, 2, 5, 20) for m in (1, 2)), 0.3, 0.625, 1.0, 2.0, 9.01, 10, 17.3, 20)
CRITICAL += (40.0, 43.66, 87.0, 87.3, 87.336, 88.0, 88.3, 88.7, 88.72, 103.9)


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    linear = np.linspace(-110, 110, 1 << 19, dtype=np.float32)
    return np.concatenate([every_exponent(), every_float_near(*CRITICAL), linear])


def ulps(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """|got - want| in units of the last place of `want`, float64, whose values are normal in float32."""
    return np.abs(got - want) / np.spacing(np.abs(want).astype(np.float32)).astype(np.float64)


def bound(name: str, x: np.ndarray) -> np.ndarray:
    """Most ulp at each x."""
    return np.where((x < TAIL) & (name == "sigmoid"), TAIL_BOUND, BOUND[name])


@pytest.mark.parametrize("name", NAMES)
def test_error(name, isa, points):
    got = engine.apply(name, points, isa=isa)
    assert got.dtype == np.float32
    assert got.shape == points.shape
    assert not np.isnan(got).any()
    with np.errstate(over="ignore", under="ignore"):
        want = EXACT[name](points.astype(np.float64))
    small, large = np.abs(want) < TINY, np.abs(want) > HUGE
    assert np.all(np.abs(got[small]) <= TINY)
    assert np.all(got[large] == np.inf)
    usual = ~small & ~large
    if name == "exp":  # said to be infinite a little early
        usual &= (points <= 88.72) | np.isfinite(got)
    if name == "sigmoid":
        usual &= (points >= -87.33) | (got != 0)
    error = ulps(got[usual], want[usual]) / bound(name, points[usual])
    worst = int(np.argmax(error))
    assert error[worst] <= 1, f"{name}({points[usual][worst]!r}) = {got[usual][worst]!r}, {isa}"


@pytest.mark.parametrize("name", NAMES)
def test_range(name, isa, points):
    got = engine.apply(name, points, isa=isa)
    low = {"exp": 0, "tanh": -1, "sigmoid": 0}[name]
    assert np.all(got >= low)
    assert name == "exp" or np.all(got <= 1)


@pytest.mark.parametrize(
    ("name", "limits"),
    [("exp", (0, 1, 1, np.inf)), ("tanh", (-1, 0, 0, 1)), ("sigmoid", (0, 0.5, 0.5, 1))],
)
def test_limits_and_nan(name, limits, isa):
    at = np.array([-np.inf, -0.0, 0.0, np.inf, np.nan], np.float32)
    got = engine.apply(name, np.tile(at, 9), isa=isa).reshape(9, 5)
    np.testing.assert_array_equal(got[:, :4], np.tile(np.array(limits, np.float32), (9, 1)))
    assert np.isnan(got[:, 4]).all()


@pytest.mark.parametrize("name", NAMES)
def test_far_out_is_the_limit(name, isa):
    x = np.array([-HUGE, -1e30, -200, 200, 1e30, HUGE], np.float32)
    low, high = {"exp": (0, np.inf), "tanh": (-1, 1), "sigmoid": (0, 1)}[name]
    np.testing.assert_array_equal(engine.apply(name, x, isa=isa), np.array([low] * 3 + [high] * 3, np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_bits_do_not_depend_on_the_lane(name, isa):
    x = np.random.default_rng(5).standard_normal(100).astype(np.float32) * 4
    whole = engine.apply(name, x, isa=isa)
    for start in range(5):
        for n in range(70):
            part = engine.apply(name, x[start : start + n].copy(), isa=isa)
            np.testing.assert_array_equal(part.view(np.uint32), whole[start : start + n].view(np.uint32))


@pytest.mark.parametrize("name", NAMES)
def test_instruction_sets_agree(name, points):
    results = [engine.apply(name, points, isa=isa).astype(np.float64) for isa in engine.available()]
    for other in results[1:]:
        usual = np.isfinite(results[0]) & np.isfinite(other) & (np.abs(results[0]) > TINY) & (np.abs(other) > TINY)
        assert np.all(ulps(other[usual], results[0][usual]) <= 2 * bound(name, points[usual]))
