"""The kernels themselves, by instruction set: ``python -m pytest bench/test_kernels.py``.

Each benchmark's extra_info holds GFLOP/s or GB/s and its share of the limit measured in the same session: of the peak
of that instruction set where multiply-adds bind, of the bandwidth of the level that holds the weights where reading
binds.
"""

from __future__ import annotations

import numpy as np
import pytest

from bench.limits import ISAS, Limits, NoLimitsError, measure
from bench.rows import GATES
from rnnrt._core import engine

AVAILABLE = engine.available()
STREAMED = [("LSTM", 64), ("LSTM", 128), ("LSTM", 256), ("LSTM", 512), ("LSTM", 1024), ("GRU", 128), ("GRU", 512)]
MULTIPLIED = [(op, hidden, batch) for op in ("LSTM", "GRU", "RNN") for hidden in (128, 512) for batch in (4, 8, 33)]
STEPS = 20


@pytest.fixture(scope="session")
def limits() -> dict[str, Limits | None]:
    """The limits of one thread by instruction set; None where they cannot be measured."""
    try:
        return {isa: measure(1, isa, seconds=0.1) for isa in AVAILABLE}
    except NoLimitsError:
        return dict.fromkeys(AVAILABLE)


def layer(op: str, hidden: int, isa: str) -> engine.Recurrent:
    """A layer of one input, so that the recurrent product is nearly all of its work."""
    rng = np.random.default_rng(0)
    rows, bound = GATES[op] * hidden, hidden**-0.5
    shapes = (1, rows, 1), (1, rows, hidden), (1, 2 * rows)
    weights = [rng.uniform(-bound, bound, shape).astype(np.float32) for shape in shapes]
    return engine.Recurrent(op, *weights, linear_before_reset=op == "GRU", isa=isa)


def run_steps(benchmark, op: str, hidden: int, batch: int, isa: str) -> float:
    """Time a run of some steps; seconds of one step, at best."""
    x = np.random.default_rng(1).standard_normal((STEPS, batch, 1)).astype(np.float32)
    y = np.empty((STEPS, 1, batch, hidden), np.float32)
    benchmark(layer(op, hidden, isa).run, x, None, None, None, y, None, None)
    return benchmark.stats.stats.min / STEPS if benchmark.stats else 0.0


def note(benchmark, unit: str, rate: float, limit: float | None) -> None:
    """Store a rate and its share of a limit."""
    benchmark.extra_info[unit] = round(rate / 1e9, 2)
    if limit is not None:
        benchmark.extra_info["share of limit"] = round(rate / limit, 3)


@pytest.mark.parametrize("isa", AVAILABLE)
@pytest.mark.parametrize(("op", "hidden"), STREAMED, ids=lambda value: str(value))
def test_one_row_streams_its_weights(benchmark, limits, op, hidden, isa):
    seconds = run_steps(benchmark, op, hidden, 1, isa)
    if seconds:
        n_bytes = 4 * GATES[op] * hidden * hidden
        limit = limits[isa]
        note(benchmark, "GB/s", n_bytes / seconds, limit and limit.bandwidth[limit.level(n_bytes)])


@pytest.mark.parametrize("isa", AVAILABLE)
@pytest.mark.parametrize(("op", "hidden", "batch"), MULTIPLIED, ids=lambda value: str(value))
def test_several_rows_multiply(benchmark, limits, op, hidden, batch, isa):
    seconds = run_steps(benchmark, op, hidden, batch, isa)
    if seconds:
        limit = limits[isa]
        note(benchmark, "GFLOP/s", 2 * batch * GATES[op] * hidden * (hidden + 1) / seconds, limit and limit.peak)


@pytest.mark.parametrize("isa", AVAILABLE)
@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid"])
def test_activation(benchmark, limits, name, isa):
    x = np.random.default_rng(2).uniform(-8, 8, 2048).astype(np.float32)
    benchmark(engine.apply, name, x, isa)
    if benchmark.stats:
        seconds, limit = benchmark.stats.stats.min, limits[isa]
        benchmark.extra_info["ns an element"] = round(1e9 * seconds / x.size, 3)
        note(benchmark, "GB/s", 2 * x.nbytes / seconds, limit and limit.bandwidth["L1"])


def test_all_instruction_sets_have_a_loop():
    assert set(AVAILABLE) <= set(ISAS)
