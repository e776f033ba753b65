"""A few lines that run a Graph node by node: what rewrites are tested with, independent of the plan and the engine.

Standard operators run through the NumPy or the reference tier, recurrent nodes, lowered or not, through the float64
oracle; ``in_views`` and ``out_axes`` of lowered nodes are interpreted here anew.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx.parser
import oracle
from onnx import numpy_helper

import rnnrt.ops
from rnnrt.graph import Graph, Node
from rnnrt.onnx_file import read_model
from rnnrt.ops.limits import quiet
from rnnrt.ops.reference import reference
from rnnrt.ops.registry import lookup

OPSET = 20

for _module in pkgutil.iter_modules(rnnrt.ops.__path__):
    importlib.import_module(f"rnnrt.ops.{_module.name}")


def run(graph: Graph, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of `graph` for `feeds`."""
    with quiet():
        return dict(zip((v.name for v in graph.outputs), _run(graph, dict(feeds)), strict=True))


def _run(graph: Graph, values: dict[str, Any]) -> list[Any]:
    values = {**values, **graph.constants}
    for node in graph.nodes:
        args = [values[name] if name else None for name in node.inputs]
        for name, value in zip(node.outputs, _run_node(node, args, values), strict=False):
            if name:
                values[name] = value
    return [values[v.name] for v in graph.outputs]


def _run_node(node: Node, args: list[Any], values: dict[str, Any]) -> list[Any]:
    if node.op == "If" and not node.domain:
        return _run(node.attrs["then_branch" if args[0].reshape(()) else "else_branch"], values)
    if node.op == "Loop" and not node.domain:
        return _loop(node, args, values)
    if node.op in ("LSTM", "GRU", "RNN") and node.domain in ("", "rnnrt"):
        return list(_recurrent(node, args))
    found = lookup(node)
    if found is None:
        return list(reference(node)(*args))
    results = found.build(node)(*args)
    return list(results) if found.multiple else [results]


def _loop(node: Node, args: list[Any], values: dict[str, Any]) -> list[Any]:
    body: Graph = node.attrs["body"]
    trips, condition, *carried = args
    trips = math.inf if trips is None else int(trips.reshape(()))
    going = condition is None or bool(condition.reshape(()))
    scans: list[list[np.ndarray]] = [[] for _ in node.outputs[len(carried) :]]
    i = 0
    while i < trips and going:
        names = [v.name for v in body.inputs]
        given = zip(names, [np.array(i, np.int64), np.array(going), *carried], strict=True)
        flag, *results = _run(body, {**values, **dict(given)})
        going, carried, rest = bool(flag.reshape(())), results[: len(carried)], results[len(carried) :]
        for scan, value in zip(scans, rest, strict=True):
            scan.append(value)
        i += 1
    return [*carried, *(np.stack(scan) if scan else np.zeros(0, np.float32) for scan in scans)]


def _recurrent(node: Node, args: list[Any]) -> list[np.ndarray]:
    dtype, attrs = args[0].dtype, dict(node.attrs)
    views, axes = attrs.pop("in_views", {}), attrs.pop("out_axes", {})
    args = [_seen(a, views.get(k, ())) if a is not None else None for k, a in enumerate(args)]
    if node.domain:
        attrs.pop("hidden_size")
        attrs = _consumed(attrs)
    results = oracle.run_node(node.op, args, {k: v for k, v in attrs.items() if k != "output_sequence"})
    return [_arranged(r, axes[k]) if k in axes else r for k, r in enumerate(a.astype(dtype) for a in results)]


def _consumed(attrs: dict[str, Any]) -> dict[str, Any]:
    """Attributes as a node of ONNX has them: alphas and betas only of the functions that take them."""
    names = attrs["activations"]
    for column, key in enumerate(("activation_alpha", "activation_beta")):
        takes = [oracle.ACTIVATIONS[name][1 + column] is not None for name in names]
        attrs[key] = [value for value, take in zip(attrs[key], takes, strict=True) if take]
    attrs["clip"] = attrs["clip"] or None
    return attrs


def _seen(a: np.ndarray, views: tuple) -> np.ndarray:
    for view in views:
        match view:
            case ("transpose", perm):
                a = np.transpose(a, perm)
            case ("squeeze", where):
                a = np.squeeze(a, tuple(where))
            case ("unsqueeze", where):
                a = np.expand_dims(a, tuple(where))
            case ("reshape", shape):
                a = np.reshape(a, [a.shape[k] if d == 0 else d for k, d in enumerate(shape)])
            case ("slice", axis, start, stop, step):
                a = np.moveaxis(np.moveaxis(a, axis, 0)[start:stop:step], 0, axis)
            case ("index", axis, i):
                a = np.take(a, i, axis)
            case _:
                raise AssertionError(view)
    return a


def _arranged(a: np.ndarray, groups: tuple) -> np.ndarray:
    used = [axis for group in groups for axis in group]
    left = [axis for axis in range(a.ndim) if axis not in used]
    assert sorted(used + left) == list(range(a.ndim))
    assert all(a.shape[axis] == 1 for axis in left)
    return np.transpose(a, used + left).reshape([math.prod(a.shape[axis] for axis in group) for group in groups])


def read(text: str, **weights: np.ndarray) -> Graph:
    """The Graph of a model in ONNX's text form, ``(inputs) => (outputs) { nodes }``, with `weights` as initializers."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {OPSET}]> g {text}')
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), name) for name, a in weights.items())
    return read_model(model).graph


def weights(cell: str, inputs: int, units: int, directions: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
    """Random W, R and B of an LSTM, GRU or RNN, float32."""
    random = np.random.default_rng(seed)
    rows = {"LSTM": 4, "GRU": 3, "RNN": 1}[cell] * units
    shapes = {"W": (directions, rows, inputs), "R": (directions, rows, units), "B": (directions, 2 * rows)}
    return {name: random.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def changed(graph: Graph, feeds: Mapping[str, np.ndarray], change: Callable[[Graph], Any]) -> Any:
    """Check that `change`, made to `graph` in place, changes none of its answers; returns what `change` returns."""
    want = run(graph, feeds)
    result = change(graph)
    got = run(graph, feeds)
    assert list(got) == list(want)
    for name, value in want.items():
        assert got[name].dtype == value.dtype, name
        assert got[name].shape == value.shape, name
        np.testing.assert_allclose(got[name], value, rtol=1e-6, atol=1e-7, err_msg=name)
    return result


def ops(graph: Graph) -> list[str]:
    """The operators of a graph and of those in it, in order, lowered ones with their domain."""
    return [f"{n.domain}.{n.op}" if n.domain else n.op for part in graph.walk() for n in part.nodes]


def normal(*shape: int) -> np.ndarray:
    """Random numbers, float32."""
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)
