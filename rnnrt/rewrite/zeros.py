"""Initial states that are certainly zero are dropped: absent means zero, and zero costs nothing then.

Exporters write them as constants, or build them from the batch size at run time: Shape, Gather, Concat,
ConstantOfShape.
"""

from __future__ import annotations

import numpy as np

from ..graph import Graph
from .known import Known

_MOVING = {
    "Cast", "Expand", "Flatten", "Gather", "Identity", "Neg", "Reshape", "Slice", "Split", "Squeeze", "Tile",
    "Transpose", "Unsqueeze",
}  # fmt: skip
_STATES = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}


def drop_zero_states(graph: Graph, known: Known) -> int:
    """Make zero initial states of lowered nodes absent, in `graph` and those in it; returns how many there were."""
    count = 0
    for sub in graph.bodies():
        count += drop_zero_states(sub, known.inner[id(sub)])
    for node in graph.nodes:
        if node.domain != "rnnrt":
            continue
        for k in _STATES.get(node.op, ()):
            if node.input(k) and is_zero(node.inputs[k], known):
                node.inputs[k] = ""
                node.attrs["in_views"].pop(k, None)
                count += 1
    return count


def is_zero(name: str, known: Known) -> bool:
    """Whether every element of `name` is 0 in every run."""
    pending, seen = [(name, known)], set()
    while pending:
        value, scope = pending.pop()
        if (value, id(scope)) in seen:
            continue
        seen.add((value, id(scope)))
        array = scope.constant(value)
        if array is not None:
            if not (array.dtype.kind in "fiub" or array.dtype.name == "bfloat16") or np.any(array):
                return False
            continue
        made = scope.producer(value)
        if made is None or made[0].domain:
            return False
        node, home = made
        if node.op == "ConstantOfShape":
            if np.any(node.attrs.get("value", np.float32(0))):
                return False
        elif node.op == "Concat":
            pending += [(part, home) for part in node.inputs]
        elif node.op == "Where" and len(node.inputs) == 3:
            pending += [(part, home) for part in node.inputs[1:]]
        elif node.op in _MOVING:
            pending.append((node.inputs[0], home))
        else:
            return False
    return True
