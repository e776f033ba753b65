"""STFT: the Fourier transforms of frames of a signal, each times a window.

The signal is (B, L, 1), (B, L, 2) with real and imaginary parts, or, as PyTorch writes it, (B, L). Frame ``f`` is what
lies at ``f * step + n`` for ``n < N``; Y is (B, frames, bins, 2), where bins are N, or ``N // 2 + 1`` if onesided.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..graph import Node
from .arguments import integer, mismatch
from .limits import check_size
from .registry import Function, operator


def sizes(
    node: Node, shape: tuple[int, ...], step: int, window: tuple[int, ...] | None, length: int | None, onesided: bool
) -> tuple[int, tuple[int, int, int, int]]:
    """The length of a frame, and the shape of Y."""
    if len(shape) not in (2, 3) or shape[2:] not in ((), (1,), (2,)):
        raise mismatch(node, "signal", "a shape (B, L), (B, L, 1) or (B, L, 2)", shape)
    if window is not None and len(window) != 1:
        raise mismatch(node, "window", "one axis", window)
    if length is None:
        if window is None:
            raise mismatch(node, "window and frame_length", "one of them", "none")
        length = window[0]
    if length < 1 or (window is not None and window[0] != length):
        raise mismatch(node, "frame_length", f"the length of the window, {window}, and at least 1", length)
    if step < 1:
        raise mismatch(node, "frame_step", "at least 1", step)
    return length, (shape[0], max((shape[1] - length) // step + 1, 0), length // 2 + 1 if onesided else length, 2)


@operator("STFT")
def build_stft(node: Node) -> Function:
    """Frames through ``np.fft``."""
    onesided = bool(integer(node, "onesided", 1))

    def run(x: np.ndarray, step: Any, window: np.ndarray | None = None, length: Any = None) -> np.ndarray:
        shape = None if window is None else window.shape
        n, out = sizes(node, x.shape, int(step), shape, None if length is None else int(length), onesided)
        signal = x[..., 0] if x.ndim == 3 else x
        if x.ndim == 3 and x.shape[2] == 2:
            if onesided:
                raise mismatch(node, "attribute 'onesided'", "0 for a complex signal", 1)
            signal = signal + 1j * x[..., 1]
        check_size(out, x.dtype, f"{node.label()}: output")
        y = np.empty(out, x.dtype)
        if y.size:
            frames = sliding_window_view(signal, n, axis=1)[:, :: int(step)]
            frames = frames if window is None else frames * window
            found = np.fft.rfft(frames) if onesided else np.fft.fft(frames)
            y[..., 0], y[..., 1] = found.real, found.imag
        return y

    return run
