"""LSTM, GRU and RNN nodes through the public interface, against the float64 oracle."""

from __future__ import annotations

import itertools

import numpy as np
import oracle
import pytest
import strategies
from hypothesis import given
from strategies import INPUTS, NAMES, OUTPUTS, Case, cases, close, make

import rnnrt

OPS = tuple(INPUTS)


def run(case: Case) -> dict[str, np.ndarray]:
    return rnnrt.load(case.model()).run(case.feeds())


# ------------------------------------------------------------------------------------------------- every form there is


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("op", OPS)
def test_like_the_oracle(op, dtype):
    @given(cases(ops=(op,), dtypes=(dtype,)))
    def check(case):
        case.check(run(case))

    check()


@pytest.mark.parametrize("op", OPS)
def test_every_combination_of_absent_inputs_and_outputs(op):
    optional = INPUTS[op][3:]
    choices = itertools.product((False, True), repeat=len(optional) + len(OUTPUTS[op]))
    for seed, choice in enumerate(choices):
        wanted = choice[len(optional) :]
        if any(wanted):
            absent = [name for name, there in zip(optional, choice, strict=False) if not there]
            case = make(op, T=3, B=2, I=3, H=5, absent=absent, wanted=wanted, seed=seed)
            case.check(run(case))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("form", [0, 1])
@pytest.mark.parametrize("op", OPS)
def test_every_direction_layout_and_form(op, form, layout, direction):
    key = {"LSTM": "input_forget", "GRU": "linear_before_reset", "RNN": None}[op]
    attrs = {key: form} if key else {}
    D = 2 if direction == "bidirectional" else 1
    for clip in ({}, {"clip": 0.5}):
        case = make(op, T=6, B=5, H=19, D=D, direction=direction, layout=layout, **attrs, **clip)
        case.check(run(case))


@pytest.mark.parametrize("op", OPS)
def test_zero_sizes(op):
    for T, B in ((0, 3), (4, 0), (0, 0)):
        case = make(op, T=T, B=B, D=2, absent=("sequence_lens",))
        got = run(case)
        case.check(got)
        if B:
            np.testing.assert_array_equal(got["Y_h"], case.inputs["initial_h"])


@pytest.mark.parametrize("op", OPS)
def test_no_lengths_are_all_full(op):
    case = make(op, T=7, B=5, D=2)
    case.inputs["sequence_lens"] = np.full(5, 7, np.int32)
    full = run(case)
    case.inputs["sequence_lens"] = None
    for name, value in run(case).items():
        np.testing.assert_array_equal(value, full[name])


@pytest.mark.parametrize("op", OPS)
def test_shapes_may_change_from_run_to_run(op):
    case = make(op, absent=("sequence_lens",))
    case.symbolic = True
    model = rnnrt.load(case.model())
    for T, B in ((5, 3), (1, 1), (9, 2), (5, 3), (0, 4), (2, 17), (1, 1)):
        new = make(op, T=T, B=B, absent=("sequence_lens",), seed=T * 100 + B)
        case.inputs |= {k: new.inputs[k] for k in new.inputs if k not in case.constants}
        case.__dict__.pop("answer", None)
        case.check(model.run(case.feeds()))


# --------------------------------------------------------------------------------------------------------- activations

GRID = np.concatenate([np.linspace(-6, 6, 97), [-1e4, -200, -100, -89, -80, -20, 20, 80, 89, 100, 200, 1e4]])
SPECIAL = np.array([np.inf, -np.inf, np.nan])


def activation(name: str, x: np.ndarray, dtype: str, **attrs) -> tuple[np.ndarray, np.ndarray]:
    """`name` of each value of `x`, through an RNN that does nothing else: what rnnrt answers, and the oracle."""
    inputs = dict.fromkeys(INPUTS["RNN"])
    inputs["X"] = x.astype(dtype).reshape(1, -1, 1)
    inputs["W"], inputs["R"] = np.ones((1, 1, 1), dtype), np.zeros((1, 1, 1), dtype)
    case = Case("RNN", inputs, {"activations": [name], **attrs}, (False, True))
    return run(case)["Y_h"].ravel(), case.answer["Y_h"].ravel()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_activation(name, dtype):
    tolerance = 1e-6 if dtype == "float32" else 1e-13
    for attrs in ({}, {"activation_alpha": [0.75]}, {"activation_beta": [-0.5]}, {"clip": 1.25}):
        got, want = activation(name, GRID, dtype, **attrs)
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance / 2, err_msg=f"{attrs}")


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", NAMES)
def test_activation_of_inf_and_nan(name, dtype):
    for attrs in ({}, {"clip": 2.0}):
        got, want = activation(name, SPECIAL, dtype, **attrs)
        np.testing.assert_allclose(got, want, rtol=1e-3, err_msg=f"{attrs}")


def test_thresholded_relu_keeps_the_threshold_itself():
    got, _ = activation("ThresholdedRelu", np.array([0.99, 1.0, 1.01]), "float32")
    np.testing.assert_array_equal(got, np.array([0, 1, 1.01], np.float32))


# ------------------------------------------------------------------------------------------------------------ extremes


@pytest.mark.parametrize("op", OPS)
def test_nan_stays_in_its_row(op):
    case = make(op, T=6, B=17, I=15, H=33, absent=("sequence_lens",))
    clean = run(case)
    case.inputs["X"][2, 5, 14] = np.nan
    got = run(case)
    others = np.arange(17) != 5
    for name in case.outputs():
        np.testing.assert_array_equal(got[name][..., others, :], clean[name][..., others, :])
    np.testing.assert_array_equal(got["Y"][:2, :, 5], clean["Y"][:2, :, 5])
    assert np.isnan(got["Y"][2:, :, 5]).all()
    assert np.isnan(got["Y_h"][:, 5]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", OPS)
def test_padding_is_never_looked_at(op, direction, value):
    case = make(op, T=9, B=8, H=16, D=2 if direction == "bidirectional" else 1, direction=direction)
    lens = case.inputs["sequence_lens"] = np.array([9, 0, 1, 3, 8, 9, 2, 5], np.int32)
    clean = run(case)
    for b, n in enumerate(lens):
        case.inputs["X"][n:, b] = value
    for name, got in run(case).items():
        np.testing.assert_array_equal(got, clean[name])


@pytest.mark.parametrize("op", OPS)
def test_infinite_input_saturates(op):
    case = make(op, T=4, B=9, I=7, H=18, absent=("sequence_lens",))
    case.inputs["X"][1, ::2, 3] = np.inf
    case.inputs["X"][2, 1::2, 6] = -np.inf
    got = run(case)
    assert all(np.isfinite(v).all() for v in got.values())
    case.check(got)


@pytest.mark.parametrize("size", [1e5, 1e20, 1e37])
@pytest.mark.parametrize("op", OPS)
def test_huge_input_saturates(op, size):
    case = make(op, T=4, B=5, I=16, H=17, absent=("sequence_lens",))
    case.inputs["X"] = np.sign(case.inputs["X"]) * np.float32(size)
    case.check(run(case), tolerance=1e-5)


@pytest.mark.parametrize("op", OPS)
def test_the_largest_numbers_give_no_nan(op):
    case = make(op, T=3, B=5, I=33, H=17, absent=("sequence_lens", "initial_h", "initial_c"))
    case.inputs["X"] = np.sign(case.inputs["X"]) * np.finfo("f4").max
    case.inputs["W"] = np.sign(case.inputs["W"]) * np.float32(0.999)
    for name, value in run(case).items():
        assert np.isfinite(value).all(), name


@pytest.mark.parametrize("op", OPS)
def test_denormals(op):
    case = make(op, T=3, B=3, I=8, H=17, absent=("sequence_lens",))
    for name in ("X", "initial_h", "initial_c", "B"):
        if case.inputs.get(name) is not None:
            case.inputs[name] = np.sign(case.inputs[name]) * np.float32(1e-40)
    got = run(case)
    case.check(got)
    assert np.float32(1e-40) * np.float32(1) != 0, "the caller's floating-point state has changed"


# ---------------------------------------------------------------------------------------------------- arrays handed in


def strided(a: np.ndarray) -> np.ndarray:
    """The same values with gaps along every axis."""
    wide = np.full(tuple(2 * n for n in a.shape), -7, a.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def backwards(a: np.ndarray) -> np.ndarray:
    """The same values with a negative stride along every axis."""
    flip = (slice(None, None, -1),) * a.ndim
    return a[flip].copy()[flip]


@pytest.mark.parametrize("form", [np.asfortranarray, strided, backwards], ids=["fortran", "strided", "backwards"])
@pytest.mark.parametrize("op", OPS)
def test_arrays_of_any_strides(op, form):
    case = make(op, T=4, B=5, D=2)
    case.constants = ()
    feeds = {k: form(v) for k, v in case.feeds().items()}
    for name, got in rnnrt.load(case.model()).run(feeds).items():
        np.testing.assert_array_equal(got, run(case)[name])
    case.check(run(case))


@pytest.mark.parametrize("op", OPS)
def test_inputs_are_left_as_they_were_and_outputs_are_fresh(op):
    case = make(op, T=4, B=5, D=2)
    case.constants = ()
    feeds = case.feeds()
    before = {k: v.copy() for k, v in feeds.items()}
    for v in feeds.values():
        v.flags.writeable = False
    model = rnnrt.load(case.model())
    first = model.run(feeds)
    kept = {k: v.copy() for k, v in first.items()}
    changed = feeds | {"X": feeds["X"] + 1}
    second = model.run(changed)
    for name in feeds:
        np.testing.assert_array_equal(feeds[name], before[name])
    for name in first:
        np.testing.assert_array_equal(first[name], kept[name])
        assert first[name].flags.writeable
        assert not any(np.shares_memory(first[name], other) for other in (*second.values(), *feeds.values()))


@pytest.mark.parametrize("op", OPS)
def test_no_steps_return_a_copy_of_the_state(op):
    case = make(op, T=0, B=2, absent=("sequence_lens",))
    feeds = case.feeds()
    got = rnnrt.load(case.model()).run(feeds)
    got["Y_h"][...] = 99
    assert not np.any(feeds["initial_h"] == 99)


@pytest.mark.parametrize("op", OPS)
def test_big_endian_is_right_or_refused(op):
    case = make(op, T=4, B=5)
    feeds = {k: v.astype(v.dtype.newbyteorder(">")) for k, v in case.feeds().items()}
    model = rnnrt.load(case.model())
    try:
        got = model.run(feeds)
    except rnnrt.InputError:
        return
    case.check(got)


@pytest.mark.parametrize("lens", [[5, 6, 1], [5, -1, 1], [2**31 - 1, 0, 0], [-(2**31), 0, 0]])
@pytest.mark.parametrize("op", OPS)
def test_lengths_out_of_range_are_refused(op, lens):
    case = make(op, T=5, B=3)
    case.inputs["sequence_lens"] = np.array(lens, np.int32)
    with pytest.raises(rnnrt.InputError, match="sequence_lens"):
        run(case)


@pytest.mark.parametrize("name", ["X", "sequence_lens", "initial_h", "initial_c"])
def test_inputs_that_do_not_fit_each_other_are_refused(name):
    case = make("LSTM", T=5, B=3)
    case.symbolic = True
    model = rnnrt.load(case.model())
    feeds = case.feeds()
    for wrong in (feeds[name][..., :-1], np.concatenate([feeds[name]] * 2, axis=-1), feeds[name][None]):
        with pytest.raises(rnnrt.InputError):
            model.run(feeds | {name: wrong})


@pytest.mark.parametrize("op", OPS)
def test_hidden_size_must_agree(op):
    case = make(op, H=17, hidden_size=16)
    case.attrs["hidden_size"] = 16
    with pytest.raises(rnnrt.ModelError, match="hidden_size"):
        run(case)


# ----------------------------------------------------------------------------------------------------------- sequences


def test_a_long_sequence_stays_near_the_oracle():
    for op in OPS:
        case = make(op, T=400, B=2, I=20, H=40, absent=("sequence_lens",), gain=0.9)
        case.check(run(case), tolerance=5e-6)


def test_the_oracle_can_tell():
    """The comparison is able to fail: one wrong gate order is far outside the tolerance."""
    case = make("LSTM")
    wrong = dict(case.inputs, W=np.roll(case.inputs["W"], 17, axis=1))
    close(run(case)["Y"], oracle.run_node("LSTM", list(case.inputs.values()), {})[0], strategies.TOLERANCE["float32"])
    with pytest.raises(AssertionError):
        close(run(case)["Y"], oracle.run_node("LSTM", list(wrong.values()), {})[0], 1e-3)
