"""Element-wise arithmetic, comparisons, logic and elementary functions, with NumPy's broadcasting (which is ONNX's).

Inputs of one node have one dtype, as ONNX's type constraints demand, and outputs have that dtype or bool, so NumPy's
type promotion has nothing to decide; where ONNX allows a mixture (Pow), the code says what happens. Min and Max
pass NaN on.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from ..errors import InputError, UnsupportedError
from ..graph import Node
from .common import array_result, choice, in_float32
from .registry import Function, operator

UFUNCS = {
    "Abs": np.absolute,
    "Acos": np.arccos,
    "Acosh": np.arccosh,
    "Add": np.add,
    "And": np.logical_and,
    "Asin": np.arcsin,
    "Asinh": np.arcsinh,
    "Atan": np.arctan,
    "Atanh": np.arctanh,
    "BitwiseAnd": np.bitwise_and,
    "BitwiseNot": np.invert,
    "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
    "Ceil": np.ceil,
    "Cos": np.cos,
    "Cosh": np.cosh,
    "Equal": np.equal,
    "Exp": np.exp,
    "Floor": np.floor,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "IsNaN": np.isnan,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Log": np.log,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Or": np.logical_or,
    "Reciprocal": np.reciprocal,
    "Round": np.rint,
    "Sign": np.sign,
    "Sin": np.sin,
    "Sinh": np.sinh,
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
    "Tan": np.tan,
    "Tanh": np.tanh,
    "Xor": np.logical_xor,
}


def _build_ufunc(node: Node) -> Function:
    return array_result(UFUNCS[node.op])


operator(*UFUNCS)(_build_ufunc)


@operator("Div")
def build_div(node: Node) -> Function:
    """A / B; of integers the quotient truncated toward zero."""

    def run(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if a.dtype.kind in "iu":
            _check_divisor(node, a, b)
            y = _truncated_quotient(a, b)
        else:
            y = np.true_divide(a, b)
        return y if y.__class__ is np.ndarray else np.asarray(y)

    return run


def _check_divisor(node: Node, a: np.ndarray, b: np.ndarray) -> None:
    """Refuse to divide integers by zero, as the native steps do."""
    if a.size and not b.all():
        raise InputError(f"{node.label()}: an integer was divided by zero")


def _truncated_quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    q, r = np.divmod(a, b)
    if a.dtype.kind == "i":
        q = q + ((r != 0) & ((a < 0) != (b < 0))).astype(q.dtype)
    return q


@operator("Mod")
def build_mod(node: Node) -> Function:
    """The remainder with the sign of B (fmod=0) or of A (fmod=1)."""
    remainder = array_result(np.fmod if node.attrs.get("fmod", 0) else np.remainder)

    def run(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if a.dtype.kind in "iu":
            _check_divisor(node, a, b)
        return remainder(a, b)

    return run


@operator("Pow")
def build_pow(node: Node) -> Function:
    """X ** Y in the dtype of X; Y may be of another type. What is not an integer is truncated for integer X."""

    def run(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if y.size == 1 and y.ndim <= x.ndim and y.item() == 2:
            return np.asarray(np.square(x))
        return np.asarray(_power(x, y))

    return run


def _power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind in "iu":
        if y.dtype.kind in "iu" and not (y < 0).any():
            return np.power(x, y.astype(x.dtype) if x.dtype.itemsize >= y.dtype.itemsize else y).astype(x.dtype)
        return np.power(x.astype(np.float64), y.astype(np.float64)).astype(x.dtype)
    if x.dtype == y.dtype:
        return np.power(x, y)
    wide = np.float64 if np.float64 in (x.dtype, y.dtype) else np.float32
    return np.power(x.astype(wide), y.astype(wide)).astype(x.dtype)


@operator("Max", "Min")
def build_extremum(node: Node) -> Function:
    """Element-wise maximum or minimum of one or more tensors; NaN if any is NaN."""
    return _variadic(np.maximum if node.op == "Max" else np.minimum)


@operator("Sum")
def build_sum(node: Node) -> Function:
    """Element-wise sum of one or more tensors."""
    return _variadic(np.add)


def _variadic(ufunc: np.ufunc) -> Function:
    def run(*args: np.ndarray) -> np.ndarray:
        return np.asarray(functools.reduce(ufunc, args))

    return run


@operator("Mean")
def build_mean(node: Node) -> Function:
    """Element-wise mean of one or more tensors."""
    total = _variadic(np.add)
    return in_float32(lambda *args: total(*args) / len(args))


@operator("Clip")
def build_clip(node: Node) -> Function:
    """min(max(X, low), high), so `high` where low > high; NaN stays. Bounds are cast to X's dtype if they differ."""

    def run(x: np.ndarray, low: np.ndarray | None = None, high: np.ndarray | None = None) -> np.ndarray:
        if low is not None:
            x = np.maximum(x, _scalar_like(low, x))
        if high is not None:
            x = np.minimum(x, _scalar_like(high, x))
        return np.asarray(x)

    return run


def _scalar_like(bound: np.ndarray, x: np.ndarray) -> np.ndarray:
    if bound.ndim:
        bound = bound.reshape(())
    return bound if bound.dtype == x.dtype else bound.astype(x.dtype)


@operator("BitShift")
def build_bitshift(node: Node) -> Function:
    """Shift the bits of X by Y; Y outside of [0, bits) leaves 0, or -1 for a negative X shifted right."""
    direction = choice(node, "direction", "", ("LEFT", "RIGHT"))
    return array_result(np.left_shift if direction == "LEFT" else np.right_shift)


@operator("IsInf")
def build_isinf(node: Node) -> Function:
    """Where X is infinite; the attributes choose which sign counts."""
    negative, positive = node.attrs.get("detect_negative", 1), node.attrs.get("detect_positive", 1)
    if negative and positive:
        return array_result(np.isinf)
    if not negative and not positive:
        return lambda x: np.zeros(x.shape, np.bool_)
    return array_result(lambda x: np.isinf(x) & ((x > 0) if positive else (x < 0)))


@operator("Erf")
def build_erf(node: Node) -> Function:
    """The error function; float32 and narrower within 1 ulp of float32, float64 by the C library."""
    return lambda x: erf(x)


def erf(x: np.ndarray) -> np.ndarray:
    """The error function of an array, in its dtype."""
    if x.dtype.kind in "iu":
        raise UnsupportedError("Erf of integers")
    if x.dtype == np.float64:
        return np.asarray(_libm_erf(x), dtype=np.float64).reshape(x.shape)
    z = np.asarray(x, dtype=np.float64)
    z = z.clip(-_ERF_RANGE, _ERF_RANGE)
    return np.asarray(z * _erf_over_x(z * z)).astype(x.dtype)


_libm_erf = np.frompyfunc(math.erf, 1, 1)
_ERF_RANGE = 4.0


def _erf_over_x(s: np.ndarray) -> np.ndarray:
    """erf(√s)/√s for 0 <= s <= 16, where erf(4) = 1 - 1.5e-8 rounds to 1 in float32."""
    power = _erf_polynomial()
    t = np.asarray(s * (2 / _ERF_RANGE**2) - 1)
    y = np.full_like(t, power[-1])
    for c in power[-2::-1]:
        y *= t
        y += c
    return y


@functools.cache
def _erf_polynomial() -> list[float]:
    """Coefficients of the Chebyshev interpolant of degree 26 in t = s/8 - 1; its error is below 2e-11."""
    from numpy.polynomial import chebyshev

    def values(t: np.ndarray) -> np.ndarray:
        s = (t + 1) * (_ERF_RANGE**2 / 2)
        return np.array([math.erf(math.sqrt(v)) / math.sqrt(v) for v in s])

    return chebyshev.cheb2poly(chebyshev.chebinterpolate(values, 26)).tolist()  # type: ignore[arg-type, type-var]


@operator("Where")
def build_where(node: Node) -> Function:
    """X where the condition holds, Y elsewhere."""
    return lambda condition, x, y: np.where(condition, x, y)
