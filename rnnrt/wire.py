"""The large tensors of a serialized model, taken out before protobuf sees it.

Protobuf copies what it parses, and Python's access to a bytes field copies it once more. So the model is gone through
here first: the data of large initializers is read to where it stays, and what is left, small, is parsed. Only the
fields on the way to that data are looked at; whatever is not as it should be leaves the model to protobuf as it is,
which then says what is wrong.

A message is a row of fields: a varint of field number * 8 + kind, then a varint (kind 0), 8 or 4 bytes (1, 5), or a
varint and as many bytes (2). The way is ModelProto.graph (7), GraphProto.initializer (5), TensorProto.raw_data (9).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

LARGE_MODEL, LARGE = 1 << 20, 1 << 15
"""Bytes of a model, and of one initializer's data, from which on it pays."""

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_WINDOW = 1 << 16
_MOST_VARINT = 10
_ALIGNED = 64
_HUGE = 1 << 21


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
        array = _memory(stop - start)
        rest = array.data
        while rest:
            count = os.preadv(self.descriptor, [rest], stop - len(rest))
            if not count:
                raise _Strange
            rest = rest[count:]
        return array


def _memory(size: int) -> np.ndarray:
    """`size` bytes, in huge pages where there are such: what is touched for the first time costs by the page."""
    if size < _HUGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.empty(size, np.uint8)
    memory = mmap.mmap(-1, size + _HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    first = -np.frombuffer(memory, np.uint8).ctypes.data % _HUGE
    with suppress(OSError):  # the system may not have them
        memory.madvise(mmap.MADV_HUGEPAGE, first, size // _HUGE * _HUGE)
    return np.frombuffer(memory, np.uint8, size, first)


@dataclass(slots=True)
class Slim:
    """A serialized model without the data of its large initializers, and that data by the initializer's number."""

    model: bytes
    data: dict[int, np.ndarray] = field(default_factory=dict)


_Field = tuple[int, int, int, int, int]
"""Number, kind, where it starts, where its content starts, where it stops."""


def slim(source: Bytes | Opened) -> Slim | None:
    """Take out the data of large initializers; None if there is none, or the model is not as it should be."""
    if source.size < LARGE_MODEL:
        return None
    try:
        graphs = [f for f in _fields(source, 0, source.size) if f[0] == _GRAPH]
        if len(graphs) != 1 or graphs[0][1] != 2:
            return None
        _, _, start, body, stop = graphs[0]
        found: dict[int, np.ndarray] = {}
        graph = _without_data(source, body, stop, found)
        parts = [source.at(0, start), _header(_GRAPH, len(graph)), graph, source.at(stop, source.size)]
        return Slim(b"".join(parts), found) if found else None
    except _Strange:
        return None


def _without_data(source: Bytes | Opened, copied: int, stop: int, found: dict[int, np.ndarray]) -> bytes:
    """The content of a graph, which goes from `copied` to `stop`, without the data that goes into `found`."""
    parts: list[bytes] = []
    count = -1
    for number, kind, start, body, end in _fields(source, copied, stop):
        if number != _INITIALIZER or kind != 2:
            continue
        count += 1
        if end - body < LARGE:
            continue
        data = [f for f in _fields(source, body, end) if f[0] == _RAW_DATA]
        if len(data) != 1 or data[0][1] != 2 or data[0][4] - data[0][3] < LARGE:
            continue
        _, _, field_start, first, last = data[0]
        before, after = source.at(body, field_start), source.at(last, end)
        parts += [source.at(copied, start), _header(_INITIALIZER, len(before) + len(after)), before, after]
        copied = end
        found[count] = source.array(first, last)
    return b"".join([*parts, source.at(copied, stop)])


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
