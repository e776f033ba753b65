from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from typing_extensions import disjoint_base

from rnnrt._core import engine as engine
from rnnrt.errors import InputError as InputError

WRONG: tuple[str, ...]
LANES: int
MOST_ROOTS: int
MOST_SEGMENTS: int

def operators() -> dict[str, int]: ...
def apply(name: str, words: list[Any], isa: str | None = None, part: int = 0, n_parts: int = 1) -> str: ...

@disjoint_base
class Frame: ...

@disjoint_base
class Segment:
    n_steps: int
    arena_base: int
    n_bases: int
    arena_size: int
    peak: int
    work: float
    labels: list[str]
    names: list[str]
    works: list[float]
    traffic: list[int]
    terminal: Any
    children: dict[Any, Segment]
    def __init__(
        self,
        steps: list[Any],
        arena_size: int,
        peak: int,
        arena_base: int,
        n_bases: int,
        terminal: Any,
        keep: list[Any],
        drops: list[int],
        threads: int = 1,
    ) -> None: ...

@disjoint_base
class Program:
    roots: dict[Any, Segment]
    n_segments: int
    def __init__(self, bind: Callable[[tuple[Any, ...]], Segment]) -> None: ...
    def run(self, values: Sequence[Any]) -> list[Any]: ...
    def run_again(self, names: tuple[str, ...], feeds: Any) -> list[Any] | None: ...
    def profile(self, values: Sequence[Any]) -> tuple[list[Any], list[tuple[Segment, list[int], int]]]: ...

@disjoint_base
class Stepper:
    root: Segment | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    def __init__(
        self, program: Program, inputs: tuple[str, ...], outputs: tuple[str, ...], states: dict[str, str]
    ) -> None: ...
    def enter(self) -> bool: ...
    def leave(self) -> None: ...
    def get(self) -> list[np.ndarray]: ...
    def set(self, state: list[np.ndarray]) -> None: ...
    def run(self, values: list[Any]) -> list[Any]: ...
    def step(self, feeds: Any, out: Mapping[str, np.ndarray] | None) -> dict[str, Any] | None: ...
