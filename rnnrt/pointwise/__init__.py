"""Proves that padding a batch of sequences changes none of them, so that unequal lengths can run as one batch.

That holds where, outside of recurrent nodes, whatever is computed for one row of the batch and one step of time comes
from that row and that step alone. The proof goes through a rewritten graph once and gives every value an *arrangement*
like those of :mod:`rnnrt.rewrite.views`: for each axis the sizes whose product it is, numbers or the tokens of
:mod:`rnnrt.rewrite.known`. :mod:`.rules` says for each operator how its outputs are arranged and which
sizes it mixes along; recurrent nodes say which size is time and which is the batch. Neither may be mixed.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..graph import Graph, Node
from ..rewrite.known import Known
from .flow import ONE, Arrangement, Flow, NotPointwise, OneRow, Pick
from .rules import arrange_node


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found out.

    Attributes
    ----------
    time, batch
        The tokens of the two sizes.
    inputs, outputs
        The arrangement of each, where every token that means time or batch is `time` or `batch`; None for an input that
        nothing uses.
    layers
        The recurrent nodes that take no lengths yet.
    lengths
        Names of the graph inputs that recurrent nodes take as lengths.
    lasts
        The nodes that take the last step of a value.
    arrangements
        Those of all values.
    """

    time: str
    batch: str
    inputs: tuple[Arrangement | None, ...]
    outputs: tuple[Arrangement, ...]
    layers: tuple[Node, ...]
    lengths: frozenset[str]
    lasts: tuple[Pick, ...]
    arrangements: dict[str, Arrangement]


def prove(graph: Graph) -> Proof:
    """Go through a rewritten `graph`.

    Raises
    ------
    NotPointwise
        If there is no proof; the message says why.
    """
    flow = Flow(graph, Known.of(graph))
    flow.declare()
    for node in graph.nodes:
        arrange_node(node, flow)
    time, batch = _roles(flow)
    _check(flow, time, batch)
    inputs = {v.name for v in graph.inputs}
    lengths = {node.inputs[4] for node, *_ in flow.recurrent if node.input(4)}
    for name in lengths:
        if name not in inputs or flow.arrangement(name) != ((batch,),):
            raise NotPointwise(f"the lengths {name!r} are not an input of one length a row")
    found = {name: tuple(flow.normal(axis) for axis in axes) for name, axes in flow.axes.items()}
    return Proof(
        time=time,
        batch=batch,
        inputs=tuple(found.get(v.name) for v in graph.inputs),
        outputs=tuple(found[v.name] for v in graph.outputs),
        layers=tuple(node for node, *_ in flow.recurrent if not node.input(4)),
        lengths=frozenset(lengths),
        lasts=tuple(pick for pick in flow.picks if pick.last and flow.find(pick.size) == time),
        arrangements=found,
    )


def _roles(flow: Flow) -> tuple[str, str]:
    """The tokens of time and batch, which have to be the same in all recurrent nodes."""
    if not flow.recurrent:
        raise NotPointwise("no recurrent node says which axis is time")
    roles: list[str] = []
    axes = {"steps": [steps for _, steps, _ in flow.recurrent], "rows": [rows for _, _, rows in flow.recurrent]}
    for what, given in axes.items():
        found = {flow.normal(axis) for axis in given}
        axis = next(iter(found))
        if len(found) > 1 or len(axis) > 1:
            raise NotPointwise(f"its recurrent nodes do not all go over the same {what}")
        if not isinstance(axis[0], str):
            raise (OneRow if axis == ONE and what == "rows" else NotPointwise)(
                f"the number of {what} is fixed: {axis[0]}"
            )
        roles.append(axis[0])
    if roles[0] == roles[1]:
        raise NotPointwise(f"time and batch are the same size, {roles[0]}")
    return roles[0], roles[1]


def _check(flow: Flow, time: str, batch: str) -> None:
    """Raise if time or batch is mixed, or occurs twice in a value, or something is there in one without a batch."""
    for size, why in flow.mixed.items():
        if flow.find(size) in (time, batch):
            raise NotPointwise(f"{why} mixes {'steps' if flow.find(size) == time else 'rows'}")
    for pick in flow.picks:
        if flow.find(pick.size) == batch:
            raise NotPointwise(f"{pick.node.label()} takes one row")
    for name, axes in flow.axes.items():
        sizes = [flow.find(size) for axis in axes for size in axis]
        if sizes.count(time) > 1 or sizes.count(batch) > 1:
            raise NotPointwise(f"the value {name!r} pairs steps or rows with each other")
    for value in (*flow.graph.inputs, *flow.graph.outputs):
        sizes = [flow.find(size) for axis in flow.axes.get(value.name, ()) for size in axis]
        if time in sizes and batch not in sizes:
            raise NotPointwise(f"{value.name!r} has steps and no rows")
    for value in flow.graph.outputs:
        if value.name not in flow.axes:
            raise NotPointwise(f"the output {value.name!r} is a size or of unknown rank")
