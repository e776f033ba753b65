"""Cells written out become recurrent nodes with the same answers; what only looks like one stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
from cell_graphs import ONE, Written
from graph_eval import changed, ops, run

from rnnrt.graph import Graph
from rnnrt.rewrite import rewrite


def same(graph: Graph, *shapes: tuple[int, ...], tolerance: float = 2e-6) -> list[str]:
    """The operators that `rewrite` leaves, the answers being the same; feeds of `shapes`, in the order of inputs."""
    random = np.random.default_rng(7)
    feeds = {v.name: random.normal(size=s).astype(v.dtype) for v, s in zip(graph.inputs, shapes, strict=True)}
    want = run(graph, feeds)
    rewrite(graph)
    got = run(graph, feeds)
    for name, value in want.items():
        assert got[name].shape == value.shape
        assert got[name].dtype == value.dtype
        np.testing.assert_allclose(got[name], value, rtol=tolerance, atol=tolerance, err_msg=name)
    return ops(graph)


@pytest.mark.parametrize("seed", range(40))
def test_lstm_cell(seed: int) -> None:
    b = Written(seed, np.float64 if seed % 8 == 7 else np.float32)
    x, h, c = b.input("x", "B", 3), b.input("h", "B", 4), b.input("c", "B", 4)
    for name in b.lstm(x, h, c):
        b.output(name)
    assert same(b.graph, (5, 3), (5, 4), (5, 4)) == ["rnnrt.LSTM"]


@pytest.mark.parametrize("seed", range(60))
def test_gru_cell(seed: int) -> None:
    b = Written(seed, np.float64 if seed % 8 == 7 else np.float32)
    x, h = b.input("x", "B", 3), b.input("h", "B", 4)
    b.output(b.gru(x, h))
    assert same(b.graph, (5, 3), (5, 4)) == ["rnnrt.GRU"]


def test_minimal_gated_unit() -> None:
    """One gate for both; written for update, not keep."""
    b = Written(1)
    x, h = b.input("x", "B", 3), b.input("h", "B", 4)
    f = b.node("Sigmoid", b.gates(x, h, 1, 2)[0])
    candidate = b.node("Mul", f, b.product(h, b.weights(4, 4), b.weights(4)))
    n = b.node("Tanh", b.node("Add", b.product(x, b.weights(3, 4)), candidate))
    keep = b.node("Mul", b.node("Sub", ONE, f), h)
    b.output(b.node("Add", keep, b.node("Mul", f, n)))
    assert same(b.graph, (2, 3), (2, 4)) == ["rnnrt.GRU"]


@pytest.mark.parametrize("lead", [(1, "B"), ("B", 1), (1, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_states_of_three_axes(lead: tuple, seed: int) -> None:
    b = Written(seed)
    x, h, c = (b.input(n, *lead, k) for n, k in (("x", 3), ("h", 4), ("c", 4)))
    for name in b.lstm(x, h, c, rank=3):
        b.output(name)
    sizes = tuple(6 if d == "B" else d for d in lead)
    assert "rnnrt.LSTM" in same(b.graph, (*sizes, 3), (*sizes, 4), (*sizes, 4))
    assert ops(b.graph).count("rnnrt.LSTM") == 1
    assert "Sigmoid" not in ops(b.graph)


@pytest.mark.parametrize("stack", ["Gather", "Slice"])
def test_states_stacked_in_one_input(stack: str) -> None:
    b = Written(3)
    x, state = b.input("x", 2, 3), b.input("state", 2, 2, 4)
    if stack == "Gather":
        h, c = (b.node("Gather", state, b.constant(np.array(k, np.int64)), axis=0) for k in (0, 1))
    else:
        cut = [b.node("Slice", state, b.ints(k), b.ints(k + 1), b.ints(0)) for k in (0, 1)]
        h, c = (b.node("Squeeze", v, b.ints(0)) for v in cut)
    new = [b.node("Unsqueeze", v, b.ints(0)) for v in b.lstm(x, h, c)]
    b.output(b.node("Concat", *new, axis=0))
    assert same(b.graph, (2, 3), (2, 2, 4)) == ["rnnrt.LSTM", "Concat"]


def steps(b: Written, x: str, count: int, how: str) -> list[str]:
    """x [count, B, 3] taken apart."""
    if how == "Split":
        cut = b.node("Split", x, outputs=count, axis=0, num_outputs=count)
        return [b.node("Squeeze", v, b.ints(0)) for v in cut]
    order = range(count) if how == "Gather" else range(count - 1, -1, -1)
    return [b.node("Gather", x, b.constant(np.array(k, np.int64)), axis=0) for k in order]


@pytest.mark.parametrize("how", ["Split", "Gather", "backwards"])
@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("zero", [False, True])
def test_layer_unrolled(how: str, cell: str, zero: bool) -> None:
    b = Written(5)
    x = b.input("x", 4, "B", 3)
    if zero:
        batch = b.node("Shape", x, start=1, end=2)
        h = c = b.node("Expand", b.constant(np.float32(0)), b.node("Concat", batch, b.ints(4), axis=0))
    else:
        h, c = b.input("h", "B", 4), b.input("c", "B", 4)
    params = b.parameters({"LSTM": 4, "GRU": 3, "RNN": 1}[cell])
    made = []
    for step in steps(b, x, 4, how):
        if cell == "LSTM":
            h, c = b.lstm(step, h, c, params=params)
        else:
            h = b.gru(step, h, params=params, reset_after=True) if cell == "GRU" else b.rnn(step, h, params)
        made.append(h)
    made = made[::-1] if how == "backwards" else made
    b.output(b.node("Concat", *(b.node("Unsqueeze", v, b.ints(0)) for v in made), axis=0))
    b.output(h)
    if cell == "LSTM":
        b.output(c)
    shapes = [(4, 5, 3)] if zero else [(4, 5, 3), (5, 4), (5, 4)]
    assert same(b.graph, *shapes) == [f"rnnrt.{cell}"]


def test_first_step_from_folded_zero() -> None:
    """With sizes known, what zero gives was folded into a constant, the same in all rows."""
    b = Written(2)
    x, h = b.input("x", 3, 2, 3), b.constant(np.zeros((2, 4), np.float32))
    params = b.parameters(1)
    for step in steps(b, x, 3, "Gather"):
        h = b.rnn(step, h, params)
    b.output(h)
    assert same(b.graph, (3, 2, 3)) == ["rnnrt.RNN"]


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_layers_that_take_turns(cell: str) -> None:
    b = Written(2)
    x, states = b.input("x", 3, "B", 3), [b.input(n, "B", 4) for n in "hcgd"]
    first = b.parameters({"LSTM": 4, "GRU": 3, "RNN": 1}[cell])
    second = (b.weights(4, first[0].shape[1]), *first[1:])
    for step in steps(b, x, 3, "Gather"):
        for k, params in ((0, first), (2, second)):
            if cell == "LSTM":
                states[k : k + 2] = b.lstm(step, *states[k : k + 2], params=params)
            elif cell == "GRU":
                states[k] = b.gru(step, states[k], params=params, reset_after=True)
            else:
                states[k] = b.rnn(step, states[k], params)
            step = states[k]
    for state in states if cell == "LSTM" else states[::2]:
        b.output(state)
    assert same(b.graph, (3, 2, 3), *[(2, 4)] * 4) == [f"rnnrt.{cell}"] * 2


def test_state_used_between_keeps_its_step() -> None:
    """c of a step in the middle is nowhere to be had from a node over all steps."""
    b = Written(2)
    x, h, c = b.input("x", 4, "B", 3), b.input("h", "B", 4), b.input("c", "B", 4)
    params = b.parameters(4)
    for k, step in enumerate(steps(b, x, 4, "Gather")):
        h, c = b.lstm(step, h, c, params=params)
        if k == 1:
            b.output(c)
    b.output(h)
    assert same(b.graph, (4, 2, 3), (2, 4), (2, 4)).count("rnnrt.LSTM") == 2


# ------------------------------------------------------------------------------------------ what only looks like a cell


def untouched(b: Written, *shapes: tuple[int, ...]) -> None:
    assert not any(op.startswith("rnnrt.") for op in same(b.graph, *shapes))


def test_other_weights_for_each_step() -> None:
    b = Written(2)
    x, h = b.input("x", 3, "B", 3), b.input("h", "B", 4)
    for step in steps(b, x, 3, "Gather"):
        h = b.gru(step, h)
    b.output(h)
    assert same(b.graph, (3, 2, 3), (2, 4)).count("rnnrt.GRU") == 3


@pytest.mark.parametrize("shapes", [((1, 3), (5, 4)), ((5, 3), (1, 4)), ((5, 3), (5, 4))])
def test_rows_that_might_be_broadcast(shapes: tuple) -> None:
    b = Written(0)
    x, h = b.input("x", "N", 3), b.input("h", "M", 4)
    b.output(b.gru(x, h))
    untouched(b, *shapes)


def test_outer_broadcast() -> None:
    b = Written(1)
    x, h = b.input("x", "B", 1, 3), b.input("h", 1, "B", 4)
    b.output(b.gru(x, h, rank=3))
    assert "Concat" not in ops(b.graph)
    untouched(b, (2, 1, 3), (1, 2, 4))


def test_bias_a_row() -> None:
    b = Written(4)
    x, h, c = b.input("x", 2, 3), b.input("h", 2, 4), b.input("c", 2, 4)
    i, o, f, g = (b.node("Add", v, b.constant(b.weights(2, 4))) for v in b.gates(x, h, 4, 2))
    s = [b.node("Sigmoid", v) for v in (i, o, f)]
    state = b.node("Add", b.node("Mul", s[2], c), b.node("Mul", s[0], b.node("Tanh", g)))
    b.output(b.node("Mul", s[1], b.node("Tanh", state)))
    untouched(b, (2, 3), (2, 4), (2, 4))


def test_candidate_with_a_second_product_of_h() -> None:
    b = Written(6)
    x, h = b.input("x", "B", 3), b.input("h", "B", 4)
    z, r = (b.node("Sigmoid", v) for v in b.gates(x, h, 2, 2))
    own = b.node("Add", b.product(x, b.weights(3, 4)), b.product(h, b.weights(4, 4)))
    n = b.node("Tanh", b.node("Add", own, b.node("Mul", r, b.product(h, b.weights(4, 4)))))
    b.output(b.mix(z, h, n))
    untouched(b, (2, 3), (2, 4))


def test_other_activation_of_one_gate() -> None:
    b = Written(6)
    x, h, c = b.input("x", "B", 3), b.input("h", "B", 4), b.input("c", "B", 4)
    i, o, f, g = b.gates(x, h, 4, 2)
    s = [b.node("Sigmoid", i), b.node("HardSigmoid", o), b.node("Sigmoid", f)]
    state = b.node("Add", b.node("Mul", s[2], c), b.node("Mul", s[0], b.node("Tanh", g)))
    b.output(b.node("Mul", s[1], b.node("Tanh", state)))
    untouched(b, (2, 3), (2, 4), (2, 4))


def test_output_gate_of_the_new_state() -> None:
    """A peephole by a whole matrix: o depends on c'."""
    b = Written(6)
    x, h, c = b.input("x", "B", 3), b.input("h", "B", 4), b.input("c", "B", 4)
    i, o, f, g = b.gates(x, h, 4, 2)
    kept = b.node("Mul", b.node("Sigmoid", f), c)
    state = b.node("Add", kept, b.node("Mul", b.node("Sigmoid", i), b.node("Tanh", g)))
    out = b.node("Sigmoid", b.node("Add", o, b.product(state, b.weights(4, 4))))
    b.output(b.node("Mul", out, b.node("Tanh", state)))
    untouched(b, (2, 3), (2, 4), (2, 4))


def test_mixing_by_two_different_gates() -> None:
    b = Written(6)
    x, h = b.input("x", "B", 3), b.input("h", "B", 4)
    z, y, r = (b.node("Sigmoid", v) for v in b.gates(x, h, 3, 2))
    hn = b.node("Mul", r, b.product(h, b.weights(4, 4)))
    n = b.node("Tanh", b.node("Add", b.product(x, b.weights(3, 4)), hn))
    b.output(b.node("Add", b.node("Mul", z, h), b.node("Mul", b.node("Sub", ONE, y), n)))
    untouched(b, (2, 3), (2, 4))


def test_a_dense_layer_of_two_inputs_is_no_rnn() -> None:
    b = Written(6)
    x, h = b.input("x", "B", 3), b.input("h", "B", 4)
    b.output(b.node("Relu", b.rnn(x, h, b.parameters(1))))
    untouched(b, (2, 3), (2, 4))


def test_weights_that_are_inputs() -> None:
    b = Written(6)
    x, h, w = b.input("x", "B", 3), b.input("h", "B", 4), b.input("w", 3, 16)
    c = b.input("c", "B", 4)
    cut = b.pieces(b.node("Add", b.node("MatMul", x, w), b.product(h, b.weights(4, 16))), 4, 4)
    s = [b.node("Sigmoid", v) for v in cut[:3]]
    state = b.node("Add", b.node("Mul", s[2], c), b.node("Mul", s[0], b.node("Tanh", cut[3])))
    b.output(b.node("Mul", s[1], b.node("Tanh", state)))
    untouched(b, (2, 3), (2, 4), (3, 16), (2, 4))


# --------------------------------------------------------------------------------------------------------------- pieces


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("order", [range(3), range(2, -1, -1), range(1, 3)])
def test_places_put_together_again(axis: int, order: range) -> None:
    b = Written(0)
    x = b.input("x", 2, 3, "N")
    parts = [b.node("Gather", x, b.constant(np.array(k, np.int64)), axis=1) for k in order]
    b.output(b.node("Concat", *(b.node("Unsqueeze", v, b.ints(axis)) for v in parts), axis=axis))
    assert "Concat" not in same(b.graph, (2, 3, 5))


def test_places_in_another_order_stay() -> None:
    b = Written(0)
    x = b.input("x", 2, 3, "N")
    parts = [b.node("Gather", x, b.constant(np.array(k, np.int64)), axis=1) for k in (0, 2, 1)]
    b.output(b.node("Concat", *(b.node("Unsqueeze", v, b.ints(0)) for v in parts), axis=0))
    assert "Concat" in same(b.graph, (2, 3, 5))


@pytest.mark.parametrize(("cut", "left"), [(((0, 2), (2, 5)), 0), (((1, 2), (2, 5)), 0), (((0, 2), (3, 5)), 1)])
def test_slices_put_together_again(cut: tuple, left: int) -> None:
    b = Written(0)
    x = b.input("x", "N", 5)
    parts = [b.node("Slice", x, b.ints(s), b.ints(e), b.ints(1)) for s, e in cut]
    b.output(b.node("Neg", b.node("Concat", *parts, axis=-1)))
    assert same(b.graph, (2, 5)).count("Concat") == left


def test_runs_of_slices_in_a_longer_concat() -> None:
    b = Written(0)
    x, y = b.input("x", "N", 5), b.input("y", "N", 2)
    parts = [b.node("Slice", x, b.ints(s), b.ints(e), b.ints(1)) for s, e in ((0, 2), (2, 5), (0, 1))]
    b.output(b.node("Concat", y, *parts, y, axis=1))
    assert same(b.graph, (2, 5), (2, 2)) == ["Slice", "Concat"]


def test_last_step_besides_all_steps() -> None:
    b = Written(0)
    x = b.input("x", 4, "B", 3)
    w, r = b.constant(b.weights(1, 12, 3)), b.constant(b.weights(1, 12, 4))
    y = b.node("GRU", x, w, r, hidden_size=4)
    b.output(b.node("Neg", y))
    b.output(b.node("Gather", y, b.constant(np.array(-1, np.int64)), axis=0))
    graph = b.graph
    feeds = {"x": np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)}
    changed(graph, feeds, rewrite)
    assert ops(graph) == ["rnnrt.GRU", "Neg"]
