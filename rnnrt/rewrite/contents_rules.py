"""What is in the small integer arrays that shapes are computed with, sizes that only the run tells being tokens.

A rule returns an object array of ints, bools and tokens (see :mod:`rnnrt.rewrite.known`), or None where it knows
nothing. What has no token in it is folded as any constant is, so the rules are only those through which a token can
pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..graph import Node
from .shape_rules import part_of
from .views import Size, apply_views, reshaped, views_of

if TYPE_CHECKING:
    from .known import Known

Rule = Callable[[Node, "Known"], "np.ndarray | None"]

CONTENTS: dict[str, Rule] = {}


def _contents(*ops: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        CONTENTS.update((op, rule) for op in ops)
        return rule

    return register


def objects(values: Sequence) -> np.ndarray:
    """A 1-D object array of `values`."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


@_contents("Shape")
def _shape_contents(node: Node, known: Known) -> np.ndarray | None:
    shape = known.shape(node.input(0))
    return None if shape is None else objects(part_of(node, shape))


@_contents("Size")
def _size_contents(node: Node, known: Known) -> np.ndarray | None:
    size = reshaped(known.shape(node.input(0)) or (None,), [-1])  # type: ignore[arg-type]
    if not size or not isinstance(size[0], int):
        return None
    return np.array(size[0], object)


@_contents("Gather")
def _gather_contents(node: Node, known: Known) -> np.ndarray | None:
    data, index = known.contents(node.input(0)), known.constant(node.input(1))
    if data is None or index is None or data.ndim != 1 or np.any((index < -len(data)) | (index >= len(data))):
        return None
    return np.asarray(data[index.astype(np.int64)], object)


@_contents("Concat")
def _concat_contents(node: Node, known: Known) -> np.ndarray | None:
    parts = [known.contents(name) for name in node.inputs]
    if any(p is None or p.ndim != 1 for p in parts) or not parts:
        return None
    return np.concatenate(parts)  # type: ignore[arg-type]


@_contents("Squeeze", "Unsqueeze", "Slice", "Reshape", "Transpose", "Split")
def _view_contents(node: Node, known: Known) -> np.ndarray | None:
    data = known.contents(node.input(0))
    views = views_of(node, 0, known) if data is not None else None
    if data is None or views is None or len(node.outputs) != 1:
        return None
    try:
        return np.asarray(apply_views(data, views), object)
    except (ValueError, IndexError):
        return None


@_contents("Cast", "Identity")
def _cast_contents(node: Node, known: Known) -> np.ndarray | None:
    data = known.contents(node.input(0))
    if data is None or node.op == "Identity" or node.attrs.get("to") == 7:
        return data
    if node.attrs.get("to") == 6 and all(isinstance(v, str) or -(2**31) <= v < 2**31 for v in data.flat):
        return data
    return None


@_contents("Mul", "Add", "Sub", "Div")
def _arithmetic(node: Node, known: Known) -> np.ndarray | None:
    """Only what leaves a size as it is: times 1, plus 0, minus 0, over 1."""
    a, b = known.contents(node.input(0)), known.contents(node.input(1))
    if a is None or b is None:
        return None
    neutral = 1 if node.op in ("Mul", "Div") else 0
    if b.size == 1 and b.ndim <= a.ndim and b.reshape(-1)[0] == neutral:
        return a
    if node.op in ("Mul", "Add") and a.size == 1 and a.ndim <= b.ndim and a.reshape(-1)[0] == neutral:
        return b
    return None


@_contents("Equal")
def _equal(node: Node, known: Known) -> np.ndarray | None:
    a, b = known.contents(node.input(0)), known.contents(node.input(1))
    if a is None or b is None or (a.ndim and b.ndim and a.shape != b.shape):
        return None
    a, b = np.broadcast_arrays(a, b)
    result = [_same(x, y) for x, y in zip(a.flat, b.flat, strict=True)]
    return None if None in result else objects(result).reshape(a.shape)


def _same(x: Size, y: Size) -> bool | None:
    """Whether two sizes are equal, None if that depends on the run; a size that is a token is never negative."""
    if x == y:
        return True
    if isinstance(x, str) or isinstance(y, str):
        number = y if isinstance(x, str) else x
        return False if isinstance(number, int) and number < 0 else None
    return False


@_contents("Where")
def _where(node: Node, known: Known) -> np.ndarray | None:
    parts = [known.contents(name) for name in node.inputs]
    if any(p is None or p.ndim != 1 or any(isinstance(v, str) for v in (p.flat if k == 0 else ()))
           for k, p in enumerate(parts)) or len({p.shape for p in parts if p is not None}) != 1:  # fmt: skip
        return None
    return objects([a if c else b for c, a, b in zip(*parts, strict=True)])  # type: ignore[arg-type]
