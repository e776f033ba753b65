"""Optional, OptionalGetElement, OptionalHasElement: None stands for an optional without a value."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..graph import Node
from .registry import Function, operator


@operator("Optional")
def build_optional(node: Node) -> Function:
    """The value itself; None where there is no input."""
    return lambda value=None: value


@operator("OptionalGetElement")
def build_get(node: Node) -> Function:
    """The value, which has to be there."""
    label = node.label()

    def run(value: Any) -> Any:
        if value is None:
            raise InputError(f"{label}: expected an optional that holds a value, got an empty one")
        return value

    return run


@operator("OptionalHasElement")
def build_has(node: Node) -> Function:
    """Whether there is a value: a bool scalar."""
    return lambda value=None: np.array(value is not None)
