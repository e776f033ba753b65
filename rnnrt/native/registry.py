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
    """A registered binder.

    `lazy` tells whether it takes tensors that are not computed yet; it takes `least` inputs, and `most` if that is
    not None.
    """

    bind: Binder
    lazy: bool
    least: int
    most: int | None

    def takes(self, count: int) -> bool:
        """Whether a node with so many inputs can be bound; only those of ONNX's own operators have been counted."""
        return self.least <= count and (self.most is None or count <= self.most)


_VARIADIC = 4  # CO_VARARGS


def _made(bind: Any, lazy: bool) -> Native:
    code = bind.__code__
    named = code.co_argcount - 2
    return Native(bind, lazy, named - len(bind.__defaults__ or ()), None if code.co_flags & _VARIADIC else named)


NATIVE: dict[tuple[str, str], Native] = {}


def native(*names: str, domain: str = "", lazy: bool = False) -> Callable[[Binder], Binder]:
    """Register the decorated binder under `names` in `domain`."""

    def register(bind: Binder) -> Binder:
        found = _made(bind, lazy)
        for name in names:
            NATIVE[domain, name] = found
        return bind

    return register
