"""Reading from and writing to places that a tensor of indices names. Negative indices count from the end."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..graph import Node
from .common import choice, normal_axis
from .limits import check_size
from .registry import Function, operator

REDUCTIONS = ("none", "add", "mul", "max", "min")
_UFUNCS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


@operator("Gather")
def build_gather(node: Node) -> Function:
    """Slices of `data` along `axis`, in the shape of the indices; a view where there is one index."""
    axis, label = node.attrs.get("axis", 0), node.label()
    before = (slice(None),) * axis if axis >= 0 else None

    def run(data: np.ndarray, indices: np.ndarray) -> np.ndarray:
        try:
            if indices.ndim == 0 and before is not None:
                return data[(*before, int(indices), ...)]
            y = data.take(indices, axis)
            return y if y.__class__ is np.ndarray else np.asarray(y, data.dtype)
        except (IndexError, TypeError):
            raise _bad_index(label, data, indices, axis) from None

    return run


def _bad_index(label: str, data: np.ndarray, indices: np.ndarray, axis: int) -> InputError:
    if not -data.ndim <= axis < data.ndim:
        return InputError(f"{label}: expected an axis of {list(data.shape)}, got {axis}")
    if indices.dtype.kind not in "iu":
        return InputError(f"{label}: expected integer indices, got {indices.dtype}")
    n = data.shape[axis]
    span = f"{indices.min()} to {indices.max()}" if indices.size else "none"
    return InputError(f"{label}: expected indices in [{-n}, {n - 1}] along axis {axis}, got {span}")


def _grid(shape: tuple[int, ...]) -> list[np.ndarray]:
    """For each axis its positions, shaped to broadcast to `shape`."""
    return list(np.ogrid[tuple(slice(n) for n in shape)]) if shape else []


@operator("GatherElements")
def build_gather_elements(node: Node) -> Function:
    """out[i, j, ...] = data[indices[i, j, ...], j, ...] for axis 0, and alike for others."""
    axis, label = node.attrs.get("axis", 0), node.label()

    def run(data: np.ndarray, indices: np.ndarray) -> np.ndarray:
        return data[_element_places(data, indices, axis, label)]

    return run


def _element_places(data: np.ndarray, indices: np.ndarray, axis: int, label: str) -> tuple[np.ndarray, ...]:
    """The index tuple that GatherElements reads from and ScatterElements writes to, checked."""
    along = normal_axis(axis, data.ndim, label)
    rest = [k for k in range(data.ndim) if k != along]
    if indices.ndim != data.ndim or any(indices.shape[k] > data.shape[k] for k in rest):
        raise InputError(f"{label}: indices of shape {list(indices.shape)} do not fit into {list(data.shape)}")
    n = data.shape[along]
    if indices.dtype.kind not in "iu" or (indices.size and not (-n <= indices.min() and indices.max() < n)):
        raise _bad_index(label, data, indices, along)
    places = _grid(indices.shape)
    places[along] = indices
    return tuple(places)


@operator("GatherND")
def build_gather_nd(node: Node) -> Function:
    """Slices of `data` at the index tuples in the last axis of `indices`, for each of `batch_dims` leading axes."""
    batch, label = node.attrs.get("batch_dims", 0), node.label()

    def run(data: np.ndarray, indices: np.ndarray) -> np.ndarray:
        return np.asarray(data[_tuple_places(data, indices, batch, label)])

    return run


def _tuple_places(data: np.ndarray, indices: np.ndarray, batch: int, label: str) -> tuple[np.ndarray, ...]:
    """The index tuple that GatherND reads from and ScatterND writes to, checked."""
    k = indices.shape[-1] if indices.ndim else 0
    lead = indices.shape[:batch]
    if indices.ndim <= batch or not 1 <= k <= data.ndim - batch or lead != data.shape[:batch] or batch < 0:
        raise InputError(
            f"{label}: indices of shape {list(indices.shape)} with {batch} batch axes do not fit {list(data.shape)}"
        )
    sizes = np.array(data.shape[batch : batch + k])
    if indices.dtype.kind not in "iu" or (indices.size and ((indices < -sizes) | (indices >= sizes)).any()):
        raise InputError(f"{label}: expected integer indices into axes of sizes {sizes.tolist()}")
    grid = [g.reshape(g.shape + (1,) * (indices.ndim - 1 - batch)) for g in _grid(lead)]
    return (*grid, *(indices[..., j] for j in range(k)))


@operator("ScatterND")
def build_scatter_nd(node: Node) -> Function:
    """A copy of `data` with slices replaced by, or combined with, `updates` at the index tuples of `indices`."""
    reduction, label = choice(node, "reduction", "none", REDUCTIONS), node.label()

    def run(data: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
        places = _tuple_places(data, indices, 0, label)
        expected = indices.shape[:-1] + data.shape[indices.shape[-1] :]
        return _written(data, places, updates, expected, reduction, label)

    return run


@operator("ScatterElements")
def build_scatter_elements(node: Node) -> Function:
    """A copy of `data` with out[indices[i, j, ...], j, ...] set to, or combined with, updates[i, j, ...] for axis 0."""
    axis, label = node.attrs.get("axis", 0), node.label()
    reduction = choice(node, "reduction", "none", REDUCTIONS)

    def run(data: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
        places = _element_places(data, indices, axis, label)
        return _written(data, places, updates, indices.shape, reduction, label)

    return run


def _written(
    data: np.ndarray, places: tuple, updates: np.ndarray, expected: tuple[int, ...], reduction: str, label: str
) -> np.ndarray:
    if updates.shape != expected:
        raise InputError(f"{label}: expected updates of shape {list(expected)}, got {list(updates.shape)}")
    y = data.copy()
    if reduction == "none":
        y[places] = updates
    else:
        _UFUNCS[reduction].at(y, places, updates)
    return y


@operator("OneHot")
def build_one_hot(node: Node) -> Function:
    """A new axis of size `depth` with the second of `values` at each index and the first elsewhere."""
    axis, label = node.attrs.get("axis", -1), node.label()

    def run(indices: np.ndarray, depth: np.ndarray, values: np.ndarray) -> np.ndarray:
        if depth.size != 1 or values.shape != (2,):
            shapes = f"{list(depth.shape)}, {list(values.shape)}"
            raise InputError(f"{label}: expected one depth and two values, got {shapes}")
        n, along = int(depth.item()), normal_axis(axis, indices.ndim + 1, label)
        check_size((*indices.shape, n), values.dtype, label)
        index = indices.astype(np.int64, copy=False)
        hot = np.expand_dims(np.where(index < 0, index + n, index), along)
        classes = np.arange(n).reshape((n,) + (1,) * (indices.ndim - along))
        return np.where(hot == classes, values[1], values[0])

    return run
