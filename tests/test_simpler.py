"""Operators that become simpler ones, and those like them that do not."""

from __future__ import annotations

import numpy as np
import pytest
from cell_graphs import Written
from graph_eval import ops
from test_cells import same

from rnnrt.rewrite import rewrite


def grid(*ranges: range) -> np.ndarray:
    return np.stack(np.meshgrid(*ranges, indexing="ij"), -1).astype(np.int64)


@pytest.mark.parametrize(
    ("indices", "op"),
    [
        (grid(range(2), range(1, 3)), "Concat"),
        (grid(range(2), range(3)), "Concat"),
        (grid(range(2), range(2, 4)), "Concat"),
        (grid(range(2), range(4)), None),
        (grid(range(1, 2)), "Concat"),
        (grid(range(-1, 0)), "Concat"),
        (grid(range(1), range(1, 3)), "ScatterND"),
        (grid(range(2), range(1, 3))[::-1], "ScatterND"),
        (grid(range(2), range(0, 4, 2)), "ScatterND"),
    ],
)
def test_scatter(indices: np.ndarray, op: str | None) -> None:
    b = Written(0)
    data = b.input("data", 2, 4, 3)
    shape = (*indices.shape[:-1], *(2, 4, 3)[indices.shape[-1] :])
    updates = b.input("updates", *shape)
    b.output(b.node("Neg", b.node("ScatterND", data, b.constant(indices), updates)))
    left = same(b.graph, (2, 4, 3), shape)
    assert (op or "Neg") in left
    assert ("ScatterND" in left) == (op == "ScatterND")


def test_scatter_that_adds_stays() -> None:
    b = Written(0)
    data, updates = b.input("data", 2, 4), b.input("updates", 1, 4)
    b.output(b.node("ScatterND", data, b.constant(grid(range(1))), updates, reduction="add"))
    assert same(b.graph, (2, 4), (1, 4)) == ["ScatterND"]


@pytest.mark.parametrize(
    ("index", "axis", "left"),
    [
        ([1, 2], 1, "Slice"), ([-3, -2], 1, "Slice"), ([3, 2, 1], 1, "Slice"), ([2, 1, 0], -1, "Slice"),
        ([0, 2], 1, "Slice"), ([0, 1, 3], 1, "Gather"), ([1, 1], 1, "Gather"), ([[0]], 0, "Unsqueeze"),
        ([[0]], 1, "Gather"), ([[0, 1]], 1, "Gather"),
    ],
)  # fmt: skip
def test_gather(index: list, axis: int, left: str) -> None:
    b = Written(0)
    x = b.input("x", 1, 4, 3)
    b.output(b.node("Neg", b.node("Gather", x, b.constant(np.array(index, np.int64)), axis=axis)))
    assert left in same(b.graph, (1, 4, 3))


def test_pad_and_pow() -> None:
    b = Written(0)
    x = b.input("x", 2, 3)
    y = b.node("Pad", x, b.ints(0, 0, 0, 0))
    b.output(b.node("Pow", y, b.constant(np.float32(2))))
    b.output(b.node("Pow", b.node("Abs", y), b.constant(np.float32(1.5))))
    assert sorted(same(b.graph, (2, 3))) == ["Abs", "Mul", "Pow"]


SIZES = {"b": 2, "t": 3, "g": 4, "i": 5, "h": 6, "j": 2, "d": 3}


@pytest.mark.parametrize(
    ("equation", "simpler"),
    [
        ("btgi,gih->btgh", True), ("bhid,bhjd->bhij", True), ("b h i j, b h j d -> b h i d", True), ("bi,ij->bj", True),
        ("bi,ij->jb", True), ("ti,gi->tg", True), ("bti,bi->bt", False), ("bi,bi->b", False), ("bti,i->bt", False),
        ("bi,jd->bijd", False), ("bti,bij->bj", False), ("bij,bijh->bh", False),
    ],
)  # fmt: skip
def test_einsum(equation: str, simpler: bool) -> None:
    b = Written(0)
    terms = equation.split("->")[0].replace(" ", "").split(",")
    shapes = [tuple(SIZES[label] for label in term) for term in terms]
    names = [b.input(name, *shape) for name, shape in zip("xy", shapes, strict=True)]
    b.output(b.node("Einsum", *names, equation=equation))
    left = same(b.graph, *shapes, tolerance=1e-5)
    assert ("Einsum" not in left) == simpler


def test_einsum_over_unknown_sizes() -> None:
    """The unknown size is of one operand alone, or nobody could tell that it is not broadcast."""
    b = Written(0)
    x, y = b.input("x", "B", "T", 4, 5), b.constant(b.weights(4, 5, 6))
    b.output(b.node("Einsum", x, y, equation="btgi,gih->btgh"))
    assert "MatMul" in same(b.graph, (2, 3, 4, 5), tolerance=1e-5)
    b = Written(0)
    x, y = b.input("x", "B", 5), b.input("y", "N", 5, 6)
    b.output(b.node("Einsum", x, y, equation="bi,bih->bh"))
    assert "Einsum" in same(b.graph, (1, 5), (4, 5, 6), tolerance=1e-5)


@pytest.mark.parametrize(
    ("start", "end", "left"),
    [(0, 2, []), (2, 5, []), (3, 5, ["Slice"]), (1, 4, ["Concat", "Slice", "Slice"]), (5, 9, ["Slice"])],
)
def test_slice_of_what_was_scattered(start: int, end: int, left: list[str]) -> None:
    b = Written(0)
    x, y, z = b.input("x", 2, 9, 3), b.input("y", 2, 2, 3), b.input("z", 2, 3, 3)
    filled = b.node("ScatterND", x, b.constant(grid(range(2), range(2))), y)
    filled = b.node("ScatterND", filled, b.constant(grid(range(2), range(2, 5))), z)
    b.output(b.node("Neg", b.node("Slice", filled, b.ints(start), b.ints(end), b.ints(1))))
    assert sorted(op for op in same(b.graph, (2, 9, 3), (2, 2, 3), (2, 3, 3)) if op != "Neg") == left


def test_slice_of_a_cache_and_what_is_new_stays() -> None:
    """Or the cache would not be seen to be one."""
    b = Written(0)
    cache, x = b.input("cache", "B", 2, 3), b.input("x", "B", 4, 3)
    joined = b.node("Concat", cache, x, axis=1)
    b.output(b.node("Slice", joined, b.ints(-2), b.ints(9), b.ints(1)))
    assert same(b.graph, (2, 2, 3), (2, 4, 3)) == ["Concat", "Slice"]


def test_slice_of_slice_and_concat_of_concat() -> None:
    b = Written(0)
    x, y = b.input("x", "B", 9), b.input("y", "B", 2)
    z = b.node("Slice", b.node("Slice", x, b.ints(2), b.ints(8), b.ints(1)), b.ints(1), b.ints(-1), b.ints(-1))
    b.output(b.node("Concat", b.node("Concat", y, z, axis=1), y, axis=-1))
    assert same(b.graph, (2, 9), (2, 2)) == ["Slice", "Concat"]


def test_a_cache_filled_bit_by_bit() -> None:
    """Each step writes its part and reads the next: what is read comes from outside, and the whole is one Concat."""
    b = Written(0)
    cache = b.input("cache", 2, 6, 3)
    news, now = [], cache
    for start in (0, 2, 4):
        old = b.node("Slice", now, b.ints(start), b.ints(start + 2), b.ints(1))
        news.append(b.node("Neg", old))
        now = b.node("ScatterND", now, b.constant(grid(range(2), range(start, start + 2))), news[-1])
    b.output(now)
    assert sorted(same(b.graph, (2, 6, 3))) == ["Concat", *["Neg"] * 3, *["Slice"] * 3]


def test_a_concat_of_scalars_is_refused() -> None:
    b = Written(0)
    b.output(b.node("Neg", b.node("Concat", b.input("x"), b.input("y"), axis=0)))
    rewrite(b.graph)
    assert ops(b.graph) == ["Concat", "Neg"]
