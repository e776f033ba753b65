"""LSTM, GRU and RNN of the ONNX specification in float64, written from the equations: what answers are compared with.

Clarity before speed: one loop over time, one line an equation. Axes are T (time), B (batch), I (input), H (hidden),
D (directions). Where the specification is silent the choice is the project's:

- a row of length 0 has zero Y, Y_h and Y_c even where an initial state is given; T = 0 without lengths keeps the state;
- Affine and ScaledTanh, which are no operators any more, default to alpha = 1, beta = 0 and alpha = beta = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray
Function = Callable[[Array], Array]
Step = Callable[..., tuple[Array, ...]]

# --------------------------------------------------------------------------------------------------------- activations


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x), without overflow on either side."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def softplus(x: Array) -> Array:
    """log(1 + e^x), without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def softsign(x: Array) -> Array:
    """x / (1 + |x|), and its limits ±1 at ±inf."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(x)))


def elu(x: Array, alpha: float) -> Array:
    """x, and alpha (e^x - 1) where x is negative."""
    return np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0)))


def keep_nan(x: Array, y: Array) -> Array:
    """`y` with NaN where `x` is NaN: a comparison alone would send NaN down one of its branches."""
    return np.where(np.isnan(x), x, y)


ACTIVATIONS: dict[str, tuple[Callable[..., Array], float | None, float | None]] = {
    "relu": (lambda x: np.maximum(x, 0), None, None),
    "tanh": (np.tanh, None, None),
    "sigmoid": (sigmoid, None, None),
    "affine": (lambda x, alpha, beta: alpha * x + beta, 1.0, 0.0),
    "leakyrelu": (lambda x, alpha: np.where(x >= 0, x, alpha * x), float(np.float32(0.01)), None),
    "thresholdedrelu": (lambda x, alpha: keep_nan(x, np.where(x >= alpha, x, 0.0)), 1.0, None),
    "scaledtanh": (lambda x, alpha, beta: alpha * np.tanh(beta * x), 1.0, 1.0),
    "hardsigmoid": (lambda x, alpha, beta: np.minimum(np.maximum(alpha * x + beta, 0), 1), float(np.float32(0.2)), 0.5),
    "elu": (elu, 1.0, None),
    "softsign": (softsign, None, None),
    "softplus": (softplus, None, None),
}
"""Lower-case name: the function, and its alpha and beta by default, float32 as attributes are (None: takes none)."""


def resolve(names: Sequence[str], alphas: Sequence[float], betas: Sequence[float], clip: float | None) -> list:
    """The activations called `names`, which consume `alphas` and `betas` in order; `clip` bounds what they see."""
    alpha_left, beta_left = iter(alphas), iter(betas)

    def bind(name: str) -> Function:
        function, alpha, beta = ACTIVATIONS[name.lower()]
        scale = {}
        if alpha is not None:
            scale["alpha"] = next(alpha_left, alpha)
        if beta is not None:
            scale["beta"] = next(beta_left, beta)

        def activation(x: Array) -> Array:
            return function(x if clip is None else np.clip(x, -clip, clip), **scale)

        return activation

    return [bind(name) for name in names]


# --------------------------------------------------------------------------------------------------------------- cells


def lstm_step(W: Array, R: Array, b: Array, p: Array | None, fgh: Sequence[Function], input_forget: bool) -> Step:
    """One step of an LSTM; W [4H, I] and R [4H, H] in the order i, o, f, c, b [8H], p [3H] in the order i, o, f."""
    f, g, h = fgh
    Wi, Wo, Wf, Wc = np.split(W, 4)
    Ri, Ro, Rf, Rc = np.split(R, 4)
    bi, bo, bf, bc = np.split(b[: len(b) // 2] + b[len(b) // 2 :], 4)
    Pi, Po, Pf = (None, None, None) if p is None else np.split(p, 3)

    def peep(P: Array | None, C: Array) -> Array | int:
        return 0 if P is None else P * C

    def step(x: Array, H: Array, C: Array) -> tuple[Array, ...]:
        it = f(x @ Wi.T + H @ Ri.T + peep(Pi, C) + bi)
        ft = 1 - it if input_forget else f(x @ Wf.T + H @ Rf.T + peep(Pf, C) + bf)
        ct = g(x @ Wc.T + H @ Rc.T + bc)
        Ct = ft * C + it * ct
        ot = f(x @ Wo.T + H @ Ro.T + peep(Po, Ct) + bo)
        return ot * h(Ct), Ct

    return step


def gru_step(W: Array, R: Array, b: Array, fg: Sequence[Function], linear_before_reset: bool) -> Step:
    """One step of a GRU; W [3H, I] and R [3H, H] in the order z, r, h, b [6H]."""
    f, g = fg
    Wz, Wr, Wh = np.split(W, 3)
    Rz, Rr, Rh = np.split(R, 3)
    Wbz, Wbr, Wbh, Rbz, Rbr, Rbh = np.split(b, 6)

    def step(x: Array, H: Array) -> tuple[Array, ...]:
        z = f(x @ Wz.T + H @ Rz.T + Wbz + Rbz)
        r = f(x @ Wr.T + H @ Rr.T + Wbr + Rbr)
        reset = r * (H @ Rh.T + Rbh) if linear_before_reset else (r * H) @ Rh.T + Rbh
        h = g(x @ Wh.T + reset + Wbh)
        return ((1 - z) * h + z * H,)

    return step


def rnn_step(W: Array, R: Array, b: Array, f: Sequence[Function]) -> Step:
    """One step of a plain RNN; W [H, I], R [H, H], b [2H]."""
    Wb, Rb = np.split(b, 2)
    return lambda x, H: (f[0](x @ W.T + H @ R.T + Wb + Rb),)


def over_time(
    step: Step, X: Array, lens: Array | None, state: tuple[Array, ...], reverse: bool
) -> tuple[Array, tuple[Array, ...]]:
    """Apply `step` along X [T, B, I]; returns Y [T, B, H] and the state after each row's last step.

    A row takes part in the steps t < length, in either direction: so one that runs backwards begins at length - 1.
    """
    T, B, _ = X.shape
    Y = np.zeros((T, B, state[0].shape[-1]))
    for t in range(T)[:: -1 if reverse else 1]:
        live = np.ones((B, 1), bool) if lens is None else (t < lens)[:, None]
        new = step(X[t], *state)
        state = tuple(np.where(live, n, s) for n, s in zip(new, state, strict=True))
        Y[t] = np.where(live, new[0], 0)
    if lens is not None:
        state = tuple(np.where((lens > 0)[:, None], s, 0) for s in state)
    return Y, state


# ----------------------------------------------------------------------------------------------------------- operators


def run(
    make_step: Callable[[int, Sequence[Function]], Step],
    default: Sequence[str],
    X: Array,
    R: Array,
    sequence_lens: Array | None,
    initial: Sequence[Array | None],
    *,
    direction: str = "forward",
    activations: Sequence[str] | None = None,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    clip: float | None = None,
    layout: int = 0,
    hidden_size: int | None = None,
    output_sequence: int = 1,
) -> tuple[Array, ...]:
    """What the three operators share: directions, activations, layout, lengths, initial states."""
    D, _, H = R.shape
    X = np.swapaxes(float64(X), 0, 1) if layout else float64(X)
    T, B, _ = X.shape
    lens = None if sequence_lens is None else np.asarray(sequence_lens)
    names = tuple(default) * D if activations is None else activations
    functions = resolve(names, activation_alpha or (), activation_beta or (), clip)
    assert direction in ("forward", "reverse", "bidirectional")
    assert (D == 2) == (direction == "bidirectional")
    assert hidden_size in (None, H)
    assert clip is None or clip > 0
    assert lens is None or (lens.shape == (B,) and np.all((lens >= 0) & (lens <= T)))
    assert len(functions) >= D * len(default)

    start = [np.zeros((D, B, H)) if s is None else np.swapaxes(s, 0, 1) if layout else s for s in initial]
    Y, last = np.zeros((T, D, B, H)), [np.zeros((D, B, H)) for _ in initial]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for d in range(D):
            step = make_step(d, functions[d * len(default) : (d + 1) * len(default)])
            backward = direction == "reverse" or d == 1
            Y[:, d], end = over_time(step, X, lens, tuple(float64(s[d]) for s in start), backward)
            for array, e in zip(last, end, strict=True):
                array[d] = e
    if layout:
        return (Y.transpose(2, 0, 1, 3), *(s.swapaxes(0, 1) for s in last))
    return (Y, *last)


def float64(a: Array) -> Array:
    """`a` as float64, whatever its dtype was."""
    return np.asarray(a, np.float64)


def absent(a: Array | None, *shape: int) -> Array:
    """`a` as float64, zeros of `shape` where it is None."""
    return np.zeros(shape) if a is None else float64(a)


def lstm(X, W, R, B=None, sequence_lens=None, initial_h=None, initial_c=None, P=None, *, input_forget=0, **attrs):
    """ONNX's LSTM: Y, Y_h, Y_c in float64; `attrs` as for `run`."""
    W, R = float64(W), float64(R)
    D, _, H = R.shape
    b, p = absent(B, D, 8 * H), None if P is None else float64(P)
    assert W.shape[:2] == R.shape[:2] == (D, 4 * H)
    assert b.shape == (D, 8 * H)
    assert p is None or p.shape == (D, 3 * H)

    def make_step(d: int, fgh: Sequence[Function]) -> Step:
        return lstm_step(W[d], R[d], b[d], None if p is None else p[d], fgh, bool(input_forget))

    return run(make_step, ("Sigmoid", "Tanh", "Tanh"), X, R, sequence_lens, (initial_h, initial_c), **attrs)


def gru(X, W, R, B=None, sequence_lens=None, initial_h=None, *, linear_before_reset=0, **attrs):
    """ONNX's GRU: Y, Y_h in float64; `attrs` as for `run`."""
    W, R = float64(W), float64(R)
    D, _, H = R.shape
    b = absent(B, D, 6 * H)
    assert W.shape[:2] == R.shape[:2] == (D, 3 * H)
    assert b.shape == (D, 6 * H)

    def make_step(d: int, fg: Sequence[Function]) -> Step:
        return gru_step(W[d], R[d], b[d], fg, bool(linear_before_reset))

    return run(make_step, ("Sigmoid", "Tanh"), X, R, sequence_lens, (initial_h,), **attrs)


def rnn(X, W, R, B=None, sequence_lens=None, initial_h=None, **attrs):
    """ONNX's RNN: Y, Y_h in float64; `attrs` as for `run`."""
    W, R = float64(W), float64(R)
    D, _, H = R.shape
    b = absent(B, D, 2 * H)
    assert W.shape[:2] == R.shape[:2] == (D, H)
    assert b.shape == (D, 2 * H)

    def make_step(d: int, f: Sequence[Function]) -> Step:
        return rnn_step(W[d], R[d], b[d], f)

    return run(make_step, ("Tanh",), X, R, sequence_lens, (initial_h,), **attrs)


def run_node(op: str, inputs: Sequence[Array | None], attrs: dict[str, Any]) -> tuple[Array, ...]:
    """The outputs of one node: `inputs` in the operator's order, None or missing where absent."""
    return {"LSTM": lstm, "GRU": gru, "RNN": rnn}[op](*inputs, **attrs)
