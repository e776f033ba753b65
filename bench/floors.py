"""The floor of a row: the time below which no program computes it on this machine in float32.

    floor = input projection + Σ over steps of max(recurrent multiply-adds at peak, R streamed)
    input projection = max(its multiply-adds at peak, W streamed once)

R comes from the level of cache that holds it, W from the level that holds both, as calls are repeated. With one step
there is one pass over both. n threads have the peak and the bandwidth measured on n threads, and n private caches;
barriers between steps, activations and calls cost nothing here.

What can be reached counts two things more, which any program must pay for: functions, each the multiply-adds that
float32 asks of it; and R at the bandwidth of a buffer of its own size, read backwards every other time, where the floor
takes the level's, of half a cache read over and over.
"""

from __future__ import annotations

from .limits import Limits
from .rows import Row

ITEM = 4
"""Bytes of a weight."""
FUNCTION = 9
"""Multiply-adds of an exponential: two for its remainder, six for a polynomial, one to put them together."""
CELL = {"LSTM": 5 * FUNCTION + 3, "GRU": 3 * FUNCTION + 3, "RNN": FUNCTION}
"""Multiply-adds of a unit's functions and its new state; divisions run beside them."""


def levels(row: Row, limits: Limits) -> tuple[str, str]:
    """The levels of cache that W and R come from."""
    return limits.level(sum(_weights(row))), limits.level(_read_at_once(row, limits))


def span(row: Row, limits: Limits) -> int:
    """Bytes of weights that each thread reads over and over."""
    return _read_at_once(row, limits) // limits.threads


def floor(row: Row, limits: Limits) -> float:
    """Seconds, at the least, of one call."""
    return _seconds(row, limits, limits.bandwidth[levels(row, limits)[1]], 0)


def reachable(row: Row, limits: Limits) -> float:
    """Seconds, at the least, with functions and what the caches give; `limits.spans` has the row's `span`."""
    return _seconds(row, limits, limits.spans[span(row, limits)], CELL[row.op])


def _seconds(row: Row, limits: Limits, r_rate: float, cell: int) -> float:
    lens = row.sequence_lens
    units = row.hidden * row.directions
    w, r = _weights(row)
    w_rate = limits.bandwidth[levels(row, limits)[0]] if row.steps > 1 else r_rate
    projection = max(2.0 * int(lens.sum()) * units * row.gates * row.inputs / limits.peak, w / w_rate)
    rows = [int((lens > t).sum()) for t in range(int(lens.max()))]
    multiply = 2.0 * units * row.gates * row.hidden / limits.peak
    functions = 2.0 * units * cell / limits.peak
    return projection + sum(max(n * multiply, r / r_rate) + n * functions for n in rows)


def _read_at_once(row: Row, limits: Limits) -> int:
    """One thread takes one direction after the other, so that it reads one direction's R over and over."""
    w, r = _weights(row)
    return r // row.directions * min(row.directions, limits.threads) if row.steps > 1 else w + r


def _weights(row: Row) -> tuple[int, int]:
    """Bytes of W and of R."""
    columns = row.gates * row.hidden * row.directions
    return ITEM * columns * row.inputs, ITEM * columns * row.hidden
