"""com.microsoft.DynamicQuantizeLSTM: an LSTM with quantised weights, which quantises its activations as it runs.

    Z = q(X)·W + q(H)·R + b                     i, o, f, c side by side; q as DynamicQuantizeLinear
    i = f(Z_i + Pi∘C)     f = f(Z_f + Pf∘C)     C' = f∘C + i∘g(Z_c)     o = f(Z_o + Po∘C')     H' = o∘h(C')

X is quantised as a whole for each direction, H at each step over the whole batch; so a row's answer depends a little
on its neighbours, as onnxruntime's does. Everything else is as in ONNX's LSTM.

Shapes, with time T, batch B, directions D, inputs I and hidden units H: X (T, B, I), W (D, I, 4H), R (D, H, 4H),
B (D, 8H), P (D, 3H), initial states (D, B, H); scales and zero points (D,) or (D, 4H); Y (T, D, B, H), Y_h and Y_c
(D, B, H).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ModelError
from ..graph import Node
from ..records import record
from .arguments import integer, mismatch, real, text
from .quant import dynamic_parameters, quantized
from .registry import Function, operator

Activation = Callable[[np.ndarray], np.ndarray]
Array = np.ndarray


def _sigmoid(x: Array) -> Array:
    return np.float32(0.5) * np.tanh(np.float32(0.5) * x) + np.float32(0.5)


def _elu(x: Array, a: float) -> Array:
    return np.where(x < 0, np.float32(a) * np.expm1(np.minimum(x, 0)), x)


ACTIVATIONS: dict[str, tuple[Callable[..., Array], tuple[float, ...], str]] = {
    "relu": (lambda x: np.maximum(x, 0), (), ""),
    "tanh": (np.tanh, (), ""),
    "sigmoid": (_sigmoid, (), ""),
    "softsign": (lambda x: x / (1 + np.abs(x)), (), ""),
    "softplus": (lambda x: np.logaddexp(x, np.float32(0)), (), ""),
    "affine": (lambda x, a, b: a * x + b, (1.0, 0.0), "ab"),
    "leakyrelu": (lambda x, a: np.where(x < 0, np.float32(a) * x, x), (0.01,), "a"),
    "thresholdedrelu": (lambda x, a: np.where(x > a, x, np.float32(0)), (1.0,), "a"),
    "scaledtanh": (lambda x, a, b: a * np.tanh(b * x), (1.0, 1.0), "ab"),
    "hardsigmoid": (lambda x, a, b: np.clip(a * x + b, 0, 1), (0.2, 0.5), "ab"),
    "elu": (_elu, (1.0,), "a"),
}
"""Function, defaults of its parameters, and which of activation_alpha (a) and activation_beta (b) it takes."""


def activations(node: Node, directions: int) -> list[tuple[Activation, ...]]:
    """The functions f, g, h of each direction; parameters are consumed in the order of the functions that take them."""
    names = node.attrs.get("activations") or ["Sigmoid", "Tanh", "Tanh"] * directions
    if len(names) != 3 * directions:
        raise ModelError(f"{node.label()}: attribute 'activations': expected {3 * directions} names, got {len(names)}")
    given = {"a": iter(node.attrs.get("activation_alpha") or ()), "b": iter(node.attrs.get("activation_beta") or ())}
    found = []
    for name in names:
        key = (name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)).lower()
        if key not in ACTIVATIONS:
            raise ModelError(f"{node.label()}: attribute 'activations': expected names of ONNX, got {name!r}")
        function, defaults, takes = ACTIVATIONS[key]
        values = [np.float32(next(given[which], default)) for which, default in zip(takes, defaults, strict=True)]
        found.append(_bound(function, values))
    return [tuple(found[3 * d : 3 * d + 3]) for d in range(directions)]


def _bound(function: Callable[..., Array], values: list[np.float32]) -> Activation:
    return (lambda x: function(x, *values)) if values else function


@record
class Weights:
    """A quantised matrix (K, N) of one direction, centred, with its scale, one value or (N,)."""

    centred: Array
    scale: Array

    @classmethod
    def of(cls, q: Array, scale: Array, zero_point: Array | None) -> Weights:
        """Of a quantised matrix, its scale and its zero point (None for zero)."""
        w = q.astype(np.float32)
        return cls(w if zero_point is None else w - zero_point.astype(np.float32), scale)

    def times(self, x: Array) -> Array:
        """``q(x) @ W`` for `x` (rows, K), quantised as one block: (rows, N)."""
        scale, zero_point = dynamic_parameters(x)
        q = quantized(x, scale, zero_point, zero_point.dtype).astype(np.float32) - np.float32(zero_point)
        return (q @ self.centred) * (scale * self.scale)


@record
class Cell:
    """One direction: the recurrence over a sequence already in the order in which it is read."""

    recurrent: Weights
    peepholes: Array
    functions: tuple[Activation, ...]
    clip: float | None
    couple: bool

    def _bounded(self, z: Array) -> Array:
        return z if self.clip is None else np.clip(z, -self.clip, self.clip)

    def step(self, z: Array, h: Array, c: Array) -> tuple[Array, Array]:
        """The states after one step, from the input's share `z` (B, 4H) and the states (B, H) before it."""
        f, g, out = self.functions
        z = z + self.recurrent.times(h)
        zi, zo, zf, zc = np.split(z, 4, axis=1)
        pi, po, pf = np.split(self.peepholes, 3)
        i = f(self._bounded(zi + pi * c))
        forget = 1 - i if self.couple else f(self._bounded(zf + pf * c))
        c = forget * c + i * g(self._bounded(zc))
        o = f(self._bounded(zo + po * c))
        return o * out(self._bounded(c)), c

    def run(self, z: Array, lengths: Array, h: Array, c: Array) -> tuple[Array, Array, Array]:
        """All outputs (T, B, H), zero past each row's length, and the last states."""
        y = np.zeros((z.shape[0], *h.shape), np.float32)
        for t, share in enumerate(z):
            live = (t < lengths)[:, None]
            if live.all():
                h, c = self.step(share, h, c)
                y[t] = h
                continue
            # What has ended counts as zero where H is quantised.
            new_h, new_c = self.step(share, np.where(live, h, 0), c)
            h, c = np.where(live, new_h, h), np.where(live, new_c, c)
            y[t] = np.where(live, h, 0)
        return y, h, c


def _reversed(x: Array, lengths: Array) -> Array:
    """Each row b of `x` (T, B, ...) with its first ``lengths[b]`` steps in reverse and the rest where it was."""
    t = np.arange(x.shape[0])[:, None]
    source = np.where(t < lengths, lengths - 1 - t, t)
    return x[source, np.arange(x.shape[1])]


class DynamicLSTM:
    """The attributes of a node, and its weights as float once they have been seen to be constants."""

    def __init__(self, node: Node) -> None:
        self.node = node
        direction = text(node, "direction", "forward", ("forward", "reverse", "bidirectional"))
        self.backward = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[direction]
        self.functions = activations(node, len(self.backward))
        self.clip = real(node, "clip") if "clip" in node.attrs else None
        self.couple = bool(integer(node, "input_forget", 0))
        self.hidden = integer(node, "hidden_size", 0, least=0)
        self._known: tuple[tuple[Array | None, ...], list[tuple[Weights, Weights]]] = ((), [])

    def weights(self, *arrays: Array | None) -> list[tuple[Weights, Weights]]:
        """W and R of each direction from (W, W_scale, W_zero_point, R, R_scale, R_zero_point)."""
        seen, found = self._known
        if len(seen) == len(arrays) and all(a is b for a, b in zip(seen, arrays, strict=True)):
            return found
        found = []
        for d in range(len(self.backward)):
            parts: list[Any] = [None if a is None else a[d] for a in arrays]
            w, w_scale, w_zero, r, r_scale, r_zero = parts
            found.append((Weights.of(w, w_scale, w_zero), Weights.of(r, r_scale, r_zero)))
        if not any(a is not None and a.flags.writeable for a in arrays):
            self._known = (arrays, found)
        return found

    def check(self, x: Array, r: Array, lengths: Array | None, **others: Array | None) -> None:
        """InputError for the first input whose shape does not agree with those of X and R."""
        node, n_dir = self.node, len(self.backward)
        if x.ndim != 3 or r.ndim != 3 or others["W_scale"] is None or others["R_scale"] is None:
            raise mismatch(node, "inputs", "X and R of 3 axes, W_scale and R_scale", f"X {x.shape}, R {r.shape}")
        (n_steps, n_rows, n_in), n_hidden = x.shape, r.shape[1]
        if self.hidden and self.hidden != n_hidden:
            raise mismatch(node, "hidden_size", f"R's {n_hidden}", self.hidden)
        state: set[tuple[int, ...]] = {(n_dir, n_rows, n_hidden)}
        step: set[tuple[int, ...]] = {(n_dir,), (n_dir, 4 * n_hidden)}
        allowed: dict[str, set[tuple[int, ...]]] = {
            "W": {(n_dir, n_in, 4 * n_hidden)}, "R": {(n_dir, n_hidden, 4 * n_hidden)}, "B": {(n_dir, 8 * n_hidden)},
            "sequence_lens": {(n_rows,)}, "initial_h": state, "initial_c": state, "P": {(n_dir, 3 * n_hidden)},
            "W_scale": step, "W_zero_point": step, "R_scale": step, "R_zero_point": step,
        }  # fmt: skip
        for name, value in {"R": r, "sequence_lens": lengths, **others}.items():
            if value is not None and value.shape not in allowed[name]:
                raise mismatch(node, name, " or ".join(f"shape {s}" for s in sorted(allowed[name])), value.shape)
        if lengths is not None and lengths.size and not (0 <= lengths.min() <= lengths.max() <= n_steps):
            raise mismatch(node, "sequence_lens", f"values from 0 to {n_steps}", lengths.tolist())

    def run(
        self, x: Array, w: Array, r: Array, b: Array | None = None, lengths: Array | None = None,
        h0: Array | None = None, c0: Array | None = None, p: Array | None = None, w_scale: Array | None = None,
        w_zero: Array | None = None, r_scale: Array | None = None, r_zero: Array | None = None,
    ) -> tuple[Array, ...]:  # fmt: skip
        """Y, Y_h and Y_c, as many as the node has outputs."""
        self.check(
            x, r, lengths, W=w, B=b, initial_h=h0, initial_c=c0, P=p,
            W_scale=w_scale, W_zero_point=w_zero, R_scale=r_scale, R_zero_point=r_zero,
        )  # fmt: skip
        n_dir, (n_steps, n_rows, n_in), n_hidden = len(self.backward), x.shape, r.shape[1]
        lengths = np.full(n_rows, n_steps) if lengths is None else lengths.astype(np.int64)
        longest = int(lengths.max(initial=0))
        y = np.zeros((n_steps, n_dir, n_rows, n_hidden), np.float32)
        y_h, y_c = (np.zeros((n_dir, n_rows, n_hidden), np.float32) if s is None else s.copy() for s in (h0, c0))
        for d, (taken, kept) in enumerate(self.weights(w, w_scale, w_zero, r, r_scale, r_zero)):
            z = taken.times(x[:longest].reshape(longest * n_rows, n_in)).reshape(longest, n_rows, 4 * n_hidden)
            if b is not None:
                z += b[d, : 4 * n_hidden] + b[d, 4 * n_hidden :]
            peepholes = np.zeros(3 * n_hidden, np.float32) if p is None else p[d]
            cell = Cell(kept, peepholes, self.functions[d], self.clip, self.couple)
            back = self.backward[d]
            out, y_h[d], y_c[d] = cell.run(_reversed(z, lengths) if back else z, lengths, y_h[d], y_c[d])
            y[:longest, d] = _reversed(out, lengths) if back else out
        if n_steps:
            y_h[:, lengths == 0] = y_c[:, lengths == 0] = 0
        return (y, y_h, y_c)[: len(self.node.outputs)]


@operator("DynamicQuantizeLSTM", domain="com.microsoft", multiple=True)
def build_dynamic_quantize_lstm(node: Node) -> Function:
    """Y, Y_h and Y_c."""
    return DynamicLSTM(node).run
