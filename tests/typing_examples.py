"""The public interface in use, for a type checker: mypy reads this file, nothing runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import rnnrt
import rnnrt.onnxruntime as ort


def open_models(path: Path, data: bytes) -> list[rnnrt.Model]:
    return [rnnrt.load(path), rnnrt.load(str(path), threads=2), rnnrt.load(data, states={"h": "h_out"})]


def look(model: rnnrt.Model) -> str:
    value: rnnrt.Value = model.inputs[0]
    name: str = value.name
    shape: tuple[int | str | None, ...] | None = value.shape
    dtype: np.dtype | None = value.dtype
    pairs: dict[str, str] = model.states
    about: dict[str, Any] = model.metadata
    return f"{name} {shape} {dtype} {pairs} {about} {model.threads} {model.describe()}"


def run(model: rnnrt.Model, x: np.ndarray) -> np.ndarray:
    outputs: dict[str, Any] = model.run({"input": x})
    result: np.ndarray = outputs["output"] + model(x)
    return result


def stream(model: rnnrt.Model, frames: np.ndarray) -> list[np.ndarray]:
    carried: rnnrt.Stream = model.stream()
    kept = [carried.step({"input": frame})["output"] for frame in frames]
    saved: dict[str, np.ndarray] = carried.state
    carried.reset()
    carried.state = saved
    out = np.empty((1, 3), np.float32)
    carried.step({"input": frames[0]}, out={"output": out})
    return kept


def session(path: Path, x: np.ndarray) -> list[Any]:
    options = rnnrt.SessionOptions()
    options.intra_op_num_threads = 2
    opened = rnnrt.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names: list[str] = [arg.name for arg in opened.get_inputs()]
    kinds: list[str] = [arg.type for arg in opened.get_outputs()]
    assert kinds
    return opened.run(None, {names[0]: x}) + opened.run(["output"], {names[0]: x})


def moved_from_onnxruntime(path: str, x: np.ndarray) -> Any:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    opened = ort.InferenceSession(path, sess_options=options, providers=ort.get_available_providers())
    meta: ort.ModelMetadata = opened.get_modelmeta()
    return opened.run(None, {"input": x})[0], meta.custom_metadata_map, opened.get_providers()


def unequal(path: str, sequences: list[np.ndarray]) -> list[np.ndarray]:
    model = rnnrt.load(path)
    answers: list[dict[str, np.ndarray]] = model.run_ragged([{"input": x} for x in sequences])
    return [answer["output"] for answer in answers] + model.run_ragged(sequences)


def errors(path: Path) -> str:
    try:
        rnnrt.load(path)
    except rnnrt.UnsupportedError as error:
        return f"unsupported: {error}"
    except (rnnrt.ModelError, rnnrt.InputError) as error:
        wider: rnnrt.RnnrtError = error
        return str(wider)
    return ""


def processor() -> tuple[list[str], str]:
    found = rnnrt.cpu()
    return found["built"] + found["present"], found["in_use"]
