"""Norms that are written out get their names where an operator means just the same."""

from __future__ import annotations

import numpy as np
import pytest
from cell_graphs import Written
from test_cells import same


def norm(b: Written, x: str, axes: list[int], second: list[int] | None = None, epsilon: float = 1e-5) -> str:
    mean = b.node("ReduceMean", x, b.ints(*axes), keepdims=1)
    d = b.node("Sub", x, mean)
    square = b.node("Mul", d, d) if b.flip() else b.node("Pow", d, b.constant(np.float32(2)))
    variance = b.node("ReduceMean", square, b.ints(*(second or axes)), keepdims=1)
    root = b.node("Sqrt", b.either("Add", variance, b.constant(np.float32(epsilon))))
    return b.node("Div", d, root) if b.flip() else b.either("Mul", d, b.node("Reciprocal", root))


CASES = [
    ((3, 5), [-1], (5,), "LayerNormalization"),
    ((2, 3, 5), [1, 2], (3, 1), "LayerNormalization"),
    ((2, 3, 5), [-1, -2], (5,), "LayerNormalization"),
    ((2, 4, 1, 7), [1, 3], (1, 1, 7), "LayerNormalization"),
    ((2, 4, 1, 7), [3, 1], (4, 1, 7), "LayerNormalization"),
    ((2, 4, 3, 7), [2, 3], (4, 1, 1), "InstanceNormalization"),
    ((2, 4, 7), [2], (1, 4, 1), "InstanceNormalization"),
    ((2, 4, 7), [2], (7,), "LayerNormalization"),
]


@pytest.mark.parametrize(("shape", "axes", "gain", "op"), CASES)
@pytest.mark.parametrize("seed", range(4))
def test_norms(shape: tuple, axes: list[int], gain: tuple, op: str, seed: int) -> None:
    b = Written(seed)
    y = norm(b, b.input("x", *(f"d{k}" if k == 0 else d for k, d in enumerate(shape))), axes)
    y = b.either("Mul", y, b.constant(b.weights(*gain)))
    b.output(b.either("Add", y, b.constant(b.weights(*gain))))
    assert same(b.graph, shape, tolerance=2e-5) == [op]


@pytest.mark.parametrize("follow", ["", "Mul", "Add"])
def test_without_gain_or_offset(follow: str) -> None:
    b = Written(1)
    y = norm(b, b.input("x", "B", 6), [-1], epsilon=1e-8)
    b.output(b.node(follow, y, b.constant(b.weights(6))) if follow else y)
    assert same(b.graph, (3, 6), tolerance=2e-5) == ["LayerNormalization"]


@pytest.mark.parametrize("what", ["gain of channels, offset of what is normalised", "gain of rows"])
def test_what_does_not_fit_follows(what: str) -> None:
    b = Written(1)
    y = norm(b, b.input("x", 2, 4, 7), [2])
    first, second = ((4, 1), (7,)) if "channels" in what else ((2, 1, 1), (7,))
    b.output(b.node("Add", b.node("Mul", y, b.constant(b.weights(*first))), b.constant(b.weights(*second))))
    left = same(b.graph, (2, 4, 7), tolerance=2e-5)
    assert left[0].endswith("Normalization")
    assert "Add" in left


@pytest.mark.parametrize("what", ["axes", "other", "double", "used", "unknown", "not last"])
def test_what_stays(what: str) -> None:
    b = Written(1, np.float64 if what == "double" else np.float32)
    x = b.input("x", "B", 3, "N" if what == "unknown" else 5)
    axes, second = {"axes": ([1, 2], [2]), "not last": ([1], None)}.get(what, ([2], None))
    y = norm(b, x, axes, second)
    if what == "other":  # no mean
        b.graph.nodes[0].op = "ReduceMax"
    if what == "used":
        b.output(b.graph.nodes[1].outputs[0])
    b.output(y)
    assert "Sqrt" in same(b.graph, (2, 3, 5), tolerance=2e-5)
