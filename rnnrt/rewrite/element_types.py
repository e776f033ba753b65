"""What operators tell about the element types of their outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..graph import Node

if TYPE_CHECKING:
    from .known import Known

_BOOLEAN = {"And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not", "Or", "Xor"}
_INT64 = {"ArgMax", "ArgMin", "NonZero", "Shape", "Size"}
_LIKE_SECOND = {"DequantizeLinear", "Where"}
_FIXED = {
    "ConvInteger": ("int32",), "DynamicQuantizeLinear": ("uint8", "float32", "uint8"), "MatMulInteger": ("int32",),
}  # fmt: skip
_ALL_ALIKE = {"GRU", "LSTM", "RNN", "Split"}
_TYPED = {
    "Abs", "Add", "AveragePool", "BatchNormalization", "Ceil", "Clip", "Concat", "Conv", "ConvTranspose", "Cos",
    "CumSum", "Div", "Einsum", "Elu", "Erf", "Exp", "Expand", "Flatten", "Floor", "GRU", "Gather", "GatherElements",
    "GatherND", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity",
    "InstanceNormalization", "LSTM", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "MatMul", "Max", "MaxPool",
    "Mean", "Min", "Mul", "Neg", "PRelu", "Pad", "Pow", "RNN", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceMax",
    "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "ReverseSequence",
    "Round", "ScatterElements", "ScatterND", "Sigmoid", "Sign", "Sin", "Slice", "Softmax", "Softplus", "Split",
    "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip


def element_type(node: Node, known: Known, into: dict[str, np.dtype]) -> None:
    """Put the element types of the outputs of `node` `into` a dict, as far as the operator and its inputs tell."""
    op = node.op
    if node.domain not in ("", "rnnrt") or not node.outputs:
        return
    if op in _FIXED:
        into.update((out, np.dtype(name)) for out, name in zip(node.outputs, _FIXED[op], strict=False) if out)
        return
    dtype: np.dtype | None = None
    if op in _TYPED:
        dtype = known.dtype(node.inputs[0]) if node.inputs else None
    elif op in _BOOLEAN:
        dtype = np.dtype(bool)
    elif op in _INT64:
        dtype = np.dtype(np.int64)
    elif op == "Cast":
        # ONNX's numbers of the types that NumPy has, as in onnx.TensorProto.DataType.
        dtype = CAST.get(node.attrs.get("to", 0))
    elif op in ("QLinearConv", "QLinearMatMul"):
        dtype = known.dtype(node.input(7)) if node.input(7) else None
    elif op == "QuantizeLinear":
        dtype = known.dtype(node.input(2)) if node.input(2) else None
    elif op in _LIKE_SECOND and not node.attrs.get("output_dtype", 0):
        dtype = known.dtype(node.input(1))
    elif op == "ConstantOfShape":
        dtype = np.asarray(node.attrs.get("value", np.float32(0))).dtype
    if dtype is not None:
        for out in node.outputs if op in _ALL_ALIKE else node.outputs[:1]:
            if out:
                into[out] = dtype


CAST: dict[object, np.dtype] = {
    number: np.dtype(name)
    for number, name in {
        1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
        11: "float64", 12: "uint32", 13: "uint64",
    }.items()
}  # fmt: skip
