"""Tables for the terminal and in Markdown, results in JSON, and what the command lines share."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable
from rich.text import Text

from rnnrt import InputError, RnnrtError, __version__, cpu


@dataclass
class Table:
    """A title, column names, rows of text, and lines that follow; the first column is text, the others are numbers."""

    title: str
    columns: Sequence[str]
    rows: list[list[str]]
    lines: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """As a section of a Markdown page."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        rows = [self.columns, rule, *self.rows]
        table = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
        after = ["\n".join(f"- {line}" for line in self.lines)] if self.lines else []
        return "\n\n".join([f"## {self.title}", table, *after])


def show(table: Table) -> None:
    """Print a table."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 200
    console = Console(width=width, highlight=False)
    made = RichTable(title=table.title, title_justify="left", title_style="bold", header_style="bold")
    for k, name in enumerate(table.columns):
        made.add_column(name, justify="right" if k else "left", overflow="fold")
    for row in table.rows:
        made.add_row(*(Text(cell) for cell in row))
    console.print(made)
    for line in table.lines:
        console.print(Text(line, style="red" if line.startswith("missed") else ""), soft_wrap=True)


def say(text: str) -> None:
    """A remark on stderr."""
    Console(stderr=True, highlight=False).print(Text(text, style="dim"), soft_wrap=True)


def progress() -> Progress:
    """A bar on stderr that goes when it is done; nothing where stderr is no terminal."""
    console = Console(stderr=True)
    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}")
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def track(items: Sequence[Any]) -> Iterator[Any]:
    """Go through `items` with a bar."""
    with progress() as bar:
        task = bar.add_task("", total=len(items))
        for item in items:
            bar.update(task, description=str(getattr(item, "name", "")))
            yield item
            bar.advance(task)


def store(results: Any, tables: Iterable[Table], json_file: Path | None, markdown_file: Path | None) -> None:
    """Write what was asked for."""
    about = machine()
    if json_file is not None:
        json_file.write_text(json.dumps({"machine": about, **results}, indent=1) + "\n")
    if markdown_file is not None:
        head = "\n".join(f"- {name}: {value}" for name, value in about.items())
        markdown_file.write_text("\n\n".join(["# Benchmark", head, *(table.markdown() for table in tables)]) + "\n")


def machine() -> dict[str, Any]:
    """Where and when this ran."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": name,
        "processors": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "instruction set": cpu()["in_use"],
        "python": platform.python_version(),
        "rnnrt": __version__,
    }


def show_drift(before: Sequence[Any], after: Sequence[Any]) -> None:
    """Say by how much the machine's peak changed while the rows were timed."""
    for old, new in zip(before, after, strict=False):
        if old and new:
            peak = new.peak / old.peak - 1
            reads = max((new.bandwidth[name] / old.bandwidth[name] - 1 for name in old.bandwidth), key=abs)
            say(f"limits after the run, {old.threads} × : peak {peak:+.0%}, reads up to {reads:+.0%} from before")


def seconds(value: float | None) -> str:
    """A time in the unit that suits it."""
    if value is None:
        return "–"
    for unit, scale in (("µs", 1e6), ("ms", 1e3)):
        if value * scale < 1000:
            return f"{value * scale:.3g} {unit}"
    return f"{value:.3g} s"


def times(value: float | None) -> str:
    """A ratio."""
    return "–" if value is None else f"{value:.2f}×"


def mean(ratios: Sequence[float]) -> float:
    """The geometric mean."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def thread_counts(text: str) -> list[int]:
    """``1,2`` as numbers."""
    counts = [int(part) if part.strip().isdigit() else 0 for part in text.split(",")]
    if min(counts) < 1:
        raise InputError(f"--threads {text!r}: expected numbers such as 1,2")
    return counts


def names(text: str, known: Sequence[str], option: str) -> list[str]:
    """``a,b`` as names, each one of `known`."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    for name in found:
        if name not in known:
            raise InputError(f"{option} {name!r}: expected some of {', '.join(known)}")
    return found


def interpreters(pairs: Sequence[str]) -> dict[str, str]:
    """``NAME=/path/to/python`` pairs: contender -> interpreter."""
    found = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals or not os.access(path, os.X_OK):
            raise InputError(f"--python {pair!r}: expected NAME=PATH, the path of an interpreter")
        found[name] = path
    return found


def run(command: Callable[..., None]) -> None:
    """Run a command line; an error of ours is one line."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app()
    except RnnrtError as error:
        Console(stderr=True, highlight=False).print(Text(f"error: {error}", style="bold red"), soft_wrap=True)
        raise SystemExit(1) from None
