"""The real models: every case, every stream frame by frame, and the same bits whatever way a model is run.

What is wanted was recorded with onnxruntime; the folder's README says how it is laid out and what the tolerance is.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from conftest import MODELS

import rnnrt

TOLERANCE = 1e-4

# Two pairs that the manifest leaves out: the model slices each input, runs two GRUs from the slices, and gives back the
# concatenation of their last states, in the same order and shape. Its structure leaves no doubt.
UNLISTED = {"stethoscope": {"160": "onnx::Slice_1", "161": "onnx::Slice_2"}}

# Without the folder, one name stands for all; the fixture skips it and says why.
NAMES = sorted(file.parent.name for file in MODELS.glob("*/model.onnx")) or ["(none)"]
STREAMS = sorted(file.parent.name for file in MODELS.glob("*/stream.npz")) or ["(none)"]

pytestmark = pytest.mark.usefixtures("models_dir")

_loaded: dict[str, rnnrt.Model] = {}


@pytest.fixture(scope="module", autouse=True)
def _forget():
    yield
    _loaded.clear()


def loaded(name: str) -> rnnrt.Model:
    if name not in _loaded:
        _loaded[name] = rnnrt.load(MODELS / name / "model.onnx")
    return _loaded[name]


def arrays(name: str, file: str, prefix: str) -> dict[str, np.ndarray]:
    with np.load(MODELS / name / file) as data:
        return {key.removeprefix(prefix): data[key] for key in data.files if key.startswith(prefix)}


def cases(name: str) -> Iterator[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    k = 0
    while feeds := arrays(name, "cases.npz", f"c{k}.in."):
        yield feeds, arrays(name, "cases.npz", f"c{k}.out.")
        k += 1


def close(got: np.ndarray, want: np.ndarray, what: str) -> None:
    assert (got.shape, got.dtype) == (want.shape, want.dtype), what
    tolerance = TOLERANCE if want.dtype.kind == "f" else 0
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, err_msg=what)


def same_bits(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> None:
    assert list(got) == list(want)
    for name, array in want.items():
        assert (got[name].shape, got[name].dtype) == (array.shape, array.dtype), name
        assert got[name].tobytes() == array.tobytes(), name


@pytest.fixture(scope="module")
def manifest(models_dir) -> list[dict]:
    return json.loads((models_dir / "manifest.json").read_text())


def test_the_folder_is_complete(manifest):
    assert sorted(entry["id"] for entry in manifest) == NAMES
    assert set(STREAMS) == {entry["id"] for entry in manifest if entry["state"]}


@pytest.mark.parametrize("name", NAMES)
def test_cases(name, manifest):
    model = loaded(name)
    count = 0
    for k, (feeds, wanted) in enumerate(cases(name)):
        got = model.run(feeds)
        assert set(got) == set(wanted)
        assert list(got) == [value.name for value in model.outputs]
        for output, want in wanted.items():
            close(got[output], want, f"case {k}, output {output}")
        count += 1
    assert count == next(len(entry["shapes"]) for entry in manifest if entry["id"] == name)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_again_pickled_and_in_a_session_with_two_threads(name):
    model = loaded(name)
    copy = pickle.loads(pickle.dumps(model))
    assert copy.states == model.states
    assert [(v.name, v.shape, v.dtype) for v in copy.inputs] == [(v.name, v.shape, v.dtype) for v in model.inputs]
    options = rnnrt.SessionOptions()
    options.intra_op_num_threads = 2
    session = rnnrt.InferenceSession(MODELS / name / "model.onnx", options)
    for feeds, _ in cases(name):
        want = model.run(feeds)
        same_bits(model.run(feeds), want)
        same_bits(copy.run(feeds), want)
        same_bits(dict(zip(want, session.run(None, feeds), strict=True)), want)


@pytest.mark.parametrize("name", NAMES)
def test_states_are_found(name, manifest):
    listed = next(entry["state"] for entry in manifest if entry["id"] == name)
    wanted = listed | UNLISTED.get(name, {})
    assert {made: given for given, made in loaded(name).states.items()} == wanted


def test_the_unlisted_states_of_stethoscope_are_structural():
    """A state output joins the final states of the LSTMs whose initial states are slices of the state input."""
    graph = onnx.load(MODELS / "stethoscope" / "model.onnx").graph
    made = {out: node for node in graph.node for out in node.output}

    def origin(name: str) -> str:
        while name in made and made[name].op_type in ("Slice", "Squeeze", "Unsqueeze"):
            name = made[name].input[0]
        return name

    layers = [node for node in graph.node if node.op_type == "LSTM"]
    assert len(layers) == 2
    for (output, given), k in zip(UNLISTED["stethoscope"].items(), (1, 2), strict=True):
        assert [origin(layer.input[4 + k]) for layer in layers] == [given, given]
        assert made[output].op_type == "Concat"
        assert [origin(name) for name in made[output].input] == [layer.output[k] for layer in layers]


@pytest.mark.parametrize("name", STREAMS)
def test_streams(name):
    frames, fixed = arrays(name, "stream.npz", "in."), arrays(name, "stream.npz", "fixed.")
    wanted, final = arrays(name, "stream.npz", "out."), arrays(name, "stream.npz", "state.")
    stream = loaded(name).stream()
    count = len(next(iter(frames.values())))
    assert count
    for t in range(count):
        got = stream.step({k: v[t] for k, v in frames.items()} | fixed)
        assert set(got) == set(wanted)
        for output, want in wanted.items():
            close(got[output], want[t], f"frame {t}, output {output}")
    assert set(stream.state) == set(final)
    for given, want in final.items():
        close(stream.state[given], want, f"state {given}")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_to_the_reference_tier(name):
    counts = loaded(name)._plan.count()
    assert "reference" not in counts
    proto = onnx.load(MODELS / name / "model.onnx")
    if any(node.op_type in ("LSTM", "GRU", "RNN") for node in proto.graph.node):
        assert counts["native"] >= 1


@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_native_and_shapes_are_bound_once(name):
    """What runs is compiled steps and branches between them: no call of a Python function."""
    model = loaded(name)
    feeds = [given for given, _ in cases(name)]
    for given in (*feeds, *feeds):
        model.run(given)
    todo = list(model._plan.program.roots.values())
    assert len(todo) == len({tuple((a.dtype, a.shape) for a in given.values()) for given in feeds})
    for segment in todo:
        todo.extend(segment.children.values())
        assert segment.terminal.kind != 1, segment.terminal.label
