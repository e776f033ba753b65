"""Small ONNX models for tests of what sits on top of `Model`."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

INPUTS, HIDDEN = 3, 5


def gru_model() -> onnx.ModelProto:
    """A GRU with carried state and a second, integer input.

    Inputs: x [T, B, 3], h [1, B, 5], k int64 scalar. Outputs: y [T, 1, B, 5], h_out [1, B, 5], twice = 2k.
    """
    rng = np.random.default_rng(1)
    float_input = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "B", INPUTS]),
        helper.make_tensor_value_info("h", TensorProto.FLOAT, [1, "B", HIDDEN]),
    ]
    weights = {
        "W": rng.standard_normal((1, 3 * HIDDEN, INPUTS)).astype(np.float32),
        "R": rng.standard_normal((1, 3 * HIDDEN, HIDDEN)).astype(np.float32),
        "two": np.array(2, np.int64),
    }
    graph = helper.make_graph(
        [
            helper.make_node("GRU", ["x", "W", "R", "", "", "h"], ["y", "h_out"], hidden_size=HIDDEN),
            helper.make_node("Mul", ["k", "two"], ["twice"]),
        ],
        "small",
        [*float_input, helper.make_tensor_value_info("k", TensorProto.INT64, [])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["T", 1, "B", HIDDEN]),
            helper.make_tensor_value_info("h_out", TensorProto.FLOAT, [1, "B", HIDDEN]),
            helper.make_tensor_value_info("twice", TensorProto.INT64, []),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return finished(graph)


def add_model() -> onnx.ModelProto:
    """z = x + y, both [N, 3], and the sequence (x, y)."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "y"], ["z"]), helper.make_node("SequenceConstruct", ["x", "y"], ["both"])],
        "add",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in "xy"],
        [
            helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 3]),
            helper.make_tensor_sequence_value_info("both", TensorProto.FLOAT, None),
        ],
    )
    return finished(graph)


def finished(graph: onnx.GraphProto) -> onnx.ModelProto:
    """The model of a graph, with metadata."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="tests")
    model.domain, model.doc_string, model.model_version = "some.domain", "a small model", 7
    model.graph.doc_string = "a graph"
    helper.set_model_props(model, {"answer": "42"})
    return model


def gru_feed(steps: int = 4, batch: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs for `gru_model`."""
    rng = np.random.default_rng(seed)
    return {
        "x": rng.standard_normal((steps, batch, INPUTS)).astype(np.float32),
        "h": rng.standard_normal((1, batch, HIDDEN)).astype(np.float32),
        "k": np.array(21, np.int64),
    }
