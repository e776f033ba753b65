"""Streams over models that leave the shapes of their states open."""

from __future__ import annotations

import numpy as np
import pytest
from text_models import STREAMING, frames, lstm, parsed

import rnnrt
from rnnrt.errors import InputError

F = np.float32


@pytest.fixture(scope="module")
def model() -> rnnrt.Model:
    return rnnrt.load(parsed(STREAMING, **lstm()))


def summing(shape: str = "N") -> rnnrt.Model:
    """total = x + before: a model whose state is only a state because it is said to be."""
    return rnnrt.load(
        parsed(
            f"(float[N] x, float[{shape}] before) => (float[N] y, float[N] total) "
            "{ total = Add(x, before)  y = Neg(total) }"
        ),
        states={"before": "total"},
    )


def test_named_sizes_are_found_from_the_feeds(model):
    stream = model.stream()
    stream.step({"x": frames(3, 4)})
    assert stream.state["h_in"].shape == (1, 4, 5)


@pytest.mark.parametrize("batch", [1, 2, 3, 6])
def test_unnamed_sizes_are_found_by_trying(batch):
    model = parsed(STREAMING, **lstm())
    for value in model.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_param"):
                dim.ClearField("dim_param")
    stream = rnnrt.load(model).stream()
    x = frames(3, batch)
    assert stream.state == {}
    assert stream.step({"x": x})["y"].shape == (3, 1, batch, 5)
    assert stream.state["h_in"].shape == (1, batch, 5)


@pytest.mark.parametrize("rank", [True, False])
def test_shapes_that_only_the_graph_tells_are_found(rank):
    """States declared without any size, or without a shape: the layer's weights and the feeds say what they are."""
    model = parsed(STREAMING, **lstm())
    for value in (*list(model.graph.input)[1:], *model.graph.output):
        if rank:
            for dim in value.type.tensor_type.shape.dim:
                dim.Clear()
        else:
            value.type.tensor_type.ClearField("shape")
    stream = rnnrt.load(model, states={"h_in": "h_out", "c_in": "c_out"}).stream()
    assert stream.step({"x": frames(3, 4)})["y"].shape == (3, 1, 4, 5)
    assert stream.state["c_in"].shape == (1, 4, 5)


def test_a_wrong_feed_of_a_first_step_is_what_the_error_is_about(model):
    for x, words in (
        (frames(2).astype(np.float64), "input 'x': expected float32"),
        (frames(2)[0], r"expected \(T, N, 3\)"),
    ):
        with pytest.raises(InputError, match=words):
            model.stream().step({"x": x})


def test_states_whose_shape_cannot_be_found_ask_for_it():
    stream = summing("M").stream()
    stream.step({"x": np.ones(3, F)})
    assert stream.state["before"].tolist() == [1, 1, 1]
    text = "(float[P, Q] x, float[A, B] h) => (float[C, D] y, float[C, D] z) { z = Add(x, h)  y = Neg(z) }"
    stream = rnnrt.load(parsed(text), states={"h": "z"}).stream()
    with pytest.raises(InputError, match=r"set stream\.state .*first: Add 'z'"):
        stream.step({"x": np.ones((2, 3), F)})
    stream.state = {"h": np.ones((2, 3), F)}
    assert stream.step({"x": np.ones((2, 3), F)})["y"][0, 0] == -2


def test_guesses_are_bounded():
    sizes = ", ".join("ABCDE")
    text = f"(float[K] x, float[{sizes}] h) => (float[K] y, float[{sizes}] z) {{ z = Neg(h)  y = Neg(x) }}"
    stream = rnnrt.load(parsed(text), states={"h": "z"}).stream()
    assert stream.step({"x": np.zeros(100_000, F)})["y"].shape == (100_000,)
    assert stream.state["h"].shape == (1, 1, 1, 1, 1)
