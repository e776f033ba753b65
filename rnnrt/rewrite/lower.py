"""ONNX LSTM, GRU and RNN nodes -> ``rnnrt`` LSTM, GRU and RNN: checked, with every default written out.

Inputs stay in ONNX's order (X, W, R, B, sequence_lens, initial_h, and for LSTM initial_c, P), ``""`` where absent. The
attributes of a lowered node, all of them always there but the ones of the other operators:

=======================  ====================================================================================
direction                "forward", "reverse" or "bidirectional"
hidden_size              H; 0 if only the run tells (R is no constant and the attribute is missing)
activations              lower-case names, those of the forward direction first
activation_alpha, _beta  a float for each activation: its own, or the default of its operator; 0.0 if it takes none
clip                     bound on what activations see, 0.0 for none
input_forget             bool (LSTM)
linear_before_reset      bool (GRU)
quantized                `Quantized` (LSTM) where x and h are multiplied as bytes, by int8 W and R; missing otherwise
in_views                 input number -> views (:mod:`rnnrt.rewrite.views`) that make the canonical array: X [T, B, I],
                         initial_h and initial_c [D, B, H]
out_axes                 output number -> how its axes are made of those of Y [T, D, B, H], Y_h and Y_c [D, B, H]
=======================  ====================================================================================

What is missing from the last two is as it should be already. :mod:`rnnrt.recurrent` adds "packed": the packed layer and
the dtype of the node's arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from ..errors import ModelError
from ..graph import Graph, Node
from ..records import record
from .known import Known
from .quantised import Quantized
from .views import Size


@record
class Cell:
    """What distinguishes the three operators: rows of W a unit, rows of P a unit, activations, number of inputs."""

    gates: int
    activations: tuple[str, ...]
    inputs: int


CELLS = {
    "LSTM": Cell(4, ("sigmoid", "tanh", "tanh"), 8),
    "GRU": Cell(3, ("sigmoid", "tanh"), 6),
    "RNN": Cell(1, ("tanh",), 6),
}

ACTIVATIONS: dict[str, tuple[float | None, float | None]] = {
    "affine": (1.0, 0.0),
    "elu": (1.0, None),
    "hardsigmoid": (float(np.float32(0.2)), 0.5),
    "leakyrelu": (float(np.float32(0.01)), None),
    "relu": (None, None),
    "scaledtanh": (1.0, 1.0),
    "sigmoid": (None, None),
    "softplus": (None, None),
    "softsign": (None, None),
    "tanh": (None, None),
    "thresholdedrelu": (1.0, None),
}
"""Default alpha and beta of each activation, in float32 as attributes are; None where it takes none."""

INPUT_NAMES = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
"""What the inputs of a recurrent node are called, in their order."""

_DIRECTIONS = ("forward", "reverse", "bidirectional")
_FLOATS = ("float16", "float32", "float64", "bfloat16")
_COMMON = {
    "activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size", "layout",
    "output_sequence",
}  # fmt: skip


def lower(graph: Graph, known: Known | None = None) -> tuple[int, Known]:
    """Lower the recurrent nodes of `graph` and of the graphs in it, in place; `known` follows.

    Returns
    -------
    count, known
        Their number, and what is known of the graph then.

    Raises
    ------
    ModelError
        If a node is against the specification: what, expected and got, with the node's label.
    """
    known = known or Known(graph)
    count = 0
    for k, node in enumerate(graph.nodes):
        for _, sub in node.subgraphs():
            count += lower(sub, known.scope(sub))[0]
        if node.domain == "" and node.op in CELLS:
            graph.nodes[k] = node = lowered(node, known)
            count += 1
        known.learn(node)
    return count, known


def lowered(node: Node, known: Known) -> Node:
    """The node that takes the place of an ONNX LSTM, GRU or RNN `node`."""
    cell = CELLS[node.op]
    _check_names(node, cell)
    attrs = node.attrs
    direction = _choice(node, "direction", _text(attrs.get("direction", "forward")), _DIRECTIONS)
    directions = 2 if direction == "bidirectional" else 1
    layout = _choice(node, "layout", attrs.get("layout", 0), (0, 1))
    units = _check_shapes(node, known, cell, directions, layout)
    _check_types(node, known)
    names, alphas, betas = _activations(node, cell, directions)
    clip = float(attrs.get("clip", 0.0))
    if not clip >= 0:
        _wrong(node, "clip", "a number of at least 0", clip)
    result: dict[str, Any] = {
        "direction": direction,
        "hidden_size": units,
        "activations": names,
        "activation_alpha": alphas,
        "activation_beta": betas,
        "clip": 0.0 if math.isinf(clip) else clip,
        "in_views": {},
        "out_axes": {},
    }
    if "quantized" in attrs:
        result["quantized"] = attrs["quantized"]
    for name in ("input_forget",) if node.op == "LSTM" else ("linear_before_reset",) if node.op == "GRU" else ():
        if name == "input_forget" and attrs.get(name, 0) not in (0, 1):
            _wrong(node, name, "0 or 1", attrs[name])
        result[name] = bool(attrs.get(name, 0))
    inputs = [node.input(k) for k in range(cell.inputs)]
    if layout:
        # X [B, T, I], states [B, D, H], Y [B, T, D, H].
        swap = (("transpose", (1, 0, 2)),)
        result["in_views"] = {k: swap for k in (0, 5, 6) if k < cell.inputs and inputs[k]}
        result["out_axes"] = {0: ((2,), (0,), (1,), (3,)), 1: ((1,), (0,), (2,)), 2: ((1,), (0,), (2,))}
    return Node(node.op, inputs, list(node.outputs), result, "rnnrt", node.version, node.name)


def _wrong(node: Node, what: str, expected: Any, got: Any) -> NoReturn:
    raise ModelError(f"{node.label()}: {what}: expected {expected}, got {got}")


def _text(value: Any) -> Any:
    return (
        value.decode("utf-8", "replace").lower()
        if isinstance(value, bytes)
        else value.lower()
        if isinstance(value, str)
        else value
    )


def _choice(node: Node, name: str, value: Any, choices: Sequence[Any]) -> Any:
    if value not in choices:
        _wrong(node, name, f"one of {', '.join(map(str, choices))}", value)
    return value


def _check_names(node: Node, cell: Cell) -> None:
    own = {"LSTM": {"input_forget"}, "GRU": {"linear_before_reset"}, "RNN": set()}[node.op]
    if isinstance(node.attrs.get("quantized"), Quantized):  # of :mod:`.quantised`, not what a file says
        own.add("quantized")
    unknown = sorted(node.attrs.keys() - _COMMON - own)
    if unknown:
        _wrong(node, "attributes", f"those of {node.op}", ", ".join(unknown))
    for k, name in enumerate(("X", "W", "R")):
        if not node.input(k):
            _wrong(node, f"input {name}", "a value", "none")
    if len(node.inputs) > cell.inputs:
        _wrong(node, "inputs", f"at most {cell.inputs}", len(node.inputs))
    outputs = 3 if node.op == "LSTM" else 2
    if len(node.outputs) > outputs:
        _wrong(node, "outputs", f"at most {outputs}", len(node.outputs))


def _check_shapes(node: Node, known: Known, cell: Cell, directions: int, layout: int) -> int:
    """Check all shapes that are known against one another; returns H, 0 if it is not known."""
    units: Size | None = node.attrs.get("hidden_size")
    recurrence = known.shape(node.input(2))
    if units is not None and (not isinstance(units, int) or units < 1):
        _wrong(node, "hidden_size", "a number of at least 1", units)
    if units is None and recurrence is not None and len(recurrence) == 3 and isinstance(recurrence[2], int):
        units = recurrence[2]
    steps, batch, features = "T", "B", "I"
    expected: dict[int, tuple[str, tuple[Any, ...]]] = {
        0: ("X", (batch, steps, features) if layout else (steps, batch, features)),
        1: ("W", (directions, _times(cell.gates, units), features)),
        2: ("R", (directions, _times(cell.gates, units), _times(1, units))),
        3: ("B", (directions, _times(2 * cell.gates, units))),
        4: ("sequence_lens", (batch,)),
        5: ("initial_h", (batch, directions, _times(1, units)) if layout else (directions, batch, _times(1, units))),
        6: ("initial_c", (batch, directions, _times(1, units)) if layout else (directions, batch, _times(1, units))),
        7: ("P", (directions, _times(3, units))),
    }
    sizes: dict[str, int] = {}
    for k, (name, shape) in expected.items():
        got = known.shape(node.input(k)) if node.input(k) else None
        if got is None:
            continue
        fits = len(got) == len(shape)
        for want, size in zip(shape, got, strict=False) if fits else ():
            if isinstance(size, int):
                fits &= size == (sizes.setdefault(want, size) if isinstance(want, str) else want)
        if not fits:
            shown = ", ".join(str(sizes.get(d, d)) for d in shape)
            hidden = f" for hidden_size {units}" if isinstance(units, int) and k else ""
            numbers = [d if isinstance(d, int) else "?" for d in got]
            _wrong(node, f"shape of {name}{hidden}", f"[{shown}]", str(numbers).replace("'", ""))
    return units if isinstance(units, int) else 0


def _times(number: int, units: Size | None) -> Any:
    return number * units if isinstance(units, int) else "H" if number == 1 else f"{number}*H"


def _check_types(node: Node, known: Known) -> None:
    first = None
    bytes_ = (1, 2) if "quantized" in node.attrs else ()
    for k, name in enumerate(INPUT_NAMES):
        if k in bytes_:
            continue
        dtype = known.dtype(node.input(k)) if node.input(k) else None
        if dtype is None:
            continue
        if name == "sequence_lens":
            if dtype != np.int32:
                _wrong(node, "type of sequence_lens", "int32", dtype)
            continue
        if dtype.name not in _FLOATS:
            _wrong(node, f"type of {name}", "a floating-point type", dtype)
        first = first or (name, dtype)
        if dtype != first[1]:
            _wrong(node, f"type of {name}", f"{first[1]} as of {first[0]}", dtype)


def _activations(node: Node, cell: Cell, directions: int) -> tuple[list[str], list[float], list[float]]:
    """Names, alphas and betas, one each for every activation of every direction."""
    count = len(cell.activations) * directions
    given = node.attrs.get("activations") or list(cell.activations) * directions
    names = [_choice(node, "activations", _text(name), tuple(ACTIVATIONS)) for name in given]
    if node.op == "RNN" and directions == 1 and len(names) == 2:
        names = names[:1]  # the specification's own default has an entry for a second direction that is not there
    if len(names) != count:
        _wrong(node, "number of activations", count, len(names))
    lists = []
    for column, key in enumerate(("activation_alpha", "activation_beta")):
        left = [float(v) for v in node.attrs.get(key) or ()]
        if len(left) > count or not all(map(math.isfinite, left)):
            _wrong(node, key, f"at most {count} finite numbers", left)
        values = []
        for name in names:
            default = ACTIVATIONS[name][column]
            values.append(0.0 if default is None else left.pop(0) if left else default)
        lists.append(values)
    return names, lists[0], lists[1]
