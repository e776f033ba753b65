"""The floor of a row: the time below which no program computes it on this machine in float32.

    floor = input projection + Σ over steps of max(recurrent multiply-adds at peak, R streamed)
    input projection = max(its multiply-adds at peak, W streamed once)

R comes from the level of cache that holds it, W from the level that holds both, as calls are repeated. With one step
there is one pass over both. n threads have the peak and the bandwidth measured on n threads, and n private caches;
barriers between steps, activations and calls cost nothing here.
"""

from __future__ import annotations

from .limits import Limits
from .rows import Row

ITEM = 4
"""Bytes of a weight."""


def levels(row: Row, limits: Limits) -> tuple[str, str]:
    """The levels of cache that W and R come from."""
    w, r = _weights(row)
    # One thread takes one direction after the other, so that it reads one direction's R over and over.
    together = r // row.directions * min(row.directions, limits.threads)
    return limits.level(w + r), limits.level(together if row.steps > 1 else w + r)


def floor(row: Row, limits: Limits) -> float:
    """Seconds, at the least, of one call."""
    lens = row.sequence_lens
    columns = row.gates * row.hidden * row.directions
    w_seconds, r_seconds = (
        size / limits.bandwidth[level] for size, level in zip(_weights(row), levels(row, limits), strict=True)
    )
    projection = max(2.0 * int(lens.sum()) * columns * row.inputs / limits.peak, w_seconds)
    steps = (2.0 * int((lens > t).sum()) * columns * row.hidden / limits.peak for t in range(int(lens.max())))
    return projection + sum(max(multiply, r_seconds) for multiply in steps)


def _weights(row: Row) -> tuple[int, int]:
    """Bytes of W and of R."""
    columns = row.gates * row.hidden * row.directions
    return ITEM * columns * row.inputs, ITEM * columns * row.hidden
