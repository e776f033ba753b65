"""Which operators have native steps: a table from (domain, name) to a *binder*.

A binder is called when a plan is bound to shapes. ``bind(emitter, node, *tensors)`` gets one `Tensor` an input (None
for an absent one), emits steps, and returns the output tensor, or, for operators with several outputs, a tuple with one
entry an output of ``node.outputs`` (None for those without a name). It returns None for a form it does not know, before
it emits anything: the node then runs in the NumPy tier. Inputs are in memory (`Tensor.force` was called), unless the
binder is registered with ``lazy=True``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..records import record

Binder = Callable[..., Any]


@record
class Native:
    """A registered binder; `lazy` tells whether it takes tensors that are not computed yet."""

    bind: Binder
    lazy: bool


NATIVE: dict[tuple[str, str], Native] = {}


def native(*names: str, domain: str = "", lazy: bool = False) -> Callable[[Binder], Binder]:
    """Register the decorated binder under `names` in `domain`."""

    def register(bind: Binder) -> Binder:
        for name in names:
            NATIVE[domain, name] = Native(bind, lazy)
        return bind

    return register
