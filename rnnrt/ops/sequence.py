"""Sequences: lists of arrays. An operator makes a new list, of the same arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..graph import Node
from .arguments import axis_of, integer, mismatch
from .registry import Function, operator


@operator("SequenceEmpty")
def build_empty(node: Node) -> Function:
    """No element."""
    return list


@operator("SequenceConstruct")
def build_construct(node: Node) -> Function:
    """The inputs."""
    return lambda *arrays: list(arrays)


@operator("SequenceLength")
def build_length(node: Node) -> Function:
    """The number of elements: an int64 scalar."""
    return lambda sequence: np.array(len(sequence), np.int64)


@operator("SequenceAt")
def build_at(node: Node) -> Function:
    """The element at a position, which counts from the end if negative."""
    return lambda sequence, position: sequence[_position(node, position, len(sequence) - 1, len(sequence))]


@operator("SequenceInsert")
def build_insert(node: Node) -> Function:
    """One element more, before that at a position, or at the end."""

    def run(sequence: list[Any], element: np.ndarray, position: np.ndarray | None = None) -> list[Any]:
        at = len(sequence) if position is None else _position(node, position, len(sequence), len(sequence))
        return [*sequence[:at], element, *sequence[at:]]

    return run


@operator("SequenceErase")
def build_erase(node: Node) -> Function:
    """One element less: that at a position, or the last."""

    def run(sequence: list[Any], position: np.ndarray | None = None) -> list[Any]:
        at = _position(node, np.array(-1) if position is None else position, len(sequence) - 1, len(sequence))
        return sequence[:at] + sequence[at + 1 :]

    return run


def _position(node: Node, position: np.ndarray, most: int, length: int) -> int:
    """A position from -length to `most`, counted from the front."""
    if np.size(position) != 1:
        raise mismatch(node, "position", "one integer", f"shape {np.shape(position)}")
    at = int(np.asarray(position).reshape(())[()])
    if not -length <= at <= most:
        raise mismatch(node, f"position in a sequence of {length}", f"{-length} to {most}", at)
    return at + length if at < 0 else at


@operator("SplitToSequence")
def build_split(node: Node) -> Function:
    """Pieces along `axis`: of one index each, of `split` indices each, or as many as `split` lists.

    Without `keepdims`, pieces of one index lose the axis. By the specification they keep it where `split` is given, but
    PyTorch's exporter writes ``unbind`` with a `split` of 1 and no `keepdims`, and onnxruntime takes it for that.
    """
    axis, keep = integer(node, "axis", 0), bool(integer(node, "keepdims", 1))

    def run(x: np.ndarray, split: np.ndarray | None = None) -> list[np.ndarray]:
        along = axis_of(node, axis, x.ndim)
        total = x.shape[along]
        if split is not None and np.ndim(split):
            ends = np.cumsum(split)
            if np.ndim(split) != 1 or min(split, default=0) < 0 or (ends[-1] if len(ends) else 0) != total:
                raise mismatch(node, "split", f"lengths that add up to {total}", np.asarray(split).tolist())
            return np.split(x, ends[:-1], along)
        each = 1 if split is None else int(split)
        if each < 1:
            raise mismatch(node, "split", "at least 1", each)
        pieces = np.split(x, range(each, total, each), along) if total else []
        return pieces if keep or each > 1 else [piece.squeeze(along) for piece in pieces]

    return run


@operator("ConcatFromSequence")
def build_concat(node: Node) -> Function:
    """All elements along `axis`, a new one if `new_axis`."""
    axis, new = integer(node, "axis"), bool(integer(node, "new_axis", 0))

    def run(sequence: list[np.ndarray]) -> np.ndarray:
        if not sequence:
            raise InputError(f"{node.label()}: expected a sequence of at least one element, got an empty one")
        return np.stack(sequence, axis) if new else np.concatenate(sequence, axis)

    return run
