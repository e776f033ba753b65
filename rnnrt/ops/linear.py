"""Matrix products: MatMul, Gemm, Einsum, and onnxruntime's FusedMatMul."""

from __future__ import annotations

import math

import numpy as np

from ..errors import ModelError
from ..graph import Node
from .arguments import integer, mismatch, real, text, widened
from .limits import check_size
from .registry import Function, operator

_UNCHECKED = 1 << 24
"""Products of no more than this many pairs of operand elements need no check of the result's size."""


def product(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``np.matmul`` that bounds the result's size and names `node` when shapes disagree."""
    if not a.size or not b.size or a.size * b.size > _UNCHECKED:
        _check_product(node, a, b)
    try:
        return np.asarray(np.matmul(a, b))
    except ValueError:
        raise mismatch(node, "inputs", "shapes that np.matmul takes", f"{a.shape} and {b.shape}") from None


def _check_product(node: Node, a: np.ndarray, b: np.ndarray) -> None:
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise mismatch(node, "inputs", "batch axes that broadcast", f"{a.shape} and {b.shape}") from None
    check_size(batch + a.shape[-2:-1] + (b.shape[-1:] if b.ndim > 1 else ()), a.dtype, f"{node.label()}: output")


@operator("MatMul")
def build_matmul(node: Node) -> Function:
    """``np.matmul``; 16-bit floats are summed in float32."""

    def run(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return product(node, widened(a), widened(b)).astype(a.dtype, copy=False)

    return run


@operator("Gemm")
def build_gemm(node: Node) -> Function:
    """``alpha * A' @ B' + beta * C``; the factors act in the type of A, integers included."""
    alpha, beta = real(node, "alpha", 1.0), real(node, "beta", 1.0)
    trans_a, trans_b = integer(node, "transA", 0), integer(node, "transB", 0)

    def run(a: np.ndarray, b: np.ndarray, c: np.ndarray | None = None) -> np.ndarray:
        dtype = a.dtype
        if a.ndim != 2 or b.ndim != 2:
            raise mismatch(node, "inputs A and B", "two matrices", f"shapes {a.shape} and {b.shape}")
        y = product(node, widened(a.T if trans_a else a), widened(b.T if trans_b else b))
        if alpha != 1.0:
            y = y * alpha
        if c is not None and beta:
            c = widened(c)
            try:
                y = np.add(y, c if beta == 1.0 else c * beta, out=y if y.dtype == c.dtype and beta == 1.0 else None)
            except ValueError:
                raise mismatch(node, "input C", f"a shape that broadcasts to {y.shape}", c.shape) from None
            if y.shape != (a.shape[1 if trans_a else 0], b.shape[0 if trans_b else 1]):
                raise mismatch(node, "input C", "a shape that broadcasts to A' @ B'", c.shape)
        return y.astype(dtype, copy=False)

    return run


@operator("FusedMatMul", domain="com.microsoft")
def build_fused_matmul(node: Node) -> Function:
    """``alpha * A' @ B'``; transBatch moves axis 0 behind the batch axes, trans then swaps the last two."""
    alpha = real(node, "alpha", 1.0)
    trans = [(integer(node, f"transBatch{k}", 0), integer(node, f"trans{k}", 0)) for k in "AB"]

    def arranged(x: np.ndarray, batch: int, last: int) -> np.ndarray:
        if x.ndim < 2:
            return x
        if batch:
            x = np.moveaxis(x, 0, -2)
        return x.swapaxes(-1, -2) if last else x

    def run(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        y = product(node, arranged(widened(a), *trans[0]), arranged(widened(b), *trans[1]))
        return (y if alpha == 1.0 else y * y.dtype.type(alpha)).astype(a.dtype, copy=False)

    return run


@operator("Einsum")
def build_einsum(node: Node) -> Function:
    """Any equation through ``np.einsum``; a contraction of two operands without frills as one matrix product."""
    equation = text(node, "equation", "").replace(" ", "")
    terms = equation.split("->")[0].split(",")
    if len(terms) != len(node.inputs) or equation.count("->") > 1:
        n = len(node.inputs)
        raise ModelError(f"{node.label()}: attribute 'equation': expected {n} terms for {n} inputs, got {equation!r}")
    fast = _contraction(equation, f"{node.label()}: output")

    def run(*arrays: np.ndarray) -> np.ndarray:
        wide = [widened(x) for x in arrays]
        y = fast(*wide) if fast is not None else None
        if y is None:
            try:
                check_size(_einsum_shape(equation, wide), wide[0].dtype, f"{node.label()}: output")
                y = np.asarray(np.einsum(equation, *wide, optimize=True))
            except (ValueError, KeyError, IndexError) as error:
                shapes = ", ".join(str(x.shape) for x in arrays)
                raise mismatch(node, "inputs", f"shapes that fit {equation!r}", f"{shapes} ({error})") from None
        return y.astype(arrays[0].dtype, copy=False)

    return run


def _einsum_shape(equation: str, arrays: list[np.ndarray]) -> tuple[int, ...]:
    """An upper bound of the output's shape: the sizes of its letters, and of the ellipsis taken from each operand."""
    left, arrow, right = equation.partition("->")
    size: dict[str, int] = {}
    dots: tuple[int, ...] = ()
    for term, x in zip(left.split(","), arrays, strict=True):
        head, ellipsis, tail = term.partition("...")
        n_dots = x.ndim - len(head) - len(tail)
        if n_dots < 0 or (n_dots and not ellipsis):
            raise ValueError(f"{term!r} does not describe {x.ndim} axes")
        sizes = [*x.shape[: len(head)], *x.shape[len(head) + n_dots :]]
        for letter, n in zip(head + tail, sizes, strict=True):
            size[letter] = max(size.get(letter, 1), n) if n else 0
        if ellipsis:
            dots = np.broadcast_shapes(dots, x.shape[len(head) : len(head) + n_dots])
    if not arrow:
        letters = left.replace(",", "").replace(".", "")
        right = "..." + "".join(c for c in letters if letters.count(c) == 1)
    return (*dots, *(size[c] for c in right.replace(".", "")))


def _contraction(equation: str, what: str) -> Function | None:
    """A function for an explicit two-operand contraction, or None for an equation of another kind.

    With letters grouped by where they occur — batch in both and the output, contracted in both only, free in one — it
    is ``(batch, free of A, contracted) @ (batch, contracted, free of B)``. The function returns None for operands whose
    shapes need np.einsum's care (wrong, or broadcast).
    """
    left, arrow, out = equation.partition("->")
    terms = left.split(",")
    if not arrow or len(terms) != 2 or "." in equation:
        return None
    ta, tb = terms
    if any(len(set(t)) != len(t) for t in (ta, tb, out)) or set(out) - set(ta + tb):
        return None
    shared = [c for c in ta if c in tb]
    batch = [c for c in shared if c in out]
    contracted = [c for c in shared if c not in out]
    free_a, free_b = [c for c in ta if c not in tb], [c for c in tb if c not in ta]
    if not contracted or any(c not in out for c in free_a + free_b):
        return None
    perm_a = [ta.index(c) for c in batch + free_a + contracted]
    perm_b = [tb.index(c) for c in batch + contracted + free_b]
    made = batch + free_a + free_b
    perm_out = [made.index(c) for c in out]
    n_batch, n_free_a, n_contracted = len(batch), len(free_a), len(contracted)

    def contract(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
        if a.ndim != len(ta) or b.ndim != len(tb) or not a.size or not b.size:
            return None
        a, b = a.transpose(perm_a), b.transpose(perm_b)
        both = a.shape[:n_batch]
        inner = a.shape[n_batch + n_free_a :]
        if both != b.shape[:n_batch] or inner != b.shape[n_batch : n_batch + n_contracted]:
            return None
        rows, columns = a.shape[n_batch : n_batch + n_free_a], b.shape[n_batch + n_contracted :]
        if a.size * b.size > _UNCHECKED:
            check_size(both + rows + columns, a.dtype, what)
        k = math.prod(inner)
        y = a.reshape(*both, -1, k) @ b.reshape(*both, k, -1)
        return y.reshape(both + rows + columns).transpose(perm_out)

    return contract
