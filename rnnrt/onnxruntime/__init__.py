"""``import rnnrt.onnxruntime as ort`` is enough to move a program written for onnxruntime.

It follows the Python interface of onnxruntime 1.32 as far as it concerns loading and running models on a CPU; the
real package is neither needed nor imported. Errors are instances of rnnrt's classes and of onnxruntime's at once, the
latter from :mod:`rnnrt.onnxruntime.capi.onnxruntime_pybind11_state`: ``except`` clauses catch what they caught.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .. import session as _session
from ..binding import IOBinding, OrtValue
from ..errors import InputError, ModelError, RnnrtError, UnsupportedError
from ..options import ExecutionMode, ExecutionOrder, GraphOptimizationLevel, RunOptions
from ..options import SessionOptions as _SessionOptions
from ..session import PROVIDERS, ModelMetadata, NodeArg
from . import capi as capi
from .capi import onnxruntime_pybind11_state as _classes

__version__ = "1.32.0"
"""The release of onnxruntime whose interface this is."""

__all__ = [
    "ExecutionMode",
    "ExecutionOrder",
    "GraphOptimizationLevel",
    "IOBinding",
    "InferenceSession",
    "ModelMetadata",
    "NodeArg",
    "OrtValue",
    "RunOptions",
    "SessionOptions",
    "capi",
    "disable_telemetry_events",
    "enable_telemetry_events",
    "get_all_providers",
    "get_available_providers",
    "get_build_info",
    "get_device",
    "get_version_string",
    "set_default_logger_severity",
    "set_default_logger_verbosity",
    "set_seed",
]

# Where onnxruntime tells causes apart that are one class here, the error is an instance of each class it raises.
_DAMAGED = (_classes.InvalidGraph, _classes.Fail, _classes.InvalidArgument)
_UNSUPPORTED = (_classes.NotImplemented, _classes.InvalidGraph, _classes.Fail)
_RUNNING = (_classes.Fail, _classes.RuntimeException, _classes.InvalidArgument)

_COMBINED: dict[tuple[type, ...], type[Exception]] = {}


class SessionOptions(_SessionOptions):
    """As :class:`rnnrt.SessionOptions`; its errors are onnxruntime's as well."""

    def register_custom_ops_library(self, path: str) -> None:
        """Refused: operators compiled for onnxruntime cannot be run here."""
        try:
            super().register_custom_ops_library(path)
        except UnsupportedError as error:
            raise _combined(error, _classes.Fail) from None


class InferenceSession(_session.InferenceSession):
    """As :class:`rnnrt.InferenceSession`; its errors are onnxruntime's as well."""

    def __init__(self, path_or_bytes: Any, sess_options: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(path_or_bytes, SessionOptions() if sess_options is None else sess_options, *args, **kwargs)

    def run_with_iobinding(self, iobinding: IOBinding, run_options: RunOptions | None = None) -> None:
        """Run on the bound inputs and put the outputs where they are bound; errors are RuntimeErrors as well."""
        try:
            super().run_with_iobinding(iobinding, run_options)
        except RnnrtError as error:
            raise _combined(error, RuntimeError) from error.__cause__

    def _load_error(self, error: Exception, source: Any) -> Exception:
        if isinstance(source, (str, os.PathLike)) and not Path(source).exists():
            return _combined(error, _classes.NoSuchFile)
        if isinstance(error, UnsupportedError):
            return _combined(error, *_UNSUPPORTED)
        if isinstance(error, InputError):
            known = isinstance(source, (str, os.PathLike, bytes))
            return _combined(error, _classes.InvalidArgument if known else TypeError)
        if isinstance(error, (ModelError, OSError)):
            return _combined(error, *(_DAMAGED if _parses(source) else (_classes.InvalidProtobuf,)))
        return _combined(error, _classes.Fail)

    def _run_error(self, error: Exception, feed: Any) -> Exception:
        if isinstance(error, InputError) and not (isinstance(feed, dict) and self._fits(feed)):
            return _combined(error, _classes.InvalidArgument)
        return _combined(error, *_RUNNING)

    def _fits(self, feed: dict[str, Any]) -> bool:
        """Whether a feed agrees with the declared inputs, so that an error arose in the graph."""
        if feed.keys() != {value.name for value in self._model.inputs}:
            return False
        for declared, arg in zip(self._model.inputs, self.get_inputs(), strict=True):
            array = feed[declared.name]
            if declared.dtype is None:
                continue
            if getattr(array, "dtype", None) != declared.dtype:
                return False
            if declared.shape is not None and (
                array.ndim != len(arg.shape)
                or any(isinstance(want, int) and want != got for want, got in zip(arg.shape, array.shape, strict=True))
            ):
                return False
        return True


def _combined(error: Exception, *classes: type[Exception]) -> Exception:
    """`error` as an instance of its own class and of `classes` at once."""
    bases = (*classes, type(error))
    if bases not in _COMBINED:
        body = {"__doc__": classes[0].__doc__, "__module__": __name__, "__reduce__": _reduce}
        _COMBINED[bases] = type(classes[0].__name__, bases, body)
    return _COMBINED[bases](*error.args)


def _reduce(error: Exception) -> tuple[Any, ...]:
    """How a combined error is pickled, its class being found in no module."""
    *classes, own = type(error).__bases__
    return _combined, (own(*error.args), *classes)


def _parses(source: Any) -> bool:
    """Whether `source` is an ONNX file or the bytes of one, whatever may be wrong with the model in it."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        onnx.load_model_from_string(data)
    except (DecodeError, OSError, TypeError):
        return not isinstance(source, (bytes, str, os.PathLike))
    return True


def get_available_providers() -> list[str]:
    """``["CPUExecutionProvider"]``."""
    return list(PROVIDERS)


def get_all_providers() -> list[str]:
    """``["CPUExecutionProvider"]``."""
    return list(PROVIDERS)


def get_device() -> str:
    """``CPU``."""
    return "CPU"


def get_version_string() -> str:
    """The release of onnxruntime whose interface this is."""
    return __version__


def get_build_info() -> str:
    """Which implementation this is."""
    return f"rnnrt, with the interface of onnxruntime {__version__}"


def set_default_logger_severity(severity: int) -> None:
    """Check the range and do nothing: rnnrt writes no log."""
    if not 0 <= severity <= 4:
        raise RuntimeError(f"severity: expected 0 (verbose) to 4 (fatal), got {severity}")


def set_default_logger_verbosity(verbosity: int) -> None:
    """Do nothing: rnnrt writes no log."""


def set_seed(seed: int) -> None:
    """Do nothing: a random operator draws from its own seed attribute."""


def enable_telemetry_events() -> None:
    """Do nothing: there is no telemetry."""


def disable_telemetry_events() -> None:
    """Do nothing: there is no telemetry."""
