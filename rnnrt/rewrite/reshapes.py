"""Chains of nodes that leave the elements in their order become one Reshape: of whatever form an exporter wrote them.

That is Reshape, Squeeze, Unsqueeze, Flatten, and a Transpose that moves axes of size 1 only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..graph import Graph, Node
from .clean import constant_target
from .edit import NEWEST
from .known import Known
from .names import Names
from .views import Size, views_of


def merge_reshapes(graph: Graph, known: Known, names: Names | None = None) -> int:
    """Merge such chains of `graph`, of which `known` is known, and of the graphs in it, in place; returns how many.

    What made a chain's values between stays for other users; :mod:`.dead` takes it away where there are none.
    """
    names = names or Names(graph)
    bases: dict[str, str] = {}
    count = 0
    for sub in graph.bodies():
        count += merge_reshapes(sub, known.inner[id(sub)], names)
    for node in graph.nodes:
        if not _keeps_order(node, known):
            continue
        base = bases.get(node.inputs[0], node.inputs[0])
        bases[node.outputs[0]] = base
        before, after = known.shape(base), known.shape(node.outputs[0])
        if before is None or after is None or (base == node.inputs[0] and node.op != "Transpose"):
            continue
        if after == before:
            node.op, node.inputs, node.attrs, node.proto = "Identity", [base], {}, None
            count += 1
            continue
        target = _target(before, after)
        if target is None:
            bases[node.outputs[0]] = node.outputs[0]
            continue
        name = names.fresh(f"{node.outputs[0]}__shape")
        graph.constants[name] = np.array(target, np.int64)
        node.op, node.inputs, node.attrs, node.proto = "Reshape", [base, name], {}, None
        node.version = NEWEST
        count += 1
    return count


def _keeps_order(node: Node, known: Known) -> bool:
    """Whether `node` only gives its input another shape, and that without fail."""
    if node.domain or node.op not in ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose"):
        return False
    shape = known.shape(node.inputs[0])
    if shape is None or len(node.outputs) != 1 or known.shape(node.outputs[0]) is None:
        return False
    views = views_of(node, 0, known) if node.op != "Flatten" else ()
    if views is None:
        return False
    for kind, args in views:
        if kind == "squeeze" and any(not -len(shape) <= a < len(shape) or shape[a] != 1 for a in args):
            return False
        if kind == "transpose" and [p for p in args if shape[p] != 1] != [k for k, d in enumerate(shape) if d != 1]:
            return False
        if kind == "reshape" and not all(isinstance(d, int) for d in shape):
            # Only where it is certain to fit would another Reshape fail where it does.
            wanted = known.shape(node.outputs[0]) or ()
            if sorted(d for d in wanted if isinstance(d, str)) != sorted(d for d in shape if isinstance(d, str)):
                return False
    return True


def _target(before: Sequence[Size], after: Sequence[Size]) -> list[int] | None:
    """What to give Reshape to get from one shape to the other."""
    found = constant_target(tuple(before), list(after))
    if found is not None:
        return found
    unknown = [k for k, d in enumerate(after) if isinstance(d, str)]
    same = sorted(d for d in before if isinstance(d, str)) == sorted(d for d in after if isinstance(d, str))
    return [-1 if isinstance(d, str) else d for d in after] if same and len(unknown) == 1 else None
