"""The results of `bench.layers` as tables: one a group, and what each group reaches of its target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .report import Table, mean, seconds, times
from .rows import CALL_LIMITS, LENGTHS_LIMIT, SECOND_COPY_LIMIT, TARGETS

if TYPE_CHECKING:
    from .layers import Result


def group_table(group: str, threads: int, results: Sequence[Result], contenders: Sequence[str]) -> Table:
    """A group on so many threads: floor, times with multiple of the floor and spread, ratios, errors."""
    published = any(result.row.gpu for result in results)
    columns = ["layer", "floor", *contenders, "best peer / rnnrt", "rnnrt / reachable", "error", "best peer's"]
    rows = []
    for result in results:
        peers = [error for name, error in result.errors.items() if name != "rnnrt"]
        errors = [result.errors.get("rnnrt"), min(peers, default=None)]
        cells = [_cell(result, name) for name in contenders]
        shown = ["–" if error is None else f"{error:.1e}" for error in errors]
        ratios = [times(result.ahead), times(result.over_reachable)]
        row = [result.row.name, seconds(result.floor), *cells, *ratios, *shown]
        rows.append([*row, seconds(result.row.gpu / 1000)] if published else row)
    if published:
        columns.append("TitanXp")
    title = f"{group}, {threads} thread{'s' * (threads > 1)}"
    failures = dict.fromkeys(f"{name}: {why}" for result in results for name, why in result.failures.items())
    return Table(title, columns, rows, list(failures))


def _cell(result: Result, name: str) -> str:
    if name not in result.times:
        return "failed" if name in result.failures else "–"
    timing = result.times[name]
    multiple = result.multiple(name)
    return f"{seconds(timing.seconds)}{f' {times(multiple)}' if multiple else ''} ±{50 * timing.spread:.0f}%"


def verdict_table(results: Sequence[Result]) -> Table:
    """What was asked of each group, what it reached, and whether that is enough."""
    rows: list[list[str]] = []

    def judge(what: str, got: float | None, wanted: float | None, at_least: bool, show: Callable = times) -> None:
        if got is None:
            return
        sign = "≥" if at_least else "≤"
        enough = wanted is None or (got >= wanted if at_least else got <= wanted)
        verdict = "" if wanted is None else "reached" if enough else "missed"
        rows.append([what, show(got), f"{sign} {show(wanted)}" if wanted is not None else "", verdict])

    for threads, group in dict.fromkeys((r.threads, r.row.group) for r in results):
        mine = [r for r in results if (r.threads, r.row.group) == (threads, group)]
        where = f"{group}, {threads} thread{'s' * (threads > 1)}"
        target = TARGETS.get((group, threads))
        ahead = [r.ahead for r in mine if r.ahead]
        over = [r.over_floor for r in mine if r.over_floor]
        wanted = [getattr(target, name, None) for name in ("ahead", "ahead_worst", "floor", "floor_worst")]
        judge(f"{where}: best peer / rnnrt, mean", mean(ahead) if ahead else None, wanted[0], True)
        judge(f"{where}: best peer / rnnrt, worst", min(ahead, default=None), wanted[1], True)
        judge(f"{where}: rnnrt / floor, mean", mean(over) if over else None, wanted[2], False)
        judge(f"{where}: rnnrt / floor, worst", max(over, default=None), wanted[3], False)
        near = [r.over_reachable for r in mine if r.over_reachable]
        judge(f"{where}: rnnrt / reachable, mean", mean(near) if near else None, None, False)
        judge(f"{where}: rnnrt / reachable, worst", max(near, default=None), None, False)
        if threads == 1:
            for result in mine:
                limit = CALL_LIMITS.get((group, result.row.hidden))
                if limit is not None:
                    judge(f"{where}: {result.row.name}", result.ours, limit, False, seconds)
        for result in (r for r in mine if {"rnnrt", "onnxruntime"} <= set(r.opening)):
            ours, peer = result.opening["rnnrt"], result.opening["onnxruntime"]
            what = f"{where}: opening {result.row.name}"
            judge(f"{what}, onnxruntime / rnnrt", peer["seconds"] / ours["seconds"], 1.0, True)
            judge(
                f"{what}, memory of a second / weights",
                ours["more"] / result.row.weight_bytes,
                SECOND_COPY_LIMIT,
                False,
            )
        steps = [r.real_step for r in mine if r.real_step]
        judge(f"{where}: time a real step, against full lengths, worst", max(steps, default=None), LENGTHS_LIMIT, False)
    _judge_errors(results, rows)
    return Table("targets", ["", "got", "wanted", ""], rows)


def _judge_errors(results: Sequence[Result], rows: list[list[str]]) -> None:
    """Rows on which no peer is nearer to the oracle."""
    compared = [r for r in results if len(r.errors) > 1 and "rnnrt" in r.errors]
    if compared:
        good = sum(
            r.errors["rnnrt"] <= min(error for name, error in r.errors.items() if name != "rnnrt") for r in compared
        )
        verdict = "reached" if good == len(compared) else "missed"
        rows.append(["error at most the best peer's, rows", str(good), str(len(compared)), verdict])
