"""Where the time of a run goes, step by step, and how far each step is from what the machine can do."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ._core import program
from .model import Model

FMA_CHAINS = 8
"""Independent chains in the loop that measures the peak; as many as op_limits.h has."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """One step of a profile.

    Attributes
    ----------
    label
        The node it comes from; of several merged into one step, the last.
    operator
        The compiled operator, or the name of the node's.
    tier
        "native", "NumPy", "reference" or "control".
    seconds
        Of one run: the median.
    share
        Of the run, in 0..1.
    flops
        Floating-point operations: two a multiply-add; one an element where nothing is multiplied. 0 if unknown.
    bytes
        Of all arrays read and written. 0 if unknown.
    times_floor
        Time over that which the machine needs at least, by peak arithmetic or by reading `bytes` from its L2 cache,
        whichever is more; None if unknown.
    """

    label: str
    operator: str
    tier: str
    seconds: float
    share: float
    flops: float
    bytes: int
    times_floor: float | None


@dataclass(frozen=True, slots=True)
class Profile:
    """What `profile` found: `steps` in order; seconds of a run with a clock at every step, and of one without."""

    steps: tuple[StepTime, ...]
    seconds: float
    run_seconds: float

    @property
    def native_share(self) -> float:
        """Share of the time of all steps that is spent in native ones."""
        return sum(s.share for s in self.steps if s.tier == "native")

    def trace(self) -> dict[str, Any]:
        """The steps as a Chrome trace: an object for ``chrome://tracing`` or Perfetto, times in microseconds."""
        events, start = [], 0.0
        for step in self.steps:
            arguments = {"operator": step.operator, "flops": step.flops, "bytes": step.bytes, "share": step.share}
            if step.times_floor is not None:
                arguments["times_floor"] = step.times_floor
            events.append(
                {
                    "name": step.label,
                    "cat": step.tier,
                    "ph": "X",
                    "ts": start * 1e6,
                    "dur": step.seconds * 1e6,
                    "pid": 0,
                    "tid": 0,
                    "args": arguments,
                }
            )
            start += step.seconds
        return {"traceEvents": events, "displayTimeUnit": "ns"}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `trace` to a file."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.trace(), file)

    def __str__(self) -> str:
        width = max((len(s.label) for s in self.steps), default=4)
        lines = [
            f"{'step':{width}s}  {'tier':9s} {'operator':16s} {'µs':>9s} {'share':>6s} {'kFLOP':>9s} {'kB':>9s}  floor"
        ]
        for s in self.steps:
            floor = "" if s.times_floor is None else f"{s.times_floor:.1f} x"
            lines.append(
                f"{s.label:{width}s}  {s.tier:9s} {s.operator:16s} {s.seconds * 1e6:9.2f} {s.share:6.1%} "
                f"{s.flops / 1e3:9.1f} {s.bytes / 1e3:9.1f}  {floor}"
            )
        lines.append(
            f"{len(self.steps)} steps, {self.seconds * 1e6:.2f} µs, {self.native_share:.1%} of it in native steps; "
            f"a run without clocks {self.run_seconds * 1e6:.2f} µs"
        )
        return "\n".join(lines)


def profile(model: Model, feeds: Mapping[str, Any], runs: int = 50) -> Profile:
    """See :meth:`rnnrt.Model.profile`."""
    values = model._checked(feeds)
    executor = model._plan.program
    executor.run(values)
    taken: list[list[tuple[Any, ...]]] = []
    whole = []
    for _ in range(max(1, runs)):
        start = time.perf_counter()
        executor.run(values)
        whole.append(time.perf_counter() - start)
        taken.append(executor.profile(values)[1])
    path = [segment for segment, _, _ in taken[-1]]
    same = [run for run in taken if [segment for segment, _, _ in run] == path]
    nanoseconds = np.median([[n for _, steps, call in run for n in (*steps, call)] for run in same], axis=0)
    total = float(nanoseconds.sum()) or 1.0
    steps: list[StepTime] = []
    at = 0
    for segment in path:
        for k in range(segment.n_steps):
            steps.append(_native(segment, k, nanoseconds[at] * 1e-9, nanoseconds[at] / total))
            at += 1
        if segment.terminal.kind == 1:
            end = segment.terminal
            steps.append(
                StepTime(end.label, end.op, end.tier, nanoseconds[at] * 1e-9, nanoseconds[at] / total, 0.0, 0, None)
            )
        at += 1
    return Profile(tuple(steps), total * 1e-9, float(np.median(whole)))


def _native(segment: Any, k: int, seconds: float, share: float) -> StepTime:
    recurrent = segment.names[k] == "recurrent"
    products = recurrent or segment.names[k].startswith(("conv", "gemm", "matmul"))
    flops = segment.works[k] * (2.0 if products else 1.0)
    peak, bandwidth = limits()
    floor = max(flops / peak, segment.traffic[k] / bandwidth)
    times = float(seconds / floor) if floor > 0 else None
    return StepTime(
        segment.labels[k], segment.names[k], "native", float(seconds), float(share), flops, segment.traffic[k], times
    )


@cache
def limits() -> tuple[float, float]:
    """Operations a second at peak, and bytes a second out of the L2 cache, of one core; measured in milliseconds."""
    x = np.ones(1 << 16, np.float32)  # 256 KiB: in L2, not in L1
    y = np.empty(program.LANES, np.float32)
    peak = FMA_CHAINS * program.LANES * 2 * 20000 / _best("limit_fma", [x, y, x.size, 20000])
    return peak, x.nbytes * 20 / _best("limit_read", [x, y, x.size, 20])


def _best(operator: str, words: list[Any]) -> float:
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        program.apply(operator, words)
        best = min(best, time.perf_counter() - start)
    return best
