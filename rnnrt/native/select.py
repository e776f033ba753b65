"""TopK of a known k."""

from __future__ import annotations

import math

import numpy as np

from .._core.program import known_integer
from ..graph import Node
from .emitter import Emitter, Word
from .registry import native
from .tensor import Tensor

TYPES = ("float32", "float64", "int32", "int64")
INT64 = np.dtype(np.int64)
MOST = 128
"""Beyond this k, sorting by insertion takes too long."""


@native("TopK")
def top_k(emitter: Emitter, node: Node, x: Tensor, k: Tensor) -> tuple[Tensor, Tensor] | None:
    """The k largest (or smallest) elements along `axis`, sorted, and their int64 indices."""
    count, axis, rank = known_integer(k), node.attrs.get("axis", -1), x.ndim
    if count is None or x.dtype.name not in TYPES or not -rank <= axis < rank:
        return None
    axis %= rank
    if not 0 <= count <= min(x.shape[axis], MOST):
        return None
    x = emitter.contiguous(x)
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    y, index = emitter.empty(shape, x.dtype), emitter.empty(shape, INT64)
    if y.size:
        outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        largest = int(node.attrs.get("largest", 1) != 0)
        words: list[Word] = [x, y, index, outer, x.shape[axis], inner, count, largest]
        emitter.emit(f"top_k_{x.dtype.name}", words, x.size * 2)
    return y, index
