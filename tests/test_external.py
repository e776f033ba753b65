"""External data: read from the model's own folder, refused from anywhere else."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx_util import FLOAT, model_of, node

from rnnrt.errors import ModelError
from rnnrt.onnx_file import read_model


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
    assert got.dtype == np.float32
    assert not got.flags.writeable


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
