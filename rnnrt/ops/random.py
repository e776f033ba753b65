"""Operators that draw at random: normal and uniform numbers, Bernoulli and Multinomial.

A node with the attribute `seed` draws the same sequence in every process, call after call; any other one begins anew.
The numbers are NumPy's, not those of another runtime.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np

from ..errors import InputError
from ..graph import Node
from .common import dtype_of, number, required
from .limits import check_size
from .registry import Function, operator

RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
"""Nodes of these operators are not the same for being alike, nor are they known for having no inputs."""


class _Source:
    """Random numbers for one node, whichever thread asks."""

    def __init__(self, node: Node) -> None:
        seed = node.attrs.get("seed")
        bits = None if seed is None else int(np.float32(seed).view(np.uint32))
        self._generator, self._lock = np.random.default_rng(bits), Lock()
        self._label = node.label()

    def uniform(self, shape: Any) -> np.ndarray:
        """Float64 from 0 to below 1."""
        check_size(shape, np.dtype(np.float64), self._label)
        with self._lock:
            return self._generator.random(shape)

    def normal(self, shape: Any) -> np.ndarray:
        """Float64 of mean 0 and deviation 1."""
        check_size(shape, np.dtype(np.float64), self._label)
        with self._lock:
            return self._generator.standard_normal(shape)


def _drawn(node: Node) -> Any:
    """The function of a shape that draws what the node says."""
    source = _Source(node)
    if node.op.startswith("RandomNormal"):
        mean, scale = number(node, "mean", 0.0), number(node, "scale", 1.0)
        return lambda shape: source.normal(shape) * scale + mean
    low, high = number(node, "low", 0.0), number(node, "high", 1.0)
    return lambda shape: source.uniform(shape) * (high - low) + low


@operator("RandomNormal", "RandomUniform")
def build_random(node: Node) -> Function:
    """Numbers of the shape and dtype that the attributes give."""
    shape, dtype = tuple(required(node, "shape")), dtype_of(node, "dtype", 1)
    drawn = _drawn(node)
    return lambda: drawn(shape).astype(dtype)


@operator("RandomNormalLike", "RandomUniformLike")
def build_random_like(node: Node) -> Function:
    """Numbers of the input's shape, and of its dtype unless another one is given."""
    dtype = dtype_of(node, "dtype") if "dtype" in node.attrs else None
    drawn = _drawn(node)
    return lambda x: drawn(x.shape).astype(dtype or x.dtype)


@operator("Bernoulli")
def build_bernoulli(node: Node) -> Function:
    """Ones with the probabilities of the input, else zeros, of its dtype unless another one is given."""
    dtype = dtype_of(node, "dtype") if "dtype" in node.attrs else None
    source = _Source(node)
    return lambda p: (source.uniform(p.shape) < p).astype(dtype or p.dtype)


@operator("Multinomial")
def build_multinomial(node: Node) -> Function:
    """Numbers of classes (batch, sample_size), drawn with probabilities whose logarithms are given, up to a summand."""
    dtype, count, label = dtype_of(node, "dtype", 6), node.attrs.get("sample_size", 1), node.label()
    source = _Source(node)

    def run(logits: np.ndarray) -> np.ndarray:
        if logits.ndim != 2 or not logits.shape[1]:
            raise InputError(f"{label}: expected (batch, classes), got {list(logits.shape)}")
        wide = logits.astype(np.float64)
        below = np.cumsum(np.exp(wide - wide.max(axis=1, keepdims=True)), axis=1)
        at = source.uniform((len(logits), count)) * below[:, -1:]
        found = [np.searchsorted(row, places, side="right") for row, places in zip(below, at, strict=True)]
        return np.minimum(np.array(found).reshape(at.shape), logits.shape[1] - 1).astype(dtype)

    return run
