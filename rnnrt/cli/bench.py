"""`rnnrt bench`: the latency of one call, beside other engines in the same minutes on the same inputs.

All contenders are warmed up, then take turns in short rounds, so that a change in the machine's speed meets them all.
Inputs are ready arrays; what is timed is the call alone. A model that carries state is also timed as a stream.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from .. import cpu
from .. import model as _model
from ..errors import InputError
from .arguments import INPUTS, MODEL, SEED, SHAPES, THREADS
from .engines import ENGINES, open_engine, reason
from .feeds import Wanted, make_feed, recorded_cases
from .show import console, error_console, number, progress_bar, shape, table

ROUNDS = 20
WARM_UP_SECONDS = 0.05


@dataclass(frozen=True)
class Row:
    """One contender's figures; times are microseconds a call."""

    engine: str
    minimum: float
    median: float
    p99: float
    steps_per_second: float
    calls: int


def bench(
    model: MODEL,
    inputs: INPUTS = [],  # noqa: B006
    shapes: SHAPES = [],  # noqa: B006
    batch: Annotated[int | None, typer.Option(min=1, help="Size of unknown batch dimensions.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Size of unknown time dimensions.")] = None,
    threads: THREADS = 1,
    vs: Annotated[str, typer.Option(metavar="A,B", help="Other engines: onnxruntime, openvino, onnx.reference.")] = "",
    seconds: Annotated[float, typer.Option(min=0.01, help="Time for each contender.")] = 2.0,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Store the figures here.")] = None,
    seed: SEED = 0,
) -> None:
    """Time one call of a model: minimum, median and 99th percentile."""
    others = [name.strip() for name in vs.split(",") if name.strip()]
    for name in others:
        if name not in ENGINES or name == "rnnrt":
            choice = ", ".join(engine for engine in ENGINES if engine != "rnnrt")
            raise InputError(f"--vs {name!r}: expected some of {choice}")
    loaded = _model.load(model, threads=threads)
    wanted = Wanted(files=inputs, shapes=shapes, batch=batch, steps=steps, seed=seed)
    feed = make_feed(loaded.inputs, loaded.states, wanted, recorded_cases(model))
    for note in feed.notes:
        error_console().print(note, style="dim", markup=False)
    contenders, failures = _contenders(model, loaded, feed.arrays, others, threads)
    times = measure(contenders, seconds)
    rows = [_row(name, taken, feed.steps) for name, taken in times.items()]
    _print(rows, feed.arrays, feed.steps, threads)
    for name, why in failures.items():
        console().print(f"{name} was left out: {why}", style="yellow", markup=False)
    if json_file is not None:
        _store(json_file, model, threads, feed.arrays, feed.steps, rows, failures)


def _contenders(
    path: str, loaded: _model.Model, feed: Mapping[str, np.ndarray], others: list[str], threads: int
) -> tuple[dict[str, Callable[[], Any]], dict[str, str]]:
    """What to time, by name, each having answered once; and why others are left out."""
    ours = open_engine("rnnrt", path, threads)
    contenders: dict[str, Callable[[], Any]] = {"rnnrt": lambda: ours(feed)}
    contenders["rnnrt"]()
    if loaded.states:
        step = loaded.stream().step
        frame = {name: array for name, array in feed.items() if name not in loaded.states}
        step(frame)
        contenders["rnnrt stream"] = lambda: step(frame)
    failures = {}
    for name in others:
        try:
            run = open_engine(name, path, threads)
            run(feed)
        except Exception as error:  # an engine may raise anything; it is named and left out
            failures[name] = reason(error)
        else:
            contenders[name] = partial(run, feed)
    return contenders, failures


def measure(contenders: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, np.ndarray]:
    """Nanoseconds of every call; contenders take turns, for `seconds` each in all and in at least three rounds."""
    taken: dict[str, list[int]] = {name: [] for name in contenders}
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    with progress_bar(*columns) as progress:
        task = progress.add_task("warming up", total=ROUNDS * len(contenders))
        for call in contenders.values():
            _repeat(call, min(WARM_UP_SECONDS, seconds / 4), [])
        for k in range(ROUNDS):
            for name, call in contenders.items():
                progress.update(task, description=name, advance=1)
                if k < 3 or sum(taken[name]) < seconds * 1e9:
                    _repeat(call, seconds / ROUNDS, taken[name])
    return {name: np.array(values) for name, values in taken.items()}


def _repeat(call: Callable[[], Any], seconds: float, taken: list[int]) -> None:
    clock = time.perf_counter_ns
    end = clock() + int(seconds * 1e9)
    while True:
        begin = clock()
        call()
        now = clock()
        taken.append(now - begin)
        if now >= end:
            return


def _row(name: str, nanoseconds: np.ndarray, steps: int) -> Row:
    minimum, median, p99 = np.percentile(nanoseconds, [0, 50, 99]) / 1000
    return Row(name, float(minimum), float(median), float(p99), steps * 1e6 / float(median), len(nanoseconds))


def _print(rows: list[Row], arrays: Mapping[str, np.ndarray], steps: int, threads: int) -> None:
    sizes = ", ".join(f"{name} {shape(array.shape)}" for name, array in arrays.items()) or "none"
    columns = ("engine", "min µs", "median µs", "p99 µs", "steps/s", "calls", "median / rnnrt's")
    made = table(f"one call on {threads} thread{'s' * (threads > 1)}, inputs {sizes}", columns, right=columns[1:])
    for row in rows:
        made.add_row(
            row.engine,
            f"{row.minimum:.2f}",
            f"{row.median:.2f}",
            f"{row.p99:.2f}",
            f"{row.steps_per_second:,.0f}",
            f"{row.calls:,}",
            number(row.median / rows[0].median),
        )
    console().print(made)


def _store(
    path: Path,
    model: str,
    threads: int,
    arrays: Mapping[str, np.ndarray],
    steps: int,
    rows: list[Row],
    failures: Mapping[str, str],
) -> None:
    content = {
        "model": Path(model).name,
        "threads": threads,
        "instruction set": cpu()["in_use"],
        "steps": steps,
        "inputs": {name: {"shape": list(a.shape), "dtype": a.dtype.name} for name, a in arrays.items()},
        "unit": "microseconds a call",
        "rows": [asdict(row) for row in rows],
        "left out": dict(failures),
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
