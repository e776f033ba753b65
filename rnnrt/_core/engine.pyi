from collections.abc import Sequence
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

from rnnrt.errors import InputError as InputError
from rnnrt.errors import ModelError as ModelError
from rnnrt.errors import UnsupportedError as UnsupportedError

ISAS: tuple[str, ...]
ACTIVATIONS: tuple[str, ...]
KINDS: dict[str, int]
N_GATES: dict[str, int]
N_FUNCTIONS: dict[str, int]
tables: dict[str, Any]
in_use: str
pool: Any

class _Cpu(TypedDict):
    built: list[str]
    present: list[str]
    in_use: str

def built() -> list[str]: ...
def present() -> list[str]: ...
def available() -> list[str]: ...
def choose(name: str | None = None) -> str: ...
def cpu() -> _Cpu: ...
def apply(name: Literal["exp", "tanh", "sigmoid"], x: npt.ArrayLike, isa: str | None = None) -> np.ndarray: ...
def memory(shape: int | Sequence[int], dtype: npt.DTypeLike = "uint8", passing: bool = False) -> np.ndarray: ...
def put_transposed(target: np.ndarray, source: np.ndarray) -> None: ...
def choice_of(function: int, words: int) -> str: ...
def wavefront(layers: list[Recurrent], n_time: int, n_batch: int, threads: int) -> tuple[int, list[int]] | None: ...
def sample_weights(layer: Recurrent, n_samples: int) -> bytes: ...
def same_weights(a: object, b: object) -> bool: ...

@disjoint_base
class Block:
    def __init__(self, size: int, kind: int = ...) -> None: ...

@disjoint_base
class Recurrent:
    kind: str
    direction: str
    isa: str
    num_directions: int
    input_size: int
    hidden_size: int
    dtype: np.dtype
    quantized: bool
    nbytes: int
    def __init__(
        self,
        kind: str,
        W: np.ndarray,
        R: np.ndarray,
        B: np.ndarray | None = None,
        P: np.ndarray | None = None,
        *,
        direction: str = "forward",
        activations: Sequence[str] | None = None,
        alpha: Sequence[float] | None = None,
        beta: Sequence[float] | None = None,
        clip: float = 0.0,
        input_forget: bool = False,
        linear_before_reset: bool = False,
        quantized: Any = None,
        isa: str | None = None,
    ) -> None: ...
    def bound(self, n_time: int, n_batch: int, threads: int = 1) -> tuple[int, list[int | float], int, float, int]: ...
    def run(
        self,
        x: np.ndarray,
        sequence_lens: np.ndarray | None,
        initial_h: np.ndarray | None,
        initial_c: np.ndarray | None,
        y: np.ndarray | None,
        y_h: np.ndarray | None,
        y_c: np.ndarray | None,
        trace: np.ndarray | None = None,
        threads: int = 1,
    ) -> None: ...
