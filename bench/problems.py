"""A row as files: an ONNX model, its inputs and weights, and the right answer from the float64 oracle.

Contenders run in processes, and maybe interpreters, of their own; what they have to do lies in a folder (see `jobs`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from .jobs import Job
from .rows import FRAMES, Row

CHECKED_WORK = 2e10
"""Multiply-adds after which the oracle stops; of a longer sequence the first steps are compared."""


def weights(row: Row) -> dict[str, np.ndarray]:
    """W [D, G*H, I], R [D, G*H, H], B [D, 2*G*H], uniform within ±1/√H, as layers are initialised before training."""
    rng = np.random.default_rng(7)
    d, g, h, bound = row.directions, row.gates, row.hidden, row.hidden**-0.5
    shapes = {"W": (d, g * h, row.inputs), "R": (d, g * h, h), "B": (d, 2 * g * h)}
    return {name: rng.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}


def model(row: Row, given: dict[str, np.ndarray]) -> bytes:
    """The layer as an ONNX file: X and perhaps lengths or states in; Y, Y_h and, for LSTM, Y_c out; all shapes fixed.

    GRU is the form with linear_before_reset, the only one that all contenders know.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    lstm = row.op == "LSTM"
    state = [row.directions, row.batch, row.hidden]
    ins = {"X": (TensorProto.FLOAT, [row.steps, row.batch, row.inputs])}
    if row.lengths:
        ins["lens"] = (TensorProto.INT32, [row.batch])
    if row.has_states:
        ins |= dict.fromkeys(("h", "c") if lstm else ("h",), (TensorProto.FLOAT, state))
    outs = {"Y": [row.steps, row.directions, row.batch, row.hidden], "Y_h": state} | ({"Y_c": state} if lstm else {})
    attrs: dict[str, Any] = {"hidden_size": row.hidden}
    if row.directions == 2:
        attrs["direction"] = "bidirectional"
    if row.op == "GRU":
        attrs["linear_before_reset"] = 1
    names = ["X", "W", "R", "B", *(name if name in ins else "" for name in ("lens", "h", "c"))]
    while not names[-1]:
        names.pop()
    graph = helper.make_graph(
        [helper.make_node(row.op, names, list(outs), **attrs)],
        "layer",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in ins.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outs.items()],
        [numpy_helper.from_array(array, name) for name, array in given.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    checker.check_model(made)
    return made.SerializeToString()


def write(row: Row, threads: int, folder: Path) -> dict[str, np.ndarray]:
    """Write a row's job into `folder`; returns the right answer, as `Job.answer` is laid out."""
    rng = np.random.default_rng(11)
    given = weights(row)
    frames = FRAMES if row.mode == "stream" else 1
    x = rng.standard_normal((row.steps * frames, row.batch, row.inputs)).astype(np.float32)
    states = {}
    inputs: dict[str, np.ndarray] = {}
    if row.has_states:
        states = {"h": "Y_h", "c": "Y_c"} if row.op == "LSTM" else {"h": "Y_h"}
        for name in states:
            start = rng.standard_normal((row.directions, row.batch, row.hidden)) / 4
            inputs[name] = (start if row.mode == "run" else 0 * start).astype(np.float32)
    if row.lengths:
        inputs["lens"] = row.sequence_lens
    stacked = {} if row.mode == "run" else {"X": x.reshape(frames, row.steps, row.batch, row.inputs)}
    layer = {"op": row.op, "inputs": row.inputs, "hidden": row.hidden, "directions": row.directions}
    job = Job(row.mode, "model.onnx", threads, states, layer)
    (folder / job.model).write_bytes(model(row, given))
    job.write(folder, inputs if stacked else {"X": x, **inputs}, stacked, given)
    return _answer(row, x, given, inputs, frames)


def _answer(row: Row, x: np.ndarray, given: dict, inputs: dict, frames: int) -> dict[str, np.ndarray]:
    oracle = _oracle()
    work = row.directions * row.batch * row.gates * row.hidden * (row.inputs + row.hidden)
    steps = len(x)
    # The first steps of a sequence do not know how it goes on, unless it is also read from its end.
    if work * steps > CHECKED_WORK and row.directions == 1 and not row.lengths:
        steps = max(1, int(CHECKED_WORK / work))
    arrays = [x[:steps], given["W"], given["R"], given["B"], inputs.get("lens"), inputs.get("h")]
    attrs = {"direction": "bidirectional" if row.directions == 2 else "forward"}
    if row.op == "LSTM":
        arrays.append(inputs.get("c"))
    if row.op == "GRU":
        attrs["linear_before_reset"] = 1
    results = oracle.run_node(row.op, arrays, attrs)
    right = dict(zip(("Y", "Y_h", "Y_c"), results, strict=False))
    if row.mode == "stream":
        states = {f"state.{out[-1]}": right[out] for out in ("Y_h", "Y_c") if out in right}
        return {"Y": right["Y"].reshape(frames, row.steps, *right["Y"].shape[1:]), **states}
    return right if steps == len(x) else {"Y": right["Y"]}


def _oracle() -> Any:
    """tests/oracle.py, which is written from the specification's equations."""
    folder = str(Path(__file__).resolve().parent.parent / "tests")
    if folder not in sys.path:
        sys.path.append(folder)
    import oracle

    return oracle


def error(answer: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> float:
    """The largest difference; inf for an output that is missing or has another shape. `right` may hold fewer steps."""
    worst = 0.0
    for name, want in right.items():
        got = answer.get(name)
        if got is not None and len(got) > len(want):
            got = got[: len(want)]
        if got is None or got.shape != want.shape:
            return float("inf")
        apart = float(np.max(np.abs(got - want), initial=0.0))
        worst = max(worst, apart) if np.isfinite(apart) else float("inf")
    return worst
