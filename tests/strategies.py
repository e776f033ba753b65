"""Recurrent nodes as hypothesis draws them: every attribute, optional input and output, sizes around vector widths.

hypothesis draws what a case *is* and a seed; the numbers in the arrays come from that seed, scaled down until the
answer is well conditioned, so that a difference from the oracle is a mistake and not a matter of rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
import oracle
from hypothesis import assume
from hypothesis import strategies as st
from onnx import helper, numpy_helper

INPUTS = {
    "LSTM": ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"),
    "GRU": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
    "RNN": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
}
OUTPUTS = {"LSTM": ("Y", "Y_h", "Y_c"), "GRU": ("Y", "Y_h"), "RNN": ("Y", "Y_h")}
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
ACTIVATIONS_PER_DIRECTION = {"LSTM": 3, "GRU": 2, "RNN": 1}
NAMES = (
    "Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu", "Softsign",
    "Softplus",
)  # fmt: skip

SIZES = (1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 40)
BATCHES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 17)
TIMES = (0, 1, 2, 5, 17)

TOLERANCE = {"float16": 5e-3, "float32": 2e-6, "float64": 1e-12}
LARGEST = 100.0
"""No value of an answer is larger: float16 can hold it, and rounding errors stay near the tolerance."""


@dataclass
class Case:
    """One recurrent node with its inputs: as an ONNX model, as its feeds, and as the oracle's answer.

    `inputs` follow `INPUTS`, None where absent; `wanted` follows `OUTPUTS`; `constants` names the inputs that are
    initializers; `trailing` keeps absent names at the end of the node's lists as empty strings.
    """

    op: str
    inputs: dict[str, np.ndarray | None]
    attrs: dict[str, Any]
    wanted: tuple[bool, ...]
    opset: int = 22
    constants: tuple[str, ...] = ("W", "R", "B", "P")
    trailing: bool = False
    symbolic: bool = False

    def __repr__(self) -> str:
        given = {k: f"{v.dtype}{list(v.shape)}" for k, v in self.inputs.items() if v is not None}
        lens = self.inputs["sequence_lens"]
        where = f"opset {self.opset}, wanted {self.wanted}, constants {self.constants}"
        return f"Case({self.op} {given} lens={None if lens is None else lens.tolist()} {self.attrs} {where})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))

    @property
    def dtype(self) -> np.dtype:
        return self.inputs["X"].dtype

    def outputs(self) -> list[str]:
        return [n for n, w in zip(OUTPUTS[self.op], self.wanted, strict=True) if w]

    def feeds(self) -> dict[str, np.ndarray]:
        return {k: v for k, v in self.inputs.items() if v is not None and k not in self.constants}

    def model(self) -> bytes:
        """The one-node model, serialized."""
        names = [k if v is not None else "" for k, v in self.inputs.items()]
        outs = [n if w else "" for n, w in zip(OUTPUTS[self.op], self.wanted, strict=True)]
        if not self.trailing and self.opset > 1:
            names, outs = stripped(names), stripped(outs)
        attrs = {k: v for k, v in self.attrs.items() if v is not None}
        if self.opset == 1:
            attrs["output_sequence"] = int(self.wanted[0])
        element = helper.np_dtype_to_tensor_dtype(self.dtype)
        graph = helper.make_graph(
            [helper.make_node(self.op, names, outs, name="cell", **attrs)],
            "one_node",
            [self.value_info(k, v) for k, v in self.feeds().items()],
            [helper.make_tensor_value_info(n, element, [None] * (4 if n == "Y" else 3)) for n in self.outputs()],
            [numpy_helper.from_array(v, k) for k, v in self.inputs.items() if v is not None and k in self.constants],
        )
        opset = helper.make_opsetid("", self.opset)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
        onnx.checker.check_model(model)
        return model.SerializeToString()

    def value_info(self, name: str, array: np.ndarray) -> onnx.ValueInfoProto:
        element = helper.np_dtype_to_tensor_dtype(array.dtype)
        free = self.symbolic and name not in ("W", "R", "B", "P")
        return helper.make_tensor_value_info(name, element, [None] * array.ndim if free else list(array.shape))

    @cached_property
    def answer(self) -> dict[str, np.ndarray]:
        """The oracle's outputs in float64, the wanted ones."""
        every = oracle.run_node(self.op, list(self.inputs.values()), self.attrs)
        return {n: y for n, y, w in zip(OUTPUTS[self.op], every, self.wanted, strict=True) if w}

    def check(self, got: dict[str, np.ndarray], tolerance: float | None = None) -> None:
        """Names, shapes and dtypes as they must be, values within the tolerance of the oracle's."""
        assert list(got) == self.outputs()
        for name, want in self.answer.items():
            assert got[name].shape == want.shape, name
            assert got[name].dtype == self.dtype, name
            close(got[name], want, tolerance or TOLERANCE[self.dtype.name], name)


def stripped(names: Sequence[str]) -> list[str]:
    """`names` without the empty ones at the end."""
    names = list(names)
    while names and not names[-1]:
        names.pop()
    return names


def close(got: np.ndarray, want: np.ndarray, tolerance: float, name: str = "") -> None:
    """|got - want| within `tolerance`, relative where values are above 1; NaN and inf in the same places."""
    scale = float(np.max(np.abs(want), initial=1.0, where=np.isfinite(want)))
    np.testing.assert_allclose(got.astype(np.float64), want, rtol=0, atol=tolerance * scale, err_msg=name)


@dataclass
class Layer:
    """The node of a case on the engine: the layer packed for an instruction set, run on arrays in layout 0."""

    case: Case
    isa: str | None = None

    @cached_property
    def engine(self) -> Any:
        from rnnrt._core import engine

        w, r, b, p = (self.case.inputs.get(k) for k in "WRBP")
        return engine.Recurrent(self.case.op, w, r, b, p, **self.settings(), isa=self.isa)

    def settings(self) -> dict[str, Any]:
        """The attributes, with alpha and beta laid out one a function."""
        attrs = {k: v for k, v in self.case.attrs.items() if k not in ("layout", "hidden_size")}
        alphas, betas = iter(attrs.pop("activation_alpha", ())), iter(attrs.pop("activation_beta", ()))
        if "activations" in attrs:
            attrs["activations"] = names = [n.lower() for n in attrs["activations"]]
            defaults = [oracle.ACTIVATIONS[n][1:] for n in names]
            attrs["alpha"] = [0.0 if a is None else next(alphas, a) for a, _ in defaults]
            attrs["beta"] = [0.0 if b is None else next(betas, b) for _, b in defaults]
        return attrs

    def outputs(self, T: int, B: int) -> list[np.ndarray]:
        """Fresh arrays for Y, Y_h and, of an LSTM, Y_c, filled with what no answer is."""
        D, H, dtype = self.engine.num_directions, self.engine.hidden_size, self.case.dtype
        states = len(OUTPUTS[self.case.op]) - 1
        return [np.full((T, D, B, H), -99, dtype), *(np.full((D, B, H), -99, dtype) for _ in range(states))]

    def run(self, outs: Sequence[np.ndarray | None] | None = None, **changed: np.ndarray | None) -> list[np.ndarray]:
        """Run into `outs`, or into fresh arrays; `changed` replaces inputs of the case."""
        given = self.case.inputs | changed
        outs = self.outputs(*given["X"].shape[:2]) if outs is None else outs
        y, y_h, y_c = (*outs, None)[:3]
        self.engine.run(given["X"], given["sequence_lens"], given["initial_h"], given.get("initial_c"), y, y_h, y_c)
        return outs


# -------------------------------------------------------------------------------------------------------------- values


def arrays(op: str, rng: np.random.Generator, T: int, B: int, I: int, H: int, D: int, gain: float) -> dict[str, Any]:  # noqa: E741
    """Every input of `op` in float64, weights scaled so that a unit's sum is of the order of `gain`."""
    G = GATES[op]
    every = {
        "X": rng.standard_normal((T, B, I)),
        "W": rng.uniform(-1, 1, (D, G * H, I)) * gain / np.sqrt(I),
        "R": rng.uniform(-1, 1, (D, G * H, H)) * gain / np.sqrt(H),
        "B": rng.uniform(-0.5, 0.5, (D, 2 * G * H)) * min(gain, 1),
        "sequence_lens": rng.integers(0, T + 1, B, dtype=np.int32),
        "initial_h": rng.uniform(-1, 1, (D, B, H)),
        "initial_c": rng.standard_normal((D, B, H)),
        "P": rng.uniform(-0.5, 0.5, (D, 3 * H)) * min(gain, 1),
    }
    return {name: every[name] for name in INPUTS[op]}


def finished(every: dict[str, Any], absent: set[str], layout: int, dtype: np.dtype) -> dict[str, np.ndarray | None]:
    """The inputs as the node gets them: in `dtype`, batch first where `layout` says so, None for those in `absent`."""
    done: dict[str, np.ndarray | None] = {}
    for name, value in every.items():
        if layout and name in ("X", "initial_h", "initial_c"):
            value = value.swapaxes(0, 1)
        if name != "sequence_lens":
            value = value.astype(dtype)
        done[name] = None if name in absent else np.ascontiguousarray(value)
    return done


def make(op: str, T=5, B=3, I=9, H=17, D=1, absent=(), wanted=None, seed=0, dtype="float32", gain=1.0, **attrs) -> Case:  # noqa: E741
    """A case without drawing: every input but the `absent` ones, every output unless `wanted` says otherwise."""
    rng = np.random.default_rng(seed)
    inputs = finished(arrays(op, rng, T, B, I, H, D, gain), set(absent), attrs.get("layout", 0), np.dtype(dtype))
    attrs = {"direction": "bidirectional"} | attrs if D == 2 else attrs
    return Case(op, inputs, attrs, wanted or (True,) * len(OUTPUTS[op]))


def well_conditioned(case: Case, rng: np.random.Generator) -> bool:
    """Whether the answer is of moderate size and moves by little more than its inputs do when they are rounded.

    ThresholdedRelu jumps: a case is refused when some sum lies so near the jump that rounding decides the side.
    """
    eps = TOLERANCE[case.dtype.name]
    nearest = np.inf
    plain = oracle.ACTIVATIONS["thresholdedrelu"]

    def watched(x: np.ndarray, alpha: float) -> np.ndarray:
        nonlocal nearest
        nearest = min(nearest, float(np.min(np.abs(x - alpha), initial=np.inf)))
        return plain[0](x, alpha)

    oracle.ACTIVATIONS["thresholdedrelu"] = (watched, *plain[1:])
    try:
        here = oracle.run_node(case.op, list(case.inputs.values()), case.attrs)
    finally:
        oracle.ACTIVATIONS["thresholdedrelu"] = plain
    moved = [
        a if a is None or k == "sequence_lens" else a.astype(np.float64) * (1 + eps * rng.uniform(-0.1, 0.1, a.shape))
        for k, a in case.inputs.items()
    ]
    there = oracle.run_node(case.op, moved, case.attrs)
    size = max(float(np.max(np.abs(y), initial=0)) for y in here)
    if not size <= LARGEST or nearest <= 3 * eps:
        return False
    shift = max(float(np.max(np.abs(a - b), initial=0)) for a, b in zip(here, there, strict=True))
    return shift <= 0.5 * eps * max(size, 1)


# ---------------------------------------------------------------------------------------------------------- strategies


def nth(values: Sequence[Any]) -> st.SearchStrategy:
    return st.sampled_from(tuple(values))


@st.composite
def scalings(draw, names: Sequence[str], complete: bool) -> dict[str, list[float] | None]:
    """activation_alpha and activation_beta: absent, shorter than the list of takers, or complete."""
    found = {}
    kinds = ((1, "activation_alpha", (0.25, 0.5, -0.5, 1.5)), (2, "activation_beta", (0.25, 0.5, -0.5)))
    for position, key, values in kinds:
        takers = sum(oracle.ACTIVATIONS[n.lower()][position] is not None for n in names)
        count = takers if complete else draw(st.integers(0, takers))
        found[key] = draw(st.lists(nth(values), min_size=count, max_size=count)) or None
    return found


@st.composite
def attributes(draw, op: str, D: int, H: int, opset: int, names: Sequence[str], like_ort: bool) -> dict[str, Any]:
    """The attributes of `op` that exist in `opset`, layout apart; what is None is not written to the node."""
    attrs: dict[str, Any] = {"direction": "bidirectional" if D == 2 else draw(nth(("forward", "reverse")))}
    attrs["hidden_size"] = H if like_ort else draw(nth((H, None)))
    n = D * ACTIVATIONS_PER_DIRECTION[op]
    if draw(st.booleans()):
        chosen = draw(st.lists(nth(names), min_size=n, max_size=n))
        attrs |= draw(scalings(chosen, complete=like_ort))
        attrs["activations"] = chosen if like_ort else [draw(nth((c, c.lower(), c.upper()))) for c in chosen]
    if not (like_ort and op == "LSTM"):
        attrs["clip"] = draw(nth((None, None, 0.375, 0.75, 2.5)))
    if op == "LSTM":
        attrs["input_forget"] = draw(nth((None, 0, 1)))
    if op == "GRU" and opset > 1:
        attrs["linear_before_reset"] = draw(nth((None, 0, 1)))
    return {k: v for k, v in attrs.items() if v is not None}


@st.composite
def cases(
    draw,
    ops: Sequence[str] = tuple(INPUTS),
    dtypes: Sequence[str] = ("float32", "float64", "float16"),
    opsets: Sequence[int] = (1, 7, 14, 22),
    times: Sequence[int] = TIMES,
    batches: Sequence[int] = (*BATCHES, 0),
    layouts: Sequence[int] = (0, 1),
    like_ort: bool = False,
) -> Case:
    """Any recurrent node; `like_ort` keeps to what onnxruntime does as the specification says."""
    op, dtype, opset = draw(nth(ops)), np.dtype(draw(nth(dtypes))), draw(nth(opsets))
    T, B, I, H = draw(nth(times)), draw(nth(batches)), draw(nth(SIZES)), draw(nth(SIZES))  # noqa: E741
    D = draw(nth((1, 2)))
    names = [n for n in NAMES if n != "ThresholdedRelu" or dtype.itemsize > 2]
    attrs = draw(attributes(op, D, H, opset, names, like_ort))
    if opset >= 14 and draw(nth(layouts)):
        attrs["layout"] = 1
    absent = draw(st.sets(nth(INPUTS[op][3:])))
    constants = draw(nth((("W", "R", "B", "P"), ("W", "R", "B", "P"), (), ("W", "R"), ("B", "initial_h", "initial_c"))))
    wanted = draw(st.lists(st.booleans(), min_size=len(OUTPUTS[op]), max_size=len(OUTPUTS[op])).filter(any))
    if opset == 1 and op != "LSTM":
        wanted[1] = True  # GRU-1 and RNN-1 must have it
    case = Case(op, {}, attrs, tuple(wanted), opset, constants, draw(st.booleans()), draw(st.booleans()))

    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    every, gain = arrays(op, rng, T, B, I, H, D, draw(nth((0.3, 1.0, 3.0)))), 1.0
    for _ in range(8):
        scaled = {k: v * gain if k in ("W", "R", "B", "P") else v for k, v in every.items()}
        case.inputs = finished(scaled, absent, attrs.get("layout", 0), dtype)
        if well_conditioned(case, rng):
            return case
        gain /= 2
    assume(False)
    raise AssertionError("not reached")
