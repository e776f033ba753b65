"""DepthToSpace and SpaceToDepth: blocks of pixels to channels and back, over (N, C, H, W)."""

from __future__ import annotations

import numpy as np

from ..graph import Node
from .arguments import integer, mismatch, text
from .registry import Function, operator


@operator("DepthToSpace")
def build_depth_to_space(node: Node) -> Function:
    """Channels hold depth, column and row (DCR) or column, row and depth (CRD)."""
    s, crd = integer(node, "blocksize", least=1), text(node, "mode", "DCR", ("DCR", "CRD")) == "CRD"

    def run(x: np.ndarray) -> np.ndarray:
        if x.ndim != 4 or x.shape[1] % (s * s):
            raise mismatch(node, "input", f"(N, C, H, W) with C a multiple of {s * s}", f"shape {x.shape}")
        n, c, h, w = x.shape
        d = c // (s * s)
        if crd:
            y = x.reshape(n, d, s, s, h, w).transpose(0, 1, 4, 2, 5, 3)
        else:
            y = x.reshape(n, s, s, d, h, w).transpose(0, 3, 4, 1, 5, 2)
        return y.reshape(n, d, h * s, w * s)

    return run


@operator("SpaceToDepth")
def build_space_to_depth(node: Node) -> Function:
    """The inverse of DepthToSpace, in the same two orders."""
    s, crd = integer(node, "blocksize", least=1), text(node, "mode", "DCR", ("DCR", "CRD")) == "CRD"

    def run(x: np.ndarray) -> np.ndarray:
        if x.ndim != 4 or x.shape[2] % s or x.shape[3] % s:
            raise mismatch(node, "input", f"(N, C, H, W) with H and W multiples of {s}", f"shape {x.shape}")
        n, c, h, w = x.shape
        y = x.reshape(n, c, h // s, s, w // s, s)
        y = y.transpose(0, 1, 3, 5, 2, 4) if crd else y.transpose(0, 3, 5, 1, 2, 4)
        return y.reshape(n, c * s * s, h // s, w // s)

    return run
