"""Tensor and type messages of ONNX -> NumPy arrays, dtypes and :class:`rnnrt.graph.Value`.

What a message claims (type, dimensions) is compared with the data it holds before any array is made.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from .errors import ModelError, UnsupportedError
from .external import ExternalData
from .graph import Dim, Value

MAX_RANK = 32
_NOTHING: Mapping[bytes, np.ndarray] = MappingProxyType({})
MAX_BYTES = 1 << 62
# Sparse tensors are the one place where a few bytes may claim a huge array; together they may become this big.
MAX_DENSE_BYTES = 1 << 28
_DATA_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


@functools.lru_cache(maxsize=64)
def element_type(code: int) -> tuple[np.dtype, str, int]:
    """dtype, ONNX name (``float``, ``int64``, …) and bits per element in raw data of the element type `code`.

    Raises
    ------
    KeyError
        If there is no such element type, 0 (undefined) included.
    """
    from onnx import TensorProto, helper

    if code == TensorProto.UNDEFINED or code not in TensorProto.DataType.values():
        raise KeyError(code)
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(code))
    name = TensorProto.DataType.Name(code).lower()
    packed = {"uint4": 4, "int4": 4, "float4e2m1": 4, "uint2": 2, "int2": 2, "float6e2m3": 6, "float6e3m2": 6}
    return dtype, name, packed.get(name, 8 * dtype.itemsize)


class TensorReader:
    """Makes arrays of tensor messages; knows the model's data files and how much sparse ones have claimed.

    Parameters
    ----------
    taken
        What was taken out of tensors' raw data, as uint8, by the mark that stands in its place (:mod:`rnnrt.wire`).
    """

    def __init__(self, external: ExternalData, taken: Mapping[bytes, np.ndarray] | None = None):
        self._external = external
        self._taken = taken or {}
        self._dense_left = MAX_DENSE_BYTES

    def array(self, tensor: Any, where: str) -> np.ndarray:
        """The read-only, C-contiguous array of a TensorProto; strings come as objects of type str."""
        dtype, kind, bits = _known_type(tensor.data_type, where)
        dims = _known_dims(tensor.dims, max(dtype.itemsize, 1), where)
        if tensor.HasField("segment"):
            raise UnsupportedError(f"{where}: its data comes in segments, which no ONNX release has defined")
        count = math.prod(dims)
        stored = (count * bits + 7) // 8
        if is_external(tensor):
            if kind == "string":
                raise ModelError(f"{where}: a tensor of strings cannot have external data")
            info = {text(e.key, where): text(e.value, where) for e in tensor.external_data}
            array = self._external_array(tensor, dims, self._external.read(info, stored, where), where)
        else:
            array = _own_data(tensor, dims, stored, where, self._taken)
        array.setflags(write=False)
        return array

    def _external_array(self, tensor: Any, dims: tuple[int, ...], data: np.ndarray, where: str) -> np.ndarray:
        dtype, _, bits = element_type(tensor.data_type)
        if bits == 8 * dtype.itemsize:
            return _elements(data, dtype).reshape(dims)
        inline = type(tensor)(data_type=tensor.data_type, dims=dims, raw_data=data.tobytes())
        return _own_data(inline, dims, data.size, where)

    @property
    def is_slim(self) -> bool:
        """Whether something was taken out of the model."""
        return bool(self._taken)

    def was_taken(self, tensor: Any) -> bool:
        """Whether the data of a TensorProto is not in it."""
        return bool(self._taken) and tensor.raw_data in self._taken

    def sparse(self, tensor: Any, where: str) -> np.ndarray:
        """The dense, read-only array of a SparseTensorProto (COO, indices linear or one row an element)."""
        values, indices = self.array(tensor.values, where), self.array(tensor.indices, f"{where}, its indices")
        dims = _known_dims(tensor.dims, max(values.dtype.itemsize, 1), where)
        count, size = math.prod(dims), math.prod(dims) * values.dtype.itemsize
        if values.dtype == object:
            raise UnsupportedError(f"{where}: a sparse tensor of strings")
        if (
            values.ndim != 1
            or indices.dtype != np.int64
            or indices.shape not in {values.shape, (values.size, len(dims))}
        ):
            raise ModelError(
                f"{where}: expected sparse values [n] with int64 indices [n] or [n, {len(dims)}], "
                f"got {list(values.shape)} with {indices.dtype} {list(indices.shape)}"
            )
        self._dense_left -= size
        if self._dense_left < 0:
            raise UnsupportedError(
                f"{where}: a sparse tensor of {size} bytes when dense; the limit is {MAX_DENSE_BYTES}"
            )
        bound = np.array(dims, np.int64) if indices.ndim == 2 else count
        if ((indices < 0) | (indices >= bound)).any():
            raise ModelError(f"{where}: an index of the sparse tensor is outside of its shape {list(dims)}")
        flat = np.zeros(count, values.dtype)
        flat[np.ravel_multi_index(tuple(indices.T), dims) if indices.ndim == 2 and dims else indices.reshape(-1)] = (
            values
        )
        flat.setflags(write=False)
        return flat.reshape(dims)


def is_external(tensor: Any) -> bool:
    """Whether the data of a TensorProto is in a file of its own."""
    return tensor.HasField("data_location") and tensor.data_location == tensor.EXTERNAL


def _known_type(code: int, where: str) -> tuple[np.dtype, str, int]:
    try:
        return element_type(code)
    except KeyError:
        raise ModelError(f"{where}: expected an element type of ONNX, got number {code}") from None


def _known_dims(dims: Any, itemsize: int, where: str) -> tuple[int, ...]:
    """Dimensions that an array can have: none negative, not too many, and a size that a pointer can express."""
    dims = tuple(dims)
    if any(d < 0 for d in dims):
        raise ModelError(f"{where}: expected dimensions of at least 0, got {list(dims)[:MAX_RANK]}")
    if len(dims) > MAX_RANK:
        raise UnsupportedError(f"{where}: {len(dims)} dimensions; the limit is {MAX_RANK}")
    if math.prod(d for d in dims if d) * itemsize > MAX_BYTES:
        raise ModelError(f"{where}: dimensions {list(dims)} are more than memory can address")
    return dims


def _own_data(
    tensor: Any,
    dims: tuple[int, ...],
    stored: int,
    where: str,
    taken: Mapping[bytes, np.ndarray] = _NOTHING,
) -> np.ndarray:
    """The array of a tensor whose data is inside the message or taken out of it; `stored` is its size as raw data."""
    from onnx import numpy_helper

    dtype, kind, bits = element_type(tensor.data_type)
    field = _data_field(tensor.data_type)
    filled = [name for name in _DATA_FIELDS if len(getattr(tensor, name))]
    raw = tensor.raw_data  # each access makes a copy
    data = taken.get(raw)
    raw = raw if data is None else data
    has_raw = len(raw) > 0
    if has_raw:
        filled.append("raw_data")
    if len(filled) > 1 or (filled and filled[0] not in ("raw_data", field)) or (has_raw and kind == "string"):
        raise ModelError(f"{where}: expected the data of {kind} in raw_data or {field}, got {' and '.join(filled)}")
    count = math.prod(dims)
    if has_raw:
        expected, got, unit = stored, len(raw), "bytes"
    else:
        expected, got, unit = _typed_length(count, kind, bits), len(getattr(tensor, field)), f"elements of {field}"
    if expected != got:
        raise ModelError(f"{where}: expected {expected} {unit} for {kind}{list(dims)}, got {got}")
    if not filled:
        return np.empty(dims, dtype)
    if kind == "string":
        return np.array([text(s, where) for s in tensor.string_data], object).reshape(dims)
    if has_raw and bits == 8 * dtype.itemsize:
        return _elements(np.frombuffer(raw, np.uint8), dtype).reshape(dims)
    if kind in ("float", "double", "int64"):
        return np.array(getattr(tensor, field), dtype).reshape(dims)
    try:
        if data is not None:
            tensor = type(tensor)(data_type=tensor.data_type, dims=dims, raw_data=data.tobytes())
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, OverflowError) as error:
        raise ModelError(f"{where}: the data of {kind}{list(dims)} cannot be read: {error}") from error
    return np.ascontiguousarray(array).reshape(dims)


def _elements(data: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Bytes of a file, little endian, as elements; a bool is true for every byte but 0, where NumPy expects 1."""
    return data != 0 if dtype.kind == "b" else data.view(dtype.newbyteorder("<")).astype(dtype, copy=False)


@functools.lru_cache(maxsize=64)
def _data_field(code: int) -> str:
    """The field of a TensorProto that holds elements of a type when raw_data does not."""
    from onnx import helper

    return helper.tensor_dtype_to_field(code)


def _typed_length(count: int, kind: str, bits: int) -> int:
    """How many entries `count` elements take in the typed data field (``int32_data`` holds two int4 in an entry, …)."""
    if bits in (2, 4):
        return (count * bits + 7) // 8
    return 2 * count if kind.startswith("complex") else count


def value_of(info: Any, what: str, where: str) -> Value:
    """The :class:`Value` of a ValueInfoProto, the `what` ("input", "output") of a graph; its type may be absent."""
    name = text(info.name, f"the name of an {what} of {where}")
    if not name:
        raise ModelError(f"{where}: an {what} has no name")
    where = f"{what} {name!r} of {where}"
    kind, dtype, shape = "tensor", None, None
    which = info.type.WhichOneof("value") if info.HasField("type") else None
    if which == "tensor_type":
        tensor = info.type.tensor_type
        if tensor.elem_type:
            dtype = _known_type(tensor.elem_type, where)[0]
        if tensor.HasField("shape"):
            shape = tuple(_dim(d, where) for d in tensor.shape.dim)
    elif which is not None:
        kind = _kind(info.type, where)
    return Value(name, dtype, shape, kind)


def _dim(dim: Any, where: str) -> Dim:
    """One declared dimension; -1 is what older exporters write for an unknown one."""
    if dim.HasField("dim_value"):
        if dim.dim_value < -1:
            raise ModelError(f"{where}: expected dimensions of at least 0, got {dim.dim_value}")
        return None if dim.dim_value == -1 else dim.dim_value
    return text(dim.dim_param, where) or None


def _kind(proto: Any, where: str, depth: int = 0) -> str:
    """A type in ONNX's notation: ``seq(tensor(float))``."""
    which = proto.WhichOneof("value")
    inner: Any = getattr(proto, which) if which else None
    if depth > MAX_RANK or which is None:
        raise ModelError(f"{where}: expected a type of ONNX, got {'one nested too deep' if which else 'an empty one'}")
    if which in ("tensor_type", "sparse_tensor_type"):
        return f"{which.removesuffix('_type')}({_known_type(inner.elem_type, where)[1]})"
    if which == "map_type":
        return f"map({_known_type(inner.key_type, where)[1]},{_kind(inner.value_type, where, depth + 1)})"
    if which in ("sequence_type", "optional_type"):
        name = "seq" if which == "sequence_type" else "optional"
        return f"{name}({_kind(inner.elem_type, where, depth + 1)})"
    raise UnsupportedError(f"{where}: a value of {which.removesuffix('_type')} type")


def text(value: str | bytes, where: str) -> str:
    """A string field; protobuf hands out bytes where the file's are not UTF-8."""
    if isinstance(value, str):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise ModelError(f"{where}: expected UTF-8 text, got {bytes(value[:40])!r}") from None
