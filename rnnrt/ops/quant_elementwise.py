"""onnxruntime's element-wise operators on quantised tensors: the float operator between dequantise and quantise."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..errors import ModelError, UnsupportedError
from ..graph import Node
from .arguments import axis_of, integer, mismatch, real
from .quant import dequantized, quantized
from .registry import Function, operator


def _binary(name: str, combine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
    def build(node: Node) -> Function:
        def run(a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point=None) -> np.ndarray:
            try:
                y = combine(dequantized(a, a_scale, a_zero_point), dequantized(b, b_scale, b_zero_point))
            except ValueError:
                raise mismatch(node, "inputs", "shapes that broadcast", f"{a.shape} and {b.shape}") from None
            return np.asarray(quantized(y, y_scale, y_zero_point, a.dtype))

        return run

    operator(name, domain="com.microsoft")(build)


_binary("QLinearAdd", np.add)
_binary("QLinearMul", np.multiply)


def _unary(name: str, apply: Callable[[Node], Callable[[np.ndarray], np.ndarray]]) -> None:
    """A function of one 8-bit tensor, tabulated over the 256 values its elements can have."""

    def build(node: Node) -> Function:
        function = apply(node)

        def run(x, x_scale, x_zero_point=None, y_scale=None, y_zero_point=None) -> np.ndarray:
            if x.dtype.itemsize != 1 or y_scale is None:
                raise mismatch(node, "input", "an 8-bit tensor, and a scale for the output", x.dtype)
            every = np.arange(256, dtype=np.uint8).view(x.dtype)
            table = quantized(function(dequantized(every, x_scale, x_zero_point)), y_scale, y_zero_point, x.dtype)
            return table.take(x.view(np.uint8) if x.flags.c_contiguous else x.copy().view(np.uint8))

        return run

    operator(name, domain="com.microsoft")(build)


def _leaky_relu(node: Node) -> Callable[[np.ndarray], np.ndarray]:
    alpha = np.float32(real(node, "alpha", 0.01))
    return lambda x: np.where(x < 0, alpha * x, x)


_unary("QLinearLeakyRelu", _leaky_relu)
_unary("QLinearSigmoid", lambda node: lambda x: 1 / (1 + np.exp(-x)))


@operator("QLinearConcat", domain="com.microsoft")
def build_qlinear_concat(node: Node) -> Function:
    """Inputs: the scale and zero point of Y, then tensor, scale and zero point of each part."""
    axis = integer(node, "axis")
    if len(node.inputs) < 5 or len(node.inputs) % 3 != 2:
        raise ModelError(f"{node.label()}: expected 2 inputs and 3 a part, got {len(node.inputs)}")

    def run(y_scale, y_zero_point, *parts) -> np.ndarray:
        tensors = [
            quantized(dequantized(x, scale, zero_point), y_scale, y_zero_point, y_zero_point.dtype)
            for x, scale, zero_point in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
        ]
        try:
            return np.concatenate(tensors, axis_of(node, axis, tensors[0].ndim))
        except ValueError:
            shapes = ", ".join(str(x.shape) for x in tensors)
            raise mismatch(node, "inputs", f"shapes that agree but along axis {axis}", shapes) from None

    return run


@operator("QLinearGlobalAveragePool", domain="com.microsoft")
def build_qlinear_global_average_pool(node: Node) -> Function:
    """The mean of each plane, from an exact sum."""
    if integer(node, "channels_last", 0):
        raise UnsupportedError(f"{node.label()}: attribute 'channels_last'")

    def run(x, x_scale, x_zero_point, y_scale, y_zero_point) -> np.ndarray:
        n = math.prod(x.shape[2:])
        if x.ndim < 3 or not n:
            raise mismatch(node, "input", "(N, C, ...) with elements in each plane", f"shape {x.shape}")
        total = np.add.reduce(x, tuple(range(2, x.ndim)), dtype=np.int64, keepdims=True).astype(np.float32)
        if x_zero_point is not None:
            total -= x_zero_point.astype(np.float32) * n
        return quantized(total * (x_scale / np.float32(n)), y_scale, y_zero_point, x.dtype)

    return run
