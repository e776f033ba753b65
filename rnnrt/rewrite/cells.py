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

from collections.abc import Iterator
from itertools import permutations

import numpy as np

from ..graph import Graph, Node
from .affine import Affine, Source, shape_of
from .cell import ACTIVATIONS, Activation, Cell, Reader
from .known import Known


class Finder(Reader):
    """Finds the cells of one graph; those of the graphs in it are not looked for."""

    def __init__(self, graph: Graph, known: Known) -> None:
        super().__init__(graph, known)
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

    # ------------------------------------------------------------------------------------------------------------ LSTM

    def lstm(self, node: Node) -> Cell | None:
        """The cell whose h' `node` makes, a Mul."""
        for out, squashed in permutations(node.inputs, 2):
            found = self.activation(squashed)
            total = self.made(found[1], "Add") if found is not None else None
            width = self.width(node.outputs[0])
            o = self.gate(out, width) if total is not None and width else None
            if found is None or total is None or o is None or width is None:
                continue
            for forget, update in permutations(total.inputs, 2):
                kept, new = self.made(forget, "Mul"), self.made(update, "Mul")
                if kept is None or new is None:
                    continue
                for f_name, c in permutations(kept.inputs, 2):
                    f = self.gate(f_name, width)
                    for i_name, g_name in permutations(new.inputs, 2) if f is not None else ():
                        i, g = self.gate(i_name, width), self.gate(g_name, width)
                        if i is None or g is None or f is None or not i[0] == f[0] == o[0]:
                            continue
                        activations = (i[0], g[0], found[0])
                        cell = self._lstm(node, total, c, (i[1], o[1], f[1], g[1]), activations)
                        if cell is not None:
                            makers = [self.made(squashed, *ACTIVATIONS), kept, node]
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
        return self.cell("LSTM", node, gates, sources, h, c, activations, total.outputs[0])

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
        width = self.width(node.outputs[0])
        if width is None or len(node.inputs) != 2:
            return None
        for z_name, negative, h, n_name in self._mixes(node):
            z, n = self.gate(z_name, width), self.activation(n_name)
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
        return self.cell("GRU", node, gates, sources, h, "", (z[0], act), "", recurrent)

    def _candidate(self, before: str, width: int, h: str) -> tuple[tuple[Activation, Affine], Affine, Affine] | None:
        """Reset gate, what is not reset, and the product that is; the last has no bias where h is reset itself."""
        whole = self.forms.of(before)
        if whole is not None:  # R (r * h)
            for source, matrix in whole.terms.items():
                product = self.made(source.name, "Mul") if not source.views else None
                for r_name, state in permutations(product.inputs, 2) if product is not None else ():
                    r = self.gate(r_name, width) if state == h else None
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
            r, q = self.gate(r_name, width), self._maybe_constant(reset, width)
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
        width = self.width(node.outputs[0])
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
            node = self.made(name, *ACTIVATIONS)
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
        found = self.activation(node.outputs[0])
        return self.cell("RNN", node, (form,), list(form.terms), h, "", (found[0],), "") if found else None


_LOOK = {"Mul": Finder.lstm, "Add": Finder.gru, "Sub": Finder.gru, **dict.fromkeys(ACTIVATIONS, Finder.rnn)}
