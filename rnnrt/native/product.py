"""One matrix product of two tensors, whatever axes they have: how `linear`'s operators become steps of op_gemm.h."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..records import record
from .copying import joined
from .emitter import FLOAT, Emitter, Word
from .tensor import Buffer, Tensor, aligned, memory, strided

NOTHING = Tensor(FLOAT, (0,), (1,), Buffer(0, 0, 0))
"""A tensor at NULL: an operand that is absent."""

MAX_NV, AXES = 4, 4
PACKED, DIRECT, LOOSE, DOTS = range(4)
C, N_COLUMNS, EPILOGUE = 2, 7, 20
"""Where in a step's words the addend, the number of columns, and the activation stand."""

_BLOCK = 1 << 15
"""Numbers of the left operand that pass by a panel before the next panel takes its place in the cache."""
_FOLD = 6
"""What folding a vector to a number costs, in multiply-adds of vectors."""
_NEAR = 1 << 14
"""A right operand of no more numbers is read where it is, if it can be; a larger one by few rows only."""

Axes = Sequence[tuple[int, ...]]


@record
class Product:
    """``y[batch, rows, columns] = c + scale * sum over inner of a b``, by axes and their strides in elements.

    Attributes
    ----------
    batch
        ``(size, a, b, y)`` of each axis.
    rows, columns, inner
        ``(size, a, y)``, ``(size, b, y)`` and ``(size, a, b)``.
    c, c_row
        Vectors padded to whole lanes, the same for all of the batch; from row to row.
    """

    a: Tensor
    b: Tensor
    y: Tensor
    batch: Axes
    rows: Axes
    columns: Axes
    inner: Axes
    scale: float = 1.0
    c: Tensor = NOTHING
    c_row: int = 0

    def swapped(self) -> Product:
        """The same with the operands in each other's place."""
        batch = [(n, b, a, y) for n, a, b, y in self.batch]
        inner = [(n, b, a) for n, a, b in self.inner]
        return Product(self.b, self.a, self.y, batch, self.columns, self.rows, inner, self.scale, self.c, self.c_row)

    def emit(self, emitter: Emitter) -> bool:
        """Emit the step; False, with nothing emitted, if the axes are not those of one product."""
        inner, columns = _merged(self.inner, 2), _merged(self.columns, 2)
        if len(inner) != 1 or len(columns) != 1 or (columns[0][0] != 1 and columns[0][2] != 1):
            return False
        outer = _merged([*self.batch, *((n, a, 0, y) for n, a, y in self.rows)], 3)
        shared = [axis for axis in outer if axis[2] == 0]
        row = max(shared, key=lambda axis: axis[0], default=(1, 0, 0, 0))
        if self.c_row and (len(outer) > 1 or not shared):
            return False
        if row[0] > 1 or len(outer) > AXES:
            outer = [axis for axis in outer if axis is not row]
        else:
            row = (1, 0, 0, 0)
        if len(outer) > AXES:
            return False
        _emit(emitter, self, outer, row, columns[0], inner[0])
        return True


def _merged(axes: Axes, operands: int) -> Axes:
    """The fewest axes, none of size 1 but a single one."""
    return joined(axes) or [(1,) * (1 + operands)]


def vectors_of(n: int, lanes: int) -> tuple[int, int, int]:
    """Vectors of n columns, panels, and vectors of every panel but the last."""
    n_vec = -(-n // lanes)
    n_panels = -(-n_vec // MAX_NV)
    return n_vec, n_panels, -(-n_vec // n_panels)


def _emit(
    emitter: Emitter, p: Product, batch: Axes, row: tuple[int, ...], column: tuple[int, ...], inner: tuple[int, ...]
) -> None:
    (m, a_row, _, y_row), (n, b_n, _), (k, a_k, b_k), lanes = row, column, inner, emitter.lanes
    n_vec, n_panels, nv = vectors_of(n, lanes)
    form = _form(p.b.value is not None, m, n, k, a_k, b_k, b_n, lanes, p.scale)
    b, scratch, scale = p.b, NOTHING, p.scale
    if form == PACKED or (form == DOTS and p.b.value is not None and (b_k != 1 or scale != 1.0)):
        b, batch = _packed(emitter, p, batch, (k, b_k), (n, b_n), form)
        b_k, b_n = 1, k
    elif form == LOOSE:
        scratch = emitter.scratch(k * nv * lanes * 4 * emitter.threads)
    block = m if form == LOOSE else max(64, _BLOCK // k)
    if emitter.threads > 1 and form != LOOSE:
        block = min(block, max(24, -(-m // (4 * emitter.threads))))
    words: list[Word] = [p.a, b, p.c, p.y, scratch, form, m, n, k, a_row, a_k, b_k, b_n, y_row, p.c_row]
    n_batch = math.prod(axis[0] for axis in batch)
    words += [n_vec, n_panels, nv, block, float(scale), -1, 0.0, 0.0, n_batch, len(batch)]
    for size, a, b_step, y in batch:
        words += (size, a, b_step, 0, y)
    words += [0] * (5 * (AXES - len(batch)))
    step = emitter.emit("gemm", words, m * n * k * n_batch)
    if p.y.contiguous():
        step.epilogue = EPILOGUE
        p.y.producer = step


def _form(known: bool, m: int, n: int, k: int, a_k: int, b_k: int, b_n: int, lanes: int, scale: float) -> int:
    """How the right operand is read; of a known one it depends on n and k alone, as does the order of sums."""
    if known:
        return DOTS if a_k == 1 and n * (k // lanes + _FOLD) <= k else PACKED
    if a_k == 1 and b_k == 1 and scale == 1.0 and m * (k // lanes + _FOLD) <= (k + m * k // lanes) * 5 // 8:
        return DOTS
    if b_n == 1 and n % lanes == 0 and scale == 1.0 and (n * k <= _NEAR or m <= 2 * lanes):
        return DIRECT
    return LOOSE


def _packed(
    emitter: Emitter, p: Product, batch: Axes, inner: tuple[int, int], column: tuple[int, int], form: int
) -> tuple[Tensor, Axes]:
    """The right operand as op_gemm.h wants it, and the batch axes with its new strides."""
    assert p.b.value is not None
    own = [(size, b) for size, _, b, _ in batch if b != 0]
    (k, b_k), (n, b_n), lanes = inner, column, emitter.lanes
    shape = (*(size for size, _ in own), k, n)
    strides = (*(b for _, b in own), b_k, b_n)
    each = k * n if form == DOTS else k * -(-n // lanes) * lanes
    step, steps = each, []
    for size, _, b, _ in reversed(batch):
        steps.append(step if b else 0)
        step *= size if b else 1
    moved = [(size, a, step, y) for (size, a, _, y), step in zip(batch, reversed(steps), strict=True)]

    def make(array: np.ndarray) -> np.ndarray:
        view = strided(array, shape, strides).reshape(-1, k, n)
        if p.scale != 1.0:
            view = view * np.float32(p.scale)
        return aligned(view.swapaxes(1, 2)) if form == DOTS else panels(view, lanes)

    return emitter.packed(("gemm", form, shape, strides, p.scale, lanes), p.b.value, make), moved


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
