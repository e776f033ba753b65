"""`load` and `Model`: sources, checks of inputs, fresh outputs, copies, processes, threads, and the plan as text."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from other_process import answer
from small_models import gru_model
from text_models import STREAMING, feeds, lstm, parsed, same

import rnnrt
from rnnrt.errors import InputError, ModelError, UnsupportedError

F = np.float32
FOLDER = "model.onnx"


@pytest.fixture(scope="module")
def proto() -> onnx.ModelProto:
    return parsed(STREAMING, **lstm())


@pytest.fixture(scope="module")
def model(proto) -> rnnrt.Model:
    return rnnrt.load(proto)


# Sources


def test_all_sources_give_the_same_model(proto, tmp_path, monkeypatch):
    path = tmp_path / FOLDER
    data = proto.SerializeToString()
    path.write_bytes(data)
    monkeypatch.chdir(tmp_path)
    want = rnnrt.load(proto).run(feeds())
    for source in (path, str(path), FOLDER, data, bytearray(data), memoryview(data)):
        assert same(rnnrt.load(source).run(feeds()), want), type(source)


def test_a_message_is_not_changed(proto):
    before = proto.SerializeToString(deterministic=True)
    model = rnnrt.load(proto)
    model.run(feeds())
    assert proto.SerializeToString(deterministic=True) == before


def test_a_model_does_not_change_with_what_it_was_loaded_from(proto, tmp_path, monkeypatch):
    mine = onnx.ModelProto()
    mine.CopyFrom(proto)
    data = bytearray(proto.SerializeToString())
    (tmp_path / FOLDER).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    models = [rnnrt.load(source) for source in (mine, data, FOLDER)]
    want = models[0].run(feeds())
    mine.graph.initializer[0].raw_data = bytes(len(mine.graph.initializer[0].raw_data))
    data[:] = bytes(len(data))
    monkeypatch.chdir("/")
    for model in models:
        assert same(model.run(feeds()), want)
        assert same(pickle.loads(pickle.dumps(model)).run(feeds()), want)


@pytest.mark.parametrize("source", [None, 3, ["model.onnx"], np.zeros(3)])
def test_a_source_of_another_kind(source):
    with pytest.raises(InputError, match=r"expected a path, bytes or an onnx\.ModelProto"):
        rnnrt.load(source)


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(ModelError, match="nothing_here"):
        rnnrt.load(tmp_path / "nothing_here.onnx")


# What the model says of itself


def test_inputs_outputs_and_metadata():
    model = rnnrt.load(gru_model())
    assert [(v.name, v.dtype, v.shape) for v in model.inputs] == [
        ("x", np.dtype(F), ("T", "B", 3)),
        ("h", np.dtype(F), (1, "B", 5)),
        ("k", np.dtype(np.int64), ()),
    ]
    assert [v.name for v in model.outputs] == ["y", "h_out", "twice"]
    assert model.states == {"h": "h_out"}
    assert model.threads == 1
    about = model.metadata
    assert (about["producer_name"], about["graph_name"], about["version"]) == ("tests", "small", 7)
    assert about["opsets"] == {"": 17}
    assert about["custom_metadata_map"] == {"answer": "42"}


def test_repr_names_the_graph_inputs_and_steps(model):
    assert repr(model) == "<rnnrt.Model 'g': inputs x, h_in, c_in; steps: 1 native>"
    assert repr(rnnrt.load(parsed("() => (float[1] y) { y = Identity(k) }", k=np.ones(1, F)))).endswith(
        "none; steps: none>"
    )


def test_describe_shows_steps_tiers_shapes_and_what_was_absorbed():
    text = """(bool c, float[N, 7, 3] x, float[1, N, 5] h) => (float[N, 7, 5] y, float[1, N, 5] h_out, float d) {
        t = Transpose <perm: ints = [1, 0, 2]> (x)
        z, h_out = GRU <hidden_size: int = 5> (t, W, R, B, , h)
        s = Squeeze(z, axis)
        y = Transpose <perm: ints = [1, 0, 2]> (s)
        d = If (c) <
            then_branch = yes () => (float a) { a = ReduceSum <keepdims: int = 0> (y) },
            else_branch = no () => (float b) { m = MatMul(k, k)  b = Det(m) }
        >
    }"""
    graph = parsed(text, axis=np.array([1]), **lstm(gates=3))
    graph.graph.input.append(helper.make_tensor_value_info("k", TensorProto.FLOAT, [2, 2]))
    model = rnnrt.load(graph)
    lines = model.describe().splitlines()
    assert lines[0] == "model 'g': 4 inputs, 3 outputs, steps: 3 native, 1 control, 1 reference"
    assert rnnrt.cpu()["in_use"] in lines[1]
    assert lines[1].endswith("threads 1")
    assert "state h <- h_out" in lines

    def line(*words: str) -> str:
        return next(line for line in lines if all(word in line for word in words))

    assert "(x[0], 7, 5)" in line("native", "GRU 'y'")
    assert "X through transpose[(1, 0, 2)]" in line("X through")
    assert "Y as [B, T, H]" in line("Y as")
    assert not any("Transpose '" in step for step in lines)
    assert lines.index(line("control", "If 'd'")) < lines.index(line("then_branch:")) < lines.index(line("ReduceSum"))
    assert (
        lines.index(line("else_branch:"))
        < lines.index(line("native", "MatMul"))
        < lines.index(line("reference", "Det"))
    )
    assert "(2, 2)" in line("MatMul")


# Wrong inputs


def _with(**changed) -> dict:
    return {k: v for k, v in (feeds() | changed).items() if v is not None}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ("expected x, h_in, c_in", "missing x, h_in, c_in")),
        (_with(x=None), ("expected x, h_in, c_in", "missing x")),
        (_with(extra=np.zeros(1, F)), ("expected x, h_in, c_in", "no input is called extra")),
        (_with(x=None, X=np.zeros((4, 2, 3), F)), ("missing x", "no input is called X")),
        (_with(x=np.zeros((4, 2, 3))), ("input 'x'", "float32 (T, N, 3)", "float64 (4, 2, 3)")),
        (_with(x=np.zeros((4, 2, 3), np.int32)), ("input 'x'", "float32 (T, N, 3)", "int32")),
        (_with(x=np.zeros((4, 2, 3), ">f4")), ("input 'x'", "float32 (T, N, 3)", ">f4 (4, 2, 3)")),
        (_with(x=np.zeros((4, 2, 3), object)), ("input 'x'", "float32", "object")),
        (_with(x=np.zeros((4, 2, 3), "U3")), ("input 'x'", "float32", "<U3")),
        (_with(x=np.zeros((4, 2), F)), ("input 'x'", "(T, N, 3)", "(4, 2)")),
        (_with(x=np.zeros((4, 2, 3, 1), F)), ("input 'x'", "(T, N, 3)", "(4, 2, 3, 1)")),
        (_with(x=np.array(1, F)), ("input 'x'", "(T, N, 3)", "()")),
        (_with(x=np.zeros((4, 2, 4), F)), ("input 'x'", "(T, N, 3)", "(4, 2, 4)")),
        (_with(h_in=np.zeros((2, 2, 5), F)), ("input 'h_in'", "(1, N, 5)", "(2, 2, 5)")),
        (_with(x=[[[1.0, 2.0, 3.0]]]), ("input 'x'", "NumPy array of float32", "list")),
        (_with(x=1.0), ("input 'x'", "NumPy array", "float")),
        ({**feeds(), "x": None}, ("input 'x'", "NumPy array", "NoneType")),
        (_with(h_in=np.zeros((1, 3, 5), F)), ("LSTM", "initial_h", "(1, 2, 5)", "(1, 3, 5)")),
        (None, ("expected a dict", "NoneType")),
        (3, ("expected a dict", "int")),
        ([*feeds().values()], ("expected a dict", "list")),
        ("xhc", ("expected a dict", "str")),
        (np.zeros((3, 2)), ("expected a dict", "ndarray")),
        ({1: 2, **feeds()}, ("no input is called 1",)),
    ],
)
def test_wrong_feeds(model, given, words):
    with pytest.raises(InputError) as caught:
        model.run(given)
    assert type(caught.value) is InputError
    for word in words:
        assert word in str(caught.value)
    assert model.run(feeds())["y"].shape == (4, 1, 2, 5), "the model is as usable as before"


def test_called_with_values_in_order(model):
    want = model.run(feeds())
    got = model(*feeds().values())
    assert isinstance(got, tuple)
    assert same(dict(zip(want, got, strict=True)), want)
    bare = rnnrt.load(parsed("(float[N] x) => (float[N] y) { y = Neg(x) }"))
    assert bare(np.ones(2, F)).tolist() == [-1, -1]
    for values in ((), (np.ones(2, F),) * 2):
        with pytest.raises(InputError, match=rf"expected 1 inputs \(x\), got {len(values)}"):
            bare(*values)
    with pytest.raises(InputError, match="input 'x': expected float32"):
        bare(np.ones(2))


def test_sequences_come_as_lists_of_arrays():
    graph = helper.make_graph(
        [helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0), helper.make_node("Identity", ["s"], ["same"])],
        "g",
        [helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, ["N"])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["M"]),
            helper.make_tensor_sequence_value_info("same", TensorProto.FLOAT, ["N"]),
        ],
    )
    model = rnnrt.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    given = [np.ones(2, F), np.zeros(1, F)]
    got = model.run({"s": given})
    assert got["y"].tolist() == [1, 1, 0]
    assert [a.tolist() for a in got["same"]] == [[1, 1], [0]]
    assert got["same"] is not given
    assert not any(np.shares_memory(a, b) for a, b in zip(given, got["same"], strict=True))
    for wrong in (np.ones(2, F), [1.0, 2.0], None):
        with pytest.raises(InputError, match=r"input 's': expected seq\(tensor\(float\)\) as a list of arrays"):
            model.run({"s": wrong})


def test_strings():
    text = "(string[N] x) => (string[N] y, bool[N] e) { y = Identity(x)  e = Equal(x, k) }"
    model = rnnrt.load(parsed(text, k=np.array(["a"], object)))
    for x in (np.array(["a", "bc"]), np.array(["a", "bc"], object)):
        got = model.run({"x": x})
        assert got["y"].tolist() == ["a", "bc"]
        assert got["e"].tolist() == [True, False]
        assert not np.shares_memory(got["y"], x)
    for x in (np.array([b"a"]), np.array(["a", 1], object), np.zeros(2, F)):
        with pytest.raises(InputError, match="input 'x'"):
            model.run({"x": x})


# Copies, processes, threads


def test_pickles_and_copies(model):
    want = model.run(feeds())
    for other in (pickle.loads(pickle.dumps(model)), copy.copy(model), copy.deepcopy({"m": model})["m"]):
        assert same(other.run(feeds()), want)
        assert other.states == model.states
        assert other.metadata == model.metadata
        assert other.describe() == model.describe()
    given = rnnrt.load(parsed(STREAMING, **lstm()), threads=3, states={"h_in": "c_out"})
    other = pickle.loads(pickle.dumps(given))
    assert (other.threads, other.states) == (3, {"h_in": "c_out"})


def test_a_model_with_untyped_outputs_can_be_pickled():
    proto = parsed(STREAMING, **lstm())
    for value in proto.graph.output:
        value.ClearField("type")
    model = rnnrt.load(proto)
    assert model.states == {"h_in": "h_out", "c_in": "c_out"}
    assert same(pickle.loads(pickle.dumps(model)).run(feeds()), model.run(feeds()))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_in_another_process(model, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    child = context.Process(target=answer, args=(model, feeds(), theirs))
    child.start()
    theirs.close()
    assert ours.poll(60)
    got = ours.recv()
    child.join(30)
    assert child.exitcode == 0
    assert same(got, model.run(feeds()))


def test_many_threads_at_once_give_what_one_gives():
    weights = lstm(3, 48)
    model = rnnrt.load(parsed(STREAMING.replace("5", "48"), **weights), threads=2)
    given = []
    for seed in range(24):
        sizes = (1 + seed * 5 % 60, 1 + seed % 9)
        one = feeds(*sizes, seed=seed)
        states = np.random.default_rng(seed).standard_normal((2, 1, sizes[1], 48)).astype(F)
        given.append(one | {"h_in": states[0], "c_in": states[1]})
    want = [model.run(one) for one in given]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for got, expected in zip(pool.map(model.run, given), want, strict=True):
                assert same(got, expected)


def test_unsupported_is_told_at_load():
    proto = parsed("(float[N] x) => (float[N] y) { y = Neg(x) }")
    proto.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(UnsupportedError, match="NoSuchOperator 'y'"):
        rnnrt.load(proto)


def test_external_data_is_found_again_after_pickling(tmp_path, monkeypatch):
    proto = parsed("(float[2] x) => (float[2] y) { y = Add(x, w) }", w=np.array([1, 2], F))
    weight = numpy_helper.from_array(np.array([1, 2], F), "w")
    del proto.graph.initializer[:]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, text in (("location", "w.bin"), ("offset", "0"), ("length", "8")):
        weight.external_data.add(key=key, value=text)
    proto.graph.initializer.append(weight)
    (tmp_path / "w.bin").write_bytes(np.array([1, 2], F).tobytes())
    (tmp_path / FOLDER).write_bytes(proto.SerializeToString())
    monkeypatch.chdir(tmp_path)
    model = rnnrt.load(FOLDER)
    monkeypatch.chdir("/")
    assert pickle.loads(pickle.dumps(model))(np.zeros(2, F)).tolist() == [1, 2]
