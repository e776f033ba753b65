"""The last-resort tier: one node run by the reference evaluator of the ``onnx`` package. Right, but slow.

What is known to be wrong there is refused, as is what needs the values of an outer graph.
"""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

import numpy as np

from .._core import messages
from ..errors import InputError, RnnrtError, UnsupportedError
from ..graph import Node, captured
from .common import text
from .limits import quiet
from .registry import Function

WRONG = {
    "LSTM": "it ignores sequence lengths, clip, activations, layout of states and input_forget",
    "GRU": "it ignores sequence lengths, clip, activations and directions",
    "RNN": "it ignores sequence lengths, clip and directions",
}
"""Operators that the reference evaluator answers wrongly, and how."""

PACKAGES = {"ImageDecoder": ("PIL", "Pillow")}
"""Operators for which the reference evaluator needs a module, and the package it comes in."""

DOMAINS = ("", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training")

# warnings.catch_warnings changes state of the whole process.
_lock = threading.RLock()


def _renew_lock() -> None:
    """A forked child has none of the threads that may have held the lock."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def reference(node: Node) -> Function:
    """The function that runs `node`, as ``node.proto`` or else its attributes say, in the reference evaluator.

    Returns
    -------
    callable
        Takes one argument an input (arrays, lists for sequences, None for absent ones) and returns a *tuple* with one
        entry an output of ``node.outputs``, also where there is only one; None for an output without a name.

    Raises
    ------
    UnsupportedError
        If the evaluator does not know this operator at this version, or not rightly, or the node cannot be put into a
        message for it.
    InputError
        From the function: if the evaluator fails on what it is given.
    """
    _refuse(node)
    evaluator = _Evaluator(node)
    label = node.label()

    def run(*args: Any) -> tuple:
        with _lock, warnings.catch_warnings(), quiet():
            warnings.simplefilter("ignore")
            try:
                return evaluator(args)
            except RnnrtError:
                raise
            except Exception as error:
                raise InputError(f"{label}: the reference operator failed: {_first_line(error)}") from error

    return run


def _refuse(node: Node) -> None:
    label = node.label()
    if node.domain not in DOMAINS:
        raise UnsupportedError(f"{label}: the reference evaluator has no operators of domain {node.domain!r}")
    if node.domain == "" and node.op in WRONG:
        raise UnsupportedError(f"{label}: the reference evaluator is wrong for it: {WRONG[node.op]}")
    if node.op in PACKAGES and find_spec(PACKAGES[node.op][0]) is None:
        raise UnsupportedError(f"{label}: needs the package {PACKAGES[node.op][1]}, which is not installed")
    cubic = text(node.attrs.get("mode", "")) in ("cubic", "bicubic")
    if node.op == "GridSample" and cubic and text(node.attrs.get("padding_mode", "")) == "border":
        raise UnsupportedError(f"{label}: the reference evaluator is wrong for cubic interpolation with border padding")
    if node.op == "Dropout" and len(node.inputs) > 2:
        raise UnsupportedError(f"{label}: dropout in training mode, whose answer is random")
    if captured(node):
        raise UnsupportedError(f"{label}: its subgraph uses values of the graph around it")


class _Evaluator:
    """A model of one node; for an operator defined by a function of its input types, one model a signature."""

    def __init__(self, node: Node) -> None:
        from onnx import defs

        self._node, self._proto = node, _proto(node)
        self._version = min(node.version, _newest()) if node.domain == "" else node.version
        self._outputs = [out for out in node.outputs if out]
        try:
            schema: Any = defs.get_schema(node.op, self._version, node.domain)
        except defs.SchemaError:
            raise UnsupportedError(f"{node.label()}: ONNX defines no such operator at version {node.version}") from None
        if schema.deprecated:
            raise UnsupportedError(f"{node.label()}: withdrawn from ONNX at version {schema.since_version}")
        self._of_types = not _registered(node) and not schema.has_function and schema.has_context_dependent_function
        self._schema = schema
        self._models: dict[tuple, Any] = {}
        if not self._of_types:
            self._models[()] = self._model([self._proto], [])

    def __call__(self, args: tuple) -> tuple:
        feeds = {name: value for name, value in zip(self._node.inputs, args, strict=False) if name}
        results = iter(self._evaluator(args).run(self._outputs, feeds))
        return tuple(next(results) if out else None for out in self._node.outputs)

    def _evaluator(self, args: tuple) -> Any:
        if not self._of_types:
            return self._models[()]
        key = tuple(None if a is None else (a.dtype, a.ndim) for a in args)
        if key not in self._models:
            self._models[key] = self._expanded(args)
        return self._models[key]

    def _expanded(self, args: tuple) -> Any:
        """The function that the schema defines for inputs of these types, as a model."""
        from onnx import FunctionProto, TypeProto, helper

        node = self._node
        types = []
        for a in args:
            code = None if a is None else helper.np_dtype_to_tensor_dtype(a.dtype)
            types.append(TypeProto() if code is None else helper.make_tensor_type_proto(code, [None] * a.ndim))
        build = self._schema.get_context_dependent_function
        body = build(self._proto.SerializeToString(), [t.SerializeToString() for t in types])
        function = FunctionProto.FromString(body)
        call = helper.make_node(function.name, node.inputs, node.outputs, domain=function.domain or "rnnrt.function")
        call.attribute.extend(self._proto.attribute)
        function.domain = call.domain
        return self._model([call], [function])

    def _model(self, nodes: Iterable[Any], functions: list[Any]) -> Any:
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        node, make_value = self._node, _untyped
        domains = {"": _newest(), node.domain: self._version}
        domains |= {f.domain: 1 for f in functions if f.domain not in domains}
        inputs = [make_value(name) for name in dict.fromkeys(node.inputs) if name]
        graph = helper.make_graph(list(nodes), "node", inputs, [make_value(name) for name in self._outputs])
        opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
        model = helper.make_model(graph, opset_imports=opsets, functions=functions)
        with _lock, warnings.catch_warnings(), quiet():
            warnings.simplefilter("ignore")
            try:
                return ReferenceEvaluator(model)
            except Exception as error:
                what = f"{node.label()}: not in the reference evaluator"
                raise UnsupportedError(f"{what}: {_first_line(error)}") from error


def _proto(node: Node) -> Any:
    """A NodeProto of `node` with the names that its values have now."""
    from onnx import NodeProto, helper, numpy_helper

    proto = NodeProto()
    if node.proto is not None:
        proto = message_of(node)
        del proto.input[:], proto.output[:]
    else:
        proto.op_type, proto.domain, proto.name = node.op, node.domain, node.name
        try:
            for key, value in node.attrs.items():
                tensor = numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
                proto.attribute.append(helper.make_attribute(key, tensor))
        except (TypeError, ValueError) as error:
            raise UnsupportedError(f"{node.label()}: no ONNX attribute {key!r} can be made: {error}") from error
    proto.input.extend(node.inputs)
    proto.output.extend(node.outputs)
    return proto


def message_of(node: Node) -> Any:
    """A NodeProto of one's own that says what ``node.proto`` does."""
    from onnx import NodeProto

    if type(node.proto) is messages.Node:
        return NodeProto.FromString(node.proto.serialize())
    proto = NodeProto()
    proto.CopyFrom(node.proto)
    return proto


def _untyped(name: str) -> Any:
    from onnx import ValueInfoProto

    return ValueInfoProto(name=name)


def _newest() -> int:
    from onnx import defs

    return defs.onnx_opset_version()


def _registered(node: Node) -> bool:
    """Whether the evaluator has a class for the operator, be it for another version."""
    if node.domain:
        return True
    from onnx.reference.ops import _op_list

    return node.op in _known(_op_list)


@functools.cache
def _known(op_list: Any) -> frozenset[str]:
    return frozenset(name.split("_")[0] for name in op_list.__all__)


def _first_line(error: BaseException) -> str:
    cause = error.__cause__ or error
    return (str(cause).splitlines() or [type(cause).__name__])[0][:200]
