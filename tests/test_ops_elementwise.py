"""Element-wise operators, activations and casts against ``onnx.reference``, and the facts it does not tell."""

from __future__ import annotations

import math
import warnings

import ml_dtypes
import numpy as np
import pytest
from ops_util import assert_same, make_node, random_array, run_op, run_reference

from rnnrt.errors import InputError, UnsupportedError
from rnnrt.ops.limits import quiet
from rnnrt.ops.registry import OPERATORS

BF16 = ml_dtypes.bfloat16
FLOATS = (np.float32, np.float64, np.float16, BF16)
INTS = (np.int32, np.int64, np.int8, np.uint8, np.uint32)
NUMBERS = (*FLOATS, *INTS)
SHAPES = [(), (0,), (1,), (7,), (2, 0, 3), (5, 1, 4)]
PAIRS = [((), ()), ((), (3,)), ((1,), ()), ((2, 0, 3), (3,)), ((4, 1, 3), (2, 1)), ((5,), (2, 3, 1)), ((2, 3), (2, 3))]

# The reference evaluator fails on scalars here, and has constants in float32 there.
NO_SCALARS = {"Softsign"}
ROUGH = {"Erf", "Gelu", "HardSwish"}

UNARY = [
    *((op, NUMBERS, (-4, 4), {}) for op in ("Abs", "Neg", "Sign")),
    *((op, FLOATS, (-4, 4), {}) for op in ("Ceil", "Floor", "Round", "Exp", "Sin", "Cos", "Tan")),
    *((op, FLOATS, (-4, 4), {}) for op in ("Sinh", "Cosh", "Tanh")),
    *((op, FLOATS, (-9, 9), {}) for op in ("Sigmoid", "Atan", "Asinh", "Relu", "Softplus", "Softsign", "Erf", "Mish")),
    *((op, FLOATS, (-0.9, 0.9), {}) for op in ("Asin", "Acos", "Atanh")),
    *((op, FLOATS, (1.1, 9), {}) for op in ("Acosh", "Log", "Sqrt", "Reciprocal")),
    ("Not", (bool,), (0, 1), {}),
    *(("BitwiseNot", (t,), (-4, 4), {}) for t in INTS),
    ("IsNaN", FLOATS, (-4, 4), {}),
    ("IsInf", FLOATS, (-4, 4), {}),
    ("Elu", FLOATS, (-4, 4), {"alpha": 0.75}),
    ("Celu", FLOATS, (-4, 4), {"alpha": 1.75}),
    ("Selu", FLOATS, (-4, 4), {"alpha": 1.125, "gamma": 2.0}),
    ("Selu", FLOATS, (-4, 4), {}),
    ("LeakyRelu", FLOATS, (-4, 4), {"alpha": 0.25}),
    ("LeakyRelu", FLOATS, (-4, 4), {"alpha": -1.5}),
    ("ThresholdedRelu", FLOATS, (-4, 4), {"alpha": 0.5}),
    ("HardSigmoid", FLOATS, (-4, 4), {"alpha": 0.3125, "beta": 0.375}),
    ("HardSwish", FLOATS, (-4, 4), {}),
    ("Swish", FLOATS, (-4, 4), {"alpha": 0.75}),
    ("Gelu", FLOATS[:2], (-4, 4), {}),
    ("Gelu", FLOATS[:2], (-4, 4), {"approximate": "tanh"}),
    ("Shrink", (*FLOATS[:3], np.int32), (-4, 4), {"lambd": 1.5, "bias": 1.0}),
]


@pytest.mark.parametrize(("op", "dtypes", "span", "attrs"), UNARY, ids=lambda v: v if isinstance(v, str) else "")
def test_unary_operator_agrees_with_the_reference(op: str, dtypes: tuple, span: tuple, attrs: dict) -> None:
    rng = np.random.default_rng(1)
    for dtype in dtypes:
        if op == "Neg" and np.dtype(dtype).kind == "u":
            continue
        for shape in SHAPES:
            x = random_array(rng, shape, dtype, *span)
            want = run_reference(op, x if shape or op not in NO_SCALARS else x[None], **attrs)[0].reshape(shape)
            tolerance = 1e-6 if op in ROUGH and dtype is np.float64 else None
            assert_same(run_op(op, x, **attrs), want, f"{op} {x.dtype}{shape}", tolerance)


BINARY = [
    *((op, NUMBERS) for op in ("Add", "Sub", "Mul", "Max", "Min", "Sum", "Greater", "LessOrEqual")),
    *((op, (*NUMBERS, bool)) for op in ("Equal",)),
    *((op, FLOATS) for op in ("Mean", "Div", "Pow", "PRelu", "Mod")),
    *((op, (bool,)) for op in ("And", "Or", "Xor")),
    *((op, INTS) for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")),
]


@pytest.mark.parametrize(("op", "dtypes"), BINARY, ids=lambda v: v if isinstance(v, str) else "")
def test_binary_operator_agrees_with_the_reference(op: str, dtypes: tuple) -> None:
    rng = np.random.default_rng(2)
    low = 0.5 if op in ("Pow", "Mod") else -4
    for dtype in dtypes:
        for left, right in PAIRS:
            if op in ("PRelu", "Mean") and np.broadcast_shapes(left, right) != left:
                continue
            a, b = random_array(rng, left, dtype, low), random_array(rng, right, dtype, low)
            assert_same(run_op(op, a, b), run_reference(op, a, b)[0], f"{op} {a.dtype} {left} {right}")


def test_variadic_operators_take_one_and_many() -> None:
    rng = np.random.default_rng(3)
    arrays = [random_array(rng, shape, np.float32) for shape in ((2, 3), (3,), (1, 1), ())]
    for op in ("Max", "Min", "Sum", "Mean"):
        for n in (1, 3, 4):
            assert_same(run_op(op, *arrays[:n]), run_reference(op, *arrays[:n])[0], f"{op} of {n}")


def test_integer_division_truncates() -> None:
    a, b = np.array([7, -7, 7, -7, 6, -6], np.int32), np.array([2, 2, -2, -2, 3, 3], np.int32)
    np.testing.assert_array_equal(run_op("Div", a, b), [3, -3, -3, 3, 2, -2])
    assert run_op("Div", np.array(200, np.uint8), np.array(7, np.uint8)).dtype == np.uint8
    assert run_op("Div", np.array(-128, np.int8), np.array(-1, np.int8)) == np.int8(-128)


@pytest.mark.parametrize("dtype", INTS)
def test_integer_division_by_zero_is_told(dtype) -> None:
    for op, attrs in (("Div", {}), ("Mod", {}), ("Mod", {"fmod": 1})):
        for a, b in ((np.arange(3), np.arange(3)), (np.arange(3), np.array(0)), (np.array(3), np.arange(3))):
            with pytest.raises(InputError, match=f"{op} 'node': an integer was divided by zero"):
                run_op(op, a.astype(dtype), b.astype(dtype), **attrs)
        assert run_op(op, np.zeros(0, dtype), np.zeros(1, dtype), **attrs).shape == (0,)


def test_mod_follows_the_divisor_or_the_dividend() -> None:
    a, b = np.array([-4, 7, 5, 4, -7, 8], np.int64), np.array([2, -3, 8, -2, 3, 5], np.int64)
    np.testing.assert_array_equal(run_op("Mod", a, b), [0, -2, 5, 0, 2, 3])
    np.testing.assert_array_equal(run_op("Mod", a, b, fmod=1), [0, 1, 5, 0, -1, 3])
    x = np.array([np.inf, 1, 1, -1, np.nan, -3.5], np.float32)
    y = np.array([1, 0, np.inf, np.inf, 1, 2], np.float32)
    assert_same(run_op("Mod", x, y), np.array([np.nan, np.nan, 1, np.inf, np.nan, 0.5], np.float32))
    assert_same(run_op("Mod", x, y, fmod=1), np.array([np.nan, np.nan, 1, -1, np.nan, -1.5], np.float32))


def test_pow_has_the_dtype_of_its_base() -> None:
    for base, exponent, want in [
        (np.array([2, -3], np.float32), np.array(2, np.int64), [4, 9]),
        (np.array([2, 3], np.float32), np.array([3, 2], np.float64), [8, 9]),
        (np.array([2, 3], np.int32), np.array([3, 2], np.int64), [8, 9]),
        (np.array([4, 9], np.int32), np.array(0.5, np.float32), [2, 3]),
        (np.array([2, 1, -1], np.int64), np.array([-1, -1, -3], np.int64), [0, 1, -1]),
        (np.array([2], np.float16), np.array([3], np.float32), [8]),
        (np.array(3.0, np.float64), np.array([2], np.int32), [9]),
        (np.array([3.0], BF16), np.array(2, BF16), [9]),
    ]:
        y = run_op("Pow", base, exponent)
        assert y.dtype == base.dtype
        np.testing.assert_array_equal(y.astype(float), want)


def test_extrema_pass_nan_on() -> None:
    a, b = np.array([np.nan, 1, 2], np.float32), np.array([1, np.nan, 3], np.float32)
    for op in ("Max", "Min"):
        np.testing.assert_array_equal(np.isnan(run_op(op, a, b)), [True, True, False])
    assert np.isnan(run_op("Relu", a)[0])
    assert np.isnan(run_op("Clip", a, np.float32(0), np.float32(1))[0])


def test_clip_bounds() -> None:
    x = np.array([-5, 0, 5, np.inf], np.float32)
    low, high = np.float32(-1), np.float32(2)
    np.testing.assert_array_equal(run_op("Clip", x, low, high), [-1, 0, 2, 2])
    np.testing.assert_array_equal(run_op("Clip", x, low), [-1, 0, 5, np.inf])
    np.testing.assert_array_equal(run_op("Clip", x, None, high), [-5, 0, 2, 2])
    np.testing.assert_array_equal(run_op("Clip", x, high, low), [-1] * 4)
    np.testing.assert_array_equal(run_op("Clip", x), x)
    assert run_op("Clip", x.astype(np.float16), low, high).dtype == np.float16
    assert run_op("Clip", np.array(3, np.int8), np.array([5], np.int8)).shape == ()


def test_bitshift_outside_of_the_width() -> None:
    x, y = np.array([-8, 8, -1, 4], np.int32), np.array([1, 1, 40, -1], np.int32)
    np.testing.assert_array_equal(run_op("BitShift", x, y, direction="RIGHT"), [-4, 4, -1, 0])
    np.testing.assert_array_equal(run_op("BitShift", x, y, direction="LEFT"), [-16, 16, 0, 0])
    with pytest.raises(UnsupportedError, match="direction"):
        run_op("BitShift", x, y, direction="UP")


def test_isinf_by_sign() -> None:
    x = np.array([-np.inf, np.inf, 0, np.nan], np.float32)
    np.testing.assert_array_equal(run_op("IsInf", x), [1, 1, 0, 0])
    np.testing.assert_array_equal(run_op("IsInf", x, detect_negative=0), [0, 1, 0, 0])
    np.testing.assert_array_equal(run_op("IsInf", x, detect_positive=0), [1, 0, 0, 0])
    np.testing.assert_array_equal(run_op("IsInf", x, detect_positive=0, detect_negative=0), [0] * 4)


def test_where_and_equal_of_strings() -> None:
    a, b = np.array(["x", "y"], object), np.array(["x", "z"], object)
    np.testing.assert_array_equal(run_op("Equal", a, b), [True, False])
    assert run_op("Where", np.array([[True], [False]]), a, b).tolist() == [["x", "y"], ["x", "z"]]
    assert run_op("Where", np.array(True), np.float32(1), np.float32(2)).dtype == np.float32


def test_sigmoid_over_the_whole_range() -> None:
    x = np.concatenate([np.linspace(-120, 120, 4001), [np.inf, -np.inf, 3.4e38, -3.4e38, 0.0]]).astype(np.float32)
    want = np.array([1 / (1 + math.exp(-v)) if v > -700 else 0.0 for v in x.astype(float)])
    y = run_op("Sigmoid", x)
    normal = want > 2**-126
    assert np.abs(y[normal] / want[normal] - 1).max() < 4e-7
    assert np.abs(y - want)[~normal].max() <= 2**-126
    assert np.isnan(run_op("Sigmoid", np.float32(np.nan)))


def test_softplus_and_mish_do_not_overflow() -> None:
    x = np.array([-200, -1, 0, 1, 200, np.inf], np.float32)
    assert_same(run_op("Softplus", x), np.array([0, 0.31326169, 0.69314718, 1.31326169, 200, np.inf], np.float32))
    assert np.isfinite(run_op("Mish", x[:5])).all()


def test_erf_within_one_ulp() -> None:
    x = np.concatenate([np.linspace(-6, 6, 3001), np.geomspace(1e-30, 1, 200), [np.inf, -np.inf]]).astype(np.float32)
    want = np.array([math.erf(v) for v in x.astype(float)])
    y = run_op("Erf", x)
    assert (np.abs(y - want) <= 1.0 * np.spacing(np.abs(want).astype(np.float32)) + 1e-45).all()
    assert np.isnan(run_op("Erf", np.float32(np.nan)))
    assert_same(run_op("Erf", x.astype(float)), np.array([math.erf(v) for v in x.astype(float)]), tolerance=1e-15)


CASTS = (*NUMBERS, bool, np.int16, np.uint64)


@pytest.mark.parametrize("target", CASTS, ids=lambda t: np.dtype(t).name)
def test_cast_among_numbers(target: type) -> None:
    from onnx import helper

    rng, code = np.random.default_rng(4), helper.np_dtype_to_tensor_dtype(np.dtype(target))
    for source in CASTS:
        x = random_array(rng, (3, 4), source, 0, 4)
        y = run_op("Cast", x, to=code)
        assert_same(y, run_reference("Cast", x, to=code)[0], f"{np.dtype(source)} to {np.dtype(target)}")
        assert_same(run_op("CastLike", x, np.zeros(1, target)), y)
    assert run_op("Cast", np.array(200, np.int16), to=3) == np.int8(-56)
    assert run_op("Cast", np.array([0.5, -0.0, np.nan], np.float32), to=9).tolist() == [True, False, True]


def test_cast_to_8_bit_floats_saturates() -> None:
    from onnx import TensorProto, helper

    x = np.array([0, -0.0, 1.3, -470, 1e9, np.inf, -np.inf, np.nan, 448, 57344], np.float32)
    for name in ("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"):
        code = TensorProto.DataType.Value(name)
        top = float(ml_dtypes.finfo(helper.tensor_dtype_to_np_dtype(code)).max)
        y = run_op("Cast", x, to=code).astype(np.float32)
        np.testing.assert_array_equal(y[[3, 4, 5, 6]], [max(-448, -top) if top < 470 else y[3], top, top, -top])
        assert np.isnan(y[7])
        assert not np.isfinite(run_op("Cast", x, to=code, saturate=0).astype(np.float32)[[4, 5, 6, 7]]).any()


def test_cast_of_strings() -> None:
    words = np.array(["3.5", "-1e3", "+INF", "nan", "007"], object)
    y = run_op("Cast", words, to=1)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, np.array([3.5, -1000, np.inf, np.nan, 7], np.float32))
    whole = run_op("Cast", np.array(["9007199254740993", "100.5"]), to=7)
    np.testing.assert_array_equal(whole, [9007199254740993, 100])
    assert run_op("Cast", np.array([1.5, np.nan, -np.inf], np.float32), to=8).tolist() == ["1.5", "nan", "-inf"]
    assert run_op("Cast", np.array([0.1], np.float32), to=8).tolist() == ["0.1"]
    assert run_op("Cast", np.array([True, False]), to=8).tolist() == ["True", "False"]
    with pytest.raises(InputError, match="Hello"):
        run_op("Cast", np.array(["Hello"], object), to=1)
    with pytest.raises(InputError, match="node"):
        run_op("Cast", np.array(["300"], object), to=3)


def test_bitcast_keeps_the_bits() -> None:
    x = np.array([1.0, -0.0], np.float32)
    np.testing.assert_array_equal(run_op("BitCast", x, to=12), np.array([0x3F800000, 0x80000000], np.uint32))
    np.testing.assert_array_equal(run_op("BitCast", np.float16(1), to=16).view(np.uint16), 0x3C00)
    with pytest.raises(InputError, match="as wide as"):
        run_op("BitCast", x, to=11)


EXTREME = np.array([0, -0.0, 1, -1, 1e30, -1e30, 3e38, -3e38, 1e-45, np.inf, -np.inf, np.nan, 89, -104], np.float32)


def test_no_warnings_and_no_writes() -> None:
    """Operators of one or two float32 tensors run silently on the extremes, in the state that callers provide."""
    unary = {row[0] for row in UNARY} - {"Not", "BitwiseNot"}
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("error")
        for op in unary:
            OPERATORS["", op].build(make_node(op, 1))(EXTREME)
        for op in ("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Max", "Min", "Mean", "PRelu", "SwiGLU"):
            OPERATORS["", op].build(make_node(op, 2))(EXTREME[:, None], EXTREME)
        for to in (2, 3, 6, 7, 9, 10, 16):
            OPERATORS["", "Cast"].build(make_node("Cast", 1, to=to))(EXTREME)
