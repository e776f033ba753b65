"""Loops that take their inputs from a sequence and append to one become Loops over tensors, or recurrent nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cell_graphs import Written
from test_loops import cell, copied, feeds, inner, own_names, params_of, same

from rnnrt.errors import InputError
from rnnrt.graph import Value
from rnnrt.plan import Plan
from rnnrt.rewrite import rewrite

SCALAR = np.array(1, np.int64)


def scripted(b: Written, how: dict[str, Any], split: Any = SCALAR, keepdims: int = 0, kind: str = "LSTM") -> None:
    """As PyTorch writes a scripted loop: x [T, B, 3] taken apart, a cell, its h appended; `how` says what else."""
    x = b.input("x", "T", "B", 3)
    states = [b.input(n, "B", 4) for n in "hc"[: 2 if kind == "LSTM" else 1]]
    b.node("SplitToSequence", x, *(() if split is None else (b.constant(split),)), axis=0, keepdims=keepdims)
    b.graph.nodes[-1].outputs = [pieces] = ["pieces"]  # the body has names like the others
    count = b.node("SequenceLength", pieces)
    start = b.node("SequenceConstruct", x) if how.get("started") else b.node("SequenceEmpty", dtype=1)
    body = inner(b)
    carried = [*(f"{s}_in" for s in states), "made"]
    body.graph.inputs += [Value("i", np.dtype(np.int64), ()), Value("go", np.dtype(bool), ())]
    body.graph.inputs += [Value(name) for name in carried]
    piece = body.node("SequenceAt", pieces, "i")
    if keepdims:
        piece = body.node("Squeeze", piece, body.ints(0))
    new = cell(body, kind, piece, carried[:-1], params_of(b, kind))
    first = (body.constant(np.array(0, np.int64)),) if how.get("in front") else ()
    made = body.node("SequenceInsert", "made", body.node("Relu", new[0]) if how.get("more") else new[0], *first)
    if how.get("looked at"):
        body.node("SequenceLength", "made")
        length = body.node("Cast", body.graph.nodes[-1].outputs[0], to=1)
        new[0] = body.node("Add", new[0], body.node("Mul", length, body.constant(np.float32(0))))
    going = body.node("Identity", "go")
    body.graph.outputs += [Value(going, np.dtype(bool), ()), *(Value(v) for v in new), Value(made, None, None, "seq")]
    names = b.node("Loop", count, b.constant(np.array(True)), *states, start, outputs=len(new) + 1,
                   body=own_names(body.graph, "in_"))  # fmt: skip
    for name in names[:-1]:
        b.output(name)
    for join in how.get("join", [{"axis": 0, "new_axis": 1}]):
        b.output(b.node("ConcatFromSequence", names[-1], **join))
    if how.get("taken"):
        b.output(b.node("SequenceAt", names[-1], b.constant(np.array(-1, np.int64))))
        b.output(b.node("SequenceLength", names[-1]))
    if how.get("out"):
        b.output(names[-1])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize(("split", "keepdims"), [(SCALAR, 0), (None, 0), (None, 1), (SCALAR, 1)])
def test_scripted_loops_over_cells(kind, split, keepdims):
    b = Written(1)
    scripted(b, {}, split, keepdims, kind)
    left = same(b.graph, *feeds(kind, (4, 2), (1, 1), (7, 3)))
    assert left == [f"rnnrt.{kind}"] if keepdims == 0 else not any("Sequence" in op for op in left)


@pytest.mark.parametrize("axis", [1, -1])
def test_joined_along_a_new_axis(axis):
    b = Written(2)
    scripted(b, {"join": [{"axis": axis, "new_axis": 1}, {"axis": 0, "new_axis": 1}], "taken": True})
    left = same(b.graph, *feeds("LSTM", (4, 2), (1, 1), (7, 3)))
    assert "rnnrt.LSTM" in left
    assert not {"SequenceAt", "ConcatFromSequence", "Loop"} & set(left)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_joined_along_an_axis_of_the_elements(axis):
    b = Written(3)
    scripted(b, {"join": [{"axis": axis}], "more": True})
    for value in b.graph.inputs:
        value.shape = tuple(2 if d == "B" else d for d in value.shape)
    left = same(b.graph, *feeds("LSTM", (4, 2), (1, 2), (7, 2)))
    assert "Loop" in left
    assert not {"SequenceAt", "SplitToSequence", "ConcatFromSequence"} & set(left)


@pytest.mark.parametrize(
    "how",
    [
        {"started": 1, "join": []},
        {"in front": 1},
        {"looked at": 1},
        {"join": [{"axis": 1}]},
        {"join": [], "put out": 1},
    ],
    ids=["not empty at first", "in front", "looked at", "sizes not known", "put out"],
)
def test_other_sequences_stay(how):
    b = Written(4)
    scripted(b, how)
    plain, left = copied(b.graph), b.graph
    rewrite(left)
    assert any(node.op == "Loop" for node in left.nodes)
    given = feeds("LSTM", (4, 2))[0]
    for got, want in zip(Plan(left).run(given), Plan(plain).run(given), strict=True):
        if isinstance(want, list):
            assert [x.shape for x in got] == [x.shape for x in want]
        np.testing.assert_allclose(np.array(got), np.array(want), rtol=2e-6, atol=2e-6)


def test_pieces_of_more_than_one_index_stay():
    b = Written(5)
    x = b.input("x", "T", 3)
    pieces = b.node("SplitToSequence", x, b.constant(np.array(2, np.int64)), axis=0)
    b.output(b.node("SequenceAt", pieces, b.constant(np.array(1, np.int64))))
    array = np.arange(15, dtype=np.float32).reshape(5, 3)
    assert same(b.graph, [array]) == ["SplitToSequence", "SequenceAt"]


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axis", [0, -2])
def test_elements_and_length(axis, keepdims):
    b = Written(6)
    x, at = b.input("x", 3, "N", 2), b.input("at")
    b.graph.inputs[1] = Value("at", np.dtype(np.int64), ())
    pieces = b.node("SplitToSequence", x, axis=axis, keepdims=keepdims)
    b.output(b.node("SequenceAt", pieces, at))
    b.output(b.node("SequenceLength", pieces))
    array = np.arange(30, dtype=np.float32).reshape(3, 5, 2)
    left = same(b.graph, *([array, np.array(k)] for k in (0, 2, -1, -3)))
    assert "Gather" in left
    assert "SplitToSequence" not in left
    with pytest.raises(InputError):
        Plan(b.graph).run([array, np.array(9)])
