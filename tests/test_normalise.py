"""Nodes of old opsets mean the same after :func:`rnnrt.rewrite.normalise.normalise`.

Each case is run as its own version by the reference evaluator or onnxruntime (or by hand where neither can), and
normalised by the NumPy operators.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from ops_util import assert_same, random_array, run_graph, run_onnxruntime

from rnnrt.errors import ModelError
from rnnrt.graph import Graph, Node, Value
from rnnrt.ops.reference import reference
from rnnrt.rewrite.edit import NEWEST
from rnnrt.rewrite.normalise import normalise

RNG = np.random.default_rng(0)
X, Y, V = (random_array(RNG, shape, np.float32) for shape in ((2, 3, 4), (3, 4), (3,)))
UFUNCS = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power, "Less": np.less}
IMAGE = random_array(RNG, (2, 3, 4, 6), np.float32)


def one_node(op: str, inputs: list, outputs: int, version: int, constants: tuple = (), **attrs: Any) -> Graph:
    """A graph of one node; inputs whose position is in `constants` are constants."""
    names = ["" if x is None else f"x{k}" for k, x in enumerate(inputs)]
    node = Node(op, names, [f"y{k}" for k in range(outputs)], dict(attrs), version=version, name="old", proto="as read")
    fixed = {names[k]: np.asarray(inputs[k]) for k in constants}
    graph_inputs = [Value(n) for n in names if n and n not in fixed]
    return Graph(graph_inputs, [Value(f"y{k}") for k in range(outputs)], [node], fixed)


def normalised(op: str, inputs: list, version: int, outputs: int = 1, constants: tuple = (), **attrs: Any) -> list:
    graph = one_node(op, inputs, outputs, version, constants, **attrs)
    normalise(graph)
    feeds = {v.name: np.asarray(inputs[int(v.name[1:])]) for v in graph.inputs}
    for node in graph.nodes:
        assert node.proto is None or node.attrs == attrs
        assert (node.proto is None) == (node.version == NEWEST)
        assert all(node.outputs)
    return run_graph(graph, feeds)


def by_reference(op: str, inputs: list, version: int, **attrs: Any) -> np.ndarray:
    node = Node(op, [f"x{k}" for k in range(len(inputs))], ["y"], attrs, version=version)
    node.proto = helper.make_node(op, node.inputs, node.outputs, **attrs)
    return reference(node)(*inputs)[0]


AGAINST_REFERENCE = [
    ("Squeeze", [X[:1]], 11, {"axes": [0]}),
    ("Squeeze", [X[:1]], 1, {}),
    ("Unsqueeze", [X], 11, {"axes": [-1, 0]}),
    ("Slice", [X], 9, {"starts": [1, -3], "ends": [100, 3], "axes": [1, 2]}),
    ("Slice", [X], 1, {"starts": [0], "ends": [-1]}),
    ("Clip", [X], 6, {"min": -1.0, "max": 2.0}),
    ("Clip", [X], 6, {"max": 2.0}),
    ("Clip", [X], 6, {}),
    ("Pad", [Y], 2, {"pads": [1, 0, 2, 1], "value": 3.0}),
    ("Pad", [Y], 2, {"pads": [1, 0, 2, 1], "mode": "reflect"}),
    ("ReduceSum", [X], 11, {"axes": [1, -1], "keepdims": 0}),
    ("ReduceSum", [X], 1, {}),
    ("ReduceMean", [X], 13, {"axes": [0]}),
    ("ReduceMax", [X], 13, {"axes": [-2], "keepdims": 0}),
    ("ReduceL2", [X], 1, {"axes": [0, 2]}),
    ("ReduceLogSumExp", [X], 11, {"axes": [1]}),
    ("Concat", [X, X], 4, {"axis": 2}),
    ("TopK", [X], 1, {"k": 2, "axis": 1}),
    ("Dropout", [X], 7, {"ratio": 0.4}),
    ("Add", [X, Y], 7, {}),
    ("Gemm", [Y, Y.T.copy(), V], 6, {"broadcast": 1}),
]


@pytest.mark.parametrize(("op", "inputs", "version", "attrs"), AGAINST_REFERENCE)
def test_against_the_reference_of_that_version(op: str, inputs: list, version: int, attrs: dict) -> None:
    assert_same(normalised(op, inputs, version, **attrs)[0], by_reference(op, inputs, version, **attrs))


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("version", [7, 11])
def test_softmax_over_all_axes_from_one_on(op: str, version: int) -> None:
    for axis in [None, 0, 1, 2] + ([-1, -2] if version == 11 else []):
        attrs = {} if axis is None else {"axis": axis}
        want = run_onnxruntime(op, X, version=version, **attrs)[0]
        assert_same(normalised(op, [X], version, **attrs)[0], want, f"axis {axis}")
    assert normalised(op, [np.zeros((2, 0, 3), np.float32)], version)[0].shape == (2, 0, 3)


def test_split() -> None:
    for version in (2, 11):
        for attrs in ({"axis": 1, "split": [1, 2]}, {"axis": 0}, {}):
            got = normalised("Split", [X], version, outputs=2, **attrs)
            for a, b in zip(got, run_onnxruntime("Split", X, outputs=2, version=version, **attrs), strict=True):
                assert_same(a, b)
    got = normalised("Split", [X, np.array([3, 1], np.int64)], 13, outputs=2, axis=2)
    assert [p.shape for p in got] == [(2, 3, 3), (2, 3, 1)]
    assert [p.shape for p in normalised("Split", [X], 13, outputs=2, axis=2)] == [(2, 3, 2)] * 2


@pytest.mark.parametrize("op", UFUNCS)
@pytest.mark.parametrize("constants", [(), (1,)])
def test_broadcast_from_an_axis(op: str, constants: tuple) -> None:
    function = UFUNCS[op]
    a = np.abs(IMAGE)
    for b, axis, shape in [
        (IMAGE[0, :, 0, 0], 1, (3, 1, 1)),
        (IMAGE[0, :, :, 0], 1, (3, 4, 1)),
        (IMAGE[:, 0, 0, 0], 0, (2, 1, 1, 1)),
        (IMAGE[0, 0], 2, (4, 6)),
        (IMAGE[0, :, 0, 0], -3, (3, 1, 1)),
        (IMAGE[0, 0], None, (4, 6)),
        (IMAGE[0, 0, 0, 0], None, ()),
    ]:
        attrs = {"broadcast": 1} | ({} if axis is None else {"axis": axis})
        got = normalised(op, [a, b], 6, constants=constants, **attrs)[0]
        with np.errstate(all="ignore"):
            assert_same(got, function(a, b.reshape(shape)))
    assert_same(normalised(op, [a, a], 6, consumed_inputs=[0, 0])[0], function(a, a))


def test_prelu_slope_of_channels() -> None:
    slope = np.array([0.5, 2, -1], np.float32)
    for constants in ((), (1,)):
        got = normalised("PRelu", [IMAGE, slope], 6, constants=constants)[0]
        assert_same(got, np.where(IMAGE < 0, IMAGE * slope[:, None, None], IMAGE))
        got = normalised("PRelu", [IMAGE, slope[:1]], 6, constants=constants)[0]
        assert_same(got, np.where(IMAGE < 0, IMAGE * slope[0], IMAGE))


def test_dropout() -> None:
    for version in (1, 7, 10):
        y, mask = normalised("Dropout", [X], version, outputs=2, ratio=0.5)
        assert_same(y, X)
        assert_same(mask, np.ones(X.shape, bool))
    graph = one_node("Dropout", [X, np.float32(0.5), np.array(False)], 1, 13, (1, 2))
    normalise(graph)
    assert [node.op for node in graph.nodes] == ["Identity"]
    training = one_node("Dropout", [X, np.float32(0.5), np.array(True)], 1, 13, (1, 2))
    normalise(training)
    assert [node.op for node in training.nodes] == ["Dropout"]


def test_batch_normalization() -> None:
    scale, bias, mean = (random_array(RNG, (3,), np.float32) for _ in range(3))
    var = np.abs(mean) + 0.5
    want = run_onnxruntime("BatchNormalization", IMAGE, scale, bias, mean, var, version=9, epsilon=0.01)[0]
    old = {"consumed_inputs": [0] * 5, "is_test": 1}
    for version, attrs in ((1, old), (6, {"is_test": 0}), (7, {"spatial": 1}), (9, {})):
        got = normalised("BatchNormalization", [IMAGE, scale, bias, mean, var], version, epsilon=0.01, **attrs)[0]
        assert_same(got, want)
    each = [random_array(RNG, (3, 4, 6), np.float32, 0.5, 2) for _ in range(4)]
    got = normalised("BatchNormalization", [IMAGE, *each], 7, epsilon=0.01, spatial=0)[0]
    assert_same(got, (IMAGE - each[2]) / np.sqrt(each[3] + 0.01) * each[0] + each[1], tolerance=1e-5)


def test_group_normalization_of_groups() -> None:
    x = random_array(RNG, (2, 6, 5), np.float32)
    scale, bias = (random_array(RNG, (3,), np.float32) for _ in range(2))
    groups = x.reshape(2, 3, -1).astype(np.float64)
    y = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + 1e-5)
    want = (y * scale[:, None] + bias[:, None]).reshape(x.shape).astype(np.float32)
    assert_same(normalised("GroupNormalization", [x, scale, bias], 18, num_groups=3)[0], want, tolerance=1e-5)


def test_upsample_and_resize() -> None:
    scales = np.array([1, 1, 2, 3], np.float32)
    for mode in ("nearest", "linear"):
        want = run_onnxruntime("Upsample", IMAGE, version=7, mode=mode, scales=scales.tolist())[0]
        assert_same(normalised("Upsample", [IMAGE], 7, mode=mode, scales=scales.tolist())[0], want)
        for constants in ((), (1,)):
            assert_same(normalised("Upsample", [IMAGE, scales], 9, constants=constants, mode=mode)[0], want)
        assert_same(normalised("Resize", [IMAGE, scales], 10, constants=(1,), mode=mode)[0], want)
        small = np.array([1, 1, 0.5, 0.6], np.float32)
        want = run_onnxruntime("Resize", IMAGE, small, version=10, mode=mode)[0]
        assert_same(normalised("Resize", [IMAGE, small], 10, constants=(1,), mode=mode)[0], want)
    for sizes in ([1, 1, 0.5, 0.6], [1, 1, 2, 0.6], [1, 1, 2.5, 1]):
        scales = np.array(sizes, np.float32)
        want = run_onnxruntime("Resize", IMAGE, scales, version=10)[0]
        for constants in ((), (1,)):
            assert_same(normalised("Resize", [IMAGE, scales], 10, constants=constants)[0], want)
    want = run_onnxruntime("Upsample", IMAGE, version=7, scales=[1.0, 1.0, 2.0, 3.0])[0]
    assert_same(normalised("Upsample", [IMAGE], 1, height_scale=2.0, width_scale=3.0)[0], want)


def test_by_hand() -> None:
    assert_same(normalised("Pad", [Y], 1, paddings=[1, 0, 0, 0])[0], np.pad(Y, ((1, 0), (0, 0))))
    assert_same(normalised("Reshape", [X], 1, shape=[0, -1])[0], X.reshape(2, 12))
    assert_same(normalised("Cast", [X], 1, to="INT64")[0], X.astype(np.int64))
    assert_same(normalised("Concat", [X, X], 1)[0], np.concatenate([X, X], 1))
    assert_same(normalised("Tile", [X, np.float32(3), np.float32(1)], 1)[0], np.tile(X, (1, 3, 1)))
    assert_same(normalised("Constant", [], 13, value_floats=[1.0, 2.0])[0], np.array([1, 2], np.float32))
    assert normalised("Constant", [], 13, value_string=b"a")[0].tolist() == "a"
    index = np.array([[1, 0, 2, 1]], np.int64)
    want = Y.copy()
    np.put_along_axis(want, index, Y[2:], 0)
    assert_same(normalised("Scatter", [Y, index, Y[2:]], 9, axis=0)[0], want)
    alpha, gamma = 1.6732, 1.0507
    want = np.where(X > 0, gamma * X, gamma * alpha * np.expm1(X)).astype(np.float32)
    assert_same(normalised("Selu", [X], 1)[0], want)
    assert_same(normalised("Clip", [X.astype(np.float16)], 6, min=0.0)[0], np.maximum(X.astype(np.float16), 0))
    spectrum = random_array(RNG, (1, 8, 1), np.float32)
    want = np.fft.fft(spectrum[0, :, 0])
    got = normalised("DFT", [spectrum], 17)[0]
    np.testing.assert_allclose(got[0, :, 0] + 1j * got[0, :, 1], want, atol=1e-5)


def test_recurrent_nodes_lose_output_sequence() -> None:
    graph = one_node("LSTM", [X, X, X], 1, 1, output_sequence=1, hidden_size=3)
    normalise(graph)
    assert graph.nodes[0].attrs == {"hidden_size": 3}
    assert graph.nodes[0].version == NEWEST


def test_what_is_new_stays_as_it_is() -> None:
    for op, inputs, version, attrs in [
        ("Squeeze", [X, np.array([0])], 13, {}),
        ("Softmax", [X], 13, {"axis": 1}),
        ("Add", [X, X], 7, {}),
        ("Clip", [X], 13, {}),
        ("Gather", [X, V], 1, {"axis": 0}),
        ("Constant", [], 13, {"value": V}),
    ]:
        graph = one_node(op, inputs, 1, version, **attrs)
        normalise(graph)
        (node,) = graph.nodes
        assert (node.proto, node.version, node.attrs) == ("as read", version, attrs)
        assert not graph.constants
    custom = one_node("Squeeze", [X], 1, 1, axes=[0])
    custom.nodes[0].domain = "custom"
    normalise(custom)
    assert custom.nodes[0].attrs == {"axes": [0]}


def test_subgraphs_and_fresh_names() -> None:
    def branch(name: str) -> Graph:
        node = Node("Unsqueeze", ["x"], [name], {"axes": [0]}, version=11, name="u", proto="as read")
        return Graph([], [Value(name)], [node], {"u_constant": np.zeros(1)}, name)

    attrs = {"then_branch": branch("a"), "else_branch": branch("b")}
    outer = Node("If", ["c"], ["y"], attrs, version=11, name="if", proto="as read")
    other = Node("Relu", ["x"], ["z"], version=11, proto="as read")
    graph = Graph([Value("x"), Value("c")], [Value("y")], [outer, other], {})
    normalise(graph)
    assert outer.proto is None
    assert other.proto == "as read"
    added = [name for sub in attrs.values() for name in sub.constants if name != "u_constant"]
    assert len(set(added)) == 2
    for sub in attrs.values():
        assert sub.nodes[0].input(1) in sub.constants
        assert not sub.nodes[0].attrs
    assert not graph.constants


def test_a_node_short_of_inputs_is_a_model_error() -> None:
    for op, version, attrs in (("Pad", 2, {}), ("PRelu", 6, {}), ("Tile", 1, {}), ("Constant", 13, {})):
        with pytest.raises(ModelError, match="old"):
            normalise(one_node(op, [X] if op != "Constant" else [], 1, version, **attrs))
    with pytest.raises(ModelError, match="name of an element type"):
        normalise(one_node("Cast", [X], 1, 1, to="FLOOT"))


def test_nodes_of_every_old_version_still_load() -> None:
    """A node of any version with just its required attributes gets attributes of the newest, or is refused cleanly."""
    values = {"INT": 1, "FLOAT": 1.0, "STRING": "nearest", "INTS": [0], "FLOATS": [1.0], "TENSOR": V}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain or any(a.type.name == "GRAPH" for a in schema.attributes.values()):
            continue
        attrs = {k: values[a.type.name] for k, a in schema.attributes.items() if a.required and a.type.name in values}
        names = [f"x{k}" for k in range(schema.min_input)]
        outs = [f"y{k}" for k in range(max(schema.min_output, 1))]
        graph = Graph([], [], [Node(schema.name, names, outs, attrs, version=schema.since_version, name="n")], {})
        with contextlib.suppress(ModelError):
            normalise(graph)
            if schema.deprecated:
                continue
            for node in graph.nodes:
                assert not node.attrs.keys() - known_attributes(node), f"{node.op} from version {schema.since_version}"


def known_attributes(node: Node) -> set[str]:
    schema = onnx.defs.get_schema(node.op, node.version)
    return set(schema.attributes)


def test_constants_are_read_only() -> None:
    graph = one_node("Squeeze", [X], 1, 11, axes=[0])
    normalise(graph)
    (axes,) = graph.constants.values()
    assert axes.dtype == np.int64
    assert not axes.flags.writeable
    assert numpy_helper.from_array(axes).dims == [1]
