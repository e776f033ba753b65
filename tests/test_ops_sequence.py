"""Sequence operators of the NumPy tier, against lists."""

from __future__ import annotations

import numpy as np
import pytest
from ops_util import make_node

from rnnrt.errors import InputError
from rnnrt.ops.registry import OPERATORS

X = np.arange(24, dtype=np.float32).reshape(6, 4)


def run(op, *inputs, **attrs):
    return OPERATORS["", op].build(make_node(op, len(inputs), **attrs))(*inputs)


def shapes(sequence):
    return [x.shape for x in sequence]


def i64(*values):
    return np.array(values, np.int64)


def test_made_and_taken_from():
    parts = [X[:1], X[1:3], X[3:]]
    assert run("SequenceEmpty") == []
    sequence = run("SequenceConstruct", *parts)
    assert run("SequenceLength", sequence) == 3
    for at in range(-3, 3):
        np.testing.assert_array_equal(run("SequenceAt", sequence, np.int64(at)), parts[at])
    assert shapes(run("SequenceInsert", sequence, X)) == [(1, 4), (2, 4), (3, 4), (6, 4)]
    assert shapes(run("SequenceInsert", sequence, X, i64(0))) == [(6, 4), (1, 4), (2, 4), (3, 4)]
    assert shapes(run("SequenceInsert", sequence, X, np.int64(-1))) == [(1, 4), (2, 4), (6, 4), (3, 4)]
    assert shapes(run("SequenceInsert", sequence, X, np.int64(3))) == [(1, 4), (2, 4), (3, 4), (6, 4)]
    assert shapes(run("SequenceErase", sequence)) == [(1, 4), (2, 4)]
    assert shapes(run("SequenceErase", sequence, np.int64(0))) == [(2, 4), (3, 4)]
    assert shapes(sequence) == [(1, 4), (2, 4), (3, 4)], "an operator changed the list that it was given"


@pytest.mark.parametrize(
    ("op", "at"),
    [("SequenceAt", 2), ("SequenceAt", -3), ("SequenceErase", 2), ("SequenceErase", -3), ("SequenceInsert", 3)],
)
def test_positions_that_are_not_there(op, at):
    inputs = ([X, X], X, np.int64(at)) if op == "SequenceInsert" else ([X, X], np.int64(at))
    with pytest.raises(InputError, match=f"position in a sequence of 2: expected .*, got {at}"):
        run(op, *inputs)


@pytest.mark.parametrize(
    ("split", "attrs", "expected"),
    [
        (None, {}, [(1, 4)] * 6),
        (None, {"keepdims": 0}, [(4,)] * 6),
        (None, {"axis": -1, "keepdims": 0}, [(6,)] * 4),
        (np.int64(1), {"keepdims": 0}, [(4,)] * 6),
        (np.int64(1), {}, [(1, 4)] * 6),
        (np.int64(4), {"keepdims": 0}, [(4, 4), (2, 4)]),
        (np.int32(3), {"axis": 1}, [(6, 3), (6, 1)]),
        (i64(1, 0, 5), {"keepdims": 0}, [(1, 4), (0, 4), (5, 4)]),
        (i64(*[1] * 6), {"keepdims": 0}, [(1, 4)] * 6),
    ],
)
def test_split(split, attrs, expected):
    pieces = run("SplitToSequence", X, *(() if split is None else (split,)), **attrs)
    assert shapes(pieces) == expected
    axis = attrs.get("axis", 0)
    whole = np.stack(pieces, axis) if pieces[0].ndim == 1 else np.concatenate(pieces, axis)
    np.testing.assert_array_equal(whole, X)
    assert run("SplitToSequence", X[:0], *(() if split is None else (np.int64(1),)), keepdims=0) == []


@pytest.mark.parametrize("split", [i64(2, 3), i64(7, -1), np.int64(0), i64()])
def test_splits_that_do_not_fit(split):
    with pytest.raises(InputError, match="split: expected"):
        run("SplitToSequence", X, split)


def test_concat():
    np.testing.assert_array_equal(run("ConcatFromSequence", [X[:2], X[2:]], axis=0), X)
    np.testing.assert_array_equal(run("ConcatFromSequence", [X, X], axis=-1, new_axis=1), np.stack([X, X], -1))
    with pytest.raises(InputError, match="at least one element"):
        run("ConcatFromSequence", [], axis=0)
