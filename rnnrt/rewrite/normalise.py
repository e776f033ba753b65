"""Nodes of old opsets brought to the newest opset's form, so that every later stage sees one form.

The rules are in :mod:`rnnrt.rewrite.versions` and, for what onnxruntime saves, in :mod:`rnnrt.rewrite.fused`. What a
rule cannot express stays as it was, with its version, and is left to the operators' builders to refuse.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import ModelError
from ..graph import Graph, Node
from ..ops.shape import constant_value
from . import versions  # noqa: F401  (fills RULES)
from .edit import NEWEST, RULES, Edit, Rule
from .fused import FUSED
from .names import Names


def normalise(graph: Graph, names: Names | None = None) -> None:
    """Bring the nodes of `graph`, and of the graphs in it, to the newest opset's form, in place.

    A node that changes has no `proto` any more and :data:`rnnrt.rewrite.edit.NEWEST` as its version. A node with a
    subgraph in which something changed has no `proto` any more either.

    Raises
    ------
    ModelError
        If a node lacks what its version demands.
    """
    _normalise(graph, names or Names(graph), {})


def _normalise(graph: Graph, names: Names, outer: Mapping[str, np.ndarray]) -> bool:
    """Whether something changed."""
    known = {**outer, **graph.constants}
    nodes: list[Node] = []
    any_change = False
    for node in graph.nodes:
        around = _edited(node, graph, names, known)
        inner = [_normalise(sub, names, known) for _, sub in node.subgraphs()]
        if around is not None or any(inner):
            node.proto, any_change = None, True
        if node.op == "Constant" and node.domain == "" and isinstance(node.attrs.get("value"), np.ndarray):
            known[node.outputs[0]] = constant_value(node)
        before, after = around or ((), ())
        nodes += (*before, node, *after)
    graph.nodes[:] = nodes
    return any_change


def _edited(
    node: Node, graph: Graph, names: Names, known: Mapping[str, np.ndarray]
) -> tuple[list[Node], list[Node]] | None:
    """Apply the rules for `node`; the nodes to come before and after it, or None if it is as it was."""
    edit = None
    for below, apply in RULES.get(node.op, ()) if not node.domain else ():
        if node.version < below:
            edit = edit or Edit(node, graph, names, known)
            _apply(apply, edit)
    if node.domain == "com.microsoft" and node.op in FUSED:
        edit = Edit(node, graph, names, known)
        _apply(FUSED[node.op], edit)
    if edit is None or not edit.changed:
        return None
    node.version = NEWEST
    return edit.before, edit.after


def _apply(rule: Rule, edit: Edit) -> None:
    try:
        rule(edit)
    except (IndexError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{edit.node.label()}: not a node of version {edit.node.version}: {error}") from error
