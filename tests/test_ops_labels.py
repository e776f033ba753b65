"""LabelEncoder and CategoryMapper against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from ops_util import run_op

import rnnrt

ort = pytest.importorskip("onnxruntime")
WORDS = np.array([["b", "zz"], ["", "a"]], object)
WHOLE = np.array([2, 0, -7, 1], np.int64)
REAL = np.array([[0.5, 3, np.nan]], np.float32)


def model_of(op: str, x: np.ndarray, version: int, **attrs: Any) -> Any:
    kind = 8 if x.dtype == object else helper.np_dtype_to_tensor_dtype(x.dtype)
    out = helper.make_tensor_value_info("y", 0, None)
    out.ClearField("type")
    node = helper.make_node(op, ["x"], ["y"], domain="ai.onnx.ml", **attrs)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", kind, x.shape)], [out])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", version)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize(
    ("op", "x", "version", "attrs"),
    [
        ("LabelEncoder", WORDS, 1, {"classes_strings": ["", "a", "b"], "default_int64": 5}),
        ("LabelEncoder", WHOLE, 1, {"classes_strings": ["", "a", "b"]}),
        ("LabelEncoder", WORDS, 2, {"keys_strings": ["a", "b", "a"], "values_int64s": [3, 4, 3]}),
        ("LabelEncoder", WORDS, 3, {"keys_strings": ["a", "b"], "values_floats": [3.5, 4.5], "default_float": 9.0}),
        ("LabelEncoder", WHOLE, 3, {"keys_int64s": [1, 2], "values_strings": ["x", "y"], "default_string": "?"}),
        ("LabelEncoder", REAL, 3, {"keys_floats": [0.5, 2.0], "values_int64s": [1, 2]}),
        ("CategoryMapper", WORDS, 1, {"cats_strings": ["a", "b"], "cats_int64s": [7, 8], "default_int64": -3}),
        ("CategoryMapper", WHOLE, 1, {"cats_strings": ["a", "b"], "cats_int64s": [1, 2], "default_string": "none"}),
    ],
)
def test_as_onnxruntime(op: str, x: np.ndarray, version: int, attrs: dict[str, Any]) -> None:
    model = model_of(op, x, version, **attrs)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (want,) = session.run(None, {"x": x})
    got = rnnrt.load(model).run({"x": x})["y"]
    assert got.dtype == want.dtype
    assert got.tolist() == want.tolist()


def test_refusals() -> None:
    with pytest.raises(rnnrt.InputError, match="strings"):
        run_op("LabelEncoder", WHOLE, domain="ai.onnx.ml", keys_strings=["a"], values_int64s=[1])
    with pytest.raises(rnnrt.UnsupportedError, match="2 keys and 1 values"):
        run_op("LabelEncoder", WORDS, domain="ai.onnx.ml", keys_strings=["a", "b"], values_int64s=[1])
