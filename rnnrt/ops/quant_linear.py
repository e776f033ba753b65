"""Products of quantised tensors: MatMulInteger, QLinearMatMul, ConvInteger, QLinearConv, and onnxruntime's relatives.

NumPy multiplies integer matrices without BLAS, so the products are made in floating point: in float32 while no sum can
leave the integers it holds exactly (2^24), in float64 (2^53) beyond. Sums that int32 cannot hold wrap around, as its
arithmetic does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..graph import Node
from .arguments import integer, mismatch, per_channel, real
from .conv import convolve
from .linear import product
from .quant import dynamic_parameters, quantized, requantized
from .registry import Function, operator
from .windows import Windows

_EXACT = 1 << 24
_LARGEST_PRODUCT = 255 * 255


def centred(x: np.ndarray, zero_point: np.ndarray | None, terms: int) -> np.ndarray:
    """``x - zero_point`` in the float type that holds sums of `terms` products exactly."""
    y = x.astype(np.float32 if terms * _LARGEST_PRODUCT <= _EXACT else np.float64)
    if zero_point is not None:
        np.subtract(y, zero_point.astype(y.dtype), out=y)
    return y


def _as_int32(x: np.ndarray) -> np.ndarray:
    return x.astype(np.int32) if x.dtype == np.float32 else x.astype(np.int64).astype(np.int32)


def by_row(node: Node, v: np.ndarray | None, a: np.ndarray, name: str) -> Any:
    """A parameter of the left matrix: one value, or one a row, as (M,) or (..., M, 1)."""
    if v is None or v.size == 1:
        return v if v is None else v.reshape(())
    if v.ndim == 1 and a.ndim > 1:
        v = v[:, None]
    return _fitting(node, v, (*a.shape[:-1], 1), name)


def by_column(node: Node, v: np.ndarray | None, b: np.ndarray, name: str) -> Any:
    """A parameter of the right matrix: one value, or one a column, as (N,) or (..., 1, N)."""
    if v is None or v.size == 1:
        return v if v is None else v.reshape(())
    return _fitting(node, v, (*b.shape[:-2], 1, b.shape[-1]) if b.ndim > 1 else (), name)


def _fitting(node: Node, v: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    try:
        if np.broadcast_shapes(v.shape, shape) == shape:
            return v
    except ValueError:
        pass
    raise mismatch(node, name, f"one value or a shape that broadcasts to {shape}", v.shape)


def integer_product(
    node: Node, a: np.ndarray, b: np.ndarray, a_zero_point: np.ndarray | None, b_zero_point: np.ndarray | None
) -> np.ndarray:
    """``(a - a_zero_point) @ (b - b_zero_point)`` in floating point, holding integers exactly."""
    if not a.ndim or not b.ndim:
        raise mismatch(node, "inputs", "at least 1 axis each", f"shapes {a.shape} and {b.shape}")
    a_zero_point = by_row(node, a_zero_point, a, "a_zero_point")
    b_zero_point = by_column(node, b_zero_point, b, "b_zero_point")
    terms = a.shape[-1]
    return product(node, centred(a, a_zero_point, terms), centred(b, b_zero_point, terms))


@operator("MatMulInteger")
def build_matmul_integer(node: Node) -> Function:
    """int32 ``(A - a_zero_point) @ (B - b_zero_point)``."""

    def run(a, b, a_zero_point=None, b_zero_point=None) -> np.ndarray:
        return _as_int32(integer_product(node, a, b, a_zero_point, b_zero_point))

    return run


def _build_qlinear_matmul(node: Node) -> Function:
    def run(a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point) -> np.ndarray:
        y = integer_product(node, a, b, a_zero_point, b_zero_point)
        factor = by_row(node, a_scale, a, "a_scale") * by_column(node, b_scale, b, "b_scale") / y_scale
        y = requantized(y.astype(np.float32) * factor.astype(np.float32), y_zero_point, y_zero_point.dtype)
        return np.asarray(y)

    return run


operator("QLinearMatMul")(_build_qlinear_matmul)
operator("QLinearMatMul", domain="com.microsoft")(_build_qlinear_matmul)


@operator("ConvInteger")
def build_conv_integer(node: Node) -> Function:
    """int32 convolution of ``x - x_zero_point`` with ``w - w_zero_point``."""
    convolve_integers = _integer_convolution(node)

    def run(x, w, x_zero_point=None, w_zero_point=None) -> np.ndarray:
        return _as_int32(convolve_integers(x, w, x_zero_point, w_zero_point))

    return run


def _integer_convolution(node: Node) -> Function:
    """``conv(x - x_zero_point, w - w_zero_point)`` in floating point, holding integers exactly; padding is zero."""
    windows, group = Windows(node), integer(node, "group", 1, least=1)

    def run(x, w, x_zero_point, w_zero_point) -> np.ndarray:
        terms = max(int(np.prod(w.shape[1:])), 1)
        if x_zero_point is not None and x_zero_point.size != 1:
            raise mismatch(node, "x_zero_point", "one value", f"shape {x_zero_point.shape}")
        x_zero_point = None if x_zero_point is None else x_zero_point.reshape(())
        w_zero_point = _by_output(node, w_zero_point, w, "w_zero_point")
        return convolve(node, windows, group, centred(x, x_zero_point, terms), centred(w, w_zero_point, terms))

    return run


def _by_output(node: Node, v: np.ndarray | None, w: np.ndarray, name: str) -> Any:
    """A parameter of the weights: one value, or one an output channel, to broadcast along axis 0 of `w`."""
    if v is None or v.size == 1:
        return v if v is None else v.reshape(())
    if v.shape != w.shape[:1]:
        raise mismatch(node, name, f"one value or shape {w.shape[:1]}", f"shape {v.shape}")
    return v.reshape((-1,) + (1,) * (w.ndim - 1))


def _build_qlinear_conv(node: Node) -> Function:
    if integer(node, "channels_last", 0):
        raise UnsupportedError(f"{node.label()}: attribute 'channels_last'")
    convolve_integers = _integer_convolution(node)

    def run(x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, b=None) -> np.ndarray:
        y = convolve_integers(x, w, x_zero_point, w_zero_point)
        if b is not None:
            if b.shape != y.shape[1:2]:
                raise mismatch(node, "bias", f"shape {y.shape[1:2]}", b.shape)
            y = y + per_channel(b, y.ndim)
        factor = (x_scale.reshape(()) * w_scale / y_scale.reshape(())).astype(np.float32)
        factor = _by_output(node, factor, w, "w_scale")
        factor = factor if factor.ndim == 0 else per_channel(factor.reshape(-1), y.ndim)
        dtype = x.dtype if y_zero_point is None else y_zero_point.dtype
        return requantized(y.astype(np.float32) * factor, y_zero_point, dtype)

    return run


operator("QLinearConv")(_build_qlinear_conv)
operator("QLinearConv", domain="com.microsoft")(_build_qlinear_conv)


@operator("MatMulIntegerToFloat", domain="com.microsoft")
def build_matmul_integer_to_float(node: Node) -> Function:
    """MatMulInteger, scaled, with a bias."""

    def run(a, b, a_scale, b_scale, a_zero_point=None, b_zero_point=None, bias=None) -> np.ndarray:
        y = integer_product(node, a, b, a_zero_point, b_zero_point).astype(a_scale.dtype)
        y = y * (by_row(node, a_scale, a, "a_scale") * by_column(node, b_scale, b, "b_scale"))
        return np.asarray(y if bias is None else y + bias)

    return run


@operator("DynamicQuantizeMatMul", domain="com.microsoft")
def build_dynamic_quantize_matmul(node: Node) -> Function:
    """A quantised as a whole to uint8, times a quantised B, scaled, with a bias."""

    def run(a, b, b_scale, b_zero_point=None, bias=None) -> np.ndarray:
        a_scale, a_zero_point = dynamic_parameters(a)
        q = quantized(a, a_scale, a_zero_point, a_zero_point.dtype)
        y = integer_product(node, q, b, a_zero_point, b_zero_point).astype(np.float32)
        y = y * (a_scale * by_column(node, b_scale, b, "b_scale"))
        return np.asarray(y if bias is None else y + bias)

    return run


@operator("QGemm", domain="com.microsoft")
def build_qgemm(node: Node) -> Function:
    """``alpha * A' @ B' + C``, with C in units of ``alpha * a_scale * b_scale``; float where Y has no scale."""
    alpha = real(node, "alpha", 1.0)
    trans_a, trans_b = integer(node, "transA", 0), integer(node, "transB", 0)

    def run(a, a_scale, a_zero_point, b, b_scale, b_zero_point, c=None, y_scale=None, y_zero_point=None) -> np.ndarray:
        if a.ndim != 2 or b.ndim != 2:
            raise mismatch(node, "inputs A and B", "two matrices", f"shapes {a.shape} and {b.shape}")
        a, b = a.T if trans_a else a, b.T if trans_b else b
        y = integer_product(node, a, b, a_zero_point, b_zero_point)
        if c is not None:
            y = y + _fitting(node, c, y.shape, "C")
        factor = np.float32(alpha) * a_scale.reshape(()) * by_column(node, b_scale, b, "b_scale")
        if y_scale is None:
            return y.astype(np.float32) * factor
        dtype = a.dtype if y_zero_point is None else y_zero_point.dtype
        return requantized(y.astype(np.float32) * (factor / y_scale), y_zero_point, dtype)

    return run
