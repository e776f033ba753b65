"""What operators tell about the element types of their outputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..graph import Node

_LIKE_FIRST = (
    "Abs", "Add", "AveragePool", "BatchNormalization", "Ceil", "Clip", "Concat", "Conv", "ConvTranspose", "Cos",
    "CumSum", "Div", "Einsum", "Elu", "Erf", "Exp", "Expand", "Flatten", "Floor", "GRU", "Gather", "GatherElements",
    "GatherND", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity",
    "InstanceNormalization", "LSTM", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "MatMul", "Max", "MaxPool",
    "Mean", "Min", "Mul", "Neg", "PRelu", "Pad", "Pow", "RNN", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceMax",
    "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "ReverseSequence",
    "Round", "ScatterElements", "ScatterND", "Sigmoid", "Sign", "Sin", "Slice", "Softmax", "Softplus", "Split",
    "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip
_BOOLEAN = ("And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not", "Or", "Xor")
_INT64 = ("ArgMax", "ArgMin", "NonZero", "Shape", "Size")

CAST: dict[object, np.dtype] = {
    number: np.dtype(name)
    for number, name in {
        1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
        11: "float64", 12: "uint32", 13: "uint64",
    }.items()
}  # fmt: skip


def _cast_type(node: Node) -> np.dtype | None:
    return CAST.get(node.attrs.get("to", 0))


def _filled_type(node: Node) -> np.dtype:
    return np.asarray(node.attrs.get("value", np.float32(0))).dtype


def _dequantized_type(node: Node) -> int | None:
    return None if node.attrs.get("output_dtype", 0) else 1


Type = int | np.dtype | None

TYPES: dict[str, Type | tuple[np.dtype, ...] | Callable[[Node], Type]] = {
    **dict.fromkeys(_LIKE_FIRST, 0),
    **dict.fromkeys(_BOOLEAN, np.dtype(bool)),
    **dict.fromkeys(_INT64, np.dtype(np.int64)),
    "Cast": _cast_type,
    "ConstantOfShape": _filled_type,
    "ConvInteger": np.dtype(np.int32),
    "DequantizeLinear": _dequantized_type,
    "DynamicQuantizeLinear": (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.uint8)),
    "MatMulInteger": np.dtype(np.int32),
    "QLinearConv": 7,
    "QLinearMatMul": 7,
    "QuantizeLinear": 2,
    "Where": 1,
}
"""The element type of an operator's first output: the number of the input that has it, itself, or how to find it; or
the types of all outputs."""

ALIKE = frozenset(("GRU", "LSTM", "RNN", "Split"))
"""Operators of which all outputs have it."""
