"""What nobody uses goes away: nodes, constants, and optional outputs of recurrent nodes."""

from __future__ import annotations

from ..graph import Graph, captured

RECURRENT = ("LSTM", "GRU", "RNN")


def remove_dead(graph: Graph) -> int:
    """Remove dead nodes and constants from `graph` and the graphs in it, in place; returns how many nodes went."""
    used = {v.name for v in graph.outputs if v.name}
    kept = []
    removed = 0
    for node in reversed(graph.nodes):
        if used.isdisjoint(node.outputs):
            removed += 1
            continue
        if node.op in RECURRENT and node.domain in ("", "rnnrt"):
            # Each output is optional: one that nobody reads need not be made.
            outputs = [out if out in used else "" for out in node.outputs]
            if outputs != node.outputs:
                node.outputs, node.proto = outputs, None
        used.update(node.inputs)
        bodies = node.subgraphs()
        if bodies:
            inner = [remove_dead(sub) for _, sub in bodies]
            used.update(captured(node))
            removed += sum(inner)
            node.proto = node.proto if not any(inner) else None
        used.discard("")
        kept.append(node)
    graph.nodes[:] = reversed(kept)
    for name in graph.constants.keys() - used:
        del graph.constants[name]
    return removed
