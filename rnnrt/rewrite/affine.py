"""What a value is of products with constant matrices: ``v = sum_s s @ M_s + b``, found through the nodes that make it.

A written-out cell computes the arguments of its gates in this form, in one product or many, added in any order, sliced
before or after; here all of that becomes one matrix for each source, of which the gates are columns. Axes of size 1
that come and go between are left out of account: a form says what the rows are, not how they are arranged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..graph import Node
from .known import Known
from .views import END, Size, View, view_shape, views_of

_DEPTH = 64  # nodes deep that a sum is followed


class Source(NamedTuple):
    """A value of the graph seen through views, none of which touches its last axis."""

    name: str
    views: tuple[View, ...] = ()


class Affine(NamedTuple):
    """``sum_s s @ terms[s] + bias``; matrices are [K, N], float64 only where something was added up; bias [N]."""

    terms: dict[Source, np.ndarray]
    bias: np.ndarray
    width: int

    def columns(self, start: int, stop: int, step: int = 1) -> Affine:
        """What a slice of the last axis takes."""
        taken = {source: matrix[:, start:stop:step] for source, matrix in self.terms.items()}
        bias = self.bias[start:stop:step]
        return Affine(taken, bias, len(bias))

    def scaled(self, factor: float) -> Affine:
        """Every element times `factor`."""
        if factor == 1:
            return self
        terms = {source: matrix.astype(np.float64) * factor for source, matrix in self.terms.items()}
        return Affine(terms, self.bias.astype(np.float64) * factor, self.width)

    def plus(self, other: Affine) -> Affine:
        """The sum of both, which have the same width."""
        terms = dict(self.terms)
        for source, matrix in other.terms.items():
            mine = terms.get(source)
            terms[source] = matrix if mine is None else mine.astype(np.float64) + matrix
        return Affine(terms, self.bias.astype(np.float64) + other.bias, self.width)


class Forms:
    """The affine forms of the values of one graph."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self._found: dict[str, Affine | None] = {}

    def of(self, name: str, depth: int = _DEPTH) -> Affine | None:
        """The form of `name`, None if it has none with a product in it or more cannot be proven."""
        if name not in self._found:
            self._found[name] = None  # also what a value in a cycle would find
            self._found[name] = self._form(name, depth) if depth else None
        return self._found[name]

    def _form(self, name: str, depth: int) -> Affine | None:
        made = self.known.producer(name)
        if made is None or made[1] is not self.known or made[0].domain:
            return None
        node = made[0]
        if node.op in ("MatMul", "Gemm"):
            return self._product(node, depth)
        if node.op in ("Add", "Sub") and len(node.inputs) == 2:
            return self._sum(node, depth)
        if node.op == "Neg":
            inner = self.of(node.inputs[0], depth - 1)
            return inner.scaled(-1) if inner is not None else None
        views = views_of(node, node.outputs.index(name), self.known)
        return self._seen(node.inputs[0], views, depth) if views is not None else None

    def bias(self, name: str, width: int) -> np.ndarray | None:
        """A constant that is the same in every row, as one row."""
        array = self.known.constant(name)
        if array is None or array.dtype.kind != "f" or array.size == 0:
            return None
        if array.ndim == 0 or array.shape[-1] == 1:
            return np.broadcast_to(array.reshape(-1)[:1], (width,)) if array.size == 1 else None
        rows = array.reshape(-1, array.shape[-1])
        return rows[0] if rows.shape[1] == width and (len(rows) == 1 or np.all(rows == rows[0])) else None

    def _sum(self, node: Node, depth: int) -> Affine | None:
        sign = -1 if node.op == "Sub" else 1
        a, b = (self.of(name, depth - 1) for name in node.inputs)
        if a is not None and b is not None:
            return a.plus(b.scaled(sign)) if a.width == b.width else None
        form = a if a is not None else b
        if form is None:
            return None
        bias = self.bias(node.inputs[1 if a is not None else 0], form.width)
        if bias is None:
            return None
        flat = Affine({}, bias, form.width)
        return form.plus(flat.scaled(sign)) if a is not None else flat.plus(form.scaled(sign))

    def _product(self, node: Node, depth: int) -> Affine | None:
        matrix = self.known.constant(node.input(1))
        shape = self.known.shape(node.input(0))
        if matrix is None or matrix.ndim != 2 or matrix.dtype.kind != "f" or shape is None or len(shape) < 2:
            return None
        attrs = node.attrs
        if attrs.get("transA", 0):
            return None
        matrix = matrix.T if attrs.get("transB", 0) else matrix
        width = matrix.shape[1]
        terms = self._split_rows(node.input(0), matrix)
        if terms is None:
            return None
        form = Affine(terms, np.zeros(width, matrix.dtype), width).scaled(float(attrs.get("alpha", 1.0)))
        if not node.input(2):
            return form
        beta = float(attrs.get("beta", 1.0))
        bias = self.bias(node.input(2), width)
        added = Affine({}, bias, width) if bias is not None else self.of(node.input(2), depth - 1)
        return form.plus(added.scaled(beta)) if added is not None and added.width == width else None

    def _split_rows(self, name: str, matrix: np.ndarray) -> dict[Source, np.ndarray] | None:
        """The terms of ``name @ matrix``: one, or one a part where the value is put together on its last axis."""
        shape = self.known.shape(name)
        if shape is None or shape[-1] != len(matrix):
            return None
        made = self.known.producer(name)
        if made is None or made[0].op != "Concat" or made[0].domain:
            return {Source(name): matrix}
        node, home = made
        shapes = [home.shape(part) for part in node.inputs]
        axis = int(node.attrs.get("axis", 0))
        if axis % len(shape) != len(shape) - 1 or any(s is None or not isinstance(s[-1], int) for s in shapes):
            return {Source(name): matrix}
        ends = np.cumsum([s[-1] for s in shapes])  # type: ignore[index]
        if ends[-1] != len(matrix):
            return None
        terms: dict[Source, np.ndarray] = {}
        for part, rows in zip(node.inputs, np.split(matrix, ends[:-1]), strict=True):
            source = Source(part)
            terms[source] = rows if source not in terms else terms[source].astype(np.float64) + rows
        return terms

    def _seen(self, name: str, views: Sequence[View], depth: int) -> Affine | None:
        """The form of `name` seen through `views`: columns taken of the last axis, other views put on the sources."""
        form, shape = self.of(name, depth - 1), self.known.shape(name)
        if form is None or shape is None:
            return None
        for view in views:
            rank = len(shape)
            if view[0] in ("squeeze", "unsqueeze") and _moves_last(view, rank):
                return None
            last = view[0] in ("slice", "index") and view[1] % rank == rank - 1
            if last and view[0] == "index":
                return None
            if last:
                form = form.columns(*view[2:])
            elif view[0] not in ("squeeze", "unsqueeze") and not _whole(view, shape):
                pushed = _pushed(view, rank)
                same = all(self.lead(source) == tuple(shape[:-1]) for source in form.terms)
                if pushed is None or not same or not form.terms:
                    return None
                form = Affine({Source(s.name, (*s.views, pushed)): m for s, m in form.terms.items()}, form.bias,
                              form.width)  # fmt: skip
            after = view_shape(shape, view)
            if after is None or None in after:
                return None
            shape = tuple(after)  # type: ignore[arg-type]
        return form

    def lead(self, source: Source) -> tuple[Size, ...] | None:
        """The axes of a source but the last."""
        shape = shape_of(source, self.known)
        return None if shape is None else shape[:-1]


def shape_of(source: Source, known: Known) -> tuple[Size, ...] | None:
    """The shape of a source."""
    shape = known.shape(source.name)
    for view in source.views:
        after = view_shape(shape, view) if shape is not None else None
        shape = None if after is None or None in after else after  # type: ignore[assignment]
    return shape


def _moves_last(view: View, rank: int) -> bool:
    """Whether a squeeze or unsqueeze leaves another axis as the last."""
    after = rank + (len(view[1]) if view[0] == "unsqueeze" else 0)
    return any(a % after == after - 1 for a in view[1])


def _whole(view: View, shape: Sequence[Size]) -> bool:
    """Whether a slice takes all of an axis."""
    if view[0] != "slice" or not -len(shape) <= view[1] < len(shape):
        return False
    _, axis, start, stop, step = view
    size = shape[axis]
    return step == 1 and start == 0 and stop >= (size if isinstance(size, int) else END)


def _pushed(view: View, rank: int) -> View | None:
    """`view` of a product, as the view of its left factor, whose last axis stays; None if it would not."""
    kind, *args = view
    if kind == "transpose":
        return view if len(args[0]) == rank and args[0][-1] in (rank - 1, -1) else None
    if kind in ("index", "slice") and -rank <= args[0] < rank:
        return (kind, args[0] % rank, *args[1:])
    return None
