"""Cases that are one PyTorch layer: nn.LSTM, nn.GRU, nn.RNN in every direction and layout, and the three cells."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

I, H, T, B = 3, 4, 5, 2  # noqa: E741 - the field's names


@dataclass
class Case:
    """A module and what to export it with.

    ``build`` makes the module; ``calls`` are the arguments of each recorded call, the first being the example that the
    exporter sees; ``axes`` names the axes that may change, as {input: {axis: symbol}}, and so do calls after the first;
    ``out_axes`` is the same of the outputs, which only the older exporter needs to be told.
    ``options`` holds more arguments for `torch.onnx.export`, by exporter. ``frames`` > 0 records a stream: inputs of
    the first call's sizes are then drawn anew for each frame, and the ``states`` carried on from zeros; None for
    ``states`` leaves open what carries state, as in a layer that also runs backward. ``dynamo`` says what the newer
    exporter, which takes seconds a case, does with it: "all", "fixed" (shapes of the example only) or "" (nothing).
    """

    name: str
    build: Callable[[], nn.Module]
    calls: list[tuple]
    inputs: list[str]
    outputs: list[str]
    axes: dict[str, dict[int, str]] = field(default_factory=dict)
    out_axes: dict[str, dict[int, str]] = field(default_factory=dict)
    states: dict[str, str] | None = field(default_factory=dict)
    frames: int = 0
    dtype: str = "float32"
    scripted: bool = False
    options: dict[str, dict] = field(default_factory=dict)
    note: str = ""
    dynamo: str = "all"


class Given(nn.Module):
    """A layer with its state as plain arguments: (x, h) or (x, h, c) to (y, h, c)."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, h: Tensor):
        return self.layer(x, h)


class GivenPair(Given):
    def forward(self, x: Tensor, h: Tensor, c: Tensor):
        y, (h, c) = self.layer(x, (h, c))
        return y, h, c


class Packed(nn.Module):
    """Sequences of unequal length, packed and padded again."""

    def __init__(self, layer: nn.Module, is_sorted: bool):
        super().__init__()
        self.layer, self.is_sorted = layer, is_sorted

    def forward(self, x: Tensor, lengths: Tensor):
        first = self.layer.batch_first
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, first, enforce_sorted=self.is_sorted)
        y, state = self.layer(packed)
        y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=first)
        return y, state


class Steps(nn.Module):
    """A cell called for each of T steps from zeros; [T, B, I] to [T, B, H]."""

    def __init__(self, cell: nn.Module):
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor):
        state, ys = None, []
        for frame in x.unbind(0):
            state = self.cell(frame, state)
            ys.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(ys)


class CellPair(nn.Module):
    def __init__(self, cell: nn.Module):
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, h: Tensor, c: Tensor):
        return self.cell(x, (h, c))


class WrittenCell(nn.Module):
    """A minimal gated unit by its equations."""

    def __init__(self, hidden: int):
        super().__init__()
        self.x, self.h = nn.Linear(I, 2 * hidden), nn.Linear(hidden, 2 * hidden)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        xf, xn = self.x(x).chunk(2, 1)
        hf, hn = self.h(h).chunk(2, 1)
        f = torch.sigmoid(xf + hf)
        return (1 - f) * h + f * torch.tanh(xn + f * hn)


class ScriptedSteps(nn.Module):
    """A loop over a time axis whose length only the run knows: scripting turns it into a Loop."""

    def __init__(self, cell: nn.Module, hidden: int):
        super().__init__()
        self.cell, self.hidden = cell, hidden

    def forward(self, x: Tensor):
        h = torch.zeros(x.size(1), self.hidden)
        for t in range(x.size(0)):
            h = self.cell(x[t], h)
        return h


LAYERS = {
    "lstm": lambda **k: nn.LSTM(I, H, **k),
    "gru": lambda **k: nn.GRU(I, H, **k),
    "rnn_tanh": lambda **k: nn.RNN(I, H, **k),
    "rnn_relu": lambda **k: nn.RNN(I, H, nonlinearity="relu", **k),
}


def layer_case(kind: str, layers: int, bi: bool, first: bool, given: bool, suffix: str = "", **kwargs) -> Case:
    """One layer stack with a free batch and time; a simple one is also called with only the batch changed."""
    make, d = LAYERS[kind], layers * (1 + bi)

    def build() -> nn.Module:
        layer = make(num_layers=layers, bidirectional=bi, batch_first=first, **kwargs)
        return layer if not given else (GivenPair if kind == "lstm" else Given)(layer)

    def call(t: int, b: int) -> tuple:
        x = torch.randn(b, t, I) if first else torch.randn(t, b, I)
        widths = [kwargs.get("proj_size") or H, H][: 2 if kind == "lstm" else 1]
        return (x, *(torch.randn(d, b, width) for width in widths if given))

    slow = "all" if layers == 1 and bi == first and not kwargs and kind != "rnn_relu" else "fixed"
    calls = [call(T, B), *([call(T, B + 1)] if slow == "all" else []), call(T + 2, B + 1)]
    state_in = (["h0", "c0"] if kind == "lstm" else ["h0"]) if given else []
    state_out = ["hn", "cn"] if kind == "lstm" else ["hn"]
    x_axes = {0: "batch", 1: "time"} if first else {0: "time", 1: "batch"}
    tags = [kind, str(layers), "bi" * bi, "first" * first, "given" * given, suffix]
    return Case(
        "_".join(tag for tag in tags if tag),
        build,
        calls,
        ["x", *state_in],
        ["y", *state_out],
        {"x": x_axes, **{name: {1: "batch"} for name in state_in}},
        {"y": x_axes, **{name: {1: "batch"} for name in state_out}},
        None if given and bi else dict(zip(state_in, state_out, strict=True)) if given else {},
        dynamo=slow,
    )


def fixed(case: Case) -> Case:
    """The same with every shape as in the example."""
    case = copy.copy(case)
    case.name, case.axes, case.out_axes, case.calls = case.name + "_fixed", {}, {}, case.calls[:1]
    return case


def layer_cases() -> Iterator[Case]:
    """Every kind, direction, layout and number of layers, with and without a given state."""
    flags = (False, True)
    for kind in ("lstm", "gru"):
        for layers, bi, first, given in itertools.product((1, 2), flags, flags, flags):
            yield layer_case(kind, layers, bi, first, given)
        for bi, given in itertools.product(flags, flags):
            yield layer_case(kind, 3, bi, bi, given)
    for bi, first, given in itertools.product(flags, flags, flags):
        yield layer_case("rnn_tanh", 1, bi, first, given)
    yield layer_case("rnn_tanh", 2, False, True, True)
    yield layer_case("rnn_tanh", 3, True, False, False)
    yield layer_case("rnn_relu", 1, False, False, False)
    yield layer_case("rnn_relu", 1, True, True, False)
    yield layer_case("rnn_relu", 2, False, True, True)
    yield layer_case("rnn_relu", 3, True, True, True)


def form_cases() -> Iterator[Case]:
    """Forms beside the straight ones: no bias, dropout, fixed shapes, odd sizes, types, opsets, export options."""
    for kind in ("lstm", "gru", "rnn_tanh"):
        yield layer_case(kind, 1, True, False, False, "nobias", bias=False)
        case = fixed(layer_case(kind, 2, True, True, False))
        case.dynamo = "fixed" if kind == "rnn_tanh" else ""  # it has the others already
        yield case
    yield layer_case("lstm", 2, False, True, False, "dropout", dropout=0.5)
    yield layer_case("gru", 2, True, False, True, "dropout", dropout=0.5)
    yield layer_case("lstm", 1, False, False, False, "proj", proj_size=2)
    yield layer_case("lstm", 2, True, True, True, "proj", proj_size=2)
    for kind, make in (("lstm", nn.LSTM), ("gru", nn.GRU)):
        state = ["hn", "cn"] if kind == "lstm" else ["hn"]
        yield Case(f"{kind}_one_unit", lambda make=make: make(1, 1), [(torch.randn(T, 1, 1),)], ["x"], ["y", *state])
        yield Case(f"{kind}_one_step", lambda make=make: make(I, 7), [(torch.randn(1, 1, I),)], ["x"], ["y", *state])
        yield Case(f"{kind}_unbatched", lambda make=make: make(I, H), [(torch.randn(T, I),)], ["x"], ["y", *state])
        for dtype in ("float64", "float16"):
            case = fixed(layer_case(kind, 1, dtype == "float16", False, False, dtype))
            case.dtype = dtype
            case.calls = [(case.calls[0][0].to(getattr(torch, dtype)),)]
            yield case
        for is_sorted, bi in ((True, False), (False, True)):
            name = f"{kind}_packed_{'sorted' if is_sorted else 'unsorted'}"
            lengths = torch.tensor([T, 3, 1] if is_sorted else [2, T, 3])
            build = lambda make=make, s=is_sorted, bi=bi: Packed(make(I, H, batch_first=True, bidirectional=bi), s)  # noqa: E731
            yield Case(name, build, [(torch.randn(3, T, I), lengths)], ["x", "lengths"], ["y", *state])
    nested = fixed(layer_case("lstm", 1, False, False, True, "nested"))
    nested.build = lambda: nn.LSTM(I, H)
    nested.calls = [(x, (h, c)) for x, h, c in nested.calls]
    yield nested
    sloppy = layer_case("lstm", 1, True, True, False, "undeclared")
    sloppy.dynamo = ""
    sloppy.out_axes, sloppy.note = {}, "the outputs' declared sizes are those of the example, and wrong for others"
    yield sloppy
    for opset in (9, 11, 13, 15, 17, 18, 20, 21, 23):
        case = layer_case("gru" if opset in (11, 18) else "lstm", 2, True, True, False, f"opset{opset}")
        case.dynamo = "fixed" if opset in (13, 18, 21, 23) else ""
        case.options = {"torchscript": {"opset_version": opset}, "dynamo": {"opset_version": opset}}
        yield case
    raw = layer_case("lstm", 2, True, True, False, "unoptimised")
    raw.options = {"torchscript": {"do_constant_folding": False}, "dynamo": {"optimize": False}}
    yield raw


def cell_cases() -> Iterator[Case]:
    """nn.LSTMCell, nn.GRUCell, nn.RNNCell: one step with the state given, and a loop over T written out."""
    for bias in (True, False):
        tag = "" if bias else "_nobias"
        for name, make in (("gru", nn.GRUCell), ("rnn", nn.RNNCell)):
            calls = [(torch.randn(b, I), torch.randn(b, H)) for b in (B, B + 3)]
            axes, out_axes = {"x": {0: "batch"}, "h0": {0: "batch"}}, {"hn": {0: "batch"}}
            build = lambda make=make, bias=bias: make(I, H, bias=bias)  # noqa: E731
            yield Case(f"{name}cell{tag}", build, calls, ["x", "h0"], ["hn"], axes, out_axes, {"h0": "hn"})
        calls = [(torch.randn(b, I), torch.randn(b, H), torch.randn(b, H)) for b in (B, B + 3)]
        axes = {name: {0: "batch"} for name in ("x", "h0", "c0")}
        build = lambda bias=bias: CellPair(nn.LSTMCell(I, H, bias=bias))  # noqa: E731
        out_axes, states = {name: {0: "batch"} for name in ("hn", "cn")}, {"h0": "hn", "c0": "cn"}
        yield Case(f"lstmcell{tag}", build, calls, ["x", "h0", "c0"], ["hn", "cn"], axes, out_axes, states)
    for name, make in (("lstm", nn.LSTMCell), ("gru", nn.GRUCell), ("rnn", nn.RNNCell)):
        calls = [(torch.randn(T, b, I),) for b in (B, B + 1)]
        axes, build = {1: "batch"}, lambda make=make: Steps(make(I, H))
        yield Case(f"{name}cell_steps", build, calls, ["x"], ["y"], {"x": axes}, {"y": axes})
    calls = [(torch.randn(t, b, I),) for t, b in ((T, B), (T + 3, B + 1))]
    axes = {"x": {0: "time", 1: "batch"}}
    for name, make in (("grucell", lambda: nn.GRUCell(I, H)), ("written", lambda: WrittenCell(H))):
        build = lambda make=make: ScriptedSteps(make(), H)  # noqa: E731
        yield Case(f"{name}_loop", build, calls, ["x"], ["hn"], axes, {"hn": {0: "batch"}}, scripted=True, dynamo="")
