"""One operator through onnxruntime, for cross-checks where its answer is right."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

OPSET = 22
"""An opset that has the newest form of the operators compared and that onnxruntime knows."""


def run_onnxruntime(
    op: str, *inputs: Any, outputs: int = 1, domain: str = "", opset: int = OPSET, fixed: bool = False, **attrs: Any
) -> Any:
    """onnxruntime's answer, on one thread and with the graph left as it is; a tuple if there are several outputs.

    With `fixed`, all inputs but the first are constants of the model.
    """
    ort = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    names = ["" if x is None else f"x{k}" for k, x in enumerate(inputs)]
    made = [f"y{k}" for k in range(outputs)]
    feeds = {name: np.asarray(x, order="C") for name, x in zip(names, inputs, strict=True) if name}
    constants = {name: feeds.pop(name) for name in [*feeds][1:]} if fixed else {}
    graph = helper.make_graph(
        [helper.make_node(op, names, made, domain=domain, **attrs)],
        "one",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for n, x in feeds.items()],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in made],
        [numpy_helper.from_array(x, name) for name, x in constants.items()],
    )
    for value in graph.output:
        value.ClearField("type")
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(None, feeds)
    return results[0] if outputs == 1 else tuple(results)


@cache
def most_weight() -> int:
    """The largest of int8 weights, the least being one further from 0, whose products onnxruntime adds right here.

    On x86 without VNNI it adds pairs of them in 16 bits, which 255 * 127 * 2 exceeds.
    """
    if find_spec("onnxruntime") is None:
        return 127
    inputs, weights = np.full((1, 64), 255, np.uint8), np.full((64, 16), 127, np.int8)
    right = np.all(run_onnxruntime("MatMulInteger", inputs, weights) == 64 * 255 * 127)
    return 127 if right else 32767 // (2 * 255) - 1
