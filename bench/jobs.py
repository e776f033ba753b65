"""What a contender is given and what it gives back; imported by every contender's process, so it needs only NumPy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass
class Job:
    """One model with its inputs, in a folder of its own.

    Attributes
    ----------
    mode : "run", "session" or "stream"
        One call on `inputs`; a pass over `frames` through a session, the states handed back by the caller; or a pass
        in the engine's own way of keeping the state.
    model : str
        Path of the ONNX file, from the folder.
    threads : int
    states : dict
        {input: output} pairs that carry state from call to call; their start is among the inputs.
    layer : dict or None
        For a single recurrent layer: op, inputs, hidden, directions.
    """

    mode: str
    model: str
    threads: int
    states: dict[str, str] = field(default_factory=dict)
    layer: dict[str, Any] | None = None

    def write(self, folder: Path, inputs: Arrays, frames: Arrays, weights: Arrays | None = None) -> None:
        """Store the job: `inputs` by name, `frames` stacked on axis 0, `weights` W, R and B of a layer."""
        (folder / "job.json").write_text(json.dumps(asdict(self)))
        for name, arrays in (("inputs", inputs), ("frames", frames), ("weights", weights or {})):
            np.savez(folder / f"{name}.npz", **arrays)


@dataclass
class Task:
    """A job as read back: see `Job` and `Job.write`."""

    job: Job
    model: str
    inputs: Arrays
    frames: Arrays
    weights: Arrays

    @classmethod
    def read(cls, folder: Path) -> Task:
        """Read a job from its folder."""
        job = Job(**json.loads((folder / "job.json").read_text()))
        parts = (read_arrays(folder / f"{name}.npz") for name in ("inputs", "frames", "weights"))
        return cls(job, str(folder / job.model), *parts)

    def start(self) -> Arrays:
        """The states before the first call."""
        return {name: self.inputs[name] for name in self.job.states}

    def feeds(self) -> list[Arrays]:
        """One dict of arrays a frame: streamed inputs and those that stay the same, without the states."""
        fixed = {name: array for name, array in self.inputs.items() if name not in self.job.states}
        count = len(next(iter(self.frames.values())))
        return [{**fixed, **{name: stack[k].copy() for name, stack in self.frames.items()}} for k in range(count)]


@dataclass
class Call:
    """What is timed: a statement for `timeit`, which makes `calls` calls; and a way to get the answer.

    `answer()` returns the outputs by name. In a pass over frames those that are no state are stacked on axis 0, and the
    states after the last frame, counted from the start, are named ``state.<input>``.
    """

    statement: str
    names: dict[str, Any]
    answer: Callable[[], Mapping[str, Any]]
    calls: int = 1
    setup: str = "pass"


Run = Callable[[Any, Arrays], Sequence[Any]]


def session_call(run: Run, outputs: Sequence[str], task: Task) -> Call:
    """A call of ``run(None, feed)``, onnxruntime's and rnnrt's alike; or a pass over frames with it."""
    if task.job.mode == "run":
        names = {"run": run, "feed": task.inputs}
        return Call("run(None, feed)", names, lambda: dict(zip(outputs, run(None, task.inputs), strict=True)))
    places = [(name, outputs.index(out)) for name, out in task.job.states.items()]
    feeds = task.feeds()

    def answer() -> Arrays:
        state, collected = task.start(), []
        for feed in feeds:
            results = run(None, {**feed, **state})
            state = {name: results[k] for name, k in places}
            collected.append([np.array(result) for result in results])
        kept = {k for _, k in places}
        stacks = {out: np.stack([r[k] for r in collected]) for k, out in enumerate(outputs) if k not in kept}
        return stacks | {f"state.{name}": value for name, value in state.items()}

    start = run(None, {**feeds[0], **task.start()})
    body = "    for name, k in places:\n        feed[name] = last[k]\n    last = run(None, feed)"
    names = {"run": run, "feeds": feeds, "places": places, "start": start}
    return Call(f"for feed in feeds:\n{body}", names, answer, len(feeds), "last = start")


class Swapped:
    """Buffers for two bindings of one model that take turns: the state that one writes is the state the other reads.

    Attributes
    ----------
    arrays : dict
        Inputs that are no state; the streamed one is overwritten with each frame.
    results : dict
        Outputs that are no state.
    """

    def __init__(self, task: Task, answer: Arrays) -> None:
        self.feeds = task.feeds()
        (self.streamed,) = task.frames
        self.start = task.start()
        self.made = {out: name for name, out in task.job.states.items()}
        self.arrays = {name: np.array(array) for name, array in self.feeds[0].items()}
        self.results = {name: np.empty_like(array) for name, array in answer.items() if name not in self.made}
        self.state = [{name: array.copy() for name, array in self.start.items()} for _ in range(2)]

    def of(self, k: int) -> tuple[Arrays, Arrays]:
        """Inputs and outputs, by name, of binding `k`."""
        made = {out: self.state[1 - k][name] for out, name in self.made.items()}
        return {**self.arrays, **self.state[k]}, {**self.results, **made}

    def call(self, one: Callable[[], Any], two: Callable[[], Any]) -> Call:
        """The call that runs the two bindings by turns."""
        x = self.arrays[self.streamed]
        each = [feed[self.streamed] for feed in self.feeds]

        def answer() -> Arrays:
            for name, array in self.start.items():
                self.state[0][name][...] = array
            frames = []
            for k, frame in enumerate(each):
                np.copyto(x, frame)
                (two if k % 2 else one)()
                frames.append({name: array.copy() for name, array in self.results.items()})
            stacks = {name: np.stack([frame[name] for frame in frames]) for name in self.results}
            return stacks | {f"state.{name}": array.copy() for name, array in self.state[len(each) % 2].items()}

        pairs = list(zip(each[::2], each[1::2], strict=True))
        names = {"pairs": pairs, "x": x, "copyto": np.copyto, "one": one, "two": two, "buffers": self}
        statement = "for even, odd in pairs:\n    copyto(x, even)\n    one()\n    copyto(x, odd)\n    two()"
        return Call(statement, names, answer, len(each))


def read_arrays(path: Path) -> Arrays:
    """The arrays of an .npz file by name."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
