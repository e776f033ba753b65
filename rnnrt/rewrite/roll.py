"""Written-out cells become recurrent nodes: one for each cell, or one for all the steps of an unrolled layer.

Cells of the same weights that hand their state on, and take their inputs from consecutive places of one value, are the
steps of one LSTM, GRU or RNN over that value. What comes out are ONNX's operators with the views that their layout asks
for; :mod:`.lower` and :mod:`.absorb` do with them as with any others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..graph import Graph, Node
from .affine import shape_of
from .bodies import inside
from .cell import Cell
from .cells import Finder
from .edit import NEWEST
from .known import Known
from .names import Names
from .order import put_in_order
from .places import Place, place_of
from .write import Writer


def roll(graph: Graph, known: Known, names: Names | None = None) -> tuple[int, int]:
    """Make recurrent nodes of the written-out cells of `graph` and of the graphs in it, in place.

    Returns
    -------
    cells, nodes
        How many cells there were, and how many nodes they became.
    """
    names = names or Names(graph)
    n_cells = n_nodes = 0
    for node in graph.nodes:
        for _, sub in node.subgraphs():
            cells, nodes = roll(sub, inside(node, sub, known), names)
            n_cells, n_nodes = n_cells + cells, n_nodes + nodes
    while chains := find_chains(graph, known):
        # Steps by themselves wait: what they read may become places of the layer before, and they a layer then.
        chosen = [chain for chain in chains if len(chain) > 1] or chains
        writer = Writer(graph, names)
        for chain in chosen:
            write_chain(chain, writer, known)
        made = {name for chain in chosen for cell in chain for name in (cell.h_out, cell.c_out) if name}
        graph.nodes[:] = [node for node in graph.nodes if node.outputs[0] not in made] + writer.nodes
        put_in_order(graph)
        n_cells, n_nodes = n_cells + sum(map(len, chosen)), n_nodes + len(chosen)
        if len(chosen) == len(chains):
            break
        known = Known.of(graph, known.outer, named=True)
    return n_cells, n_nodes


def find_chains(graph: Graph, known: Known) -> list[list[Cell]]:
    """The cells of `graph`, those of one unrolled layer together in the order of their steps."""
    finder = Finder(graph, known)
    cells = finder.find()
    if not cells:
        return []
    users, outputs = graph.consumers(), {v.name for v in graph.outputs}
    by_state = {cell.h_out: cell for cell in cells}
    after = {cell.h: cell for cell in cells if cell.h in by_state and by_state[cell.h].op == cell.op}
    chains: list[list[Cell]] = []
    done: set[int] = set()
    for cell in cells:  # in the order of the graph: the first step of a layer comes first
        if id(cell) in done:
            continue
        chain, places = [cell], [places_of(cell, known)]
        while (later := after.get(chain[-1].h_out)) is not None and id(later) not in done:
            there = places_of(later, known)
            if not _follows(chain, places, later, there, users, outputs):
                break
            chain.append(later)
            places.append(there)
        linked = cell.h_out in after and cell.matches(after[cell.h_out])
        linked |= cell.h in by_state and by_state[cell.h].matches(cell)
        if cell.op != "RNN" or len(chain) > 1 or linked or _is_step(cell, graph):
            chains.append(chain)
        done.update(map(id, chain) if len(chain) > 1 else [id(cell)])
    return chains


def _is_step(cell: Cell, graph: Graph) -> bool:
    """Whether an RNN cell by itself carries a state: h comes in, as it goes out, from outside of `graph`."""
    inputs = {v.name: v for v in graph.inputs}
    outputs = {v.name for v in graph.outputs}
    return cell.h in inputs and cell.h_out in outputs and len(cell.x) > 0


def _follows(
    chain: Sequence[Cell],
    places: Sequence[tuple[Place, ...] | None],
    cell: Cell,
    there: tuple[Place, ...] | None,
    users: dict[str, list[Node]],
    outputs: set[str],
) -> bool:
    """Whether `cell` is the next step of the layer that `chain` is."""
    last, here = chain[-1], places[-1]
    if (
        here is None
        or there is None
        or len(here) != len(there)
        or cell.c != (last.c_out or None)
        or cell.lead != last.lead
    ):
        return False
    if not chain[0].matches(cell) or not cell.has_r:
        return False
    # c of a step between is nowhere to be had afterwards.
    inside = {id(node) for node in (*last.own, *cell.own)}
    if last.c_out and (last.c_out in outputs or any(id(user) not in inside for user in users.get(last.c_out, ()))):
        return False
    step = there[0].at - here[0].at
    if step not in (1, -1) or any(q != p._replace(at=p.at + step) for p, q in zip(here, there, strict=True)):
        return False
    before = places[-2] if len(places) > 1 else None
    return before is None or step == here[0].at - before[0].at


def places_of(cell: Cell, known: Known) -> tuple[Place, ...] | None:
    """Where the sources of `cell` are taken from, if each is one place of an axis but its last."""
    found = [place_of(source.name, source.views, known) for source in cell.x]
    for p in found:
        shape = shape_of(p.base, known) if p is not None else None
        if p is None or shape is None or p.axis == len(shape) - 1:
            return None
    return tuple(found)  # type: ignore[arg-type]


def write_chain(chain: Sequence[Cell], writer: Writer, known: Known) -> None:
    """Write the recurrent node of `chain`, and what makes the values that its cells made."""
    first, last = chain[0], chain[-1]
    reverse = False
    if len(chain) == 1:
        shapes = [shape_of(source, known) or () for source in first.x]
        parts = [writer.rows(writer.viewed(source), shape) for source, shape in zip(first.x, shapes, strict=True)]
    else:
        starts, ends = places_of(first, known) or (), places_of(last, known) or ()
        reverse = ends[0].at < starts[0].at
        parts = [_sequence(p, min(p.at, q.at), len(chain), writer, known) for p, q in zip(starts, ends, strict=True)]
    x = parts[0] if len(parts) == 1 else writer.node("Concat", parts, parts[0], axis=2)
    y, h, c = write_node(last, (first.h, first.c), x, writer, known, reverse)
    if len(chain) > 1:
        for k, cell in enumerate(chain):
            index = writer.ints(len(chain) - 1 - k if reverse else k)
            step = writer.node("Gather", [y, index], cell.h_out, axis=0)
            step = writer.node("Squeeze", [step, writer.ints(0)], cell.h_out)
            writer.from_rows(step, cell.lead, cell.units, cell.h_out)
    else:
        writer.from_rows(h, last.lead, last.units, last.h_out)
    if last.c_out:
        writer.from_rows(c, last.lead, last.units, last.c_out)


def _sequence(start: Place, at: int, steps: int, writer: Writer, known: Known) -> str:
    """X [T, B, I] of `steps` places from `at` on."""
    shape = list(shape_of(start.base, known) or ())
    name = writer.viewed(start.base)
    if shape[start.axis] != steps:
        bounds = [writer.ints(v) for v in (at, at + steps, start.axis, 1)]
        name = writer.node("Slice", [name, *bounds], name)
    if start.axis:
        perm = [start.axis, *(k for k in range(len(shape)) if k != start.axis)]
        name = writer.node("Transpose", [name], name, perm=perm)
    rest = [d for k, d in enumerate(shape) if k != start.axis]
    if len(rest) == 2:
        return name
    batch = any(d != 1 for d in rest[:-1])
    return writer.node("Reshape", [name, writer.ints(steps, -1 if batch else 1, int(rest[-1]))], name)


def write_node(
    cell: Cell, start: Sequence[str | None], x: str, writer: Writer, known: Known, reverse: bool = False
) -> tuple[str, str, str]:
    """Write the node of the weights of `cell` over `x` from h and c at the `start`; names of Y, Y_h and Y_c."""
    units = cell.units
    w, r, b = cell.weights
    r = r if cell.has_r else np.zeros_like(r)
    key = cell.identity
    weights = [writer.constant(array[None], (key, what), what) for array, what in ((w, "W"), (r, "R"), (b, "B"))]
    states = []
    for name in start if cell.op == "LSTM" else start[:1]:
        states.append(writer.rows(name, known.shape(name) or ()) if name else "")
    names, alphas, betas = zip(*cell.activations, strict=True)
    attrs: dict[str, object] = {
        "activations": list(names),
        "activation_alpha": [a for n, a in zip(names, alphas, strict=True) if n in _WITH_ALPHA],
        "activation_beta": [b for n, b in zip(names, betas, strict=True) if n == "HardSigmoid"],
        "hidden_size": units,
        "direction": "reverse" if reverse else "forward",
    }
    if cell.op == "GRU":
        attrs["linear_before_reset"] = int(cell.linear_before_reset)
    outputs = [writer.names.fresh(f"{cell.h_out}__{out}") for out in ("Y", "Y_h", "Y_c")[: 3 if cell.c_out else 2]]
    name = writer.names.fresh(f"{cell.h_out}__{cell.op}")
    writer.nodes.append(Node(cell.op, [x, *weights, "", *states], outputs, attrs, version=NEWEST, name=name))
    return outputs[0], outputs[1], outputs[2] if cell.c_out else ""


_WITH_ALPHA = ("Elu", "HardSigmoid", "LeakyRelu", "ThresholdedRelu")
