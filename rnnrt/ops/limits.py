"""Bounds on what an operator may allocate, and the floating-point state that operators run in.

The size of most outputs is bounded by the sizes of the inputs. Where it is a *value* that says how big the output is
(ConstantOfShape, Expand, Tile, Range, Pad, OneHot, Resize, ...), a few bytes of a file could ask for all the memory
there is; such operators call :func:`check_size` before they allocate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextvars import ContextVar

import numpy as np

from ..errors import InputError

RUN_BYTES = 1 << 30
"""How big an output set by data may be while a model runs."""

FOLD_BYTES = 1 << 26
"""How big it may be while constants are folded at load: enter ``limit(FOLD_BYTES)``."""

_limit: ContextVar[int] = ContextVar("rnnrt_output_limit", default=RUN_BYTES)


class limit:
    """Inside the with-block, :func:`check_size` refuses outputs of more than `nbytes` bytes."""

    __slots__ = ("nbytes", "token")

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes

    def __enter__(self) -> None:
        self.token = _limit.set(self.nbytes)

    def __exit__(self, *_: object) -> None:
        _limit.reset(self.token)


def check_size(shape: Sequence[int], dtype: np.dtype, what: str) -> None:
    """Refuse an output of this `shape` and `dtype` if it is impossible or too big; `what` is the node's label.

    Raises
    ------
    InputError
        If a dimension is negative, there are more than NumPy's 64 axes, or the array would take more than the limit.
    """
    size, rank = dtype.itemsize, 0
    for n in shape:
        if n < 0:
            raise InputError(f"{what}: expected dimensions of at least 0, got {list(shape)}")
        size *= n or 1
        rank += 1
    if rank > 64:
        raise InputError(f"{what}: expected at most 64 dimensions, got {rank}")
    if size > _limit.get() and (math.prod(shape) != 0 or size > 1 << 62):
        raise InputError(f"{what}: an output of shape {list(shape)} takes {size} bytes; the limit is {_limit.get()}")


def quiet() -> np.errstate:
    """The floating-point error state that operators expect: inf and NaN are answers, not warnings.

    Whoever calls operators enters it once for a whole run, because entering it costs more than most operators do.
    """
    return np.errstate(all="ignore")
