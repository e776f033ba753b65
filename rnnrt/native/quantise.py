"""QuantizeLinear and DequantizeLinear between float32 and bytes, as element-wise steps.

Scale and zero point are one value, or one an index of an axis. ``(x - zero_point) * scale`` is a chain, which later
nodes may join; ``clip(round(x / scale) + zero_point, low, high)`` is one, too, and a step that makes bytes of it.
"""

from __future__ import annotations

import numpy as np

from ..graph import Node
from .chain import LEAF, Tokens, broadcast_shape, chain, now
from .elementwise import INTEGER_COPY, binary, f32
from .emitter import FLOAT, Emitter
from .registry import native
from .tensor import Tensor

BYTES = {np.dtype(np.uint8): (0.0, 255.0), np.dtype(np.int8): (-128.0, 127.0)}
UINT8, INT32 = np.dtype(np.uint8), np.dtype(np.int32)


def spread(emitter: Emitter, node: Node, parameter: Tensor, x: Tensor) -> Tensor | None:
    """A scale or zero point with axes that broadcast to those of `x`; None if it has a form that is not known here."""
    if parameter.ndim == 0:
        return parameter
    if parameter.shape == (1,) and not node.attrs.get("block_size", 0):
        return emitter.view(parameter.force(emitter), (), ())
    axis = int(node.attrs.get("axis", 1)) if x.ndim > 1 else 0
    axis += x.ndim if axis < 0 else 0
    if node.attrs.get("block_size", 0) or not 0 <= axis < x.ndim or parameter.shape != x.shape[axis : axis + 1]:
        return None
    after = x.ndim - axis - 1
    parameter = parameter.force(emitter)
    return emitter.view(parameter, (*parameter.shape, *(1,) * after), (*parameter.strides, *(0,) * after))


def _plain(node: Node) -> bool:
    """Whether it has no attributes that change what is computed, but the axis."""
    return not any(node.attrs.get(key, 0) for key in ("output_dtype", "precision", "block_size"))


def _alike(zero: Tensor, scale: Tensor) -> bool:
    return zero.shape == scale.shape or zero.size == scale.size == 1


@native("DequantizeLinear", lazy=True)
@native("DequantizeLinear", domain="com.microsoft", lazy=True)
def dequantize(emitter: Emitter, node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor | None:
    """Float of bytes or int32."""
    if x.dtype not in (*BYTES, INT32) or scale.dtype != FLOAT or not _plain(node):
        return None
    if zero is not None and (zero.dtype != x.dtype or not _alike(zero, scale)):
        return None
    step = spread(emitter, node, scale, x)
    if step is None or broadcast_shape([x, step]) != x.shape:
        return None
    if zero is None or (zero.value is not None and not zero.value.any()):
        return chain(emitter, FLOAT, [x, step], binary(f32("mul", arity=2)))
    offset = spread(emitter, node, zero, x)
    if offset is None:
        return None
    return chain(emitter, FLOAT, [x, offset, step], (*binary(f32("sub", arity=2)), LEAF, f32("mul", arity=2)))


@native("QuantizeLinear", lazy=True)
@native("QuantizeLinear", domain="com.microsoft", lazy=True)
def quantize(emitter: Emitter, node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor | None:
    """Bytes of float32."""
    dtype = UINT8 if zero is None else zero.dtype
    if x.dtype != FLOAT or scale.dtype != FLOAT or dtype not in BYTES or not _plain(node):
        return None
    if zero is not None and not _alike(zero, scale):
        return None
    parameters = [spread(emitter, node, p, x) for p in (scale, zero) if p is not None]
    args = [x, *(p for p in parameters if p is not None)]
    if None in parameters or broadcast_shape(args) != x.shape:
        return None
    return _bytes(emitter, dtype, args)


def _bytes(emitter: Emitter, dtype: np.dtype, args: list[Tensor]) -> Tensor | None:
    """x, scale and, if given, zero point as `dtype`."""
    tokens: Tokens = (*binary(f32("div", arity=2)), f32("round"))
    if len(args) > 2:
        tokens += (LEAF, f32("add", arity=2))
    y = chain(emitter, FLOAT, args, (*tokens, f32("clip", *BYTES[dtype])))
    return None if y is None else now(emitter, "integers", dtype, [y], INTEGER_COPY)
