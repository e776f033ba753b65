"""Loops and Scans over cells become recurrent nodes with the same answers, whatever the number of steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from cell_graphs import Written
from graph_eval import ops

from rnnrt.graph import Graph, Node, Value
from rnnrt.plan import Plan
from rnnrt.rewrite import rewrite
from rnnrt.rewrite.lower import lower

STATES = {"LSTM": 2, "GRU": 1, "RNN": 1}


def copied(graph: Graph) -> Graph:
    nodes = [
        Node(n.op, list(n.inputs), list(n.outputs), {k: copied(v) if isinstance(v, Graph) else v
             for k, v in n.attrs.items()}, n.domain, n.version, n.name)
        for n in graph.nodes
    ]  # fmt: skip
    values = ([Value(v.name, v.dtype, v.shape) for v in part] for part in (graph.inputs, graph.outputs))
    return Graph(*values, nodes, dict(graph.constants))  # type: ignore[call-arg]


def same(graph: Graph, *feeds: list[np.ndarray], tolerance: float = 2e-6) -> list[str]:
    """The operators that `rewrite` leaves, answers to all `feeds` being the same."""
    plain_graph = copied(graph)
    lower(plain_graph)
    plain = Plan(plain_graph)
    rewrite(graph)
    plan = Plan(graph)
    for arrays in feeds:
        for got, want in zip(plan.run(arrays), plain.run(arrays), strict=True):
            assert got.shape == want.shape
            assert got.dtype == want.dtype
            np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    return ops(graph)


def inner(b: Written) -> Written:
    """A body, whose names are its own."""
    body = Written(0)
    body.random = b.random
    body.graph.constants.clear()
    body.graph.constants["one_inside"] = np.array(1, np.float32)
    return body


def own_names(graph: Graph, mark: str) -> Graph:
    """`graph` with `mark` before every name that it defines."""
    made = {o for n in graph.nodes for o in n.outputs} | set(graph.constants) | {v.name for v in graph.inputs}
    new = {name: f"{mark}{name}" for name in made}
    for node in graph.nodes:
        node.inputs = [new.get(i, i) for i in node.inputs]
        node.outputs = [new[o] for o in node.outputs]
    graph.constants = {new[name]: array for name, array in graph.constants.items()}
    for value in (*graph.inputs, *graph.outputs):
        value.name = new[value.name]
    return graph


def cell(body: Written, kind: str, x: str, states: list[str], params: tuple) -> list[str]:
    if kind == "LSTM":
        return body.lstm(x, *states, params=params)
    if kind == "RNN":
        return [body.rnn(x, states[0], params)]
    w, r, b, rb = params
    cut = [body.pieces(body.product(v, m, c), 3, 4) for v, m, c in ((x, w, b), (states[0], r, rb))]
    z, reset = (body.node("Sigmoid", body.node("Add", cut[0][k], cut[1][k])) for k in (0, 1))
    n = body.node("Tanh", body.node("Add", cut[0][2], body.node("Mul", reset, cut[1][2])))
    return [body.node("Add", n, body.node("Mul", z, body.node("Sub", states[0], n)))]


def params_of(b: Written, kind: str) -> tuple:
    return b.parameters({"LSTM": 4, "GRU": 3, "RNN": 1}[kind])


def loop(
    b: Written, kind: str, tensorflow: bool = False, change: Callable[[Written, dict], None] | None = None
) -> None:
    """A Loop of as many steps as x [T, B, 3] has; as tf2onnx writes it, with a counter and conditions on both."""
    x = b.input("x", "T", "B", 3)
    states = [b.input(n, "B", 4) for n in "hc"[: STATES[kind]]]
    count = b.node("Gather", b.node("Shape", x), b.constant(np.array(0, np.int64)), axis=0)
    body = inner(b)
    body.graph.inputs += [Value("i", np.dtype(np.int64), ()), Value("go", np.dtype(bool), ())]
    index, carried, more = "i", [f"{s}_in" for s in states], []
    parts: dict = {"index": index, "x": x, "count": count, "end": count, "start": ""}
    if tensorflow:
        parts["index"] = "k"
        carried = ["k", *carried, "n"]
        end = body.node("Cast", "n", to=1)
        step = body.node("Add", "k", body.constant(np.array(1, np.int32)))
        tests = [body.node("Less", body.node("Cast", v, to=1), end) for v in ("i", step)]
        more = [body.node("And", *tests)]
        zero = b.constant(np.float32(0))
        parts["start"] = b.node("Less", zero, b.node("Cast", count, to=1))
        outer = [b.constant(np.array(0, np.int32)), *states, count]
    else:
        outer = list(states)
    if change is not None:
        change(body, parts)
    body.graph.inputs += [Value(name) for name in carried]
    taken = parts["taken"] if "taken" in parts else body.node("Gather", parts["x"], parts["index"], axis=0)
    new = cell(body, kind, taken, [f"{s}_in" for s in states], params_of(b, kind))
    going = more[0] if more else body.node("Identity", "go")
    handed = [step, *new, "n"] if tensorflow else new
    body.graph.outputs += [Value(going, np.dtype(bool), ()), *(Value(v) for v in handed)]
    body.graph.outputs.append(Value(new[0], np.dtype(np.float32), ("B", 4)))
    names = b.node("Loop", parts["count"], parts["start"], *outer, outputs=len(handed) + 1,
                   body=own_names(body.graph, "in_"))  # fmt: skip
    for k, name in enumerate(names):
        if not (tensorflow and k in (0, len(handed) - 1)):
            b.output(name)


def feeds(kind: str, *sizes: tuple[int, int]) -> list[list[np.ndarray]]:
    random = np.random.default_rng(3)
    return [
        [random.normal(size=(t, n, 3)).astype(np.float32),
         *(random.normal(size=(n, 4)).astype(np.float32) for _ in range(STATES[kind]))]
        for t, n in sizes
    ]  # fmt: skip


@pytest.mark.parametrize("tensorflow", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("seed", range(2))
def test_loops(kind: str, tensorflow: bool, seed: int) -> None:
    b = Written(seed)
    loop(b, kind, tensorflow)
    assert same(b.graph, *feeds(kind, (4, 2), (1, 1), (7, 3))) == [f"rnnrt.{kind}"]


def test_loop_of_fewer_steps_than_there_are() -> None:
    b = Written(0)

    def change(body: Written, parts: dict) -> None:
        parts["count"] = b.constant(np.array(2, np.int64))

    loop(b, "GRU", change=change)
    b.graph.inputs[0].shape = (4, "B", 3)
    assert same(b.graph, *feeds("GRU", (4, 2))) == ["rnnrt.GRU"]


@pytest.mark.parametrize("what", ["count", "index", "condition", "early", "own"])
def test_loops_that_are_not_over_a_sequence_stay(what: str) -> None:
    b = Written(0)

    def change(body: Written, parts: dict) -> None:
        if what == "count":  # nothing says that it is the length of x
            b.graph.inputs.insert(1, Value("n", np.dtype(np.int64), ()))
            parts["count"] = "n"
        elif what == "index":  # the step after: out of bounds in the end, but for the wrap from -1
            k = body.node("Sub", "i", body.constant(np.array(1, np.int64)))
            parts["taken"] = body.node("Gather", parts["x"], k, axis=0)
        elif what == "condition":
            parts["start"] = b.constant(np.array(False))
        elif what == "early":
            b.graph.inputs.insert(1, Value("n", np.dtype(bool), ()))
            parts["start"] = "n"
        else:  # x is not from outside
            parts["taken"] = body.node("Slice", "h_in", body.ints(0), body.ints(3), body.ints(1))

    loop(b, "GRU", change=change)
    given = feeds("GRU", (4, 2))
    more = {"count": np.array(3), "early": np.array(True)}
    if what in more:
        given[0].insert(1, more[what])
    assert "Loop" in same(b.graph, *given)


@pytest.mark.parametrize("forever", [False, True])
def test_condition_that_ends_the_loop_sooner(forever: bool) -> None:
    b = Written(0)
    loop(b, "GRU", tensorflow=True)
    if not forever:
        body = next(n for n in b.graph.nodes if n.op == "Loop").attrs["body"]
        less = [n for n in body.nodes if n.op == "Less"][1]
        body.constants["in_two"] = np.array(2, np.float32)
        less.inputs[1] = "in_two"
    assert ("Loop" in same(b.graph, *feeds("GRU", (5, 2)))) != forever


def scan(b: Written, kind: str, axis: int = 0, back: int = 0, out_back: int = 0) -> list[str]:
    shape: list = ["B", 3]
    shape.insert(axis, "T")
    states = [b.input(n, "B", 4) for n in "hc"[: STATES[kind]]]
    x = b.input("x", *shape)
    body = inner(b)
    body.graph.inputs += [Value(f"{s}_in") for s in (*states, x)]
    new = cell(body, kind, "x_in", [f"{s}_in" for s in states], params_of(b, kind))
    body.graph.outputs += [Value(v) for v in (*new, new[0])]
    attrs = {"scan_input_axes": [axis], "scan_input_directions": [back], "scan_output_directions": [out_back]}
    names = b.node("Scan", *states, x, outputs=len(states) + 1, num_scan_inputs=1, **attrs,
                   body=own_names(body.graph, "in_"))  # fmt: skip
    for name in names:
        b.output(name)
    return names


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize(("axis", "back", "out_back", "left"), [(0, 0, 0, 0), (1, 0, 0, 0), (1, 1, 1, 0), (0, 1, 0, 1)])
def test_scans(kind: str, axis: int, back: int, out_back: int, left: int) -> None:
    b = Written(axis)
    scan(b, kind, axis, back, out_back)
    random = np.random.default_rng(1)
    given = [random.normal(size=(2, 4)).astype(np.float32) for _ in range(STATES[kind])]
    x = random.normal(size=(2, 5, 3) if axis else (5, 2, 3)).astype(np.float32)
    found = same(b.graph, [*given, x])
    assert found.count("Scan") == left
    assert found.count(f"rnnrt.{kind}") == 1  # also inside


def test_reversals_round_a_node_turn_it() -> None:
    b = Written(0)
    x = b.input("x", "T", "B", 3)
    turn = [b.ints(-1), b.ints(-(2**63)), b.ints(0), b.ints(-1)]
    w, r = b.constant(b.weights(1, 12, 3)), b.constant(b.weights(1, 12, 4))
    y = b.node("GRU", b.node("Slice", x, *turn), w, r, hidden_size=4)
    y = b.node("Transpose", b.node("Squeeze", y, b.ints(1)), perm=[1, 0, 2])
    b.output(b.node("Slice", y, b.ints(-1), b.ints(-(2**63)), b.ints(1), b.ints(-1)))
    random = np.random.default_rng(1)
    assert same(b.graph, *[[random.normal(size=(t, 2, 3)).astype(np.float32)] for t in (1, 5)]) == ["rnnrt.GRU"]


@pytest.mark.parametrize("whole", [True, False])
def test_reversal_of_whole_sequences(whole: bool) -> None:
    b = Written(0)
    x = b.input("x", "T", "B", 3)
    length = b.node("Gather", b.node("Shape", x), b.ints(0 if whole else 1), axis=0)
    lengths = b.node("Expand", length, b.node("Shape", x, start=1, end=2))
    b.output(b.node("ReverseSequence", x, lengths, batch_axis=1, time_axis=0))
    left = same(b.graph, [np.random.default_rng(1).normal(size=(4, 3, 3)).astype(np.float32)])
    assert ("ReverseSequence" in left) != whole
