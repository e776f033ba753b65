"""If, Loop and Scan over plans of their subgraphs.

A builder takes the node, the plans by attribute name, and the names of what they capture; it returns the function of
the node's inputs followed by the captured values, which returns a tuple.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from .errors import InputError, ModelError, UnsupportedError
from .graph import Node, Value
from .ops.limits import check_size
from .ops.registry import Function


class Body(Protocol):
    """What is needed of a `rnnrt.plan.Plan`."""

    captures: list[str]
    n_inputs: int
    outputs_declared: tuple[Value, ...]

    def run(self, values: Sequence[Any]) -> list[Any]:
        """The outputs for `values`, inputs and then captures."""

    def constant(self, k: int) -> Any:
        """Output `k` if it is the same in every run, else None."""


def _picker(plan: Body, names: Sequence[str]) -> Callable[[Sequence[Any]], list[Any]]:
    """From the values of `names` to those that `plan` captures."""
    positions = [names.index(name) for name in plan.captures]
    return lambda values: [values[k] for k in positions]


def build_if(node: Node, plans: Mapping[str, Body], names: Sequence[str]) -> Function:
    """One branch is run, the other costs nothing."""
    yes, no = plans["then_branch"], plans["else_branch"]
    pick_yes, pick_no = _picker(yes, names), _picker(no, names)
    for key, plan in plans.items():
        if len(plan.outputs_declared) != len(node.outputs):
            raise ModelError(
                f"{node.label()}: {key}: expected {len(node.outputs)} outputs, got {len(plan.outputs_declared)}"
            )
    label = node.label()

    def run(condition: Any, *values: Any) -> list[Any]:
        return yes.run(pick_yes(values)) if _truth(condition, label) else no.run(pick_no(values))

    return run


def build_loop(node: Node, plans: Mapping[str, Body], names: Sequence[str]) -> Function:
    """Body inputs: iteration, condition, carried values; outputs: condition, carried values, values to stack.

    The condition that the body gives out counts whichever inputs of the Loop are absent, as in other runtimes; the text
    of ONNX would have it ignored where the Loop has none as input.
    """
    body = plans["body"]
    pick, label = _picker(body, names), node.label()
    n_carried = len(node.inputs) - 2
    n_stacked = len(body.outputs_declared) - 1 - n_carried
    if (
        body.n_inputs - len(body.captures) != 2 + n_carried
        or n_stacked < 0
        or len(node.outputs) > n_carried + n_stacked
    ):
        raise ModelError(f"{label}: body: expected 2 + {n_carried} inputs and at least 1 + {n_carried} outputs")
    endless = not node.input(0) and body.constant(0) is not None and _truth(body.constant(0), label)
    declared = body.outputs_declared[1 + n_carried :]

    def run(trips: Any, condition: Any, *values: Any) -> list[Any]:
        carried, outer = list(values[:n_carried]), pick(values[n_carried:])
        stacks: list[list[Any]] = [[] for _ in range(n_stacked)]
        end = None if trips is None else int(_single(trips, label))
        going = condition is None or _truth(condition, label)
        if endless and going:
            raise InputError(f"{label}: would never end: no trip count, and the body's condition is always true")
        k = 0
        while going and (end is None or k < end):
            keep, *rest = body.run([np.array(k, np.int64), np.array(True), *carried, *outer])
            carried = rest[:n_carried]
            for stack, value in zip(stacks, rest[n_carried:], strict=True):
                _push(stack, value, label)
            going = _truth(keep, label)
            k += 1
        return [*carried, *(_stack(s, v, 0, label) for s, v in zip(stacks, declared, strict=True))]

    return run


def build_scan(node: Node, plans: Mapping[str, Body], names: Sequence[str]) -> Function:
    """Body inputs: carried values, one slice of each scanned input; outputs: carried values, slices to be stacked."""
    body, attrs, label = plans["body"], node.attrs, node.label()
    if node.version < 9:
        raise UnsupportedError(f"{label}: the batched form of opset 8")
    pick = _picker(body, names)
    n_scanned = int(attrs["num_scan_inputs"])
    n_carried = len(node.inputs) - n_scanned
    n_stacked = len(body.outputs_declared) - n_carried
    if n_scanned < 1 or n_carried < 0 or n_stacked < 0 or body.n_inputs - len(body.captures) != len(node.inputs):
        raise ModelError(f"{label}: body: its inputs and outputs do not agree with num_scan_inputs {n_scanned}")
    in_axes = _numbers(attrs.get("scan_input_axes"), n_scanned, "scan_input_axes", label)
    in_back = _numbers(attrs.get("scan_input_directions"), n_scanned, "scan_input_directions", label)
    out_axes = _numbers(attrs.get("scan_output_axes"), n_stacked, "scan_output_axes", label)
    out_back = _numbers(attrs.get("scan_output_directions"), n_stacked, "scan_output_directions", label)
    declared = body.outputs_declared[n_carried:]

    def run(*values: Any) -> list[Any]:
        carried, outer = list(values[:n_carried]), pick(values[n_carried + n_scanned :])
        scanned = []
        for value, axis, back in zip(values[n_carried : n_carried + n_scanned], in_axes, in_back, strict=True):
            first = np.moveaxis(value, axis, 0)
            scanned.append(first[::-1] if back else first)
        lengths = {len(value) for value in scanned}
        if len(lengths) != 1:
            raise InputError(f"{label}: expected scanned inputs of one length, got {sorted(lengths)}")
        stacks: list[list[Any]] = [[] for _ in range(n_stacked)]
        for k in range(lengths.pop()):
            rest = body.run([*carried, *(value[k] for value in scanned), *outer])
            carried = rest[:n_carried]
            for stack, value in zip(stacks, rest[n_carried:], strict=True):
                _push(stack, value, label)
        ordered = [s[::-1] if back else s for s, back in zip(stacks, out_back, strict=True)]
        return [*carried, *(_stack(s, v, a, label) for s, v, a in zip(ordered, declared, out_axes, strict=True))]

    return run


CONTROL: dict[str, Callable[[Node, Mapping[str, Any], Sequence[str]], Function]] = {
    "If": build_if,
    "Loop": build_loop,
    "Scan": build_scan,
}
"""Builders by operator; the functions they make return one value an output of the node."""


def _single(value: Any, label: str) -> Any:
    if np.size(value) != 1:
        raise InputError(f"{label}: expected a single value, got shape {np.shape(value)}")
    return np.asarray(value).reshape(())[()]


def _truth(value: Any, label: str) -> bool:
    return bool(_single(value, label))


def _numbers(given: Any, count: int, what: str, label: str) -> list[int]:
    numbers = [0] * count if given is None else [int(n) for n in given]
    if len(numbers) != count:
        raise ModelError(f"{label}: {what}: expected {count} numbers, got {len(numbers)}")
    return numbers


def _push(stack: list[Any], value: Any, label: str) -> None:
    """Keep one iteration's value, as long as all of them together stay within bounds."""
    if isinstance(value, np.ndarray) and stack and not len(stack) & 0xFF:
        check_size((len(stack) * 2, *value.shape), value.dtype, label)
    stack.append(value)


def _stack(stack: list[Any], declared: Value, axis: int, label: str) -> np.ndarray:
    """The iterations' values side by side; without any, as the body declares them, unknown sizes being 0."""
    if stack:
        return np.stack([np.asarray(v) for v in stack], axis=axis)
    if declared.dtype is None:
        raise InputError(f"{label}: no iteration was run and the body does not declare {declared.name!r}")
    shape = [d if isinstance(d, int) else 0 for d in declared.shape or ()]
    shape.insert(axis if axis >= 0 else len(shape) + 1 + axis, 0)
    return np.empty(shape, declared.dtype)
