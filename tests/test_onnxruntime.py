"""`rnnrt.onnxruntime`: programs written for onnxruntime, their ``except`` clauses above all."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from onnx import helper
from small_models import add_model, gru_feed, gru_model

import rnnrt.onnxruntime as look_alike
from rnnrt.errors import InputError, ModelError, RnnrtError, UnsupportedError
from rnnrt.onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument


def _feed(**change):
    """Feed the small GRU, with some inputs changed or, where None, left out."""

    def run(ort, _):
        session = ort.InferenceSession(gru_model().SerializeToString(), providers=["CPUExecutionProvider"])
        feed = {**gru_feed(), **change}
        session.run(None, {name: value for name, value in feed.items() if value is not None})

    return run


def _disagree(ort, _):
    session = ort.InferenceSession(add_model().SerializeToString(), providers=["CPUExecutionProvider"])
    session.run(None, {"x": np.ones((2, 3), np.float32), "y": np.ones((5, 3), np.float32)})


def _ask(names):
    def run(ort, _):
        session = ort.InferenceSession(gru_model().SerializeToString(), providers=["CPUExecutionProvider"])
        session.run(names, gru_feed())

    return run


def _terminate(ort, _):
    session = ort.InferenceSession(gru_model().SerializeToString(), providers=["CPUExecutionProvider"])
    options = ort.RunOptions()
    options.terminate = True
    session.run(None, gru_feed(), options)


def _bind(ort, _):
    session = ort.InferenceSession(gru_model().SerializeToString(), providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input("x", np.ones((4, 2, 3)))
    binding.bind_output("y")
    session.run_with_iobinding(binding)


def _load(change):
    """Load the small Add model after `change`."""

    def load(ort, _):
        model = add_model()
        change(model)
        ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    return load


def _file(content):
    def load(ort, folder):
        path = folder / "model.onnx"
        if content is not None:
            path.write_bytes(content)
        ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    return load


def _source(source):
    return lambda ort, _: ort.InferenceSession(source, providers=["CPUExecutionProvider"])


def _set(**fields):
    return lambda model: [setattr(model.graph.node[0], name, value) for name, value in fields.items()]


def _rewire(name):
    return lambda model: model.graph.node[0].input.__setitem__(0, name)


def _library(ort, _):
    ort.SessionOptions().register_custom_ops_library("./there_is_none.so")


SITUATIONS = {
    "missing input": (_feed(x=None), "ValueError", InputError),
    "unknown input": (_feed(q=np.ones(3)), "InvalidArgument", InputError),
    "wrong dtype": (_feed(x=np.ones((4, 2, 3))), "InvalidArgument", InputError),
    "wrong integer": (_feed(k=np.array(1, np.int32)), "InvalidArgument", InputError),
    "wrong rank": (_feed(x=np.ones((4, 2), np.float32)), "InvalidArgument", InputError),
    "wrong shape": (_feed(x=np.ones((4, 2, 7), np.float32)), "InvalidArgument", InputError),
    "shapes that disagree": (_disagree, "Fail", InputError),
    "unknown output": (_ask(["nope"]), "InvalidArgument", InputError),
    "outputs as a string": (_ask("y"), "TypeError", TypeError),
    "terminated": (_terminate, "Fail", RnnrtError),
    "binding of a wrong dtype": (_bind, "RuntimeError", InputError),
    "no file": (_file(None), "NoSuchFile", ModelError),
    "no ONNX file": (_file(b"hello world, this is no model"), "InvalidProtobuf", ModelError),
    "empty file": (_file(b""), "InvalidArgument", ModelError),
    "a folder": (lambda ort, folder: ort.InferenceSession(str(folder)), "InvalidProtobuf", ModelError),
    "no ONNX bytes": (_source(b"hello world"), "InvalidProtobuf", ModelError),
    "empty bytes": (_source(b""), "InvalidArgument", ModelError),
    "truncated bytes": (_source(gru_model().SerializeToString()[:100]), "InvalidProtobuf", ModelError),
    "no source": (_source(None), "TypeError", InputError),
    "a number": (_source(3), "TypeError", InputError),
    "unknown operator": (_load(_set(op_type="Blurb")), "InvalidGraph", RnnrtError),
    "unknown domain": (_load(_set(domain="acme")), "InvalidGraph", RnnrtError),
    "unknown operator of a domain": (
        _load(lambda m: (_set(domain="acme")(m), m.opset_import.add(domain="acme", version=1))),
        "Fail",
        UnsupportedError,
    ),
    "dangling name": (_load(_rewire("nope")), "InvalidArgument", ModelError),
    "cycle": (_load(_rewire("z")), "Fail", ModelError),
    "too few inputs": (_load(lambda m: m.graph.node[0].input.pop()), "InvalidGraph", ModelError),
    "unknown attribute": (
        _load(lambda m: m.graph.node[0].attribute.append(helper.make_attribute("blah", 1))),
        "InvalidGraph",
        ModelError,
    ),
    "IR of the future": (_load(lambda m: setattr(m, "ir_version", 99)), "Fail", ModelError),
    "opset of the future": (_load(lambda m: setattr(m.opset_import[0], "version", 99)), "Fail", ModelError),
    "operator library": (_library, "Fail", UnsupportedError),
}


def _class(ort, name: str) -> type[BaseException]:
    state = importlib.import_module(f"{ort.__name__}.capi.onnxruntime_pybind11_state")
    return getattr(state, name, None) or getattr(importlib.import_module("builtins"), name)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("situation", SITUATIONS)
def test_raises_what_onnxruntime_raises(situation, tmp_path):
    provoke, name, own = SITUATIONS[situation]
    with pytest.raises(_class(look_alike, name)) as caught:
        provoke(look_alike, tmp_path)
    assert isinstance(caught.value, own)
    assert str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("situation", SITUATIONS)
def test_onnxruntime_raises_what_the_table_says(situation, tmp_path):
    ort = pytest.importorskip("onnxruntime")
    provoke, name, _ = SITUATIONS[situation]
    with pytest.raises(_class(ort, name)):
        provoke(ort, tmp_path)


def test_all_classes_of_onnxruntime_are_there():
    ort = pytest.importorskip("onnxruntime")
    theirs = ort.capi.onnxruntime_pybind11_state
    types = {name: found for name, found in vars(theirs).items() if isinstance(found, type)}
    names = [name for name, found in types.items() if issubclass(found, Exception)]
    assert {"Fail", "InvalidArgument", "NoSuchFile"} <= set(names)
    for name in names:
        assert issubclass(getattr(look_alike.capi.onnxruntime_pybind11_state, name), Exception)


def test_errors_can_be_pickled_and_keep_their_text():
    with pytest.raises(InvalidArgument) as caught:
        SITUATIONS["wrong rank"][0](look_alike, None)
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is type(caught.value)
    assert str(again) == str(caught.value)
    assert "'x'" in str(again)


def test_a_usual_program(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(gru_model().SerializeToString())
    ort = look_alike
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    ort.set_default_logger_severity(3)
    ort.set_seed(0)
    assert "CPUExecutionProvider" in ort.get_available_providers()
    assert ort.get_device() == "CPU"
    assert tuple(int(part) for part in ort.__version__.split(".")) >= (1, 0, 0)
    session = ort.InferenceSession(str(path), sess_options=options, providers=ort.get_available_providers())
    names = [node.name for node in session.get_inputs()]
    wanted = [node.name for node in session.get_outputs()]
    y, state, _ = session.run(wanted, dict(zip(names, gru_feed().values(), strict=True)))
    assert isinstance(session, ort.InferenceSession)
    assert y.dtype == state.dtype == np.float32
    assert session.get_modelmeta().custom_metadata_map == {"answer": "42"}
    with pytest.raises(RuntimeError, match="severity"):
        ort.set_default_logger_severity(9)


def test_the_real_package_is_not_imported():
    code = (
        "import sys, rnnrt.onnxruntime as ort; "
        "from rnnrt.onnxruntime.capi.onnxruntime_pybind11_state import Fail; "
        "assert ort.capi.onnxruntime_pybind11_state.Fail is Fail; "
        "assert not {'onnxruntime', 'onnx'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
