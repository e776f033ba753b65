"""The rules of :mod:`rnnrt.rewrite.normalise`: how each operator of an old version is said in the newest one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ModelError
from ..ops.common import text
from ..ops.shape import constant_value
from .edit import Edit, rule

REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less")
CONSUMERS = (
    *("Abs", "Add", "BatchNormalization", "Ceil", "Clip", "Div", "Dropout", "Elu", "Exp", "Floor", "HardSigmoid"),
    *("InstanceNormalization", "LeakyRelu", "Log", "Max", "Mean", "Min", "Mul", "Neg", "PRelu", "Reciprocal", "Relu"),
    *("Reshape", "Selu", "Sigmoid", "Sqrt", "Sub", "Sum", "Tanh"),
)
ANY = 1 << 30
"""Below this is every version."""
LARGEST = float(np.finfo(np.float32).max)


@rule(*CONSUMERS, below=6)
def _no_consumed_inputs(edit: Edit) -> None:
    edit.pop("consumed_inputs")


def _axes_to_input(edit: Edit) -> None:
    axes = edit.pop("axes")
    if axes is not None:
        edit.put_constant(1, axes)


rule("Squeeze", "Unsqueeze", "ReduceSum", below=13)(_axes_to_input)
rule(*(f"Reduce{name}" for name in REDUCTIONS), below=18)(_axes_to_input)


@rule("Slice", below=10)
def _slice(edit: Edit) -> None:
    for k, key in enumerate(("starts", "ends", "axes"), start=1):
        values = edit.pop(key)
        if values is not None:
            edit.put_constant(k, values)


@rule("Split", below=13)
def _split(edit: Edit) -> None:
    sizes = edit.pop("split")
    if sizes is not None:
        edit.put_constant(1, sizes)
    edit.default(axis=0)


@rule("Split", below=18)
def _split_count(edit: Edit) -> None:
    if not edit.node.input(1):
        edit.set(num_outputs=len(edit.node.outputs))


@rule("Concat", below=4)
def _concat(edit: Edit) -> None:
    edit.default(axis=1)


@rule("Reshape", below=5)
def _reshape(edit: Edit) -> None:
    shape = edit.pop("shape")
    if shape is not None:
        edit.put_constant(1, shape)


@rule("Clip", below=11)
def _clip(edit: Edit) -> None:
    low, high = edit.pop("min"), edit.pop("max")
    if low is not None and low > -LARGEST:
        edit.put_constant(1, low, np.float32)
    if high is not None and high < LARGEST:
        edit.put_constant(2, high, np.float32)


@rule("Pad", below=11)
def _pad(edit: Edit) -> None:
    pads, value = edit.pop("paddings", edit.node.attrs.get("pads")), edit.pop("value", 0.0)
    edit.pop("pads")
    if pads is None:
        raise ModelError(f"{edit.node.label()}: attribute 'pads' is missing")
    edit.put_constant(1, pads)
    if value:
        edit.put_constant(2, value, np.float32)


@rule("Dropout", below=12)
def _dropout(edit: Edit) -> None:
    """Inference is meant, though versions 1 and 6 say training unless told ``is_test``: the ratio has no effect."""
    edit.pop("ratio")
    edit.pop("is_test")


@rule("Dropout", below=ANY)
def _dropout_identity(edit: Edit) -> None:
    node = edit.node
    training = node.input(2)
    if training and not _is_false(edit.known.get(training)):
        return
    if not node.output(1):
        edit.rename("Identity")
        node.inputs, node.outputs, node.attrs = node.inputs[:1], node.outputs[:1], {}
    elif len(node.inputs) > 1:
        node.inputs, edit.changed = node.inputs[:1], True


def _is_false(value: np.ndarray | None) -> bool:
    return value is not None and not value.any()


@rule("Softmax", "LogSoftmax", "Hardmax", below=13)
def _softmax(edit: Edit) -> None:
    """Version 13 works along one axis; before, along all from `axis` on, as one."""
    axis, x = edit.node.attrs.get("axis", 1), edit.node.inputs[0]
    edit.set(axis=-1)
    if axis == -1:
        return
    edit.put(0, edit.add("Flatten", x, axis=axis))
    shape = edit.add("Shape", x)
    inner, outer = edit.divert()
    edit.append("Reshape", inner, shape, output=outer, allowzero=1)


@rule(*BINARY, below=7)
def _broadcast(edit: Edit) -> None:
    """Broadcasting was asked for, with the axis of A where B's first axis belongs (the last ones by default)."""
    axis, wanted = edit.pop("axis"), edit.pop("broadcast", 0)
    if wanted and axis is not None:
        edit.put(1, _aligned(edit, edit.node.inputs[0], edit.node.inputs[1], axis))


@rule("PRelu", below=7)
def _prelu(edit: Edit) -> None:
    """A slope with one axis belongs to the channels, axis 1."""
    slope = edit.known.get(edit.node.inputs[1])
    if slope is None or (slope.ndim == 1 and slope.size > 1):
        edit.put(1, _aligned(edit, edit.node.inputs[0], edit.node.inputs[1], 1))


def _aligned(edit: Edit, a: str, b: str, axis: int) -> str:
    """`b` with so many axes of size 1 behind its own that the first belongs to axis `axis` of `a`."""
    shape = edit.add("Shape", b)
    ranks = edit.add("Shape", edit.add("Shape", a)), edit.add("Shape", shape)
    behind = edit.add("Sub", ranks[0], ranks[1]) if axis >= 0 else edit.add("Neg", ranks[1])
    count = edit.add("Sub", behind, edit.constant([axis]))
    ones = edit.add("ConstantOfShape", count, value=np.ones(1, np.int64))
    return edit.add("Reshape", b, edit.add("Concat", shape, ones, axis=0))


@rule("Gemm", below=7)
def _gemm(edit: Edit) -> None:
    edit.pop("broadcast")


@rule("BatchNormalization", below=14)
def _batch_norm(edit: Edit) -> None:
    node = edit.node
    if any(node.outputs[1:]):
        return
    edit.pop("is_test")
    node.outputs = node.outputs[:1]
    if not edit.pop("spatial", 1):
        _normalise_each(edit)


def _normalise_each(edit: Edit) -> None:
    """(X - mean)/√(var + ε)·scale + B with statistics of an example's shape: there is no such operator any more."""
    node = edit.node
    x, scale, bias, mean, var = node.inputs
    epsilon = edit.add("CastLike", edit.constant(node.attrs.get("epsilon", 1e-5), np.float32), var)
    deviation = edit.add("Sqrt", edit.add("Add", var, epsilon))
    scaled = edit.add("Mul", edit.add("Div", edit.add("Sub", x, mean), deviation), scale)
    edit.rename("Add")
    node.inputs, node.attrs = [scaled, bias], {}


@rule("GroupNormalization", below=21)
def _group_norm(edit: Edit) -> None:
    """Scale and bias were of groups, and are of channels now."""
    groups = edit.node.attrs.get("num_groups")
    if not isinstance(groups, int):
        raise ModelError(f"{edit.node.label()}: attribute 'num_groups' is missing")
    channels = edit.add("Shape", edit.node.inputs[0], start=1, end=2)
    each = edit.add("Div", channels, edit.constant([groups]))
    shape = edit.add("Concat", edit.constant([groups]), each, axis=0)
    for k in (1, 2):
        column = edit.add("Unsqueeze", edit.node.inputs[k], edit.constant([1]))
        edit.put(k, edit.add("Reshape", edit.add("Expand", column, shape), edit.constant([-1])))


@rule("Upsample", below=7)
def _upsample_size(edit: Edit) -> None:
    scales = [1.0, 1.0, edit.pop("height_scale", 1.0), edit.pop("width_scale", 1.0)]
    edit.set(scales=scales)


@rule("Upsample", below=9)
def _upsample_scales(edit: Edit) -> None:
    edit.put_constant(1, edit.pop("scales"), np.float32)


@rule("Upsample", "Resize", below=11)
def _resize(edit: Edit) -> None:
    """Coordinates were x/scale; the nearest was the one below, but along an axis that Resize shrinks the one above."""
    node = edit.node
    x, scales = node.inputs
    mode = text(node.attrs.get("mode", "nearest"))
    mode = {"bilinear": "linear", "trilinear": "linear"}.get(mode, mode)
    attrs = {"mode": mode, "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    known = edit.known.get(scales)
    if node.op == "Resize" and mode == "nearest" and (known is None or known.min() < 1):
        if known is None or known.max() > 1:
            one = edit.constant(1.0, np.float32)
            x, scales = edit.add("Resize", x, "", edit.add("Max", scales, one), **attrs), edit.add("Min", scales, one)
        attrs["nearest_mode"] = "ceil"
    edit.rename("Resize")
    node.attrs, node.inputs = attrs, [x, "", scales]


@rule("Cast", below=6)
def _cast(edit: Edit) -> None:
    """The type was said by its name."""
    to = edit.node.attrs.get("to")
    if not isinstance(to, str | bytes):
        return
    from onnx import TensorProto

    to = text(to)
    if to.upper() not in list(TensorProto.DataType.keys()):
        raise ModelError(f"{edit.node.label()}: attribute 'to': expected the name of an element type, got {to!r}")
    edit.set(to=TensorProto.DataType.Value(to.upper()))


@rule("TopK", below=10)
def _top_k(edit: Edit) -> None:
    k = edit.pop("k")
    if k is not None:
        edit.put_constant(1, [k])


@rule("Tile", below=6)
def _tile(edit: Edit) -> None:
    """One axis was repeated; now every axis has its count."""
    x, count, axis = edit.node.inputs
    ones = edit.add("ConstantOfShape", edit.add("Shape", edit.add("Shape", x)), value=np.ones(1, np.int64))
    flat = [edit.add("Reshape", edit.add("Cast", v, to=7), edit.constant([-1])) for v in (axis, count)]
    edit.node.inputs = [x, edit.add("ScatterElements", ones, *flat, axis=0)]


@rule("Constant", below=ANY)
def _constant(edit: Edit) -> None:
    """Values of all kinds become a tensor."""
    if "value" not in edit.node.attrs and "sparse_value" not in edit.node.attrs:
        value = constant_value(edit.node)
        edit.node.attrs.clear()
        edit.set(value=value)


@rule("Scatter", below=ANY)
def _scatter(edit: Edit) -> None:
    edit.rename("ScatterElements")


@rule("LSTM", "GRU", "RNN", below=7)
def _recurrent(edit: Edit) -> None:
    """Whether Y is wanted is told by its name alone."""
    edit.pop("output_sequence")


@rule("Selu", below=6)
def _selu(edit: Edit) -> None:
    edit.default(alpha=1.6732, gamma=1.0507)


@rule("LpPool", "GlobalLpPool", below=2)
def _lp_pool(edit: Edit) -> None:
    _whole(edit, "p", 2)


def _whole(edit: Edit, key: str, default: int) -> None:
    value: Any = edit.node.attrs.get(key, default)
    if value != int(value):
        raise ModelError(f"{edit.node.label()}: attribute {key!r}: expected a whole number, got {value}")
    edit.set(**{key: int(value)})


@rule("DFT", below=20)
def _dft(edit: Edit) -> None:
    edit.put_constant(2, edit.pop("axis", 1))


@rule("GridSample", below=20)
def _grid_sample(edit: Edit) -> None:
    mode = text(edit.node.attrs.get("mode", "bilinear"))
    edit.set(mode={"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode))


@rule("RoiAlign", below=16)
def _roi_align(edit: Edit) -> None:
    edit.default(coordinate_transformation_mode="output_half_pixel")
