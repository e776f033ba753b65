from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self, final

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

STEP_FIELDS: tuple[str, ...]

@final
class Folder:
    def __init__(
        self, kind_of: Callable[[Any], Any], compute: Callable[[Any, list[Any]], list[Tensor | None] | None]
    ) -> None: ...

def advance(
    values: list[Any],
    uses: list[int],
    steps: tuple[Any, ...],
    at: int,
    emitter: Any,
    folder: Folder,
    repeated: Callable[[Any, Any, list[Any]], Any],
) -> tuple[int, list[Any] | None]: ...
def enter(values: list[Any], uses: list[int], given: Iterable[Any]) -> None: ...
def store(
    values: list[Any], uses: list[int], outputs: tuple[int, ...], results: Sequence[Any], frees: tuple[int, ...]
) -> int: ...

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

def merged_axes(shape: tuple[int, ...], *strides: Sequence[int]) -> list[tuple[int, ...]] | None: ...
def joined(entries: Iterable[tuple[int, ...]], operands: int) -> list[tuple[int, ...]]: ...
def copy_words(
    shape: tuple[int, ...], source: tuple[int, ...], target: tuple[int, ...], item: int
) -> list[int] | None: ...

@final
class Emitter:
    lanes: int
    threads: int
    steps: list[Emitted]
    keep: list[Any]
    label: str
    stack: Any
    convolution: Any
    def __init__(self, lanes: int, made: dict[Any, Any], threads: int = 1) -> None: ...
    def empty(self, shape: tuple[int, ...], dtype: np.dtype = ...) -> Tensor: ...
    def scratch(self, n_bytes: int) -> Tensor: ...
    def constant(self, array: np.ndarray) -> Tensor: ...
    def view(self, tensor: Tensor, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> Tensor: ...
    def packed(self, key: Any, array: np.ndarray, make: Callable[[np.ndarray], np.ndarray]) -> Tensor: ...
    def once(self, what: str, node: Any, make: Callable[[Any], Any]) -> Any: ...
    def contiguous(self, tensor: Tensor) -> Tensor: ...
    def copy(self, tensor: Tensor) -> Tensor: ...
    def copy_into(self, source: Tensor, target: Tensor) -> None: ...
    def emit(self, op: str | int, words: list[int | float | Tensor], work: float) -> Emitted: ...

def known_integers(t: Tensor | None) -> list[int] | None: ...
def known_integer(t: Tensor | None) -> int | None: ...
def front_axes(axes: Iterable[int], rank: int) -> list[int] | None: ...
def whole_view(x: Tensor, shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor: ...
def picked(items: Sequence[Any], order: Iterable[int]) -> tuple[Any, ...]: ...
def reshaped_strides(
    shape: tuple[int, ...], strides: tuple[int, ...], target: tuple[int, ...]
) -> tuple[int, ...] | None: ...
def reshaped(emitter: Emitter, x: Tensor, shape: tuple[int, ...]) -> Tensor: ...
def sliced(x: Tensor, axes: list[int], starts: list[int], ends: list[int], steps: list[int]) -> Tensor: ...
def laid_out(dtype: np.dtype, sizes: tuple[int, ...], order: list[int] | None) -> Tensor: ...
def evenly(index: Tensor, n: int) -> tuple[int, int] | None: ...
def moved_inside(t: Tensor, y: Tensor, offset: int) -> bool: ...
def broadcast_pair(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None: ...
def repeated_strides(shape: tuple[int, ...], strides: tuple[int, ...], to: tuple[int, ...]) -> tuple[int, ...]: ...
def apply_views(emitter: Emitter, tensor: Tensor, views: Iterable[tuple[Any, ...]]) -> Tensor: ...
def pads_of(x: Tensor, counts: list[int], axes: list[int]) -> tuple[Tensor, list[int], list[int]] | None: ...
def pad_constant(emitter: Emitter, inside: Tensor, y: Tensor, filling: Tensor, before: list[int]) -> None: ...
def pad_repeated(
    emitter: Emitter, inside: Tensor, y: Tensor, mode: str, before: list[int], after: list[int]
) -> None: ...

OPERANDS: int
TYPES: dict[np.dtype, int]

@final
class Chain:
    def force(self, emitter: Emitter, tensor: Tensor) -> None: ...

def broadcast_shape(tensors: list[Tensor]) -> tuple[int, ...] | None: ...
def chain(
    emitter: Emitter,
    dtype: np.dtype,
    args: list[Tensor],
    tokens: tuple[Any, ...],
    shape: tuple[int, ...] | None = None,
) -> Tensor | None: ...
def now(emitter: Emitter, name: str, dtype: np.dtype, args: list[Tensor], tokens: tuple[Any, ...]) -> Tensor | None: ...

NOTHING: Tensor
C: int
N_COLUMNS: int
EPILOGUE: int

@disjoint_base
class Product:
    a: Tensor
    b: Tensor
    y: Tensor
    c: Tensor
    batch: Sequence[tuple[int, ...]]
    rows: Sequence[tuple[int, ...]]
    columns: Sequence[tuple[int, ...]]
    inner: Sequence[tuple[int, ...]]
    scale: float
    c_row: int
    def __init__(
        self,
        a: Tensor,
        b: Tensor,
        y: Tensor,
        batch: Sequence[tuple[int, ...]],
        rows: Sequence[tuple[int, ...]],
        columns: Sequence[tuple[int, ...]],
        inner: Sequence[tuple[int, ...]],
        scale: float = 1.0,
        c: Tensor = ...,
        c_row: int = 0,
    ) -> None: ...
    def swapped(self) -> Self: ...
    def emit(self, emitter: Emitter) -> bool: ...

def vectors_of(n: int, lanes: int) -> tuple[int, int, int]: ...
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
