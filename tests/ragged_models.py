"""What the tests of `Model.run_ragged` share: models, sequences, and the comparison with each sequence alone."""

from __future__ import annotations

import numpy as np
from text_models import lstm

import rnnrt

F = np.float32
RNG = np.random.default_rng(3)
HEAD = {"V": RNG.normal(0, 0.3, (5, 4)).astype(F), "b": RNG.normal(0, 1, 4).astype(F)}
LAST = {"last": np.array(-1, np.int64), "first": np.array(0, np.int64)}


def batches(model: rnnrt.Model) -> bool:
    return "unequal lengths: batches" in model.describe()


def sequences(lengths, features=3, seed=0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, 1, features)).astype(F) for n in lengths]


def check(model, given, exact=True):
    """Each answer is what the model says of the sequence alone, and memory of its own."""
    answers = model.run_ragged(given)
    assert len(answers) == len(given)
    for answer, sequence in zip(answers, given, strict=True):
        want = model.run(sequence) if isinstance(sequence, dict) else model(sequence)
        if not isinstance(want, dict):
            assert type(answer) is type(want)
            many = isinstance(want, tuple)
            answer, want = (dict(enumerate(a if many else [a])) for a in (answer, want))
        assert list(answer) == list(want)
        for name, array in want.items():
            assert (answer[name].shape, answer[name].dtype) == (array.shape, array.dtype)
            assert answer[name].flags.carray
            if exact:
                assert answer[name].tobytes() == array.tobytes(), name
            else:
                np.testing.assert_allclose(answer[name], array, rtol=1e-5, atol=1e-6)
    return answers


def layer(op="LSTM", inputs=3, directions=1, seed=0):
    return lstm(inputs=inputs, directions=directions, seed=seed, gates={"LSTM": 4, "GRU": 3, "RNN": 1}[op])


FLAT = """(float[T, N, 3] x) => (float[M, 5] y) {
    all = RNN <hidden_size: int = 5> (x, W, R, B)
    to = Constant <value = int64[2] {-1, 5}> ()
    y = Reshape (all, to)
}"""
