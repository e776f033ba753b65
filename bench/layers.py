"""Recurrent layers beside other engines and the machine's floor.

python -m bench.layers --vs onnxruntime,openvino,torch --threads 1,2
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from . import problems, report
from .contenders import PEERS
from .floors import floor
from .limits import Limits, NoLimitsError, measure
from .limits import table as limits_table
from .rounds import QUICK, Contender, ContenderError, Pace, Timing, interleave
from .rows import GROUPS, USUAL_GROUPS, Row, chosen, is_opened_twice
from .summary import group_table, verdict_table

WRONG = 1e-4
"""A larger difference from the oracle than this is a wrong answer, and its time does not count."""


@dataclass
class Result:
    """One row on so many threads; by contender: times in seconds a call, errors, what opening costs, failures."""

    row: Row
    threads: int
    floor: float | None
    times: dict[str, Timing] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    opening: dict[str, dict[str, float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> float | None:
        """The time of rnnrt."""
        return self.times["rnnrt"].seconds if "rnnrt" in self.times else None

    @property
    def best_peer(self) -> float | None:
        """The time of the fastest peer that answered right."""
        return min((timing.seconds for name, timing in self.times.items() if name != "rnnrt"), default=None)

    @property
    def ahead(self) -> float | None:
        """Best peer / rnnrt."""
        return self.best_peer / self.ours if self.ours and self.best_peer else None

    @property
    def over_floor(self) -> float | None:
        """Our time as a multiple of the floor."""
        return self.ours / self.floor if self.ours and self.floor else None


def run_row(row: Row, contenders: Sequence[Contender], threads: int, limits: Limits | None, pace: Pace) -> Result:
    """Check and time one row."""
    result = Result(row, threads, floor(row, limits) if limits else None)
    opened = {}
    with tempfile.TemporaryDirectory(prefix="rnnrt-bench-") as folder:
        right = problems.write(row, threads, Path(folder))
        for contender in contenders:
            try:
                reply, answer = contender.open(Path(folder))
            except ContenderError as failure:
                result.failures[contender.name] = str(failure)
                continue
            result.errors[contender.name] = problems.error(answer, right)
            if result.errors[contender.name] <= WRONG:
                opened[contender.name] = contender, reply
            else:
                result.failures[contender.name] = f"wrong by {result.errors[contender.name]:.1g}"
        if is_opened_twice(row):
            for name, (contender, _) in opened.items():
                with suppress(ContenderError):
                    result.opening[name] = contender.ask("twice", folder=folder)
        for name, timing in interleave(opened, pace).items():
            if isinstance(timing, Timing):
                result.times[name] = timing
            else:
                result.failures[name] = str(timing)
    return result


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
    pace = QUICK if quick else Pace(rounds)

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
                for row in rows:
                    progress.update(task, description=f"{n} × {row.name}")
                    results.append(run_row(row, contenders, n, limit, pace))
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
    return {**asdict(result), "name": result.row.name, "ahead": result.ahead, "over_floor": result.over_floor}


if __name__ == "__main__":
    report.run(main)
