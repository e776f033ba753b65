"""Stacked layers as a wavefront: the bits of one thread, and only where layers need no more than the last Y."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
from text_models import lstm, parsed, same

import rnnrt
from rnnrt._core import engine

F = np.float32
N_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def stack(op: str, sizes: list[int], attrs: str = "", states: bool = True, dtype: type = F):
    """Layers of sizes[1:] units over sizes[0] inputs, states going out and perhaps in; the last Y goes out."""
    nodes, weights, ins, outs = [], {}, [f"T[L, N, {sizes[0]}] x"], []
    below = "x"
    for k, (inputs, units) in enumerate(itertools.pairwise(sizes)):
        weights |= {f"{n}{k}": a.astype(dtype) for n, a in lstm(inputs, units, 1, k, N_GATES[op]).items()}
        kinds = "hc" if op == "LSTM" else "h"
        given = ", ".join(f"{kind}{k}" for kind in kinds) if states else ""
        ins += [f"T[1, N, {units}] {kind}{k}" for kind in kinds] if states else []
        made = ", ".join(f"{kind}_out{k}" for kind in kinds)
        outs += [f"T[1, N, {units}] {kind}_out{k}" for kind in kinds]
        nodes.append(f"y{k}, {made} = {op} <hidden_size = {units}{attrs}> ({below}, W{k}, R{k}, B{k}, , {given})")
        nodes.append(f"s{k} = Squeeze(y{k}, one)")
        below = f"s{k}"
    outs.append(f"T[L, N, {sizes[-1]}] {below}")
    text = f"({', '.join(ins)}) => ({', '.join(outs)}) {{ {'  '.join(nodes)} }}"
    kind = {F: "float", np.float64: "double"}[dtype]
    return parsed(text.replace("T[", f"{kind}["), one=np.array([1]), **weights)


def feed_of(model: rnnrt.Model, steps: int, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = {"L": steps, "N": batch}
    return {v.name: rng.standard_normal([sizes.get(n, n) for n in v.shape]).astype(v.dtype) for v in model.inputs}


def goes_as_wavefront(model: rnnrt.Model) -> bool:
    return "as a wavefront" in model.describe()


@pytest.mark.parametrize(
    ("op", "attrs"),
    [
        ("LSTM", ""),
        ("GRU", ", linear_before_reset = 1"),
        ("GRU", ""),
        ("RNN", ""),
        ("LSTM", ', clip = 0.5, activations = ["Relu", "Tanh", "Softsign"]'),
    ],
)
@pytest.mark.parametrize("states", [True, False])
@pytest.mark.parametrize(("steps", "batch"), [(203, 1), (128, 3), (160, 2)])
def test_the_bits_are_those_of_one_thread(op, attrs, states, steps, batch):
    made = stack(op, [9, 33, 64, 47], attrs, states)
    alone = rnnrt.load(made)
    feeds = feed_of(alone, steps, batch)
    want = alone.run(feeds)
    for threads in (2, 3):
        model = rnnrt.load(made, threads=threads)
        for _ in range(3):
            assert same(model.run(feeds), want)
        assert goes_as_wavefront(model)
        assert f"{threads} layers as a wavefront" in model.describe()
    assert not goes_as_wavefront(alone)


def test_float64_and_batches_first():
    made = stack("LSTM", [9, 17, 16], "", True, np.float64)
    alone, model = rnnrt.load(made), rnnrt.load(made, threads=2)
    feeds = feed_of(alone, 250, 1)
    assert same(model.run(feeds), alone.run(feeds))
    assert goes_as_wavefront(model)
    text = """(float[N, L, 9] x) => (float[N, L, 40] y) {
        xt = Transpose <perm = [1, 0, 2]> (x)
        a = LSTM <hidden_size = 40> (xt, W0, R0, B0)  b = Squeeze(a, one)
        c = LSTM <hidden_size = 40> (b, W1, R1, B1)  d = Squeeze(c, one)  y = Transpose <perm = [1, 0, 2]> (d)
    }"""
    weights = {f"{n}{k}": a for k in range(2) for n, a in lstm((9, 40)[k], 40, seed=k).items()}
    made = parsed(text, one=np.array([1]), **weights)
    alone, model = rnnrt.load(made), rnnrt.load(made, threads=2)
    x = {"x": np.random.default_rng(1).standard_normal((3, 160, 9)).astype(F)}
    assert same(model.run(x), alone.run(x))
    assert goes_as_wavefront(model)


DECODER = """(float[L, N, 9] x) => (float[L, 1, N, 40] y) {
    a, h, c = LSTM <hidden_size = 40> (x, W0, R0, B0)  b = Squeeze(a, one)
    y = LSTM <hidden_size = 40> (b, W1, R1, B1, STATE)
}"""
REVERSED = DECODER.replace("STATE", "").replace("<hidden_size = 40> (b", '<hidden_size = 40, direction = "reverse"> (b')


@pytest.mark.parametrize(
    ("text", "merges"),
    [
        (DECODER.replace("STATE", ""), True),
        (DECODER.replace("STATE", ", h"), False),
        (DECODER.replace("STATE", ", , c"), False),
        (DECODER.replace("(b, W1", "(z, W1").replace("STATE", "").replace("y = ", "z = Relu(b)  y = "), False),
        (REVERSED, False),
    ],
    ids=["plain", "its last h", "its last c", "something between", "reversed"],
)
def test_layers_that_need_more_than_the_last_y_wait_for_it(text, merges):
    weights = {f"{n}{k}": a for k in range(2) for n, a in lstm((9, 40)[k], 40, seed=k).items()}
    made = parsed(text, one=np.array([1]), **weights)
    alone, model = rnnrt.load(made), rnnrt.load(made, threads=2)
    x = {"x": np.random.default_rng(1).standard_normal((150, 2, 9)).astype(F)}
    assert same(model.run(x), alone.run(x))
    assert goes_as_wavefront(model) == merges


def test_where_sharing_a_layer_out_is_as_good_it_stays_so():
    small, wide = stack("LSTM", [9, 40, 40]), stack("LSTM", [9, 512, 512])
    model = rnnrt.load(small, threads=2)
    for steps, batch, merges in ((150, 1, True), (5, 1, False), (150, 32, False), (0, 1, False), (1, 1, False)):
        model._plan.program.roots.clear()
        model.run(feed_of(model, steps, batch))
        assert goes_as_wavefront(model) == merges, (steps, batch)
    model = rnnrt.load(wide, threads=2)
    model.run(feed_of(model, 20, 1))
    assert not goes_as_wavefront(model)


def test_many_callers_at_once_get_the_answers_of_one():
    made = stack("GRU", [9, 40, 40])
    alone, model = rnnrt.load(made), rnnrt.load(made, threads=2)
    feeds = [feed_of(alone, 150, 1, seed) for seed in range(4)]
    want = [alone.run(feed) for feed in feeds]
    wrong = []

    def work(k: int) -> None:
        for _ in range(30):
            if not same(model.run(feeds[k]), want[k]):
                wrong.append(k)

    callers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_engine_refuses_what_does_not_pay():
    layers = [engine.Recurrent("RNN", *(np.zeros(s, F) for s in ((1, 40, 40), (1, 40, 40)))) for _ in range(3)]
    assert engine.wavefront(layers[:2], 400, 1, 2) is not None
    assert engine.wavefront(layers[:2], 1, 1, 2) is None
    assert engine.wavefront(layers, 400, 1, 2) is None, "more layers than threads"
    assert engine.wavefront(layers[:2], 400, 8, 2) is None, "rows for every thread"
