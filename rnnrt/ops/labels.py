"""LabelEncoder and CategoryMapper of ai.onnx.ml: a table from keys to values, of strings, integers or floats."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..graph import Node
from .arguments import mismatch
from .registry import Function, operator

_KINDS: dict[str, Any] = {"strings": object, "int64s": np.int64, "floats": np.float32}
_DEFAULTS: dict[str, tuple[str, Any]] = {
    "strings": ("default_string", "_Unused"), "int64s": ("default_int64", -1), "floats": ("default_float", -0.0),
}  # fmt: skip


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _listed(node: Node, side: str) -> tuple[list[Any], str] | None:
    """The list ``<side>_strings``, ``_int64s`` or ``_floats`` of a node, and which it is."""
    for kind in _KINDS:
        found = node.attrs.get(f"{side}_{kind}")
        if isinstance(found, list | tuple) and len(found):
            return [_text(v) for v in found], kind
    return None


def _default(node: Node, kind: str) -> Any:
    name, usual = _DEFAULTS[kind]
    return _text(node.attrs.get(name, usual))


class _Table:
    """What each key stands for, and all that is no key."""

    def __init__(self, node: Node, keys: list[Any], values: list[Any], kind: str) -> None:
        self.node = node
        # Of a key that comes twice, the first counts.
        self.values = dict(zip(reversed(keys), reversed(values), strict=True))
        self.default, self.dtype = _default(node, kind), np.dtype(_KINDS[kind])

    def look_up(self, x: np.ndarray) -> np.ndarray:
        """A value for every element."""
        result = np.empty(x.size, self.dtype)
        for k, key in enumerate(x.reshape(-1).tolist()):
            result[k] = self.values.get(_text(key), self.default)
        return result.reshape(x.shape)


def _build(node: Node, keys: tuple[list[Any], str], values: tuple[list[Any], str]) -> Function:
    if len(keys[0]) != len(values[0]):
        raise UnsupportedError(f"{node.label()}: {len(keys[0])} keys and {len(values[0])} values")
    table = _Table(node, keys[0], values[0], values[1])
    text = keys[1] == "strings"

    def run(x: np.ndarray) -> np.ndarray:
        if (x.dtype.kind in "OSU") != text:
            raise mismatch(node, "input", "strings" if text else "numbers", x.dtype)
        return table.look_up(x)

    return run


def _both_ways(node: Node, texts: list[Any], numbers: list[Any]) -> Function:
    """Strings become numbers, and numbers strings."""
    forth = _build(node, (texts, "strings"), (numbers, "int64s"))
    back = _build(node, (numbers, "int64s"), (texts, "strings"))
    return lambda x: forth(x) if x.dtype.kind in "OSU" else back(x)


@operator("LabelEncoder", domain="ai.onnx.ml")
def build_label_encoder(node: Node) -> Function:
    """Y of X by the table; version 1 has strings, whose places in a list are their numbers."""
    classes = node.attrs.get("classes_strings")
    if classes:
        return _both_ways(node, [_text(v) for v in classes], list(range(len(classes))))
    keys, values = _listed(node, "keys"), _listed(node, "values")
    if keys is None or values is None:
        raise UnsupportedError(f"{node.label()}: a table of tensors")
    return _build(node, keys, values)


@operator("CategoryMapper", domain="ai.onnx.ml")
def build_category_mapper(node: Node) -> Function:
    """Strings to integers, or back."""
    texts, numbers = node.attrs.get("cats_strings") or [], node.attrs.get("cats_int64s") or []
    return _both_ways(node, [_text(v) for v in texts], [int(v) for v in numbers])
