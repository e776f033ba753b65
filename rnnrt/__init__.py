"""rnnrt: recurrent ONNX models on a CPU, NumPy arrays in and out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._core.engine import cpu
from .errors import InputError, ModelError, RnnrtError, UnsupportedError

if TYPE_CHECKING:
    from .graph import Value as Value
    from .model import Model as Model
    from .model import load as load
    from .session import InferenceSession as InferenceSession
    from .session import SessionOptions as SessionOptions
    from .stream import Stream as Stream

__version__ = "0.1.0"

# Imported when first asked for, so that `import rnnrt` costs next to nothing.
_LATER = {
    "InferenceSession": "session",
    "Model": "model",
    "SessionOptions": "session",
    "Stream": "stream",
    "Value": "graph",
    "load": "model",
}

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
    if name not in _LATER:
        raise AttributeError(f"module 'rnnrt' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_LATER[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
