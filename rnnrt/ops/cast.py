"""Cast, CastLike and BitCast.

Numbers convert as NumPy's ``astype`` does: floats to integers truncate (out of range is undefined in ONNX), integers
wrap, anything but zero is True. Floats of 8 bits saturate unless told not to. Strings are objects of type str.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError, UnsupportedError
from ..graph import Node
from .common import dtype_of
from .registry import Function, operator

FLOAT8 = {"float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"}


@operator("Cast")
def build_cast(node: Node) -> Function:
    """The input in the element type `to`; the input itself if it has that type."""
    dtype, saturate, label = dtype_of(node, "to"), bool(node.attrs.get("saturate", 1)), node.label()
    convert = _converter(dtype, saturate, label)

    def run(x: np.ndarray) -> np.ndarray:
        if x.dtype == dtype:
            return x
        if x.dtype.kind in "OU":
            return _parse(x, dtype, convert, label)
        return convert(x)

    return run


@operator("CastLike")
def build_cast_like(node: Node) -> Function:
    """The first input in the element type of the second."""
    saturate, label = bool(node.attrs.get("saturate", 1)), node.label()

    def run(x: np.ndarray, like: np.ndarray) -> np.ndarray:
        if x.dtype == like.dtype:
            return x
        convert = _converter(like.dtype, saturate, label)
        return _parse(x, like.dtype, convert, label) if x.dtype.kind in "OU" else convert(x)

    return run


def _converter(dtype: np.dtype, saturate: bool, label: str) -> Function:
    """The function that converts numbers to `dtype`."""
    if dtype.kind in "OU":
        return _to_text
    if dtype.name == "float8_e8m0fnu":
        raise UnsupportedError(f"{label}: conversion to float8e8m0")
    if dtype.name in FLOAT8:
        # Rounding to float32 first is exact for what an 8-bit float can tell apart, but for float64 halfway cases.
        return lambda x: _to_float8(x, dtype, saturate)
    return lambda x: x.astype(dtype)


def _to_float8(x: np.ndarray, dtype: np.dtype, saturate: bool) -> np.ndarray:
    if x.dtype.name in FLOAT8 or x.dtype.kind in "iub":
        x = x.astype(np.float32)
    if saturate:
        from ml_dtypes import finfo

        top = x.dtype.type(float(finfo(dtype).max))
        x = np.minimum(np.maximum(x, -top), top)
    return np.asarray(x).astype(dtype)


def _to_text(x: np.ndarray) -> np.ndarray:
    """The shortest decimal that reads back as the same number; NaN and infinities as ``nan``, ``inf``, ``-inf``."""
    if x.dtype.kind not in "iubf":
        x = x.astype(np.float32)
    return x.astype(np.str_).astype(object)


def _parse(x: np.ndarray, dtype: np.dtype, convert: Function, label: str) -> np.ndarray:
    """Numbers written as strings; integers of 64 bits without a detour through float."""
    if dtype.kind in "OU":
        return x
    values = x.reshape(-1).tolist()
    try:
        if dtype.kind in "iu":
            numbers = np.array([_whole(v) for v in values], dtype)
        else:
            numbers = convert(np.array([float(v) for v in values], np.float64))
    except (ValueError, OverflowError, TypeError) as error:
        raise InputError(f"{label}: expected strings that are numbers of {dtype}: {error}") from None
    return numbers.reshape(x.shape)


def _whole(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        return int(float(value))


@operator("BitCast")
def build_bitcast(node: Node) -> Function:
    """The same bits as another element type of the same width."""
    dtype, label = dtype_of(node, "to"), node.label()
    if dtype.kind in "OU":
        raise UnsupportedError(f"{label}: bits of strings")

    def run(x: np.ndarray) -> np.ndarray:
        if x.dtype.itemsize != dtype.itemsize or x.dtype.kind in "OU" or _bits(x.dtype) != _bits(dtype):
            raise InputError(f"{label}: expected elements as wide as {dtype}, got {x.dtype}")
        return x.view(dtype)

    return run


def _bits(dtype: np.dtype) -> int:
    """Width of an element in ONNX: the types narrower than a byte end in their width, but for float4's exponents."""
    narrow = {"int4": 4, "uint4": 4, "float4_e2m1fn": 4, "int2": 2, "uint2": 2}
    return narrow.get(dtype.name, 8 * dtype.itemsize)
