"""Normalisations: by batch statistics, instance, layer, group, root mean square, Lp norm, neighbouring channels.

All of them work in float32 or wider, whatever the type of X. Where ONNX names a `stash_type`, it is the least precision
of the statistics; scale and bias then act in X's own type.
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import UnsupportedError
from ..graph import Node
from .arguments import axis_of, integer, integers, mismatch, per_channel, real, widened
from .registry import Function, operator

_FLOAT, _DOUBLE, _BFLOAT16 = 1, 11, 16
"""ONNX's element types that stash_type may name besides float16."""


def _mean(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Mean over `axes`, which stay with size 1."""
    n = math.prod(x.shape[axis] for axis in axes)
    return np.add.reduce(x, axes, keepdims=True) / x.dtype.type(n)


def _standardized(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(x - mean) / sqrt(variance + epsilon)`` over `axes`, with the mean and ``1 / sqrt(...)``."""
    mean = _mean(x, axes)
    d = x - mean
    inverse = 1 / np.sqrt(_mean(d * d, axes) + epsilon)
    d *= inverse
    return d, mean, inverse


def _channels(node: Node, x: np.ndarray, **vectors: np.ndarray) -> list[np.ndarray]:
    """The named vectors of shape (C,), viewed to broadcast along axis 1 of `x` (an `x` of one axis has one channel)."""
    n = x.shape[1:2] if x.ndim > 1 else (1,)
    for name, v in vectors.items():
        if v.shape != n:
            raise mismatch(node, name, f"shape {n}", v.shape)
    return [per_channel(widened(v), x.ndim) for v in vectors.values()]


@operator("BatchNormalization", multiple=True)
def build_batch_normalization(node: Node) -> Function:
    """By given statistics, or in training mode by those of X, which then also move the running ones."""
    epsilon, momentum = real(node, "epsilon", 1e-5), real(node, "momentum", 0.9)
    training = integer(node, "training_mode", 0)
    if not training and any(node.outputs[1:]):
        raise UnsupportedError(f"{node.label()}: statistics as outputs without training_mode")

    def run(
        x: np.ndarray, scale: np.ndarray, b: np.ndarray, mean: np.ndarray, var: np.ndarray
    ) -> tuple[np.ndarray | None, ...]:
        wide = widened(x)
        a, c, m, v = _channels(node, x, scale=scale, B=b, input_mean=mean, input_var=var)
        outputs: tuple[np.ndarray | None, ...] = (None, None)
        if training:
            axes = (0, *range(2, x.ndim))
            now = _mean(wide, axes)
            d = wide - now
            spread = _mean(d * d, axes)
            outputs = tuple(
                (old * momentum + new.reshape(old.shape) * (1 - momentum)).astype(old.dtype)
                for old, new in ((mean, now), (var, spread))
            )
            m, v = now.astype(wide.dtype), spread
        y = (wide - m) * (a / np.sqrt(v + epsilon)) + c
        return (y.astype(x.dtype, copy=False), *outputs)[: len(node.outputs)]

    return run


@operator("InstanceNormalization")
def build_instance_normalization(node: Node) -> Function:
    """By the statistics of each channel of each instance."""
    epsilon = real(node, "epsilon", 1e-5)

    def run(x: np.ndarray, scale: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, c = _channels(node, x, scale=scale, B=b)
        y, _, _ = _standardized(widened(x), tuple(range(2, x.ndim)), epsilon)
        y *= a
        y += c
        return y.astype(x.dtype, copy=False)

    return run


def _stash(node: Node) -> np.dtype:
    """The least precision of the statistics."""
    kind = integer(node, "stash_type", _FLOAT)
    return np.dtype(np.float64 if kind == _DOUBLE else np.float32)


def _stashed(x: np.ndarray, stash: np.dtype) -> np.ndarray:
    return x.astype(stash if x.dtype.itemsize < stash.itemsize else x.dtype, copy=False)


def _affine(node: Node, y: np.ndarray, scale: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """``y * scale + b`` in the type of y, which both have to broadcast to."""
    shape = y.shape
    try:
        y = y * scale
        y = y if b is None else y + b
    except ValueError:
        raise mismatch(node, "scale and bias", f"shapes that broadcast to {shape}", _shapes(scale, b)) from None
    if y.shape != shape:
        raise mismatch(node, "scale and bias", f"shapes that broadcast to {shape}", _shapes(scale, b))
    return y


def _shapes(*arrays: np.ndarray | None) -> str:
    return " and ".join(str(a.shape) for a in arrays if a is not None)


@operator("LayerNormalization", multiple=True)
def build_layer_normalization(node: Node) -> Function:
    """Over the axes from `axis` on; Mean and InvStdDev come in the stash type."""
    axis, epsilon, stash = integer(node, "axis", -1), real(node, "epsilon", 1e-5), _stash(node)
    narrow = integer(node, "stash_type", _FLOAT) == _BFLOAT16

    def run(x: np.ndarray, scale: np.ndarray, b: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        axes = tuple(range(axis_of(node, axis, x.ndim), x.ndim))
        y, *statistics = _standardized(_stashed(x, stash), axes, epsilon)
        y = _affine(node, y.astype(x.dtype, copy=False), scale, b)
        if len(node.outputs) == 1:
            return (y,)
        kind = _bfloat16() if narrow else stash
        return (y, *(s.astype(kind, copy=False) for s in statistics))[: len(node.outputs)]

    return run


def _bfloat16() -> np.dtype:
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


@operator("RMSNormalization")
def build_rms_normalization(node: Node) -> Function:
    """``x / sqrt(mean(x²) + epsilon) * scale`` over the axes from `axis` on; Y has the type of scale."""
    axis, epsilon, stash = integer(node, "axis", -1), real(node, "epsilon", 1e-5), _stash(node)

    def run(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
        axes = tuple(range(axis_of(node, axis, x.ndim), x.ndim))
        wide = _stashed(x, stash)
        y = wide / np.sqrt(_mean(wide * wide, axes) + epsilon)
        return _affine(node, y.astype(x.dtype, copy=False).astype(scale.dtype, copy=False), scale, None)

    return run


@operator("GroupNormalization")
def build_group_normalization(node: Node) -> Function:
    """By the statistics of each group of channels of each instance; scale and bias are one a channel."""
    groups, epsilon, stash = integer(node, "num_groups", least=1), real(node, "epsilon", 1e-5), _stash(node)

    def run(x: np.ndarray, scale: np.ndarray, b: np.ndarray) -> np.ndarray:
        if x.ndim < 2 or x.shape[1] % groups:
            raise mismatch(node, "input", f"(N, C, ...) with C a multiple of {groups}", f"shape {x.shape}")
        n, c = x.shape[:2]
        for name, v in (("scale", scale), ("bias", b)):
            if v.shape != (c,):
                raise mismatch(node, name, f"shape {(c,)}", v.shape)
        split = _stashed(x, stash).reshape(n, groups, c // groups * math.prod(x.shape[2:]))
        y, _, _ = _standardized(split, (2,), epsilon)
        y = y.reshape(x.shape).astype(x.dtype, copy=False)
        return y * per_channel(scale, x.ndim) + per_channel(b, x.ndim)

    return run


@operator("LpNormalization")
def build_lp_normalization(node: Node) -> Function:
    """``x / norm`` along an axis, p = 1 or 2; zero where the norm is zero."""
    axis, p = integer(node, "axis", -1), integer(node, "p", 2)
    if p not in (1, 2):
        raise UnsupportedError(f"{node.label()}: attribute 'p': expected 1 or 2, got {p}")

    def run(x: np.ndarray) -> np.ndarray:
        k, wide = axis_of(node, axis, x.ndim), widened(x)
        norm = np.add.reduce(np.abs(wide) if p == 1 else wide * wide, k, keepdims=True)
        norm = norm if p == 1 else np.sqrt(norm)
        return np.where(norm == 0, wide.dtype.type(0), wide / norm).astype(x.dtype, copy=False)

    return run


@operator("LRN")
def build_lrn(node: Node) -> Function:
    """``x / (bias + alpha / size * s) ** beta`` with s the sum of squares over `size` channels around each."""
    size = integer(node, "size", least=1)
    alpha, beta, bias = real(node, "alpha", 1e-4), real(node, "beta", 0.75), real(node, "bias", 1.0)

    def run(x: np.ndarray) -> np.ndarray:
        if x.ndim < 2:
            raise mismatch(node, "input", "at least 2 axes (N, C, ...)", f"shape {x.shape}")
        wide = widened(x)
        squares, c = wide * wide, x.shape[1]
        total = np.zeros_like(squares)
        for shift in range(-min((size - 1) // 2, c), min(size // 2, c) + 1):
            to, source = slice(max(-shift, 0), c - max(shift, 0)), slice(max(shift, 0), c - max(-shift, 0))
            total[:, to] += squares[:, source]
        return (wide / (bias + alpha / size * total) ** beta).astype(x.dtype, copy=False)

    return run


@operator("MeanVarianceNormalization")
def build_mean_variance_normalization(node: Node) -> Function:
    """``(x - mean) / (standard deviation + 1e-9)`` over `axes`."""
    given = integers(node, "axes")
    axes = (0, 2, 3) if given is None else given

    def run(x: np.ndarray) -> np.ndarray:
        over = tuple(axis_of(node, axis, x.ndim) for axis in axes)
        wide = widened(x)
        d = wide - _mean(wide, over)
        return (d / (np.sqrt(_mean(d * d, over)) + 1e-9)).astype(x.dtype, copy=False)

    return run
