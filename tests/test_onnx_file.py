"""read_model: every kind of source, versions, functions, memory, and the real models."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_util import model_of, node, refused, simple

from rnnrt.errors import InputError, ModelError, UnsupportedError
from rnnrt.onnx_file import read_model
from rnnrt.ops.reference import message_of

MODELS = Path(os.environ.get("RNNRT_MODELS") or Path(__file__).parents[1] / "../shared/models")

# Sources


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
            assert n.proto is None or message_of(n) == p
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
