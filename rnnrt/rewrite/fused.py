"""What onnxruntime saves of a graph that it has optimised: operators of ``com.microsoft``, said in ONNX's own.

Rules of :mod:`rnnrt.rewrite.normalise`, as :mod:`rnnrt.rewrite.versions` has them. A form that is not known stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ModelError
from ..ops.common import text
from .edit import Edit, Rule

FUSED: dict[str, Rule] = {}

_PLAIN = ("Relu", "Sigmoid", "Softsign", "Tanh")
_WITH_NUMBERS = {
    "Elu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "LeakyRelu": ("alpha",), "ThresholdedRelu": ("alpha",),
}  # fmt: skip


def _fused(*ops: str, inputs: int, most: int) -> Callable[[Rule], Rule]:
    """Register a rule for operators that have so many `inputs`, and `most` at most, which nothing has checked."""

    def register(apply: Rule) -> Rule:
        def checked(edit: Edit) -> None:
            node = edit.node
            if not all(map(node.input, range(inputs))) or len(node.inputs) > most or not node.output(0):
                raise ModelError(f"{node.label()}: expected {inputs} to {most} inputs and an output")
            apply(edit)

        FUSED.update(dict.fromkeys(ops, checked))
        return apply

    return register


def _become(edit: Edit, op: str, *inputs: str) -> None:
    """Make the node an operator of ONNX, without trailing absent inputs."""
    edit.node.domain = ""
    edit.rename(op)
    edit.node.inputs = list(inputs)
    while edit.node.inputs and not edit.node.inputs[-1]:
        edit.node.inputs.pop()


def _activation(name: str, numbers: list[float]) -> tuple[str, dict[str, Any], list[float]] | None:
    """Operator, attributes and bounds of an activation; None for one that is not known."""
    if name in _PLAIN:
        return name, {}, []
    if name == "Clip" and len(numbers) == 2:
        return name, {}, numbers
    keys = _WITH_NUMBERS.get(name, ())
    if not keys or len(numbers) < len(keys):
        return None
    return name, {key: float(v) for key, v in zip(keys, numbers, strict=False)}, []


@_fused("FusedConv", inputs=2, most=4)
def _conv(edit: Edit) -> None:
    node = edit.node
    name = text(node.attrs.get("activation", ""))
    found = _activation(name, list(node.attrs.get("activation_params") or ()))
    if name and found is None:
        return
    addend = node.input(3)
    _become(edit, "Conv", *node.inputs[:3])
    for key in ("activation", "activation_params"):
        edit.pop(key)
    _follow(edit, addend, found)


@_fused("FusedGemm", inputs=2, most=3)
def _gemm(edit: Edit) -> None:
    node = edit.node
    name = text(node.attrs.get("activation", ""))
    numbers = [node.attrs[key] for key in ("activation_alpha", "activation_beta") if key in node.attrs]
    found = _activation(name, numbers)
    if name and found is None:
        return
    _become(edit, "Gemm", *node.inputs)
    for key in ("activation", "activation_alpha", "activation_beta", "activation_gamma"):
        edit.pop(key)
    _follow(edit, "", found)


def _follow(edit: Edit, addend: str, found: tuple[str, dict[str, Any], list[float]] | None) -> None:
    """What comes after the product: a sum, and an activation."""
    if not addend and found is None:
        return
    name, old = edit.divert()
    if addend:
        total = old if found is None else edit.names.fresh(f"{old}_sum")
        edit.append("Add", name, addend, output=total)
        name = total
    if found is not None:
        op, attrs, bounds = found
        edit.append(op, name, *(edit.constant(v, np.float32) for v in bounds), output=old, **attrs)


@_fused("QuickGelu", inputs=1, most=1)
def _quick_gelu(edit: Edit) -> None:
    x, alpha = edit.node.inputs[0], float(edit.pop("alpha", 1.702))
    scaled = x if alpha == 1 else edit.add("Mul", x, edit.constant(alpha, np.float32))
    _become(edit, "Mul", x, edit.add("Sigmoid", scaled))


@_fused("BiasGelu", "FastGelu", "Gelu", inputs=1, most=2)
def _gelu(edit: Edit) -> None:
    x, bias = edit.node.inputs[0], edit.node.input(1)
    edit.set(approximate="tanh" if edit.node.op == "FastGelu" else "none")
    _become(edit, "Gelu", edit.add("Add", x, bias) if bias else x)


@_fused("SkipLayerNormalization", inputs=3, most=5)
def _skip_norm(edit: Edit) -> None:
    node = edit.node
    if node.output(1) or node.output(2):
        return
    x, skip, gamma, beta, bias = (node.input(k) for k in range(5))
    total = edit.add("Add", x, skip)
    if bias:
        total = edit.add("Add", total, bias)
    if node.output(3):
        edit.append("Identity", total, output=node.outputs[3])
    del node.outputs[1:]
    edit.default(epsilon=1e-12)
    edit.set(axis=-1)
    _become(edit, "LayerNormalization", total, gamma, beta)


def _dequantised(edit: Edit, first: int) -> str:
    """The float value of the quantised input `first`, which its scale and zero point follow."""
    return edit.add("DequantizeLinear", *(edit.node.input(k) for k in range(first, first + 3) if edit.node.input(k)))


def _of_floats(edit: Edit, op: str, values: list[str], to: int) -> None:
    """Make the node `op` of floats, and quantise that with the scale at input `to` and the zero point behind it."""
    name, old = edit.divert()
    edit.append("QuantizeLinear", name, edit.node.input(to), edit.node.input(to + 1), output=old)
    _become(edit, op, *values)


@_fused("QLinearAdd", "QLinearMul", inputs=2, most=8)
def _quantised_pair(edit: Edit) -> None:
    if all(edit.node.input(k) for k in (1, 4, 6, 7)) and edit.node.input(3):
        _of_floats(edit, edit.node.op.removeprefix("QLinear"), [_dequantised(edit, 0), _dequantised(edit, 3)], 6)


@_fused("QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax", "QLinearAveragePool", inputs=1, most=5)
def _quantised_function(edit: Edit) -> None:
    node = edit.node
    if not all(node.input(k) for k in (1, 3, 4)) or node.attrs.get("channels_last", 0):
        return
    edit.pop("channels_last")
    value, op = _dequantised(edit, 0), node.op.removeprefix("QLinear")
    if op == "Softmax" and int(edit.pop("opset", 0)) < 13:
        # Before version 13, all axes from `axis` on counted as one.
        flat = edit.add("Softmax", edit.add("Flatten", value, axis=edit.pop("axis", 1)), axis=-1)
        _of_floats(edit, "Reshape", [flat, edit.add("Shape", value)], 3)
    else:
        _of_floats(edit, op, [value], 3)


@_fused("QLinearConcat", inputs=5, most=1 << 20)
def _quantised_concat(edit: Edit) -> None:
    node = edit.node
    if len(node.inputs) % 3 != 2 or not all(node.inputs):
        return
    _of_floats(edit, "Concat", [_dequantised(edit, k) for k in range(2, len(node.inputs), 3)], 0)


@_fused("QGemm", inputs=5, most=9)
def _quantised_gemm(edit: Edit) -> None:
    """C comes in units of both scales."""
    node = edit.node
    a_scale, b_scale, c, to = node.input(1), node.input(4), node.input(6), node.input(7)
    if node.attrs.get("alpha", 1.0) != 1 or not a_scale or not b_scale or (to and not node.input(8)):
        return
    a = _dequantised(edit, 0)
    parts = [name for name in node.inputs[3:6] if name]
    values = [a, edit.add("DequantizeLinear", *parts, axis=0 if node.attrs.get("transB", 0) else 1)]
    if c:
        values.append(edit.add("Mul", edit.add("Cast", c, to=1), edit.add("Mul", a_scale, b_scale)))
    if to:
        _of_floats(edit, "Gemm", values, 7)
    else:
        _become(edit, "Gemm", *values)
