"""Contenders in processes of their own, timed by turns.

In each round every contender gets a short turn, in an order that rotates; a turn's figure is the least of its
repetitions, a contender's the median over the rounds, and a ratio the median of the rounds' ratios. Where the ratios
do not agree yet, whatever they say, more rounds follow. Between turns a process is stopped, so that no thread that
spins or parks late takes time from the next one.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnrt import RnnrtError

from .jobs import Arrays, read_arrays

ROOT = Path(__file__).resolve().parent.parent
BOOT = "import sys; sys.path.append(sys.argv[1]); from bench.worker import main; main()"
TIMEOUT = 1200
"""Seconds that a request may take."""


class ContenderError(RnnrtError):
    """A contender failed; the message says how."""


class Contender:
    """A contender's process, started when first asked, and again after it died.

    Parameters
    ----------
    name : str
        A module of `bench.contenders`.
    threads : int
    python : str, optional
        Interpreter to run it with; this one by default.
    """

    def __init__(self, name: str, threads: int, python: str | None = None) -> None:
        self.name, self.threads, self.python = name, threads, python
        self._process: subprocess.Popen | None = None
        self._noise = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request (a method of `bench.worker.Worker`) and return the reply.

        Raises
        ------
        ContenderError
            If the contender raised, died, or took too long.
        """
        process = self._process or self._start()
        process.send_signal(signal.SIGCONT)
        watchdog = threading.Timer(TIMEOUT, process.kill)
        watchdog.start()
        try:
            process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            watchdog.cancel()
        if not line:
            raise ContenderError(self._death())
        process.send_signal(signal.SIGSTOP)
        reply = json.loads(line)
        if "error" in reply:
            raise ContenderError(reply["error"])
        return reply

    def open(self, folder: Path) -> tuple[dict[str, Any], Arrays]:
        """Open the job in `folder`; the reply and the answer."""
        reply = self.ask("open", folder=str(folder))
        return reply, read_arrays(folder / f"answer-{self.name}.npz")

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._noise.close()

    def _start(self) -> subprocess.Popen:
        environment = dict(os.environ)
        for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            environment[variable] = str(self.threads)
        if self.python is None:  # the same modules as here, wherever they were found
            environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path)
        self._process = subprocess.Popen(
            [self.python or sys.executable, "-c", BOOT, str(ROOT), self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._noise,
            text=True,
            env=environment,
        )
        return self._process

    def _death(self) -> str:
        process, self._process = self._process, None
        assert process is not None
        process.kill()
        with contextlib.suppress(BrokenPipeError):
            process.communicate()
        self._noise.seek(0)
        lines = self._noise.read().decode(errors="replace").strip().splitlines()
        return f"the process ended with code {process.returncode}: {lines[-1] if lines else 'it said nothing'}"


@dataclass(frozen=True)
class Timing:
    """Seconds a call in each round."""

    turns: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """The median."""
        return statistics.median(self.turns)

    @property
    def best(self) -> float:
        """The least."""
        return min(self.turns)

    @property
    def spread(self) -> float:
        """(greatest - least) / median."""
        return (max(self.turns) - min(self.turns)) / self.seconds

    def over(self, other: Timing) -> float:
        """The median of the ratios to another's, round by round: what slows a whole round down cancels."""
        return statistics.median(mine / its for mine, its in zip(self.turns, other.turns, strict=True))


SETTLED = 0.015
"""Uncertainty of a median ratio, as a share of it, that ends the rounds."""


def uncertainty(ratios: Sequence[float]) -> float:
    """How far off their median may be, as a share of it: the middle half's width over the root of their number."""
    if len(ratios) < 2:
        return math.inf
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return (high - low) / middle / math.sqrt(len(ratios))


@dataclass(frozen=True)
class Pace:
    """How long to measure: rounds, so many times as many where times are restless, and seconds of one turn."""

    rounds: int = 11
    turn: float = 0.04
    patience: int = 1

    def times(self, seconds: float) -> tuple[int, int]:
        """Statements in a repetition, and repetitions in a turn, for a statement of so many seconds."""
        number = max(1, int(2e-4 / seconds))
        return number, min(max(int(self.turn / (number * seconds)), 1 if seconds > 0.3 else 2), 200)


QUICK = Pace(3, 0.01)


Opened = Mapping[str, tuple["Contender", dict[str, Any]]]
"""Contenders that have opened a job, with their replies, by label."""


def interleave(
    opened: Opened, pace: Pace, others: Mapping[str, Callable[[], float]] | None = None
) -> dict[str, Timing | ContenderError]:
    """Time `opened` by turns, and ask `others` for their seconds by turns with them."""
    others = others or {}
    turns: dict[str, list[float]] = {label: [] for label in (*opened, *others)}
    failed: dict[str, ContenderError] = {}
    labels = list(turns)
    slow = any(reply["seconds"] * reply["calls"] > 0.5 for _, reply in opened.values())
    rounds = min(pace.rounds, 3) if slow else pace.rounds
    for k in range(rounds * pace.patience):
        if k >= rounds and _settled([turns[label] for label in opened if label not in failed]):
            break
        for label in labels[k % len(labels) :] + labels[: k % len(labels)]:
            if label in failed:
                continue
            try:
                turns[label].append(others[label]() if label in others else _turn(*opened[label], pace))
            except ContenderError as error:
                failed[label] = error
    return {label: failed.get(label) or Timing(tuple(values)) for label, values in turns.items()}


def _settled(turns: Sequence[Sequence[float]]) -> bool:
    """Whether the ratios of all contenders' times to the first one's agree from round to round."""
    ratios = ([its / first for its, first in zip(each, turns[0], strict=True)] for each in turns[1:])
    return all(uncertainty(each) <= SETTLED for each in ratios)


def _turn(contender: Contender, reply: dict[str, Any], pace: Pace) -> float:
    """Seconds a call, the least of a turn's repetitions."""
    statement = reply["seconds"] * reply["calls"]
    number, repeat = pace.times(statement)
    reply["seconds"] = contender.ask("time", number=number, repeat=repeat, warm_up=statement < 0.3)["best"]
    return reply["seconds"]
