from collections.abc import Callable
from typing import final

import numpy as np

from rnnrt._core.program import Tensor

_Phases = tuple[Phase, ...]

@final
class Phase:
    first: int
    step: int
    count: int
    stride: int
    tap: int
    tap_step: int
    n_taps: int
    start: int
    start_step: int
    def __init__(
        self,
        first: int,
        step: int,
        count: int,
        stride: int,
        tap: int,
        tap_step: int,
        n_taps: int,
        start: int,
        start_step: int,
    ) -> None: ...
    def changed(
        self,
        count: int | None = None,
        n_taps: int | None = None,
        start: int | None = None,
        start_step: int | None = None,
    ) -> Phase: ...
    @property
    def taken(self) -> slice: ...
    def inside(self, n: int) -> _Phases: ...

SINGLE: Phase

def plain(n: int, k: int, stride: int, dilation: int, begin: int, out: int) -> _Phases: ...
def transposed(n: int, k: int, stride: int, dilation: int, begin: int, out: int) -> _Phases: ...
def margins(phases: _Phases, n: int) -> tuple[int, int]: ...
def distances(table: tuple[int, ...], rows_first: bool) -> np.ndarray: ...

@final
class Planes:
    tensor: Tensor
    n: int
    c: int
    h: int
    w: int
    top: int
    left: int
    piece: int
    apart: int
    strides: tuple[int, int, int, int]
    def __init__(
        self,
        tensor: Tensor,
        n: int,
        c: int,
        h: int,
        w: int,
        strides: tuple[int, int, int, int],
        top: int = 0,
        left: int = 0,
        piece: int = 1,
        apart: int = 0,
    ) -> None: ...
    def taps(self, channels: int, rows: Phase, columns: Phase) -> tuple[int, ...]: ...
    def is_row(self, rows: _Phases) -> bool: ...
    def fit(self, rows: _Phases, columns: _Phases, lanes: int) -> bool: ...

def planes_of(x: Tensor) -> Planes: ...

@final
class Margin:
    words: list[int]
    rows: int
    size: int
    top: int
    left: int
    pitch: int
    piece: int
    bands: int
    run: int
    def planes(self, x: Planes, target: Tensor) -> Planes: ...

def margin(
    x: Planes, rows: _Phases, columns: _Phases, piece: int, copy: bool, most: int = 0, unit: int = 1
) -> Margin | None: ...

@final
class Sums:
    rows: _Phases
    columns: _Phases
    n: int
    groups: int
    channels: int
    m: int
    transposed: bool
    packed: Phase | None
    def __init__(
        self,
        rows: _Phases,
        columns: _Phases,
        n: int,
        groups: int,
        channels: int,
        m: int,
        transposed: bool,
        packed: Phase | None = None,
    ) -> None: ...
    def over(self, rows: _Phases, packed: Phase | None = None) -> Sums: ...
    def taps(self) -> int: ...
    def packing(self) -> tuple[int, ...]: ...

@final
class ConvNode:
    groups: int
    def __init__(
        self,
        groups: int,
        transposed: bool,
        find: Callable[[tuple[int, ...], tuple[int, ...]], tuple[tuple[int, ...], _Phases, _Phases]],
    ) -> None: ...
    def sums(self, x: Tensor, w: Tensor, b: Tensor | None) -> tuple[Sums, tuple[int, ...]] | None: ...

def inside(sums: Sums, height: int) -> Sums | None: ...
def merged(sums: Sums, x: Planes) -> int | None: ...
def cycles(rows: float, vectors: float) -> float: ...
def costs(sums: Sums, x: Planes, padded: bool, lanes: int, tiles: tuple[int, ...]) -> tuple[float, float]: ...
def three_by_three(sums: Sums) -> bool: ...
def conv_words(
    sums: Sums,
    x: Planes,
    copy: Margin | None,
    y: tuple[int, int, int],
    tiling: tuple[bool, int, int, int],
    pool: bool,
    lanes: int,
) -> tuple[list[int | float | Tensor], tuple[int, ...]]: ...
def copied(sums: Sums, copy: Margin, lanes: int) -> int: ...
