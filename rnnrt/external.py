"""Tensor data kept beside the model: read from files inside the model's own folder, and from nowhere else.

Every byte range is checked against the size of its file before anything is allocated, and the ranges that a model asks
for may not add up to more than the files hold, so that memory stays bounded by what is on the disk.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping

import numpy as np

from .errors import ModelError


class ExternalData:
    """The data files of one model.

    Parameters
    ----------
    model_path
        Where the model was read from; None (it came as bytes or as a message) makes every request an error.
    """

    def __init__(self, model_path: str | None):
        self._folders: list[str] = []
        if model_path is not None:
            # A model reached through a link, as in a download cache, has two folders: the link's and the file's.
            shown, real = os.path.dirname(os.path.abspath(model_path)), os.path.dirname(os.path.realpath(model_path))
            self._folders = list(dict.fromkeys((shown, os.path.realpath(shown), real)))
        self._ranges: dict[tuple[str, int, int], np.ndarray] = {}
        self._left: dict[str, int] = {}

    def read(self, info: Mapping[str, str], size: int, where: str) -> np.ndarray:
        """Read `size` bytes for the tensor that `where` names.

        Parameters
        ----------
        info
            The tensor's ``external_data`` entries: ``location`` and, optionally, ``offset`` and ``length``.

        Returns
        -------
        Read-only uint8 array of `size` elements; the same one for the same range of the same file.
        """
        if not self._folders:
            raise ModelError(
                f"{where}: its data lies in the file {info.get('location', '')!r} beside the model; "
                "expected the model's path, got its content, which does not tell the folder"
            )
        path = self._resolve(info.get("location", ""), where)
        try:
            with open(
                os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)), "rb"
            ) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise ModelError(f"{where}: external data {info['location']!r} is no regular file")
                offset = _byte_range(info, size, status.st_size, where)
                key = (path, offset, size)
                if key not in self._ranges:
                    left = self._left.get(path, status.st_size) - size
                    if left < 0:
                        raise ModelError(
                            f"{where}: the tensors in {info['location']!r} overlap: "
                            f"together they want more than the file's {status.st_size} bytes"
                        )
                    self._left[path] = left
                    self._ranges[key] = _read_range(file, offset, size, where)
                return self._ranges[key]
        except OSError as error:
            raise ModelError(f"{where}: cannot read external data {info['location']!r}: {error.strerror}") from error

    def _resolve(self, location: str, where: str) -> str:
        """The real path of `location`, which has to be inside one of the model's folders."""
        parts = re.split(r"[/\\]", location)
        if not location or "\0" in location or parts[0] == "" or re.match(r"[A-Za-z]:", location) or ".." in parts:
            raise ModelError(
                f"{where}: expected the location of external data to be a relative path inside the model's folder, "
                f"got {location!r}"
            )
        missing = True
        for folder in self._folders:
            path = os.path.realpath(os.path.join(folder, location))
            if not os.path.lexists(os.path.join(folder, location)):
                continue
            missing = False
            if any(os.path.commonpath((path, inside)) == inside for inside in self._folders):
                return path
        if missing:
            raise ModelError(f"{where}: the file {location!r} with its data is missing from {self._folders[0]!r}")
        raise ModelError(f"{where}: external data {location!r} is a link that leads out of the model's folder")


def _byte_range(info: Mapping[str, str], size: int, file_size: int, where: str) -> int:
    """Check ``offset`` and ``length`` of `info` against tensor and file; return the offset."""
    numbers = {}
    for key in ("offset", "length"):
        text = info.get(key, "")
        if text and not re.fullmatch(r"[0-9]{1,19}", text):
            raise ModelError(f"{where}: expected {key} of its external data to be a number of bytes, got {text[:40]!r}")
        numbers[key] = int(text) if text else None
    offset = numbers["offset"] or 0
    length = numbers["length"] if numbers["length"] is not None else max(file_size - offset, 0)
    if length != size:
        raise ModelError(f"{where}: expected {size} bytes of external data for its type and shape, got {length}")
    if offset + length > file_size:
        raise ModelError(
            f"{where}: external data ends at byte {offset + length} of {info['location']!r}, "
            f"which has {file_size} bytes"
        )
    return offset


def _read_range(file, offset: int, size: int, where: str) -> np.ndarray:
    """Read exactly `size` bytes from `offset` on."""
    data = np.empty(size, np.uint8)
    file.seek(offset)
    if file.readinto(data.data) != size:
        raise ModelError(f"{where}: external data ends early: expected {size} bytes from byte {offset} on")
    data.setflags(write=False)
    return data
