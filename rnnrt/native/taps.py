"""What a convolution or a pool reads along one spatial axis, as arithmetic progressions.

A `Phase` is a set of outputs that read alike: output ``first + i * step`` reads, with tap ``tap + t * tap_step``,
element ``start + t * start_step + i * stride`` of the axis, for ``i < count`` and ``t < n_taps``. A convolution has one
phase, a transposed one as many as its stride. Taps that read nothing but padding are left out.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .tensor import Tensor, constant


class Phase(NamedTuple):
    """See the module."""

    first: int
    step: int
    count: int  # type: ignore[assignment]
    stride: int
    tap: int
    tap_step: int
    n_taps: int
    start: int
    start_step: int

    def trimmed(self, n: int) -> Phase:
        """Without the taps at either end that no output reads inside an axis of `n` elements."""
        reach = (self.count - 1) * self.stride
        low, high = 0, self.n_taps
        while low < high and not -reach <= self.start + low * self.start_step < n:
            low += 1
        while low < high and not -reach <= self.start + (high - 1) * self.start_step < n:
            high -= 1
        if low == 0 and high == self.n_taps:
            return self
        tap, start = self.tap + low * self.tap_step, self.start + low * self.start_step
        return self._replace(tap=tap, start=start, n_taps=high - low)

    @lru_cache(maxsize=256)  # noqa: B019  phases are tuples of numbers
    def inside(self, n: int) -> Phases:
        """The phases that it falls into if no tap may lie outside of an axis of `n` elements."""
        found: list[tuple[int, int, int]] = []  # the first output, and the taps of it and those that follow
        for i in range(self.count):
            at = [0 <= self.start + t * self.start_step + i * self.stride < n for t in range(self.n_taps)]
            taps = (at.index(True), sum(at)) if any(at) else (0, 0)
            if not found or found[-1][1:] != taps:
                found.append((i, *taps))
        ends = [*(i for i, *_ in found[1:]), self.count]
        return tuple(
            self._replace(
                first=self.first + i * self.step,
                count=end - i,
                tap=self.tap + low * self.tap_step,
                n_taps=n_taps,
                start=self.start + low * self.start_step + i * self.stride,
            )
            for (i, low, n_taps), end in zip(found, ends, strict=True)
        )


Phases = tuple[Phase, ...]

SINGLE = Phase(0, 1, 1, 1, 0, 1, 1, 0, 1)
"""The height of what has none."""


@lru_cache(maxsize=1024)
def plain(n: int, k: int, stride: int, dilation: int, begin: int, out: int) -> Phases:
    """The phase of a convolution with `k` taps over `n` elements padded by `begin`."""
    return (Phase(0, 1, out, stride if out > 1 else 1, 0, 1, k, -begin, dilation).trimmed(n),)


@lru_cache(maxsize=1024)
def transposed(n: int, k: int, stride: int, dilation: int, begin: int, out: int) -> Phases:
    """The phases of a transposed convolution, whose output begins at element `begin` of its full result."""
    every = stride // math.gcd(stride, dilation)
    phases = []
    for first in range(min(stride, out)):
        q, f = divmod(first + begin, stride)
        tap = next((j for j in range(min(every, k)) if (j * dilation - f) % stride == 0), k)
        n_taps = -(-(k - tap) // every)
        start = q - (tap * dilation - f) // stride
        count = -(-(out - first) // stride)
        phases.append(
            Phase(first, stride, count, 1, tap, every, n_taps, start, -(dilation * every) // stride).trimmed(n)
        )
    return tuple(phases)


@lru_cache(maxsize=1024)
def margins(phases: Phases, n: int) -> tuple[int, int]:
    """How many elements before and behind an axis of `n` elements are read."""
    low, high = 0, n - 1
    for p in phases:
        if p.n_taps:
            ends = p.start, p.start + (p.n_taps - 1) * p.start_step
            low, high = min(low, *ends), max(high, max(ends) + (p.count - 1) * p.stride)
    return -low, high - (n - 1)


Table = tuple[int, int, tuple[int, ...], tuple[int, ...]]
"""Channels, elements from one to the next, and the distances of rows and columns: the taps of a phase."""


AHEAD = 16
"""CONV_AHEAD of op_conv.h."""


@lru_cache(maxsize=512)
def distances(tables: tuple[Table, ...], rows_first: bool) -> Tensor:
    """For each table in turn ``c * step + row + column``, columns fastest; c outermost, or if `rows_first` the row.

    `AHEAD` entries follow, which tiles that fetch ahead look at.
    """
    return constant(np.concatenate([*(_distances(*table, rows_first) for table in tables), np.zeros(AHEAD, np.int32)]))


def _distances(
    channels: int, step: int, rows: tuple[int, ...], columns: tuple[int, ...], rows_first: bool
) -> np.ndarray:
    plane = np.array([row + column for row in rows for column in columns], np.int32)
    if channels == 1:
        return plane
    apart = np.arange(channels, dtype=np.int32) * np.int32(step)
    if rows_first:
        return (plane.reshape(len(rows), 1, -1) + apart[:, None]).ravel()
    return (apart[:, None] + plane).ravel()
