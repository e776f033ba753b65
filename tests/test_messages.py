"""Models read without protobuf's objects: the same graphs, and nothing else accepted than with them."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
from models_to_damage import GOOD
from onnx import TensorProto, helper, numpy_helper
from onnx_util import model_of, node

import rnnrt
from rnnrt import onnx_file
from rnnrt._core import messages
from rnnrt.errors import ModelError, RnnrtError
from rnnrt.graph import Graph
from rnnrt.onnx_file import read_model

MUTATIONS = 400


@pytest.fixture
def with_protobuf(monkeypatch):
    """Read a model the long way."""

    def read(data):
        with monkeypatch.context() as patch:
            patch.setattr(onnx_file.messages, "read", lambda data, taken: None)
            return read_model(data)

    return read


def described(value):
    """What a graph holds, to be compared."""
    if isinstance(value, Graph):
        parts = [(n.op, n.domain, n.version, n.name, n.inputs, n.outputs, described(n.attrs)) for n in value.nodes]
        return value.name, parts, described(value.constants), value.inputs, value.outputs
    if isinstance(value, np.ndarray):
        return (
            value.dtype.str,
            value.dtype.name,
            value.shape,
            value.tolist() if value.dtype == object else value.tobytes(),
        )
    if isinstance(value, dict):
        return [(key, described(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [described(item) for item in value]
    return type(value), repr(value)


def of_file(file):
    about = (file.opsets, file.ir_version, file.producer, file.graph_name, file.version, file.metadata)
    return repr((described(file.graph), about))


def outcome(read, data):
    try:
        return of_file(read(data))
    except RnnrtError as error:
        return type(error), str(error)


# ---------------------------------------------------------------------------------------------------------- same graphs


@pytest.mark.parametrize("good", GOOD)
def test_graphs_are_the_same(good, with_protobuf):
    model = GOOD[good]()
    data = model.SerializeToString()
    assert (messages.read(data, {}) is None) == bool(model.functions)
    assert of_file(read_model(data)) == of_file(with_protobuf(data))


def every_type():
    """A constant of each element type that ONNX has, raw and, where there is a field for it, not."""
    rng = np.random.default_rng(0)
    for name, code in TensorProto.DataType.items():
        if code in (TensorProto.UNDEFINED, TensorProto.STRING):
            continue
        dtype = helper.tensor_dtype_to_np_dtype(code)
        array = rng.integers(0, 2, (3, 2)).astype(dtype)
        yield name, numpy_helper.from_array(array, name)
        typed = array.reshape(-1).astype(np.complex64 if name.startswith("COMPLEX") else np.float32).tolist()
        yield f"{name} typed", helper.make_tensor(f"{name}_typed", code, [3, 2], typed)


@pytest.mark.parametrize(("name", "tensor"), list(every_type()), ids=lambda v: v if isinstance(v, str) else "")
def test_constants_are_the_same(name, tensor, with_protobuf):
    data = model_of([node("Identity", ["x"], ["y"])], constants=[tensor]).SerializeToString()
    assert messages.read(data, {}) is not None
    got, want = read_model(data).graph.constants, with_protobuf(data).graph.constants
    assert described(got) == described(want)
    assert not got[tensor.name].flags.writeable


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1, 1, 1)], ids=str)
def test_empty_and_single_constants(shape, with_protobuf):
    empty = TensorProto(name="unfilled", data_type=TensorProto.FLOAT, dims=[0, 2])
    constants = [("c", np.ones(shape, np.float32)), empty]
    data = model_of([node("Identity", ["x"], ["y"])], constants=constants).SerializeToString()
    assert of_file(read_model(data)) == of_file(with_protobuf(data))


def rare_forms():
    """Models with something in them that is left to protobuf's classes, one by one or altogether."""
    identity = node("Identity", ["x"], ["y"])
    strings = helper.make_tensor("s", TensorProto.STRING, [2], [b"a", b"\xc3\xa9"])
    yield "strings", model_of([identity], constants=[strings])
    twice = model_of([identity], constants=[("c", np.ones(2, np.float32))])
    twice.graph.node.append(node("Split", ["c"], ["a", "b"], axis=0))
    untyped = twice.graph.node[-1].attribute[0]
    untyped.type = onnx.AttributeProto.UNDEFINED
    yield "an attribute without a type", twice
    sequence = helper.make_tensor_sequence_value_info("q", TensorProto.FLOAT, None)
    other = model_of([identity])
    other.graph.input.append(sequence)
    yield "a sequence", other
    body = helper.make_function("f", "twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], other.opset_import)
    yield "a function", model_of([node("twice", ["x"], ["y"], domain="f")], opsets={"f": 1}, functions=[body])
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("v", TensorProto.FLOAT, [1], [2.0]),
        helper.make_tensor("i", TensorProto.INT64, [1], [1]),
        [3],
    )
    wide = model_of([identity, node("Constant", [], ["z"], sparse_value=sparse)])
    yield "a sparse constant", wide


@pytest.mark.parametrize(("name", "model"), list(rare_forms()), ids=lambda v: v if isinstance(v, str) else "")
def test_rare_forms(name, model, with_protobuf):
    data = model.SerializeToString()
    assert of_file(read_model(data)) == of_file(with_protobuf(data))


@pytest.mark.parametrize(
    "dims", [(0, 1 << 39, 1 << 39), (1 << 39, 1 << 39, 0), (1 << 62,), (-1,), (1 << 31, 1 << 31, 4)]
)
def test_dimensions_that_no_array_has(dims):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=b"")
    model = model_of([node("Identity", ["x"], ["y"])])
    model.graph.initializer.append(tensor)
    with pytest.raises(ModelError, match="'w'"):
        rnnrt.load(model.SerializeToString())


def test_fields_may_come_twice(with_protobuf):
    """The last value of a field holds, and messages are merged: which is left to protobuf."""
    model = model_of([node("Identity", ["x"], ["y"])])
    data = model.SerializeToString() + onnx.ModelProto(producer_name="again").SerializeToString()
    assert messages.read(model.SerializeToString() + model.SerializeToString(), {}) is None
    assert of_file(read_model(data)) == of_file(with_protobuf(data))


def test_a_node_gives_back_its_message():
    model = GOOD["mixed"]()
    read = messages.read(model.SerializeToString(), {})
    for got, want in zip(read.graph.node, model.graph.node, strict=True):
        assert onnx.NodeProto.FromString(got.serialize()) == want


# ------------------------------------------------------------------------------------------------------- damaged models


def mutated(data, rng):
    """`data` with one byte changed, taken away or put in, or cut short."""
    k = rng.randrange(len(data))
    kind = rng.randrange(5)
    if kind == 0:
        return data[:k] + data[k + 1 :]
    if kind == 1:
        return data[:k] + bytes([rng.randrange(256)]) + data[k:]
    if kind == 2:
        return data[:k]
    byte = rng.randrange(256) if kind == 3 else data[k] ^ 1 << rng.randrange(8)
    return data[:k] + bytes([byte]) + data[k + 1 :]


@pytest.mark.parametrize("good", GOOD)
def test_damaged_models_end_alike(good, with_protobuf):
    """What is wrong in a part that nothing depends on may be passed over; then the graph is that of the whole model.

    Or that part is missed: then both refuse the model, for reasons of their own.
    """
    rng = random.Random(good)
    data = GOOD[good]().SerializeToString()
    whole = outcome(read_model, data)
    unread = 0
    for _ in range(MUTATIONS):
        damaged = mutated(data, rng)
        got, want = outcome(read_model, damaged), outcome(with_protobuf, damaged)
        if got != want:
            assert isinstance(want, tuple)
            assert got == whole or got[0] is want[0] is ModelError
            unread += 1
    assert unread < MUTATIONS // 20
