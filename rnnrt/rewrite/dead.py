"""What nobody uses goes away: nodes, constants, and optional outputs of recurrent nodes."""

from __future__ import annotations

from .._core import facts
from ..graph import Graph, captured


def remove_dead(graph: Graph) -> int:
    """Remove dead nodes and constants from `graph` and the graphs in it, in place; returns how many nodes went."""
    return facts.remove_dead(graph, captured)
