"""Activation functions; float16 and bfloat16 are computed in float32 and rounded once.

The sigmoid is 1/(1 + exp(-x)): exp may overflow to inf, which gives the right limit 0 (in float32
within 2⁻¹²⁶: the true value is subnormal). exp(x) - 1 is expm1, which keeps its relative accuracy near 0.
"""

from __future__ import annotations

import math

import numpy as np

from ..graph import Node
from .common import ONE, ZERO, Typed, array_result, choice, in_float32, number
from .elementwise import erf
from .registry import Function, operator


def sigmoid(x: np.ndarray) -> np.ndarray:
    """The sigmoid of a float32 or float64 array, fresh."""
    one = ONE[x.dtype]
    y = np.asarray(np.negative(x))
    np.exp(y, y)
    np.add(y, one, y)
    return np.divide(one, y, y)


@operator("Sigmoid")
def build_sigmoid(node: Node) -> Function:
    """1 / (1 + exp(-x))."""
    return in_float32(sigmoid)


@operator("Relu")
def build_relu(node: Node) -> Function:
    """max(x, 0); NaN stays."""
    return array_result(lambda x: np.maximum(x, ZERO[x.dtype]))


@operator("LeakyRelu")
def build_leaky_relu(node: Node) -> Function:
    """Leaky ReLU: x, or alpha·x for x < 0."""
    alpha = number(node, "alpha", 0.01)
    slope = Typed(alpha)
    if 0 < alpha <= 1:
        return in_float32(lambda x: np.maximum(x, x * slope[x.dtype]))
    return in_float32(lambda x: np.where(x < ZERO[x.dtype], x * slope[x.dtype], x))


@operator("PRelu")
def build_prelu(node: Node) -> Function:
    """x, or slope·x for x < 0; the slope broadcasts to x."""
    return lambda x, slope: np.where(x < ZERO[x.dtype], x * slope, x)


@operator("ThresholdedRelu")
def build_thresholded_relu(node: Node) -> Function:
    """Thresholded ReLU: x where x > alpha, else 0."""
    alpha = number(node, "alpha", 1.0)
    return in_float32(lambda x: np.where(x > alpha, x, x.dtype.type(0)))


@operator("Elu")
def build_elu(node: Node) -> Function:
    """Exponential linear unit: x, or alpha·(exp(x) - 1) for x < 0."""
    scale = Typed(number(node, "alpha", 1.0))

    def run(x: np.ndarray) -> np.ndarray:
        low = np.minimum(x, ZERO[x.dtype])
        return np.where(x < ZERO[x.dtype], np.expm1(low) * scale[x.dtype], x)

    return in_float32(run)


@operator("Celu")
def build_celu(node: Node) -> Function:
    """max(0, x) + min(0, alpha·(exp(x/alpha) - 1))."""
    alpha = number(node, "alpha", 1.0)
    return in_float32(lambda x: np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha)))


@operator("Selu")
def build_selu(node: Node) -> Function:
    """gamma·x, or gamma·alpha·(exp(x) - 1) for x <= 0."""
    alpha = number(node, "alpha", 1.67326319217681884765625)
    gamma = number(node, "gamma", 1.05070102214813232421875)
    return in_float32(lambda x: gamma * np.where(x <= 0, alpha * np.expm1(np.minimum(x, 0)), x))


@operator("Softplus")
def build_softplus(node: Node) -> Function:
    """log(1 + exp(x))."""
    return in_float32(softplus)


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x)) of a float32 or float64 array, without overflow."""
    return np.logaddexp(x, x.dtype.type(0))


@operator("Softsign")
def build_softsign(node: Node) -> Function:
    """Softsign: x / (1 + |x|)."""
    return in_float32(lambda x: x / (1 + np.absolute(x)))


@operator("HardSigmoid")
def build_hard_sigmoid(node: Node) -> Function:
    """alpha·x + beta, kept in [0, 1]."""
    alpha, beta = Typed(number(node, "alpha", 0.2)), Typed(number(node, "beta", 0.5))

    def run(x: np.ndarray) -> np.ndarray:
        dtype = x.dtype
        return np.minimum(np.maximum(x * alpha[dtype] + beta[dtype], ZERO[dtype]), ONE[dtype])

    return in_float32(run)


@operator("HardSwish")
def build_hard_swish(node: Node) -> Function:
    """Hard swish: x·HardSigmoid(x) with alpha 1/6 and beta 1/2."""
    return in_float32(lambda x: x * np.minimum(np.maximum(x * (1 / 6) + 0.5, 0), 1))


@operator("Mish")
def build_mish(node: Node) -> Function:
    """x·tanh(softplus(x))."""
    return in_float32(lambda x: x * np.tanh(softplus(x)))


@operator("Swish")
def build_swish(node: Node) -> Function:
    """x·sigmoid(alpha·x)."""
    alpha = number(node, "alpha", 1.0)
    return in_float32(lambda x: x * sigmoid(alpha * x))


@operator("SwiGLU")
def build_swiglu(node: Node) -> Function:
    """a·sigmoid(alpha·a)·b."""
    alpha = number(node, "alpha", 1.0)
    return in_float32(lambda a, b: a * sigmoid(alpha * a) * b)


@operator("Gelu")
def build_gelu(node: Node) -> Function:
    """x·Φ(x), exactly or by its approximation with tanh."""
    if choice(node, "approximate", "none", ("none", "tanh")) == "none":
        return in_float32(lambda x: 0.5 * x * (1 + erf(x * math.sqrt(0.5))))
    root = math.sqrt(2 / math.pi)
    return in_float32(lambda x: 0.5 * x * (1 + np.tanh(root * (x + 0.044715 * x * x * x))))


@operator("Shrink")
def build_shrink(node: Node) -> Function:
    """Shrinkage: x + bias below -lambd, x - bias above lambd, 0 between, in the dtype of x, integers included."""
    lambd, bias = number(node, "lambd", 0.5), number(node, "bias", 0.0)

    def run(x: np.ndarray) -> np.ndarray:
        y = np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, x * 0))
        return y.astype(x.dtype, copy=False)

    return run
