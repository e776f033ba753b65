"""`InferenceSession`, its options and bindings."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from small_models import HIDDEN, add_model, gru_feed, gru_model

from rnnrt.binding import OrtValue
from rnnrt.errors import InputError, ModelError, UnsupportedError
from rnnrt.options import ExecutionMode, GraphOptimizationLevel, RunOptions, SessionOptions
from rnnrt.session import InferenceSession


@pytest.fixture(scope="module")
def session() -> InferenceSession:
    return InferenceSession(gru_model().SerializeToString())


@pytest.fixture(scope="module")
def adder() -> InferenceSession:
    return InferenceSession(add_model())


def test_outputs_come_in_the_models_order_or_in_the_one_asked_for(session):
    y, h, twice = session.run(None, gru_feed())
    assert y.shape == (4, 1, 2, HIDDEN)
    assert h.shape == (1, 2, HIDDEN)
    assert twice == 42
    assert np.array_equal(y[-1], h)
    again = session.run(["twice", "y", "twice"], gru_feed())
    assert again[0] == again[2] == 42
    assert np.array_equal(again[1], y)
    assert len(session.run([], gru_feed())) == 3
    assert len(session.run(("h_out",), gru_feed(), RunOptions())) == 1
    assert len(session.run(output_names=None, input_feed=gru_feed(), run_options=None)) == 3


def test_matches_onnxruntime():
    ort = pytest.importorskip("onnxruntime")
    data = gru_model().SerializeToString()
    theirs = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    ours = InferenceSession(data)
    for got, want in zip(ours.run(None, gru_feed(9, 3)), theirs.run(None, gru_feed(9, 3)), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    for mine, other in (ours.get_inputs(), theirs.get_inputs()), (ours.get_outputs(), theirs.get_outputs()):
        assert [(a.name, a.type, a.shape) for a in mine] == [(a.name, a.type, a.shape) for a in other]
    meta, other = ours.get_modelmeta(), theirs.get_modelmeta()
    for name in meta.__slots__:
        assert getattr(meta, name) == getattr(other, name), name


def test_describes_sequences(adder):
    assert adder.get_outputs()[1].type == "seq(tensor(float))"
    assert repr(adder.get_inputs()[0]) == "NodeArg(name='x', type='tensor(float)', shape=['N', 3])"


def test_any_layout_and_what_can_be_converted(session):
    feed = gru_feed()
    want = session.run(None, feed)
    strided = {
        "x": np.asfortranarray(feed["x"]),
        "h": np.repeat(feed["h"], 2, axis=2)[:, :, ::2],
        "k": feed["k"].astype(">i8"),
    }
    listed = {"x": feed["x"].tolist(), "h": OrtValue.ortvalue_from_numpy(feed["h"]), "k": 21}
    for form in (strided, listed, {**feed, "k": np.int64(21)}):
        for got, expected in zip(session.run(None, form), want, strict=True):
            assert np.array_equal(got, expected)
        assert np.array_equal(session.run(["y"], form)[0], want[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": np.ones(3)}, "no input is called q"),
        ({"x": None}, "'x'"),
        ({"x": np.ones((4, 2, 3))}, "'x'"),
        ({"x": np.ones((4, 3), np.float32)}, "'x'"),
        ({"x": np.ones((4, 2, 7), np.float32)}, "'x'"),
        ({"x": [[1.0], [1.0, 2.0]]}, "'x'"),
        ({"x": "text"}, "'x'"),
        ({"k": 1.5}, "'k'"),
        ({"k": [1, 2]}, "'k'"),
        ({"k": np.float32(1)}, "'k'"),
        ({"k": 1 << 70}, "'k'"),
    ],
)
def test_refuses_what_does_not_fit(session, change, message):
    with pytest.raises(InputError, match=message):
        session.run(None, {**gru_feed(), **change})
    with pytest.raises(InputError, match=message):
        session.run(["y"], {**gru_feed(), **change})


def test_errors_say_expected_and_got(session):
    with pytest.raises(InputError, match=r"'x': expected \(T, B, 3\).*got \(4, 2, 7\)"):
        session.run(None, {**gru_feed(), "x": np.ones((4, 2, 7), np.float32)})
    with pytest.raises(InputError, match="h"):
        session.run(None, {k: v for k, v in gru_feed().items() if k != "h"})
    with pytest.raises(InputError, match=r"'nope': expected one of y, h_out, twice"):
        session.run(["nope"], gru_feed())
    for call in (lambda: session.run("y", gru_feed()), lambda: session.run(None, [1]), lambda: session.run(None, None)):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(TypeError):
        session.run(None, gru_feed(), 3)


def test_inputs_that_disagree_are_refused(session):
    with pytest.raises(InputError):
        session.run(None, {**gru_feed(batch=2), "h": np.zeros((1, 3, HIDDEN), np.float32)})


def test_other_providers_are_warned_about():
    data = add_model().SerializeToString()
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        session = InferenceSession(data, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        InferenceSession(data, None, ["CPUExecutionProvider"], [{}])
        named = InferenceSession(data, providers=[("CPUExecutionProvider", {"arena": 1})], enable_fallback=False)
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert named.get_provider_options() == {"CPUExecutionProvider": {"arena": "1"}}
    with pytest.warns(UserWarning, match="Foo"):
        session.set_providers(["Foo"])
    for wrong in ("CPUExecutionProvider", [3]):
        with pytest.raises(InputError, match="providers"):
            InferenceSession(data, providers=wrong)


def test_options_have_onnxruntimes_attributes():
    options = SessionOptions()
    ort = pytest.importorskip("onnxruntime")
    theirs = ort.SessionOptions()
    for name in [n for n in dir(theirs) if not n.startswith("_") and not callable(getattr(theirs, n))]:
        assert type(getattr(options, name)) is type(getattr(theirs, name)) or hasattr(getattr(options, name), "value")
    assert {m.name: int(m) for m in GraphOptimizationLevel} == {
        name: int(level) for name, level in ort.GraphOptimizationLevel.__members__.items()
    }


def test_options_check_names_and_types():
    options = SessionOptions()
    options.intra_op_num_threads = np.int64(2)
    options.execution_mode = ExecutionMode.ORT_PARALLEL
    options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert repr(options) == (
        "SessionOptions(enable_mem_pattern=False, execution_mode=<ExecutionMode.ORT_PARALLEL: 1>, "
        "graph_optimization_level=<GraphOptimizationLevel.ORT_ENABLE_BASIC: 1>, intra_op_num_threads=2)"
    )
    with pytest.raises(AttributeError, match="foo"):
        options.foo = 1
    with pytest.raises(AttributeError, match="foo"):
        _ = options.foo
    with pytest.raises(AttributeError):
        RunOptions().foo = 1
    for name, value in (("intra_op_num_threads", "a"), ("graph_optimization_level", 99), ("logid", 3)):
        with pytest.raises(TypeError, match=name):
            setattr(options, name, value)
    with pytest.raises(RuntimeError, match="other"):
        options.get_session_config_entry("other")
    with pytest.raises(TypeError):
        options.add_session_config_entry("a", 1)
    with pytest.raises(TypeError, match="sess_options"):
        InferenceSession(add_model(), 3)


def test_options_that_have_an_effect():
    options = SessionOptions()
    options.add_free_dimension_override_by_name("N", 2)
    options.intra_op_num_threads = 2
    session = InferenceSession(add_model(), options)
    assert session.get_session_options() is options
    assert session.get_inputs()[0].shape == [2, 3]
    ones = np.ones((2, 3), np.float32)
    assert np.array_equal(session.run(["z"], {"x": ones, "y": ones})[0], ones + ones)
    with pytest.raises(InputError, match=r"'x': expected \(2, 3\), got \(5, 3\)"):
        session.run(None, {"x": np.ones((5, 3), np.float32), "y": np.ones((5, 3), np.float32)})
    options.add_free_dimension_override_by_name("N", -1)
    with pytest.raises(InputError, match="'N'"):
        InferenceSession(add_model(), options)


def test_options_that_cannot_be_met(tmp_path):
    options = SessionOptions()
    with pytest.raises(UnsupportedError, match=r"ops\.so"):
        options.register_custom_ops_library("ops.so")
    options.enable_profiling = True
    with pytest.warns(UserWarning, match="enable_profiling"):
        assert InferenceSession(add_model(), options).end_profiling() == ""
    options.enable_profiling = False
    options.optimized_model_filepath = str(tmp_path / "out.onnx")
    with pytest.raises(UnsupportedError, match="optimized_model_filepath"):
        InferenceSession(add_model(), options)


def test_terminated_run_does_not_begin(session):
    options = RunOptions()
    options.terminate = True
    with pytest.raises(Exception, match="terminate"):
        session.run(None, gru_feed(), options)


def test_bad_models():
    for data in (b"", b"hello world", gru_model().SerializeToString()[:100]):
        with pytest.raises(ModelError):
            InferenceSession(data)
    with pytest.raises(ModelError, match="there_is_none"):
        InferenceSession("there_is_none.onnx")


def test_binding_runs_on_memory_of_the_caller(session):
    feed, want = gru_feed(), session.run(None, gru_feed())
    target = np.zeros_like(want[0])
    state = OrtValue.ortvalue_from_shape_and_type([1, 2, HIDDEN], np.float32)
    binding = session.io_binding()
    binding.bind_cpu_input("x", feed["x"])
    binding.bind_input("h", "cpu", 0, np.float32, feed["h"].shape, feed["h"].ctypes.data)
    binding.bind_ortvalue_input("k", OrtValue.ortvalue_from_numpy(feed["k"]))
    binding.bind_output("y", "cpu", 0, np.float32, target.shape, target.ctypes.data)
    binding.bind_ortvalue_output("h_out", state)
    binding.bind_output("twice")
    session.run_with_iobinding(binding)
    assert np.array_equal(target, want[0])
    assert np.array_equal(state.numpy(), want[1])
    for got, expected in zip(binding.copy_outputs_to_cpu(), want, strict=True):
        assert np.array_equal(got, expected)
    feed["h"][...] = 0  # bound by address: the next run sees it
    session.run_with_iobinding(binding)
    assert np.array_equal(target, session.run(["y"], feed)[0])


def test_binding_checks(session):
    feed = gru_feed()
    binding = session.io_binding()
    for bind in (lambda: binding.bind_cpu_input("w", feed["x"]), lambda: binding.bind_output("w")):
        with pytest.raises(InputError, match="'w'"):
            bind()
    with pytest.raises(InputError, match="cuda"):
        binding.bind_output("y", "cuda")
    with pytest.raises(InputError, match="output"):
        session.run_with_iobinding(binding)
    for name, array in feed.items():
        binding.bind_cpu_input(name, array)
    small = np.zeros((1, 1, 1, 1), np.float32)
    binding.bind_output("y", "cpu", 0, np.float32, small.shape, small.ctypes.data)
    with pytest.raises(InputError, match="'y'"):
        session.run_with_iobinding(binding)
    assert small == 0
    binding.clear_binding_inputs()
    binding.clear_binding_outputs()
    assert not binding.inputs
    assert not binding.targets
    assert not binding.get_outputs()


def test_ort_values(adder):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    value = OrtValue.ortvalue_from_numpy(array)
    assert (value.shape(), value.data_type(), value.element_type()) == ([2, 3], "tensor(float)", 1)
    assert value.is_tensor()
    assert value.has_value()
    assert value.device_name() == "cpu"
    assert value.tensor_size_in_bytes() == 24
    assert value.data_ptr() == array.ctypes.data
    array[0, 0] = 9
    assert value.numpy()[0, 0] == 9
    assert value.numpy() is not array
    z, both = adder.run_with_ort_values(None, {"x": value, "y": value})
    assert np.array_equal(z.numpy(), array + array)
    assert both.is_tensor_sequence()
    assert both.data_type() == "seq(tensor(float))"
    value.update_inplace(np.zeros((2, 3), np.float32))
    assert not array.any()
    for wrong in (lambda: value.update_inplace(np.zeros((2, 4), np.float32)), both.numpy):
        with pytest.raises(InputError):
            wrong()
    with pytest.raises(InputError, match="cuda"):
        OrtValue.ortvalue_from_numpy(array, "cuda")
