"""Views as arithmetic on shape and strides: what NumPy's views do, for tensors that have no memory yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .emitter import Emitter
from .tensor import Shape, Tensor, c_strides


def reshaped(shape: Shape, strides: Shape, target: Sequence[int]) -> Shape | None:
    """Strides that make an array of `shape` and `strides` one of shape `target`; None if it has to be copied."""
    if 0 in shape:
        return c_strides(tuple(target))
    axes = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    result: list[int] = []
    k = 0  # the axes before it are used up
    wanted, run = 1, 1  # sizes that have to meet: of the target's axes, and of the axes taken for them
    group: list[int] = []

    def close(group: list[int], step: int) -> list[int]:
        strides = []
        for n in reversed(group):
            strides.append(step)
            step *= n
        return strides[::-1]

    for n in target:
        if n == 1:
            if group:
                group.append(1)
            else:
                result.append(0)
            continue
        group.append(n)
        wanted *= n
        while run < wanted:
            if k == len(axes):
                return None
            if run > 1 and axes[k - 1][1] != axes[k][0] * axes[k][1]:
                return None
            run *= axes[k][0]
            k += 1
        if run == wanted:
            result += close(group, axes[k - 1][1])
            group, wanted, run = [], 1, 1
    return tuple(result) if not group else None


def view_reshape(emitter: Emitter, tensor: Tensor, target: Shape) -> Tensor:
    """The tensor in another shape of as many elements: a view, or a copy where a view cannot be."""
    strides = c_strides(target) if tensor.contiguous() else reshaped(tensor.shape, tensor.strides, target)
    if strides is None:
        tensor = emitter.copy(tensor)
        strides = c_strides(target)
    return emitter.view(tensor, target, strides)


def apply_views(emitter: Emitter, tensor: Tensor, views: Iterable[tuple[Any, ...]]) -> Tensor:
    """As :func:`rnnrt.rewrite.views.apply_views`, of a tensor."""
    for kind, *args in views:
        shape, strides = tensor.shape, tensor.strides
        rank = len(shape)
        if kind == "transpose":
            perm = [p % rank for p in args[0]]
            tensor = emitter.view(tensor, tuple([shape[p] for p in perm]), tuple([strides[p] for p in perm]))
        elif kind == "squeeze":
            gone = {a % rank for a in args[0]}
            if [a for a in gone if shape[a] != 1]:
                raise ValueError(f"axes {args[0]} of shape {shape} are not all of size 1")
            kept = [a for a in range(rank) if a not in gone]
            tensor = emitter.view(tensor, tuple([shape[a] for a in kept]), tuple([strides[a] for a in kept]))
        elif kind == "unsqueeze":
            total = rank + len(args[0])
            new = {a % total for a in args[0]}
            old = iter(zip(shape, strides, strict=True))
            pairs = [(1, 0) if a in new else next(old) for a in range(total)]
            tensor = emitter.view(tensor, tuple([p[0] for p in pairs]), tuple([p[1] for p in pairs]))
        elif kind == "slice":
            axis, start, stop, step = args
            tensor = _sliced(emitter, tensor, axis, range(shape[axis])[slice(start, stop, step)])
        elif kind == "index":
            axis = args[0] % rank
            at = range(shape[axis])[args[1]]
            tensor = emitter.view(
                tensor, shape[:axis] + shape[axis + 1 :], strides[:axis] + strides[axis + 1 :], at * strides[axis]
            )
        else:
            target = [shape[k] if d == 0 else d for k, d in enumerate(args[0])]
            tensor = view_reshape(emitter, tensor, _inferred(tensor.size, target))
    return tensor


def _sliced(emitter: Emitter, tensor: Tensor, axis: int, taken: range) -> Tensor:
    shape, strides = list(tensor.shape), list(tensor.strides)
    offset = taken.start * strides[axis] if len(taken) else 0
    shape[axis], strides[axis] = len(taken), strides[axis] * taken.step
    return emitter.view(tensor, tuple(shape), tuple(strides), offset)


def _inferred(size: int, target: list[int]) -> Shape:
    known = 1
    for n in target:
        known *= n if n >= 0 else 1
    shape = tuple((size // known if known else 0) if n < 0 else n for n in target)
    total = 1
    for n in shape:
        total *= n
    if total != size:
        raise ValueError(f"{size} elements do not fit the shape {target}")
    return shape
