"""LSTM, GRU and RNN cells that are written out as products, activations, Mul, Add and Sub: what they compute.

With gates ``f(sum_s s @ M_s + b)`` (:mod:`rnnrt.rewrite.affine`), in any order, form and number of products:

* LSTM: ``c' = f * c + i * g``, ``h' = o * act(c')``
* GRU: ``h' = z * h + (1 - z) * n``, also as ``n + z * (h - n)`` and with z for 1 - z (sigmoid(-a) = 1 - sigmoid(a));
  ``n = act(W x + b + r * (R h + b'))`` or ``n = act(W x + R (r * h) + b)``
* RNN: ``h' = act(W x + R h + b)``, which is a cell only where h is known to come from the step before: see
  :mod:`rnnrt.rewrite.roll`

Everything has to have the same rows: nothing is broadcast but biases.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from ..graph import Graph, Node
from .affine import Affine, Forms, Source, shape_of
from .known import Known
from .views import Size
from .zeros import is_zero

Activation = tuple[str, float, float]
"""Name, alpha and beta, 0.0 where there is none."""

_PARAMETERS = {"Elu": (1.0, 0.0), "HardSigmoid": (0.2, 0.5), "LeakyRelu": (0.01, 0.0), "ThresholdedRelu": (1.0, 0.0)}
_ACTIVATIONS = ("Sigmoid", "Tanh", "Relu", "Softsign", "Softplus", *_PARAMETERS)


@dataclass(slots=True, eq=False)
class Cell:
    """One step of a recurrent layer.

    ``w`` is [G*H, I] for the sources `x` side by side, ``r`` [G*H, H] (None where the cell has no product with h,
    because h is zero), ``b`` [2*G*H], gates in ONNX's order. ``h`` and ``c`` are the states before, None for zero;
    ``own`` are the nodes that may use ``c_out`` without being users of the cell.
    """

    op: str
    x: tuple[Source, ...]
    h: str | None
    c: str | None
    w: np.ndarray
    r: np.ndarray | None
    b: np.ndarray
    activations: tuple[Activation, ...]
    linear_before_reset: bool
    h_out: str
    c_out: str
    lead: tuple[Size, ...]
    own: tuple[Node, ...] = ()
    key: bytes = b""

    @property
    def units(self) -> int:
        """H."""
        return len(self.w) // {"LSTM": 4, "GRU": 3, "RNN": 1}[self.op]

    def matches(self, later: Cell) -> bool:
        """Whether `later` has the same weights, as far as this cell has them."""
        if self.r is not None:
            return self.key == later.key
        same = (self.op, self.activations, self.w.shape) == (later.op, later.activations, later.w.shape)
        return same and np.array_equal(self.w, later.w) and np.allclose(self.b, later.b, 1e-6, 1e-7)


def rows(shape: Sequence[Size]) -> tuple[Size, ...] | None:
    """What is not 1 of a shape but its last axis; None if that is more than one axis."""
    core = tuple(d for d in shape[:-1] if d != 1)
    return core if len(core) < 2 else None


class Finder:
    """Finds the cells of one graph; those of the graphs in it are not looked for."""

    def __init__(self, graph: Graph, known: Known) -> None:
        self.graph, self.known, self.forms = graph, known, Forms(known)
        self._found: dict[str, Cell] = {}  # by h_out
        self._readings: dict[str, list[Cell]] = {}  # of RNN cells of which it is open what their h is
        self._by_c: dict[str, Cell] = {}

    def find(self) -> list[Cell]:
        """All cells, a step after those before it; of those that share an output, the first."""
        for node in self.graph.nodes:
            look = _LOOK.get(node.op) if node.domain == "" and len(node.outputs) == 1 else None
            cell = look(self, node) if look else None
            if cell is not None and cell.h_out not in self._found and cell.c_out not in self._by_c:
                self._found[cell.h_out] = cell
                if cell.c_out:
                    self._by_c[cell.c_out] = cell
        return list(self._found.values())

    def made(self, name: str, *ops: str) -> Node | None:
        """The node of this graph that makes `name`, if it is one of `ops`."""
        found = self.known.producer(name)
        node = found[0] if found is not None and found[1] is self.known else None
        return node if node is not None and node.op in ops and not node.domain else None

    def _activation(self, name: str) -> tuple[Activation, str] | None:
        """The activation that makes `name`, and of what."""
        node = self.made(name, *_ACTIVATIONS)
        if node is None:
            return None
        alpha, beta = _PARAMETERS.get(node.op, (0.0, 0.0))
        if alpha:
            alpha, beta = float(node.attrs.get("alpha", alpha)), float(node.attrs.get("beta", beta))
        return (node.op, alpha, beta), node.inputs[0]

    def _gate(self, name: str, width: int) -> tuple[Activation, Affine] | None:
        found = self._activation(name)
        form = self.forms.of(found[1]) if found is not None else None
        return (found[0], form) if found is not None and form is not None and form.width == width else None

    def _width(self, name: str) -> int | None:
        shape = self.known.shape(name)
        return shape[-1] if shape is not None and len(shape) > 1 and isinstance(shape[-1], int) else None

    # ------------------------------------------------------------------------------------------------------------ LSTM

    def lstm(self, node: Node) -> Cell | None:
        """The cell whose h' `node` makes, a Mul."""
        for out, squashed in permutations(node.inputs, 2):
            found = self._activation(squashed)
            total = self.made(found[1], "Add") if found is not None else None
            width = self._width(node.outputs[0])
            o = self._gate(out, width) if total is not None and width else None
            if found is None or total is None or o is None or width is None:
                continue
            for forget, update in permutations(total.inputs, 2):
                kept, new = self.made(forget, "Mul"), self.made(update, "Mul")
                if kept is None or new is None:
                    continue
                for f_name, c in permutations(kept.inputs, 2):
                    f = self._gate(f_name, width)
                    for i_name, g_name in permutations(new.inputs, 2) if f is not None else ():
                        i, g = self._gate(i_name, width), self._gate(g_name, width)
                        if i is None or g is None or f is None or not i[0] == f[0] == o[0]:
                            continue
                        activations = (i[0], g[0], found[0])
                        cell = self._lstm(node, total, c, (i[1], o[1], f[1], g[1]), activations)
                        if cell is not None:
                            makers = [self.made(squashed, *_ACTIVATIONS), kept, node]
                            cell.own = tuple(n for n in makers if n is not None)
                            return cell
        return None

    def _lstm(
        self, node: Node, total: Node, c: str, gates: tuple[Affine, ...], activations: tuple[Activation, ...]
    ) -> Cell | None:
        i, o, f, g = gates
        sources = [s for form in (i, f, g) for s in form.terms]
        if any(s not in sources for s in o.terms):
            return None  # what only o needs may be made of c'
        h = self._state(sources, c, node.outputs[0], g.width)
        return self._cell("LSTM", node, gates, sources, h, c, activations, total.outputs[0])

    def _state(self, sources: list[Source], c: str, h_out: str, units: int) -> str | None:
        """Which source is h: the partner of `c` in the step before, or else what comes from where `c` comes from."""
        distinct = list(dict.fromkeys(sources))
        fits = [s.name for s in distinct if self._fits(s, units)]
        before = self._by_c.get(c)
        if before is not None and before.h_out in fits:
            return before.h_out
        if len(distinct) < 2:
            return None
        root = self._root(c)
        related = [name for name in fits if self._root(name) == root]
        inputs = [v.name for v in self.graph.inputs]
        likely = self._carried(h_out, inputs)
        if c in inputs:  # the one beside c, rather before it: x, h, c or h, c, x
            near = [name for name in fits if name in inputs]
            likely += sorted(near, key=lambda name: abs(2 * (inputs.index(name) - inputs.index(c)) + 1))
        return next((name for name in [*likely, *related, *reversed(fits)] if name in fits), None)

    def _carried(self, h_out: str, inputs: list[str]) -> list[str]:
        """What the body of a Loop or Scan gets as the value of the step before, if h' is what it gives."""
        outputs = [v.name for v in self.graph.outputs]
        if self.known.outer is None or h_out not in outputs:
            return []
        k = outputs.index(h_out)
        return inputs[k + 1 : k + 2] + inputs[k : k + 1]

    def _fits(self, source: Source, units: int) -> bool:
        shape = shape_of(source, self.known)
        return not source.views and shape is not None and shape[-1] == units

    def _root(self, name: str) -> str:
        for _ in range(8):
            made = self.known.producer(name)
            if made is None or made[0].op not in ("Gather", "Slice", "Split", "Squeeze", "Reshape", "Transpose"):
                break
            name = made[0].inputs[0]
        return name

    # ------------------------------------------------------------------------------------------------------------- GRU

    def gru(self, node: Node) -> Cell | None:
        """The cell whose h' `node` makes, an Add or Sub."""
        width = self._width(node.outputs[0])
        if width is None or len(node.inputs) != 2:
            return None
        for z_name, negative, h, n_name in self._mixes(node):
            z, n = self._gate(z_name, width), self._activation(n_name)
            if z is None or n is None or (negative and z[0][0] != "Sigmoid"):
                continue
            gate = z[1].scaled(-1) if negative else z[1]
            cell = self._gru(node, h, (z[0], gate), n[0], n[1], width)
            if cell is not None:
                return cell
        return None

    def _mixes(self, node: Node) -> Iterator[tuple[str, bool, str, str]]:
        """Ways to read `node` as z * h + (1 - z) * n: z, whether it is 1 - z that is called so, h and n."""
        for first, second in permutations(node.inputs, 2) if node.op == "Add" else ():
            p, q = self.made(first, "Mul"), self.made(second, "Mul")
            if p is not None and q is not None:
                for z, a in permutations(p.inputs, 2):
                    for rest, b in permutations(q.inputs, 2):
                        if self._rest(rest) == z:
                            yield z, False, a, b
                            yield z, True, b, a
        pairs = list(permutations(node.inputs, 2)) if node.op == "Add" else [tuple(node.inputs)]
        for base, step in pairs:
            # base + z * (other - base), or base - z * (base - other).
            product = self.made(step, "Mul")
            for z, difference in permutations(product.inputs, 2) if product is not None else ():
                sub = self.made(difference, "Sub")
                if sub is None:
                    continue
                other, own = sub.inputs if node.op == "Add" else reversed(sub.inputs)
                if own == base:
                    yield z, False, other, base
                    yield z, True, base, other

    def _rest(self, name: str) -> str | None:
        """z, if `name` is 1 - z."""
        sub = self.made(name, "Sub")
        if sub is not None:
            return sub.inputs[1] if self._one(sub.inputs[0]) else None
        add = self.made(name, "Add")
        for negated, one in permutations(add.inputs, 2) if add is not None else ():
            neg = self.made(negated, "Neg")
            if neg is not None and self._one(one):
                return neg.inputs[0]
        return None

    def _one(self, name: str) -> bool:
        array = self.known.constant(name)
        return array is not None and array.size == 1 and bool(array.reshape(-1)[0] == 1)

    def _gru(
        self, node: Node, h: str, z: tuple[Activation, Affine], act: Activation, before: str, width: int
    ) -> Cell | None:
        split = self._candidate(before, width, h)
        if split is None:
            return None
        r, n, recurrent = split
        if r[0] != z[0] or Source(h) in n.terms:
            return None
        sources = [s for form in (z[1], r[1], n) for s in form.terms]
        gates = (z[1], r[1], n)
        return self._cell("GRU", node, gates, sources, h, "", (z[0], act), "", recurrent)

    def _candidate(self, before: str, width: int, h: str) -> tuple[tuple[Activation, Affine], Affine, Affine] | None:
        """Reset gate, what is not reset, and the product that is; the last has no bias where h is reset itself."""
        whole = self.forms.of(before)
        if whole is not None:  # R (r * h)
            for source, matrix in whole.terms.items():
                product = self.made(source.name, "Mul") if not source.views else None
                for r_name, state in permutations(product.inputs, 2) if product is not None else ():
                    r = self._gate(r_name, width) if state == h else None
                    if r is not None:
                        rest = {s: m for s, m in whole.terms.items() if s != source}
                        form = Affine({Source(h): matrix}, np.zeros(0), width)
                        return r, Affine(rest, whole.bias, width), form
            return None
        leaves = self._leaves(before)
        forms = [self.forms.of(name) for name in leaves]
        products = [name for name, form in zip(leaves, forms, strict=True) if form is None]
        products = [name for name in products if self.forms.bias(name, width) is None]
        product = self.made(products[0], "Mul") if len(products) == 1 else None
        for r_name, reset in permutations(product.inputs, 2) if product is not None else ():
            r, q = self._gate(r_name, width), self._maybe_constant(reset, width)
            if r is None or q is None or any(s != Source(h) for s in q.terms):
                continue
            rest_form: Affine | None = Affine({}, np.zeros(width), width)
            for name in leaves:
                part = self._maybe_constant(name, width) if name != products[0] else None
                if part is not None and rest_form is not None:
                    rest_form = rest_form.plus(part) if part.width == width else None
            return (r, rest_form, q) if rest_form is not None and rest_form.terms else None
        return None

    def _maybe_constant(self, name: str, width: int) -> Affine | None:
        form = self.forms.of(name)
        bias = self.forms.bias(name, width) if form is None else None
        return Affine({}, bias, width) if bias is not None else form if form and form.width == width else None

    def _leaves(self, name: str, depth: int = 4) -> list[str]:
        """The summands of `name`, those that are affine forms or no sums as they are."""
        add = self.made(name, "Add") if depth and self.forms.of(name) is None else None
        return [name] if add is None else [leaf for part in add.inputs for leaf in self._leaves(part, depth - 1)]

    # ------------------------------------------------------------------------------------------------------------- RNN

    def rnn(self, node: Node) -> Cell | None:
        """What might be a cell whose h' `node` makes, an activation of two products.

        Which of its sources is h, the steps before tell, or those after; until then it is taken for an input.
        """
        width = self._width(node.outputs[0])
        form = self.forms.of(node.inputs[0]) if width is not None else None
        if form is None or form.width != width or len(form.terms) < 2:
            return None
        fits = [s.name for s in form.terms if self._fits(s, form.width)]
        readings = {name: cell for name in fits if (cell := self._rnn(node, form, name)) is not None}
        if not readings:
            return None
        for name, cell in readings.items():
            if self._follows(name, cell):
                return cell
        self._readings[node.outputs[0]] = list(readings.values())
        inputs = [v.name for v in self.graph.inputs]
        likely = [*(n for n in readings if n in inputs), *(n for n in readings if self._root(n) in inputs), *readings]
        return readings[likely[0]]

    def _follows(self, name: str, cell: Cell) -> bool:
        """Whether `name` is h' of the step before `cell`; which is then read as the step that it is."""
        before = self._found.get(name)
        if before is None:
            node = self.made(name, *_ACTIVATIONS)
            form = self.forms.of(node.inputs[0]) if node is not None else None
            if node is None or form is None or len(form.terms) != len(cell.x):
                return False
            readings = [self._rnn(node, form, None)]  # a first step, to which zero came as h
        else:
            readings = [before, *self._readings.get(name, ())]
        for reading in readings:
            if reading is not None and reading.op == "RNN" and reading.matches(cell):
                self._found[name] = reading
                return True
        return False

    def _rnn(self, node: Node, form: Affine, h: str | None) -> Cell | None:
        found = self._activation(node.outputs[0])
        return self._cell("RNN", node, (form,), list(form.terms), h, "", (found[0],), "") if found else None

    # ------------------------------------------------------------------------------------------------------------- all

    def _cell(
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
        if any(name and self._width(name) != units for name in (h, c)):
            return None
        w, r, b = self._weights(gates, x, Source(h or ""), recurrent, dtype)
        unknown = h is None or (zero_h and not any(Source(h) in gate.terms for gate in gates))
        cell = Cell(
            op, x, None if zero_h else h, None if zero_c else c, w, None if unknown else r, b, activations,
            recurrent is None or bool(recurrent.bias.size), node.outputs[0], c_out, tuple(shape[:-1]),
        )  # fmt: skip
        text = repr((op, activations, cell.linear_before_reset, w.shape, dtype.str)).encode()
        cell.key = hashlib.blake2b(b"".join([text, *(a.tobytes() for a in (w, r, b))])).digest()
        return cell

    def _weights(
        self, gates: tuple[Affine, ...], x: tuple[Source, ...], h: Source, recurrent: Affine | None, dtype: np.dtype
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        units = gates[0].width
        sizes = {s: next(len(g.terms[s]) for g in gates if s in g.terms) for s in x}
        w = [np.concatenate([g.terms.get(s, np.zeros((sizes[s], units))) for s in x]).T for g in gates]
        r = [g.terms.get(h, np.zeros((units, units))).T for g in gates]
        b = [g.bias for g in gates]
        rb = [np.zeros(units) for _ in gates]
        if recurrent is not None:
            r[-1] = recurrent.terms.get(h, np.zeros((units, units))).T
            rb[-1] = recurrent.bias if recurrent.bias.size else rb[-1]
        return tuple(np.ascontiguousarray(np.concatenate(part), dtype) for part in (w, r, [*b, *rb]))  # type: ignore[return-value]


_LOOK = {"Mul": Finder.lstm, "Add": Finder.gru, "Sub": Finder.gru, **dict.fromkeys(_ACTIVATIONS, Finder.rnn)}
