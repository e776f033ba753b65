"""One matrix product of two tensors, whatever axes they have, as a step of op_gemm.h: its weights and its addend."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .._core import program
from .._core.program import EPILOGUE, N_COLUMNS, NOTHING, C, vectors_of
from .emitter import FLOAT, Emitter
from .tensor import Shape, Tensor, aligned, memory, strided


class Product(program.Product):
    """See there; this packs what is known of it."""

    __slots__ = ()

    def pack(self, emitter: Emitter, dots: bool, shape: Shape, strides: Shape) -> Tensor:
        """The right operand seen as matrices (…, K, N), times the scale: in panels, or transposed for `dots`."""
        assert self.b.value is not None
        scale, lanes = self.scale, emitter.lanes

        def make(array: np.ndarray) -> np.ndarray:
            view = strided(array, shape, strides).reshape(-1, *shape[-2:])
            if scale != 1.0:
                view = view * np.float32(scale)
            return aligned(view.swapaxes(1, 2)) if dots else panels(view, lanes)

        return emitter.packed(("gemm", dots, shape, strides, scale, lanes), self.b.value, make)


def panels(matrices: np.ndarray, lanes: int) -> np.ndarray:
    """Matrices (B, K, N) in panels: for each in turn panel[k][v][u], columns that are missing zero."""
    count, k, n = matrices.shape
    n_vec, n_panels, nv = vectors_of(n, lanes)
    packed = memory(count * k * n_vec * lanes).reshape(count, -1)
    for panel in range(n_panels):
        begin, end = panel * nv * lanes, min((panel + 1) * nv, n_vec) * lanes
        part = packed[:, begin * k : end * k].reshape(count, k, end - begin)
        part[:, :, : min(end, n) - begin] = matrices[:, :, begin : min(end, n)]
        part[:, :, min(end, n) - begin :] = 0
    return packed


def padded(
    emitter: Emitter, c: Tensor, shape: tuple[int, int], strides: tuple[int, int], beta: float
) -> tuple[Tensor, int]:
    """``beta * c`` as `Product.c` and `Product.c_row`, from a view of c as (rows, columns).

    A step copies a variable c, whose beta has to be 1.
    """
    (m, n), (row, column), lanes = shape, strides, emitter.lanes
    width = -(-n // lanes) * lanes
    rows = m if row else 1
    if c.value is None:
        room = emitter.empty((rows, width))
        source = emitter.view(c, (rows, n), strides)
        emitter.copy_into(source, emitter.view(room, (rows, n), (width, 1)))
        return room, width if row else 0

    def make(array: np.ndarray) -> np.ndarray:
        full = np.zeros((rows, width), np.float32)
        full[:, :n] = strided(array, (rows, n), (row, column))
        return aligned(full * np.float32(beta) if beta != 1.0 else full)

    return emitter.packed(("addend", rows, n, row, column, beta, lanes), c.value, make), width if row else 0


def add_bias(emitter: Emitter, x: Tensor, bias: Tensor) -> bool:
    """Whether the step that makes `x` has taken on a constant addend (one number a column, or one for all).

    `x` must have no other use, and its step no activation yet; then x is what ``x + bias`` was to be.
    """
    step, known = x.producer, bias.value
    if step is None or step.op != "gemm" or x.uses != 1 or known is None or known.dtype != FLOAT or not x.contiguous():
        return False
    if step.words[C] is not NOTHING or step.words[EPILOGUE] != -1:
        return False
    n = step.words[N_COLUMNS]
    if not isinstance(n, int) or not _one_a_column(bias.shape, x.shape, n):
        return False
    step.words[C] = padded(emitter, bias, (1, n), (0, 0 if bias.size == 1 else 1), 1.0)[0]
    return True


def _one_a_column(bias: Sequence[int], x: Sequence[int], n: int) -> bool:
    """Whether a constant of this shape is, broadcast to x, the same for each run of n elements."""
    if len(bias) > len(x):
        return False
    if math.prod(bias) == 1:
        return True
    k = len(x)
    while math.prod(x[k:]) < n and k:
        k -= 1
    shape = (*(1 for _ in range(len(x) - len(bias))), *bias)
    return math.prod(x[k:]) == n and tuple(shape[k:]) == tuple(x[k:]) and math.prod(shape[:k]) == 1
