"""An ONNX GraphProto -> :class:`rnnrt.graph.Graph`: names made unique, nodes sorted, everything checked on the way."""

from __future__ import annotations

import functools
import heapq
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ._core import messages
from .errors import ModelError, UnsupportedError
from .graph import WITH_BODIES, Graph, Node, Scope, captured
from .schema import check_node
from .tensors import TensorReader, is_external, text, value_of

MAX_DEPTH = 64
STANDARD = ("", "ai.onnx")
_FIELDS = {
    "FLOAT": "f", "INT": "i", "STRING": "s", "TENSOR": "t", "GRAPH": "g",
    "FLOATS": "floats", "INTS": "ints", "STRINGS": "strings", "TENSORS": "tensors", "GRAPHS": "graphs",
    "SPARSE_TENSOR": "sparse_tensor", "SPARSE_TENSORS": "sparse_tensors",
    "TYPE_PROTO": "tp", "TYPE_PROTOS": "type_protos",
}  # fmt: skip
_KINDS = {field: kind for kind, field in _FIELDS.items()}

InOut = tuple[list[str], list[str]]
Names = Scope
"""Name in the file -> name in the Graph, of all values visible at a place."""


class GraphReader:
    """Converts the graphs of one model.

    Parameters
    ----------
    opsets
        Opset version by domain, ``""`` for the standard one.
    tensors
        What makes the arrays.
    """

    def __init__(self, opsets: Mapping[str, int], tensors: TensorReader):
        self._opsets = opsets
        self._tensors = tensors
        self._renamed: set[str] = set()
        self._tries: dict[str, int] = {}

    def constants(self, proto: Any, where: str) -> dict[str, np.ndarray]:
        """The initializers of a GraphProto, sparse ones made dense, by their names in the file."""
        found: dict[str, np.ndarray] = {}
        sparse = ((s.values.name, s, self._tensors.sparse) for s in proto.sparse_initializer)
        dense = ((t.name, t, self._tensors.array) for t in proto.initializer)
        for raw_name, tensor, read in (*dense, *sparse):
            name = text(raw_name, f"an initializer of {where}")
            if not name:
                raise ModelError(f"{where}: an initializer has no name")
            if name in found:
                raise ModelError(f"{where}: two initializers are named {name!r}")
            found[name] = read(tensor, f"initializer {name!r}")
        return found

    def graph(
        self, proto: Any, nodes: Any, constants: dict[str, np.ndarray], outer: Names | None, where: str, depth: int = 0
    ) -> Graph:
        """Convert a graph; it and the graphs in it may use what `outer` names.

        Parameters
        ----------
        proto
            The GraphProto, read for its inputs and outputs only.
        nodes
            Its NodeProtos, which the Nodes keep.
        constants
            Its initializers, as :meth:`constants` gives them.
        """
        if depth > MAX_DEPTH:
            raise ModelError(f"{where}: graphs nested deeper than {MAX_DEPTH}")
        inputs = [value_of(v, "input", where) for v in proto.input]
        outputs = [value_of(v, "output", where) for v in proto.output]
        listed = [_names(p, where) for p in nodes]
        given = [v for v in inputs if depth or v.name not in constants]
        untyped = next((v for v in given if depth == 0 and v.kind == "tensor" and v.dtype is None), None)
        if untyped:
            raise ModelError(f"input {untyped.name!r} of {where}: expected an element type, got none")
        names = Scope(self._define([v.name for v in given], constants, listed, outer, where), outer)
        converted = [self._node(p, *io, names, where, depth) for p, io in zip(nodes, listed, strict=True)]
        _check_made(listed, converted, [v.name for v in outputs], names, where)
        for value in (*given, *outputs):
            value.name = names[value.name]
        return Graph(
            inputs=given,
            outputs=outputs,
            nodes=_sorted(converted, where),
            constants={names[k]: v for k, v in constants.items()},
            name=text(proto.name, where),
        )

    def _node(self, proto: Any, inputs: list[str], outputs: list[str], names: Names, where: str, depth: int) -> Node:
        op, domain, name = proto.op_type, proto.domain, proto.name
        if type(proto) is not messages.Node:
            op, domain, name = text(op, where), text(domain, where), text(name, where)
        domain = "" if domain in STANDARD else domain
        node = Node(op, inputs, outputs, {}, domain, 1, name, proto)
        label = node.label() if depth == 0 else f"{node.label()} in {where}"
        if not op:
            raise ModelError(f"{label}: the node has no operator type")
        if domain not in self._opsets:
            raise ModelError(f"{label}: the model imports no opset of the domain {domain!r}")
        node.version = self._opsets[domain]
        types: dict[str, str] = {}
        for attribute in proto.attribute:
            key = attribute.name if type(attribute) is messages.Attribute else text(attribute.name, label)
            if not key or key in types:
                raise ModelError(
                    f"{label}: {f'the attribute {key!r} is given twice' if key else 'an attribute has no name'}"
                )
            if type(attribute) is messages.Attribute:
                kind, value = attribute.kind, attribute.value
            else:
                kind = _attribute_type(attribute, f"{label}: attribute {key!r}")
                value = getattr(attribute, _FIELDS[kind])
            types[key] = kind
            if kind in ("FLOAT", "INT"):
                node.attrs[key] = value
            else:
                self._attribute(node, value, key, kind, names, label, depth)
        check_node(node, types, label)
        if self._renamed:
            node.inputs = [names.get(name, name) for name in inputs]
            node.outputs = [names.get(name, name) for name in outputs]
            if (node.inputs, node.outputs) != (inputs, outputs) or any(node.subgraphs()):
                node.proto = None
        return node

    def _define(
        self,
        inputs: list[str],
        constants: Iterable[str],
        nodes: list[InOut],
        outer: Names | None,
        where: str,
    ) -> dict[str, str]:
        """Names for all that a graph defines: those of the file, unless a graph around it uses the same one."""
        maker: dict[str, str] = {}
        made = [(name, "an input") for name in inputs] + [(name, "an initializer") for name in constants]
        made += [(name, "a node") for _, outputs in nodes for name in outputs if name]
        for name, what in made:
            if name in maker:
                raise ModelError(
                    f"{where}: expected one definition of the value {name!r}, got two: {maker[name]} and {what}"
                )
            maker[name] = what
        own = dict(zip(maker, maker, strict=True))
        if outer is None:
            return own
        for name in maker:
            if name in outer or name in self._renamed:
                k = self._tries.get(name, 0) + 1
                while (fresh := f"{name}__{k}") in own or fresh in outer or fresh in self._renamed:
                    k += 1
                own[name], self._tries[name] = fresh, k
                self._renamed.add(fresh)
        return own

    def _attribute(self, node: Node, value: Any, key: str, kind: str, names: Names, label: str, depth: int) -> None:
        """Put the Python form of an attribute's `value` into ``node.attrs``."""
        where = f"{label}: attribute {key!r}"
        if kind in ("FLOATS", "INTS"):
            node.attrs[key] = list(value)
        elif kind == "STRING":
            node.attrs[key] = _string(value)
        elif kind == "STRINGS":
            node.attrs[key] = [_string(s) for s in value]
        elif kind in ("TENSOR", "TENSORS"):
            tensors = [value] if kind == "TENSOR" else value
            arrays = [self._tensors.array(t, where) for t in tensors]
            node.attrs[key] = arrays[0] if kind == "TENSOR" else arrays
            if any(is_external(t) or self._tensors.was_taken(t) for t in tensors):
                node.proto = None  # it does not hold the data, and only we know where that is
        elif kind == "GRAPH":
            if not node.domain and node.op not in WITH_BODIES:
                raise UnsupportedError(f"{where}: a graph, which no operator of this name takes")
            inside = f"{key} of {label}"
            sub = self.graph(value, value.node, self.constants(value, inside), names, inside, depth + 1)
            node.attrs[key] = sub
            if self._tensors.is_slim and node.op in ("If", "Loop", "Scan"):
                node.proto = None  # it does not hold the data of the constants in it
        elif kind == "SPARSE_TENSOR" and (node.op, node.domain, key) == ("Constant", "", "sparse_value"):
            node.attrs["value"], node.proto = self._tensors.sparse(value, where), None
        elif kind == "GRAPHS":
            raise UnsupportedError(f"{where}: a list of graphs, which no operator of ONNX takes")
        else:
            node.attrs[key] = list(value) if kind.endswith("S") else value


def _names(proto: Any, where: str) -> InOut:
    """Names of the inputs and outputs of a NodeProto."""
    if type(proto) is messages.Node:
        return proto.input, proto.output
    place = f"a value's name in {where}"
    inputs, outputs = list(proto.input), list(proto.output)
    if all(type(name) is str for name in (*inputs, *outputs)):
        return inputs, outputs
    return [text(name, place) for name in inputs], [text(name, place) for name in outputs]


def _string(value: bytes) -> str | bytes:
    """A string attribute: text where it is UTF-8, else the bytes."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value


@functools.lru_cache(maxsize=64)
def _type_name(enum: Any, number: int) -> str:
    return str(enum.Name(number))


def _attribute_type(proto: Any, where: str) -> str:
    """The attribute's type, which has to agree with the field that holds its value."""
    kind = _type_name(proto.AttributeType, proto.type)
    fields = proto.ListFields()  # in the order of their numbers
    if len(fields) == 3 and fields[1][0].name == _FIELDS.get(kind) and fields[2][0].name == "type":
        return kind  # a name, a value and the type that says so
    if proto.ref_attr_name:
        raise ModelError(f"{where}: it refers to an attribute of a function, but is not inside one")
    filled = [field.name for field, _ in fields if field.name in _KINDS]
    if kind == "UNDEFINED" and len(filled) == 1:
        return _KINDS[filled[0]]  # IR version 1 had no types
    if kind == "UNDEFINED":
        raise ModelError(f"{where}: expected a type and a value, got {', '.join(filled) or 'neither'}")
    # Nothing filled means the type's zero, which some writers leave out.
    if filled not in ([], [_FIELDS[kind]]) or (
        not filled and kind in ("TENSOR", "GRAPH", "SPARSE_TENSOR", "TYPE_PROTO")
    ):
        raise ModelError(
            f"{where}: its type is {kind}, but it holds {' and '.join(_KINDS[f] for f in filled) or 'nothing'}"
        )
    return kind


def _check_made(listed: list[InOut], nodes: list[Node], outputs: list[str], names: Names, where: str) -> None:
    """Raise for uses of values, by `nodes` with the names `listed` or as `outputs`, that nothing makes."""
    used = set(outputs).union(*(inputs for inputs, _ in listed)) - names.own.keys() - {""}
    if any(name not in names for name in used):
        uses = [(name, node.label()) for node, io in zip(nodes, listed, strict=True) for name in io[0] if name]
        uses += [(name, "an output of the graph") for name in outputs]
        missing = {name: user for name, user in uses if name not in names}
        users = ", ".join(f"{name!r} (used by {user})" for name, user in list(missing.items())[:10])
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise ModelError(f"{where}: no node, input or initializer makes the value {users}{more}")


def _sorted(nodes: list[Node], where: str) -> list[Node]:
    """`nodes` with every maker before its users, otherwise in the order of the file (Kahn's algorithm)."""
    if _in_order(nodes):
        return nodes
    maker = {out: k for k, node in enumerate(nodes) for out in node.outputs if out}
    before = [{maker[name] for name in _uses(node) if name in maker} for node in nodes]
    users: list[list[int]] = [[] for _ in nodes]
    for k, makers in enumerate(before):
        for j in makers:
            users[j].append(k)
    waits = [len(makers) for makers in before]
    ready = [k for k, n in enumerate(waits) if n == 0]
    order = []
    while ready:
        j = heapq.heappop(ready)
        order.append(j)
        for k in users[j]:
            waits[k] -= 1
            if waits[k] == 0:
                heapq.heappush(ready, k)
    if len(order) < len(nodes):
        cycle = [nodes[k].label() for k in _cycle(before, {k for k, n in enumerate(waits) if n})]
        shown = [*cycle[:8], f"{len(cycle) - 8} more"] if len(cycle) > 9 else cycle
        raise ModelError(f"{where}: its nodes form a cycle: {' -> '.join([*shown, cycle[0]])}")
    return [nodes[k] for k in order]


def _in_order(nodes: list[Node]) -> bool:
    """Whether no node uses what it or a later one makes."""
    later: set[str] = set()
    for node in reversed(nodes):
        later.update(node.outputs)
        later.discard("")
        if not later.isdisjoint(_uses(node)):
            return False
    return True


def _uses(node: Node) -> list[str]:
    return [*node.inputs, *captured(node)] if node.subgraphs() else node.inputs


def _cycle(before: list[set[int]], stuck: set[int]) -> list[int]:
    """A cycle, in the direction of the data, among nodes each of which waits for another one of them."""
    path: dict[int, None] = {}
    k = min(stuck)
    while k not in path:
        path[k] = None
        k = min(before[k] & stuck)
    backward = list(path)
    return backward[backward.index(k) :][::-1]
