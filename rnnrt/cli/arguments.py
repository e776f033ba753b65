"""Arguments that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

MODEL = Annotated[str, typer.Argument(metavar="MODEL", help="An ONNX file.", show_default=False)]
INPUTS = Annotated[list[str], typer.Option("--input", "-i", metavar="NAME=FILE", help="An input, from a .npy or .npz.")]
SHAPES = Annotated[list[str], typer.Option("--shape", "-s", metavar="NAME=1x512", help="The shape of a made-up input.")]
SEED = Annotated[int, typer.Option(min=0, help="Seed of the made-up inputs.")]
THREADS = Annotated[int, typer.Option(min=1, help="Number of threads.")]
