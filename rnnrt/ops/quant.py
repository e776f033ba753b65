"""QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear, and the arithmetic that quantised operators share.

A quantised tensor q stands for ``(q - zero_point) * scale``. Scale and zero point come as one value, as one an index
of an axis, or as one a block of elements along an axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Node
from .arguments import axis_of, integer, mismatch, widened
from .common import dtype_of
from .registry import Function, operator

_DOMAINS = ("", "com.microsoft")


def dequantized(x: np.ndarray, scale: np.ndarray, zero_point: np.ndarray | None) -> np.ndarray:
    """``(x - zero_point) * scale`` in float32; the operands broadcast."""
    y = x.astype(np.float32)
    if zero_point is not None:
        y -= zero_point.astype(np.float32)
    return y * scale.astype(np.float32, copy=False)


def requantized(x: np.ndarray, zero_point: np.ndarray | None, dtype: np.dtype) -> np.ndarray:
    """Values already divided by their scale, rounded to even, moved by the zero point, kept in the range of `dtype`."""
    low, high, whole = _range(dtype)
    y = np.rint(x) if whole else x
    if zero_point is not None:
        y = y + zero_point.astype(np.float32)
    return np.clip(y, low, high).astype(dtype)


def quantized(x: np.ndarray, scale: np.ndarray, zero_point: np.ndarray | None, dtype: np.dtype) -> np.ndarray:
    """``x / scale`` as `requantized` to `dtype`."""
    return requantized(x / scale, zero_point, dtype)


def _range(dtype: np.dtype) -> tuple[float, float, bool]:
    """Least and greatest value of a quantised type, and whether it is one of integers."""
    if dtype.kind in "iu":
        info: Any = np.iinfo(dtype)
        return int(info.min), int(info.max), True
    import ml_dtypes

    try:
        info = ml_dtypes.iinfo(dtype)
        return int(info.min), int(info.max), True
    except (ValueError, TypeError):
        info = ml_dtypes.finfo(dtype)
        return float(info.min), float(info.max), False


class Granularity:
    """The attributes axis and block_size, and how a parameter of some shape spreads over a tensor."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.axis = integer(node, "axis", 1)
        self.block = integer(node, "block_size", 0, least=0)

    def spread(self, v: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The parameter `v` in a shape that broadcasts to `shape`."""
        if v.ndim == 0 or (v.shape == (1,) and not self.block):
            return v.reshape(())
        rank = len(shape)
        axis = 0 if rank == 1 and not self.block else axis_of(self.node, self.axis, rank)
        if not self.block:
            if v.shape != (shape[axis],):
                raise mismatch(self.node, "scale and zero point", f"shape {(shape[axis],)} for axis {axis}", v.shape)
            return v.reshape((-1,) + (1,) * (rank - axis - 1))
        wanted = (*shape[:axis], -(-shape[axis] // self.block), *shape[axis + 1 :])
        if v.shape != wanted:
            raise mismatch(self.node, "scale and zero point", f"shape {wanted} for blocks of {self.block}", v.shape)
        if wanted[axis] == 1:
            return v
        return v.take(np.arange(shape[axis]) // self.block, axis)


def _zero_point(node: Node, v: np.ndarray | None, scale: np.ndarray, dtype: np.dtype) -> np.ndarray | None:
    """The zero point checked against scale and type; None for those float8 types that have none but zero."""
    if v is None:
        return None
    if v.shape != scale.shape and not (v.size == scale.size == 1):
        raise mismatch(node, "zero point", f"the scale's shape {scale.shape}", v.shape)
    if v.dtype != dtype:
        raise mismatch(node, "zero point", f"type {dtype}", v.dtype)
    if dtype.name.startswith("float8"):
        if v.astype(np.float32).any():
            raise mismatch(node, "zero point", f"0 for {dtype}", v.tolist())
        return None
    return v


def _build_quantize(node: Node) -> Function:
    """Q of float or int32 input; the quotient is taken in `precision`, by default the scale's type."""
    granularity = Granularity(node)
    wanted = dtype_of(node, "output_dtype") if integer(node, "output_dtype", 0) else None
    precision = dtype_of(node, "precision") if integer(node, "precision", 0) else None
    saturate = integer(node, "saturate", 1)

    def run(x: np.ndarray, scale: np.ndarray, zero_point: np.ndarray | None = None) -> np.ndarray:
        dtype = wanted or (np.dtype(np.uint8) if zero_point is None else zero_point.dtype)
        offset = _zero_point(node, zero_point, scale, dtype)
        step = granularity.spread(scale, x.shape)
        quotient = _quotient(x, step, precision)
        if not saturate and dtype.name.startswith("float8"):
            return quotient.astype(dtype)
        return requantized(quotient, None if offset is None else granularity.spread(offset, x.shape), dtype)

    return run


def _quotient(x: np.ndarray, scale: np.ndarray, precision: np.dtype | None) -> np.ndarray:
    """``x / scale`` rounded to `precision`, as float32 or wider."""
    kind = precision or scale.dtype
    if kind.name.startswith("float8") or kind.kind in "iu":
        kind = np.dtype(np.float32)
        scale = scale.astype(kind)
    return np.asarray(widened(x.astype(kind, copy=False) / scale.astype(kind, copy=False)))


def _build_dequantize(node: Node) -> Function:
    """Float of quantised input, in `output_dtype` or else the scale's type."""
    granularity = Granularity(node)
    wanted = dtype_of(node, "output_dtype") if integer(node, "output_dtype", 0) else None

    def run(x: np.ndarray, scale: np.ndarray, zero_point: np.ndarray | None = None) -> np.ndarray:
        offset = _zero_point(node, zero_point, scale, x.dtype)
        y = dequantized(
            x, granularity.spread(scale, x.shape), None if offset is None else granularity.spread(offset, x.shape)
        )
        return np.asarray(y).astype(wanted or scale.dtype, copy=False)

    return run


for _domain in _DOMAINS:
    operator("QuantizeLinear", domain=_domain)(_build_quantize)
    operator("DequantizeLinear", domain=_domain)(_build_dequantize)


def dynamic_parameters(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale (float32) and zero point (uint8), 0-d, with which uint8 covers all of `x` and zero."""
    low, high = np.minimum.reduce(x, None, initial=0), np.maximum.reduce(x, None, initial=0)
    scale = (np.float32(high) - np.float32(low)) / np.float32(255)
    if scale == 0:
        scale = np.float32(1)
    return np.asarray(scale), np.asarray(np.clip(np.rint(-low / scale), 0, 255)).astype(np.uint8)


@operator("DynamicQuantizeLinear", multiple=True)
def build_dynamic_quantize_linear(node: Node) -> Function:
    """X as uint8, with the scale and zero point chosen for it."""

    def run(x: np.ndarray) -> tuple[np.ndarray, ...]:
        scale, zero_point = dynamic_parameters(x)
        return (quantized(x, scale, zero_point, zero_point.dtype), scale, zero_point)[: len(node.outputs)]

    return run
