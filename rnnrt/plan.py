"""Graph -> Plan: which function runs each node, and in which slot each value lies.

A :class:`Plan` is immutable and holds no state of a run, so any number of threads may run it at once. Every node runs
in one of three tiers: *native* (:mod:`rnnrt.native`, on the compiled core), *NumPy* (:mod:`rnnrt.ops`), or, as a last
resort, the operator of ``onnx.reference``. What none of them knows is one :class:`UnsupportedError` that names all such
nodes. Which form of a node is native is found when shapes are known: :mod:`rnnrt.bind`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ._core import program
from .bind import Binding
from .control import CONTROL
from .errors import ModelError, UnsupportedError
from .graph import Graph, Node, Scope, taken
from .native.recurrent import RecurrentBinder
from .native.registry import NATIVE, Native
from .native.tensor import Tensor, constant
from .ops.reference import reference
from .ops.registry import Function, lookup
from .recurrent import recurrent
from .rewrite.known import Known
from .rewrite.lower import INPUT_NAMES

ABSENT = 0
"""The slot of absent optional inputs and unnamed outputs; it holds None when it is read."""


class Step(NamedTuple):
    """One node's run; binding reads the first fields by their places (``program.STEP_FIELDS``).

    Attributes
    ----------
    tier
        Of `fn`, its function on arrays: "native", "NumPy" or "reference"; "control" for If, Loop and Scan, whose
        `plans` hold the steps inside.
    bind
        What emits it as native steps, given `node`; None where nothing does.
    names
        Of the inputs.
    inputs, outputs
        Slots.
    frees
        Slots whose values nobody needs after this step.
    shapes
        Of each output, as far as known before the run: sizes, and tokens such as ``x[0]`` for the size of an input's
        axis.
    detail
        What was made part of a recurrent step: views and arrangements.
    """

    label: str
    tier: str
    fn: Function
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    frees: tuple[int, ...]
    node: Node | None
    bind: Native | RecurrentBinder | None
    op: str
    multiple: bool
    shapes: tuple[tuple[Any, ...] | None, ...]
    detail: str = ""
    plans: tuple[tuple[str, Plan], ...] = ()
    names: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """The tier that it runs in if it is bound to shapes and types of which there is a native form."""
        return self.tier if self.bind is None else "native"


_Choice = tuple[Function, str, bool, Sequence[str], tuple[tuple[str, "Plan"], ...]]
"""Function, tier, whether it returns a tuple, names of inputs, and plans of subgraphs."""


class Plan:
    """What `run` does, step by step.

    Parameters
    ----------
    graph
        A rewritten graph.
    notes
        What the rewrites did, for `describe`.
    threads
        Threads a native step may use.
    outer
        Constants of the graphs round this one; what else it takes from them becomes the last inputs, `captures`.
    """

    def __init__(
        self,
        graph: Graph,
        notes: Sequence[str] = (),
        threads: int = 1,
        outer: Scope | None = None,
        known: Known | None = None,
        problems: list[str] | None = None,
    ) -> None:
        self.notes = tuple(notes)
        self.outputs_declared = tuple(graph.outputs)
        constants = Scope(graph.constants, outer)
        known = known or Known.of(graph)
        found: list[str] = [] if problems is None else problems
        builder = _Builder(graph, constants, known, found, threads)
        self.captures = builder.captures
        self.n_inputs = len(graph.inputs) + len(self.captures)
        self.steps = builder.steps()
        self.outputs = tuple(builder.slot(v.name) for v in graph.outputs)
        self.output_shapes = tuple(known.shape(v.name) for v in graph.outputs)
        self._slots = builder.values()
        self._constants = [constant(v) if isinstance(v, np.ndarray) else None for v in self._slots]
        self.uses = builder.uses(self.steps, self.outputs)
        self.binding = Binding(self, threads)
        self.program = program.Program(self.binding.start)
        if problems is None and found:
            raise UnsupportedError(
                f"{len(found)} node{'s' if len(found) > 1 else ''} cannot be run: " + "; ".join(found)
            )

    def run(self, values: Sequence[Any]) -> list[Any]:
        """Run on `values`, one an input and then one a capture; arrays among the outputs are fresh.

        Raises
        ------
        InputError
            If a node fails on what it is given.
        """
        return self.program.run(values)

    def constants(self) -> list[Tensor | None]:
        """By slot: the constants, and None for all else."""
        return list(self._constants)

    def constant(self, k: int) -> Any:
        """Output `k` if it is the same in every run, else None."""
        return self._slots[self.outputs[k]]

    def count(self) -> dict[str, int]:
        """Number of steps by expected tier, those of inner plans included."""
        counts: dict[str, int] = {}
        for step in self.steps:
            counts[step.expected] = counts.get(step.expected, 0) + 1
            for _, plan in step.plans:
                for tier, n in plan.count().items():
                    counts[tier] = counts.get(tier, 0) + n
        return counts


class _Builder:
    """Gives slots to values and functions to nodes."""

    def __init__(self, graph: Graph, constants: Scope, known: Known, problems: list[str], threads: int) -> None:
        self.graph, self.constants, self.known, self.problems, self.threads = graph, constants, known, problems, threads
        self.captures = _captures(graph, constants)
        self._bound: dict[int, RecurrentBinder | None] = {}
        self._slots = {"": ABSENT}
        for name in [*(v.name for v in graph.inputs), *self.captures]:
            self._slots[name] = len(self._slots)

    def slot(self, name: str) -> int:
        """The slot of a value, which is given one when first asked for."""
        return self._slots.setdefault(name, len(self._slots))

    def values(self) -> list[Any]:
        """What the slots hold before a run: constants, and None."""
        return [self.constants.get(name) for name in self._slots]

    def uses(self, steps: Sequence[Step], outputs: Sequence[int]) -> list[int]:
        """How often each slot is an input of a step or goes out."""
        counts = [0] * len(self._slots)
        for slot in itertools.chain(outputs, *(step.inputs for step in steps)):
            counts[slot] += 1
        return counts

    def steps(self) -> tuple[Step, ...]:
        """The steps, in the order of the graph's nodes."""
        made = [self._chosen(node) for node in self.graph.nodes]
        kept = {self.slot(v.name) for v in self.graph.outputs}
        kept.update(self.slot(name) for name in list(self._slots) if name in self.constants)
        kept.add(ABSENT)
        steps = []
        for node, inputs, outputs, choice in reversed(made):
            frees = tuple([i for i in dict.fromkeys((*inputs, *outputs)) if i not in kept])
            kept.update(frees)
            fn, tier, multiple, names, plans = choice
            shapes = tuple([self.known.shape(name) if name else None for name in node.outputs])
            native: Native | RecurrentBinder | None = self._bound.get(id(node)) or NATIVE.get((node.domain, node.op))
            if isinstance(native, Native) and not native.takes(len(names)):
                native = None
            steps.append(
                Step(
                    node.label(), tier, fn, inputs, outputs, frees, node, native,
                    node.op, multiple, shapes, _detail(node), plans, tuple(names),
                )
            )  # fmt: skip
        return tuple(reversed(steps))

    def _chosen(self, node: Node) -> tuple[Node, tuple[int, ...], tuple[int, ...], _Choice]:
        """The node, the slots of its inputs and outputs, and what runs it."""
        choice, slots = self._choose(node), self._slots
        inputs = tuple([slots.setdefault(name, len(slots)) for name in choice[3]])
        return node, inputs, tuple([slots.setdefault(name, len(slots)) for name in node.outputs]), choice

    def _choose(self, node: Node) -> _Choice:
        """Function, tier, whether it returns a tuple, inputs, and plans of subgraphs."""
        try:
            if node.domain == "rnnrt":
                fn, names, self._bound[id(node)] = recurrent(node, self.constants, self.threads)
                return fn, "native", True, names, ()
            if node.domain == "" and node.op in CONTROL:
                return self._control(node)
            found = lookup(node)
            if found is not None:
                try:
                    return found.build(node), "NumPy", found.multiple, node.inputs, ()
                except UnsupportedError:
                    if node.proto is None:
                        raise
            return reference(node), "reference", True, node.inputs, ()
        except UnsupportedError as error:
            text = str(error)
            self.problems.append(text if text.startswith(node.label()) else f"{node.label()}: {text}")
            return _never, "reference", True, (), ()

    def _control(self, node: Node) -> _Choice:
        plans = {
            key: Plan(
                sub,
                (),
                self.threads,
                self.constants,
                self.known.inner.get(id(sub)) or Known.of(sub, self.known),
                self.problems,
            )
            for key, sub in node.subgraphs()
        }
        names = list(dict.fromkeys(name for plan in plans.values() for name in plan.captures))
        fn = CONTROL[node.op](node, plans, names)
        return fn, "control", True, [*node.inputs, *names], tuple(plans.items())


def _captures(graph: Graph, constants: Scope) -> list[str]:
    """What `graph` takes from the graphs round it, constants aside."""
    return [name for name in taken(graph) if name not in constants]


def _detail(node: Node) -> str:
    """What a recurrent step takes on beyond its node."""
    if node.domain != "rnnrt":
        return ""
    parts = [node.attrs["direction"]]
    for k, views in node.attrs["in_views"].items():
        parts.append(f"{INPUT_NAMES[k]} through " + ", ".join(f"{view[0]}{list(view[1:])}" for view in views))
    for k, groups in node.attrs["out_axes"].items():
        axes = "TDBH" if k == 0 else "DBH"
        parts.append(
            f"{('Y', 'Y_h', 'Y_c')[k]} as [" + ", ".join("*".join(axes[a] for a in g) or "1" for g in groups) + "]"
        )
    return "; ".join(parts)


def _never(*_: Any) -> tuple:
    raise ModelError("a node without a function was run")
