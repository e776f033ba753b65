"""Lowered LSTM, GRU and RNN nodes on the compiled core: the native tier.

:func:`recurrent` packs a node's weights once and returns the binder of its step, and the function that runs it where it
cannot be bound (half precision, weights that are no constants). Views of the inputs cost no copy,
and outputs are written by the core straight into the arrangement that the graph wants (:mod:`rnnrt.rewrite.lower` says
how a lowered node is written).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ._core import engine
from .errors import InputError, ModelError
from .graph import Graph, Node, Scope
from .native.recurrent import RecurrentBinder
from .ops.registry import Function
from .rewrite.lower import INPUT_NAMES
from .rewrite.views import Groups, apply_views, arrange
from .shared import shared_layer

_WEIGHTS = (1, 2, 3, 7)
_FORM = (
    "direction", "hidden_size", "activations", "activation_alpha", "activation_beta", "clip", "input_forget",
    "linear_before_reset",
)  # fmt: skip

Values = Mapping[int, Any]
"""Input number -> array; absent inputs are missing or None."""


def recurrent(
    node: Node, constants: Scope | Mapping[str, np.ndarray], threads: int = 1
) -> tuple[Function, list[str], RecurrentBinder | None]:
    """The function that runs a lowered recurrent `node`, the names of the inputs it takes, and its binder.

    Weights among `constants` are packed now, which the node remembers, and are not needed after; others are packed at
    every call.

    Returns
    -------
    fn, names, native
        ``fn(*arrays)`` returns a tuple with one entry an output of ``node.outputs``, None for those without a name;
        ``native`` emits its step, and is None where there is none.

    Raises
    ------
    ModelError
        If the weights do not fit.
    InputError
        From the function: if its arrays do not fit.
    """
    given = {k: name for k, name in enumerate(node.inputs) if name}
    weights = {k: name for k, name in given.items() if k in _WEIGHTS}
    if "packed" not in node.attrs and all(name in constants for name in weights.values()):
        node.attrs["packed"] = pack(node, {k: constants[name] for k, name in weights.items()}, shared_layer)
    if "packed" in node.attrs:
        layer, dtype = node.attrs["packed"]
        fixed = _runner(node, layer, dtype, threads)
        taken = [k for k in given if k not in weights]
        native = RecurrentBinder(node, layer, taken, threads) if dtype == layer.dtype else None
        return (lambda *arrays: fixed(dict(zip(taken, arrays, strict=True)))), [given[k] for k in taken], native

    def run(*arrays: Any) -> tuple:
        values = dict(zip(given, arrays, strict=True))
        try:
            layer, dtype = pack(node, {k: values[k] for k in weights})
        except ModelError as error:
            raise InputError(str(error)) from None
        return _runner(node, layer, dtype, threads)(values)

    return run, list(given.values()), None


def release(graph: Graph) -> None:
    """Let go of what a plan of `graph` and of the graphs in it does not need any more.

    That is what packed nodes were packed from, unless others use it, and the nodes' messages, each of which keeps all
    that was parsed with it.
    """
    parts = list(graph.walk())
    for node in (node for part in parts for node in part.nodes):
        node.proto = None
        for k in _WEIGHTS if "packed" in node.attrs else ():
            if node.input(k):
                node.inputs[k] = ""
    used = {name for part in parts for node in part.nodes for name in node.inputs}
    used.update(value.name for part in parts for value in part.outputs)
    for part in parts:
        for name in part.constants.keys() - used:
            del part.constants[name]


def pack(node: Node, weights: Values, shared: Callable | None = None) -> tuple[engine.Recurrent, np.dtype]:
    """The packed layer and the dtype of the node's arrays; half precision is computed in single.

    `shared` may put a layer that is there already in its place.
    """
    attrs = node.attrs
    quantized = attrs.get("quantized")
    dtype = np.dtype(np.float32) if quantized is not None else weights[1].dtype
    wide = np.dtype(np.float64 if dtype == np.float64 else np.float32)
    dtypes = {} if quantized is None else {1: np.int8, 2: np.int8}
    arrays: list[Any] = [
        np.require(weights[k], dtypes.get(k, wide), ["C", "A"]) if k in weights else None for k in _WEIGHTS
    ]
    w, r, b, p = arrays
    try:
        layer = engine.Recurrent(
            node.op, w, r, b, p,
            direction=attrs["direction"],
            activations=attrs["activations"],
            alpha=attrs["activation_alpha"],
            beta=attrs["activation_beta"],
            clip=attrs["clip"],
            input_forget=attrs.get("input_forget", False),
            linear_before_reset=attrs.get("linear_before_reset", False),
            quantized=quantized,
        )  # fmt: skip
    except ValueError as error:
        raise type(error)(f"{node.label()}: {error}") from None
    if shared:
        layer = shared(layer, node.op, *(repr(attrs.get(key)) for key in _FORM))
    return layer, dtype


def _runner(node: Node, layer: engine.Recurrent, dtype: np.dtype, threads: int) -> Callable[[Values], tuple]:
    """The function from {input number: array} to the node's outputs."""
    label, wide = node.label(), layer.dtype
    views = node.attrs["in_views"]
    arrangements = node.attrs["out_axes"]
    makers = [_maker(arrangements.get(k), 3 if k else 4) if node.output(k) else None for k in range(len(node.outputs))]

    def prepare(values: Values, k: int) -> np.ndarray | None:
        array = values.get(k)
        if array is None:
            return None
        if array.dtype != dtype:
            raise InputError(f"{label}: {INPUT_NAMES[k]}: expected {dtype}, got {array.dtype}")
        if k in views:
            try:
                array = apply_views(array, views[k])
            except (ValueError, IndexError) as error:
                raise InputError(f"{label}: {INPUT_NAMES[k]}: shape {values[k].shape} does not fit: {error}") from None
        if wide != dtype:
            array = array.astype(wide)
        contiguous = array.ndim and (array.strides[-1] == array.itemsize or array.shape[-1] == 1)
        return array if contiguous and array.flags.aligned else np.require(array, requirements=["C", "A"])

    def run(values: Values) -> tuple:
        x = prepare(values, 0)
        if x is None or x.ndim != 3:
            raise InputError(f"{label}: X: expected (T, B, {layer.input_size}), got {None if x is None else x.shape}")
        sizes = (x.shape[0], layer.num_directions, x.shape[1], layer.hidden_size)
        written: list[Any] = [None, None, None]
        results: list[Any] = [None] * len(makers)
        for k, make in enumerate(makers):
            if make is not None:
                written[k], results[k] = make(sizes if k == 0 else sizes[1:], wide)
        y, y_h, y_c = written
        try:
            layer.run(x, values.get(4), prepare(values, 5), prepare(values, 6), y, y_h, y_c, threads=threads)
        except InputError as error:
            raise InputError(f"{label}: {error}") from None
        for k, make in enumerate(makers):
            if make is not None:
                result = arrange(written[k], arrangements[k]) if results[k] is None else results[k]
                results[k] = result if wide == dtype else result.astype(dtype)
        return tuple(results)

    return run


def _maker(groups: Groups | None, rank: int) -> Callable[[tuple[int, ...], np.dtype], tuple[np.ndarray, Any]]:
    """A function that allocates an output: the canonical array for the core to write, and what the graph gets of it.

    The latter is None where the core cannot write the arrangement, because it takes the units of a row apart.
    """
    if groups is None:
        return lambda sizes, dtype: (np.empty(sizes, dtype),) * 2
    order = [axis for group in groups for axis in group]
    order = [axis for axis in range(rank) if axis not in order] + order
    if order[-1] != rank - 1:
        return lambda sizes, dtype: (np.empty(sizes, dtype), None)
    back = [order.index(axis) for axis in range(rank)]

    def make(sizes: tuple[int, ...], dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        memory = np.empty([sizes[axis] for axis in order], dtype)
        return memory.transpose(back), memory.reshape([math.prod([sizes[axis] for axis in group]) for group in groups])

    return make
