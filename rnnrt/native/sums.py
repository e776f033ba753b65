"""`Sums`: a convolution, plain or transposed, as sums over taps; and what the steps for them share."""

from __future__ import annotations

from typing import NamedTuple

from .taps import Phase, Phases

MOST_LOOKED_AT = 256
"""Taps of all rows of outputs: where there are more, few of them lie in the padding."""
MOST_PHASES = 5


class Sums(NamedTuple):
    """A convolution as sums over taps: phases along both axes, and the sizes that all of them share.

    Where `packed` is given, phases of rows have some of its taps each, and share weights that are packed for it: rows
    of the kernel outermost, so that what a phase has lies together.
    """

    rows: Phases
    columns: Phases
    n: int
    groups: int
    channels: int
    m: int
    transposed: bool
    packed: Phase | None = None

    def taps(self) -> int:
        """Terms of a sum, of the phase that has most."""
        return self.channels * max([p.n_taps for p in self.rows]) * max([p.n_taps for p in self.columns])


def inside(sums: Sums, height: int) -> Sums | None:
    """The same without the taps that lie above or below the input, if there are some that are worth it."""
    rows = sums.rows[0]
    if len(sums.rows) > 1 or len(sums.columns) > 1 or not 1 < rows.n_taps * rows.count <= MOST_LOOKED_AT:
        return None
    phases = rows.inside(height)
    if not 1 < len(phases) <= MOST_PHASES or not all(p.n_taps for p in phases):
        return None
    return sums._replace(rows=phases, packed=rows)


def taken(phase: Phase) -> slice:
    """The taps of a phase."""
    return slice(phase.tap, phase.tap + phase.n_taps * phase.tap_step, phase.tap_step)
