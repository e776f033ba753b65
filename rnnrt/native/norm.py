"""Normalisations and softmax of float32, as steps of op_norm.h."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import Node
from .emitter import FLOAT, Emitter, Word
from .product import NOTHING
from .reduce import _around
from .registry import native
from .tensor import Tensor

MEAN = 1
EPILOGUE, AFFINE_EPILOGUE = 10, 8
"""Where the activation stands among the words of op_norm and op_affine."""


def _axis(node: Node, x: Tensor) -> int | None:
    axis = int(node.attrs.get("axis", -1))
    return axis % x.ndim if -x.ndim <= axis < x.ndim else None


def _floats(*tensors: Tensor | None) -> bool:
    return all(t is None or t.dtype == FLOAT for t in tensors)


@native("Softmax", "LogSoftmax", "LpNormalization")
def along(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """What divides by a sum along one axis."""
    axis = _axis(node, x)
    if x.dtype != FLOAT or axis is None:
        return None
    kind = int(node.attrs.get("p", 2)) if node.op == "LpNormalization" else int(node.op == "LogSoftmax")
    if node.op == "LpNormalization" and kind not in (1, 2):
        return None
    y = emitter.empty(x.shape)
    if x.size:
        op = "lp" if node.op == "LpNormalization" else "softmax"
        emitter.emit(op, [emitter.contiguous(x), y, *_around(x.shape, axis, axis + 1), kind], 8 * x.size)
    return y


def _norm(
    emitter: Emitter,
    x: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    rows: int,
    epsilon: float,
    flags: int = MEAN,
    segments: int = 0,
    period: int = 1,
) -> Tensor:
    y = emitter.empty(x.shape)
    if not x.size:
        return y
    known: list[Word] = [NOTHING if t is None else emitter.contiguous(t) for t in (scale, bias)]
    words = [emitter.contiguous(x), y, *known, rows, x.size // rows, flags, segments, period, epsilon, -1, 0.0, 0.0]
    step = emitter.emit("norm", words, 4 * x.size)
    step.epilogue = EPILOGUE
    y.producer = step
    return y


def _epsilon(node: Node) -> float:
    return float(node.attrs.get("epsilon", 1e-5))


def _fitted(emitter: Emitter, t: Tensor | None, shape: tuple[int, ...], whole: tuple[int, ...]) -> Tensor | None:
    """A scale or bias as one number for each element of the axes normalised (`shape`), None if it is not that."""
    if t is None:
        return None
    own = t.shape
    if len(own) <= len(whole) and own[max(0, len(own) - len(shape)) :] == shape and math.prod(own) == math.prod(shape):
        return t
    if t.value is None:
        return None
    lead, tail = own[: max(0, len(own) - len(shape))], own[max(0, len(own) - len(shape)) :]
    if any(n != 1 for n in lead) or len(own) > len(whole):
        return None
    if any(n not in (1, to) for n, to in zip(reversed(tail), reversed(shape), strict=False)):
        return None
    return emitter.packed(("spread", shape), t.value, lambda a: np.broadcast_to(a.reshape(tail), shape).copy())


@native("LayerNormalization", "RMSNormalization")
def layer_normalization(emitter: Emitter, node: Node, x: Tensor, scale: Tensor, b: Tensor | None = None) -> Any:
    """Over the axes from `axis` on, one output."""
    axis = _axis(node, x)
    if axis is None or not _floats(x, scale, b) or any(node.outputs[1:]) or node.attrs.get("stash_type", 1) != 1:
        return None
    shape = x.shape[axis:]
    a, c = _fitted(emitter, scale, shape, x.shape), _fitted(emitter, b, shape, x.shape)
    if a is None or (b is not None and c is None):
        return None
    flags = MEAN if node.op == "LayerNormalization" else 0
    y = _norm(emitter, x, a, c, math.prod(x.shape[:axis]), _epsilon(node), flags)
    return (y, *(None for _ in node.outputs[1:])) if len(node.outputs) > 1 else y


@native("InstanceNormalization", "GroupNormalization")
def group_normalization(emitter: Emitter, node: Node, x: Tensor, scale: Tensor, b: Tensor) -> Tensor | None:
    """By the statistics of each channel, or group of channels, of each instance."""
    if x.ndim < 2 or not _floats(x, scale, b) or node.attrs.get("stash_type", 1) != 1:
        return None
    n, channels = x.shape[:2]
    groups = int(node.attrs.get("num_groups", 0)) if node.op == "GroupNormalization" else channels
    if scale.shape != (channels,) or b.shape != (channels,) or groups < 1 or channels % groups:
        return None
    segments = channels // groups if x.size != n * channels else 0
    return _norm(emitter, x, scale, b, n * groups, _epsilon(node), MEAN, segments, groups)


@native("BatchNormalization")
def batch_normalization(
    emitter: Emitter, node: Node, x: Tensor, scale: Tensor, b: Tensor, mean: Tensor, var: Tensor
) -> Any:
    """By given statistics; those and the scale are known."""
    if node.attrs.get("training_mode", 0) or any(node.outputs[1:]) or not _floats(x, scale, b, mean, var):
        return None
    channels = x.shape[1] if x.ndim > 1 else 1
    if any(t.shape != (channels,) for t in (scale, b, mean, var)) or scale.value is None or var.value is None:
        return None
    y = emitter.empty(x.shape)
    if x.size:
        spread, epsilon = var.value, np.float32(_epsilon(node))
        key = ("factor", spread.tobytes(), float(epsilon))
        factor = emitter.packed(key, scale.value, lambda a: a / np.sqrt(spread + epsilon))
        if x.ndim > 1:
            outer, n, inner = _around(x.shape, 1, 2)
        else:
            outer, n, inner = 1, 1, x.size
        known: list[Word] = [emitter.contiguous(mean), factor, emitter.contiguous(b)]
        step = emitter.emit("affine", [emitter.contiguous(x), y, *known, outer, n, inner, -1, 0.0, 0.0], x.size)
        step.epilogue = AFFINE_EPILOGUE
        y.producer = step
    return (y, *(None for _ in node.outputs[1:])) if len(node.outputs) > 1 else y
