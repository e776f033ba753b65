"""The floor of a row: the time below which no program computes it on this machine in float32.

    floor = input projection + Σ over steps of max(recurrent multiply-adds at peak, R streamed)
    input projection = max(its multiply-adds at peak, W streamed once)

R comes from the level of cache that holds it, W from the level that holds both, as calls are repeated. With one step
there is one pass over both. n threads have the peak and the bandwidth measured on n threads, and n private caches;
barriers between steps, activations and calls cost nothing here.

What can be reached is made of plain loops, measured by themselves in the row's own sizes:

    reachable = product of W and some rows, as often as there are so many
                + Σ over steps of product of R and the rows, backwards every other step + functions
    functions = max(exponentials of all units and rows, by turns, those that wait for one another in one unit)

where a few inputs are multiplied with the states, in one product. Not counted: sums in blocks, vectors that units fill
in part, cells but for their functions, stores, barriers, calls.
"""

from __future__ import annotations

from .limits import Limits, Product
from .rows import Row

ITEM = 4
"""Bytes of a weight."""
FUNCTIONS = {"LSTM": (5, 2), "GRU": (3, 2), "RNN": (1, 1)}
"""Exponentials of a unit, and how many of them wait for one another."""
FEW_INPUTS, MANY_ROWS = 4, 96
"""Inputs that are multiplied with the states; rows whose projection is measured, whole tiles of any height."""


def levels(row: Row, limits: Limits) -> tuple[str, str]:
    """The levels of cache that W and R come from."""
    return limits.level(sum(_weights(row))), limits.level(_read_at_once(row, limits.threads))


def floor(row: Row, limits: Limits) -> float:
    """Seconds, at the least, of one call."""
    lens = row.sequence_lens
    units = row.hidden * row.directions
    w, r = _weights(row)
    w_rate, r_rate = (limits.bandwidth[level] for level in levels(row, limits))
    if row.steps == 1:
        w_rate = r_rate
    projection = max(2.0 * int(lens.sum()) * units * row.gates * row.inputs / limits.peak, w / w_rate)
    multiply = 2.0 * units * row.gates * row.hidden / limits.peak
    return projection + sum(max(n * multiply, r / r_rate) for n in _running(row))


def products(row: Row, threads: int) -> tuple[Product | None, Product, Product]:
    """What each of so many threads multiplies: inputs, unless they go with the states; all rows of a step; one row."""
    w, r = _weights(row)
    apart = row.inputs > FEW_INPUTS and row.steps > 1
    n_bytes = _read_at_once(row, threads) // threads
    if not apart and row.steps > 1:
        n_bytes = n_bytes * (w + r) // r
    terms = row.hidden + (0 if apart else row.inputs)
    rows = min(int(row.sequence_lens.sum()), MANY_ROWS)
    inputs = Product(rows, row.inputs, w // threads) if apart else None
    return inputs, Product(row.batch, terms, n_bytes), Product(1, terms, n_bytes)


def reachable(row: Row, limits: Limits) -> float:
    """Seconds of one call that is made of plain loops; `limits` has the row's `products`."""
    inputs, states, last = products(row, limits.threads)
    running = _running(row)
    projection = 0.0
    if inputs is not None:
        projection = limits.products[inputs] * sum(running) / inputs.rows
    all_bytes = sum(_weights(row)) if inputs is None else _weights(row)[1]
    passes = all_bytes / states.n_bytes / limits.threads
    count, waiting = FUNCTIONS[row.op]
    each = count * row.hidden * row.directions / limits.lanes / limits.threads * limits.exponential
    return projection + sum(
        passes * max(limits.products[states] * n / row.batch, limits.products[last])
        + max(n * each, waiting * limits.chained)
        for n in running
    )


def _running(row: Row) -> list[int]:
    """Rows that are not at their end, for each step."""
    lens = row.sequence_lens
    return [int((lens > t).sum()) for t in range(int(lens.max()))]


def _read_at_once(row: Row, threads: int) -> int:
    """One thread takes one direction after the other, so that it reads one direction's R over and over."""
    w, r = _weights(row)
    return r // row.directions * min(row.directions, threads) if row.steps > 1 else w + r


def _weights(row: Row) -> tuple[int, int]:
    """Bytes of W and of R."""
    columns = row.gates * row.hidden * row.directions
    return ITEM * columns * row.inputs, ITEM * columns * row.hidden
