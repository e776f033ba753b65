"""rnnrt: `InferenceSession.run`, and `Stream.step` writing into ready arrays."""

from __future__ import annotations

import numpy as np

import rnnrt
from rnnrt import InferenceSession, SessionOptions, load  # now, as part of the import

from ..jobs import Arrays, Call, Task, session_call


def version() -> str:
    """Its version, and the instruction set in use."""
    return f"{rnnrt.__version__} ({rnnrt.cpu()['in_use']})"


def open(task: Task) -> Call:
    """Open a task's model."""
    if task.job.mode == "stream":
        return _stream(task)
    options = SessionOptions()
    options.intra_op_num_threads = task.job.threads
    session = InferenceSession(task.model, options)
    return session_call(session.run, [value.name for value in session.get_outputs()], task)


def _stream(task: Task) -> Call:
    stream = load(task.model, threads=task.job.threads, states=task.job.states or None).stream()
    start = task.start()
    feeds = task.feeds()
    stream.state = start
    out = {name: np.empty_like(array) for name, array in stream.step(feeds[0]).items()}

    def answer() -> Arrays:
        stream.state = start
        frames = [{name: np.array(array) for name, array in stream.step(feed, out).items()} for feed in feeds]
        stacks = {name: np.stack([frame[name] for frame in frames]) for name in out}
        return stacks | {f"state.{name}": array for name, array in stream.state.items()}

    names = {"step": stream.step, "feeds": feeds, "out": out}
    return Call("for feed in feeds:\n    step(feed, out)", names, answer, len(feeds))
