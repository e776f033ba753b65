"""Two layers over one sequence, one each way, are one node."""

from __future__ import annotations

import numpy as np
import pytest
from cell_graphs import Written
from test_cells import same

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def layer(b: Written, kind: str, x: str, direction: str, states: list[str], units: int = 4, **attrs) -> list[str]:
    w, r, bias = (b.constant(b.weights(1, *s)) for s in ((GATES[kind] * units, 3), (GATES[kind] * units, units),
                                                         (2 * GATES[kind] * units,)))  # fmt: skip
    more = [bias, "", *states] if states else [bias]
    return b.node(kind, x, w, r, *more, outputs=3 if kind == "LSTM" else 2, hidden_size=units, direction=direction,
                  **attrs)  # fmt: skip


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("activations", [False, True])
def test_pairs(kind: str, given: bool, activations: bool) -> None:
    b = Written(1)
    x = b.input("x", "T", "B", 3)
    count = 2 if kind == "LSTM" else 1
    states = [[b.input(f"{n}{d}", 1, "B", 4) for n in "hc"[:count]] if given else [] for d in "fb"]
    attrs = [{}, {}]
    if activations:
        names = {"LSTM": ["HardSigmoid", "Tanh", "LeakyRelu"], "GRU": ["HardSigmoid", "LeakyRelu"], "RNN": ["Elu"]}[
            kind
        ]
        alphas = [[0.3, 0.02], [0.25, 0.03]] if kind != "RNN" else [[0.9], [1.1]]
        attrs = [{"activations": names, "activation_alpha": a} for a in alphas]
        if kind != "RNN":
            attrs = [{**a, "activation_beta": [0.4 + k / 10]} for k, a in enumerate(attrs)]
    both = [layer(b, kind, x, d, s, **a) for d, s, a in zip(("forward", "reverse"), states, attrs, strict=True)]
    b.output(b.node("Concat", *(b.node("Squeeze", y, b.ints(1)) for y, *_ in both), axis=-1))
    for k in range(1, count + 1):
        b.output(b.node("Concat", both[0][k], both[1][k], axis=0))
    shapes = [(5, 2, 3)] + [(1, 2, 4)] * (2 * count * given)
    left = same(b.graph, *shapes)
    assert [op for op in left if op != "Concat"] == [f"rnnrt.{kind}"]
    assert left.count("Concat") == count * given


def test_last_steps_and_states_in_one_array() -> None:
    """As PyTorch's newer exporter has it after its steps have been rolled up."""
    b = Written(1)
    x, h0 = b.input("x", 5, "B", 3), b.input("h0", 2, "B", 4)
    starts = [b.node("Slice", h0, b.ints(k), b.ints(k + 1), b.ints(0)) for k in (0, 1)]
    f, r = (layer(b, "GRU", x, d, [s]) for d, s in zip(("forward", "reverse"), starts, strict=True))
    b.output(b.node("Concat", *(b.node("Squeeze", y, b.ints(1)) for y, _ in (f, r)), axis=2))
    ends = [b.node("Gather", y, b.constant(k), axis=0) for (y, _), k in ((f, np.int64(4)), (r, np.int64(0)))]
    b.output(b.node("Concat", *ends, axis=0))
    assert same(b.graph, (5, 2, 3), (2, 2, 4)) == ["rnnrt.GRU"]


def test_one_of_the_outputs_is_used_by_itself() -> None:
    b = Written(1)
    x = b.input("x", "T", "B", 3)
    f, r = (layer(b, "GRU", x, d, []) for d in ("forward", "reverse"))
    b.output(b.node("Concat", *(b.node("Squeeze", y[0], b.ints(1)) for y in (f, r)), axis=2))
    b.output(b.node("Neg", f[0]))
    b.output(r[1])
    assert same(b.graph, (5, 2, 3)).count("rnnrt.GRU") == 1


@pytest.mark.parametrize("what", ["order", "sequence", "axis", "clip", "units"])
def test_pairs_that_stay_two(what: str) -> None:
    b = Written(1)
    x, z = b.input("x", "T", "B", 3), b.input("z", "T", "B", 3)
    f = layer(b, "GRU", x, "forward", [])
    more = {"clip": {"clip": 0.5}, "units": {"units": 5}}.get(what, {})
    r = layer(b, "GRU", z if what == "sequence" else x, "reverse", [], **more)
    pair = (r, f) if what == "order" else (f, r)
    axis = 0 if what == "axis" else 2
    b.output(b.node("Concat", *(b.node("Squeeze", y[0], b.ints(1)) for y in pair), axis=axis))
    assert same(b.graph, (5, 2, 3), (5, 2, 3)).count("rnnrt.GRU") == 2
