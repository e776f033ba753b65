"""Models that PyTorch's two exporters and tf2onnx wrote, against the answers of the frameworks they came from.

The models are in `tests/exports`, made once by the scripts there; its README.md names what the exporters could not do.
"""

from __future__ import annotations

import numpy as np
import pytest
from exports import corpus

import rnnrt
from rnnrt.errors import ModelError, RnnrtError

CORPORA = {name: corpus.load(name) for name in corpus.EXPORTERS}


def records(wanted):
    """Test parameters (exporter's corpus, record) for the records that `wanted` picks."""
    found = [(store, record) for store in CORPORA.values() for record in store.cases if wanted(record)]
    parameters = [pytest.param(*f, id=f"{f[0].exporter}-{f[1].name}") for f in found]
    return pytest.mark.parametrize(("store", "record"), parameters)


def assert_answers(got, want, record):
    """Names, shapes and values, at the tolerance of the model's type."""
    assert list(got) == list(want)
    tolerance = corpus.TOLERANCE[record.dtype]
    for name, expected in want.items():
        assert got[name].shape == expected.shape, name
        assert got[name].dtype == expected.dtype, name
        np.testing.assert_allclose(got[name], expected, rtol=tolerance, atol=tolerance, err_msg=name)


@records(lambda r: not r.error_node)
def test_run(store, record):
    model = rnnrt.load(store.path(record.name))
    assert [v.name for v in model.inputs] == record.inputs
    for k in range(record.calls):
        got = model.run(store.arrays(record.name, f"{k}.in"))
        assert_answers(got, store.arrays(record.name, f"{k}.out"), record)


@records(lambda r: not r.error_node)
def test_session(store, record):
    session = rnnrt.InferenceSession(str(store.path(record.name)), providers=["CPUExecutionProvider"])
    want = store.arrays(record.name, "0.out")
    assert [o.name for o in session.get_outputs()] == list(want)
    got = session.run(None, store.arrays(record.name, "0.in"))
    assert_answers(dict(zip(want, got, strict=True)), want, record)


@records(lambda r: not r.error_node and r.states is not None)
def test_states_are_found(store, record):
    assert rnnrt.load(store.path(record.name)).states == record.states


@records(lambda r: r.frames > 0)
def test_stream(store, record):
    stream = rnnrt.load(store.path(record.name), states=record.states).stream()
    frames, want = store.arrays(record.name, "stream.in"), store.arrays(record.name, "stream.out")
    for k in range(record.frames):
        got = stream.step({name: values[k] for name, values in frames.items()})
        assert_answers(got, {name: values[k] for name, values in want.items()}, record)
    final = store.arrays(record.name, "stream.state")
    assert_answers({name: stream.state[name] for name in final}, final, record)


@records(lambda r: r.refused)
def test_sizes_the_model_cannot_do_are_an_error(store, record):
    """The newer exporter declares a time axis as free and writes the example's into a Reshape or a Slice."""
    model = rnnrt.load(store.path(record.name))
    for k in range(record.calls, record.calls + record.refused):
        with pytest.raises(RnnrtError):
            model.run(store.arrays(record.name, f"{k}.in"))


@records(lambda r: r.error_node)
def test_wrong_model_is_refused_by_name(store, record):
    with pytest.raises(ModelError) as refused:
        rnnrt.load(store.path(record.name)).run(store.arrays(record.name, "0.in"))
    assert record.error_node in str(refused.value)


@pytest.mark.parametrize("exporter", corpus.EXPORTERS)
def test_what_an_exporter_cannot_do_is_named(exporter, record_property):
    """Not a test of rnnrt: it reports the exporter's version and failures, and that none of them counts as a case."""
    store = CORPORA[exporter]
    record_property("summary", store.summary())
    assert {r.name for r in store.cases} == {p.stem for p in store.folder.glob("*.onnx")}
    kept = {r.name: r for r in store.cases}
    page = (corpus.HERE / "README.md").read_text()
    assert store.summary() in page
    for failure in store.failures:
        assert failure.error
        record = kept.get(failure.case)
        # A case that failed is kept only if it is one to refuse, or if its first calls came out right.
        assert record is None or record.error_node or failure.error.startswith(f"call {record.calls}: ")
