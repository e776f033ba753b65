"""Random operators: distributions, seeds, and that nothing is known of their answers before a run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ops_util import run_op
from text_models import parsed

import rnnrt
from rnnrt.errors import InputError

N = 200_000


@pytest.mark.parametrize(
    ("op", "attrs", "mean", "deviation"),
    [
        ("RandomNormal", {"mean": 2.0, "scale": 0.5}, 2, 0.5),
        ("RandomNormal", {}, 0, 1),
        ("RandomUniform", {"low": -1.0, "high": 3.0}, 1, 4 / 12**0.5),
        ("RandomUniform", {}, 0.5, 1 / 12**0.5),
    ],
)
@pytest.mark.parametrize("dtype", [None, np.float16, np.float64])
def test_moments(op, attrs, mean, deviation, dtype):
    code = {None: {}, np.float16: {"dtype": 10}, np.float64: {"dtype": 11}}[dtype]
    y = run_op(op, shape=[4, N // 4], seed=1.0, **attrs, **code)
    assert (y.shape, y.dtype) == ((4, N // 4), dtype or np.float32)
    wide = y.astype(np.float64)
    assert abs(wide.mean() - mean) < 5 * deviation / N**0.5
    assert abs(wide.std() - deviation) < 5 * deviation / N**0.5
    if op == "RandomUniform":
        assert attrs.get("low", 0) <= wide.min()
        assert wide.max() <= attrs.get("high", 1)
    like = run_op(f"{op}Like", np.zeros((4, N // 4), np.float32), seed=1.0, **attrs, **code)
    assert like.dtype == y.dtype
    assert np.array_equal(like, y)


def test_likes_take_the_dtype_of_their_input():
    assert run_op("RandomNormalLike", np.zeros((2, 3))).dtype == np.float64


def test_bernoulli():
    p = np.tile(np.array([0, 0.25, 1], np.float32), (N, 1))
    y = run_op("Bernoulli", p, seed=3.0)
    assert y.dtype == np.float32
    assert set(np.unique(y)) == {0, 1}
    assert np.abs(y.mean(0) - p[0]).max() < 5 * 0.5 / N**0.5
    assert run_op("Bernoulli", p, dtype=9).dtype == np.bool_


def test_multinomial():
    p = np.array([[0.1, 0, 0.6, 0.3], [0, 0, 0, 1]])
    with np.errstate(divide="ignore"):
        logits = (np.log(p) + np.array([[3], [-50]])).astype(np.float32)
    y = run_op("Multinomial", logits, sample_size=N, seed=2.0)
    assert (y.shape, y.dtype) == ((2, N), np.int32)
    for row, want in zip(y, p, strict=True):
        assert np.abs(np.bincount(row, minlength=4) / N - want).max() < 5 * 0.5 / N**0.5
        assert not np.any(want[row] == 0)
    assert run_op("Multinomial", logits, dtype=7).shape == (2, 1)
    with pytest.raises(InputError, match="classes"):
        run_op("Multinomial", logits[0])


POLICY = """(float[N, 4] x, float[1, N, 5] h) => (float[N, 4] a, int32[N, 1] k, float[N, 4] b) {
    e = RandomNormalLike (x)  a = Add(x, e)  l = LogSoftmax(x)  k = Multinomial (l)
    f = RandomNormalLike (x)  b = Add(x, f)
}"""


def test_every_run_draws_anew():
    model = rnnrt.load(parsed(POLICY))
    feeds = {"x": np.ones((50, 4), np.float32), "h": np.zeros((1, 50, 5), np.float32)}
    first, second = model.run(feeds), model.run(feeds)
    for name in ("a", "k", "b"):
        assert not np.array_equal(first[name], second[name]), name
    assert not np.array_equal(first["a"], first["b"]), "nodes that are alike draw for themselves"


def test_numbers_without_inputs_are_not_folded():
    model = rnnrt.load(parsed("(float[2] x) => (float[2] y) { r = RandomNormal <shape = [2]> ()  y = Add(x, r) }"))
    x = np.zeros(2, np.float32)
    assert not np.array_equal(model.run({"x": x})["y"], model.run({"x": x})["y"])


def test_a_seed_gives_the_same_sequence_in_every_session():
    text = "(float[3] x) => (float[3] y) { r = RandomUniform <shape = [3], seed: float = 7.5> ()  y = Add(x, r) }"
    one, other = rnnrt.load(parsed(text)), rnnrt.load(parsed(text))
    x = np.zeros(3, np.float32)
    drawn = [one.run({"x": x})["y"] for _ in range(4)]
    assert len({y.tobytes() for y in drawn}) == 4
    with ThreadPoolExecutor(1) as pool:
        assert [y.tobytes() for y in pool.map(lambda _: other.run({"x": x})["y"], range(4))] == [
            y.tobytes() for y in drawn
        ]


def test_loops_draw_in_every_iteration():
    model = rnnrt.load(
        parsed("""(float[2] x) => (float[2] y, float[K, 2] s) <int64 m = {5}> {
        y, s = Loop <body = b (int64 i, bool g, float[2] a) => (bool more, float[2] c, float[2] d) {
            more = Identity(g)  d = RandomNormalLike (a)  c = Add(a, d) }> (m, , x)
    }""")
    )
    s = model.run({"x": np.zeros(2, np.float32)})["s"]
    assert len(np.unique(s)) == 10
