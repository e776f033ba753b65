"""The command line: ``rnnrt run | inspect | check | bench | demo``, one file a verb."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; an error of rnnrt is one line on stderr and exit code 2."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError as error:
        print(f'rnnrt: the command line needs {error.name}: pip install "rnnrt[cli]"', file=sys.stderr)
        raise SystemExit(2) from None
    from .app import run_app

    run_app()
