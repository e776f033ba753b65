"""Small ONNX models for tests, and how to see that one is refused."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from rnnrt.errors import ModelError
from rnnrt.onnx_file import read_model

FLOAT = TensorProto.FLOAT


def value(name, shape=(2,), dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def model_of(nodes, inputs=("x",), outputs=("y",), constants=(), opset=17, ir_version=8, **options):
    """A model of float [2] inputs and outputs; `constants` are arrays by name or tensor messages."""
    tensors = [c if isinstance(c, TensorProto) else numpy_helper.from_array(c[1], c[0]) for c in constants]
    graph = helper.make_graph(nodes, "g", [value(n) for n in inputs], [value(n) for n in outputs], tensors)
    imports = [helper.make_opsetid(d, v) for d, v in ({"": opset} | options.pop("opsets", {})).items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version, **options)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, **attributes)


def refused(model, *words, error=ModelError):
    """Check that the model is refused, from memory and from bytes, with all of `words` in the message."""
    for source in (model, model.SerializeToString()):
        with pytest.raises(error) as caught:
            read_model(source)
        for word in words:
            assert word in str(caught.value)


def simple():
    """y = x + w, with w = [1, 2]."""
    return model_of([node("Add", ["x", "w"], ["y"])], constants=[("w", np.array([1, 2], np.float32))])
