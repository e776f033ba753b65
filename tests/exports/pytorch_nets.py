"""Cases that are small nets with recurrent layers in them, and streaming nets whose state goes in and out.

The forms are those of public speech, text and sensor models: heads and fronts around the layer, state as h/c pairs, as
one stacked tensor that each layer takes its slice of, as a flat vector of everything, and as convolution caches.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from pytorch_layers import Case
from torch import Tensor, nn
from torch.nn import functional


class LastStep(nn.Module):
    """LSTM, last step, Linear: the usual classifier of sensor series."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 6, 2, batch_first=True), nn.Linear(6, 2)

    def forward(self, x: Tensor):
        y, _ = self.lstm(x)
        return torch.softmax(self.head(y[:, -1]), -1)


class Tagger(nn.Module):
    """Tokens to log-probabilities by an embedding and a bidirectional layer."""

    def __init__(self):
        super().__init__()
        self.embed, self.gru = nn.Embedding(11, 4), nn.GRU(4, 5, bidirectional=True, batch_first=True)
        self.head = nn.Linear(10, 3)

    def forward(self, tokens: Tensor):
        return functional.log_softmax(self.head(self.gru(self.embed(tokens))[0]), -1)


class BothEnds(nn.Module):
    """The last hidden states of both directions, joined: how sentence encoders pool."""

    def __init__(self):
        super().__init__()
        self.lstm, self.norm = nn.LSTM(4, 5, 2, bidirectional=True), nn.LayerNorm(10)

    def forward(self, x: Tensor):
        _, (h, _) = self.lstm(x)
        return self.norm(torch.cat([h[-2], h[-1]], -1))


class EncoderDecoder(nn.Module):
    """The final state of one layer is the initial state of the next, whose input is made of its predecessor's."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.GRU(3, 6), nn.GRU(3, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor, y: Tensor):
        _, h = self.encoder(x)
        return self.head(self.decoder(y, h)[0])


class LearnedStart(nn.Module):
    """An initial state that is a weight, expanded to the batch."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 5)
        self.h, self.c = (nn.Parameter(torch.randn(1, 1, 5)) for _ in range(2))

    def forward(self, x: Tensor):
        n = x.size(1)
        return self.lstm(x, (self.h.expand(-1, n, -1).contiguous(), self.c.expand(-1, n, -1).contiguous()))[0]


class Flipped(nn.Module):
    """A backward layer written with torch.flip, added to its input."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 4, batch_first=True)

    def forward(self, x: Tensor):
        return x + torch.flip(self.gru(torch.flip(x, [1]))[0], [1])


class DualPath(nn.Module):
    """One layer along the bands of each frame, one along the frames of each band; [B, T, F, C] in and out."""

    def __init__(self):
        super().__init__()
        self.intra = nn.GRU(4, 3, bidirectional=True, batch_first=True)
        self.inter = nn.LSTM(4, 6, batch_first=True)
        self.a, self.b = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x: Tensor):
        b, t, f, c = x.shape
        x = x + self.a(self.intra(x.reshape(b * t, f, c))[0]).reshape(b, t, f, c)
        y = x.permute(0, 2, 1, 3).reshape(b * f, t, c)
        return x + self.b(self.inter(y)[0]).reshape(b, f, t, c).permute(0, 2, 1, 3)


class ConvStack(nn.Module):
    """Strided convolutions and a batch-first bidirectional stack without packing; [B, 1, samples] to scores."""

    def __init__(self):
        super().__init__()
        self.front = nn.Sequential(nn.Conv1d(1, 4, 5, 2, 2), nn.BatchNorm1d(4), nn.ReLU(), nn.Conv1d(4, 6, 3, 2, 1))
        self.lstm = nn.LSTM(6, 4, 2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, wave: Tensor):
        y, _ = self.lstm(self.front(wave).transpose(1, 2))
        return torch.sigmoid(self.head(y))


class UnrolledNet(nn.Module):
    """A vanilla RNN over a fixed window of 8 steps between two linear layers."""

    def __init__(self):
        super().__init__()
        self.inp, self.rnn, self.out = nn.Linear(2, 4), nn.RNN(4, 6, batch_first=True), nn.Linear(6, 1)

    def forward(self, x: Tensor):
        return self.out(self.rnn(torch.relu(self.inp(x)))[0][:, -1])


def net_cases() -> Iterator[Case]:
    """Nets that see whole sequences."""
    bt, tb = {0: "batch", 1: "time"}, {0: "time", 1: "batch"}
    rand = torch.randn
    calls = [(rand(2, 6, 3),), (rand(4, 3, 3),)]
    yield Case("net_last_step", LastStep, calls, ["x"], ["p"], {"x": bt}, {"p": {0: "batch"}})
    tokens = [(torch.randint(0, 11, s),) for s in ((2, 6), (1, 9))]
    yield Case("net_tagger", Tagger, tokens, ["tokens"], ["logp"], {"tokens": bt}, {"logp": bt})
    calls = [(rand(5, 2, 4),), (rand(7, 3, 4),)]
    yield Case("net_both_ends", BothEnds, calls, ["x"], ["code"], {"x": tb}, {"code": {0: "batch"}})
    calls = [(rand(s, b, 3), rand(t, b, 3)) for s, t, b in ((5, 4, 2), (5, 4, 3), (3, 6, 3))]
    axes = {"x": {0: "source", 1: "batch"}, "y": {0: "target", 1: "batch"}}
    yield Case("net_encoder_decoder", EncoderDecoder, calls, ["x", "y"], ["z"], axes, {"z": axes["y"]})
    calls = [(rand(t, b, 3),) for t, b in ((5, 2), (5, 4), (6, 4))]
    yield Case("net_learned_start", LearnedStart, calls, ["x"], ["y"], {"x": tb}, {"y": tb})
    calls = [(rand(2, 5, 4),), (rand(3, 6, 4),)]
    yield Case("net_flipped", Flipped, calls, ["x"], ["y"], {"x": bt}, {"y": bt})
    calls = [(rand(1, 5, 9, 4),), (rand(1, 8, 9, 4),)]
    yield Case("net_dual_path", DualPath, calls, ["x"], ["y"], {"x": {1: "time"}}, {"y": {1: "time"}})
    calls = [(rand(2, 1, 32),), (rand(3, 1, 48),)]
    axes = {"wave": {0: "batch", 2: "samples"}}
    yield Case("net_conv_stack", ConvStack, calls, ["wave"], ["p"], axes, {"p": {0: "batch", 1: "frames"}})
    calls = [(rand(2, 8, 2),), (rand(5, 8, 2),)]
    yield Case("net_unrolled", UnrolledNet, calls, ["x"], ["y"], {"x": {0: "batch"}}, {"y": {0: "batch"}})


class StreamPair(nn.Module):
    """LSTM and head over chunks, h and c of [layers, B, H] in and out."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 6, 2, batch_first=True), nn.Linear(6, 1)

    def forward(self, x: Tensor, h: Tensor, c: Tensor):
        y, (h, c) = self.lstm(x, (h, c))
        return torch.sigmoid(self.head(y)), h, c


class StreamStacked(nn.Module):
    """One state tensor [h and c, B, H] for an LSTMCell behind a convolution: the form of voice-activity detectors."""

    def __init__(self):
        super().__init__()
        self.front, self.cell, self.head = nn.Conv1d(1, 6, 8, 4), nn.LSTMCell(6, 7), nn.Linear(7, 1)

    def forward(self, x: Tensor, state: Tensor):
        y = torch.relu(self.front(x.unsqueeze(1))).mean(-1)
        h, c = self.cell(y, (state[0], state[1]))
        return torch.sigmoid(self.head(torch.relu(h))), torch.stack([h, c])


class StreamSliced(nn.Module):
    """Three GRU layers, each taking its [1, B, H] slice of one state tensor; the new slices are joined again."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.GRU(6, 6) for _ in range(3))

    def forward(self, x: Tensor, state: Tensor):
        new = []
        for k, layer in enumerate(self.layers):
            y, s = layer(x, state[k : k + 1])
            x = x + y
            new.append(s)
        return x, torch.cat(new)


class StreamCaches(nn.Module):
    """Convolution, grouped GRU, deconvolution-like output; each convolution keeps its last frames in a cache."""

    def __init__(self):
        super().__init__()
        self.front, self.depth = nn.Conv1d(4, 6, 3), nn.Conv1d(6, 6, 3, groups=6, dilation=2)
        self.gru, self.linear = nn.GRU(6, 6, batch_first=True), nn.Linear(6, 6)
        self.back = nn.Conv1d(6, 4, 2)

    def forward(self, x: Tensor, front: Tensor, depth: Tensor, h: Tensor, back: Tensor):
        x = torch.cat([front, x], 2)
        new_front = x[:, :, -2:]
        x = functional.elu(self.front(x))
        x = torch.cat([depth, x], 2)
        new_depth = x[:, :, -4:]
        x = torch.relu(self.depth(x)).transpose(1, 2)
        y, h = self.gru(x, h)
        x = (x + self.linear(y)).transpose(1, 2)
        x = torch.cat([back, x], 2)
        return torch.tanh(self.back(x)), new_front, new_depth, h, x[:, :, -1:]


class StreamFlat(nn.Module):
    """All that is remembered in one vector [1, n]: h and c of an LSTM, h of a GRU, and an input's last frames."""

    def __init__(self):
        super().__init__()
        self.lstm, self.gru, self.conv = nn.LSTM(4, 5), nn.GRU(5, 4), nn.Conv1d(3, 4, 3)

    def forward(self, frame: Tensor, state: Tensor):
        h, c = state[:, 0:5].reshape(1, 1, 5), state[:, 5:10].reshape(1, 1, 5)
        g, cache = state[:, 10:14].reshape(1, 1, 4), state[:, 14:20].reshape(1, 3, 2)
        window = torch.cat([cache, frame.reshape(1, 3, 1)], 2)
        y, (h, c) = self.lstm(self.conv(window).reshape(1, 1, 4), (h, c))
        y, g = self.gru(y, g)
        parts = [h.reshape(1, 5), c.reshape(1, 5), g.reshape(1, 4), window[:, :, 1:].reshape(1, 6)]
        return y.reshape(1, 4), torch.cat(parts, 1)


class StreamBands(nn.Module):
    """A frame's bands as the batch of the layer along time (T = 1, B = bands) beside one along the bands."""

    def __init__(self):
        super().__init__()
        self.intra, self.inter = nn.GRU(3, 2, bidirectional=True, batch_first=True), nn.LSTM(4, 3, batch_first=True)

    def forward(self, x: Tensor, h: Tensor, c: Tensor):
        y, _ = self.intra(x)
        z, (h, c) = self.inter(y.transpose(0, 1), (h, c))
        return x + z.transpose(0, 1), h, c


class StreamHidden(nn.Module):
    """h and c stacked on a last axis, [layers, B, H, 2], named like neither of its neighbours."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 4, 2, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor, memory: Tensor):
        y, (h, c) = self.lstm(x, (memory[..., 0].contiguous(), memory[..., 1].contiguous()))
        return self.head(y), torch.stack([h, c], -1)


def stream_cases() -> Iterator[Case]:
    """Nets that see one frame or chunk a call; the pairs of state are what a loader should find by itself."""
    rand = torch.randn
    states = {"h_in": "h_out", "c_in": "c_out"}

    def case(name, build, calls, inputs, outputs, states, axes=None, out_axes=None) -> Case:
        return Case(f"stream_{name}", build, calls, inputs, outputs, axes or {}, out_axes or {}, states, frames=6)

    calls = [(rand(b, t, 5), rand(2, b, 6), rand(2, b, 6)) for b, t in ((1, 2), (3, 4))]
    axes = {"x": {0: "batch", 1: "time"}, "h_in": {1: "batch"}, "c_in": {1: "batch"}}
    out_axes = {"p": axes["x"], "h_out": {1: "batch"}, "c_out": {1: "batch"}}
    yield case("pair", StreamPair, calls, ["x", "h_in", "c_in"], ["p", "h_out", "c_out"], states, axes, out_axes)
    calls = [(rand(b, 20), rand(2, b, 7)) for b in (1, 3)]
    axes, out_axes = {"x": {0: "batch"}, "state": {1: "batch"}}, {"p": {0: "batch"}, "stateN": {1: "batch"}}
    yield case("stacked", StreamStacked, calls, ["x", "state"], ["p", "stateN"], {"state": "stateN"}, axes, out_axes)
    calls = [(rand(t, b, 6), rand(3, b, 6)) for t, b in ((1, 2), (1, 3), (3, 1))]
    axes = {"x": {0: "time", 1: "batch"}, "hx": {1: "batch"}}
    out_axes = {"y": axes["x"], "hy": axes["hx"]}
    yield case("sliced", StreamSliced, calls, ["x", "hx"], ["y", "hy"], {"hx": "hy"}, axes, out_axes)
    names = ("front_cache", "depth_cache", "gru_cache", "back_cache")
    shapes = ((1, 4, 2), (1, 6, 4), (1, 1, 6), (1, 6, 1))
    calls = [(rand(1, 4, 1), *(rand(s) for s in shapes))]
    pairs = {name: f"{name}_out" for name in names}
    yield case("caches", StreamCaches, calls, ["mix", *names], ["enh", *pairs.values()], pairs)
    calls = [(rand(1, 3), rand(1, 20))]
    yield case("flat", StreamFlat, calls, ["frame", "states_in"], ["out", "states_out"], {"states_in": "states_out"})
    calls = [(rand(1, 33, 3), rand(1, 33, 3), rand(1, 33, 3))]
    yield case("bands", StreamBands, calls, ["x", "h_in", "c_in"], ["y", "h_out", "c_out"], states)
    calls = [(rand(1, 1, 3), rand(2, 1, 4, 2))]
    yield case("last_axis", StreamHidden, calls, ["input_2", "input_3"], ["out_a", "out_b"], {"input_3": "out_b"})
