"""The oracle itself: by hand, with ONNX's own node tests, and against onnxruntime where that follows the specification.

Where onnxruntime differs, and is not asked: clip before LSTM's h(C); layout 1; float64; defaults of alpha and beta;
Relu, ThresholdedRelu and HardSigmoid of NaN; Softsign of ±inf; Softplus above 88; RNN's activation names in lower case.
"""

from __future__ import annotations

import importlib
import math

import numpy as np
import oracle
import pytest
import strategies
from hypothesis import given
from onnx import helper

# ------------------------------------------------------------------------------------------------------------- by hand


def s(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def column(*values: float) -> np.ndarray:
    """`values` as the gates of one unit with one input: [D=1, G, 1]."""
    return np.array(values, float).reshape(1, -1, 1)


def test_lstm_step_by_hand():
    W, R = column(0.1, 0.2, 0.3, 0.4), column(0.5, -0.6, 0.7, -0.8)
    B = np.array([[0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08]])
    P = np.array([[0.9, 1.1, 1.3]])
    x, h, c = 2.0, 0.25, -0.5
    i = s(0.1 * x + 0.5 * h + 0.9 * c + 0.06)
    f = s(0.3 * x + 0.7 * h + 1.3 * c + 0.10)
    cell = f * c + i * math.tanh(0.4 * x - 0.8 * h + 0.12)
    o = s(0.2 * x - 0.6 * h + 1.1 * cell + 0.08)
    one = np.ones((1, 1, 1))
    Y, Y_h, Y_c = oracle.lstm(x * one, W, R, B, None, h * one, c * one, P)
    assert Y.shape == (1, 1, 1, 1)
    assert Y_h.shape == Y_c.shape == (1, 1, 1)
    assert Y.item() == Y_h.item() == pytest.approx(o * math.tanh(cell), abs=1e-15)
    assert Y_c.item() == pytest.approx(cell, abs=1e-15)


def test_input_forget_by_hand():
    W = column(0.3, 0.2, 99.0, 0.4)
    i, one = s(0.3), np.ones((1, 1, 1))
    _, _, Y_c = oracle.lstm(one, W, 0 * W, initial_c=2 * one, input_forget=1)
    assert Y_c.item() == pytest.approx((1 - i) * 2 + i * math.tanh(0.4), abs=1e-15)


@pytest.mark.parametrize("linear", [0, 1])
def test_gru_step_by_hand(linear):
    W, R = column(0.1, 0.2, 0.3), column(0.4, -0.5, 0.6)
    B = np.array([[0.01, 0.02, 0.03, 0.04, 0.05, 0.06]])
    x, h = -1.5, 0.75
    z, r = s(0.1 * x + 0.4 * h + 0.05), s(0.2 * x - 0.5 * h + 0.07)
    inner = r * (0.6 * h + 0.06) if linear else r * h * 0.6 + 0.06
    new = math.tanh(0.3 * x + inner + 0.03)
    one = np.ones((1, 1, 1))
    Y, Y_h = oracle.gru(x * one, W, R, B, None, h * one, linear_before_reset=linear)
    assert Y.item() == Y_h.item() == pytest.approx((1 - z) * new + z * h, abs=1e-15)


def test_rnn_two_steps_by_hand_and_backwards():
    W, R, B = column(0.5), column(-0.25), np.array([[0.1, 0.2]])
    X = np.array([1.0, -2.0]).reshape(2, 1, 1)
    first = math.tanh(0.5 + 0.3)
    Y, Y_h = oracle.rnn(X, W, R, B)
    np.testing.assert_allclose(Y.ravel(), [first, math.tanh(-1 - 0.25 * first + 0.3)], atol=1e-15)
    assert Y_h.item() == Y[1].item()
    first = math.tanh(-1 + 0.3)
    Y, Y_h = oracle.rnn(X, W, R, B, direction="reverse")
    np.testing.assert_allclose(Y.ravel(), [math.tanh(0.5 - 0.25 * first + 0.3), first], atol=1e-15)
    assert Y_h.item() == Y[0].item()


@pytest.mark.parametrize(
    ("name", "at", "want"),
    [
        ("Relu", (-2, 3), (0, 3)),
        ("Affine", (-2, 3), (-2, 3)),
        ("LeakyRelu", (-2, 3), (-0.02, 3)),
        ("ThresholdedRelu", (0.5, 1, 3), (0, 1, 3)),
        ("ScaledTanh", (-2, 3), (math.tanh(-2), math.tanh(3))),
        ("HardSigmoid", (-2, -3, 1, 3), (0.1, 0, 0.7, 1)),
        ("Elu", (-2, 3), (math.expm1(-2), 3)),
        ("Softsign", (-3, 1, math.inf, -math.inf), (-0.75, 0.5, 1, -1)),
        ("Softplus", (-2, 0, 1000, -1000), (math.log1p(math.exp(-2)), math.log(2), 1000, 0)),
        ("Sigmoid", (-1000, 0, 1000, -math.inf, math.inf), (0, 0.5, 1, 0, 1)),
    ],
)
def test_activations_by_hand(name, at, want):
    (function,) = oracle.resolve([name.swapcase()], [], [], None)
    with np.errstate(over="raise", divide="raise"):
        np.testing.assert_allclose(function(np.array(at, float)), want, rtol=1e-7, atol=1e-300)
        assert np.isnan(function(np.array([math.nan]))).all()


def test_alpha_and_beta_go_to_the_functions_that_take_them():
    names = ["Tanh", "LeakyRelu", "HardSigmoid", "Elu", "Affine"]
    _, leaky, hard, elu, affine = oracle.resolve(names, [0.5, 0.1], [0.25], None)
    x = np.array([-1.0])
    assert leaky(x) == -0.5
    assert hard(x) == pytest.approx(0.15)
    assert elu(x) == pytest.approx(math.expm1(-1))
    assert affine(x) == -1


def test_clip_bounds_what_every_activation_sees_and_not_the_cell():
    W, one = column(5, 5, 5, 5), np.ones((1, 1, 1))
    Y, _, Y_c = oracle.lstm(one, W, 0 * W, initial_c=10 * one, clip=0.5)
    cell = s(0.5) * 10 + s(0.5) * math.tanh(0.5)
    assert Y_c.item() == pytest.approx(cell)
    assert Y.item() == pytest.approx(s(0.5) * math.tanh(0.5))


def test_lengths():
    rng = np.random.default_rng(1)
    every = strategies.arrays("LSTM", rng, 5, 3, 4, 6, 2, 1.0)
    lens = every["sequence_lens"] = np.array([5, 0, 2], np.int32)
    outs = oracle.run_node("LSTM", list(every.values()), {"direction": "bidirectional"})
    assert not np.any(outs[0][:, :, 1])
    assert not np.any(outs[1][:, 1])
    assert not np.any(outs[2][:, 1])
    assert not np.any(outs[0][2:, :, 2])
    assert np.all(outs[0][:2, :, 2])
    for b in (0, 2):
        alone = dict(every, X=every["X"][: lens[b], b : b + 1], sequence_lens=None)
        alone |= {k: every[k][:, b : b + 1] for k in ("initial_h", "initial_c")}
        Y, Y_h, Y_c = oracle.run_node("LSTM", list(alone.values()), {"direction": "bidirectional"})
        np.testing.assert_allclose(outs[0][: lens[b], :, b : b + 1], Y, atol=1e-15)
        np.testing.assert_allclose(outs[1][:, b : b + 1], Y_h, atol=1e-15)
        np.testing.assert_allclose(outs[2][:, b : b + 1], Y_c, atol=1e-15)


@pytest.mark.parametrize("op", strategies.INPUTS)
def test_no_steps_keep_the_state(op):
    every = strategies.arrays(op, np.random.default_rng(2), 0, 3, 4, 5, 1, 1.0)
    every["sequence_lens"] = None
    Y, *last = oracle.run_node(op, list(every.values()), {})
    assert Y.shape == (0, 1, 3, 5)
    for name, state in zip(("initial_h", "initial_c"), last, strict=False):
        np.testing.assert_array_equal(state, every[name])


# ----------------------------------------------------------------------------------------------- ONNX's own node tests


def node_tests() -> list:
    """The 18 node tests of LSTM, GRU and RNN, as their generators make them."""
    for module in ("lstm", "gru", "rnn"):
        importlib.import_module(f"onnx.backend.test.case.node.{module}")
    found = importlib.import_module("onnx.backend.test.case.node")._NodeTestCases
    return [c for c in found if [n.op_type for n in c.model.graph.node] in (["LSTM"], ["GRU"], ["RNN"])]


def test_there_are_18_node_tests():
    assert len(node_tests()) == 18


@pytest.mark.parametrize("case", node_tests(), ids=lambda c: c.name)
def test_onnx_node_test(case):
    (node,) = case.model.graph.node
    attrs = {a.name: attribute(a) for a in node.attribute}
    for inputs, outputs in case.data_sets:
        given_ = dict(zip((n for n in node.input if n), inputs, strict=True))
        every = oracle.run_node(node.op_type, [given_.get(n) for n in node.input], attrs)
        got = [y for y, n in zip(every, node.output, strict=False) if n]
        assert len(got) == len(outputs)
        for y, want in zip(got, outputs, strict=True):
            assert y.shape == want.shape
            np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)


def attribute(a):
    value = helper.get_attribute_value(a)
    if isinstance(value, bytes):
        return value.decode()
    return [v.decode() if isinstance(v, bytes) else v for v in value] if isinstance(value, list) else value


# --------------------------------------------------------------------------------------------------------- onnxruntime


@pytest.fixture(scope="module")
def session():
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return lambda model: ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


SAFE = {"dtypes": ("float32",), "opsets": (7, 14), "times": (1, 2, 5, 17), "batches": (1, 3, 8), "layouts": (0,)}


@given(strategies.cases(**SAFE, like_ort=True))
def test_like_onnxruntime(session, case):
    names = case.outputs()
    got = session(case.model()).run(names, case.feeds())
    case.check(dict(zip(names, got, strict=True)), tolerance=1e-5)


def test_lstm_clip_of_the_gates_like_onnxruntime(session):
    """Cell values stay below the clip here, so that onnxruntime's unclipped h(C) is the same."""
    rng = np.random.default_rng(3)
    every = strategies.arrays("LSTM", rng, 2, 4, 9, 17, 1, 8.0)
    every["initial_c"] /= 10
    inputs = strategies.finished(every, {"sequence_lens"}, 0, np.dtype("float32"))
    case = strategies.Case("LSTM", inputs, {"hidden_size": 17, "clip": 2.5}, (True, True, True), opset=14)
    got = session(case.model()).run(None, case.feeds())
    case.check(dict(zip(case.outputs(), got, strict=True)), tolerance=1e-5)
    case.attrs = {"hidden_size": 17}
    del case.answer
    with pytest.raises(AssertionError):
        case.check(dict(zip(case.outputs(), got, strict=True)), tolerance=1e-2)
