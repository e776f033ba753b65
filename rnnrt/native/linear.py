"""MatMul, Gemm, Einsum and FusedMatMul of float32, as steps of `product`."""

from __future__ import annotations

from .._core.program import broadcast_pair, picked, repeated_strides
from ..graph import Node
from .emitter import FLOAT, Emitter
from .product import Product, padded
from .registry import native
from .tensor import Tensor, c_strides


@native("MatMul")
def matmul(emitter: Emitter, node: Node, a: Tensor, b: Tensor) -> Tensor | None:
    """``np.matmul``."""
    return _matmul(emitter, a, b, 1.0)


@native("FusedMatMul", domain="com.microsoft")
def fused_matmul(emitter: Emitter, node: Node, a: Tensor, b: Tensor) -> Tensor | None:
    """``alpha * A' @ B'``; transBatch moves axis 0 behind the batch axes, trans then swaps the last two."""
    get = node.attrs.get
    a = _arranged(emitter, a, bool(get("transBatchA", 0)), bool(get("transA", 0)))
    b = _arranged(emitter, b, bool(get("transBatchB", 0)), bool(get("transB", 0)))
    return _matmul(emitter, a, b, float(get("alpha", 1.0)))


def _arranged(emitter: Emitter, x: Tensor, batch: bool, last: bool) -> Tensor:
    if x.ndim < 2 or not (batch or last):
        return x
    order = list(range(x.ndim))
    if batch:
        order.insert(x.ndim - 2, order.pop(0))
    if last:
        order[-1], order[-2] = order[-2], order[-1]
    return _transposed(emitter, x, order)


def _transposed(emitter: Emitter, x: Tensor, order: list[int]) -> Tensor:
    view = emitter.view(x, picked(x.shape, order), picked(x.strides, order))
    view.value = x.value
    return view


def _matmul(emitter: Emitter, a: Tensor, b: Tensor, scale: float) -> Tensor | None:
    if a.dtype != FLOAT or b.dtype != FLOAT or not a.ndim or not b.ndim:
        return None
    a_shape, a_strides = (a.shape, a.strides) if a.ndim > 1 else ((1, *a.shape), (0, *a.strides))
    b_shape, b_strides = (b.shape, b.strides) if b.ndim > 1 else ((*b.shape, 1), (*b.strides, 0))
    (m, k), n = a_shape[-2:], b_shape[-1]
    both = broadcast_pair(a_shape[:-2], b_shape[:-2])
    if both is None or k != b_shape[-2] or not k:
        return None
    shape = (*both, *(() if a.ndim == 1 else (m,)), *(() if b.ndim == 1 else (n,)))
    y = emitter.empty(shape)
    if not y.size:
        return y
    swap = _better_swapped(a, b, m, n, emitter.lanes)
    y_rows, y_columns = (1, m) if swap else (n, 1)
    batch: list[tuple[int, ...]] = []
    if both:
        batch_a = repeated_strides(a_shape[:-2], a_strides[:-2], both)
        batch_b = repeated_strides(b_shape[:-2], b_strides[:-2], both)
        batch = list(zip(both, batch_a, batch_b, [s * m * n for s in c_strides(both)], strict=True))
    rows, columns = [(m, a_strides[-2], y_rows)], [(n, b_strides[-1], y_columns)]
    product = Product(a, b, y, batch, rows, columns, [(k, a_strides[-1], b_strides[-2])], scale)
    if not (product.swapped() if swap else product).emit(emitter):
        return None
    if not swap or n == 1:
        return y
    return emitter.view(y, shape, (*c_strides(shape)[:-2], 1, m))


def _better_swapped(a: Tensor, b: Tensor, m: int, n: int, lanes: int) -> bool:
    """Whether the left operand is the one to be cut into panels: known weights times few columns."""
    return a.value is not None and b.value is None and n < lanes and n < m


@native("Gemm")
def gemm(emitter: Emitter, node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor | None:
    """``alpha * A' @ B' + beta * C``."""
    get = node.attrs.get
    alpha, beta = float(get("alpha", 1.0)), float(get("beta", 1.0))
    if a.dtype != FLOAT or b.dtype != FLOAT or a.ndim != 2 or b.ndim != 2:
        return None
    if get("transA", 0):
        a = _transposed(emitter, a, [1, 0])
    if get("transB", 0):
        b = _transposed(emitter, b, [1, 0])
    (m, k), n = a.shape, b.shape[1]
    if k != b.shape[0] or not k:
        return None
    if c is None or beta == 0.0:
        return _matmul(emitter, a, b, alpha)
    if c.dtype != FLOAT or broadcast_pair(c.shape, (m, n)) != (m, n) or (c.value is None and beta != 1.0):
        return None
    y = emitter.empty((m, n))
    if not y.size:
        return y
    swap = _better_swapped(a, b, m, n, emitter.lanes)
    c_row, c_column = repeated_strides(c.shape, c.strides, (m, n))
    rows, columns = [(m, a.strides[0], 1 if swap else n)], [(n, b.strides[1], m if swap else 1)]
    product = Product(a, b, y, [], rows, columns, [(k, a.strides[1], b.strides[0])], alpha)
    if swap:
        product, c_row, c_column = product.swapped(), c_column, c_row
    product.c, product.c_row = padded(emitter, c, (n, m) if swap else (m, n), (c_row, c_column), beta)
    product.emit(emitter)
    return y if not swap or n == 1 else emitter.view(y, (m, n), (1, m))


@native("Einsum")
def einsum(emitter: Emitter, node: Node, *operands: Tensor) -> Tensor | None:
    """Products of two operands, and permutations of the axes of one."""
    terms = _terms(node.attrs.get("equation", ""), [x.ndim for x in operands])
    if terms is None or any(x.dtype != FLOAT for x in operands) or not all(x.size for x in operands):
        return None
    *inputs, out = terms
    sizes: dict[str, int] = {}
    for term, x in zip(inputs, operands, strict=True):
        for letter, n in zip(term, x.shape, strict=True):
            known = sizes.get(letter, 1)
            if known != n and known != 1 and n != 1:
                return None
            sizes[letter] = max(known, n)
    if len(operands) == 1:
        return _transposed_view(emitter, operands[0], inputs[0], out)
    if len(operands) != 2:
        return None
    return _contraction(emitter, operands, inputs, out, sizes)


def _transposed_view(emitter: Emitter, x: Tensor, term: list[str], out: list[str]) -> Tensor | None:
    if sorted(term) != sorted(out):
        return None
    order = [term.index(letter) for letter in out]
    return emitter.view(x, picked(x.shape, order), picked(x.strides, order))


def _terms(equation: object, ranks: list[int]) -> list[list[str]] | None:
    """The letters of the operands' axes and of the output's; an ellipsis becomes letters of its own.

    None for an equation that does not fit, or has a letter twice in one term.
    """
    text = equation.decode("utf-8", "replace") if isinstance(equation, bytes) else str(equation)
    left, arrow, right = text.replace(" ", "").partition("->")
    inputs = left.split(",")
    if len(inputs) != len(ranks):
        return None
    dots = [rank - len(term.replace("...", "")) for term, rank in zip(inputs, ranks, strict=True)]
    most = max([n for term, n in zip(inputs, dots, strict=True) if "..." in term], default=0)
    if any(n < 0 or (n and "..." not in term) for term, n in zip(inputs, dots, strict=True)):
        return None
    if not arrow:
        letters = left.replace(",", "").replace(".", "")
        right = ("..." if "..." in left else "") + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    found = []
    for term, n in zip([*inputs, right], [*dots, most], strict=True):
        head, _, tail = term.partition("...")
        middle = [f"...{k}" for k in range(most - n, most)] if "..." in term else []
        found.append([*head, *middle, *tail])
    if any(len(set(term)) != len(term) for term in found):
        return None
    return found


def _contraction(
    emitter: Emitter, operands: tuple[Tensor, ...], terms: list[list[str]], out: list[str], sizes: dict[str, int]
) -> Tensor | None:
    """A product of two operands; letters in both and the output are its batch, in both only its inner axes."""
    (ta, tb), (a, b) = terms, operands
    both = [c for c in ta if c in tb]
    batch, inner = [c for c in both if c in out], [c for c in both if c not in out]
    rows, columns = [c for c in ta if c not in tb], [c for c in tb if c not in ta]
    if set(out) != {*batch, *rows, *columns} or not (rows or columns):
        return None
    if out[-1] in rows or (out[-1] in batch and not columns):
        (ta, tb), (a, b), rows, columns = (tb, ta), (b, a), columns, rows
    natural = [*batch, *rows, *columns]
    if not columns or out[len(out) - len(columns) :] != columns:
        made = natural
    else:
        made = out
    y = emitter.empty(tuple(sizes[c] for c in made))
    y_at = dict(zip(made, y.strides, strict=True))
    for attempt in range(2):
        a_at, b_at = _strides(a, ta), _strides(b, tb)
        product = Product(
            a,
            b,
            y,
            [(sizes[c], a_at[c], b_at[c], y_at[c]) for c in batch],
            [(sizes[c], a_at[c], y_at[c]) for c in rows],
            [(sizes[c], b_at[c], y_at[c]) for c in columns],
            [(sizes[c], a_at[c], b_at[c]) for c in inner],
        )
        if product.emit(emitter):
            break
        if attempt or len(batch) + len(rows) > 4:
            return None
        a, ta = _arranged_as(emitter, a, ta, [*batch, *rows, *inner])
        b, tb = _arranged_as(emitter, b, tb, [*batch, *inner, *columns])
    return y if made == out else _transposed_view(emitter, y, made, out)


def _strides(x: Tensor, term: list[str]) -> dict[str, int]:
    return {c: 0 if n == 1 else s for c, n, s in zip(term, x.shape, x.strides, strict=True)}


def _arranged_as(emitter: Emitter, x: Tensor, term: list[str], wanted: list[str]) -> tuple[Tensor, list[str]]:
    """A contiguous copy with its axes in another order."""
    order = [term.index(c) for c in wanted]
    view = emitter.view(x, picked(x.shape, order), picked(x.strides, order))
    return emitter.copy(view), wanted
