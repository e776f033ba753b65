"""Sliding windows: where the kernels of convolutions and pools lie on their input, and how many there are.

Along an axis of ``n`` elements padded by ``begin`` and ``end``, a kernel of ``k`` taps with dilation ``d`` spans
``(k - 1) * d + 1`` elements, and with stride ``s`` output ``o`` reads ``o * s + j * d - begin`` for each ``j < k``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..errors import ModelError
from ..graph import Node
from ..records import record
from .arguments import integer, integers, mismatch, text
from .limits import check_size

Sizes = tuple[int, ...]

_MOST_LAYOUTS = 64


@record
class Layout:
    """The windows over an input of known size: all tuples have one entry a spatial axis.

    ``begin`` and ``end`` are the paddings asked for; ``fill`` is what has to stand behind the input so that every
    window lies inside, which with ceil_mode can be more and otherwise less than ``end``.
    """

    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    begin: Sizes
    end: Sizes
    fill: Sizes
    out: Sizes

    def trivial(self) -> bool:
        """Every window is one element, and every element has its window."""
        return not any(self.begin) and not any(self.fill) and set(self.kernel) <= {1} and set(self.strides) <= {1}


class Windows:
    """The window attributes of a node: kernel_shape, strides, dilations, pads, auto_pad, ceil_mode.

    ``layout(sizes, kernel)`` gives the windows over an input of the spatial `sizes`; `kernel` is needed where the node
    does not state kernel_shape, and has to agree with it where it does.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.kernel = integers(node, "kernel_shape", least=1)
        self.strides = integers(node, "strides", least=1)
        self.dilations = integers(node, "dilations", least=1)
        self.pads = integers(node, "pads", least=0)
        self.auto = text(node, "auto_pad", "NOTSET", ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"))
        self.ceil = bool(integer(node, "ceil_mode", 0))
        self._layouts: dict[tuple[Sizes, Sizes | None], Layout] = {}

    def layout(self, sizes: Sizes, kernel: Sizes | None = None) -> Layout:
        """The windows over an input of these spatial sizes."""
        found = self._layouts.get((sizes, kernel))
        if found is None:
            if len(self._layouts) >= _MOST_LAYOUTS:
                self._layouts.clear()
            found = self._layouts[sizes, kernel] = self._layout(sizes, kernel)
        return found

    def per_axis(self, rank: int) -> tuple[Sizes, Sizes, Sizes]:
        """Strides, dilations and pads for `rank` spatial axes, with their defaults filled in."""
        given = (self.strides or (1,) * rank, self.dilations or (1,) * rank, self.pads or (0,) * (2 * rank))
        for name, value, n in zip(("strides", "dilations", "pads"), given, (rank, rank, 2 * rank), strict=True):
            if len(value) != n:
                raise mismatch(self.node, f"attribute {name!r}", f"{n} values for {rank} spatial axes", list(value))
        return given

    def kernel_of(self, rank: int, kernel: Sizes | None) -> Sizes:
        """The kernel's sizes, from the attribute and the weights as far as they are there."""
        kernel = self.kernel if kernel is None else kernel
        if kernel is None:
            raise ModelError(f"{self.node.label()}: attribute 'kernel_shape': expected a list of integers, got none")
        if len(kernel) != rank or (self.kernel is not None and self.kernel != kernel):
            raise mismatch(self.node, "kernel", f"kernel_shape {self.kernel} over {rank} spatial axes", kernel)
        return kernel

    def _layout(self, sizes: Sizes, kernel: Sizes | None = None) -> Layout:
        rank = len(sizes)
        kernel = self.kernel_of(rank, kernel)
        strides, dilations, pads = self.per_axis(rank)
        axes = [
            self._axis(n, k, s, d, pads[i], pads[rank + i])
            for i, (n, k, s, d) in enumerate(zip(sizes, kernel, strides, dilations, strict=True))
        ]
        begin, end, fill, out = zip(*axes, strict=True) if axes else ((), (), (), ())
        return Layout(kernel, strides, dilations, begin, end, fill, out)

    def _axis(self, n: int, k: int, s: int, d: int, begin: int, end: int) -> tuple[int, int, int, int]:
        """Begin, end, fill and number of windows along one axis."""
        span = (k - 1) * d + 1
        if self.auto.startswith("SAME"):
            out = -(-n // s)
            total = max((out - 1) * s + span - n, 0)
            begin = total // 2 if self.auto == "SAME_UPPER" else total - total // 2
            end = total - begin
        elif self.auto == "VALID":
            begin = end = 0
        room = n + begin + end - span
        out = room // s + 1
        if self.ceil and not self.auto.startswith("SAME"):
            out = -(-room // s) + 1
            if (out - 1) * s >= n + begin:
                out -= 1
        if out < 1 and n:
            raise mismatch(self.node, "input", f"at least {span - begin - end} elements along a spatial axis", n)
        out = max(out, 0)
        fill = max((out - 1) * s + span - n - begin, 0) if out else 0
        return begin, end, fill, out


def padded(node: Node, x: np.ndarray, layout: Layout, value: float = 0) -> np.ndarray:
    """`x` of shape (N, C, *sizes) with `value` around it wherever a window reaches out."""
    if not any(layout.begin) and not any(layout.fill):
        return x
    sizes = x.shape[2:]
    shape = x.shape[:2] + tuple(b + n + f for b, n, f in zip(layout.begin, sizes, layout.fill, strict=True))
    check_size(shape, x.dtype, f"{node.label()}: padded input")
    y = np.full(shape, value, x.dtype) if value else np.zeros(shape, x.dtype)
    inside: tuple[Any, ...] = (..., *(slice(b, b + n) for b, n in zip(layout.begin, sizes, strict=True)))
    y[inside] = x
    return y


def patches(x: np.ndarray, layout: Layout) -> np.ndarray:
    """All windows of a padded `x` as a view of shape (N, C, *kernel, *out), not to be written to.

    Element ``[n, c, *j, *o]`` is ``x[n, c, *(o * strides + j * dilations)]``, which `Layout` keeps inside `x`.
    """
    outer, spatial = x.strides[:2], x.strides[2:]
    taps = tuple(d * st for d, st in zip(layout.dilations, spatial, strict=True))
    steps = tuple(s * st for s, st in zip(layout.strides, spatial, strict=True))
    return as_strided(x, x.shape[:2] + layout.kernel + layout.out, outer + taps + steps, writeable=False)
