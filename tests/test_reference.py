"""The reference tier: functions, sequences, strings, other domains; and what it refuses."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
from onnx import TensorProto, helper
from ops_util import assert_same, make_node, make_proto, run_reference

from rnnrt.errors import InputError, UnsupportedError
from rnnrt.graph import Graph, Node, Value
from rnnrt.ops.reference import WRONG, reference

X = np.array([[-2, -0.5, 0, 1.5], [3, 0.25, -1, 2]], np.float32)


def test_returns_a_tuple_also_for_one_output() -> None:
    (y,) = run_reference("Relu", X)
    assert_same(y, np.maximum(X, 0))
    node = make_node("TopK", 2, 2)
    node.outputs, node.proto = ["", "indices"], None
    values, indices = reference(node)(X, np.array([1], np.int64))
    assert values is None
    assert_same(indices, np.array([[3], [0]], np.int64))


@pytest.mark.parametrize("with_proto", [True, False])
def test_operators_defined_by_functions(with_proto: bool) -> None:
    """Mish by a plain function, Gelu and GroupNormalization by functions of their input types."""
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)
    for op, inputs, attrs in [
        ("Mish", [x], {}),
        ("Gelu", [x], {"approximate": "tanh"}),
        ("Gelu", [x], {}),
        ("GroupNormalization", [x, ones, zeros], {"num_groups": 2}),
        ("MeanVarianceNormalization", [x[None]], {"axes": [0, 2]}),
    ]:
        node = make_node(op, len(inputs), **attrs)
        node.proto = make_proto(node) if with_proto else None
        function = reference(node)
        for dtype in (np.float32, np.float64) if op == "Gelu" else (np.float32,):
            (y,) = function(*(v.astype(dtype) for v in inputs))
            assert y.shape == inputs[0].shape
            assert y.dtype == dtype
            assert np.isfinite(y).all()
    root = np.sqrt(2 / np.pi)
    want = 0.5 * x * (1 + np.tanh(root * (x + 0.044715 * x**3)))
    assert_same(run_reference("Gelu", x, approximate="tanh")[0], want.astype(np.float32))


def test_absent_inputs_and_old_versions() -> None:
    assert_same(run_reference("Clip", X, None, np.float32(1))[0], np.minimum(X, 1))
    assert_same(run_reference("Clip", X, version=6, min=0.0)[0], np.maximum(X, 0))
    assert_same(run_reference("Squeeze", X[:1], version=11, axes=[0])[0], X[0])


def test_the_names_of_the_proto_do_not_matter() -> None:
    node = Node("Sub", ["now", "now_too"], ["out"], version=14)
    node.proto = helper.make_node("Sub", ["then", "then_too"], ["y"])
    assert_same(reference(node)(X, X)[0], X * 0)
    square = Node("Mul", ["x", "x"], ["y"], version=14)
    assert_same(reference(square)(X, X)[0], X * X)


def test_sequences_optionals_and_strings() -> None:
    (sequence,) = run_reference("SequenceConstruct", X, X[:1])
    assert [v.shape for v in sequence] == [(2, 4), (1, 4)]
    assert_same(run_reference("SequenceAt", sequence, np.int64(-1))[0], X[:1])
    assert_same(run_reference("ConcatFromSequence", sequence, axis=0)[0], np.concatenate([X, X[:1]]))
    assert run_reference("SequenceLength", sequence)[0] == 2
    assert run_reference("OptionalHasElement", X)[0]
    (joined,) = run_reference("StringConcat", np.array(["a", "b"], object), np.array(["c"], object))
    assert joined.tolist() == ["ac", "bc"]
    (pieces, counts) = run_reference("StringSplit", np.array(["a b", "c"], object), outputs=2)
    assert pieces.tolist() == [["a", "b"], ["c", ""]]
    assert counts.tolist() == [2, 1]


def test_other_domains() -> None:
    (y,) = run_reference("Binarizer", X, domain="ai.onnx.ml", version=1, threshold=0.5)
    assert_same(y, (X > 0.5).astype(np.float32))
    (y,) = run_reference(
        "LabelEncoder",
        np.array([2, 5]),
        domain="ai.onnx.ml",
        version=2,
        keys_int64s=[2, 3],
        values_strings=["two", "three"],
        default_string="?",
    )
    assert y.tolist() == ["two", "?"]
    rate, count = np.float32(0.1), np.int64(0)
    args = [rate, count, X, X * 0 + 1, X * 0]
    attrs = {"alpha": 0.9, "beta": 1.0, "mode": "standard", "norm_coefficient": 0.0}
    got = run_reference("Momentum", *args, domain="ai.onnx.preview.training", version=1, outputs=2, **attrs)
    assert_same(got[0], X - np.float32(0.1))


def test_a_subgraph_of_its_own() -> None:
    graph = Graph([], [Value("r")], [Node("Relu", ["v"], ["r"], version=14)], {})
    node = Node("SequenceMap", ["s"], ["y"], {"body": graph}, version=17)
    body = helper.make_graph(
        [helper.make_node("Relu", ["v"], ["r"])],
        "body",
        [helper.make_tensor_value_info("v", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)],
    )
    node.proto = helper.make_node("SequenceMap", ["s"], ["y"], body=body)
    with pytest.raises(UnsupportedError, match="uses values of the graph around it"):
        reference(node)
    graph.inputs.append(Value("v"))
    (y,) = reference(node)([X, -X])
    assert_same(y[1], np.maximum(-X, 0))
    node.proto = None
    with pytest.raises(UnsupportedError, match="body"):
        reference(node)


def test_what_is_refused() -> None:
    for op in WRONG:
        with pytest.raises(UnsupportedError, match=f"{op} 'node'.*wrong"):
            reference(make_node(op, 3))
    for node, why in [
        (make_node("Dropout", 3), "random"),
        (make_node("GridSample", 2, mode="cubic", padding_mode="border"), "border padding"),
        (make_node("NoSuchOperator", 1), "no such operator"),
        (make_node("Mish", 1, version=11), "no such operator"),
        (make_node("MaxRoiPool", 2, pooled_shape=[1, 1]), "not in the reference evaluator"),
        (make_node("Relu", 1, domain="com.microsoft"), "com.microsoft"),
        (make_node("Upsample", 2, version=10), "withdrawn"),
        (make_node("Gradient", 1, domain="ai.onnx.preview.training", version=1, xs=["x0"], y="y"), "not in the"),
    ]:
        with pytest.raises(UnsupportedError, match=why):
            reference(node)


def test_failures_are_input_errors() -> None:
    with pytest.raises(InputError, match="Add 'node': the reference operator failed"):
        run_reference("Add", X, X[:, :3])


def test_no_warnings_from_several_threads() -> None:
    functions = [reference(make_node(op, 1)) for op in ("Log", "Sqrt", "Reciprocal")]
    seen: list[object] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        threads = [threading.Thread(target=lambda f=f: seen.extend(f(X) for _ in range(20))) for f in functions]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        warnings.warn("still heard", stacklevel=1)
    assert len(seen) == 60
    assert [str(w.message) for w in caught] == ["still heard"]
