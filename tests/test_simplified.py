"""The raw and the simplified export of one network end in plans of nearly the same steps.

The simplified one is written by onnxruntime: constants folded, what does nothing eliminated, BatchNormalization folded
into convolutions, as simplifiers of exported models do. What it would do beyond that, for itself, is left out: Gemm for
MatMul and Add of three axes, and Transposes moved about.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import MODELS
from exports import corpus

import rnnrt

NOT_SIMPLER = ["MatMulAddFusion", "TransposeOptimizer"]
SHARE = 0.03
"""By how much of its steps the plan of the one may differ from that of the other."""

NAMES = sorted(file.parent.name for file in MODELS.glob("*/model.onnx")) or ["(none)"]
EXPORTS = [
    pytest.param(store, record, id=f"{name}-{record.name}")
    for name, store in ((name, corpus.load(name)) for name in corpus.EXPORTERS)
    for record in [r for r in store.cases if not r.error_node and r.dtype == "float32"][::4]
]


def simplified(path: Path, folder: Path) -> Path:
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "simplified.onnx")
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=NOT_SIMPLER)
    return folder / "simplified.onnx"


def n_steps(model: rnnrt.Model) -> int:
    """Steps of the plan, and of the plans in it."""
    return sum(model._plan.count().values())


def compare(path: Path, folder: Path, feeds: dict[str, np.ndarray]) -> None:
    """Steps within the share, and answers that agree."""
    simple = simplified(path, folder)
    ours, theirs = rnnrt.load(path), rnnrt.load(simple)
    assert abs(n_steps(ours) - n_steps(theirs)) <= max(1, SHARE * n_steps(ours))
    assert set(theirs._plan.count()) <= set(ours._plan.count()), "a step of the simplified one is slower"
    for name, got in theirs.run(feeds).items():
        want = ours.run(feeds)[name]
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(("store", "record"), EXPORTS)
def test_exports(store, record, tmp_path):
    compare(store.path(record.name), tmp_path, store.arrays(record.name, "0.in"))


@pytest.mark.usefixtures("models_dir")
@pytest.mark.parametrize("name", NAMES)
def test_models(name, tmp_path):
    with np.load(MODELS / name / "cases.npz") as data:
        feeds = {key.removeprefix("c0.in."): data[key] for key in data.files if key.startswith("c0.in.")}
    compare(MODELS / name / "model.onnx", tmp_path, feeds)


def test_what_is_simplified_has_fewer_nodes(tmp_path):
    """There is something to compare: a tenth of the exports' nodes or more is what simplifying takes away."""
    raw = fewer = 0
    for parameter in EXPORTS[::6]:
        store, record = parameter.values
        path = store.path(record.name)
        raw += len(onnx.load(path).graph.node)
        fewer += len(onnx.load(simplified(path, tmp_path)).graph.node)
    assert fewer <= 0.9 * raw
