"""Large tensors taken out of a serialized model: the same model, and nothing else accepted than without."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_util import model_of, node

import rnnrt
from rnnrt.errors import ModelError
from rnnrt.onnx_file import read_model
from rnnrt.wire import LARGE, LARGE_MODEL, Bytes, Opened, slim

RNG = np.random.default_rng(0)
SIDE = 300  # 360 kB of float32: above LARGE


def constants() -> dict[str, np.ndarray]:
    return {
        "small": RNG.standard_normal(5).astype(np.float32),
        "a": RNG.standard_normal((SIDE, SIDE)).astype(np.float32),
        "b": RNG.standard_normal((SIDE, SIDE)),
        "half": RNG.standard_normal((SIDE, SIDE)).astype(np.float16),
        "yes": RNG.random((SIDE, SIDE)) < 0.5,
        "none": np.zeros((0, 3), np.float32),
    }


def model(tensors=None):
    tensors = constants() if tensors is None else tensors
    return model_of([node("Identity", ["x"], ["y"])], constants=list(tensors.items()))


def typed() -> TensorProto:
    """A large tensor whose elements are not raw."""
    return helper.make_tensor("typed", TensorProto.FLOAT, [SIDE, SIDE], np.arange(SIDE * SIDE, dtype=np.float32))


@pytest.fixture
def data() -> bytes:
    proto = model()
    proto.graph.initializer.insert(1, typed())
    four = TensorProto(name="int4", data_type=TensorProto.INT4, dims=[4 * LARGE])
    four.raw_data = RNG.integers(0, 256, 2 * LARGE, np.uint8).tobytes()
    proto.graph.initializer.append(four)
    return proto.SerializeToString()


def test_what_is_read_is_the_same(data, tmp_path):
    assert len(data) > LARGE_MODEL
    taken = slim(Bytes(data))
    assert [array.nbytes for array in taken.data.values()] == [360_000, 720_000, 180_000, 90_000, 2 * LARGE]
    assert len(taken.model) + sum(array.nbytes for array in taken.data.values()) == pytest.approx(len(data), abs=200)
    proto = type(model()).FromString(data)
    want = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    for source in (data, bytearray(data), path, proto):
        got = read_model(source).graph.constants
        assert list(got) == list(want)
        for name, array in want.items():
            assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape)
            assert got[name].tobytes() == array.tobytes()
            assert got[name].flags.aligned
            assert not got[name].flags.writeable


def test_file_and_memory_are_taken_apart_alike(data, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with path.open("rb") as file:
        one, two = slim(Opened(file.fileno(), len(data))), slim(Bytes(data))
    assert [a.tobytes() for a in one.data.values()] == [a.tobytes() for a in two.data.values()]
    whole = type(model()).FromString(data)
    assert restored(one) == whole
    assert restored(two) == whole


def restored(taken):
    """The model with the data back in the place of the marks."""
    proto = type(model()).FromString(taken.model)

    def walk(graph):
        attributes = [a for n in graph.node for a in n.attribute]
        for tensor in (*graph.initializer, *(a.t for a in attributes if a.HasField("t"))):
            if tensor.raw_data in taken.data:
                tensor.raw_data = taken.data[tensor.raw_data].tobytes()
        for attribute in attributes:
            if attribute.HasField("g"):
                walk(attribute.g)

    walk(proto.graph)
    return proto


def test_constants_of_nodes_and_of_branches(tmp_path):
    """Data is taken out of Constant nodes, inside If as well."""
    big = {name: RNG.standard_normal((SIDE, SIDE)).astype(np.float32) for name in "abcd"}
    tensors = {name: numpy_helper.from_array(array, name) for name, array in big.items()}
    branches = []
    for name in "ab":
        nodes = [node("Constant", [], [name], value=tensors[name]), node("Add", ["x", name], [f"{name}y"])]
        branches.append(helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(f"{name}y", 1, None)]))
    inside = helper.make_graph([], "e", [], [helper.make_tensor_value_info("d", 1, None)], [tensors["d"]])
    nodes = [
        node("Constant", [], ["c"], value=tensors["c"]),
        node("If", ["k"], ["s"], then_branch=branches[0], else_branch=branches[1]),
        node("If", ["k"], ["t"], then_branch=inside, else_branch=inside),
        node("Sum", ["s", "c", "t"], ["y"]),
    ]
    shape = [SIDE, SIDE]
    inputs = [helper.make_tensor_value_info("x", 1, shape), helper.make_tensor_value_info("k", TensorProto.BOOL, [])]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", 1, shape)])
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data = whole.SerializeToString()
    taken = slim(Bytes(data))
    assert len(taken.data) == 5
    assert len(taken.model) < 3000
    assert restored(taken) == whole
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    x = RNG.standard_normal(shape).astype(np.float32)
    for source in (path, data):
        for k in (True, False):
            want = x + big["a" if k else "b"] + big["c"] + big["d"]
            got = rnnrt.load(source).run({"x": x, "k": np.array(k)})["y"]
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_small_models_and_those_without_raw_data_stay_whole():
    assert slim(Bytes(model({"w": np.zeros(LARGE_MODEL // 8, np.float32)}).SerializeToString())) is None
    proto = model_of([node("Identity", ["x"], ["y"])], constants=[typed()] * 1)
    proto.doc_string = "x" * LARGE_MODEL
    assert slim(Bytes(proto.SerializeToString())) is None


def test_a_wrong_size_is_named():
    proto = model()
    proto.graph.initializer[1].dims[0] += 1
    with pytest.raises(ModelError, match=r"initializer 'a': expected 361200 bytes for float\[301, 300\], got 360000"):
        read_model(proto.SerializeToString())


def test_two_initializers_of_a_name_and_two_kinds_of_data_are_refused():
    proto = model()
    proto.graph.initializer[2].name = "a"
    with pytest.raises(ModelError, match="two initializers are named 'a'"):
        read_model(proto.SerializeToString())
    proto = model()
    proto.graph.initializer[1].float_data.append(1)
    with pytest.raises(ModelError, match=r"got float_data and raw_data"):
        read_model(proto.SerializeToString())


def test_a_cut_model_is_refused_wherever_it_is_cut(data, tmp_path):
    ends = [*range(1, 200), *RNG.integers(200, len(data), 40).tolist(), len(data) - 1]
    path = tmp_path / "model.onnx"
    for end in ends:
        assert slim(Bytes(data[:end])) is None
    for end in ends[::20]:
        path.write_bytes(data[:end])
        for source in (data[:end], path):
            with pytest.raises(ModelError):
                read_model(source)


def test_a_damaged_model_gives_what_it_gives_whole(data, monkeypatch):
    """Bytes changed outside of the large data: the same graph or the same kind of error as by protobuf alone."""
    places = [*range(32), *(data.find(name) - k for name in (b"small", b"typed") for k in range(4))]
    places += [len(data) - k for k in range(1, 30)]
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(RNG.integers(8))
        outcomes = []
        for taken in (slim, lambda source: None):
            monkeypatch.setattr("rnnrt.onnx_file.slim", taken)
            try:
                graph = read_model(damaged).graph
                outcomes.append([(name, a.dtype, a.shape, a.tobytes()) for name, a in graph.constants.items()])
            except Exception as error:
                outcomes.append(type(error))
        assert outcomes[0] == outcomes[1], place
