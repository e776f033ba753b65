"""Shapes and what only changes them: results are views of the input wherever NumPy can give one."""

from __future__ import annotations

import math

import numpy as np

from ..errors import InputError, ModelError, UnsupportedError
from ..graph import Node
from .common import dtype_of, integers, normal_axes
from .limits import check_size
from .registry import Function, operator


@operator("Shape")
def build_shape(node: Node) -> Function:
    """The sizes of axes start to end, int64."""
    start, end = node.attrs.get("start", 0), node.attrs.get("end")
    if not start and end is None:
        return lambda x: np.array(x.shape, np.int64)
    return lambda x: np.array(x.shape[slice(*_clamped(start, end, x.ndim))], np.int64)


def _clamped(start: int, end: int | None, rank: int) -> tuple[int, int]:
    ends = (start, rank if end is None else end)
    first, last = (min(max(e + rank if e < 0 else e, 0), rank) for e in ends)
    return first, last


@operator("Size")
def build_size(node: Node) -> Function:
    """The number of elements, int64."""
    return lambda x: np.array(x.size, np.int64)


@operator("Identity")
def build_identity(node: Node) -> Function:
    """The input itself, a sequence or an absent optional too."""
    return lambda x: x


@operator("Reshape")
def build_reshape(node: Node) -> Function:
    """The elements in another shape; 0 keeps a size unless `allowzero`, one -1 stands for what is left."""
    keep_zero, label = not node.attrs.get("allowzero", 0), node.label()

    def run(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
        sizes = integers(shape, label)
        if 0 in sizes:
            sizes = _resolve_zeros(x.shape, sizes, keep_zero, label)
        if sizes and min(sizes) < -1:
            raise InputError(f"{label}: expected sizes of at least -1, got {sizes}")
        try:
            return x.reshape(sizes)
        except ValueError:
            given = f"{x.size} elements of {list(x.shape)}"
            raise InputError(f"{label}: expected a shape for {given}, got {sizes}") from None

    return run


def _resolve_zeros(shape: tuple[int, ...], sizes: list[int], keep: bool, label: str) -> list[int]:
    """Sizes with zeros replaced, and with -1 too where NumPy could not tell it because the tensor is empty."""
    kept = [k for k, n in enumerate(sizes) if n == 0 and keep]
    if kept and kept[-1] >= len(shape):
        raise InputError(f"{label}: size 0 at axis {kept[-1]} of {sizes} keeps nothing: the input is {list(shape)}")
    full = [shape[k] if k in kept else n for k, n in enumerate(sizes)]
    if -1 not in full or 0 not in full:
        return full
    left = math.prod(n for k, n in enumerate(shape) if k not in kept)
    given = math.prod(n for k, n in enumerate(full) if k not in kept and n != -1)
    if given <= 0 or left % given or full.count(-1) > 1:
        raise InputError(f"{label}: no size for the -1 of {sizes} follows from {list(shape)}")
    full[full.index(-1)] = left // given
    return full


@operator("Transpose")
def build_transpose(node: Node) -> Function:
    """Axes in the order `perm`, reversed by default."""
    perm, label = node.attrs.get("perm"), node.label()
    if perm is None:
        return lambda x: x.T
    perm = tuple(perm)
    if sorted(perm) != list(range(len(perm))):
        raise ModelError(f"{label}: expected a permutation of {len(perm)} axes, got {list(perm)}")

    def run(x: np.ndarray) -> np.ndarray:
        if x.ndim != len(perm):
            raise InputError(f"{label}: expected {len(perm)} axes to permute, got {list(x.shape)}")
        return x.transpose(perm)

    return run


@operator("Squeeze")
def build_squeeze(node: Node) -> Function:
    """Without the axes given, each of size 1; without all axes of size 1 if none is given."""
    label = node.label()

    def run(x: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
        if axes is None:
            return x.squeeze()
        try:
            return x.squeeze(tuple(integers(axes, label)))
        except ValueError:
            raise InputError(f"{label}: expected axes of size 1, got axes {axes.tolist()} of {list(x.shape)}") from None

    return run


@operator("Unsqueeze")
def build_unsqueeze(node: Node) -> Function:
    """With axes of size 1 where `axes`, which count in the output, say."""
    label = node.label()

    def run(x: np.ndarray, axes: np.ndarray) -> np.ndarray:
        new = integers(axes, label)
        rank = x.ndim + len(new)
        if len(new) == 1 and -rank <= new[0] < rank:
            before = new[0] if new[0] >= 0 else new[0] + rank
            return x.reshape((*x.shape[:before], 1, *x.shape[before:]))
        shape = list(x.shape)
        for axis in sorted(normal_axes(new, rank, label)):
            shape.insert(axis, 1)
        return x.reshape(shape)

    return run


@operator("Flatten")
def build_flatten(node: Node) -> Function:
    """Two axes: the ones before `axis`, and the rest."""
    axis, label = node.attrs.get("axis", 1), node.label()

    def run(x: np.ndarray) -> np.ndarray:
        shape, rank = x.shape, x.ndim
        if not -rank <= axis <= rank:
            raise InputError(f"{label}: expected an axis in [{-rank}, {rank}], got {axis}")
        first = axis + rank if axis < 0 else axis
        return x.reshape(math.prod(shape[:first]), math.prod(shape[first:]))

    return run


@operator("Expand")
def build_expand(node: Node) -> Function:
    """The input broadcast together with `shape`, in memory of its own unless that changes nothing."""
    label = node.label()

    def run(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
        sizes = integers(shape, label)
        full = [1] * (x.ndim - len(sizes)) + sizes
        own = (1,) * (len(full) - x.ndim) + x.shape
        full = [b if a == 1 else a if b in (1, a) else -1 for a, b in zip(own, full, strict=True)]
        if -1 in full:
            raise InputError(f"{label}: {list(x.shape)} does not broadcast with {sizes}")
        if tuple(full) == x.shape:
            return x
        check_size(full, x.dtype, label)
        y = np.empty(full, x.dtype)
        y[...] = x
        return y

    return run


@operator("Constant")
def build_constant(node: Node) -> Function:
    """The tensor that an attribute holds."""
    value = constant_value(node)
    return lambda: value


def constant_value(node: Node) -> np.ndarray:
    """The tensor of a Constant node, from whichever of its attributes is there.

    Raises
    ------
    ModelError
        If there is none or more than one.
    """
    given = [key for key in node.attrs if key in _CONSTANT_DTYPES]
    if len(given) != 1:
        raise ModelError(f"{node.label()}: expected one value attribute, got {', '.join(given) or 'none'}")
    value, dtype = node.attrs[given[0]], _CONSTANT_DTYPES[given[0]]
    if dtype is None:
        if not isinstance(value, np.ndarray):
            raise UnsupportedError(f"{node.label()}: attribute {given[0]!r} of type {type(value).__name__}")
        return value
    if dtype is object:
        value = value.decode() if isinstance(value, bytes) else value
        if isinstance(value, list):
            value = [v.decode() if isinstance(v, bytes) else v for v in value]
    return np.array(value, dtype)


_CONSTANT_DTYPES = {
    "value": None,
    "sparse_value": None,
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
    "value_string": object,
    "value_strings": object,
}


@operator("ConstantOfShape")
def build_constant_of_shape(node: Node) -> Function:
    """A tensor of the shape given, filled with the attribute `value` (float32 zero by default)."""
    label = node.label()
    value = node.attrs.get("value", np.zeros(1, np.float32))
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise ModelError(f"{label}: expected a tensor with one element as the value")
    dtype, value = value.dtype, value.reshape(())
    zero = dtype.kind != "O" and not value.tobytes().strip(b"\0")

    def run(shape: np.ndarray) -> np.ndarray:
        sizes = integers(shape, label)
        check_size(sizes, dtype, label)
        if zero:
            return np.zeros(sizes, dtype)
        y = np.empty(sizes, dtype)
        y[...] = value
        return y

    return run


@operator("EyeLike")
def build_eye_like(node: Node) -> Function:
    """Ones on diagonal `k` of a matrix with the input's shape, in its dtype or the one given."""
    dtype = dtype_of(node, "dtype") if "dtype" in node.attrs else None
    k, label = node.attrs.get("k", 0), node.label()

    def run(x: np.ndarray) -> np.ndarray:
        if x.ndim != 2:
            raise InputError(f"{label}: expected a matrix, got {list(x.shape)}")
        return np.eye(x.shape[0], x.shape[1], k=max(min(k, x.shape[1]), -x.shape[0]), dtype=dtype or x.dtype)

    return run


@operator("Range")
def build_range(node: Node) -> Function:
    """start, start + delta, ... short of limit; float16 and bfloat16 are computed in float32 and rounded."""
    label = node.label()

    def run(start: np.ndarray, limit: np.ndarray, delta: np.ndarray) -> np.ndarray:
        if start.size != 1 or limit.size != 1 or delta.size != 1:
            raise InputError(f"{label}: expected scalars, got {[list(a.shape) for a in (start, limit, delta)]}")
        dtype = start.dtype
        first, last, step = start.item(), limit.item(), delta.item()
        if step == 0:
            raise InputError(f"{label}: expected a step other than 0")
        if dtype.kind in "iu":
            n = max(-((first - last) // step), 0)
            check_size((n,), np.dtype(np.int64), label)
            return (first + np.arange(n, dtype=np.int64) * step).astype(dtype)
        n = _steps(float(first), float(last), float(step), label)
        check_size((n,), dtype, label)
        wide = np.dtype(np.float32) if dtype.itemsize == 2 else dtype
        y = np.arange(n, dtype=wide) * wide.type(step) + wide.type(first)
        return y.astype(dtype, copy=False)

    return run


def _steps(first: float, last: float, step: float, label: str) -> int:
    count = (last - first) / step
    if not math.isfinite(count):
        raise InputError(f"{label}: no finite number of steps of {step} leads from {first} to {last}")
    return max(math.ceil(count), 0)


@operator("Dropout", multiple=True)
def build_dropout(node: Node) -> Function:
    """Inference: the data itself, and a mask that keeps everything. Dropping at random is refused."""
    label, with_mask = node.label(), bool(node.output(1))

    def run(x: np.ndarray, ratio: np.ndarray | None = None, training: np.ndarray | None = None) -> tuple:
        if training is not None and training.item() and (ratio is None or ratio.item()):
            raise UnsupportedError(f"{label}: dropout in training mode, whose answer is random")
        return (x, np.ones(x.shape, np.bool_)) if with_mask else (x,) * len(node.outputs)

    return run


@operator("Tile")
def build_tile(node: Node) -> Function:
    """The input repeated along each axis."""
    label = node.label()

    def run(x: np.ndarray, repeats: np.ndarray) -> np.ndarray:
        counts = integers(repeats, label)
        if len(counts) != x.ndim:
            raise InputError(f"{label}: expected {x.ndim} repeats for {list(x.shape)}, got {counts}")
        if counts.count(1) == len(counts):
            return x
        check_size([n * r if r >= 0 else r for n, r in zip(x.shape, counts, strict=True)], x.dtype, label)
        return np.tile(x, counts)

    return run


@operator("CenterCropPad")
def build_center_crop_pad(node: Node) -> Function:
    """Crop or zero-pad each of `axes` evenly at both ends to the sizes given."""
    chosen, label = node.attrs.get("axes"), node.label()

    def run(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
        sizes = integers(shape, label)
        axes = list(range(x.ndim)) if chosen is None else normal_axes(list(chosen), x.ndim, label)
        if len(axes) != len(sizes):
            raise InputError(f"{label}: expected {len(axes)} sizes, got {sizes}")
        full = list(x.shape)
        source, target = [slice(None)] * x.ndim, [slice(None)] * x.ndim
        for axis, size in zip(axes, sizes, strict=True):
            own, full[axis] = full[axis], size
            spare = abs(size - own) // 2
            inside = slice(spare, spare + min(size, own))
            (target if size > own else source)[axis] = inside
        check_size(full, x.dtype, label)
        y = np.zeros(full, x.dtype)
        y[tuple(target)] = x[tuple(source)]
        return y

    return run
