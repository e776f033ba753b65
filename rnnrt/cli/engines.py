"""The engines that `check` and `bench` set side by side, behind one small interface.

Each is opened with the same file and the same number of threads, in float32, with its settings for latency.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from ..errors import InputError

Run = Callable[[Mapping[str, np.ndarray]], list[Any]]
"""Runs a feed; outputs come in the order of the model's."""


def _rnnrt(path: str, threads: int) -> Run:
    from ..options import SessionOptions
    from ..session import InferenceSession

    options = SessionOptions()
    options.intra_op_num_threads = threads
    run = InferenceSession(path, options).run
    return lambda feed: run(None, feed)


def _onnxruntime(path: str, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    run = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run
    return lambda feed: run(None, feed)


def _openvino(path: str, threads: int) -> Run:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    request = compiled.create_infer_request()
    names = {name: k for k, port in enumerate(compiled.inputs) for name in port.get_names()}
    count = len(compiled.outputs)

    def run(feed: Mapping[str, np.ndarray]) -> list[Any]:
        result = request.infer({names[k]: v for k, v in feed.items() if k in names}, share_inputs=True)
        return [np.array(result[k]) for k in range(count)]

    return run


def _reference(path: str, threads: int) -> Run:
    import onnx
    from onnx.reference import ReferenceEvaluator

    evaluate = ReferenceEvaluator(onnx.load(path)).run

    def run(feed: Mapping[str, np.ndarray]) -> list[Any]:
        with np.errstate(all="ignore"):  # its sigmoid overflows on the way to a right answer
            return list(evaluate(None, dict(feed)))

    return run


ENGINES: dict[str, tuple[str, Callable[[str, int], Run]]] = {
    "rnnrt": ("numpy", _rnnrt),
    "onnx.reference": ("onnx", _reference),
    "onnxruntime": ("onnxruntime", _onnxruntime),
    "openvino": ("openvino", _openvino),
}
"""By name: the package needed and how to open a model."""


def installed() -> list[str]:
    """The engines whose package is there."""
    return [name for name, (package, _) in ENGINES.items() if find_spec(package) is not None]


def open_engine(name: str, path: str, threads: int = 1) -> Run:
    """Open `path` in the engine `name`; whatever the engine raises passes through.

    Raises
    ------
    InputError
        If there is no such engine or its package is not installed.
    """
    if name not in ENGINES:
        raise InputError(f"engine {name!r}: expected one of {', '.join(ENGINES)}")
    package, opener = ENGINES[name]
    if find_spec(package) is None:
        raise InputError(f"engine {name!r}: its package is not installed (pip install {package})")
    return opener(path, threads)


def reason(error: BaseException) -> str:
    """The first telling line of an error, with its class."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    if text.startswith("Exception from src") and len(lines) > 1:  # OpenVINO puts its own source lines first
        text = lines[-1]
    return f"{type(error).__name__}: {text[:400]}".rstrip(": ")
