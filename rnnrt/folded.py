"""What a bound plan computes from shapes and constants: by the NumPy operators, once for the same values.

Shape arithmetic is small and the same in layer after layer, so results are kept (_core/folding.pxi) by what the
operator is and by what it is given, and serve other nodes and later shapes too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .native.tensor import Tensor, constant
from .ops.limits import FOLD_BYTES, limit
from .ops.random import RANDOM

if TYPE_CHECKING:
    from .plan import Step

Results = list[Tensor | None]


def kind(step: Step) -> Any:
    """What the step's function depends on, the same for nodes that differ in names alone; False for random numbers."""
    if step.op in RANDOM:
        return False
    node = step.node
    if node is None or node.domain or step.tier != "NumPy":
        return id(step)
    attrs: list[tuple[Any, ...]] = []
    for name in sorted(node.attrs):
        value = node.attrs[name]
        if isinstance(value, list | tuple) and all(isinstance(v, int | float | str | bytes) for v in value):
            attrs.append((name, *map(type, value), *map(_exact, value)))
        elif isinstance(value, int | float | str | bytes):
            attrs.append((name, type(value), _exact(value)))
        else:
            return id(step)
    given = tuple([bool(name) for name in node.inputs]), tuple([bool(name) for name in node.outputs])
    return node.op, node.version, given, len(step.outputs), tuple(attrs)


def _exact(value: Any) -> Any:
    """What tells numbers apart that are equal, as the zeros of both signs are."""
    return repr(value) if isinstance(value, float) else value


def results(step: Step, values: list[Any]) -> Results | None:
    """The step's results for these arrays, None for absent ones; None if they are too big, no arrays, or an error."""
    try:
        with limit(FOLD_BYTES):
            found = step.fn(*values)
    except Exception:
        return None
    arrays = found if step.multiple else (found,)
    made: Results = []
    for k in range(len(step.outputs)):
        array = arrays[k] if k < len(arrays) else None
        if array is None:
            made.append(None)
            continue
        if isinstance(array, np.generic):
            array = np.asarray(array)
        if not isinstance(array, np.ndarray) or array.dtype.kind == "O":
            return None
        made.append(constant(array))
    return made
