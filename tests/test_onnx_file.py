"""read_model: from every kind of source to a Graph, and what it refuses."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rnnrt.errors import InputError, ModelError, UnsupportedError
from rnnrt.graph import Graph
from rnnrt.onnx_file import read_model

MODELS = Path(os.environ.get("RNNRT_MODELS") or Path(__file__).parents[1] / "../shared/models")
FLOAT = TensorProto.FLOAT


def value(name, shape=(2,), dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def model_of(nodes, inputs=("x",), outputs=("y",), constants=(), opset=17, ir_version=8, **options):
    """A model of float [2] inputs and outputs; `constants` are arrays by name or tensor messages."""
    tensors = [c if isinstance(c, TensorProto) else numpy_helper.from_array(c[1], c[0]) for c in constants]
    graph = helper.make_graph(nodes, "g", [value(n) for n in inputs], [value(n) for n in outputs], tensors)
    imports = [helper.make_opsetid(d, v) for d, v in ({"": opset} | options.pop("opsets", {})).items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version, **options)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, **attributes)


def refused(model, *words, error=ModelError):
    """Check that the model is refused, from memory and from bytes, with all of `words` in the message."""
    for source in (model, model.SerializeToString()):
        with pytest.raises(error) as caught:
            read_model(source)
        for word in words:
            assert word in str(caught.value)


# Sources


def simple():
    return model_of([node("Add", ["x", "w"], ["y"])], constants=[("w", np.array([1, 2], np.float32))])


@pytest.mark.parametrize("kind", ["str", "Path", "bytes", "bytearray", "memoryview", "ModelProto"])
def test_sources_agree(kind, tmp_path):
    model, path = simple(), tmp_path / "m.onnx"
    data = model.SerializeToString()
    path.write_bytes(data)
    source = {
        "str": str(path), "Path": path, "bytes": data, "bytearray": bytearray(data), "memoryview": memoryview(data),
        "ModelProto": model,
    }[kind]  # fmt: skip
    file = read_model(source)
    assert file.path == (str(path) if kind in ("str", "Path") else None)
    assert (file.opsets, file.ir_version) == ({"": 17}, 8)
    graph = file.graph
    assert [(v.name, v.dtype, v.shape) for v in graph.inputs] == [("x", np.float32, (2,))]
    assert [(n.op, n.inputs, n.outputs, n.version, n.domain) for n in graph.nodes] == [
        ("Add", ["x", "w"], ["y"], 17, "")
    ]
    np.testing.assert_array_equal(graph.constants["w"], np.array([1, 2], np.float32))
    assert graph.nodes[0].proto.op_type == "Add"
    assert model.SerializeToString() == data


def test_message_may_change_afterwards():
    model = simple()
    graph = read_model(model).graph
    model.graph.node[0].op_type = "Mul"
    model.graph.initializer[0].Clear()
    assert graph.nodes[0].proto.op_type == "Add"
    np.testing.assert_array_equal(graph.constants["w"], np.array([1, 2], np.float32))


def test_what_the_file_says_about_itself():
    model = simple()
    model.producer_name, model.producer_version, model.domain, model.model_version = "p", "1.2", "org.d", 7
    model.doc_string, model.graph.doc_string, model.graph.name = "doc", "graph doc", "main"
    helper.set_model_props(model, {"a": "1", "ü": "é"})
    file = read_model(model)
    assert (file.producer, file.producer_version, file.domain, file.version) == ("p", "1.2", "org.d", 7)
    assert (file.description, file.graph_description, file.graph_name) == ("doc", "graph doc", "main")
    assert file.metadata == {"a": "1", "ü": "é"}
    assert file.graph.name == "main"


def test_wrong_kind_of_source():
    with pytest.raises(InputError, match="got int"):
        read_model(5)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "no bytes"),
        (b"PK\x03\x04" + bytes(60), "zip"),
        (b"\x89HDF\r\n\x1a\n" + bytes(60), "HDF5"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"\x18\x00\x00\x00ORTM" + bytes(60), ".ort"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(60), "TensorFlow Lite"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "LFS"),
        (b"<!DOCTYPE html>\n<html></html>", "web page"),
        (b"Once upon a time\nthere was a model.\n", "text"),
        (bytes(range(256)) * 4, "1024 bytes"),
    ],
)
def test_not_a_model(content, word, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=word):
        read_model(path)
    with pytest.raises(ModelError, match=word):
        read_model(content)


def test_no_file_to_read(tmp_path):
    with pytest.raises(ModelError, match="No such file") as caught:
        read_model(tmp_path / "absent.onnx")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(ModelError, match="folder"):
        read_model(tmp_path)
    with pytest.raises(ModelError, match="null"):
        read_model("a\0b")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelError, match="pipe"):
        read_model(tmp_path / "pipe")


def test_onnx_is_imported_only_when_needed():
    code = "import sys, rnnrt.onnx_file; assert 'onnx' not in sys.modules and 'google.protobuf' not in sys.modules"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )


# Versions


def test_versions():
    refused(model_of([], ("y",), opset=10_000), "opset up to", "upgrade")
    refused(model_of([], ("y",), opset=0), "opset")
    refused(model_of([node("F", ["x"], ["y"], domain="d")], opsets={"d": 1 << 62}), "opset", "domain 'd'")
    refused(model_of([], ("y",), ir_version=onnx.IR_VERSION + 1), "IR version")
    refused(model_of([], ("y",), ir_version=0), "IR version")
    twice = model_of([], ("y",))
    twice.opset_import.add(domain="ai.onnx", version=12)
    refused(twice, "two opsets")
    refused(model_of([node("F", ["x"], ["y"], domain="org.own", name="mine")]), "'org.own'", "'mine'")


def test_standard_domain_has_two_names():
    model = model_of([node("Relu", ["x"], ["y"], domain="ai.onnx")])
    del model.opset_import[:]
    model.opset_import.add(domain="ai.onnx", version=13)
    file = read_model(model)
    assert file.opsets == {"": 13}
    assert (file.graph.nodes[0].domain, file.graph.nodes[0].version) == ("", 13)


def test_opsets_before_they_were_recorded():
    model = model_of([node("Relu", ["x"], ["y"])], ir_version=2)
    del model.opset_import[:]
    assert read_model(model).graph.nodes[0].version == 1


def test_own_domain():
    file = read_model(model_of([node("F", ["x"], ["y"], domain="org.own", k=3)], opsets={"org.own": 4}))
    found = file.graph.nodes[0]
    assert (found.domain, found.version, found.attrs) == ("org.own", 4, {"k": 3})


# Tensors

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
    assert not got.flags.writeable and got.flags.c_contiguous
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
    assert found["scalar"].shape == () and found["scalar"] == 3.5
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


# External data


def external(location, path, shape=(2,), **where):
    """A model, saved at `path`, whose initializer says that its data is at `location`."""
    tensor = TensorProto(name="w", data_type=FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, entry in {"location": location, **where}.items():
        tensor.external_data.add(key=key, value=str(entry))
    model = model_of([node("Add", ["x", "w"], ["y"])], constants=[tensor])
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def folder(tmp_path):
    """A folder for a model with data [0, 1, …, 7] in sub/w.bin, and the same data outside of it."""
    inside = tmp_path / "model"
    (inside / "sub").mkdir(parents=True)
    data = np.arange(8, dtype="<f4").tobytes()
    (inside / "sub" / "w.bin").write_bytes(data)
    (tmp_path / "out.bin").write_bytes(data)
    return inside


@pytest.mark.parametrize(
    ("shape", "where", "want"),
    [
        ((2, 4), {}, np.arange(8).reshape(2, 4)),
        ((2,), {"offset": 24}, [6, 7]),
        ((2,), {"offset": 8, "length": 8}, [2, 3]),
        ((0,), {"offset": 32, "length": 0}, []),
    ],
)
def test_external_data(folder, shape, where, want):
    got = read_model(external("sub/w.bin", folder / "m.onnx", shape, **where)).graph.constants["w"]
    np.testing.assert_array_equal(got, np.array(want, np.float32))
    assert got.dtype == np.float32 and not got.flags.writeable


@pytest.mark.parametrize(
    ("location", "where", "words"),
    [
        ("../out.bin", {"length": 8}, ["relative path"]),
        ("sub/../../out.bin", {"length": 8}, ["relative path"]),
        ("..\\out.bin", {"length": 8}, ["relative path"]),
        ("{out}", {"length": 8}, ["relative path"]),
        ("\\\\host\\w.bin", {"length": 8}, ["relative path"]),
        ("C:\\w.bin", {"length": 8}, ["relative path"]),
        ("c:w.bin", {"length": 8}, ["relative path"]),
        ("", {}, ["relative path"]),
        ("sub/w\0.bin", {"length": 8}, ["relative path"]),
        ("sub", {"length": 8}, ["sub"]),
        ("absent.bin", {"length": 8}, ["missing"]),
        ("link.bin", {"length": 8}, ["out of the model's folder"]),
        ("linked/out.bin", {"length": 8}, ["out of the model's folder"]),
        ("sub/w.bin", {}, ["expected 8 bytes", "got 32"]),
        ("sub/w.bin", {"length": 4}, ["expected 8 bytes", "got 4"]),
        ("sub/w.bin", {"offset": 28, "length": 8}, ["byte 36"]),
        ("sub/w.bin", {"offset": 1 << 62, "length": 8}, ["has 32 bytes"]),
        ("sub/w.bin", {"offset": 40}, ["got 0"]),
        ("sub/w.bin", {"offset": -8, "length": 8}, ["offset"]),
        ("sub/w.bin", {"offset": "1e1", "length": 8}, ["offset"]),
        ("sub/w.bin", {"length": "٨"}, ["length"]),
    ],
)
def test_external_data_refused(folder, location, where, words):
    (folder / "link.bin").symlink_to("../out.bin")
    (folder / "linked").symlink_to("..")
    path = external(location.replace("{out}", str(folder.parent / "out.bin")), folder / "m.onnx", **where)
    with pytest.raises(ModelError) as caught:
        read_model(path)
    assert all(word in str(caught.value) for word in ["'w'", *words])


def test_external_data_needs_the_path(folder):
    data = external("sub/w.bin", folder / "m.onnx", (8,)).read_bytes()
    for source in (data, onnx.ModelProto.FromString(data)):
        with pytest.raises(ModelError, match="path"):
            read_model(source)


def test_external_data_behind_links(folder, tmp_path):
    """A download cache holds model and data side by side under other names, and links to both of them."""
    blobs, shown = tmp_path / "blobs", tmp_path / "shown"
    blobs.mkdir()
    shown.mkdir()
    external("w.bin", blobs / "1", (8,))
    (blobs / "2").write_bytes(bytes(32))
    (shown / "m.onnx").symlink_to("../blobs/1")
    (shown / "w.bin").symlink_to("../blobs/2")
    assert read_model(shown / "m.onnx").graph.constants["w"].shape == (8,)


def test_external_data_in_an_attribute_and_shared(folder):
    path = external("sub/w.bin", folder / "m.onnx", (8,))
    model = onnx.ModelProto.FromString(path.read_bytes())
    model.graph.node.add(op_type="Constant", output=["c"]).attribute.add(
        name="value", type=onnx.AttributeProto.TENSOR
    ).t.CopyFrom(model.graph.initializer[0])
    path.write_bytes(model.SerializeToString())
    graph = read_model(path).graph
    constant = next(n for n in graph.nodes if n.op == "Constant")
    np.testing.assert_array_equal(constant.attrs["value"], graph.constants["w"])
    assert constant.proto is None
    assert np.shares_memory(constant.attrs["value"], graph.constants["w"])


def test_external_data_may_not_multiply(folder):
    path = external("sub/w.bin", folder / "m.onnx", (6,), offset=0, length=24)
    model = onnx.ModelProto.FromString(path.read_bytes())
    other = model.graph.initializer.add()
    other.CopyFrom(model.graph.initializer[0])
    other.name, other.external_data[1].value = "v", "8"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="overlap"):
        read_model(path)


def test_saved_by_onnx(tmp_path):
    weights = np.arange(4096, dtype=np.float32).reshape(64, 64)
    model = model_of([node("Add", ["x", "w"], ["y"])], constants=[("w", weights), ("v", weights[:8] + 1)])
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    found = read_model(tmp_path / "m.onnx").graph.constants
    np.testing.assert_array_equal(found["w"], weights)
    np.testing.assert_array_equal(found["v"], weights[:8] + 1)


# Graphs


def test_declared_inputs_and_outputs():
    model = model_of([node("Identity", ["x"], ["y"])])
    model.graph.input.add().CopyFrom(helper.make_tensor_value_info("a", TensorProto.FLOAT16, ["batch", None, 3, -1, 0]))
    model.graph.input.add().CopyFrom(helper.make_tensor_value_info("huge", TensorProto.INT64, [1 << 62, 1 << 62]))
    model.graph.input.add().CopyFrom(helper.make_tensor_value_info("norank", TensorProto.BOOL, None))
    model.graph.input.add().CopyFrom(
        helper.make_value_info("seq", helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None)))
    )
    found = {v.name: (v.dtype, v.shape, v.kind) for v in read_model(model).graph.inputs}
    assert found["a"] == (np.float16, ("batch", None, 3, None, 0), "tensor")
    assert found["huge"] == (np.int64, (1 << 62, 1 << 62), "tensor")
    assert found["norank"] == (np.bool_, None, "tensor")
    assert found["seq"] == (None, None, "seq(tensor(float))")


def test_declarations_refused():
    for change, word in [(-2, "at least 0"), (-(1 << 63), "at least 0")]:
        model = simple()
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = change
        refused(model, word, "input")
    model = simple()
    model.graph.input[0].type.tensor_type.elem_type = 77
    refused(model, "77")
    model = simple()
    model.graph.input[0].ClearField("type")
    refused(model, "type", "'x'")
    model = simple()
    model.graph.input[0].name = ""
    refused(model, "name")
    model = simple()
    model.graph.input.add().CopyFrom(model.graph.input[0])
    refused(model, "'x'", "two")


def test_initializers_are_no_inputs():
    model = simple()
    model.graph.input.add().CopyFrom(value("w"))
    assert [v.name for v in read_model(model).graph.inputs] == ["x"]


def test_two_initializers_of_one_name():
    model = simple()
    model.graph.initializer.add().CopyFrom(model.graph.initializer[0])
    refused(model, "two initializers", "'w'")


def test_nodes_are_sorted():
    nodes = [node("Relu", ["b"], ["y"]), node("Neg", ["x"], ["a"]), node("Abs", ["a"], ["b"])]
    assert [n.op for n in read_model(model_of(nodes)).graph.nodes] == ["Neg", "Abs", "Relu"]
    free = [node("Neg", ["x"], ["y"]), node("Abs", ["x"], ["a"]), node("Relu", ["x"], ["b"])]
    assert [n.op for n in read_model(model_of(free)).graph.nodes] == ["Neg", "Abs", "Relu"]


def test_cycle_is_named():
    nodes = [
        node("Relu", ["x"], ["p"], name="before"), node("Add", ["p", "c"], ["a"], name="one"),
        node("Neg", ["a"], ["b"], name="two"), node("Abs", ["b"], ["c"], name="three"),
        node("Abs", ["c"], ["y"], name="after"),
    ]  # fmt: skip
    with pytest.raises(ModelError, match="cycle") as caught:
        read_model(model_of(nodes))
    message = str(caught.value)
    assert all(name in message for name in ("one", "two", "three"))
    assert "before" not in message and "after" not in message
    refused(model_of([node("Add", ["x", "y"], ["y"], name="self")]), "cycle", "self")


def test_a_long_cycle_and_a_long_chain():
    n = 3000
    chain = [node("Neg", [f"v{k}"], [f"v{k + 1}"]) for k in range(n)]
    ends = [node("Identity", ["x"], ["v0"]), node("Identity", [f"v{n}"], ["y"])]
    found = read_model(model_of([*chain[::-1], *ends])).graph.nodes
    assert [f.outputs[0] for f in found] == [f"v{k}" for k in range(n + 1)] + ["y"]
    ends[0] = node("Identity", [f"v{n}"], ["v0"])
    refused(model_of([*chain, *ends]), "cycle", "more")


def test_missing_values_are_listed():
    nodes = [node("Add", ["x", "weight_a"], ["a"], name="first"), node("Add", ["a", "weight_b"], ["y"])]
    refused(model_of(nodes), "weight_a", "weight_b", "'first'")
    refused(model_of([node("Neg", ["x"], ["a"])]), "'y'", "output")


def test_one_definition_a_value():
    refused(model_of([node("Neg", ["x"], ["y"]), node("Abs", ["x"], ["y"])]), "'y'", "two")
    refused(model_of([node("Neg", ["x"], ["x"])], outputs=("x",)), "'x'", "two")
    refused(
        model_of([node("Neg", ["x"], ["w"])], outputs=("w",), constants=[("w", np.zeros(2, np.float32))]), "'w'", "two"
    )


def test_absent_inputs_stay():
    nodes = [node("Clip", ["x", "", "m"], ["y"])]
    found = read_model(model_of(nodes, constants=[("m", np.array(1, np.float32))])).graph.nodes[0]
    assert found.inputs == ["x", "", "m"]


def test_invalid_utf8():
    data = model_of([node("Relu", ["x"], ["y"], name="NAME")]).SerializeToString()
    for old, new in [(b"NAME", b"\xff\xfeME"), (b"Relu", b"\xff\xfelu")]:
        with pytest.raises(ModelError, match="UTF-8"):
            read_model(data.replace(old, new))


# Attributes


def test_attribute_values():
    nodes = [
        node(
            "F", ["x"], ["y"], domain="org.own", f=1.5, i=-3, s="text", b=b"\xff\x00",
            fs=[1.0, 2.5], ints=[1, 2], ss=["a", "b"],
            t=numpy_helper.from_array(np.eye(2, dtype=np.float16)), tp=helper.make_tensor_type_proto(FLOAT, [1]),
        )
    ]  # fmt: skip
    attrs = read_model(model_of(nodes, opsets={"org.own": 1})).graph.nodes[0].attrs
    t, tp = attrs.pop("t"), attrs.pop("tp")
    want = {"f": 1.5, "i": -3, "s": "text", "b": b"\xff\x00", "fs": [1.0, 2.5], "ints": [1, 2], "ss": ["a", "b"]}
    assert attrs == want
    assert {key: type(got) for key, got in attrs.items()} == {key: type(w) for key, w in want.items()}
    np.testing.assert_array_equal(t, np.eye(2, dtype=np.float16))
    assert t.dtype == np.float16 and not t.flags.writeable
    assert tp.tensor_type.elem_type == FLOAT


def mutated_attribute(op="Softmax", change=None, **attributes):
    model = model_of([node(op, ["x"], ["y"], name="it", **attributes)])
    if change:
        change(model.graph.node[0].attribute)
    return model


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (mutated_attribute(axis=1.5), ["'axis'", "expected INT", "got FLOAT"]),
        (mutated_attribute(axis=[1]), ["'axis'", "expected INT", "got INTS"]),
        (mutated_attribute(axes=1), ["no attribute 'axes'", "axis"]),
        (mutated_attribute("Cast"), ["'to'", "missing"]),
        (mutated_attribute(axis=1, change=lambda a: a.add().CopyFrom(a[0])), ["'axis'", "twice"]),
        (mutated_attribute(axis=1, change=lambda a: a[0].ClearField("name")), ["no name"]),
        (mutated_attribute(axis=1, change=lambda a: setattr(a[0], "f", 1.0)), ["INT", "FLOAT"]),
        (mutated_attribute(axis=1, change=lambda a: setattr(a[0], "type", onnx.AttributeProto.TENSOR)), ["TENSOR"]),
        (mutated_attribute(axis=1, change=lambda a: setattr(a[0], "ref_attr_name", "k")), ["function"]),
        (mutated_attribute(axis=1, change=lambda a: (a[0].ClearField("type"), a[0].ClearField("i"))), ["type"]),
    ],
)
def test_attributes_refused(model, words):
    refused(model, "'it'", *words)


def test_attribute_without_a_type_or_a_value():
    untyped = mutated_attribute(axis=1, change=lambda a: a[0].ClearField("type"))
    assert read_model(untyped).graph.nodes[0].attrs == {"axis": 1}
    empty = mutated_attribute(axis=1, change=lambda a: a[0].ClearField("i"))
    assert read_model(empty).graph.nodes[0].attrs == {"axis": 0}


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (node("Add", ["x"], ["y"], name="it"), ["expected 2 inputs", "got 1"]),
        (node("Add", ["x", "x", "x"], ["y"], name="it"), ["expected 2 inputs", "got 3"]),
        (node("Add", ["x", ""], ["y"], name="it"), ["'B'", "missing"]),
        (node("Concat", [], ["y"], name="it", axis=0), ["at least 1 inputs"]),
        (node("Neg", ["x"], ["y", "z"], name="it"), ["expected 1 outputs", "got 2"]),
        (node("LSTM", ["x", "x"], ["y"], name="it"), ["expected 3 to 8 inputs", "got 2"]),
        (node("LSTM", ["x", "", "x"], ["y"], name="it"), ["'W'"]),
        (node("LSTM", ["x"] * 3, ["y"], name="it", output_sequence=1), ["output_sequence"]),
        (node("GRU", ["x"] * 3, ["y"], name="it", hidden_size=2.0), ["hidden_size", "got FLOAT"]),
        (node("", ["x"], ["y"], name="it"), ["no operator type"]),
    ],
)
def test_operators_refused(broken, words):
    refused(model_of([broken]), "it", *words)


def test_unknown_operators_are_left_to_the_planner():
    assert read_model(model_of([node("Frobnicate", ["x"], ["y"], k=1)])).graph.nodes[0].op == "Frobnicate"


def test_trailing_absent_values():
    graph = read_model(model_of([node("LSTM", ["x"] * 3 + [""] * 5, ["y", "", ""], hidden_size=1)])).graph
    assert len(graph.nodes[0].inputs) == 8


# Subgraphs


def branch(nodes, outputs, name="b", inputs=(), constants=()):
    tensors = [numpy_helper.from_array(array, key) for key, array in constants]
    return helper.make_graph(nodes, name, list(inputs), [value(n) for n in outputs], tensors)


def if_model(then, otherwise, before=()):
    choose = node("If", ["c"], ["y"], name="choose", then_branch=then, else_branch=otherwise)
    return model_of([*before, choose], constants=[("c", np.array(True))])


def test_subgraphs_capture():
    then = branch([node("Neg", ["x"], ["t"])], ["t"], "then")
    graph = read_model(if_model(then, branch([node("Abs", ["x"], ["e"])], ["e"], "else"))).graph
    subs = dict(graph.nodes[0].subgraphs())
    assert subs.keys() == {"then_branch", "else_branch"}
    assert isinstance(subs["then_branch"], Graph) and subs["then_branch"].nodes[0].inputs == ["x"]
    assert len(list(graph.walk())) == 3
    assert graph.nodes[0].proto is not None


def test_inner_names_become_unique():
    """Both branches and the main graph make a value `t`; the inner ones shadow, and each use follows its own."""
    w = [("w", np.zeros(2, np.float32))]
    inner = branch([node("Abs", ["t"], ["u"]), node("Neg", ["u"], ["t__1"])], ["t__1"], "inner")
    nested = node("If", ["c"], ["r"], then_branch=inner, else_branch=inner)
    then = branch([node("Add", ["x", "w"], ["t"]), nested], ["r"], "then", constants=w)
    otherwise = branch([node("Neg", ["x"], ["t"])], ["t"], "else")
    graph = read_model(if_model(then, otherwise, [node("Relu", ["x"], ["t"]), node("Relu", ["t"], ["w"])])).graph

    def check(g, outer):
        made = [v.name for v in g.inputs] + list(g.constants) + [o for n in g.nodes for o in n.outputs]
        assert len(set(made)) == len(made)
        assert not set(made) & outer
        for n in g.nodes:
            assert set(n.inputs) <= outer | set(made)
            for _, sub in n.subgraphs():
                check(sub, outer | set(made))

    check(graph, set())
    choose = graph.nodes[-1]
    assert choose.proto is None
    t_then, t_else = choose.attrs["then_branch"].nodes[0], choose.attrs["else_branch"].nodes[0]
    assert t_then.inputs == ["x", next(iter(choose.attrs["then_branch"].constants))]
    assert choose.attrs["else_branch"].outputs[0].name == t_else.outputs[0] != "t"
    deepest = choose.attrs["then_branch"].nodes[1].attrs["then_branch"]
    assert deepest.nodes[0].inputs == t_then.outputs
    assert deepest.outputs[0].name == deepest.nodes[1].outputs[0]
    assert graph.nodes[0].proto is not None


def test_many_subgraphs_that_shadow_one_name():
    """Finding a new name for each takes the same time, however many there are."""
    same = branch([node("Neg", ["x"], ["t"])], ["t"])
    ifs = [node("If", ["c"], [f"y{k}"], then_branch=same, else_branch=same) for k in range(1500)]
    model = model_of([node("Abs", ["x"], ["t"]), *ifs], outputs=("y0",), constants=[("c", np.array(True))])
    made = [n.outputs[0] for g in read_model(model).graph.walk() for n in g.nodes]
    assert len(set(made)) == len(made) == 1 + 3 * 1500


def test_subgraphs_are_sorted_after_what_they_capture():
    then = branch([node("Neg", ["late"], ["t"])], ["t"])
    model = if_model(then, then)
    model.graph.node.append(node("Abs", ["x"], ["late"]))
    assert [n.op for n in read_model(model).graph.nodes] == ["Abs", "If"]
    model.graph.node[1].input[0] = "y"
    refused(model, "cycle", "choose")


def test_subgraphs_refused():
    good = branch([node("Neg", ["x"], ["t"])], ["t"])
    refused(if_model(branch([node("Neg", ["nowhere"], ["t"])], ["t"]), good), "nowhere", "then_branch of If 'choose'")
    refused(if_model(good, branch([node("Neg", ["x"], ["t"])], ["t", "t"])), "else_branch", "expected 1 outputs")
    refused(if_model(branch([], ["i"], inputs=[value("i")]), good), "then_branch", "expected 0 inputs")
    body = branch([node("Neg", ["v"], ["n"])], ["c", "n"], inputs=[value("i"), value("c")])
    refused(model_of([node("Loop", ["", "", "x"], ["y"], body=body)]), "v")
    body = branch([], ["c", "i"], inputs=[value("i"), value("c")])
    refused(model_of([node("Loop", ["", "", "x"], ["y"], body=body)]), "body", "expected 3 inputs")


def nested_ifs(depth):
    model = onnx.ModelProto(ir_version=8)
    model.opset_import.add(version=17)
    model.graph.name = "g"
    graph = model.graph
    for _ in range(depth):
        inner = graph.node.add(op_type="If", input=["c"], output=["y"])
        graph.output.add(name="y")
        graph = inner.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH).g
    return model


def test_nesting_is_bounded():
    with pytest.raises(ModelError, match="deeper than 64"):
        read_model(nested_ifs(5000))


# Functions


def function_model(*functions, opset=17):
    text = '<ir_version: 8, opset_import: ["": 17, "l": 1]> g (float[2] x) => (float[2] y) { y = l.f<k = 2>(x) }\n'
    for name, attributes, body in functions:
        text += f'<domain: "l", opset_import: ["": {opset}, "l": 1]> {name} {attributes} (a) => (b) {{ {body} }}\n'
    return onnx.parser.parse_model(text)


def test_functions_are_inlined():
    model = function_model(
        ("f", "<k>", "c = Softmax<axis: int = @k>(a) d = l.h(c) b = Add(d, c)"), ("h", "", "c = Neg(a) b = Abs(c)")
    )
    model.graph.initializer.add().CopyFrom(numpy_helper.from_array(np.arange(3.0), "c"))
    graph = read_model(model).graph
    assert [n.op for n in graph.nodes] == ["Softmax", "Neg", "Abs", "Add"]
    assert graph.nodes[0].attrs == {"axis": 2}
    np.testing.assert_array_equal(graph.constants["c"], np.arange(3.0))


def test_functions_refused():
    refused(function_model(("f", "<k>", "b = l.f(a)")), "calls itself")
    refused(function_model(("f", "<k>", "b = l.h(a)"), ("h", "", "b = l.f(a)")), "calls itself")
    doubling = [(f"h{k}", "", f"c = l.h{k + 1}(a) b = l.h{k + 1}(c)") for k in range(30)]
    bomb = function_model(("f", "<k>", "b = l.h0(a)"), *doubling, ("h30", "", "b = Neg(a)"))
    refused(bomb, "limits", error=UnsupportedError)
    refused(function_model(("f", "<k>", "b = Neg(a)"), opset=12), "l.f", "opsets", error=UnsupportedError)


# Memory, and real models


def test_peak_memory_is_twice_the_file(tmp_path):
    """Weights as initializers: file and message first, then message and arrays, then the arrays alone."""
    size = 96 << 20
    weights = np.zeros(size // 4 // 4, np.float32)
    model = model_of([node("Sum", ["x", "a", "b", "c", "d"], ["y"])], constants=[(n, weights) for n in "abcd"])
    onnx.save(model, tmp_path / "m.onnx")
    code = (
        "import resource, sys, onnx, onnx.numpy_helper; from rnnrt.onnx_file import read_model\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "file = read_model(sys.argv[1])\n"
        "now = int(next(l for l in open('/proc/self/status') if l.startswith('VmRSS')).split()[1])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, now - before)\n"
    )
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "m.onnx"], check=True, env=env, capture_output=True, text=True
    )
    peak, left = (int(word) * 1024 for word in run.stdout.split())
    assert peak < 2.2 * size
    assert left < 1.2 * size


def real_models():
    found = sorted(MODELS.glob("*/model.onnx"))
    return found or [pytest.param(None, marks=pytest.mark.skip(reason=f"no models in {MODELS}; set RNNRT_MODELS"))]


@pytest.mark.parametrize("path", real_models(), ids=lambda p: p.parent.name if p else "none")
def test_real_models(path):
    """Everything of the file is in the Graph, with the same data."""
    file = read_model(path)
    proto = onnx.load(path)
    assert [v.name for v in file.graph.outputs] == [v.name for v in proto.graph.output]
    pairs = [(file.graph, proto.graph)]
    while pairs:
        graph, want = pairs.pop()
        assert sorted(n.op for n in graph.nodes) == sorted(n.op_type for n in want.node)
        assert len(graph.constants) == len(want.initializer)
        for array, tensor in zip(graph.constants.values(), want.initializer, strict=True):
            assert digest(array) == digest(numpy_helper.to_array(tensor))
        for n, p in zip(graph.nodes, want.node, strict=True):
            assert n.proto is None or n.proto == p
            for a in p.attribute:
                got = n.attrs[a.name]
                if a.type == onnx.AttributeProto.GRAPH:
                    pairs.append((got, a.g))
                elif a.type == onnx.AttributeProto.TENSOR:
                    assert digest(got) == digest(numpy_helper.to_array(a.t))
                else:
                    assert helper.get_attribute_value(helper.make_attribute(a.name, got)) == helper.get_attribute_value(
                        a
                    )


def digest(array):
    return array.dtype, array.shape, hashlib.sha256(array.tobytes()).hexdigest()
