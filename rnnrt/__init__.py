"""rnnrt: recurrent ONNX models on a CPU, NumPy arrays in and out."""

from __future__ import annotations

from typing import Any

from ._core.engine import cpu
from .errors import InputError, ModelError, RnnrtError, UnsupportedError
from .graph import Value
from .model import Model, load
from .stream import Stream

__version__ = "0.1.0"
__all__ = [
    "InferenceSession",
    "InputError",
    "Model",
    "ModelError",
    "RnnrtError",
    "SessionOptions",
    "Stream",
    "UnsupportedError",
    "Value",
    "__version__",
    "cpu",
    "load",
]


def __getattr__(name: str) -> Any:
    """The look-alikes of onnxruntime, imported when first used."""
    if name in ("InferenceSession", "SessionOptions"):
        from . import session

        return getattr(session, name)
    raise AttributeError(f"module 'rnnrt' has no attribute {name!r}")
