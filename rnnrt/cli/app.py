"""The verbs put together, and what becomes of an error."""

from __future__ import annotations

import sys

import typer

from .. import __version__
from ..errors import RnnrtError
from .bench import bench
from .check import check
from .demo import demo
from .inspect import inspect
from .run import run
from .show import failure

app = typer.Typer(
    name="rnnrt",
    help="Run, inspect, check and time recurrent ONNX models on the CPU.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (run, inspect, check, bench, demo):
    app.command()(verb)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"rnnrt {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Run, inspect, check and time recurrent ONNX models on the CPU."""


def run_app() -> None:
    """Run the command line and leave the process."""
    try:
        app()
    except (RnnrtError, OSError) as error:
        failure(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        failure("interrupted")
        sys.exit(130)
