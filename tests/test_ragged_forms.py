"""`Model.run_ragged`: the forms in which sequences may come, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
from ragged_models import FLAT, F, batches, check, layer, sequences
from text_models import STREAMING, lstm, parsed, same

import rnnrt
from rnnrt.errors import InputError
from rnnrt.ragged import MOST_ROWS


def test_arrays_without_a_batch_axis_give_answers_without_it():
    model = rnnrt.load(parsed(STREAMING, **lstm()))
    rng = np.random.default_rng(0)
    given = []
    for n in (4, 9, 0, 1):
        h, c = rng.standard_normal((2, 1, 5)).astype(F)
        given.append({"x": rng.standard_normal((n, 3)).astype(F), "h_in": h, "c_in": c})
    for answer, feed in zip(model.run_ragged(given), given, strict=True):
        want = model.run({"x": feed["x"][:, None], "h_in": feed["h_in"][:, None], "c_in": feed["c_in"][:, None]})
        assert same(answer, {"y": want["y"][:, :, 0], "h_out": want["h_out"][:, 0], "c_out": want["c_out"][:, 0]})


def test_sequences_that_are_batches_themselves_and_many_of_them():
    model = rnnrt.load(parsed(FLAT, **layer("RNN")))
    rng = np.random.default_rng(0)
    check(model, [rng.standard_normal((int(n), int(b), 3)).astype(F) for n, b in rng.integers(0, 5, (30, 2))])
    many = sequences(rng.integers(1, 6, 2 * MOST_ROWS + 3))
    check(model, many)


def test_none_one_and_arrays_that_are_not_contiguous():
    model = rnnrt.load(parsed(FLAT, **layer("RNN")))
    assert model.run_ragged([]) == []
    check(model, sequences((5,)))
    check(model, [np.asfortranarray(x)[::-1] for x in sequences((5, 3))])
    assert [len(y) for y in model.run_ragged(tuple(sequences((5, 3))))] == [5, 3]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((2, 1, 3), F), "expected a list"),
        ({"x": np.zeros((2, 1, 3), F)}, "expected a list"),
        ([np.zeros((2, 1, 3), F), np.zeros((2, 1, 4), F)], "sequence 1: input 'x'"),
        ([np.zeros((2, 1, 3))], "sequence 0: input 'x': expected float32"),
        ([np.zeros((2, 1, 3), F), {"z": np.zeros((2, 1, 3), F)}], "sequence 1: .*no input is called z"),
        ([{}], "sequence 0: .*missing x"),
        ([[[0.0, 0.0, 0.0]]], "sequence 0: input 'x': expected a NumPy array"),
        ([np.zeros(3, F)], "sequence 0: input 'x'"),
    ],
)
def test_what_does_not_fit_is_named(given, words):
    model = rnnrt.load(parsed(FLAT, **layer("RNN")))
    with pytest.raises(InputError, match=words):
        model.run_ragged(given)


def test_several_inputs_need_dicts_and_one_form():
    model = rnnrt.load(parsed(STREAMING, **lstm()))
    with pytest.raises(InputError, match="sequence 0: expected a dict"):
        model.run_ragged([np.zeros((2, 1, 3), F)])
    half = {"x": np.zeros((2, 3), F), "h_in": np.zeros((1, 1, 5), F), "c_in": np.zeros((1, 1, 5), F)}
    with pytest.raises(InputError, match="got x without it"):
        model.run_ragged([half])


def test_a_model_still_answers_alone_what_a_batch_cannot_be():
    """Two inputs of one length in the file, of two in a sequence: right alone, and no batch."""
    text = """(float[T, N, 3] x, float[T, N, 3] z) => (float[T, 1, N, 5] y) {
        s = Add (x, z)  y = GRU <hidden_size: int = 5> (s, W, R, B) }"""
    model = rnnrt.load(parsed(text, **layer("GRU")))
    assert batches(model)
    long, short = sequences((5, 1))
    check(model, [{"x": long, "z": short}, {"x": long, "z": long}, {"x": short, "z": short}])
