"""Recurrent layers beside other engines and the machine's floor.

python -m bench.layers --vs onnxruntime,openvino,torch --threads 1,2
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from . import problems, report
from .contenders import PEERS
from .floors import floor, levels, products, reachable
from .limits import Limits, NoLimitsError, measure
from .limits import table as limits_table
from .rounds import QUICK, Contender, ContenderError, Pace, Timing, interleave
from .rows import GROUPS, USUAL_GROUPS, Row, chosen, is_opened_twice
from .summary import group_table, verdict_table

WRONG = 1e-4
"""A larger difference from the oracle than this is a wrong answer, and its time does not count."""
FULL = "rnnrt, full lengths"


@dataclass
class Result:
    """One row on so many threads; by contender: times in seconds a call, errors, what opening costs, failures."""

    row: Row
    threads: int
    floors: Timing | None = None
    times: dict[str, Timing] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    opening: dict[str, dict[str, float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    reachables: Timing | None = None

    @property
    def floor(self) -> float | None:
        """The time that the machine allows at the least, as it was in these rounds."""
        return self.floors.seconds if self.floors else None

    @property
    def ours(self) -> float | None:
        """The time of rnnrt."""
        return self.times["rnnrt"].seconds if "rnnrt" in self.times else None

    @property
    def ahead(self) -> float | None:
        """Best peer / rnnrt."""
        peers = [timing for name, timing in self.times.items() if name not in ("rnnrt", FULL)]
        return min((peer.over(self.times["rnnrt"]) for peer in peers), default=None) if self.ours else None

    @property
    def over_floor(self) -> float | None:
        """Our time as a multiple of the floor."""
        return self.multiple("rnnrt")

    @property
    def over_reachable(self) -> float | None:
        """Our time as a multiple of what can be reached."""
        return self.times["rnnrt"].over(self.reachables) if "rnnrt" in self.times and self.reachables else None

    @property
    def real_step(self) -> float | None:
        """With unequal lengths: our time a real step, over the same with full ones."""
        if not {"rnnrt", FULL} <= set(self.times):
            return None
        lens = self.row.sequence_lens
        return self.times["rnnrt"].over(self.times[FULL]) * lens.size * self.row.steps / int(lens.sum())

    def multiple(self, name: str) -> float | None:
        """A contender's time as a multiple of the floor."""
        return self.times[name].over(self.floors) if name in self.times and self.floors else None


def run_row(
    row: Row,
    contenders: Sequence[Contender],
    threads: int,
    limits: Limits | None,
    pace: Pace,
    again: Contender | None = None,
) -> Result:
    """Check and time one row; `again` is rnnrt once more, for the same with full lengths beside unequal ones."""
    result = Result(row, threads)
    reached: list[float] = []
    bounds = {"floor": lambda: _bounds(row, limits, reached)} if limits else {}
    with tempfile.TemporaryDirectory(prefix="rnnrt-bench-") as folder:
        opened = _open(row, {contender.name: contender for contender in contenders}, Path(folder, "row"), result)
        if is_opened_twice(row):
            for name, (contender, _) in opened.items():
                with suppress(ContenderError):
                    result.opening[name] = contender.ask("twice", folder=str(Path(folder, "row")))
        if row.lengths and again is not None:
            opened |= _open(replace(row, lengths="full"), {FULL: again}, Path(folder, "full"), result)
        for name, timing in interleave(opened, pace, bounds).items():
            if not isinstance(timing, Timing):
                result.failures[name] = str(timing)
            elif name in bounds:
                result.floors, result.reachables = timing, Timing(tuple(reached))
            else:
                result.times[name] = timing
    return result


def _bounds(row: Row, limits: Limits, reached: list[float]) -> float:
    """The floor with the limits of the moment; what can be reached with them is added to `reached`."""
    multiplied = [product for product in products(row, limits.threads) if product]
    now = limits.now(levels(row, limits), floor(row, limits), multiplied)
    reached.append(reachable(row, now))
    return floor(row, now)


def _open(row: Row, contenders: Mapping[str, Contender], folder: Path, result: Result) -> dict[str, Any]:
    """Open a row in each contender: those whose answer is right, with their replies."""
    folder.mkdir()
    right = problems.write(row, result.threads, folder)
    opened = {}
    for name, contender in contenders.items():
        try:
            reply, answer = contender.open(folder)
        except ContenderError as failure:
            result.failures[name] = str(failure)
            continue
        error = problems.error(answer, right)
        if name != FULL:
            result.errors[name] = error
        if error <= WRONG:
            opened[name] = contender, reply
        else:
            result.failures[name] = f"wrong by {error:.1g}"
    return opened


def present(names: Sequence[str], pythons: dict[str, str]) -> dict[str, str]:
    """Versions of the contenders that can be imported; the others are named on stderr."""
    versions = {}
    for name in names:
        with Contender(name, 1, pythons.get(name)) as contender:
            try:
                versions[name] = contender.ask("about")["version"]
            except ContenderError as failure:
                report.say(f"{name} is left out: {failure}")
    return versions


def limits_of(threads: int, isa: str) -> Limits | None:
    """The machine's limits; None, with the reason on stderr, where they cannot be measured."""
    try:
        return measure(threads, isa or None)
    except NoLimitsError as missing:
        report.say(str(missing))
        return None


def main(
    vs: Annotated[str, typer.Option(metavar="A,B", help=f"Peers: {', '.join(PEERS)}.")] = "onnxruntime,openvino,torch",
    threads: Annotated[str, typer.Option(metavar="N,…", help="Thread counts, the same for all.")] = "1,2",
    group: Annotated[str, typer.Option(metavar="G,…", help=f"Some of {', '.join(GROUPS)}.")] = ",".join(USUAL_GROUPS),
    only: Annotated[str, typer.Option(help="Only rows whose name contains this.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="The cheapest rows of each group, briefly.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of turns.")] = Pace.rounds,
    patience: Annotated[int, typer.Option(min=1, help="Times as many where a row's ratios are restless.")] = 3,
    isa: Annotated[str, typer.Option(help="Instruction set of the floor; the one in use by default.")] = "",
    python: Annotated[list[str], typer.Option(metavar="NAME=PATH", help="A contender's interpreter.")] = [],  # noqa: B006
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Time over floor against the size.")] = None,
) -> None:
    """Time recurrent layers beside other engines; the answers are checked first."""
    counts, pythons = report.thread_counts(threads), report.interpreters(python)
    peers = report.names(vs, PEERS, "--vs")
    rows = chosen(report.names(group, GROUPS, "--group"), only, quick)
    versions = present(["rnnrt", *peers], pythons)
    limits = [limits_of(n, isa) for n in counts]
    measured = [one for one in limits if one]
    tables = [limits_table(measured)] if measured else []
    results: list[Result] = []
    pace = QUICK if quick else Pace(rounds, patience=patience)

    def stored() -> dict[str, Any]:
        return {
            "contenders": versions,
            "limits": [asdict(one) for one in measured],
            "rows": [_plain(r) for r in results],
        }

    with report.progress() as progress:
        task = progress.add_task("", total=len(rows) * len(counts))
        for n, limit in zip(counts, limits, strict=True):
            with ExitStack() as stack:
                contenders = [stack.enter_context(Contender(name, n, pythons.get(name))) for name in versions]
                again = stack.enter_context(Contender("rnnrt", n, pythons.get("rnnrt")))
                for row in rows:
                    progress.update(task, description=f"{n} × {row.name}")
                    results.append(run_row(row, contenders, n, limit, pace, again))
                    report.store(stored(), (), json_file, None)  # an interrupted run keeps what it has measured
                    progress.advance(task)
    for n in counts:
        for name in dict.fromkeys(row.group for row in rows):
            mine = [result for result in results if result.threads == n and result.row.group == name]
            tables.append(group_table(name, n, mine, list(versions)))
    tables.append(verdict_table(results))
    for table in tables:
        report.show(table)
    report.show_drift(limits, [limits_of(n, isa) for n in counts] if measured else [])
    report.store(stored(), tables, json_file, markdown)
    if plot is not None:
        from .plot import draw

        draw(results, list(versions), plot)


def _plain(result: Result) -> dict:
    derived = ("floor", "ahead", "over_floor", "over_reachable", "real_step")
    return {**asdict(result), "name": result.row.name, **{name: getattr(result, name) for name in derived}}


if __name__ == "__main__":
    report.run(main)
