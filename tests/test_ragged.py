"""`Model.run_ragged`: the answers of each sequence alone, whatever the model; and what is proven of which models."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ragged_models import FLAT, HEAD, LAST, RNG, F, batches, check, layer, sequences
from strategies import arrays
from text_models import parsed, same

import rnnrt
from rnnrt import ragged
from rnnrt.errors import InputError

# One layer, every attribute


@settings(deadline=None, max_examples=60)
@given(
    op=st.sampled_from(["LSTM", "GRU", "RNN"]),
    direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
    layout=st.sampled_from([0, 1]),
    states=st.booleans(),
    lengths=st.lists(st.integers(0, 9), max_size=7),
    units=st.sampled_from([1, 5, 17]),
    seed=st.integers(0, 99),
)
def test_each_sequence_gets_the_bits_it_gets_alone(op, direction, layout, states, lengths, units, seed):
    directions = 2 if direction == "bidirectional" else 1
    rng = np.random.default_rng(seed)
    every = arrays(op, rng, 1, 1, 3, units, directions, 1.0)
    cell = states and op == "LSTM"
    row = "N, D, H" if layout else "D, N, H"
    row = row.replace("D", str(directions)).replace("H", str(units))
    inputs = [f"float[{'N, T' if layout else 'T, N'}, 3] x", *[f"float[{row}] h"] * states, *[f"float[{row}] c"] * cell]
    outputs = ["y", "y_h", *["y_c"] * (op == "LSTM")]
    declared = ["float[A, B, C, E] y", "float[A, B, C] y_h", *["float[A, B, C] y_c"] * (op == "LSTM")]
    tail = f", , {'h' if states else ''}{', c' if cell else ''}"
    text = f"""({", ".join(inputs)}) => ({", ".join(declared)}) {{
        {", ".join(outputs)} =
        {op} <hidden_size: int = {units}, layout: int = {layout}, direction: string = "{direction}">
        (x, W, R, B{tail}) }}"""
    model = rnnrt.load(parsed(text, **{name: every[name].astype(F) for name in "WRB"}))
    assert batches(model)
    given = []
    for n in lengths:
        feed = {"x": rng.standard_normal((1, n, 3) if layout else (n, 1, 3)).astype(F)}
        for name in "hc"[: states + cell]:
            feed[name] = rng.standard_normal((1, directions, units) if layout else (directions, 1, units)).astype(F)
        given.append(feed)
    check(model, given)


# Whole models

STACKED = """(float[N, T, 3] x) => (float[N, T, 4] y) {
    turned = Transpose <perm = [1, 0, 2]> (x)
    one = GRU <hidden_size: int = 5> (turned, W, R, B)
    axes = Constant <value = int64[1] {1}> ()
    flat = Squeeze (one, axes)
    two = GRU <hidden_size: int = 5, linear_before_reset: int = 1> (flat, W2, R2, B2)
    flat2 = Squeeze (two, axes)
    back = Transpose <perm = [1, 0, 2]> (flat2)
    z = MatMul (back, V)
    s = Add (z, b)
    y = Softmax <axis: int = -1> (s)
}"""
BOTH_WAYS = """(float[T, N, 3] x) => (float[T, N, 4] y, float[2, N, 5] h) {
    norm = LayerNormalization (x, scale)
    wide, h = LSTM <hidden_size: int = 5, direction: string = "bidirectional"> (norm, W, R, B)
    turned = Transpose <perm = [0, 2, 1, 3]> (wide)
    shape = Constant <value = int64[3] {0, 0, -1}> ()
    flat = Reshape (turned, shape)
    to = Constant <value = int64[2] {-1, 10}> ()
    rows = Reshape (flat, to)
    z = Gemm (rows, V2, b)
    size = Shape (x)
    two = Constant <value = int64[1] {2}> ()
    zero = Constant <value = int64[1] {0}> ()
    lead = Slice (size, zero, two)
    four = Constant <value = int64[1] {4}> ()
    target = Concat <axis: int = 0> (lead, four)
    y = Reshape (z, target)
}"""
WORDS = """(int64[N, T] words, float[1, N, 5] h) => (float[N, 4] y, float[N, 5] first) {
    x = Gather (table, words)
    turned = Transpose <perm = [1, 0, 2]> (x)
    all, state = LSTM <hidden_size: int = 5> (turned, W, R, B, , h)
    axes = Constant <value = int64[1] {1}> ()
    flat = Squeeze (all, axes)
    back = Transpose <perm = [1, 0, 2]> (flat)
    active = Relu (back)
    end = Gather <axis: int = 1> (active, last)
    first = Gather <axis: int = 1> (active, first_index)
    z = MatMul (end, V)
    y = Add (z, b)
}"""
ENDS = """(float[T, N, 3] x) => (float[1, N, 10] y) {
    wide = LSTM <hidden_size: int = 5, direction: string = "bidirectional"> (x, W, R, B)
    turned = Transpose <perm = [0, 2, 1, 3]> (wide)
    shape = Constant <value = int64[3] {0, 0, -1}> ()
    flat = Reshape (turned, shape)
    from = Constant <value = int64[1] {-1}> ()
    to = Constant <value = int64[1] {9223372036854775807}> ()
    axes = Constant <value = int64[1] {0}> ()
    y = Slice (flat, from, to, axes)
}"""
ZEROS = """(float[N, T, 3] x, float[4] gain) => (float[N, T, 4] y) {
    size = Shape <start: int = 0, end: int = 1> (x)
    one = Constant <value = int64[1] {1}> ()
    five = Constant <value = int64[1] {5}> ()
    shape = Concat <axis: int = 0> (one, size, five)
    half = ConstantOfShape <value = float[1] {0.5}> (shape)
    turned = Transpose <perm = [1, 0, 2]> (x)
    all = GRU <hidden_size: int = 5> (turned, W, R, B, , half)
    axes = Constant <value = int64[1] {1}> ()
    flat = Squeeze (all, axes)
    back = Transpose <perm = [1, 0, 2]> (flat)
    z = MatMul (back, V)
    y = Mul (z, gain)
}"""
ONE_ROW = """(float[1, T, 3] x) => (float[1, T, 5] y) {
    turned = Transpose <perm = [1, 0, 2]> (x)
    all = GRU <hidden_size: int = 5> (turned, W, R, B)
    axes = Constant <value = int64[1] {1}> ()
    flat = Squeeze (all, axes)
    y = Transpose <perm = [1, 0, 2]> (flat)
}"""


def stacked():
    more = {f"{name}2": array for name, array in layer("GRU", 5, seed=1).items()}
    return rnnrt.load(parsed(STACKED, **layer("GRU"), **more, **HEAD))


def both_ways():
    wide = np.concatenate([HEAD["V"], HEAD["V"][::-1]])
    return rnnrt.load(parsed(BOTH_WAYS, **layer(directions=2), V2=wide, b=HEAD["b"], scale=np.ones(3, F)))


def words():
    table = RNG.standard_normal((11, 3)).astype(F)
    ends = {"last": LAST["last"], "first_index": LAST["first"]}
    return rnnrt.load(parsed(WORDS, **layer(), **HEAD, **ends, table=table))


def test_stacked_layers_under_a_softmax_batch_first():
    model = stacked()
    assert batches(model)
    check(model, [x.transpose(1, 0, 2) for x in sequences((4, 1, 9, 4, 6))], exact=False)


def test_two_directions_under_a_projection_of_flattened_steps():
    model = both_ways()
    assert batches(model)
    check(model, sequences((4, 1, 9, 4, 6)), exact=False)


def test_words_with_the_last_and_the_first_step_and_a_state():
    model = words()
    assert batches(model)
    rng = np.random.default_rng(0)
    given = [
        {"words": rng.integers(0, 11, (1, n)), "h": rng.standard_normal((1, 1, 5)).astype(F)} for n in (3, 8, 1, 5)
    ]
    check(model, given, exact=False)
    assert not np.array_equal(*(model.run_ragged(given)[k]["y"] for k in (0, 1)))


def test_the_last_step_of_a_slice_and_of_two_directions():
    model = rnnrt.load(parsed(ENDS, **layer(directions=2)))
    assert batches(model)
    check(model, sequences((4, 1, 9, 4, 6)))


def test_a_state_made_from_the_batch_size_and_an_input_that_all_share():
    model = rnnrt.load(parsed(ZEROS, **layer("GRU"), V=HEAD["V"]))
    assert batches(model)
    gains = [np.full(4, k, F) for k in (1, 1, 2, 1)]
    given = [{"x": x.transpose(1, 0, 2), "gain": g} for x, g in zip(sequences((4, 7, 2, 3)), gains, strict=True)]
    check(model, given, exact=False)


def test_an_output_of_flattened_steps():
    model = rnnrt.load(parsed(FLAT, **layer("RNN")))
    assert batches(model)
    check(model, sequences((4, 1, 9)))


def test_a_batch_fixed_to_one_row():
    model = rnnrt.load(parsed(ONE_ROW, **layer("GRU")))
    assert batches(model)
    check(model, [x.transpose(1, 0, 2) for x in sequences((4, 1, 9))])


LENGTHS = """(float[T, N, 3] x, int32[N] n) => (float[T, 1, N, 5] y, float[1, N, 5] h) {
    y, h = GRU <hidden_size: int = 5> (x, W, R, B, n) }"""


def test_lengths_that_the_model_takes_are_kept_or_filled_in():
    model = rnnrt.load(parsed(LENGTHS, **layer("GRU")))
    assert batches(model)
    xs = sequences((4, 6, 2))
    given = [{"x": x, "n": np.array([n], np.int32)} for x, n in zip(xs, (4, 3, 0), strict=True)]
    check(model, given)
    full = model.run_ragged(xs)
    for x, (y, h) in zip(xs, full, strict=True):
        assert same(model.run({"x": x, "n": np.array([len(x)], np.int32)}), {"y": y, "h": h})
    with pytest.raises(InputError, match=r"sequence 1.*lengths in 0\.\.6"):
        model.run_ragged([given[0], {"x": xs[1], "n": np.array([7], np.int32)}])


# What is no proof


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ("z = Softmax <axis: int = 0> (x)", "Softmax"),
        ("m = ReduceMean <keepdims: int = 1> (x, zero)  z = Sub (x, m)", "ReduceMean"),
        ("z = CumSum (x, one)", "CumSum"),
        ("z = Slice (x, minus, low, zero, minus)", "views"),
        (
            "a = Transpose <perm = [1, 2, 0]> (x)  c = Conv <pads = [1, 1]> (a, kernel)"
            "z = Transpose <perm = [2, 0, 1]> (c)",
            "Conv",
        ),
        (
            "a = Transpose <perm = [1, 0, 2]> (x)  k = Transpose <perm = [1, 2, 0]> (x)  s = MatMul (a, k)"
            "p = Softmax <axis: int = -1> (s)  m = MatMul (p, a)  z = Transpose <perm = [1, 0, 2]> (m)",
            "mixes",
        ),
        ("s = Shape <start: int = 0, end: int = 1> (x)  f = Cast <to: int = 1> (s)  z = Div (x, f)", "a size"),
        ("s = Size (x)  f = Cast <to: int = 1> (s)  z = Div (x, f)", "a size"),
        ("z = Add (x, three)", "Add"),
    ],
)
def test_what_mixes_steps_or_rows_runs_one_by_one(nodes, why):
    nodes += " y = GRU <hidden_size: int = 5> (z, W, R, B)"
    ints = {name: np.array([k], np.int64) for name, k in (("zero", 0), ("one", 0), ("minus", -1), ("low", -(2**60)))}
    floats = {"kernel": RNG.standard_normal((3, 3, 3)).astype(F), "three": RNG.standard_normal((3, 1, 1)).astype(F)}
    used = nodes.replace(",", " ").replace(")", " ").split()
    more = {name: array for name, array in (floats | ints).items() if name in used}
    text = f"(float[T, N, 3] x) => (float[T, 1, N, 5] y) {{ {nodes} }}"
    model = rnnrt.load(parsed(text, **layer("GRU"), **more))
    assert not batches(model)
    line = next(line for line in model.describe().splitlines() if line.startswith("unequal lengths"))
    assert why in line
    check(model, sequences((3, 3) if "three" in used else (3, 5, 1, 4)))


def test_time_that_is_another_nodes_batch_and_one_state_for_all_rows_run_one_by_one():
    swapped = """(float[T, N, 3] x) => (float[T, 1, N, 5] y) {
        t = Transpose <perm = [1, 0, 2]> (x)
        a = GRU <hidden_size: int = 5> (x, W, R, B)
        b = GRU <hidden_size: int = 5> (t, W, R, B)
        c = Transpose <perm = [2, 1, 0, 3]> (b)
        y = Add (a, c) }"""
    model = rnnrt.load(parsed(swapped, **layer("GRU")))
    assert "do not all go over the same steps" in model.describe()
    check(model, sequences((3, 5, 1)))
    state = """(float[T, N, 3] x) => (float[T, 1, N, 5] y) {
        y = GRU <hidden_size: int = 5> (x, W, R, B, , state) }"""
    model = rnnrt.load(parsed(state, **layer("GRU"), state=np.full((1, 1, 5), 0.5, F)))
    assert not batches(model)
    check(model, sequences((3, 5, 1)))


def test_a_fixed_number_of_steps_and_a_model_without_layers_run_one_by_one():
    text = "(float[6, N, 3] x) => (float[6, 1, N, 5] y) { y = GRU <hidden_size: int = 5> (x, W, R, B) }"
    fixed = rnnrt.load(parsed(text, **layer("GRU")))
    assert not batches(fixed)
    check(fixed, sequences((6, 6)))
    plain = rnnrt.load(parsed("(float[T, N, 3] x) => (float[T, N, 3] y) { y = Relu (x) }"))
    assert not batches(plain)
    check(plain, sequences((6, 2)))


EXPORTS = sorted(p for p in (Path(__file__).parent / "exports").rglob("*.onnx") if not p.stem.endswith("_fixed"))


def test_exports_answer_as_they_do_alone(monkeypatch):
    """All exports of the test data of which it is proven that they can; and none of them is refused as a batch."""
    refused = []

    def run_batch(*args):
        result = as_a_batch(*args)
        if result is None:
            refused.append(path.name)
        return result

    as_a_batch = ragged._run_batch
    monkeypatch.setattr(ragged, "_run_batch", run_batch)
    rng = np.random.default_rng(0)
    proven = 0
    for path in EXPORTS:
        try:
            model = rnnrt.load(path)
        except rnnrt.ModelError:
            continue  # some exporters' mistakes are kept as well
        proof = model._ragged_plan().proof
        if proof is None:
            continue
        proven += 1
        given = []
        for steps in (4, 1, 7, 4):
            sizes = {proof.time: steps, proof.batch: 1}
            feed = {}
            for value, axes in zip(model.inputs, proof.inputs, strict=True):
                shape = [math.prod(sizes.get(d, d) for d in axis) for axis in axes]
                feed[value.name] = (rng.standard_normal(shape) * 2).astype(value.dtype)
            given.append(feed)
        check(model, given, exact=False)
    assert proven > 60
    assert refused == []
