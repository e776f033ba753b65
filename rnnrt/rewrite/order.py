"""Nodes in topological order again, after a rewrite has put new ones at the end."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from ..graph import Graph, captured


def put_in_order(graph: Graph) -> None:
    """Order the nodes of `graph` so that each comes after what it uses, in place; otherwise they stay as they are."""
    made_by = {out: k for k, node in enumerate(graph.nodes) for out in node.outputs if out}
    waits: list[int] = []
    users: dict[int, list[int]] = {}
    for k, node in enumerate(graph.nodes):
        used = [*node.inputs, *captured(node)] if node.subgraphs() else node.inputs
        needs = {made_by[name] for name in used if name in made_by}
        waits.append(len(needs))
        for j in needs:
            users.setdefault(j, []).append(k)
    ready = [k for k, count in enumerate(waits) if not count]
    heapify(ready)
    ordered = []
    while ready:
        k = heappop(ready)
        ordered.append(graph.nodes[k])
        for j in users.get(k, ()):
            waits[j] -= 1
            if not waits[j]:
                heappush(ready, j)
    if len(ordered) != len(graph.nodes):
        raise AssertionError("a rewrite made a cycle")
    graph.nodes[:] = ordered
