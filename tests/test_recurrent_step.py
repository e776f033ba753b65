"""Recurrent nodes as steps of a plan: weights packed at load or at every call, precisions, arrangements, errors."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import oracle
import pytest
from strategies import make
from text_models import lstm, parsed

import rnnrt
from rnnrt.errors import InputError, ModelError

F = np.float32


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("directions", [1, 2])
def test_weights_that_are_inputs_give_the_bits_of_packed_ones(op, directions):
    constant = make(op, D=directions)
    fed = make(op, D=directions)
    fed.constants = ()
    want = rnnrt.load(constant.model()).run(constant.feeds())
    model = rnnrt.load(fed.model())
    got = model.run(fed.feeds())
    assert model._plan.count() == {"native": 1}
    for name, array in want.items():
        assert got[name].tobytes() == array.tobytes(), name
    doubled = fed.feeds() | {"W": fed.inputs["W"] * 2}
    assert not np.array_equal(model.run(doubled)["Y"], got["Y"]), "packed anew for every call"
    constant.check(got)


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_every_combination_of_outputs(op):
    count = 3 if op == "LSTM" else 2
    whole = rnnrt.load(make(op).model()).run(make(op).feeds())
    for wanted in itertools.product([True, False], repeat=count):
        if any(wanted):
            case = make(op, wanted=wanted)
            got = rnnrt.load(case.model()).run(case.feeds())
            assert list(got) == case.outputs()
            assert all(array.tobytes() == whole[name].tobytes() for name, array in got.items())


@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("layout", [0, 1])
def test_other_precisions_in_both_layouts(dtype, layout):
    case = make("GRU", dtype=dtype, layout=layout, linear_before_reset=1, D=2)
    case.check(rnnrt.load(case.model()).run(case.feeds()))


def test_half_precision_with_weights_that_are_inputs():
    case = make("LSTM", dtype="float16")
    case.constants = ("W",)
    case.check(rnnrt.load(case.model()).run(case.feeds()))


VIEWS = {
    "batch first": ("float[N, T, 3] x", "t = Transpose <perm: ints = [1, 0, 2]> (x)", lambda x: x.transpose(1, 0, 2)),
    "a slice": ("float[T, N, 9] x", "t = Slice(x, three, six, last)", lambda x: x[..., 3:6]),
    "backwards": ("float[T, N, 3] x", "t = Slice(x, minus, lowest, zero, minus)", lambda x: x[::-1]),
    "backwards inside": ("float[T, N, 3] x", "t = Slice(x, minus, lowest, last, minus)", lambda x: x[..., ::-1]),
    "every other": ("float[T, N, 3] x", "t = Slice(x, zero, many, zero, two)", lambda x: x[::2]),
    "one of four": ("float[T, N, 4, 3] x", "t = Gather <axis: int = 2> (x, one)", lambda x: x[:, :, 1]),
    "one row": ("float[T, 3] x", "t = Unsqueeze(x, first)", lambda x: x[:, None]),
    "reshaped": ("float[T, N, 3, 1] x", "t = Reshape(x, shape)", lambda x: x[..., 0]),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_of_the_input(name):
    declared, line, view = VIEWS[name]
    numbers = {"zero": [0], "first": [1], "two": [2], "last": [2], "three": [3], "six": [6], "minus": [-1],
               "many": [1 << 40], "lowest": [-(1 << 40)], "shape": [0, 0, 3]}  # fmt: skip
    constants = {key: np.array(value) for key, value in numbers.items()} | {"one": np.array(1)}
    layer = "y, h = LSTM <hidden_size: int = 5> (t, W, R, B)"
    text = f"({declared}) => (float[A, B, C, D] y, float[P, Q, R] h) {{ {line}  {layer} }}"
    model = rnnrt.load(parsed(text, **{k: v for k, v in constants.items() if k in line}, **lstm()))
    shape = [
        int(d) if d.strip().isdigit() else {"T": 6, "N": 4}[d.strip()]
        for d in declared[6 : declared.index("]")].split(",")
    ]
    x = np.random.default_rng(0).standard_normal(shape).astype(F)
    y, h, _ = oracle.run_node("LSTM", [view(x), *lstm().values()], {"hidden_size": 5})
    got = model.run({"x": x})
    np.testing.assert_allclose(got["y"], y, atol=2e-6)
    np.testing.assert_allclose(got["h"], h, atol=2e-6)


def test_a_state_fed_in_pieces_of_a_stack():
    text = """(float[T, N, 3] x, float[2, 1, N, 5] state) => (float[T, 1, N, 5] y, float[2, 1, N, 5] next) {
        h = Gather <axis: int = 0> (state, zero)
        c = Gather <axis: int = 0> (state, one)
        y, h2, c2 = LSTM <hidden_size: int = 5> (x, W, R, B, , h, c)
        h3 = Unsqueeze(h2, first)
        c3 = Unsqueeze(c2, first)
        next = Concat <axis: int = 0> (h3, c3)
    }"""
    model = rnnrt.load(parsed(text, zero=np.array(0), one=np.array(1), first=np.array([0]), **lstm()))
    rng = np.random.default_rng(0)
    x, state = rng.standard_normal((4, 2, 3)).astype(F), rng.standard_normal((2, 1, 2, 5)).astype(F)
    y, h, c = oracle.run_node("LSTM", [x, *lstm().values(), None, state[0], state[1]], {"hidden_size": 5})
    got = model.run({"x": x, "state": state})
    np.testing.assert_allclose(got["y"], y, atol=2e-6)
    np.testing.assert_allclose(got["next"], np.stack([h, c]), atol=2e-6)
    assert model.states == {"state": "next"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sequence_lens": np.array([6, 1, 2], np.int32)}, ("sequence_lens", "0..5", "6")),
        ({"sequence_lens": np.array([-1, 1, 2], np.int32)}, ("sequence_lens", "0..5", "-1")),
        ({"sequence_lens": np.array([1, 2], np.int32)}, ("sequence_lens", "(3,)", "(2,)")),
        ({"initial_h": np.zeros((1, 2, 17), F)}, ("initial_h", "(1, 3, 17)", "(1, 2, 17)")),
        ({"initial_c": np.zeros((1, 3, 16), F)}, ("initial_c", "(1, 3, 17)", "(1, 3, 16)")),
        ({"X": np.zeros((5, 3, 8), F)}, ("X", "(5, 3, 9)", "(5, 3, 8)")),
    ],
)
def test_arrays_that_do_not_fit_are_an_input_error_naming_node_and_input(changed, words):
    case = make("LSTM")
    case.symbolic = True
    model = rnnrt.load(case.model())
    with pytest.raises(InputError) as caught:
        model.run(case.feeds() | changed)
    for word in ("'cell'", *words):
        assert word in str(caught.value)
    case.check(model.run(case.feeds()))


def test_weights_that_do_not_fit():
    case = make("GRU")
    case.inputs["R"] = np.zeros((1, 51, 16), F)
    with pytest.raises(ModelError, match="cell"):
        rnnrt.load(case.model())
    case = make("GRU")
    case.constants = ()
    proto = onnx.load_from_string(case.model())
    for value in proto.graph.input:
        value.type.tensor_type.ClearField("shape")
    model = rnnrt.load(proto)
    with pytest.raises(InputError, match=r"cell.*R: .*51"):
        model.run(case.feeds() | {"R": np.zeros((1, 50, 17), F)})
    with pytest.raises(InputError, match="cell"):
        model.run(case.feeds() | {"W": np.zeros((1, 50, 9), F)})
