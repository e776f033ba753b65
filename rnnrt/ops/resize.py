"""Resize: one axis after the other, each by a table of source elements and weights.

Coordinates are computed in float32, as the runtimes that exporters are tested with do: where a coordinate would fall
exactly on a border between two source elements, the precision decides which one is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from ..errors import UnsupportedError
from ..graph import Node
from ..records import record
from .arguments import axis_of, integer, integers, mismatch, real, text, widened
from .limits import check_size
from .registry import Function, operator

Sizes = tuple[int, ...]
Length = tuple[int, float, float]
Window = tuple[list[float], list[float]]

_MODES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize",
)  # fmt: skip
_NEAREST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - np.float32(0.5)),
    "round_prefer_ceil": lambda x: np.floor(x + np.float32(0.5)),
    "floor": np.floor,
    "ceil": np.ceil,
}


@record
class AxisPlan:
    """How one axis is resized from `n` to `out` elements; `start` and `stop` are its region of interest.

    ``extent`` is the length before it is rounded to `out`: with align_corners, ONNX's conformance tests place the last
    corner there.
    """

    axis: int
    n: int
    out: int
    extent: float
    scale: float
    start: float
    stop: float

    def idle(self, cropping: bool) -> bool:
        """Whether nothing changes along the axis."""
        return self.n == self.out and self.scale == 1 and (not cropping or (self.start, self.stop) == (0, 1))


class Resizer:
    """The attributes of a Resize node, and the tables that follow from them."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.mode = text(node, "mode", "nearest", ("nearest", "linear", "cubic"))
        self.coordinates = text(node, "coordinate_transformation_mode", "half_pixel", _MODES)
        self.nearest = _NEAREST[text(node, "nearest_mode", "round_prefer_floor", tuple(_NEAREST))]
        self.policy = text(node, "keep_aspect_ratio_policy", "stretch", ("stretch", "not_larger", "not_smaller"))
        self.cubic_a = np.float32(real(node, "cubic_coeff_a", -0.75))
        self.exclude_outside = bool(integer(node, "exclude_outside", 0))
        self.extrapolation = real(node, "extrapolation_value", 0.0)
        self.axes = integers(node, "axes")
        self.cropping = self.coordinates == "tf_crop_and_resize"
        if integer(node, "antialias", 0) and self.mode != "nearest":
            raise UnsupportedError(f"{node.label()}: attribute 'antialias'")
        self.table = lru_cache(maxsize=64)(self._table)

    def plans(
        self, shape: Sizes, roi: np.ndarray | None, scales: np.ndarray | None, sizes: np.ndarray | None
    ) -> list[AxisPlan]:
        """The axes that change, for an input of `shape`."""
        axes = range(len(shape)) if self.axes is None else [axis_of(self.node, a, len(shape)) for a in self.axes]
        given = {name: v for name, v in (("scales", scales), ("sizes", sizes)) if v is not None and v.size}
        if len(given) != 1:
            raise mismatch(self.node, "inputs", "either scales or sizes", " and ".join(given) or "neither")
        ((name, values),) = given.items()
        if values.shape != (len(axes),):
            raise mismatch(self.node, name, f"{len(axes)} values", f"shape {values.shape}")
        if not (values > 0).all() and (name == "scales" or (values < 0).any()):
            raise mismatch(self.node, name, "positive values", values.tolist())
        window = self._window(roi, len(axes))
        found = self._sized(shape, axes, values) if name == "sizes" else self._scaled(shape, axes, values)
        plans = [
            AxisPlan(axis, shape[axis], *length, start, stop)
            for axis, length, start, stop in zip(axes, found, *window, strict=True)
        ]
        return [p for p in plans if not p.idle(self.cropping)]

    def _scaled(self, shape: Sizes, axes: Sequence[int], scales: np.ndarray) -> list[Length]:
        """Output size, the same before rounding, and scale, by axis.

        A region of interest does not count: ONNX's formula has it, its shape inference and the runtimes do not.
        """
        extents = np.array([shape[axis] for axis in axes], np.float32) * scales.astype(np.float32)
        if not (extents < 1 << 40).all() or (extents < 0).any():
            raise mismatch(self.node, "scales", "scales of a result that fits", scales.tolist())
        return [(int(e), float(e), float(s)) for e, s in zip(extents, scales, strict=True)]

    def _sized(self, shape: Sizes, axes: Sequence[int], sizes: np.ndarray) -> list[Length]:
        wanted = sizes.tolist()
        if any(not shape[axis] and n for axis, n in zip(axes, wanted, strict=True)):
            raise mismatch(self.node, "input", "elements to resize", f"shape {shape}")
        ratios = [n / max(shape[axis], 1) for axis, n in zip(axes, wanted, strict=True)]
        if self.policy == "stretch" or not ratios:
            return list(zip(wanted, map(float, wanted), ratios, strict=True))
        scale = min(ratios) if self.policy == "not_larger" else max(ratios)
        return [(int(scale * shape[axis] + 0.5), scale * shape[axis], scale) for axis in axes]

    def _window(self, roi: np.ndarray | None, n: int) -> Window:
        if not self.cropping:
            return [0.0] * n, [1.0] * n
        if roi is None or roi.shape != (2 * n,):
            raise mismatch(self.node, "roi", f"{2 * n} values", "none" if roi is None else f"shape {roi.shape}")
        values = roi.astype(np.float64).tolist()
        return values[:n], values[n:]

    def _source(self, p: AxisPlan) -> np.ndarray:
        """Where each output element lies on the input's axis: float32 (out,)."""
        f = np.float32
        x, scale, n, out = np.arange(p.out, dtype=f), f(p.scale), p.n, p.out
        if self.coordinates == "align_corners":
            return np.zeros(out, f) if p.extent == 1 else x * f(n - 1) / f(p.extent - 1)
        if self.coordinates == "asymmetric":
            return x / scale
        if self.coordinates == "tf_crop_and_resize":
            if out == 1:
                return np.full(out, 0.5 * (p.start + p.stop) * (n - 1), f)
            return f(p.start * (n - 1)) + x * f(p.stop - p.start) * f(n - 1) / f(out - 1)
        if self.coordinates == "pytorch_half_pixel" and out == 1:
            return np.zeros(out, f)
        centre = (x + f(0.5)) / scale - f(0.5)
        if self.coordinates == "half_pixel_symmetric":
            centre += f(n) / f(2) * (f(1) - f(out) / (scale * f(n)))
        return centre

    def _table(self, p: AxisPlan) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Source elements (taps, out), their weights (taps, out) or None for one tap, and which outputs lie outside."""
        at = self._source(p)
        outside = (at < 0) | (at > p.n - 1) if self.cropping else None
        if self.mode == "nearest":
            taps, weights = self.nearest(at)[None], None
        else:
            low = np.floor(at)
            taps, weights = self._linear(at, low) if self.mode == "linear" else self._cubic(at, low)
            if self.exclude_outside:
                weights = np.where((taps < 0) | (taps > p.n - 1), np.float32(0), weights)
                weights = weights / weights.sum(0)
        return np.clip(taps, 0, p.n - 1).astype(np.intp), weights, outside

    def _linear(self, at: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        t = at - low
        return np.stack([low, low + 1]), np.stack([1 - t, t])

    def _cubic(self, at: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The four weights of Keys' kernel with coefficient a."""
        a, t = self.cubic_a, at - low

        def near(d: np.ndarray) -> np.ndarray:
            return ((a + 2) * d - (a + 3)) * d * d + 1

        def far(d: np.ndarray) -> np.ndarray:
            return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

        return np.stack([low - 1, low, low + 1, low + 2]), np.stack([far(1 + t), near(t), near(1 - t), far(2 - t)])


@operator("Resize")
def build_resize(node: Node) -> Function:
    """By scales or to sizes; see `Resizer` for the forms."""
    resizer = Resizer(node)

    def run(
        x: np.ndarray,
        roi: np.ndarray | None = None,
        scales: np.ndarray | None = None,
        sizes: np.ndarray | None = None,
    ) -> np.ndarray:
        plans = resizer.plans(x.shape, roi, scales, sizes)
        shape = list(x.shape)
        for p in plans:
            shape[p.axis] = p.out
        check_size(shape, x.dtype, f"{node.label()}: output")
        if 0 in shape:
            return np.zeros(shape, x.dtype)
        # Axes that shrink go first, so that nothing in between is larger than the input or the output.
        y = x
        for p in sorted(plans, key=lambda p: p.out / p.n):
            y = _resized(y, p, *resizer.table(p), resizer.extrapolation)
        return _narrowed(y, x.dtype)

    return run


def _resized(
    x: np.ndarray, p: AxisPlan, taps: np.ndarray, weights: np.ndarray | None, outside: np.ndarray | None, value: float
) -> np.ndarray:
    """`x` with one axis resized; with weights, in floating point."""
    if weights is None:
        y = x.take(taps[0], p.axis)
    else:
        x = widened(x) if x.dtype.kind in "fV" else x.astype(np.float64)
        along = (-1,) + (1,) * (x.ndim - p.axis - 1)
        y = x.take(taps[0], p.axis) * weights[0].reshape(along)
        for tap, w in zip(taps[1:], weights[1:], strict=True):
            y += x.take(tap, p.axis) * w.reshape(along)
    if outside is not None and outside.any():
        y[(slice(None),) * p.axis + (outside,)] = value
    return y


def _narrowed(y: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`y` in `dtype`; integers are rounded and kept in range."""
    if y.dtype == dtype:
        return y
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.clip(np.rint(y), limits.min, limits.max).astype(dtype)
    return y.astype(dtype)
