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
    binding: Any
    program: Any
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


class Repeated:
    """A body that is run over and over: what Loop and Scan have in common.

    Attributes
    ----------
    body
        The plan.
    label
        The node's.
    n_carried, n_stacked
        Values handed from one iteration to the next, and outputs of each iteration that are stacked.
    pick
        From the captured values of the node to those of the body.
    """

    def __init__(self, node: Node, plans: Mapping[str, Body], names: Sequence[str], n_carried: int, n_own: int) -> None:
        self.body, self.label = plans["body"], node.label()
        self.pick = _picker(self.body, names)
        self.n_carried = n_carried
        self.n_stacked = len(self.body.outputs_declared) - n_own - n_carried
        self.declared = self.body.outputs_declared[n_own + n_carried :]

    def at_once(
        self, first: list[Any], most: int, conditional: bool, scanned: Any = None, backward: Any = None
    ) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
        """All iterations without going back to Python: see :meth:`rnnrt._core.program.Program.repeat`."""
        return self.body.program.repeat(first, self.n_carried, most, conditional, self._make, scanned, backward)

    def nothing(self, first: list[Any], axes: Sequence[int]) -> list[np.ndarray]:
        """What is stacked where no iteration is run, of which `first` would be the first one's inputs.

        As the body declares it, unknown sizes being 0, or as it would come out where the body does not say.
        """
        stacks = []
        for k, (declared, axis) in enumerate(zip(self.declared, axes, strict=True)):
            dtype, shape = declared.dtype, [d if isinstance(d, int) else 0 for d in declared.shape or ()]
            if dtype is None:
                dtype, sizes = self._inferred(k, first)
                shape = list(sizes)
            shape.insert(axis if axis >= 0 else len(shape) + 1 + axis, 0)
            stacks.append(np.empty(shape, dtype))
        return stacks

    def _inferred(self, k: int, first: list[Any]) -> tuple[np.dtype, tuple[int, ...]]:
        """Dtype and shape of the k-th output that is stacked."""
        segment = None
        if all(isinstance(value, np.ndarray) and value.dtype.kind in "biuf" for value in first):
            segment = self.body.binding.whole([(value.dtype, value.shape) for value in first])
        found = None if segment is None else segment.terminal.outputs[k - len(self.declared)]
        if found is None:
            name = self.declared[k].name
            raise InputError(f"{self.label}: no iteration was run and the body does not declare {name!r}")
        return found

    def _make(self, n: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        """An array for n slices, within bounds."""
        check_size((n, *shape), dtype, self.label)
        try:
            return np.empty((n, *shape), dtype)
        except MemoryError:
            what = f"{n} slices of {dtype}{list(shape)}, one an iteration"
            raise InputError(f"{self.label}: no memory for {what}") from None


class Loop(Repeated):
    """Body inputs: iteration, condition, carried values; outputs: condition, carried values, values to stack.

    The condition that the body gives out counts whichever inputs of the Loop are absent, as in other runtimes; the text
    of ONNX would have it ignored where the Loop has none as input.
    """

    def __init__(self, node: Node, plans: Mapping[str, Body], names: Sequence[str]) -> None:
        super().__init__(node, plans, names, len(node.inputs) - 2, 1)
        body, n_carried = self.body, self.n_carried
        if (
            body.n_inputs - len(body.captures) != 2 + n_carried
            or self.n_stacked < 0
            or len(node.outputs) > n_carried + self.n_stacked
        ):
            raise ModelError(
                f"{self.label}: body: expected 2 + {n_carried} inputs and at least 1 + {n_carried} outputs"
            )
        self.always = body.constant(0) is not None and _truth(body.constant(0), self.label)
        number, going = [(1,) * len(value.shape or ()) for value in node.attrs["body"].inputs[:2]]
        self._number, self._going = number, np.full(going, True)
        self._going.flags.writeable = False

    def own(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """What iteration `k` begins with: its number, and that it is one, of the rank that the body declares."""
        return np.array(k, np.int64).reshape(self._number), self._going

    def __call__(self, trips: Any, condition: Any, *values: Any) -> list[Any]:
        """The outputs of the node."""
        label, n_carried = self.label, self.n_carried
        carried, outer = list(values[:n_carried]), self.pick(values[n_carried:])
        end = None if trips is None else int(_single(trips, label))
        going = condition is None or _truth(condition, label)
        if end is None and self.always and going:
            raise InputError(f"{label}: would never end: no trip count, and the body's condition is always true")
        if going:
            first = [*self.own(0), *carried, *outer]
            at_once = self.at_once(first, _ENDLESS if end is None else end, not self.always)
            if at_once is not None:
                return [*at_once[0], *at_once[1]]
        stacks: list[list[Any]] = [[] for _ in range(self.n_stacked)]
        k = 0
        while going and (end is None or k < end):
            keep, *rest = self.body.run([*self.own(k), *carried, *outer])
            carried = rest[:n_carried]
            for stack, value in zip(stacks, rest[n_carried:], strict=True):
                _push(stack, value, label)
            going = _truth(keep, label)
            k += 1
        if not k:
            return [*carried, *self.nothing([*self.own(0), *carried, *outer], [0] * self.n_stacked)]
        return [*carried, *(_stack(stack) for stack in stacks)]


class Scan(Repeated):
    """Body inputs: carried values, one slice of each scanned input; outputs: carried values, slices to be stacked.

    Attributes
    ----------
    n_scanned
        Inputs that are scanned.
    in_axes, out_axes
        The axis of the iterations in each of those, and in each stacked output.
    in_back, out_back
        Whether they run from the end.
    """

    def __init__(self, node: Node, plans: Mapping[str, Body], names: Sequence[str]) -> None:
        if node.version < 9:
            raise UnsupportedError(f"{node.label()}: the batched form of opset 8")
        self.n_scanned = int(node.attrs["num_scan_inputs"])
        super().__init__(node, plans, names, len(node.inputs) - self.n_scanned, 0)
        body = self.body
        inside = body.n_inputs - len(body.captures)
        if self.n_scanned < 1 or self.n_carried < 0 or self.n_stacked < 0 or inside != len(node.inputs):
            raise ModelError(
                f"{self.label}: body: its inputs and outputs do not agree with num_scan_inputs {self.n_scanned}"
            )
        self.in_axes = self._numbers(node, "scan_input_axes", self.n_scanned)
        self.in_back = [n != 0 for n in self._numbers(node, "scan_input_directions", self.n_scanned)]
        self.out_axes = self._numbers(node, "scan_output_axes", self.n_stacked)
        self.out_back = [n != 0 for n in self._numbers(node, "scan_output_directions", self.n_stacked)]

    def _numbers(self, node: Node, what: str, count: int) -> list[int]:
        given = node.attrs.get(what)
        numbers = [0] * count if given is None else [int(n) for n in given]
        if len(numbers) != count:
            raise ModelError(f"{self.label}: {what}: expected {count} numbers, got {len(numbers)}")
        return numbers

    def __call__(self, *values: Any) -> list[Any]:
        """The outputs of the node."""
        n_carried, label = self.n_carried, self.label
        n_inputs = n_carried + self.n_scanned
        carried, outer = list(values[:n_carried]), self.pick(values[n_inputs:])
        given = zip(values[n_carried:n_inputs], self.in_axes, strict=True)
        scanned = [np.ascontiguousarray(np.moveaxis(value, axis, 0)) for value, axis in given]
        lengths = {len(value) for value in scanned}
        if len(lengths) != 1:
            raise InputError(f"{label}: expected scanned inputs of one length, got {sorted(lengths)}")
        length = lengths.pop()
        if not length:
            first = [*carried, *(np.zeros(value.shape[1:], value.dtype) for value in scanned), *outer]
            return [*carried, *self.nothing(first, self.out_axes)]
        first = [*carried, *(np.asarray(value[0]) for value in scanned), *outer]
        at_once = self.at_once(first, length, False, scanned, self.in_back)
        if at_once is not None:
            ordered = [s[::-1] if back else s for s, back in zip(at_once[1], self.out_back, strict=True)]
            moved = (np.moveaxis(s, 0, axis) for s, axis in zip(ordered, self.out_axes, strict=True))
            return [*at_once[0], *moved]
        turned = [value[::-1] if back else value for value, back in zip(scanned, self.in_back, strict=True)]
        stacks: list[list[Any]] = [[] for _ in range(self.n_stacked)]
        for k in range(length):
            rest = self.body.run([*carried, *(value[k] for value in turned), *outer])
            carried = rest[:n_carried]
            for stack, value in zip(stacks, rest[n_carried:], strict=True):
                _push(stack, value, label)
        lists = [s[::-1] if back else s for s, back in zip(stacks, self.out_back, strict=True)]
        return [*carried, *(_stack(stack, axis) for stack, axis in zip(lists, self.out_axes, strict=True))]


_ENDLESS = (1 << 63) - 1  # iterations, where only a condition ends them


CONTROL: dict[str, Callable[[Node, Mapping[str, Any], Sequence[str]], Function]] = {
    "If": build_if,
    "Loop": Loop,
    "Scan": Scan,
}
"""Builders by operator; the functions they make return one value an output of the node."""


def _single(value: Any, label: str) -> Any:
    array = np.asarray(value)
    if array.size != 1:
        raise InputError(f"{label}: expected a single value, got shape {array.shape}")
    return array.item()


def _truth(value: Any, label: str) -> bool:
    return bool(_single(value, label))


def _push(stack: list[Any], value: Any, label: str) -> None:
    """Keep one iteration's value, as long as all of them together stay within bounds."""
    if isinstance(value, np.ndarray) and stack and not len(stack) & 0xFF:
        check_size((len(stack) * 2, *value.shape), value.dtype, label)
    stack.append(value)


def _stack(stack: list[Any], axis: int = 0) -> np.ndarray:
    """The iterations' values side by side."""
    return np.stack([np.asarray(v) for v in stack], axis=axis)
