"""Recorded cases of a folder of models, as jobs.

A model's folder holds ``model.onnx`` and ``cases.npz`` (``c<k>.in.<name>``, ``c<k>.out.<name>``); where it carries
state, also ``stream.npz`` (``in.<name>`` and ``out.<name>``: frames on axis 0; ``fixed.<name>``; ``state.<name>``: the
state after the last frame, by the input's name). The pairs that carry state come from ``manifest.json`` beside the
folders, else from rnnrt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import rnnrt

from .jobs import Arrays, Job, read_arrays

TOLERANCE = 1e-4
"""Absolute and relative: a recorded answer is another engine's, in float32."""


@dataclass
class Case:
    """A job without its mode, and the recorded answer: outputs by name, states as ``state.<input>``."""

    name: str
    model: Path
    inputs: Arrays
    frames: Arrays
    states: dict[str, str]
    recorded: Arrays

    @property
    def streaming(self) -> bool:
        """Whether it is a pass over frames, one a call."""
        return bool(self.frames)

    def write(self, folder: Path, mode: str) -> Path:
        """Write the job into `folder`, which is made."""
        folder.mkdir()
        Job(mode, str(self.model.resolve()), 1, self.states).write(folder, self.inputs, self.frames)
        return folder


def find(folder: Path, streams_only: bool = False) -> list[Case]:
    """Every case of every model in `folder`; each stream is one more.

    Raises
    ------
    rnnrt.InputError
        If there is none.
    """
    manifest = folder / "manifest.json"
    known = {entry["id"]: entry for entry in json.loads(manifest.read_text())} if manifest.is_file() else {}
    cases: list[Case] = []
    for model in sorted(folder.glob("*/model.onnx")):
        if not streams_only:
            cases.extend(_recorded(model))
        if (model.parent / "stream.npz").is_file():
            pairs = known.get(model.parent.name, {}).get("state")
            states = rnnrt.load(model).states if pairs is None else {into: out for out, into in pairs.items()}
            cases.append(_stream(model, states))
    if not cases:
        expected = "<model>/model.onnx with cases.npz or stream.npz"
        raise rnnrt.InputError(f"models: expected {expected} in {str(folder)!r}, found none")
    return cases


def _recorded(model: Path) -> Iterator[Case]:
    path = model.with_name("cases.npz")
    if not path.is_file():
        return
    found: dict[int, dict[str, Arrays]] = {}
    for key, array in read_arrays(path).items():
        number, side, name = key.split(".", 2)
        found.setdefault(int(number[1:]), {"in": {}, "out": {}})[side][name] = array
    for k in sorted(found):
        yield Case(f"{model.parent.name} {k}", model, found[k]["in"], {}, {}, found[k]["out"])


def _stream(model: Path, states: dict[str, str]) -> Case:
    parts: dict[str, Arrays] = {"in": {}, "out": {}, "fixed": {}, "state": {}}
    for key, array in read_arrays(model.with_name("stream.npz")).items():
        side, name = key.split(".", 1)
        parts[side][name] = array
    start = {name: np.zeros_like(array) for name, array in parts["state"].items()}
    recorded = parts["out"] | {f"state.{name}": array for name, array in parts["state"].items()}
    return Case(f"{model.parent.name} stream", model, parts["fixed"] | start, parts["in"], states, recorded)


def difference(got: Arrays, want: Arrays) -> float:
    """The largest difference over the outputs of `want`; inf where an output is missing or has another shape."""
    worst = 0.0
    for name, right in want.items():
        if name not in got or got[name].shape != right.shape:
            return float("inf")
        if right.dtype.kind in "biufc":
            apart = np.abs(got[name].astype(np.float64) - right.astype(np.float64))
            largest = float(np.max(apart, initial=0.0))
            worst = max(worst, largest) if np.isfinite(largest) else float("inf")
    return worst


def agrees(got: Arrays, want: Arrays) -> bool:
    """Whether an answer is as recorded, within the tolerance; whole numbers may be indices that tie."""
    return all(
        name in got
        and got[name].shape == right.shape
        and (right.dtype.kind != "f" or bool(np.allclose(got[name], right, TOLERANCE, TOLERANCE, equal_nan=True)))
        for name, right in want.items()
    )
