"""Which bound shapes a model keeps: those used last, as many as memory allows."""

from __future__ import annotations

import numpy as np
from text_models import parsed

import rnnrt
from rnnrt._core import program

F = np.float32


def test_a_seen_shape_is_not_bound_again_and_the_number_kept_is_bounded():
    model = rnnrt.load(parsed("(float[N] x) => (float[N] y) { y = Tanh(x) }"))
    for n in range(1, 3 * program.MOST_ROOTS):
        assert model.run({"x": np.ones(n, F)})["y"].shape == (n,)
    kept = dict(model._plan.program.roots)
    assert len(kept) == program.MOST_ROOTS
    for signature in kept:
        model.run({"x": np.ones(signature[0][1], F)})
    assert all(model._plan.program.roots[key] is root for key, root in kept.items())


def test_shapes_that_were_used_last_are_kept(monkeypatch):
    monkeypatch.setattr(program, "MOST_ROOTS", 4)
    model = rnnrt.load(parsed("(float[N] x) => (float[N] y) { y = Tanh(x) }"))
    for n in (1, 2, 3, 4, 1, 5, 2, 6):
        model.run({"x": np.ones(n, F)})
    assert [signature[0][1] for signature in model._plan.program.roots] == [(1,), (5,), (2,), (6,)]


def test_bound_shapes_that_take_much_memory_are_few(monkeypatch):
    """An arena of one is 40 kB: so many as fit are kept, and some in any case."""
    monkeypatch.setattr(program, "MOST_BYTES", 1 << 20)
    text = "(float[N, 100] x) => (float[N, 100] y) { a = Softmax(x) y = Softmax <axis=0> (a) }"
    model = rnnrt.load(parsed(text))
    for n in range(100, 160):
        model.run({"x": np.ones((n, 100), F)})
    roots = model._plan.program.roots
    assert program.FEW_ROOTS <= len(roots) < 30
    assert sum(root.n_bytes for root in roots.values()) <= program.MOST_BYTES
    assert [signature[0][1][0] for signature in roots] == list(range(160 - len(roots), 160))
    model.run({"x": np.ones((10000, 100), F)})
    assert len(roots) == program.FEW_ROOTS
