"""Changes of shape in a row become one, whatever they are called."""

from __future__ import annotations

import pytest
from cell_graphs import Written
from test_cells import same


def chain(b: Written, x: str, steps: str) -> str:
    for step in steps.split():
        op, _, values = step.partition(":")
        numbers = [int(v) for v in values.split(",")]
        x = b.node(op, x, perm=numbers) if op == "Transpose" else b.node(op, x, b.ints(*numbers))
    return x


@pytest.mark.parametrize(
    ("shape", "steps", "left"),
    [
        ((2, 1, 3), "Transpose:1,0,2 Squeeze:0", ["Reshape"]),
        ((2, 1, 3), "Transpose:1,0,2", ["Reshape"]),
        ((2, 1, 3), "Squeeze:1 Unsqueeze:0 Transpose:1,0,2", []),
        ((2, 1, 3), "Transpose:2,1,0 Squeeze:1", ["Transpose", "Squeeze"]),
        ((4, 6), "Reshape:2,2,6 Unsqueeze:0 Reshape:4,-1", []),
        ((4, 6), "Reshape:4,2,3 Transpose:1,0,2 Reshape:2,12", ["Reshape", "Transpose", "Reshape"]),
        ((1, "T", 4), "Transpose:1,0,2 Squeeze:1 Unsqueeze:2", ["Reshape"]),
        (("B", "T", 4), "Unsqueeze:0 Squeeze:0 Unsqueeze:3 Reshape:0,0,2,2", ["Reshape"]),
        (("B", "T", 4), "Reshape:-1,4 Reshape:-1,2,2", ["Reshape", "Reshape"]),
    ],
)
def test_chains(shape: tuple, steps: str, left: list[str]) -> None:
    b = Written(0)
    b.output(b.node("Neg", chain(b, b.input("x", *shape), steps)))
    sizes = {"B": 3, "T": 5}
    assert same(b.graph, tuple(sizes.get(d, d) for d in shape)) == [*left, "Neg"]


def test_values_between_stay_for_others() -> None:
    b = Written(0)
    y = chain(b, b.input("x", 2, 1, 3), "Transpose:1,0,2")
    b.output(y)
    b.output(chain(b, y, "Squeeze:0 Reshape:3,2"))
    assert same(b.graph, (2, 1, 3)) == ["Reshape", "Reshape"]


def test_an_axis_that_may_not_be_one() -> None:
    """Squeeze has to refuse it still."""
    b = Written(0)
    x = b.input("x", "N", 3)
    b.output(chain(b, x, "Squeeze:0 Reshape:-1,1"))
    assert "Squeeze" in same(b.graph, (1, 3))
