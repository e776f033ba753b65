"""Scales, shifts and paddings by constants go into the products next to them, where that is exact."""

from __future__ import annotations

import numpy as np
import pytest
from cell_graphs import Written
from test_cells import same

PRODUCTS = ("Conv", "Conv1", "grouped", "ConvTranspose", "groupedTranspose", "Gemm", "turnedGemm", "MatMul")


def product(b: Written, kind: str, bias: bool) -> tuple[str, tuple[int, ...], int, int]:
    """A product with 6 channels of an input: the result, the input's shape, the channels' axis, the rank."""
    shape = {"Conv1": (2, 4, 9), "Gemm": (3, 4), "turnedGemm": (3, 4), "MatMul": (3, 4)}.get(kind, (2, 4, 5, 7))
    x = b.input("x", *shape)
    weights = {
        "Conv": (6, 4, 3, 2), "Conv1": (6, 4, 3), "grouped": (6, 2, 3, 2), "ConvTranspose": (4, 6, 3, 2),
        "groupedTranspose": (4, 3, 3, 2), "turnedGemm": (6, 4),
    }.get(kind, (4, 6))  # fmt: skip
    inputs = [x, b.constant(b.weights(*weights))]
    if bias and kind != "MatMul":
        inputs.append(b.constant(b.weights(6)))
    attrs = {"group": 2} if kind.startswith("grouped") else {"transB": 1} if kind == "turnedGemm" else {}
    op = (
        "ConvTranspose"
        if "Transpose" in kind
        else "Gemm"
        if "Gemm" in kind
        else "MatMul"
        if kind == "MatMul"
        else "Conv"
    )
    return b.node(op, *inputs, **attrs), shape, 1, len(shape)


@pytest.mark.parametrize("kind", PRODUCTS)
@pytest.mark.parametrize("bias", [False, True])
def test_normalisation(kind: str, bias: bool) -> None:
    b = Written(1)
    y, shape, _, _ = product(b, kind, bias)
    gain, offset, mean = (b.constant(b.weights(6)) for _ in range(3))
    b.output(b.node("BatchNormalization", y, gain, offset, mean, b.constant(np.abs(b.weights(6)) + 0.1), epsilon=1e-3))
    left = same(b.graph, shape, tolerance=1e-5)
    assert len(left) == 1
    assert left != ["BatchNormalization"]


@pytest.mark.parametrize("kind", PRODUCTS)
@pytest.mark.parametrize("chain", ["Mul", "Add", "Sub", "Div", "from", "Mul Add", "Add Mul Sub"])
def test_chains(kind: str, chain: str) -> None:
    b = Written(2)
    y, shape, axis, rank = product(b, kind, True)
    for op in chain.split():
        values = b.weights(*(6 if k == axis else 1 for k in range(axis if b.flip() else 0, rank))) + 2
        if op == "from":
            y = b.node("Sub", b.constant(values), y)
        else:
            y = b.node(op, y, b.constant(values)) if op in ("Sub", "Div") else b.either(op, y, b.constant(values))
    b.output(y)
    assert len(same(b.graph, shape, tolerance=1e-5)) == 1


@pytest.mark.parametrize("what", ["used", "output", "spatial", "larger", "rank", "by zero", "huge"])
def test_what_stays(what: str) -> None:
    b = Written(3)
    shape = (2, 3, 4) if what == "rank" else (1, 4, 5, 6)
    x = b.input("x", *shape)
    if what == "rank":
        y = b.node("MatMul", x, b.constant(b.weights(4, 6)))
        factor = b.weights(6)
    else:
        y = b.node("Conv", x, b.constant(b.weights(6, 4, 1, 1)))
        sizes = {"spatial": (6,), "larger": (2, 6, 1, 1)}.get(what, (6, 1, 1))
        factor = b.weights(*sizes)
    if what == "by zero":
        factor[0] = 0
    if what == "huge":
        factor[:] = 3e38
    op = {"by zero": "Div", "rank": "Add"}.get(what, "Mul")
    if what == "huge":
        y = b.node("Mul", y, b.constant(np.float32(1e-30)))
        b.graph.constants[b.graph.nodes[0].inputs[1]] *= np.float32(1e10)
    z = b.node(op, y, b.constant(factor))
    if what == "used":
        z = b.node("Add", z, b.node("Neg", y))
    if what == "output":
        b.output(y)
    b.output(z)
    assert (op in same(b.graph, shape, tolerance=1e-5)) == (what != "huge")


@pytest.mark.parametrize("axes", [None, (2, 3), (-1,)])
def test_padding_with_zeros(axes: tuple | None) -> None:
    b = Written(3)
    x = b.input("x", 2, 4, 5, 6)
    pads = [0, 0, 2, 1, 0, 0, 0, 3] if axes is None else [1, 2, 0, 1][: 2 * len(axes)]
    more = [] if axes is None else ["", b.ints(*axes)]
    padded = b.node("Pad", x, b.ints(*pads), *more)
    b.output(b.node("Conv", padded, b.constant(b.weights(3, 4, 3, 2)), pads=[1, 0, 0, 1], strides=[2, 1]))
    assert same(b.graph, (2, 4, 5, 6), tolerance=1e-5) == ["Conv"]


@pytest.mark.parametrize("what", ["mode", "value", "channels", "negative", "automatic"])
def test_other_padding_stays(what: str) -> None:
    b = Written(3)
    x = b.input("x", 2, 4, 5, 6)
    pads = {"channels": [0, 1, 0, 0, 0, 1, 0, 0], "negative": [0, 0, -1, 0, 0, 0, 0, 0]}.get(what, [0, 0, 1, 1] * 2)
    more = [b.constant(np.float32(1))] if what == "value" else []
    attrs = {"mode": "reflect"} if what == "mode" else {}
    padded = b.node("Pad", x, b.ints(*pads), *more, **attrs)
    weights = b.constant(b.weights(3, 6 if what == "channels" else 4, 3, 2))
    b.output(b.node("Conv", padded, weights, **({"auto_pad": "SAME_UPPER"} if what == "automatic" else {})))
    assert "Pad" in same(b.graph, (2, 4, 5, 6), tolerance=1e-5)


@pytest.mark.parametrize("kind", ["Gemm", "turnedGemm", "MatMul"])
@pytest.mark.parametrize("chain", ["Mul", "Add", "Mul Add", "Add Mul Sub", "BatchNormalization"])
def test_into_the_product_after(kind: str, chain: str) -> None:
    b = Written(2)
    y = b.input("x", "B", 4)
    for op in chain.split():
        if op == "BatchNormalization":
            arrays = [b.constant(a) for a in (b.weights(4), b.weights(4), b.weights(4), np.abs(b.weights(4)) + 0.1)]
            y = b.node(op, y, *arrays)
        else:
            y = b.node(op, y, b.constant(b.weights(4)))
    if kind == "MatMul":
        b.output(b.node("MatMul", y, b.constant(b.weights(4, 6))))
    else:
        turned = kind == "turnedGemm"
        weights = b.weights(*((6, 4) if turned else (4, 6)))
        b.output(b.node("Gemm", y, b.constant(weights), b.constant(b.weights(6)), transB=int(turned)))
    assert same(b.graph, (3, 4), tolerance=1e-5) == ["MatMul" if (kind, chain) == ("MatMul", "Mul") else "Gemm"]


@pytest.mark.parametrize("what", ["used", "rows", "rank"])
def test_what_stays_before_a_product(what: str) -> None:
    b = Written(2)
    x = b.input("x", *((2, 3, 4) if what == "rank" else (3, 4)))
    y = b.node("Add", x, b.constant(b.weights(*((3, 1) if what == "rows" else (4,)))))
    b.output(b.node("MatMul", y, b.constant(b.weights(4, 6))))
    if what == "used":
        b.output(b.node("Neg", y))
    assert "Add" in same(b.graph, (2, 3, 4) if what == "rank" else (3, 4), tolerance=1e-5)
