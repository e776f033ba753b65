"""The large tensors of a serialized model, taken out before protobuf sees it.

Protobuf copies what it parses, and Python's access to a bytes field copies it once more. So the model is gone through
here first: the data of large initializers and Constant nodes is read to where it stays, and the rest is parsed, with a
mark in the place of each. Only the fields on the way to that data are looked at; whatever is not as it should be leaves
the model to protobuf as it is, which then says what is wrong.

A message is a row of fields: a varint of field number * 8 + kind, then a varint (kind 0), 8 or 4 bytes (1, 5), or a
varint and as many bytes (2). The numbers are those of ONNX's messages.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from ._core.engine import memory
from .records import field, record

LARGE_MODEL, LARGE = 1 << 20, 1 << 15
"""Bytes of a model, and of one tensor's data, from which on it pays."""

_GRAPH = 7  # of ModelProto
_NODE, _INITIALIZER = 1, 5  # of GraphProto
_OPERATOR, _ATTRIBUTE = 4, 5  # of NodeProto
_TENSOR, _SUBGRAPH = 5, 6  # of AttributeProto
_RAW_DATA = 9  # of TensorProto
_MOST_DEPTH = 64
_WINDOW = 1 << 16
_MOST_VARINT = 10
_ALIGNED = 64


class _Strange(Exception):
    """The model is for protobuf to look at."""


class Bytes:
    """A model in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def at(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to `stop`."""
        return self.data[start:stop]

    def array(self, start: int, stop: int) -> np.ndarray:
        """The same as an aligned, read-only uint8 array, of the same memory if that is possible."""
        view = np.frombuffer(self.data, np.uint8, stop - start, start)
        return view if view.ctypes.data % _ALIGNED == 0 else view.copy()


class Opened:
    """A model in a file."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor, self.size = descriptor, size
        self._window, self._start = b"", 0

    def at(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to `stop`."""
        if not self._start <= start <= stop <= self._start + len(self._window):
            self._start, self._window = start, os.pread(self.descriptor, max(stop - start, _WINDOW), start)
        part = self._window[start - self._start : stop - self._start]
        if len(part) != stop - start and stop <= self.size:
            raise _Strange
        return part

    def array(self, start: int, stop: int) -> np.ndarray:
        """The same as a uint8 array of its own."""
        array = memory(stop - start, passing=True)
        rest = array.data
        while rest:
            count = os.preadv(self.descriptor, [rest], stop - len(rest))
            if not count:
                raise _Strange
            rest = rest[count:]
        return array


@record
class Slim:
    """A serialized model in which a mark stands for the data of each large tensor, and the data by mark."""

    model: bytes | np.ndarray
    data: dict[bytes, np.ndarray] = field(default_factory=dict)


_Field = tuple[int, int, int, int, int]
"""Number, kind, where it starts, where its content starts, where it stops."""


def slim(source: Bytes | Opened) -> Slim | None:
    """Take out the data of large tensors; None if there is none, or the model is not as it should be."""
    if source.size < LARGE_MODEL:
        return None
    found: dict[bytes, np.ndarray] = {}
    try:
        graphs = [f for f in _fields(source, 0, source.size) if f[0] == _GRAPH]
        if len(graphs) != 1:
            return None
        model = _Taker(source, found).message(0, source.size, {_GRAPH: _Taker.graph})
        return Slim(model, found) if found else None
    except _Strange:
        return None


class _Taker:
    """Writes messages anew, with marks for the large data in them; each method is given where a message lies."""

    def __init__(self, source: Bytes | Opened, found: dict[bytes, np.ndarray]) -> None:
        self.source, self.found = source, found
        self.nonce = os.urandom(16)  # so that no data is a mark by chance
        self.depth = 0

    def message(self, start: int, stop: int, inner: Mapping[int, Callable[[_Taker, int, int], bytes]]) -> bytes:
        """The message with its large fields of the numbers in `inner` written anew."""
        parts: list[bytes] = []
        copied = start
        for number, kind, first, body, end in _fields(self.source, start, stop):
            if end - body >= LARGE and kind == 2 and number in inner:
                content = inner[number](self, body, end)
                parts += [self.source.at(copied, first), _header(number, len(content)), content]
                copied = end
        return b"".join([*parts, self.source.at(copied, stop)]) if parts else self.source.at(start, stop)

    def graph(self, start: int, stop: int) -> bytes:
        if self.depth > _MOST_DEPTH:
            raise _Strange
        return self.message(start, stop, {_INITIALIZER: _Taker.tensor, _NODE: _Taker.node})

    def node(self, start: int, stop: int) -> bytes:
        operators = [self.source.at(f[3], f[4]) for f in _fields(self.source, start, stop) if f[:2] == (_OPERATOR, 2)]
        # Other nodes may be run from their messages, in which data has to be.
        inner = {b"Constant": _Taker.constant, b"If": _Taker.body, b"Loop": _Taker.body, b"Scan": _Taker.body}
        if len(operators) != 1 or operators[0] not in inner:
            return self.source.at(start, stop)
        return self.message(start, stop, {_ATTRIBUTE: inner[operators[0]]})

    def constant(self, start: int, stop: int) -> bytes:
        return self.message(start, stop, {_TENSOR: _Taker.tensor})

    def body(self, start: int, stop: int) -> bytes:
        self.depth += 1
        content = self.message(start, stop, {_SUBGRAPH: _Taker.graph})
        self.depth -= 1
        return content

    def tensor(self, start: int, stop: int) -> bytes:
        data = [f for f in _fields(self.source, start, stop) if f[0] == _RAW_DATA]
        if len(data) != 1:
            return self.source.at(start, stop)
        return self.message(start, stop, {_RAW_DATA: _Taker.raw_data})

    def raw_data(self, start: int, stop: int) -> bytes:
        mark = self.nonce + len(self.found).to_bytes(8, "little")
        self.found[mark] = self.source.array(start, stop)
        return mark


def _fields(source: Bytes | Opened, start: int, stop: int) -> Iterator[_Field]:
    """The fields between two places, which have to end with the last one."""
    while start < stop:
        head = source.at(start, min(start + 2 * _MOST_VARINT, stop))
        key, used = _varint(head, 0)
        number, kind = key >> 3, key & 7
        if kind == 2:
            length, used = _varint(head, used)
            end = start + used + length
        elif kind == 0:
            end = start + _varint(head, used)[1]
        elif kind in (1, 5):
            end = start + used + (8 if kind == 1 else 4)
        else:
            raise _Strange
        if end > stop or not number:
            raise _Strange
        yield number, kind, start, start + used, end
        start = end


def _varint(head: bytes, used: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and where it ends in `head`."""
    value = shift = 0
    for byte in head[used : used + _MOST_VARINT]:
        used += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, used
        shift += 7
    raise _Strange


def _header(number: int, length: int) -> bytes:
    """The start of a field of `length` bytes."""
    result = bytearray()
    for value in (number << 3 | 2, length):
        while value > 127:
            result.append(value & 127 | 128)
            value >>= 7
        result.append(value)
    return bytes(result)
