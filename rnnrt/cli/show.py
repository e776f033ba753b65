"""What the verbs print with: consoles, tables, and short forms of shapes and numbers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn
from rich.table import Table
from rich.text import Text


def console() -> Console:
    """A console on stdout; into a pipe it writes plain lines that are never cut."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
    return Console(width=width, highlight=False, soft_wrap=False)


def error_console() -> Console:
    """A console on stderr, for errors and progress."""
    return Console(stderr=True, highlight=False)


def progress_bar(*columns: ProgressColumn) -> Progress:
    """A bar on stderr that goes when it is done; nothing where stderr is no terminal."""
    where = error_console()
    return Progress(*columns, console=where, transient=True, disable=not where.is_terminal)


def failure(message: str) -> None:
    """Print an error as one red line."""
    error_console().print(Text(f"error: {' '.join(message.split())}", style="bold red"), soft_wrap=True)


def table(title: str, columns: Iterable[str], right: Sequence[str] = ()) -> Table:
    """An empty table; the columns named in `right` hold numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made


def shape(dims: Iterable[Any] | None) -> str:
    """A shape as ``1x512``; ``?`` for what is unknown, ``scalar`` for none."""
    if dims is None:
        return "any"
    return "x".join("?" if dim is None else str(dim) for dim in dims) or "scalar"


def number(value: float) -> str:
    """A number with few digits."""
    return f"{value:.4g}"
