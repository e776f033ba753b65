"""Weights that the process holds already: models of one file share them.

What is shared is found by a key that tells nearly all weights apart, compared byte by byte, and kept as long as a model
uses it. So opening a file again adds next to nothing to the memory in use.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np

from ._core import engine
from .graph import Graph

LARGE = 1 << 14
"""Bytes from which on constants are worth sharing."""

_SAMPLES = 64

_lock = threading.Lock()
_held: WeakValueDictionary[object, Any] = WeakValueDictionary()

Weights = TypeVar("Weights", np.ndarray, engine.Recurrent)


def shared_layer(layer: engine.Recurrent, *form: object) -> engine.Recurrent:
    """`layer`, or one that computes the same; `form` tells all of it but its weights."""
    return _shared(layer, (*form, layer.isa, layer.dtype.str, layer.nbytes, engine.sample_weights(layer, _SAMPLES)))


def share_constants(graph: Graph) -> None:
    """Replace large constants of `graph`, and of the graphs in it, by equal ones that the process holds."""
    for part in graph.walk():
        for name, array in part.constants.items():
            if array.nbytes >= LARGE and array.flags.c_contiguous and not array.dtype.hasobject:
                flat = array.reshape(-1)
                sample = flat[:: max(flat.size // _SAMPLES, 1)].tobytes()
                part.constants[name] = _shared(array, (array.dtype.str, array.shape, sample))


def _shared(weights: Weights, key: object) -> Weights:
    with _lock:
        held = _held.setdefault(key, weights)
    return held if held is weights or engine.same_weights(held, weights) else weights
