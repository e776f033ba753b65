"""Element-wise native steps against the NumPy tier: every operation, sizes round the vectors and blocks, broadcasting
and strides of any kind, chains, limits, guard bytes; on every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bound import Bound
from hypothesis import given
from hypothesis import strategies as st
from ops_util import run_op

SIZES = (0, 1, 3, 4, 7, 8, 9, 15, 16, 17, 33, 511, 512, 513, 1100)
SPECIAL = np.array(
    [0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 1e30, -1e30, 2.5, -2.5, 0.5, 88, -88, 1e-30, 100], np.float32
)
INTEGER_TYPES = (np.int64, np.int32, np.int8, np.uint8)

UNARY: list[tuple[str, dict[str, Any], tuple[float, float]]] = [
    *((op, {}, (-9, 9)) for op in ("Neg", "Abs", "Sign", "Floor", "Ceil", "Round", "Exp", "Sin", "Cos", "Tan", "Atan")),
    *(
        (op, {}, (-9, 9))
        for op in ("Sinh", "Cosh", "Asinh", "Erf", "Mish", "Sigmoid", "Tanh", "Relu", "Softplus", "Softsign")
    ),
    *((op, {}, (-1, 1)) for op in ("Asin", "Acos", "Atanh")),
    *((op, {}, (0, 90)) for op in ("Sqrt", "Log", "Reciprocal", "IsNaN", "IsInf")),
    ("Acosh", {}, (1, 90)),
    ("IsInf", {"detect_negative": 0}, (-1, 1)),
    ("IsInf", {"detect_positive": 0}, (-1, 1)),
    ("LeakyRelu", {}, (-4, 4)),
    ("LeakyRelu", {"alpha": -1.5}, (-4, 4)),
    ("Elu", {"alpha": 0.75}, (-9, 9)),
    ("Selu", {}, (-9, 9)),
    ("Celu", {"alpha": 1.75}, (-9, 9)),
    ("Celu", {"alpha": -1.5}, (-9, 9)),
    ("HardSigmoid", {"alpha": 0.3125, "beta": 0.375}, (-4, 4)),
    ("HardSwish", {}, (-4, 4)),
    ("Swish", {"alpha": 0.75}, (-9, 9)),
    ("Gelu", {}, (-6, 6)),
    ("Gelu", {"approximate": "tanh"}, (-6, 6)),
    ("ThresholdedRelu", {"alpha": 0.5}, (-4, 4)),
    ("Shrink", {"lambd": 1.5, "bias": 1.0}, (-4, 4)),
]

# How far the two tiers may be from each other, in ulp; 2 for what is not named.
ULPS = {
    "Exp": 4,
    "Sigmoid": 5,
    "Tanh": 5,
    "Mish": 12,
    "Elu": 5,
    "Selu": 6,
    "Celu": 8,
    "Swish": 6,
    "Gelu": 8,
    "Softplus": 4,
}
# What one of them loses at most where it subtracts numbers that are nearly equal, or meets denormals on the way.
LOSES = {"Gelu": 1e-6, "Celu": 2e-7, "Mish": 1e-36}


def close(got: np.ndarray, want: np.ndarray, ulps: float = 2, hint: str = "", margin: float = 0) -> None:
    """Same shape, type, NaN and infinities; numbers within so many ulp and a margin, denormals counting as zero."""
    assert got.shape == want.shape, hint
    assert got.dtype == want.dtype, hint
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, hint)
        return
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want), hint)
    exact = (got == want) | np.isnan(want)
    with np.errstate(invalid="ignore"):
        far = ~exact & ~(np.abs(got.astype(np.float64) - want) <= ulps * np.spacing(np.abs(want)) + margin + 1e-37)
    assert not far.any(), f"{hint}: got {got[far][:5]}, expected {want[far][:5]}"


def values(shape: Any, low: float = -4, high: float = 4, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    """Random numbers of a type; truth values for bool."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype) == bool:
        return np.asarray(rng.integers(0, 2, shape), bool)
    if np.dtype(dtype).kind in "iu":
        return np.asarray(rng.integers(max(low, 0) if np.dtype(dtype).kind == "u" else low, high + 1, shape)).astype(
            dtype
        )
    return np.asarray(rng.uniform(low, high, shape)).astype(dtype)


@pytest.mark.parametrize(("op", "attrs", "span"), UNARY)
def test_functions_of_one_operand(op: str, attrs: dict, span: tuple, isa: str) -> None:
    for size in SIZES:
        x = values(size, *span, seed=size)
        bound = Bound(isa)
        want = run_op(op, x, **attrs)
        close(bound.run(bound.node(op, x, **attrs)), want, ULPS.get(op, 2), f"{op}[{size}]", LOSES.get(op, 0))


@pytest.mark.parametrize(("op", "attrs", "span"), UNARY)
def test_limits_of_functions_of_one_operand(op: str, attrs: dict, span: tuple, isa: str) -> None:
    bound = Bound(isa)
    with np.errstate(all="ignore"):
        close(
            bound.run(bound.node(op, SPECIAL, **attrs)),
            run_op(op, SPECIAL, **attrs),
            ULPS.get(op, 2),
            op,
            LOSES.get(op, 0),
        )


BINARY = [
    *((op, np.float32) for op in ("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Max", "Min", "Sum", "Mean", "PRelu")),
    *((op, np.float32) for op in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal")),
    *((op, t) for op in ("Add", "Sub", "Mul", "Max", "Min", "Div", "Mod") for t in INTEGER_TYPES),
    *((op, t) for op in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal") for t in INTEGER_TYPES),
    *((op, t) for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor") for t in INTEGER_TYPES),
    *((op, bool) for op in ("And", "Or", "Xor", "Equal")),
]
PAIRS = [
    ((), ()),
    ((5,), ()),
    ((), (19,)),
    ((1,), (1,)),
    ((1, 1), (1,)),
    ((257, 2), (257, 1)),
    ((5, 40, 3), (40, 3)),
    ((0, 3), (3,)),
    ((40, 16), (16,)),
    ((40, 33), (40, 1)),
    ((3, 40, 7), (40, 1)),
    ((3, 300), (3, 1)),
    ((3, 700), (700,)),
    ((2, 1, 5), (3, 1)),
    ((4, 3, 2, 5), (3, 1, 5)),
    ((2, 3, 600), (2, 1, 600)),
    ((1100,), (1100,)),
]


def operands(op: str, dtype: Any, shapes: Any, seed: int = 3) -> list[np.ndarray]:
    low, high = (0.5, 4) if op in ("Pow", "Mod") and dtype is np.float32 else (-4, 4)
    arrays = [values(shape, low, high, seed + k, dtype) for k, shape in enumerate(shapes)]
    if op in ("Div", "Mod") and dtype is not np.float32:
        arrays[-1][arrays[-1] == 0] = 3
    return arrays


@pytest.mark.parametrize(("op", "dtype"), BINARY)
def test_broadcasting_of_two_operands(op: str, dtype: Any, isa: str) -> None:
    for shapes in PAIRS:
        for pair in (shapes, shapes[::-1]):
            if op == "PRelu" and pair[0] != np.broadcast_shapes(*pair):
                continue
            a, b = operands(op, dtype, pair)
            bound = Bound(isa)
            attrs = {"fmod": 1} if op == "Mod" and dtype is np.float32 and pair is shapes else {}
            close(bound.run(bound.node(op, a, b, **attrs)), run_op(op, a, b, **attrs), 2, f"{op} {a.dtype} {pair}")


@pytest.mark.parametrize("op", ["Add", "Div", "Max", "Min", "Pow", "Mod", "PRelu", "Less", "GreaterOrEqual", "Equal"])
def test_limits_of_functions_of_two_operands(op: str, isa: str) -> None:
    a, b = (np.ascontiguousarray(x) for x in np.broadcast_arrays(SPECIAL[:, None], SPECIAL))
    bound = Bound(isa)
    with np.errstate(all="ignore"):
        close(bound.run(bound.node(op, a, b)), run_op(op, a, b), 2, op)


def test_division_by_zero_is_told(isa: str) -> None:
    for op in ("Div", "Mod"):
        bound = Bound(isa)
        with pytest.raises(ValueError, match="divided by zero"):
            bound.run(bound.node(op, np.arange(5), np.array([1, 2, 0, 4, 5])))


def test_extreme_integers_wrap(isa: str) -> None:
    for dtype in (np.int64, np.int32, np.int8):
        low = np.iinfo(dtype).min
        x = np.array([low, -low - 1, -7, 7], dtype)
        one = np.array([-1, -1, 2, -2], dtype)
        for op in ("Add", "Mul", "Sub", "Div", "Mod"):
            bound = Bound(isa)
            with np.errstate(all="ignore"):
                close(bound.run(bound.node(op, x, one)), run_op(op, x, one), hint=f"{op} {dtype}")
        for op in ("Neg", "Abs", "Sign", "BitwiseNot"):
            bound = Bound(isa)
            close(bound.run(bound.node(op, x)), run_op(op, x), hint=f"{op} {dtype}")


@pytest.mark.parametrize("power", [2, -1, 0.5, 0, 1, 3, 4, -0.7, 7 / 3, -2, 0.3])
def test_constant_powers(power: float, isa: str) -> None:
    for dtype in (np.float32, np.int64):
        if dtype is np.int64 and power != int(power):
            continue
        exponent = np.array(power, dtype)
        for x in (
            values(517, 0.01, 50),
            SPECIAL[~np.isneginf(SPECIAL)],
        ):  # NumPy does not agree with itself on (-inf)^0.5
            bound = Bound(isa)
            y = bound.node("Pow", x, bound.constant(exponent))
            with np.errstate(all="ignore"):
                close(bound.run(y), run_op("Pow", x, exponent), 3, f"Pow {power}")


def test_clip(isa: str) -> None:
    x = np.concatenate([values(600), SPECIAL])
    for low, high in [(-1, 2), (None, 0.5), (0.5, None), (3, -3), (None, None), (np.nan, 1)]:
        bounds = [None if b is None else np.array(b, np.float32) for b in (low, high)]
        for known in (True, False):
            bound = Bound(isa)
            given = [b if b is None or not known else bound.constant(b) for b in bounds]
            close(bound.run(bound.node("Clip", x, *given)), run_op("Clip", x, *bounds), 0, f"{low} {high} {known}")
    whole = np.arange(-5, 6)
    bound = Bound(isa)
    close(bound.run(bound.node("Clip", whole, np.array([-2]), np.array(3))), np.clip(whole, -2, 3))


def test_where(isa: str) -> None:
    for dtype in (np.float32, bool, *INTEGER_TYPES):
        for shapes in [
            ((600,), (600,), (600,)),
            ((40, 1), (7,), ()),
            ((), (3, 5), (5,)),
            ((2, 3, 1), (2, 1, 700), (1,)),
        ]:
            c = values(shapes[0], dtype=bool)
            x, y = values(shapes[1], seed=1, dtype=dtype), values(shapes[2], seed=2, dtype=dtype)
            bound = Bound(isa)
            close(bound.run(bound.node("Where", c, x, y)), run_op("Where", c, x, y), 0)


CASTS = (np.float32, np.float64, np.int64, np.int32, np.int8, np.uint8, bool)


def test_casts(isa: str) -> None:
    from onnx import helper

    for source in CASTS:
        for target in CASTS:
            x = values((3, 299), -100, 100, dtype=source)
            if target is np.uint8 and np.dtype(source).kind in "f":
                x = np.abs(x)
            to = helper.np_dtype_to_tensor_dtype(np.dtype(target))
            for array in (x, x[:, ::3]):
                bound = Bound(isa)
                y = bound.node("Cast", bound.input(array), to=to)
                if y is None:
                    assert (source, target) == (np.float64, bool)
                    continue
                close(bound.run(y) if source != target else array, run_op("Cast", array, to=to), 0)


@pytest.mark.parametrize("op", ["Max", "Min", "Sum", "Mean"])
def test_many_operands(op: str, isa: str) -> None:
    for count in (2, 3, 8, 9, 20):
        arrays = [values(((), (7,), (40, 1))[k % 3], seed=k) for k in range(count)]
        bound = Bound(isa)
        close(bound.run(bound.node(op, *arrays)), run_op(op, *arrays), 4, f"{op} of {count}")


def test_a_chain_is_one_step(isa: str) -> None:
    for shape in ((1,), (37,), (40, 16), (3, 5, 300)):
        x, row = values(shape), values(shape[-1:], seed=1)
        bound = Bound(isa)
        y = bound.node("Add", x, row)
        y = bound.node("Sigmoid", y)
        y = bound.node("Mul", x, y)
        y = bound.node("Where", bound.node("Less", y, np.array(0.25, np.float32)), row, y)
        want = x * run_op("Sigmoid", x + row)
        bound.run(y)
        # y above has two uses, so it is computed by itself
        assert len(bound.steps) <= 2
        close(bound.run(y), np.where(want < 0.25, np.broadcast_to(row, shape), want), 6, str(shape))


def test_a_value_of_two_uses_is_computed_once(isa: str) -> None:
    x = values(70)
    bound = Bound(isa)
    y = bound.node("Exp", x, uses=2)
    z = bound.node("Mul", bound.node("Add", y, x), y)
    close(bound.run(z), (np.exp(x) + x) * np.exp(x), 12)
    assert len(bound.steps) == 2
    assert y.buffer is not None


def test_a_smaller_value_is_not_recomputed(isa: str) -> None:
    x, gain = values((4, 50)), values((4, 1), seed=1)
    bound = Bound(isa)
    y = bound.node("Mul", x, bound.node("Exp", gain))
    close(bound.run(y), x * np.exp(gain), 6)
    assert len(bound.steps) == 2


def test_long_chains_are_cut(isa: str) -> None:
    x = values(40, -1, 1)
    arrays = [values(40, seed=k) for k in range(30)]
    bound = Bound(isa)
    y, want = bound.input(x), x
    for k, array in enumerate(arrays):
        op = ("Add", "Mul", "Sub")[k % 3]
        y = bound.node(op, y, array) if k % 2 else bound.node(op, array, y)
        want = run_op(op, want, array) if k % 2 else run_op(op, array, want)
    got = bound.run(y)
    np.testing.assert_array_equal(got, want)
    assert len(bound.steps) == 5


def test_balanced_trees_have_registers_enough(isa: str) -> None:
    leaves = [values((40, 3), seed=k)[:, ::-1] for k in range(8)]
    bound = Bound(isa)
    level, want = [bound.node("Neg", x) for x in leaves], [-x for x in leaves]
    while len(level) > 1:
        level = [bound.node("Sub", a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
        want = [a - b for a, b in zip(want[::2], want[1::2], strict=True)]
    np.testing.assert_array_equal(bound.run(level[0]), want[0])
    assert len(bound.steps) == 1


def test_parts_give_the_same_bits(isa: str) -> None:
    a, b, c = values((3, 7, 600)), values((7, 1), seed=1), values((3, 1, 600), seed=2)
    answers = []
    for parts in (1, 2, 3, 7, 64):
        bound = Bound(isa)
        y = bound.node("Tanh", bound.node("Add", bound.node("Mul", a, b), c))
        answers.append(bound.run(y, parts=parts))
    assert all(x.tobytes() == answers[0].tobytes() for x in answers)


@st.composite
def views(draw: Any) -> tuple[np.ndarray, ...]:
    """Two or three arrays that broadcast, with strides of every kind."""
    rank = draw(st.integers(0, 4))
    shape = [draw(st.sampled_from((1, 2, 3, 5, 17, 40))) for _ in range(rank)]
    arrays = []
    for k in range(draw(st.integers(2, 3))):
        own = [n if draw(st.integers(0, 3)) else 1 for n in shape][draw(st.integers(0, rank)) if rank else 0 :]
        order = draw(st.permutations(range(len(own))))
        steps = [draw(st.sampled_from((1, 1, 1, 2, -1, -3))) for _ in own]
        memory = values([own[i] * abs(steps[i]) for i in order], seed=k + 10)
        x = memory.transpose(np.argsort(order) if order else ())
        x = x[(*(slice(None, None, s) for s in steps), ...)]
        if own and draw(st.integers(0, 5)) == 0:
            x = np.broadcast_to(x[:1], x.shape)
        arrays.append(np.asarray(x))
    return tuple(arrays)


@given(arrays=views(), op=st.sampled_from(("Add", "Max", "Less", "Where", "Int")))
def test_any_strides_and_shapes(arrays: tuple[np.ndarray, ...], op: str, isa: str) -> None:
    a, b, *rest = arrays
    bound = Bound(isa)
    if op == "Int":
        a, b = (10 * a).astype(np.int32), (10 * b).astype(np.int64)
        to = 7
        y = bound.node("Sub", bound.node("Cast", bound.input(a), to=to), bound.input(b))
        want = a.astype(np.int64) - b
    elif op == "Where" and rest:
        y = bound.node(
            "Where", bound.node("Less", bound.input(a), bound.input(b)), bound.input(rest[0]), bound.input(a)
        )
        want = np.where(a < b, rest[0], a)
    else:
        op = "Add" if op == "Where" else op
        y, want = bound.node(op, bound.input(a), bound.input(b)), run_op(op, a, b)
        for c in rest:
            if want.dtype == np.float32:
                y, want = bound.node("Mul", bound.input(c), y), c * want
    np.testing.assert_array_equal(bound.run(y), want)


def test_an_activation_goes_to_the_step_before(isa: str) -> None:
    bound = Bound(isa)
    x = bound.input(values(8))
    step = bound.emitter.emit("copy", [-1, 0.0, 0.0], 1)
    step.epilogue, x.producer = 0, step
    y = bound.node("Elu", x, alpha=0.5)
    assert y is x
    assert y.uses == 1
    assert step.words == [8, 0.5, 0.0]
    z = bound.node("Relu", y)
    assert z is not x
    assert step.words[0] == 8


def test_an_activation_stays_where_others_see_its_operand(isa: str) -> None:
    bound = Bound(isa)
    x = bound.input(values(8), uses=2)
    step = bound.emitter.emit("copy", [-1, 0.0, 0.0], 1)
    step.epilogue, x.producer = 0, step
    assert bound.node("Relu", x) is not x
    assert step.words[0] == -1


def test_unknown_forms_are_left_to_others() -> None:
    bound = Bound("baseline")
    assert bound.node("Add", np.zeros(3), np.zeros(3)) is None
    assert bound.node("Add", np.zeros(3, np.float32), np.zeros(4, np.float32)) is None
    assert bound.node("Tanh", np.zeros(3, np.float16)) is None
    assert len(bound.steps) == 0
