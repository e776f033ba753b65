"""`Sums`: a convolution, plain or transposed, as sums over taps; and what the steps for them share."""

from __future__ import annotations

from typing import NamedTuple

from .taps import Phase, Phases


class Sums(NamedTuple):
    """A convolution as sums over taps: phases along both axes, and the sizes that all of them share."""

    rows: Phases
    columns: Phases
    n: int
    groups: int
    channels: int
    m: int
    transposed: bool

    def taps(self) -> int:
        """Terms of a sum, of the phase that has most."""
        return self.channels * max([p.n_taps for p in self.rows]) * max([p.n_taps for p in self.columns])


def taken(phase: Phase) -> slice:
    """The taps of a phase."""
    return slice(phase.tap, phase.tap + phase.n_taps * phase.tap_step, phase.tap_step)
