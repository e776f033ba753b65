"""STFT of a real float32 signal, as one product of its frames, which overlap where they lie, and the waves."""

from __future__ import annotations

import numpy as np

from .._core.program import known_integer
from ..graph import Node
from ..ops.arguments import integer
from ..ops.limits import check_size
from ..ops.spectral import sizes
from .emitter import FLOAT, Emitter
from .product import Product
from .registry import native
from .tensor import Tensor

MOST = 1024
"""Samples of a frame: of more, waves take more memory, and a fast transform less time."""


@native("STFT")
def stft(
    emitter: Emitter, node: Node, x: Tensor, step: Tensor, window: Tensor | None = None, length: Tensor | None = None
) -> Tensor | None:
    """Frames of a known length at known distances, times a known window if there is one."""
    hop = known_integer(step)
    n = known_integer(length)
    known = hop is not None and (length is None or n is not None) and (window is None or window.value is not None)
    if not known or x.dtype != FLOAT or x.shape[2:] not in ((), (1,)) or x.ndim < 2:
        return None
    assert hop is not None
    onesided = bool(integer(node, "onesided", 1))
    n, shape = sizes(node, x.shape, hop, None if window is None else window.shape, n, onesided)
    if n > MOST:
        return None
    batch, count, bins, _ = shape
    check_size(shape, x.dtype, emitter.label)
    y = emitter.empty(shape)
    if y.size:
        if window is None:
            waves = emitter.once(f"waves {n}", node, lambda _: emitter.constant(_waves(np.ones(n), bins)))
        else:
            assert window.value is not None
            waves = emitter.packed(("waves", bins), window.value, lambda value: _waves(value, bins))
        width, (row, sample, *_) = 2 * bins, x.strides
        Product(
            x,
            waves,
            y,
            [(batch, row, 0, count * width)],
            [(count, hop * sample, width)],
            [(width, 1, 1)],
            [(n, sample, width)],
        ).emit(emitter)
    return y


def _waves(window: np.ndarray, bins: int) -> np.ndarray:
    """Cos and -sin of every bin, by turns, times the window: float32 (N, 2 * bins)."""
    n = len(window)
    turns = np.outer(np.arange(n), np.arange(bins)) % n * (2 * np.pi / n)
    waves = np.stack([np.cos(turns), -np.sin(turns)], axis=2) * window.astype(np.float64)[:, None, None]
    return waves.reshape(n, 2 * bins).astype(np.float32)
