"""How a copy is walked: which bytes stay together, which axis runs innermost, which two are a matrix to transpose."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from .tensor import Shape

Axis = tuple[int, ...]
"""A size, and the stride of each operand in elements."""

ELEMENTS = (1, 2, 4, 8, 16)
SHORT = 8


def merged_axes(shape: Shape, *strides: Sequence[int]) -> list[Axis] | None:
    """``(size, stride, stride, …)`` of the fewest axes that walk all operands in order; None for an empty shape.

    At least one axis is returned; those of size 1 are left out, and neighbours that are one run in all operands join.
    """
    if 0 in shape:
        return None
    return joined(list(zip(shape, *strides, strict=True))) or [(1, *(1 for _ in strides))]


def joined(axes: Sequence[Axis]) -> list[Axis]:
    """As few axes as walk the same places in the same order."""
    found: list[Axis] = []
    for entry in axes:
        size = entry[0]
        if size == 1:
            continue
        if found:
            last = found[-1]
            for k in range(1, len(entry)):
                if last[k] != entry[k] * size:
                    break
            else:
                found[-1] = (last[0] * size, *entry[1:])
                continue
        found.append(entry)
    return found


@lru_cache(maxsize=4096)
def copy_of(shape: Shape, source: Shape, target: Shape, item: int) -> tuple[int, ...] | None:
    """`copy_words` of a shape and the strides of both operands; None for an empty shape."""
    axes = merged_axes(shape, source, target)
    return None if axes is None else tuple([int(word) for word in copy_words(axes, item)])


def copy_words(axes: list[Axis], item: int) -> list[int]:
    """The words of a ``copy`` step after its tensors, for axes from `merged_axes` of a source and a target.

    The order of the axes is the step's to choose: first by the target, so that it is written in order; then the longer
    one of the last two innermost if the other is short.
    """
    for k in range(1, len(axes)):
        if abs(axes[k - 1][2]) < abs(axes[k][2]):
            axes = joined(sorted(axes, key=lambda axis: -abs(axis[2])))
            break
    size, x, y = axes[-1]
    unit = item
    if (x == 1 and y == 1) or size == 1:
        unit *= size
        axes = axes[:-1]
    outer, turned = [(n, a * item, b * item) for n, a, b in axes], 0
    inner = outer.pop() if outer else (1, 0, 0)
    row = (1, 0, 0)
    if outer:
        if inner[2] == unit and inner[1] != 0 and unit in ELEMENTS:
            for k, axis in enumerate(outer):
                if axis[1] == unit:
                    row, turned = outer.pop(k), 1
                    break
        if not turned:
            row = outer.pop()
            if inner[0] < SHORT and row[0] > inner[0]:
                row, inner = inner, row
    words = [unit, turned, len(outer), *row, *inner]
    for axis in outer:
        words += axis
    return words
