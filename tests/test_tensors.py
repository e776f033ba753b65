"""Tensors of ONNX to arrays: every type and way of storing, sparse ones, and damaged ones."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_util import FLOAT, model_of, node, refused

from rnnrt.errors import ModelError, UnsupportedError
from rnnrt.onnx_file import read_model

TYPES = [t for t in TensorProto.DataType.values() if t not in (TensorProto.UNDEFINED, TensorProto.STRING)]


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: TensorProto.DataType.Name(t).lower())
def test_every_element_type(dtype, raw):
    np_dtype = helper.tensor_dtype_to_np_dtype(dtype)
    array = np.arange(5).astype(np_dtype)
    if raw:
        tensor = numpy_helper.from_array(array, "w")
    elif dtype in (TensorProto.FLOAT6E2M3, TensorProto.FLOAT6E3M2) if hasattr(TensorProto, "FLOAT6E2M3") else False:
        tensor = TensorProto(name="w", data_type=dtype, dims=[5], int32_data=array.view(np.uint8).tolist())
    else:
        tensor = helper.make_tensor("w", dtype, [5], array.astype(np_dtype))
    assert tensor.HasField("raw_data") == raw
    got = read_model(model_of([], ("x",), ("w",), [tensor])).graph.constants["w"]
    assert got.dtype == np_dtype
    assert not got.flags.writeable
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got.view(np.uint8), array.view(np.uint8))


def test_bools_other_than_0_and_1():
    tensor = TensorProto(name="w", data_type=TensorProto.BOOL, dims=[3], raw_data=b"\x00\x01\x02")
    got = read_model(model_of([], ("x",), ("w",), [tensor])).graph.constants["w"]
    assert got.view(np.uint8).tolist() == [0, 1, 1]


def test_strings_and_shapes():
    constants = [
        numpy_helper.from_array(np.array([["a", "ü"]], object), "s"),
        ("scalar", np.array(3.5, np.float32)),
        ("empty", np.zeros((2, 0, 3), np.float32)),
    ]
    found = read_model(model_of([], (), ("scalar",), constants)).graph.constants
    assert found["s"].tolist() == [["a", "ü"]]
    assert found["scalar"].shape == ()
    assert found["scalar"] == 3.5
    assert found["empty"].shape == (2, 0, 3)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dims": [3], "raw_data": bytes(8)}, ["expected 12 bytes", "got 8"]),
        ({"dims": [3], "float_data": [1, 2]}, ["expected 3 elements", "got 2"]),
        ({"dims": [2], "raw_data": bytes(12)}, ["expected 8 bytes", "got 12"]),
        ({"dims": [2], "int64_data": [1, 2]}, ["float_data", "int64_data"]),
        (
            {"dims": [2], "float_data": [1, 2], "raw_data": bytes(8)},
            ["raw_data and float_data", "float_data and raw_data"],
        ),
        ({"dims": [-1], "raw_data": b""}, ["at least 0", "-1"]),
        ({"dims": [-2, -3], "raw_data": bytes(24)}, ["at least 0"]),
        ({"dims": [1 << 40], "raw_data": bytes(8)}, ["got 8"]),
        ({"dims": [1 << 32, 1 << 32], "raw_data": b""}, ["memory"]),
        ({"dims": [1 << 62, 4, 0], "raw_data": b""}, ["memory"]),
        ({"dims": [1] * 40, "raw_data": bytes(4)}, ["40 dimensions"]),
        ({"dims": [2], "data_type": 99, "raw_data": bytes(8)}, ["element type", "99"]),
        ({"dims": [2], "data_type": 0, "raw_data": bytes(8)}, ["element type", "0"]),
        ({"dims": [2], "data_type": -7, "raw_data": bytes(8)}, ["element type", "-7"]),
        ({"dims": [1], "data_type": TensorProto.STRING, "raw_data": b"a"}, ["string_data"]),
        ({"dims": [1], "data_type": TensorProto.STRING, "string_data": [b"\xff"]}, ["UTF-8"]),
        ({"dims": [5], "data_type": TensorProto.INT4, "raw_data": bytes(2)}, ["expected 3 bytes"]),
        ({"dims": [2], "data_type": TensorProto.COMPLEX64, "float_data": [1, 2]}, ["expected 4 elements"]),
    ],
)
def test_damaged_tensor(fields, words):
    tensor = TensorProto(**({"name": "w", "data_type": FLOAT} | fields))
    with pytest.raises((ModelError, UnsupportedError)) as caught:
        read_model(model_of([], ("x",), ("w",), [tensor]))
    assert "'w'" in str(caught.value)
    assert any(word in str(caught.value) for word in words)


def sparse_model(values, indices, dims):
    model = model_of([node("Add", ["x", "s"], ["y"])])
    sparse = model.graph.sparse_initializer.add(dims=dims)
    sparse.values.CopyFrom(numpy_helper.from_array(np.array(values, np.float32), "s"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array(indices, np.int64)))
    return model


def test_sparse_initializers():
    flat = read_model(sparse_model([5, 6], [1, 5], [2, 3])).graph.constants["s"]
    rows = read_model(sparse_model([5, 6], [[0, 1], [1, 2]], [2, 3])).graph.constants["s"]
    np.testing.assert_array_equal(flat, np.array([[0, 5, 0], [0, 0, 6]], np.float32))
    np.testing.assert_array_equal(rows, flat)
    assert not flat.flags.writeable
    assert read_model(sparse_model([], np.zeros((0, 2)), [0, 3])).graph.constants["s"].shape == (0, 3)
    refused(sparse_model([5], [6], [2, 3]), "outside")
    refused(sparse_model([5], [[-1, 0]], [2, 3]), "outside")
    refused(sparse_model([5, 6], [1], [2, 3]), "indices")
    refused(sparse_model([5], [1], [1 << 20, 1 << 20]), "dense", error=UnsupportedError)


def test_sparse_constant_node():
    model = sparse_model([5], [1], [3])
    constant = node("Constant", [], ["s"], sparse_value=model.graph.sparse_initializer[0])
    model.graph.ClearField("sparse_initializer")
    model.graph.node.insert(0, constant)
    found = read_model(model).graph.nodes[0]
    np.testing.assert_array_equal(found.attrs["value"], np.array([0, 5, 0], np.float32))
