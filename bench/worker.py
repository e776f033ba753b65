"""A contender's process: opens jobs, answers, and times repetitions when told to.

Started by `bench.rounds`; takes one JSON request a line on stdin and writes one reply a line to what was stdout. What
an engine itself prints goes to stderr.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
import timeit
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from .jobs import Call, Task

PR_SET_PDEATHSIG, SIGKILL = 1, 9


class Worker:
    """Holds the contender and at most one open job; each method is a request."""

    def __init__(self, name: str) -> None:
        self.name = name
        began = time.perf_counter()
        self.contender = import_module(f"bench.contenders.{name}")
        self.import_seconds = time.perf_counter() - began
        self.timer: timeit.Timer | None = None
        self.calls = 1

    def about(self) -> dict[str, Any]:
        """The contender's version and how long importing it took."""
        return {"version": self.contender.version(), "import_seconds": self.import_seconds}

    def open(self, folder: str) -> dict[str, Any]:
        """Open the job in `folder` and store its answer there; seconds of opening, first answer and later call."""
        task = Task.read(Path(folder))
        self.timer = None
        began = time.perf_counter()
        call: Call = self.contender.open(task)
        opened = time.perf_counter()
        answer = call.answer()
        answered = time.perf_counter()
        np.savez(Path(folder, f"answer-{self.name}.npz"), **{name: np.asarray(value) for name, value in answer.items()})
        self.calls = call.calls
        self.timer = timeit.Timer(call.statement, call.setup, globals=call.names)
        return {
            "open_seconds": opened - began,
            "answer_seconds": answered - opened,
            "resident": resident(),
            "seconds": min(self.timer.repeat(2, 1)) / self.calls,
            "calls": self.calls,
        }

    def twice(self, folder: str) -> dict[str, Any]:
        """Seconds of opening the job in `folder`, the least of several, and bytes that a second copy of it takes."""
        task = Task.read(Path(folder))
        kept, seconds, sizes = [], [], []
        for _ in range(5):
            began = time.perf_counter()
            kept.append(self.contender.open(task))
            seconds.append(time.perf_counter() - began)
            kept[-1].answer()
            sizes.append(resident())
        return {"seconds": min(seconds), "more": (sizes[-1] - sizes[0]) / (len(sizes) - 1)}

    def time(self, number: int, repeat: int, warm_up: bool) -> dict[str, Any]:
        """Seconds a call: the least of `repeat` times, each of `number` statements."""
        assert self.timer is not None
        if warm_up:
            self.timer.timeit(1)
        return {"best": min(self.timer.repeat(repeat, number)) / (number * self.calls)}

    def first(self, folder: str) -> dict[str, Any]:
        """Seconds from opening to the first answer, and the memory resident then and before; in a fresh process."""
        task = Task.read(Path(folder))
        before = resident()
        began = time.perf_counter()
        call: Call = self.contender.open(task)
        call.answer()
        taken = time.perf_counter() - began
        return {"first_seconds": taken, "before": before, "resident": resident()}


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Serve requests until stdin ends."""
    # A process that is stopped between its turns would outlive a parent that was killed.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker: Worker | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            worker = worker or Worker(sys.argv[2])
            reply = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # an engine may raise anything; the parent says what it was
            text = next((part.strip() for part in reversed(str(error).splitlines()) if part.strip()), "")
            reply = {"error": f"{type(error).__name__}: {text[:300]}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
