"""Binders of the element-wise operators: arithmetic, comparisons, logic, choices and casts.

Floats (and truth values) go into chains of float32 (`chain`), which later nodes may join; integers are computed by
steps of their own. The numbers of operations follow the enumerations in op_elementwise.h and op_integers.h.
"""

from __future__ import annotations

import math

import numpy as np

from ..graph import Node
from ..ops.common import dtype_of
from .chain import LEAF, OPERANDS, TYPES, Op, Tokens, broadcast_shape, chain, now
from .emitter import FLOAT, Emitter
from .product import add_bias
from .registry import native
from .tensor import Tensor

BOOL, INT64, DOUBLE = np.dtype(np.bool_), np.dtype(np.int64), np.dtype(np.float64)
INTEGERS = frozenset(np.dtype(t) for t in (np.int64, np.int32, np.int8, np.uint8))

_F32 = """
copy is_true neg abs sqrt reciprocal square sign floor ceil round not is_nan is_inf relu sigmoid tanh exp log sin
cos tan asin acos atan sinh cosh asinh acosh atanh erf softplus softsign mish gelu gelu_tanh leaky_relu
thresholded_relu elu selu celu hard_sigmoid hard_swish swish clip shrink power_of integer_power add sub mul div min
max pow mod fmod prelu less less_or_equal equal xor where"""
_I64 = """
copy is_true neg abs sign not invert add sub mul div min max mod fmod less less_or_equal equal and or xor where"""

F32 = {name: code for code, name in enumerate(_F32.split())}
I64 = {name: code for code, name in enumerate(_I64.split())}


def f32(name: str, alpha: float = 0.0, beta: float = 0.0, arity: int = 1, cost: int = 1) -> Op:
    """An operation of op_elementwise.h."""
    return Op(F32[name], arity, alpha, beta, cost)


def unary(op: Op) -> Tokens:
    """The expression of one operation on one operand."""
    return (LEAF, op)


def binary(op: Op) -> Tokens:
    """The expression of one operation on two operands."""
    return (LEAF, LEAF, op)


FLOAT_UNARY = {
    **{
        name: unary(f32(name.lower()))
        for name in ("Neg", "Abs", "Sqrt", "Reciprocal", "Sign", "Floor", "Ceil", "Round")
    },
    **{name: unary(f32(name.lower(), cost=8)) for name in ("Exp", "Log", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan")},
    **{name: unary(f32(name.lower(), cost=8)) for name in ("Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Erf", "Mish")},
}
INTEGER_UNARY = {name: unary(Op(I64[name.lower()])) for name in ("Neg", "Abs", "Sign")}
INTEGER_UNARY["BitwiseNot"] = unary(Op(I64["invert"]))

FLOAT_BINARY = {name: binary(f32(name.lower(), arity=2)) for name in ("Add", "Sub", "Mul", "Div")}
INTEGER_BINARY = {name: binary(Op(I64[name.lower()], 2)) for name in ("Add", "Sub", "Mul", "Div")}
INTEGER_BINARY |= {f"Bitwise{name}": binary(Op(I64[name.lower()], 2)) for name in ("And", "Or", "Xor")}

COMPARISONS = {"Less": "less", "LessOrEqual": "less_or_equal", "Equal": "equal"}
COMPARISONS |= {"Greater": "less", "GreaterOrEqual": "less_or_equal"}  # with their operands swapped
FLOAT_COMPARISON = {name: binary(f32(op, arity=2)) for name, op in COMPARISONS.items()}
INTEGER_COMPARISON = {name: binary(Op(I64[op], 2)) for name, op in COMPARISONS.items()}

LOGIC = {"And": binary(f32("min", arity=2)), "Or": binary(f32("max", arity=2)), "Xor": binary(f32("xor", arity=2))}
NOT, IS_NAN, IS_TRUE = unary(f32("not")), unary(f32("is_nan")), unary(f32("is_true"))
FLOAT_WHERE = (LEAF, LEAF, LEAF, f32("where", arity=3))
INTEGER_WHERE = (LEAF, LEAF, LEAF, Op(I64["where"], 3))
INTEGER_COPY = unary(Op(I64["copy"]))


@native(*FLOAT_UNARY, "BitwiseNot", lazy=True)
def bind_unary(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """Functions of one operand."""
    if x.dtype == FLOAT and node.op in FLOAT_UNARY:
        return chain(emitter, FLOAT, [x], FLOAT_UNARY[node.op])
    if x.dtype in INTEGERS and node.op in INTEGER_UNARY:
        return now(emitter, "integers", x.dtype, [x], INTEGER_UNARY[node.op])
    return None


def biased(emitter: Emitter, a: Tensor, b: Tensor) -> Tensor | None:
    """The sum as one of the two, if the step that makes it takes on the other."""
    if a.producer is not None and add_bias(emitter, a, b):
        return a
    if b.producer is not None and add_bias(emitter, b, a):
        return b
    return None


@native(*INTEGER_BINARY, lazy=True)
def bind_binary(emitter: Emitter, node: Node, a: Tensor, b: Tensor) -> Tensor | None:
    """Arithmetic and operations on bits."""
    dtype = a.dtype
    if dtype != b.dtype:
        return None
    if dtype == FLOAT and node.op in FLOAT_BINARY:
        if node.op == "Add" and (x := biased(emitter, a, b)) is not None:
            return x
        return chain(emitter, FLOAT, [a, b], FLOAT_BINARY[node.op])
    if dtype in INTEGERS:
        return now(emitter, "integers", dtype, [a, b], INTEGER_BINARY[node.op])
    return None


@native(*COMPARISONS, lazy=True)
def bind_comparison(emitter: Emitter, node: Node, a: Tensor, b: Tensor) -> Tensor | None:
    """Less, Greater and Equal of their sorts."""
    if a.dtype != b.dtype:
        return None
    if node.op.startswith("Greater"):
        a, b = b, a
    if a.dtype in (FLOAT, BOOL):
        return chain(emitter, BOOL, [a, b], FLOAT_COMPARISON[node.op])
    if a.dtype in INTEGERS:
        return now(emitter, "integers", BOOL, [a, b], INTEGER_COMPARISON[node.op])
    return None


@native(*LOGIC, lazy=True)
def bind_logic(emitter: Emitter, node: Node, a: Tensor, b: Tensor) -> Tensor | None:
    """And, Or, Xor."""
    if a.dtype != BOOL or b.dtype != BOOL:
        return None
    return chain(emitter, BOOL, [a, b], LOGIC[node.op])


@native("Not", lazy=True)
def bind_not(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """Not."""
    return chain(emitter, BOOL, [x], NOT) if x.dtype == BOOL else None


@native("IsNaN", lazy=True)
def bind_is_nan(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """Where X is NaN."""
    return chain(emitter, BOOL, [x], IS_NAN) if x.dtype == FLOAT else None


@native("IsInf", lazy=True)
def bind_is_inf(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """Where X is infinite, of either or of one sign."""
    signs = [sign for sign, key in ((-1, "negative"), (1, "positive")) if node.attrs.get(f"detect_{key}", 1)]
    if x.dtype != FLOAT or not signs:
        return None
    return chain(emitter, BOOL, [x], unary(f32("is_inf", signs[0] * math.inf, signs[-1] * math.inf)))


@native("Mod", lazy=True)
def bind_mod(emitter: Emitter, node: Node, a: Tensor, b: Tensor) -> Tensor | None:
    """The remainder with the sign of B, or of A."""
    if a.dtype != b.dtype:
        return None
    name = "fmod" if node.attrs.get("fmod", 0) else "mod"
    if a.dtype == FLOAT:
        return chain(emitter, FLOAT, [a, b], binary(f32(name, arity=2, cost=16)))
    if a.dtype in INTEGERS:
        return now(emitter, "integers", a.dtype, [a, b], binary(Op(I64[name], 2)))
    return None


@native("Max", "Min", "Sum", "Mean", lazy=True)
def bind_variadic(emitter: Emitter, node: Node, *args: Tensor) -> Tensor | None:
    """One operation over all inputs, from the first to the last."""
    dtype = args[0].dtype
    if len(args) < 2 or broadcast_shape(list(args)) is None or any(x.dtype != dtype for x in args):
        return None
    name = {"Max": "max", "Min": "min"}.get(node.op, "add")
    if dtype in INTEGERS and name != "add":
        return _fold(emitter, args, Op(I64[name], 2), integers=True)
    if dtype != FLOAT:
        return None
    y = _fold(emitter, args, f32(name, arity=2), integers=False)
    if node.op == "Mean" and y is not None:
        y.uses = 1
        y = chain(emitter, FLOAT, [y, emitter.constant(np.array(len(args), np.float32))], FLOAT_BINARY["Div"])
    return y


def _fold(emitter: Emitter, args: tuple[Tensor, ...], op: Op, integers: bool) -> Tensor | None:
    y, rest = args[0], list(args[1:])
    while rest:
        batch, rest = rest[: OPERANDS - 1], rest[OPERANDS - 1 :]
        tokens = (LEAF, *(token for _ in batch for token in (LEAF, op)))
        if integers:
            result = now(emitter, "integers", y.dtype, [y, *batch], tokens)
        else:
            result = chain(emitter, y.dtype, [y, *batch], tokens)
        if result is None:
            return None
        y = result
    return y


@native("Pow", lazy=True)
def bind_pow(emitter: Emitter, node: Node, x: Tensor, exponent: Tensor) -> Tensor | None:
    """X to the power of Y; squares, roots and small whole powers by themselves."""
    if x.dtype != FLOAT or exponent.dtype not in TYPES:
        return None
    value = exponent.value
    if value is not None and exponent.size == 1:
        power = float(value.item())
        shape = broadcast_shape([x, exponent])
        if shape is None or power != float(np.float32(power)):
            return None
        if shape == x.shape:
            return chain(emitter, FLOAT, [x], unary(_power(power)), shape)
    if exponent.dtype == DOUBLE:
        return None
    return chain(emitter, FLOAT, [x, exponent], binary(f32("pow", arity=2, cost=16)))


def _power(power: float) -> Op:
    if power == 2:
        return f32("square")
    if power == -1:
        return f32("reciprocal")
    if power == 0.5:
        return f32("sqrt")
    if power in (0, 1, 3, 4):
        return f32("integer_power", power)
    return f32("power_of", power, cost=16)


@native("Clip", lazy=True)
def bind_clip(
    emitter: Emitter, node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None
) -> Tensor | None:
    """min(max(X, low), high) with bounds that are constant, or known when it runs."""
    bounds = [bound for bound in (low, high) if bound is not None]
    if not (x.dtype == FLOAT or x.dtype in INTEGERS) or any(b.dtype != x.dtype or b.size != 1 for b in bounds):
        return None
    if x.dtype == FLOAT:
        least = -math.inf if low is None else _number(low)
        most = math.inf if high is None else _number(high)
        if least == least and most == most:
            return chain(emitter, FLOAT, [x], unary(f32("clip", least, most)))
    table = F32 if x.dtype == FLOAT else I64
    args = [x]
    tokens: Tokens = (LEAF,)
    for name, bound in (("max", low), ("min", high)):
        if bound is not None:
            args.append(emitter.view(bound.force(emitter), (), ()))
            tokens += (LEAF, Op(table[name], 2))
    if x.dtype == FLOAT:
        return chain(emitter, FLOAT, args, tokens)
    return now(emitter, "integers", x.dtype, args, tokens if bounds else INTEGER_COPY)


def _number(bound: Tensor) -> float:
    """The constant's value; NaN if it is none."""
    return math.nan if bound.value is None else float(bound.value.item())


@native("Where", lazy=True)
def bind_where(emitter: Emitter, node: Node, condition: Tensor, x: Tensor, y: Tensor) -> Tensor | None:
    """X where the condition holds, Y elsewhere."""
    dtype = x.dtype
    if condition.dtype != BOOL or dtype != y.dtype:
        return None
    if dtype in (FLOAT, BOOL):
        return chain(emitter, dtype, [condition, x, y], FLOAT_WHERE)
    if dtype in INTEGERS:
        return now(emitter, "integers", dtype, [condition, x, y], INTEGER_WHERE)
    return None


@native("Cast", lazy=True)
def bind_cast(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """Numbers of one type as another, as NumPy converts them."""
    return convert(emitter, x, dtype_of(node, "to"))


@native("CastLike", lazy=True)
def bind_cast_like(emitter: Emitter, node: Node, x: Tensor, like: Tensor) -> Tensor | None:
    """The first input in the type of the second."""
    return convert(emitter, x, like.dtype)


def convert(emitter: Emitter, x: Tensor, dtype: np.dtype) -> Tensor | None:
    """`x` as `dtype`; None if one of the types is not known here."""
    source = x.dtype
    if source not in TYPES or dtype not in TYPES:
        return None
    if source == dtype:
        return emitter.view(x.force(emitter), x.shape, x.strides)
    if dtype == FLOAT or (dtype == DOUBLE and source in (FLOAT, BOOL)):
        return chain(emitter, dtype, [x], (LEAF,))
    if dtype == BOOL:
        return None if source == DOUBLE else chain(emitter, BOOL, [x], IS_TRUE)
    return now(emitter, "integers", dtype, [x], INTEGER_COPY)
