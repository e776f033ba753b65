"""An ONNX model from wherever it lies -> :class:`File`: its Graph and what the file says about itself.

The file is a stranger's: whatever is wrong with it ends in a :class:`ModelError` that says what and where. The rules of
graphs are checked in :mod:`rnnrt.onnx_graph`, those of operators in :mod:`rnnrt.schema`, of tensors in
:mod:`rnnrt.tensors`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ._core import engine, messages
from .errors import InputError, ModelError, UnsupportedError
from .external import ExternalData
from .graph import Graph
from .onnx_graph import MAX_DEPTH, STANDARD, GraphReader
from .records import field, record
from .schema import newest_versions
from .tensors import TensorReader, text
from .wire import Bytes, Opened, Slim, slim

if TYPE_CHECKING:
    import onnx

MAX_FILE = (1 << 31) - 1
LARGE_MODEL = 1 << 23
"""Bytes of a file from which on it is not held in memory as a whole."""

LARGE_READ = 1 << 18

MAX_OPSET = (1 << 31) - 1
MAX_INLINED_NODES = 50_000
MAX_INLINED_BYTES = 1 << 26

_SIGNATURES = (
    (0, b"PK\x03\x04", "a zip archive, as PyTorch's .pt, .pth and Keras's .keras files are"),
    (0, b"\x89HDF", "an HDF5 file, as Keras's .h5 files are"),
    (0, b"\x80\x02", "a Python pickle, as older PyTorch files are"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"version https://git-lfs", "a Git LFS pointer: the model itself has not been downloaded"),
    (4, b"ORTM", "ONNX Runtime's own .ort format"),
    (4, b"TFL3", "a TensorFlow Lite model"),
)


@record
class File:
    """What an ONNX file holds.

    Attributes
    ----------
    graph
        The main graph, local functions inlined; initializers are constants and no inputs.
    opsets
        Opset version by domain; the standard domain is ``""``.
    producer, producer_version, graph_name, domain, description, graph_description, version, metadata
        As the file has them; empty or 0 where it says nothing. `version` is the model's, `metadata` the custom entries.
    path
        Where it was read from; None for bytes and messages.
    """

    graph: Graph
    opsets: dict[str, int]
    ir_version: int
    producer: str = ""
    producer_version: str = ""
    graph_name: str = ""
    domain: str = ""
    description: str = ""
    graph_description: str = ""
    version: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    path: str | None = None


def read_model(source: str | os.PathLike[str] | bytes | bytearray | memoryview | onnx.ModelProto) -> File:
    """Read a model from a path, from a file's content, or from a message, which is left as it is.

    Raises
    ------
    ModelError
        If there is no such file or its content is no valid ONNX model.
    UnsupportedError
        If it uses a part of ONNX that is outside of rnnrt.
    InputError
        If `source` is none of the above.
    """
    model, size, data, path = _open(source)
    opsets = _check_versions(model)
    about = _about(model)
    proto, where = model.graph, f"graph {about['graph_name']!r}"
    reader = GraphReader(opsets, TensorReader(ExternalData(path), data))
    constants = reader.constants(proto, where)
    # Nodes are kept, and a message keeps all that was parsed with it: copied, they let go of the initializers.
    if model.functions:
        proto = _inlined(model)
    elif type(model) is messages.Model:
        pass  # its nodes are as they are parsed apart
    elif 2 * (sum(a.nbytes for a in constants.values()) - sum(a.nbytes for a in data.values())) >= size:
        proto = _without_initializers(proto)
    del model
    graph = reader.graph(proto, proto.node, constants, None, where)
    return File(graph=graph, opsets=opsets, path=path, **about)


def _open(source: Any) -> tuple[Any, int, dict[bytes, np.ndarray], str | None]:
    """The model's message, its size in bytes, the data of its tensors that is not in it, and its path.

    The size is 0 where the message is the caller's, so that nothing of it may be kept.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return (*_parse(Slim(bytes(source)), "the model"), None)
    if isinstance(source, str | os.PathLike):
        path = os.fsdecode(source)
        return (*_parse(_content(path), repr(path)), path)
    import onnx

    if not isinstance(source, onnx.ModelProto):
        raise InputError(f"load: expected a path, bytes or an onnx.ModelProto, got {type(source).__name__}")
    if not source.HasField("graph"):
        raise ModelError("the model: expected a graph, got a message without one")
    _check_depth(source)
    return source, 0, {}, None


def _about(model: Any) -> dict[str, Any]:
    """What the model says about itself, as the fields of a File."""
    return {
        "ir_version": model.ir_version,
        "producer": text(model.producer_name, "the producer's name"),
        "producer_version": text(model.producer_version, "the producer's version"),
        "graph_name": text(model.graph.name, "the graph's name"),
        "domain": text(model.domain, "the model's domain"),
        "description": text(model.doc_string, "the model's description"),
        "graph_description": text(model.graph.doc_string, "the graph's description"),
        "version": model.model_version,
        "metadata": {text(e.key, "metadata"): text(e.value, "metadata") for e in model.metadata_props},
    }


def _content(path: str) -> Slim:
    """The content of a regular file of a size that protobuf can parse, of a large one without its large tensors."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ModelError(f"{path!r}: expected an ONNX file, got a folder")
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{path!r}: expected an ONNX file, got a device, pipe or socket")
        if status.st_size > MAX_FILE:
            raise ModelError(
                f"{path!r}: expected at most 2 GiB, the limit of the format, got {status.st_size} bytes; "
                "larger models keep their weights in external data"
            )
        with open(path, "rb") as file:
            # A number of bytes to read is allocated at once, so it had better not be the limit.
            large = slim(Opened(file.fileno(), status.st_size)) if status.st_size >= LARGE_MODEL else None
            return large or Slim(_read(file, status.st_size))
    except (OSError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"cannot read the model {path!r}: {getattr(error, 'strerror', None) or error}") from error


def _read(file: BinaryIO, size: int) -> bytes | np.ndarray:
    """Up to `size` bytes of a file, large ones in memory whose first touch costs less."""
    if size < LARGE_READ:
        return file.read(size)
    content = engine.memory(size, passing=True)
    rest = content.data
    while rest and (count := file.readinto(rest)):  # type: ignore[attr-defined]
        rest = rest[count:]
    return content[: size - len(rest)]


def _parse(source: Slim, name: str) -> tuple[Any, int, dict[bytes, np.ndarray]]:
    """What :func:`_open` returns but the path; `name` says in errors where it came from."""
    model = messages.read(source.model, source.data)
    if model is None:
        data = bytes(source.model)
        source = source if source.data else slim(Bytes(data)) or Slim(data)
        model = _parse_with_protobuf(bytes(source.model), name)
    return model, len(source.model), source.data


def _parse_with_protobuf(data: bytes, name: str) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    if not data:
        raise ModelError(f"{name}: expected an ONNX model, got no bytes at all")
    try:
        model = onnx.ModelProto.FromString(data)
    except (DecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{name}: expected an ONNX model, got {_looks_like(data)}") from error
    lacks = next((what for what in ("ir_version", "graph") if not model.HasField(what)), None)
    if lacks:
        raise ModelError(f"{name}: expected an ONNX model, got {_looks_like(data, f'a message without {lacks}')}")
    return model


def _looks_like(data: bytes, otherwise: str = "damaged or unfinished data") -> str:
    """What kind of file this seems to be."""
    for offset, magic, what in _SIGNATURES:
        if data.startswith(magic, offset):
            return what
    head = data[:256]
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "a web page"
    if all(byte >= 32 or byte in b"\t\n\r\f" for byte in head):
        return f"what looks like text: {head[:40].decode('utf-8', 'replace')!r}"
    return f"{otherwise} ({len(data)} bytes)"


def _check_versions(model: Any) -> dict[str, int]:
    """Check IR version and opsets; return the opset version by domain."""
    newest_ir, newest = newest_versions()
    if model.ir_version > newest_ir:
        import onnx

        newest_ir = max(newest_ir, onnx.IR_VERSION)
    if not 1 <= model.ir_version <= newest_ir:
        hint = "; a newer onnx package may know it" if model.ir_version > newest_ir else ""
        raise ModelError(f"the model: expected an IR version from 1 to {newest_ir}, got {model.ir_version}{hint}")
    opsets: dict[str, int] = {}
    for entry in model.opset_import:
        domain = text(entry.domain, "an imported opset's domain")
        domain = "" if domain in STANDARD else domain
        if opsets.get(domain, entry.version) != entry.version:
            raise ModelError(
                f"the model imports two opsets of the domain {domain!r}: {opsets[domain]} and {entry.version}"
            )
        if not 1 <= entry.version <= MAX_OPSET:
            raise ModelError(
                f"the model: expected opset versions from 1 to {MAX_OPSET}, got {entry.version} of domain {domain!r}"
            )
        opsets[domain] = entry.version
    if opsets.get("", 0) > newest:
        import onnx

        newest = max(newest, onnx.defs.onnx_opset_version())
    if opsets.get("", 0) > newest:
        raise ModelError(
            f"the model: expected an opset up to {newest}, which is what onnx {onnx.__version__} knows, "
            f"got {opsets['']}; upgrade the onnx package"
        )
    if model.ir_version < 3:
        opsets.setdefault("", 1)  # opsets came with IR version 3
    return opsets


def _without_initializers(proto: Any) -> Any:
    """A copy of a GraphProto's nodes, inputs and outputs."""
    copy = type(proto)(name=proto.name)
    copy.node.extend(proto.node)
    copy.input.extend(proto.input)
    copy.output.extend(proto.output)
    return copy


def _subgraphs(nodes: Iterable[Any]) -> list[Any]:
    return [g for n in nodes for a in n.attribute for g in ([a.g] if a.HasField("g") else []) + list(a.graphs)]


def _check_depth(model: Any) -> None:
    """A message made in memory may be nested deeper than copying it, a recursion in C, can stand; a parsed one not."""
    level = [model.graph.node, *(f.node for f in model.functions)]
    for _ in range(MAX_DEPTH + 1):
        level = [g.node for nodes in level for g in _subgraphs(nodes)]
        if not level:
            return
    raise ModelError(f"the model: graphs nested deeper than {MAX_DEPTH}")


def _inlined(model: Any) -> Any:
    """The GraphProto with all calls of local functions replaced by their bodies, and without the initializers' data."""
    from onnx import inliner

    _check_functions(model)
    slim = type(model)(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    slim.graph.CopyFrom(_without_initializers(model.graph))
    kept = [t.name for t in model.graph.initializer] + [s.values.name for s in model.graph.sparse_initializer]
    for name in kept:  # so that no name inside a function becomes theirs
        slim.graph.initializer.add(name=name, data_type=1, dims=[0])
    try:
        result = inliner.inline_local_functions(slim)
    except Exception as error:  # whatever the C++ side throws comes as one of several unrelated classes
        raise ModelError(f"the model: its local functions cannot be inlined: {error}") from error
    if result.functions:
        names = ", ".join(sorted(f"{f.domain}.{f.name}" for f in result.functions)[:5])
        raise UnsupportedError(
            f"the model: its functions {names} import other opsets than the model itself "
            f"({', '.join(f'{o.domain or STANDARD[1]} {o.version}' for o in model.opset_import)})"
        )
    return result.graph


def _check_functions(model: Any) -> None:
    """Raise if functions call each other in a circle or would grow the model beyond all bounds."""
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    grown: dict[tuple, tuple[int, int]] = {}
    open_calls: list[tuple] = []

    def size(key: tuple, nodes: Any, own_bytes: int) -> tuple[int, int]:
        """Nodes and bytes once everything is inlined."""
        if key in open_calls:
            raise ModelError(f"the model: the local function {key[0]}.{key[1]} calls itself")
        if len(open_calls) > MAX_DEPTH:
            raise ModelError(f"the model: local functions nested deeper than {MAX_DEPTH}")
        if key not in grown:
            open_calls.append(key)
            total_nodes, total_bytes = 0, own_bytes
            lists = [nodes]
            while lists:
                level = lists.pop()
                total_nodes += len(level)
                lists += [g.node for g in _subgraphs(level)]
                for node in level:
                    callee = (node.domain, node.op_type, node.overload)
                    if callee in functions:
                        f = functions[callee]
                        n, b = size(callee, f.node, f.ByteSize())
                        total_nodes, total_bytes = total_nodes + n, total_bytes + b
            open_calls.pop()
            grown[key] = (total_nodes, total_bytes)
        return grown[key]

    nodes, size_bytes = size(("", "", "the graph"), model.graph.node, 0)
    own = len(model.graph.node)
    if nodes - own > MAX_INLINED_NODES or size_bytes > MAX_INLINED_BYTES:
        raise UnsupportedError(
            f"the model: its local functions inlined are {nodes} nodes and {size_bytes} bytes; "
            f"the limits are {MAX_INLINED_NODES} and {MAX_INLINED_BYTES}"
        )
