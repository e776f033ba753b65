"""Running one operator, or a small graph node by node, without a plan."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from typing import Any

import numpy as np
import pytest

import rnnrt.ops
from rnnrt.errors import UnsupportedError
from rnnrt.graph import Graph, Node
from rnnrt.ops.limits import quiet
from rnnrt.ops.reference import reference
from rnnrt.ops.registry import OPERATORS, lookup

NEWEST = 28

for _family in pkgutil.iter_modules(rnnrt.ops.__path__):
    importlib.import_module(f"rnnrt.ops.{_family.name}")


def make_node(op: str, count: int, outputs: int = 1, domain: str = "", version: int = NEWEST, **attrs: Any) -> Node:
    """A node with inputs ``x0``, ``x1``, ... and outputs ``y0``, ..."""
    return Node(op, [f"x{k}" for k in range(count)], [f"y{k}" for k in range(outputs)], attrs, domain, version, "node")


def run_op(op: str, *inputs: Any, outputs: int = 1, **attrs: Any) -> Any:
    """The answer of the NumPy operator; a tuple if it has several outputs. Inputs must come out unchanged."""
    arrays = [x if x is None else np.asarray(x) for x in inputs]
    for x in arrays:
        if x is not None:
            x.setflags(write=False)
    node = make_node(op, len(arrays), outputs, **attrs)
    operator = OPERATORS[node.domain, op]
    with quiet():
        result = operator.build(node)(*arrays)
    results = result if operator.multiple else (result,)
    assert len(results) >= outputs
    assert all(type(r) is np.ndarray for r in results[:outputs]), [type(r) for r in results]
    return results[0] if outputs == 1 else results[:outputs]


def make_proto(node: Node) -> Any:
    """The NodeProto that says the same."""
    from onnx import helper, numpy_helper

    attrs = {k: numpy_helper.from_array(v) if isinstance(v, np.ndarray) else v for k, v in node.attrs.items()}
    proto = helper.make_node(node.op, node.inputs, node.outputs, domain=node.domain, **attrs)
    return proto


def run_reference(op: str, *inputs: Any, outputs: int = 1, **attrs: Any) -> tuple:
    """The answer of the reference tier."""
    node = make_node(op, len(inputs), outputs, **attrs)
    node.inputs = ["" if x is None else name for x, name in zip(inputs, node.inputs, strict=True)]
    node.proto = make_proto(node)
    return reference(node)(*inputs)


def run_node(node: Node, values: dict[str, Any], tiers: dict[str, str] | None = None) -> None:
    """Run `node` on `values` and put its outputs there; NumPy operator first, the reference evaluator next."""
    args = [values[name] if name else None for name in node.inputs]
    function, multiple = None, True
    operator = lookup(node)
    if operator is not None:
        with contextlib.suppress(UnsupportedError):
            function, multiple = operator.build(node), operator.multiple
    tier = "numpy" if function else "reference"
    result = (function or reference(node))(*args)
    results = result if multiple else (result,)
    values.update({name: r for name, r in zip(node.outputs, results, strict=False) if name})
    if tiers is not None:
        tiers[node.op] = tier


def run_graph(graph: Graph, feeds: dict[str, Any], tiers: dict[str, str] | None = None) -> list[Any]:
    """The outputs of a graph without control flow."""
    values = {**graph.constants, **feeds}
    with quiet():
        for node in graph.nodes:
            run_node(node, values, tiers)
    return [values[value.name] for value in graph.outputs]


def run_onnxruntime(op: str, *inputs: Any, outputs: int = 1, version: int = 21, **attrs: Any) -> list:
    """The answer of onnxruntime, which may refuse what it does not implement."""
    from onnx import ValueInfoProto, helper

    onnxruntime = pytest.importorskip("onnxruntime")

    node = make_node(op, len(inputs), outputs, version=version, **attrs)
    node.inputs = ["" if x is None else name for x, name in zip(inputs, node.inputs, strict=True)]
    feeds = {name: np.asarray(x) for name, x in zip(node.inputs, inputs, strict=True) if name}
    codes = {name: helper.np_dtype_to_tensor_dtype(x.dtype) for name, x in feeds.items()}
    graph_inputs = [helper.make_tensor_value_info(name, codes[name], x.shape) for name, x in feeds.items()]
    graph_outputs = [ValueInfoProto(name=name) for name in node.outputs]
    graph = helper.make_graph([make_proto(node)], "one", graph_inputs, graph_outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


TOLERANCE = {"float64": 1e-12, "float32": 2e-6, "float16": 2e-3, "bfloat16": 2e-2}


def assert_same(got: np.ndarray, want: Any, hint: str = "", tolerance: float | None = None) -> None:
    """Compare shape and dtype; integers and strings equal, floats close for their precision, NaN where NaN is."""
    want = np.asarray(want)
    text = want.dtype.kind in "OUS"
    assert got.shape == want.shape, f"{hint}: shape {got.shape}, expected {want.shape}"
    assert got.dtype == want.dtype or text, f"{hint}: dtype {got.dtype}, expected {want.dtype}"
    if text:
        assert got.tolist() == want.tolist(), hint
    elif got.dtype.kind in "iub":
        np.testing.assert_array_equal(got, want, hint)
    else:
        tol = TOLERANCE.get(got.dtype.name, 0.3) if tolerance is None else tolerance
        np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), tol, tol, err_msg=hint)


def random_array(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, low: float = -4, high: float = 4
) -> np.ndarray:
    """Numbers, booleans or strings of `dtype`; unsigned integers start at 0."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.asarray(rng.integers(0, 2, shape), bool)
    if dtype.kind in "iu":
        return np.asarray(rng.integers(max(low, 0) if dtype.kind == "u" else low, high + 1, shape)).astype(dtype)
    if dtype.kind == "O":
        return np.array(rng.choice(["a", "bc", "", "d"], shape), object)
    return np.asarray(rng.uniform(low, high, shape)).astype(dtype)
