"""Cells written out in the many ways in which exporters and people write them, for the tests of the rewrites.

Every choice of form is drawn from a seed, so that a range of seeds goes through the combinations.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnrt.graph import Graph, Node, Value

ONE = "one"


class Written:
    """A graph being written node by node, with random choices among equivalent forms."""

    def __init__(self, seed: int, dtype: type = np.float32) -> None:
        self.random = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.graph = Graph([], [], [], {ONE: np.array(1, dtype)})

    def input(self, name: str, *shape: Any) -> str:
        self.graph.inputs.append(Value(name, self.dtype, shape))
        return name

    def output(self, name: str) -> None:
        self.graph.outputs.append(Value(name, self.dtype))

    def constant(self, array: Any) -> str:
        name = f"k{len(self.graph.constants)}"
        self.graph.constants[name] = np.array(array, order="C")
        return name

    def node(self, op: str, *inputs: str, outputs: int = 1, **attrs: Any) -> Any:
        names = [f"v{len(self.graph.nodes)}_{k}" for k in range(outputs)]
        self.graph.nodes.append(Node(op, list(inputs), names, attrs, version=20))
        return names[0] if outputs == 1 else names

    def flip(self) -> bool:
        return bool(self.random.integers(2))

    def either(self, op: str, a: str, b: str) -> str:
        """A commutative operator, its inputs in any order."""
        return self.node(op, *((a, b) if self.flip() else (b, a)))

    def weights(self, *shape: int) -> np.ndarray:
        return self.random.normal(0, 0.6, shape).astype(self.dtype)

    def product(self, x: str, matrix: np.ndarray, bias: np.ndarray | None = None, rank: int = 2) -> str:
        """``x @ matrix + bias`` as Gemm or MatMul, the matrix stored either way."""
        if rank == 2 and self.flip():
            turned = self.flip()
            more = [self.constant(bias)] if bias is not None else []
            return self.node("Gemm", x, self.constant(matrix.T if turned else matrix), *more, transB=int(turned))
        y = self.node("MatMul", x, self.constant(matrix))
        return y if bias is None else self.either("Add", y, self.constant(bias))

    def pieces(self, value: str, count: int, units: int) -> list[str]:
        """A value cut into `count` on its last axis."""
        form = self.random.integers(3)
        if form == 0:
            return self.node("Split", value, outputs=count, axis=-1, num_outputs=count)
        if form == 1:
            return self.node("Split", value, self.ints(*[units] * count), outputs=count, axis=-1)
        cuts = [(k * units, (k + 1) * units if k + 1 < count else 2**31 - 1) for k in range(count)]
        return [self.node("Slice", value, self.ints(a), self.ints(b), self.ints(-1)) for a, b in cuts]

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def gates(self, x: str, h: str, count: int, rank: int, params: tuple[np.ndarray, ...] | None = None) -> list[str]:
        """Arguments of `count` gates of x [.., 3] and h [.., 4]."""
        w, r, b, rb = params or self.parameters(count)
        form = self.random.integers(4)
        if form == 0:  # both products, then the cut
            total = self.either("Add", self.product(x, w, b, rank), self.product(h, r, rb, rank))
            return self.pieces(total, count, 4)
        if form == 1:  # [x, h] in one product
            both = self.node("Concat", x, h, axis=-1)
            return self.pieces(self.product(both, np.concatenate([w, r]), b + rb, rank), count, 4)
        if form == 2:  # a product a gate
            cut = [slice(4 * k, 4 * k + 4) for k in range(count)]
            return [
                self.either("Add", self.product(x, w[:, k], b[k], rank), self.product(h, r[:, k], rb[k], rank))
                for k in cut
            ]
        xs, hs = self.pieces(self.product(x, w, b, rank), count, 4), self.pieces(self.product(h, r, rb, rank), count, 4)
        return [self.either("Add", a, c) for a, c in zip(xs, hs, strict=True)]

    def parameters(self, count: int) -> tuple[np.ndarray, ...]:
        return (
            self.weights(3, 4 * count), self.weights(4, 4 * count), self.weights(4 * count), self.weights(4 * count)
        )  # fmt: skip

    def lstm(self, x: str, h: str, c: str, rank: int = 2, params: tuple[np.ndarray, ...] | None = None) -> list[str]:
        order = self.random.permutation(4) if params is None else range(4)
        cut = self.gates(x, h, 4, rank, params)
        i, o, f, g = (cut[k] for k in order)
        i, o, f = (self.node("Sigmoid", v) for v in (i, o, f))
        new = self.either("Mul", i, self.node("Tanh", g))
        state = self.either("Add", self.either("Mul", f, c), new)
        return [self.either("Mul", o, self.node("Tanh", state)), state]

    def mix(self, z: str, h: str, n: str) -> str:
        """``z * h + (1 - z) * n``."""
        form = self.random.integers(5)
        if form == 0:
            rest = self.node("Sub", ONE, z) if self.flip() else self.either("Add", self.node("Neg", z), ONE)
            return self.either("Add", self.either("Mul", z, h), self.either("Mul", rest, n))
        if form == 1:
            return self.either("Add", n, self.either("Mul", z, self.node("Sub", h, n)))
        if form == 2:
            return self.node("Sub", n, self.either("Mul", z, self.node("Sub", n, h)))
        rest = self.node("Sigmoid", self.node("Neg", self.graph.nodes[self._made(z)].inputs[0]))  # z for 1 - z
        if form == 3:
            return self.either("Add", h, self.either("Mul", rest, self.node("Sub", n, h)))
        keep = self.node("Sub", ONE, rest)
        return self.either("Add", self.either("Mul", keep, h), self.either("Mul", rest, n))

    def _made(self, name: str) -> int:
        return next(k for k, node in enumerate(self.graph.nodes) if name in node.outputs)

    def gru(self, x: str, h: str, rank: int = 2, reset_after: bool | None = None, params: Any = None) -> str:
        w, r, b, rb = params or self.parameters(3)
        gates = self.gates(x, h, 2, rank, (w[:, :8], r[:, :8], b[:8], rb[:8]))
        z, reset = (self.node("Sigmoid", v) for v in gates)
        xn = self.product(x, w[:, 8:], b[8:], rank)
        if self.flip() if reset_after is None else reset_after:
            n = self.either("Add", xn, self.either("Mul", reset, self.product(h, r[:, 8:], rb[8:], rank)))
        else:
            n = self.either("Add", xn, self.product(self.either("Mul", reset, h), r[:, 8:], None, rank))
        return self.mix(z, h, self.node("Tanh", n))

    def rnn(self, x: str, h: str, params: tuple[np.ndarray, ...], rank: int = 2) -> str:
        w, r, b, rb = params
        return self.node("Tanh", self.either("Add", self.product(x, w, b, rank), self.product(h, r, rb, rank)))
