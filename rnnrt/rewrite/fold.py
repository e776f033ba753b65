"""Constant folding: what does not depend on the inputs is computed once, in subgraphs as well.

* a node whose inputs are all constants is run through its NumPy operator, unless its answer is random or much
  larger than what went in;
* a shape vector that the declared shapes settle becomes a constant, though what it is the shape of may not be one;
* an If whose condition is constant is replaced by the branch it takes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._core import facts
from ..errors import RnnrtError
from ..graph import Graph, Node
from ..ops.limits import FOLD_BYTES, limit, quiet
from ..ops.random import RANDOM
from ..ops.reference import reference
from ..ops.registry import lookup
from ..records import record
from .known import Known
from .names import Names, definitions, rename_definitions

_FREE_BYTES = 1 << 16  # results up to this size are kept whatever went in
_GROWTH = 8  # and larger ones if they are at most so many times the inputs


@record
class Folded:
    """How much was folded: nodes into constants, Ifs into one branch; and the time by that of the `Known` then."""

    nodes: int = 0
    branches: int = 0
    time: int = -1

    def add(self, other: Folded) -> None:
        """Count what another sweep did."""
        self.nodes += other.nodes
        self.branches += other.branches
        self.time = other.time


def fold(graph: Graph, known: Known | None = None, names: Names | None = None, since: int = -1) -> Folded:
    """Fold `graph`, in place; `known` follows. What has not changed `since` another sweep is passed over."""
    folder = _Folder(names or Names(graph))
    known = known or Known(graph)
    with limit(FOLD_BYTES), quiet():
        folder.sweep(graph, known, since)
    folder.folded.time = known.time
    return folder.folded


class _Folder:
    def __init__(self, names: Names) -> None:
        self.folded = Folded()
        self.names = names

    def sweep(self, graph: Graph, known: Known, since: int = -1) -> None:
        """Fold one graph and those in it."""
        nodes, at = list(graph.nodes), 0
        kept: list[Node] = []
        while True:
            stop = facts.pass_fold(nodes, at, known, since)
            kept += nodes[at:stop]
            if stop == len(nodes):
                break
            node, at = nodes[stop], stop + 1
            branch = _branch_taken(node, known) if node.op == "If" else None
            if branch is not None:
                nodes[stop:at] = self.inline(node, branch, graph)
                at = stop
                self.folded.branches += 1
                continue
            for _, sub in node.subgraphs():
                self.sweep(sub, known.scope(sub), since)
            results = evaluate(node, known) or self._settle(node, known)
            if results is None:
                kept.append(node)
                continue
            known.give({out: r for out, r in zip(node.outputs, results, strict=False) if out})
            self.folded.nodes += node.op != "Constant"
        graph.nodes[:] = kept

    def _settle(self, node: Node, known: Known) -> list[np.ndarray] | None:
        known.learn(node)
        settled = known.settled(node.outputs[0]) if len(node.outputs) == 1 and node.outputs[0] else None
        return None if settled is None else [settled]

    def inline(self, node: Node, branch: Graph, graph: Graph) -> list[Node]:
        """What stands in for an If that always takes `branch`: nodes that make the outputs of `node`."""
        rename_definitions(
            branch, {name: self.names.fresh(name) for name in definitions(branch) if not self.names.is_unique(name)}
        )
        own = {out for inner in branch.nodes for out in inner.outputs}
        taken: dict[str, str] = {}
        copies: list[Node] = []
        for out, value in zip(node.outputs, branch.outputs, strict=False):
            if not out:
                continue
            if value.name in own and value.name not in taken:
                taken[value.name] = out
            elif value.name in branch.constants:
                graph.constants[out] = branch.constants[value.name]
            else:
                copies.append(Node("Identity", [taken.get(value.name, value.name)], [out], version=node.version))
        rename_definitions(branch, taken)
        graph.constants.update(branch.constants)
        return [*branch.nodes, *copies]


def _branch_taken(node: Node, known: Known) -> Graph | None:
    if node.domain or not node.inputs:
        return None
    condition = known.constant(node.inputs[0])
    if condition is None or condition.size != 1:
        return None
    branch = node.attrs.get("then_branch" if condition.reshape(()) else "else_branch")
    return branch if isinstance(branch, Graph) and len(branch.outputs) >= len(node.outputs) else None


def evaluate(node: Node, known: Known) -> list[np.ndarray] | None:
    """The outputs of a node whose inputs are constants; None if it has others, or has to be left to the run."""
    arrays: list[np.ndarray | None] = []
    for name in node.inputs:
        array = known.constant(name)
        if array is None and name:
            return None
        arrays.append(array)
    if node.op in RANDOM or node.subgraphs() or not node.outputs:
        return None
    try:
        results = _run(node, arrays)
    except (
        RnnrtError,
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        MemoryError,
        NotImplementedError,
    ):
        # It may never run, or be wrong, or too large: all of which is for the run to say.
        return None
    if results is None or len(results) < sum(1 for out in node.outputs if out):
        return None
    if not all(isinstance(r, np.ndarray) for r, out in zip(results, node.outputs, strict=False) if out):
        return None
    read = sum(a.nbytes for a in arrays if a is not None)
    made = sum(r.nbytes for r, out in zip(results, node.outputs, strict=False) if out)
    return results if node.op == "Constant" or made <= max(_FREE_BYTES, _GROWTH * read) else None


def _run(node: Node, arrays: list[np.ndarray | None]) -> list[np.ndarray] | None:
    if node.op == "Constant" and isinstance(node.attrs.get("value"), np.ndarray):
        return [node.attrs["value"]]
    known = lookup(node)
    if known is not None:
        results = known.build(node)(*arrays)
        results = results if known.multiple else (results,)
    elif node.domain == "":
        results = reference(node)(*arrays)
    else:
        return None
    return [_owned(r) for r in results]


def _owned(result: Any) -> Any:
    """`result` as an array that does not keep a larger one alive; NumPy answers some operations with its scalars."""
    if isinstance(result, np.ndarray):
        base = result.base
        whole = base is None or (isinstance(base, np.ndarray) and base.nbytes == result.nbytes)
        return result if whole and result.flags.c_contiguous else np.array(result, order="C")
    return np.array(result) if isinstance(result, np.generic) else result
