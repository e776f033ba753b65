"""One step of a recurrent layer, and what it is put together of from nodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._core.engine import memory, put_transposed
from ..graph import Graph, Node
from ..records import record
from .affine import Affine, Forms, Source, shape_of
from .known import Known
from .views import Size
from .zeros import is_zero

Activation = tuple[str, float, float]
"""Name, alpha and beta, 0.0 where there is none."""

_PARAMETERS = {"Elu": (1.0, 0.0), "HardSigmoid": (0.2, 0.5), "LeakyRelu": (0.01, 0.0), "ThresholdedRelu": (1.0, 0.0)}
ACTIVATIONS = ("Sigmoid", "Tanh", "Relu", "Softsign", "Softplus", *_PARAMETERS)


@record
class Cell:
    """One step of a recurrent layer.

    ``gates`` are what its activations are of, in ONNX's order, over the sources `x` and ``state``, which is h;
    ``reset`` is a GRU's product that is reset. ``h`` and ``c`` are the states before, None for zero; ``has_r`` is False
    where the cell has no product with h, because h is zero; ``own`` are the nodes that may use ``c_out`` without being
    users of the cell.
    """

    op: str
    x: tuple[Source, ...]
    h: str | None
    c: str | None
    gates: tuple[Affine, ...]
    state: Source
    reset: Affine | None
    dtype: np.dtype
    has_r: bool
    activations: tuple[Activation, ...]
    h_out: str
    c_out: str
    lead: tuple[Size, ...]
    own: tuple[Node, ...] = ()
    _weights: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    _key: bytes = b""

    @property
    def weights(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """W [G*H, I] for the sources `x` side by side, R [G*H, H], B [2*G*H]; made when first asked for: few are."""
        if self._weights is None:
            self._weights = self._made()
        return self._weights

    def _made(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        units, count = self.units, len(self.gates)
        sizes = self._sizes()
        w = memory((count, units, sum([n for _, n in sizes])), self.dtype, passing=True)
        r = memory((count, units, units), self.dtype, passing=True)
        b = np.zeros((2, count, units), self.dtype)
        for k, gate in enumerate(self.gates):
            at = 0
            for source, n in sizes:
                if source in gate.terms:
                    put_transposed(w[k, :, at : at + n], gate.terms[source])
                at += n
            product = self.reset if self.reset is not None and k == count - 1 else gate
            if self.state in product.terms:
                put_transposed(r[k], product.terms[self.state])
            b[0, k] = gate.bias
        if self.reset is not None and self.reset.bias.size:
            b[1, -1] = self.reset.bias
        return w.reshape(count * units, -1), r.reshape(count * units, units), b.reshape(-1)

    def _sizes(self) -> list[tuple[Source, int]]:
        """The sources, and how many elements a row of each has."""
        return [(s, next(len(g.terms[s]) for g in self.gates if s in g.terms)) for s in self.x]

    @property
    def linear_before_reset(self) -> bool:
        """Whether the reset is of the product with h, as everywhere but in a GRU that multiplies the reset h."""
        return self.reset is None or bool(self.reset.bias.size)

    @property
    def _form(self) -> tuple[object, ...]:
        """All but the weights that cells have in common."""
        inputs = sum(n for _, n in self._sizes())
        return self.op, self.activations, self.linear_before_reset, self.units, inputs, self.dtype.str

    @property
    def key(self) -> bytes:
        """What cells of the same weights have in common; made when first asked for, since most cells never are."""
        if not self._key:
            import hashlib  # few models have cells to compare

            text = repr(self._form).encode()
            self._key = hashlib.blake2b(b"".join([text, *(a.tobytes() for a in self.weights)])).digest()
        return self._key

    @property
    def identity(self) -> object:
        """The key of a cell that was compared with others, whose weights it may share; else what equals nothing."""
        return self._key or object()

    @property
    def units(self) -> int:
        """H."""
        return self.gates[0].width

    def matches(self, later: Cell) -> bool:
        """Whether `later` has the same weights, as far as this cell has them."""
        if self._form != later._form:
            return False
        if self.has_r:
            return self.key == later.key
        (w, _, b), (w_later, _, b_later) = self.weights, later.weights
        return np.array_equal(w, w_later) and np.allclose(b, b_later, 1e-6, 1e-7)


def rows(shape: Sequence[Size]) -> tuple[Size, ...] | None:
    """What is not 1 of a shape but its last axis; None if that is more than one axis."""
    core = tuple(d for d in shape[:-1] if d != 1)
    return core if len(core) < 2 else None


class Reader:
    """Reads the nodes of one graph as parts of cells."""

    def __init__(self, graph: Graph, known: Known) -> None:
        self.graph, self.known, self.forms = graph, known, Forms(known)

    def made(self, name: str, *ops: str) -> Node | None:
        """The node of this graph that makes `name`, if it is one of `ops`."""
        found = self.known.producer(name)
        node = found[0] if found is not None and found[1] is self.known else None
        return node if node is not None and node.op in ops and not node.domain else None

    def activation(self, name: str) -> tuple[Activation, str] | None:
        """The activation that makes `name`, and of what."""
        node = self.made(name, *ACTIVATIONS)
        if node is None:
            return None
        alpha, beta = _PARAMETERS.get(node.op, (0.0, 0.0))
        if alpha:
            alpha, beta = float(node.attrs.get("alpha", alpha)), float(node.attrs.get("beta", beta))
        return (node.op, alpha, beta), node.inputs[0]

    def gate(self, name: str, width: int) -> tuple[Activation, Affine] | None:
        """The activation that makes `name`, and the form of its argument."""
        found = self.activation(name)
        form = self.forms.of(found[1]) if found is not None else None
        return (found[0], form) if found is not None and form is not None and form.width == width else None

    def width(self, name: str) -> int | None:
        """The number of elements on the last axis of `name`, if it has rows."""
        shape = self.known.shape(name)
        return shape[-1] if shape is not None and len(shape) > 1 and isinstance(shape[-1], int) else None

    def cell(
        self,
        op: str,
        node: Node,
        gates: tuple[Affine, ...],
        sources: list[Source],
        h: str | None,
        c: str,
        activations: tuple[Activation, ...],
        c_out: str,
        recurrent: Affine | None = None,
    ) -> Cell | None:
        """The cell, if all of its parts have the same rows; `recurrent` is a GRU's product that is reset."""
        dtype, shape = self.known.dtype(node.outputs[0]), self.known.shape(node.outputs[0])
        x = tuple(s for s in dict.fromkeys(sources) if s != Source(h or ""))
        if dtype is None or dtype.kind != "f" or shape is None or not x:
            return None
        zero_h, zero_c = h is None or is_zero(h, self.known), not c or is_zero(c, self.known)
        shapes = [shape_of(s, self.known) for s in x]
        shapes += [self.known.shape(name) for name, zero in ((h, zero_h), (c, zero_c)) if name and not zero]
        core = rows(shape)
        if core is None or any(s is None or len(s) < 2 or rows(s) != core for s in shapes):
            return None
        units = gates[0].width
        if any(name and self.width(name) != units for name in (h, c)):
            return None
        unknown = h is None or (zero_h and not any(Source(h) in gate.terms for gate in gates))
        return Cell(
            op, x, None if zero_h else h, None if zero_c else c, gates, Source(h or ""), recurrent, dtype, not unknown,
            activations, node.outputs[0], c_out, tuple(shape[:-1]),
        )  # fmt: skip
