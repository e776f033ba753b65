"""The rows of ``bench.layers``: which layers are timed, in groups, and what each group has to reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
FRAMES = 8
"""Frames of a streamed row; even, as two bindings may take turns."""


@dataclass(frozen=True)
class Row:
    """One layer at one shape.

    Attributes
    ----------
    mode : "run" or "stream"
        One call with ready arrays; or the engine's own way of feeding frames while it keeps the state.
    lengths : "", "full" or "uniform"
        No lengths; lengths given and all T; lengths drawn uniformly from 1…T.
    gpu : float
        Published milliseconds of the same work on another device; 0 where there is none.
    """

    group: str
    op: str
    inputs: int
    hidden: int
    steps: int
    batch: int
    directions: int = 1
    mode: str = "run"
    lengths: str = ""
    gpu: float = 0.0

    @property
    def gates(self) -> int:
        """G."""
        return GATES[self.op]

    @property
    def name(self) -> str:
        """As in tables, and what ``--only`` looks at."""
        size = str(self.hidden) if self.inputs == self.hidden else f"{self.inputs}→{self.hidden}"
        parts = [self.op, size, "bi" * (self.directions == 2), f"T={self.steps}", f"B={self.batch}", self.lengths]
        return " ".join([part for part in parts if part] + ["stream"] * (self.mode == "stream"))

    @property
    def has_states(self) -> bool:
        """Whether initial states are inputs: from zeros, a first step has no recurrent product to time."""
        return self.steps == 1 or self.group.startswith("deepbench")

    @property
    def weight_bytes(self) -> int:
        """Bytes of W and R."""
        return 4 * self.directions * self.gates * self.hidden * (self.inputs + self.hidden)

    @cached_property
    def sequence_lens(self) -> np.ndarray:
        """Steps of each row of the batch, [B] int32."""
        if self.lengths != "uniform":
            return np.full(self.batch, self.steps, np.int32)
        return np.random.default_rng(self.steps).integers(1, self.steps + 1, self.batch, dtype=np.int32)


CALL_SIZES = ((16, 16), (64, 64), (128, 128), (161, 200), (257, 128), (256, 256), (400, 400), (512, 512))


def calls() -> Iterator[Row]:
    """One step of one sequence, with its state handed in and out; then the same as a stream."""
    for group, mode in (("calls", "run"), ("streams", "stream")):
        for op in ("LSTM", "GRU"):
            for inputs, hidden in CALL_SIZES:
                yield Row(group, op, inputs, hidden, 1, 1, mode=mode)


def usual() -> Iterator[Row]:
    """The sizes that libraries are tuned for."""
    for op in ("LSTM", "GRU"):
        for hidden, steps in ((128, 100), (256, 100), (512, 50), (1024, 25)):
            for batch in (1, 4, 8, 32, 64):
                for directions in (1, 2):
                    yield Row("usual", op, hidden, hidden, steps, batch, directions)


def grid() -> Iterator[Row]:
    """A first look: one step and many, one row and many, small and wide."""
    for op in ("LSTM", "GRU"):
        for hidden in (64, 128, 256, 512):
            for batch in (1, 8, 32):
                for steps in (1, 100):
                    yield Row("grid", op, hidden, hidden, steps, batch)


def odd() -> Iterator[Row]:
    """Sizes that no vector length divides, tiny layers, large batches of them."""
    for op in ("LSTM", "GRU"):
        yield Row("odd", op, 1, 32, 100, 1)
        yield Row("odd", op, 13, 20, 100, 1)
        yield Row("odd", op, 39, 96, 100, 17)
        yield Row("odd", op, 33, 47, 100, 129)
        yield Row("odd", op, 1, 8, 100, 1000)
        yield Row("odd", op, 300, 150, 100, 24, 2)
    yield Row("odd", "RNN", 128, 256, 100, 16)


def lengths() -> Iterator[Row]:
    """Batches of unequal lengths; the same with all of them full is timed beside: does work follow the real steps?"""
    for op in ("LSTM", "GRU"):
        for hidden in (128, 256, 512):
            for directions in (1, 2):
                yield Row("lengths", op, hidden, hidden, 100, 32, directions, lengths="uniform")


DEEPBENCH = {
    ("LSTM", 512, 25): (1.258, 1.296, 1.279),
    ("LSTM", 1024, 25): (1.872, 1.908, 1.929),
    ("LSTM", 2048, 25): (5.272, 5.303, 5.701),
    ("LSTM", 1536, 50): (6.198, 6.826, 6.925),
    ("LSTM", 256, 150): (1.994, 2.222, 2.185),
    ("GRU", 2816, 1500): (350.622, 346.993, 380.195),
    ("GRU", 2816, 187): (46.677, 47.075, 51.001),
    ("GRU", 2560, 1500): (286.104, 285.046, 288.485),
    ("GRU", 2560, 187): (38.748, 38.968, 39.292),
    ("GRU", 2048, 1500): (191.024, 191.880, 195.820),
    ("GRU", 2048, 187): (26.954, 27.015, 27.261),
    ("GRU", 1536, 1500): (113.599, 114.294, 115.566),
    ("GRU", 1536, 187): (17.360, 17.857, 17.828),
    ("GRU", 512, 1): (0.053, 0.061, 0.054),
    ("GRU", 1024, 1500): (59.258, 59.804, 61.217),
}
"""Layer, H, T: milliseconds at batch 1, 2 and 4 on a TitanXp in single precision, as published in DeepBench's
results/inference/server/DeepBench_NV_TitanXp.xlsx."""


def deepbench() -> Iterator[Row]:
    """DeepBench's recurrent layers for inference on a server.

    Its rules leave the product of inputs and weights out. No ONNX layer can, so the input has one feature: the product
    then costs next to nothing. Large GRUs of 1500 steps are a group of their own: a step costs what it costs in 187.
    """
    for (op, hidden, steps), published in DEEPBENCH.items():
        group = "deepbench-long" if steps == 1500 and hidden > 1024 else "deepbench"
        for batch, gpu in zip((1, 2, 4), published, strict=True):
            yield Row(group, op, 1, hidden, steps, batch, gpu=gpu)


ROWS = (*calls(), *usual(), *odd(), *lengths(), *deepbench(), *grid())
GROUPS = tuple(dict.fromkeys(row.group for row in ROWS))
USUAL_GROUPS = tuple(group for group in GROUPS if group not in ("deepbench-long", "grid"))
QUICK = {"calls": 3, "streams": 3, "usual": 3, "odd": 4, "lengths": 2, "deepbench": 1, "deepbench-long": 0, "grid": 2}
"""How many rows of each group ``--quick`` takes: its cheapest."""


@dataclass(frozen=True)
class Target:
    """What a group has to reach on so many threads; None where nothing is asked.

    `ahead`, `ahead_worst`: best peer / rnnrt, geometric mean and worst row. `floor`, `floor_worst`: rnnrt / floor.
    """

    ahead: float | None = None
    ahead_worst: float | None = None
    floor: float | None = None
    floor_worst: float | None = None


TARGETS = {
    ("calls", 1): Target(2.8, 1.3),
    ("streams", 1): Target(2.8, 1.3),
    ("usual", 1): Target(1.12, 1.0, 1.08, 1.15),
    ("usual", 2): Target(1.35, 1.0, 1.15),
    ("odd", 1): Target(2.0, 1.15, 1.4),
    ("odd", 2): Target(2.0, 1.15),
    ("lengths", 1): Target(1.6),
    ("lengths", 2): Target(1.6),
    ("deepbench", 1): Target(1.15, 1.0),
    ("deepbench-long", 1): Target(1.15, 1.0),
}
CALL_LIMITS = {("calls", 16): 1.5e-6, ("streams", 16): 0.8e-6}
"""Group and H: seconds that one call may take on one thread."""
LENGTHS_LIMIT = 1.10
"""Time a real step with unequal lengths, over the same with full ones."""


SECOND_COPY_LIMIT = 0.10
"""Memory that a second copy of a model may take, as a share of its weights."""


def is_opened_twice(row: Row) -> bool:
    """Whether opening is measured too: an LSTM of 8 MB."""
    return (row.group, row.op, row.hidden, row.batch, row.directions) == ("usual", "LSTM", 512, 1, 1)


def chosen(groups: list[str], only: str, quick: bool) -> list[Row]:
    """The rows of `groups` whose name contains `only`; the cheapest few of each group if `quick`."""
    rows = [row for row in ROWS if row.group in (groups or USUAL_GROUPS) and only in row.name]
    if not quick:
        return rows
    cheap = sorted(rows, key=lambda r: r.steps * r.batch * r.directions * r.hidden * (r.inputs + r.hidden))
    kept = {group: [row for row in cheap if row.group == group][: QUICK[group]] for group in GROUPS}
    return [row for row in rows if row in kept[row.group]]
