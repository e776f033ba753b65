from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

import numpy as np
from typing_extensions import disjoint_base

from rnnrt._core import engine as engine
from rnnrt.errors import InputError as InputError

WRONG: tuple[str, ...]
LANES: int
MOST_ROOTS: int
MOST_BYTES: int
FEW_ROOTS: int
MOST_SEGMENTS: int

def operators() -> dict[str, int]: ...
def apply(name: str, words: list[Any], isa: str | None = None, part: int = 0, n_parts: int = 1) -> str: ...

ARENA: int

@disjoint_base
class Buffer:
    size: int
    offset: int
    base: int
    inside: Buffer | None
    keep: Any
    def __init__(self, size: int, base: int = -1, offset: int = 0, keep: Any = None) -> None: ...
    def root(self) -> Buffer: ...
    def place(self) -> tuple[int, int]: ...

@disjoint_base
class Tensor:
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    buffer: Buffer | None
    offset: int
    uses: int
    value: np.ndarray | None
    pending: Any
    producer: Emitted | None
    def __init__(
        self,
        dtype: np.dtype,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        buffer: Buffer | None,
        offset: int = 0,
    ) -> None: ...
    @property
    def ndim(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def contiguous(self) -> bool: ...
    def force(self, emitter: Any) -> Tensor: ...

def c_strides(shape: tuple[int, ...]) -> tuple[int, ...]: ...
def constant(array: np.ndarray) -> Tensor: ...

KNOWN: int
PLAIN: int
PENDING: int

def operands(values: list[Any], slots: tuple[int, ...]) -> tuple[list[Any], int]: ...
def store(
    values: list[Any], uses: list[int], outputs: tuple[int, ...], results: Sequence[Any], frees: tuple[int, ...]
) -> None: ...
def fresh(shape: tuple[int, ...], dtype: np.dtype) -> Tensor: ...
def view(tensor: Tensor, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Tensor: ...

@disjoint_base
class Emitted:
    op: str | int
    words: list[int | float | Tensor]
    work: float
    label: str
    name: str
    threads: int
    body: tuple[Segment, int] | None
    epilogue: int | None
    def __init__(self, op: str | int, words: list[int | float | Tensor], work: float, label: str) -> None: ...

def place(steps: list[Emitted], live: Iterable[Buffer], base: int) -> tuple[int, int]: ...

@final
class Frame: ...

@final
class Tuner:
    def shared(self) -> bool: ...
    def took(self, shared: bool, ns: int) -> int: ...

@final
class Segment:
    n_steps: int
    arena_base: int
    n_bases: int
    arena_size: int
    n_bytes: int
    peak: int
    work: float
    labels: list[str]
    names: list[str]
    works: list[float]
    traffic: list[int]
    terminal: Any
    children: dict[Any, Segment]
    bodies: dict[int, tuple[Segment, int]]
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
    def note(self, k: int) -> str: ...

@final
class Program:
    roots: dict[Any, Segment]
    n_segments: int
    def __init__(self, bind: Callable[[tuple[Any, ...]], Segment]) -> None: ...
    def run(self, values: Sequence[Any]) -> list[Any]: ...
    def run_again(self, names: tuple[str, ...], feeds: Any) -> list[Any] | None: ...
    def run_named(self, names: tuple[str, ...], outputs: tuple[str, ...], feeds: Any) -> dict[str, Any] | None: ...
    def repeat(
        self,
        given: list[Any],
        n_carried: int,
        most: int,
        conditional: bool,
        make: Callable[[int, np.dtype, tuple[int, ...]], np.ndarray],
        scanned: list[np.ndarray] | None = None,
        backward: list[bool] | None = None,
    ) -> tuple[list[np.ndarray], list[np.ndarray]] | None: ...
    def profile(self, values: Sequence[Any]) -> tuple[list[Any], list[tuple[Segment, list[int], int]]]: ...

@final
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

@final
class RepeatedBody:
    function: int
    address: int
    size: int
    threads: bool
    def __init__(
        self,
        body: Segment,
        n: int,
        n_carried: int,
        counted: bool,
        scanned: list[int],
        stacked: list[int],
        n_inputs: int,
    ) -> None: ...

@final
class Repetition:
    def __init__(
        self, body: Segment, given: list[Any], n_carried: int, scanned: Any, backward: Any, make: Any
    ) -> None: ...

@disjoint_base
class RepeatedRun:
    def _repeat(self, program: Program | None, input_names: tuple[str, ...], output_names: tuple[str, ...]) -> None: ...
    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        run_options: object | None = None,
    ) -> list[Any]: ...

@disjoint_base
class RepeatedStep:
    @property
    def _stepper(self) -> Stepper: ...
    def _repeat(self, stepper: Stepper) -> None: ...
    def step(self, feeds: Mapping[str, Any], out: Mapping[str, np.ndarray] | None = None) -> dict[str, Any]: ...
