"""Models written in ONNX's text form, with weights as initializers."""

from __future__ import annotations

import numpy as np
import onnx.parser
from onnx import numpy_helper


def parsed(text: str, opset: int = 20, ir_version: int = 10, **weights: np.ndarray) -> onnx.ModelProto:
    """The model of ``(inputs) => (outputs) { nodes }``, named g."""
    header = f'<ir_version: {ir_version}, opset_import: ["": {opset}, "com.microsoft": 1]>'
    model = onnx.parser.parse_model(f"{header} g {text}")
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), name) for name, a in weights.items())
    return model


def lstm(inputs: int = 3, units: int = 5, directions: int = 1, seed: int = 0, gates: int = 4) -> dict[str, np.ndarray]:
    """Random W, R and B of an LSTM (or, with 3 gates, a GRU; with 1, an RNN)."""
    rng = np.random.default_rng(seed)
    rows = gates * units
    shapes = {"W": (directions, rows, inputs), "R": (directions, rows, units), "B": (directions, 2 * rows)}
    return {name: rng.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes.items()}


STREAMING = """(float[T, N, 3] x, float[1, N, 5] h_in, float[1, N, 5] c_in)
    => (float[T, 1, N, 5] y, float[1, N, 5] h_out, float[1, N, 5] c_out)
    { y, h_out, c_out = LSTM <hidden_size: int = 5> (x, W, R, B, , h_in, c_in) }"""
"""An LSTM 3 -> 5 whose states are inputs and outputs; its weights are those of `lstm`."""


def feeds(steps: int = 4, batch: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs for `STREAMING`."""
    rng = np.random.default_rng(seed)
    shapes = {"x": (steps, batch, 3), "h_in": (1, batch, 5), "c_in": (1, batch, 5)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def same(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> bool:
    """Whether two answers are equal bit for bit."""
    return list(got) == list(want) and all(got[k].tobytes() == v.tobytes() for k, v in want.items())


def frames(steps: int, batch: int = 2, seed: int = 0) -> np.ndarray:
    """A sequence for `STREAMING`, x alone."""
    return np.random.default_rng(seed).standard_normal((steps, batch, 3)).astype(np.float32)
