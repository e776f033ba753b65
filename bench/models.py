"""Whole models, one thread each: ``python -m bench.models --vs onnxruntime --models FOLDER``.

Every recorded case of every model through `InferenceSession.run`, and every recorded stream one frame a call with the
state handed back, interleaved with the peers on the same inputs; streams through `Stream.step` as well. ``--load``
measures instead, in fresh processes, the time from opening a model to its first answer and the memory resident then.
"""

from __future__ import annotations

import math
import os
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from rnnrt import InputError

from . import report
from .cases import Case, agrees, difference, find
from .jobs import Arrays
from .layers import present
from .rounds import QUICK, Contender, ContenderError, Pace, Timing, interleave

MODEL_PEERS = ("onnxruntime", "openvino")
STEP = "rnnrt Stream.step"
FRESH = 9
"""Fresh processes a contender for a figure of ``--load``, by turns."""
TARGETED, ALL, STREAMING, WORST = "onnxruntime", 1.5, 2.0, 1.0
"""Wanted of this peer / rnnrt: geometric means over all cases and over streams, and the least."""


@dataclass
class Result:
    """One case: seconds a call and whether the recorded answer came, by contender."""

    case: Case
    times: dict[str, Timing] = field(default_factory=dict)
    right: dict[str, bool] = field(default_factory=dict)
    difference: float | None = None
    failures: dict[str, str] = field(default_factory=dict)

    def ahead(self, peer: str) -> float | None:
        """Peer / rnnrt."""
        both = self.times.get(peer), self.times.get("rnnrt")
        return both[0].over(both[1]) if both[0] and both[1] else None


def run_case(case: Case, contenders: Sequence[Contender], stepper: Contender | None, pace: Pace) -> Result:
    """Check and time one case."""
    result, opened, answers = Result(case), {}, {}
    with tempfile.TemporaryDirectory(prefix="rnnrt-bench-") as folder:
        jobs = case.write(Path(folder, "session"), "session" if case.streaming else "run")
        entries = [(contender.name, contender, jobs) for contender in contenders]
        if case.streaming and stepper is not None:
            entries.append((STEP, stepper, case.write(Path(folder, "stream"), "stream")))
        for label, contender, job in entries:
            try:
                reply, answers[label] = contender.open(job)
            except ContenderError as failure:
                result.failures[label] = str(failure)
                continue
            result.right[label] = agrees(answers[label], case.recorded)
            opened[label] = contender, reply
        result.difference = _apart(answers, case)
        for label, timing in interleave(opened, pace).items() if opened else ():
            if isinstance(timing, Timing):
                result.times[label] = timing
            else:
                result.failures[label] = str(timing)
    return result


def _apart(answers: dict[str, Arrays], case: Case) -> float | None:
    """The largest difference between rnnrt's answer and the first peer's, else the recorded one."""
    if "rnnrt" not in answers:
        return None
    peer = next((answer for label, answer in answers.items() if label not in ("rnnrt", STEP)), case.recorded)
    return difference(answers["rnnrt"], peer)


def times_table(results: Sequence[Result], names: Sequence[str], peers: Sequence[str]) -> report.Table:
    """Each case's times, ratios, greatest difference, and whether rnnrt's answer is the recorded one."""
    columns = ["case", *names, *(f"{peer} / rnnrt" for peer in peers), "difference", "recorded"]
    rows = []
    for result in results:
        cells = [_cell(result, name) for name in names]
        ratios = [report.times(result.ahead(peer)) for peer in peers]
        apart = "–" if result.difference is None else f"{result.difference:.1e}"
        recorded = "–" if "rnnrt" not in result.right else "same" if result.right["rnnrt"] else "other"
        rows.append([result.case.name, *cells, *ratios, apart, recorded])
    failures = [f"{r.case.name}: {label}: {why}" for r in results for label, why in r.failures.items()]
    return report.Table("models, 1 thread", columns, rows, failures)


def _cell(result: Result, name: str) -> str:
    timing = result.times.get(name)
    if timing is None:
        return "failed" if name in result.failures else "–"
    return f"{report.seconds(timing.seconds)} ±{50 * timing.spread:.0f}%"


def means_table(results: Sequence[Result], peers: Sequence[str]) -> report.Table:
    """Geometric means over all cases and over the streams, and the worst case."""
    rows = []
    for peer in peers:
        ratios = {r.case.name: r.ahead(peer) for r in results}
        known = {name: ratio for name, ratio in ratios.items() if ratio}
        streams = [known[r.case.name] for r in results if r.case.streaming and r.case.name in known]
        if not known:
            continue
        worst = min(known, key=lambda name: known[name])
        found = [(f"all {len(known)} cases", report.mean([*known.values()]), ALL)]
        if streams:
            found.append((f"{len(streams)} streams", report.mean(streams), STREAMING))
        found.append((f"worst ({worst})", known[worst], WORST))
        for what, got, wanted in found:
            verdict = [f"≥ {report.times(wanted)}", "reached" if got >= wanted else "missed"]
            rows.append([f"{peer} / rnnrt, {what}", report.times(got), *(verdict if peer == TARGETED else ["", ""])])
    right = sum(r.right.get("rnnrt", False) for r in results)
    verdict = "reached" if right == len(results) else "missed"
    rows.append(["answers as recorded", str(right), str(len(results)), verdict])
    return report.Table("targets", ["", "got", "wanted", ""], rows)


def load_row(case: Case, versions: Sequence[str], pythons: dict[str, str]) -> dict[str, dict[str, float]]:
    """Medians over fresh processes, by contender: seconds of import and to the first answer, bytes resident then.

    And `ahead`, the median over the turns of the contender's time to the first answer over rnnrt's.
    """
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in versions}
    with tempfile.TemporaryDirectory(prefix="rnnrt-bench-") as folder:
        job = case.write(Path(folder, "job"), "session" if case.streaming else "run")
        for name in [name for _ in range(FRESH) for name in versions]:
            with Contender(name, 1, pythons.get(name)) as contender:
                try:
                    about = contender.ask("about")
                    runs[name].append({**about, **contender.ask("first", folder=str(job))})
                except ContenderError as failure:
                    report.say(f"{case.name}: {name}: {failure}")
    figures = {}
    keys = ("import_seconds", "first_seconds", "resident")
    for name, turns in runs.items():
        if turns:
            figures[name] = {key: statistics.median(run[key] for run in turns) for key in keys}
            pairs = [
                (its["first_seconds"], ours["first_seconds"]) for its, ours in zip(turns, runs["rnnrt"], strict=False)
            ]
            figures[name]["ahead"] = statistics.median(its / ours for its, ours in pairs) if pairs else math.nan
    return figures


def load_table(rows: dict[str, dict[str, dict[str, float]]], names: Sequence[str]) -> report.Table:
    """Load to first answer, and memory."""
    peers = [name for name in names if name != "rnnrt"]
    columns = ["model", *(f"{name} first answer" for name in names), *(f"{name} / rnnrt" for name in peers)]
    columns += [f"{name} resident" for name in names]
    cells = []
    for model, figures in rows.items():
        first = [report.seconds(figures.get(name, {}).get("first_seconds")) for name in names]
        memory = [f"{figures[name]['resident'] / 1e6:.0f} MB" if name in figures else "–" for name in names]
        ahead = [report.times(figures.get(name, {}).get("ahead")) for name in peers]
        cells.append([model, *first, *ahead, *memory])
    imports = {n: [f[n]["import_seconds"] for f in rows.values() if n in f] for n in names}
    lines = []
    for name in peers:
        ratios = [f[name]["ahead"] for f in rows.values() if name in f]
        later = sum(ratio < 1 for ratio in ratios)
        lines.append(f"first answer before {name}'s, or with it: {len(ratios) - later} of {len(ratios)}")
    lines += [f"import of {n} before that: {report.seconds(statistics.median(v))}" for n, v in imports.items() if v]
    return report.Table("load to first answer, fresh processes", columns, cells, lines)


def default_folder() -> Path:
    """RNNRT_MODELS, else ../shared/models beside the repository."""
    return Path(os.environ.get("RNNRT_MODELS") or Path(__file__).resolve().parents[2] / "shared" / "models")


def main(
    vs: Annotated[str, typer.Option(metavar="A,B", help=f"Peers: {', '.join(MODEL_PEERS)}.")] = "onnxruntime",
    models: Annotated[Path | None, typer.Option(metavar="FOLDER", help="RNNRT_MODELS by default.")] = None,
    only: Annotated[str, typer.Option(help="Only cases whose name contains this.")] = "",
    streams: Annotated[bool, typer.Option("--streams", help="Only the streams, one frame a call.")] = False,
    load: Annotated[bool, typer.Option("--load", help="Time to the first answer, and memory.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Few and short rounds.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of turns.")] = Pace.rounds,
    patience: Annotated[int, typer.Option(min=1, help="Times as many where a case's ratios are restless.")] = 3,
    python: Annotated[list[str], typer.Option(metavar="NAME=PATH", help="A contender's interpreter.")] = [],  # noqa: B006
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
) -> None:
    """Time whole models beside other engines."""
    pythons = report.interpreters(python)
    peers = report.names(vs, MODEL_PEERS, "--vs")
    cases = [case for case in find(models or default_folder(), streams) if only in case.name]
    if not cases:
        raise InputError(f"--only {only!r}: no case has such a name")
    versions = present(["rnnrt", *peers], pythons)
    peers = [peer for peer in peers if peer in versions]
    stored: dict[str, Any] = {"contenders": versions}
    if load:
        first = {case.model.parent.name: case for case in reversed(cases) if not case.streaming}
        rows = {}
        for name, case in report.track(sorted(first.items())):
            rows[name] = load_row(case, list(versions), pythons)
        tables = [load_table(rows, list(versions))]
        stored["load"] = rows
    else:
        results = _run(cases, list(versions), pythons, QUICK if quick else Pace(rounds, patience=patience))
        labels = [*versions, STEP] if any(case.streaming for case in cases) else list(versions)
        tables = [times_table(results, labels, peers), means_table(results, peers)]
        stored["cases"] = [_plain(result, peers) for result in results]
    for table in tables:
        report.show(table)
    report.store(stored, tables, json_file, markdown)


def _run(cases: Sequence[Case], names: Sequence[str], pythons: dict[str, str], pace: Pace) -> list[Result]:
    with ExitStack() as stack:
        contenders = [stack.enter_context(Contender(name, 1, pythons.get(name))) for name in names]
        stepper = stack.enter_context(Contender("rnnrt", 1, pythons.get("rnnrt"))) if "rnnrt" in names else None
        return [run_case(case, contenders, stepper, pace) for case in report.track(cases)]


def _plain(result: Result, peers: Sequence[str]) -> dict[str, Any]:
    return {
        "case": result.case.name,
        "streaming": result.case.streaming,
        "times": {label: vars(timing) for label, timing in result.times.items()},
        "right": result.right,
        "difference": result.difference,
        "ahead": {peer: result.ahead(peer) for peer in peers},
        "failures": result.failures,
    }


if __name__ == "__main__":
    report.run(main)
