"""Views as arithmetic on shape and strides: what NumPy's views do, for tensors that have no memory yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .emitter import Emitter
from .tensor import Shape, Tensor
from .views import reshaped


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
            tensor = reshaped(emitter, tensor, _inferred(tensor.size, target))
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
