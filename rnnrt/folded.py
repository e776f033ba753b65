"""What a bound plan computes from shapes and constants: by the NumPy operators, once for the same values.

Shape arithmetic is small and the same in layer after layer, so results are kept by what the operator is and by what it
is given, and serve other nodes and later shapes too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._core import program
from .native.tensor import Tensor, constant
from .ops.limits import FOLD_BYTES, limit
from .ops.random import RANDOM

if TYPE_CHECKING:
    from .plan import Step

KEPT_BYTES, MOST_BYTES, ENTRY_BYTES = 1 << 20, 1 << 23, 1 << 10
"""Results are kept if they and their operands are this small, and all of them no more; what an entry takes besides."""

Results = list[Tensor | None]


class Folder:
    """Computes steps of known operands; keeps the results."""

    def __init__(self) -> None:
        self._kept: dict[Any, tuple[list[Any], Results]] = {}
        self._bytes = 0
        self._kinds: dict[int, Any] = {}

    def fold(self, step: Step, given: list[Tensor | None]) -> Results | None:
        """The step's results for known operands, None if absent; None if random, too big, no arrays, or an error."""
        kind = self._kinds.get(id(step))
        if kind is None:
            kind = self._kinds[id(step)] = _kind(step)
        if kind is False:
            return None
        key = program.content(kind, given)
        found = self._kept.get(key)
        if found is not None:
            return found[1]
        values = [None if x is None else x.value for x in given]
        results = _results(step, values)
        if results is not None:
            size = ENTRY_BYTES + sum([0 if x is None else x.nbytes for x in (*values, *results)])
            if size <= KEPT_BYTES:
                if self._bytes + size > MOST_BYTES:
                    self._kept, self._bytes = {}, 0
                self._kept[key] = (values, results)  # whose ids stay theirs as long as the arrays are held
                self._bytes += size
        return results


def _kind(step: Step) -> Any:
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


def _results(step: Step, values: list[Any]) -> Results | None:
    try:
        with limit(FOLD_BYTES):
            results = step.fn(*values)
    except Exception:
        return None
    arrays = results if step.multiple else (results,)
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
