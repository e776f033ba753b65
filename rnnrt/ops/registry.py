"""How an operator is looked up: a table from (domain, name) to a *builder*.

A builder is called once per node at load time. It reads the node's attributes and returns the function that runs the
node: ``fn(*arrays)``, one argument an input in the order of ``node.inputs``, None for an absent one. It returns the one
output, or, for an operator registered with ``multiple=True``, a tuple with one entry an output of ``node.outputs``. It
may return a view of its inputs and must not write into them.

A builder raises :class:`rnnrt.errors.UnsupportedError` for a form of the operator it does not know; the planner then
tries the next tier. It sees nodes after :mod:`rnnrt.rewrite.normalise`, so in the newest opset's form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..graph import Node
from ..records import record

Function = Callable[..., Any]
Builder = Callable[[Node], Function]


@record
class Operator:
    """A registered operator; `multiple` tells whether its function returns a tuple."""

    build: Builder
    multiple: bool


OPERATORS: dict[tuple[str, str], Operator] = {}


def operator(*names: str, domain: str = "", multiple: bool = False) -> Callable[[Builder], Builder]:
    """Register the decorated builder under `names` in `domain`."""

    def register(build: Builder) -> Builder:
        for name in names:
            OPERATORS[domain, name] = Operator(build, multiple)
        return build

    return register


def lookup(node: Node) -> Operator | None:
    """The operator that runs `node` in the NumPy tier, or None."""
    return OPERATORS.get((node.domain, node.op))
