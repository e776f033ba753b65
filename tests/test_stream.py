"""Streams: the state is kept, found, saved and brought back; a step is all or nothing; streams share nothing."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import threading

import numpy as np
import pytest
from small_models import gru_feed, gru_model
from text_models import STREAMING, frames, lstm, parsed

import rnnrt
from rnnrt.errors import InputError, RnnrtError

F = np.float32


@pytest.fixture(scope="module")
def model() -> rnnrt.Model:
    return rnnrt.load(parsed(STREAMING, **lstm()))


def whole(model: rnnrt.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    zeros = np.zeros((1, x.shape[1], 5), F)
    return model.run({"x": x, "h_in": zeros, "c_in": zeros})


@pytest.mark.parametrize("cuts", [(7,), (0, 1, 1, 2, 3), (3, 4), (1,) * 7])
def test_chunks_give_the_bits_of_one_long_run(model, cuts):
    x = frames(7)
    want = whole(model, x)
    stream, start, pieces = model.stream(), 0, []
    for n in cuts:
        out = stream.step({"x": x[start : start + n]})
        assert list(out) == ["y"]
        pieces.append(out["y"])
        start += n
    assert np.concatenate(pieces).tobytes() == want["y"].tobytes()
    assert stream.state["h_in"].tobytes() == want["h_out"].tobytes()
    assert stream.state["c_in"].tobytes() == want["c_out"].tobytes()


def test_streams_do_not_disturb_each_other(model):
    a, b = model.stream(), model.stream()
    x, z = frames(4), frames(4, 3, seed=1)
    got = [(a.step({"x": x[k : k + 1]})["y"], b.step({"x": z[k : k + 1]})["y"]) for k in range(4)]
    assert np.concatenate([y for y, _ in got]).tobytes() == whole(model, x)["y"].tobytes()
    assert np.concatenate([y for _, y in got]).tobytes() == whole(model, z)["y"].tobytes()


def test_reset_goes_back_to_zeros(model):
    stream, x = model.stream(), frames(3)
    first = stream.step({"x": x})["y"]
    assert not np.array_equal(stream.step({"x": x})["y"], first)
    stream.reset()
    assert stream.state == {}
    assert np.array_equal(stream.step({"x": x})["y"], first)
    stream.reset()
    assert stream.step({"x": frames(2, 5)})["y"].shape[2] == 5, "another batch after a reset"


def test_state_is_a_copy_that_can_be_brought_back(model):
    stream, x = model.stream(), frames(6)
    stream.step({"x": x[:2]})
    saved = stream.state
    assert sorted(saved) == ["c_in", "h_in"]
    want = stream.step({"x": x[2:]})["y"]
    other = model.stream()
    for target in (stream, other):
        target.state = saved
        assert np.array_equal(target.step({"x": x[2:]})["y"], want)
    stream.state = saved
    for array in (*saved.values(), *stream.state.values()):
        array[:] = 99
    assert np.array_equal(stream.step({"x": x[2:]})["y"], want), "the stream shares its state with nobody"
    stream.state = {}
    assert stream.state == {}


def test_state_before_the_first_step_is_zeros_where_its_shape_is_known():
    fixed = STREAMING.replace(" N,", " 2,").replace("[T,", "[1,")
    stream = rnnrt.load(parsed(fixed, **lstm())).stream()
    assert {k: (v.shape, v.dtype, v.any()) for k, v in stream.state.items()} == {
        "h_in": ((1, 2, 5), np.dtype(F), False),
        "c_in": ((1, 2, 5), np.dtype(F), False),
    }


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (3, ("expected a dict", "int")),
        ([np.zeros((1, 2, 5), F)], ("expected a dict", "list")),
        ({"h_in": np.zeros((1, 2, 5), F)}, ("h_in, c_in", "got h_in")),
        ({"h_in": np.zeros((1, 2, 5), F), "c": np.zeros((1, 2, 5), F)}, ("h_in, c_in", "h_in, c")),
        ({"h_in": np.zeros((1, 2, 5)), "c_in": np.zeros((1, 2, 5), F)}, ("'h_in'", "float32", "float64")),
        ({"h_in": np.zeros((1, 2, 5), F), "c_in": [[0.0]]}, ("'c_in'", "float32", "list")),
        ({"h_in": np.zeros((1, 2, 4), F), "c_in": np.zeros((1, 2, 5), F)}, ("'h_in'", "5", "(1, 2, 4)")),
        ({"h_in": np.zeros((2, 5), F), "c_in": np.zeros((1, 2, 5), F)}, ("'h_in'", "(2, 5)")),
    ],
)
def test_a_wrong_state_is_refused_and_changes_nothing(model, bad, words):
    stream = model.stream()
    stream.step({"x": frames(1)})
    before = stream.state
    with pytest.raises(InputError) as caught:
        stream.state = bad
    for word in words:
        assert word in str(caught.value)
    assert all(np.array_equal(stream.state[k], v) for k, v in before.items())


# A step is all or nothing


def test_a_failed_step_changes_nothing(model):
    stream, x = model.stream(), frames(6)
    stream.step({"x": x[:3]})
    want = whole(model, x)["y"][3:]
    out = np.full((3, 1, 2, 5), 7, F)
    for feeds, target in (
        ({}, None),
        ({"x": x, "h_in": np.zeros((1, 2, 5), F)}, None),
        ({"z": x}, None),
        ({"x": x.astype(np.float64)}, None),
        ({"x": x[:, :1]}, None),
        ({"x": x[..., :2]}, None),
        (None, None),
        ({"x": x[3:]}, {"y": out, "nonsense": out}),
        ({"x": x[3:]}, {"y": out[:2]}),
        ({"x": x[3:]}, {"y": out.astype(np.float64)}),
        ({"x": x[3:]}, {"y": out.tolist()}),
        ({"x": x[3:]}, {"h_out": np.zeros((1, 2, 5), F)}),
        ({"x": x[3:]}, out),
    ):
        with pytest.raises(InputError):
            stream.step(feeds, target)
    assert (out == 7).all()
    out.setflags(write=False)
    with pytest.raises(InputError, match="can be written"):
        stream.step({"x": x[3:]}, {"y": out})
    assert np.array_equal(stream.step({"x": x[3:]})["y"], want)


def test_errors_say_which_inputs_a_step_takes():
    stream = rnnrt.load(gru_model()).stream()
    feeds = gru_feed()
    with pytest.raises(InputError, match=r"expected the inputs that are no state \(x, k\), got x, h, k"):
        stream.step(feeds)


def test_a_state_that_changes_its_shape_is_an_error_and_not_kept():
    text = "(float[K] x, float[M] h) => (float[L] y, float[L] z) { z = Concat <axis: int = 0> (h, x)  y = Neg(z) }"
    stream = rnnrt.load(parsed(text), states={"h": "z"}).stream()
    stream.state = {"h": np.zeros(2, F)}
    with pytest.raises(InputError, match=r"state 'h': went in with shape \(2,\) and came out with \(5,\)"):
        stream.step({"x": np.ones(3, F)})
    assert stream.state["h"].shape == (2,)


# out=


def test_out_is_written_and_returned(model):
    stream, x = model.stream(), frames(4)
    out = np.empty((2, 1, 2, 5), F)
    got = stream.step({"x": x[:2]}, out={"y": out})
    assert got["y"] is out
    spread = np.empty((5, 2, 1, 2), F).transpose(1, 2, 3, 0)
    stream.step({"x": x[2:]}, {"y": spread})
    want = whole(model, x)["y"]
    assert np.array_equal(out, want[:2])
    assert np.array_equal(spread, want[2:])


def test_out_is_written_where_a_branch_decides_how_a_step_goes_on():
    text = """(bool c, float[N] x, float[N] h) => (float[N] y, float[N] z) {
        z = Add(x, h)
        y = If (c) <
            then_branch = a () => (float[N] p) { p = Neg(z) },
            else_branch = b () => (float[N] q) { q = Mul(z, x) }
        >
    }"""
    model = rnnrt.load(parsed(text), states={"h": "z"})
    stream, out = model.stream(), {"y": np.empty(3, F)}
    x = np.array([1, 2, 3], F)
    for k, way in enumerate((True, True, False, False, True)):
        got = stream.step({"c": np.array(way), "x": x}, out)
        assert got["y"] is out["y"]
        total = (k + 1) * x
        assert out["y"].tolist() == (-total if way else total * x).tolist()
    for wrong in (np.empty(2, F), np.empty(3), [0.0] * 3):
        with pytest.raises(InputError, match="out: 'y'"):
            stream.step({"c": np.array(True), "x": x}, {"y": wrong})
    with pytest.raises(InputError, match="out: no output is called 'p'"):
        stream.step({"c": np.array(True), "x": x}, {"p": out["y"]})
    out["y"].flags.writeable = False
    with pytest.raises(InputError, match="can be written"):
        stream.step({"c": np.array(True), "x": x}, out)
    assert stream.state["h"].tolist() == (5 * x).tolist()


def test_outputs_are_fresh_and_no_part_of_the_state():
    text = """(float[N] x, float[N] h) => (float[N] y, float[N] z, float[N] same) {
        z = Add(x, h)  y = Identity(z)  same = Identity(h)
    }"""
    stream = rnnrt.load(parsed(text), states={"h": "z"}).stream()
    for total in (1, 2, 3):
        got = stream.step({"x": np.ones(2, F)})
        assert got["y"].tolist() == [total, total]
        assert got["same"].tolist() == [total - 1] * 2
        for array in got.values():
            array[:] = 99


# States that are given


def test_states_may_be_given_and_are_then_the_only_ones():
    model = parsed(STREAMING, **lstm())
    assert rnnrt.load(model).states == {"h_in": "h_out", "c_in": "c_out"}
    crossed = rnnrt.load(model, states={"h_in": "c_out", "c_in": "h_out"})
    x = frames(2)
    first = whole(crossed, x[:1])
    want = crossed.run({"x": x[1:], "h_in": first["c_out"], "c_in": first["h_out"]})
    stream = crossed.stream()
    stream.step({"x": x[:1]})
    assert np.array_equal(stream.step({"x": x[1:]})["y"], want["y"])
    half = rnnrt.load(model, states={"h_in": "h_out"}).stream()
    got = half.step({"x": x, "c_in": np.zeros((1, 2, 5), F)})
    assert sorted(got) == ["c_out", "y"]


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ({"h": "h_out"}, ("no input is called 'h'", "h_in")),
        ({"h_in": "h"}, ("no output is called 'h'", "h_out")),
        ({"x": "h_out", "h_in": "h_out"}, ("different output",)),
        ({"h_in": "y"}, ("'h_in'", "(1, N, 5)", "'y'", "(T, 1, N, 5)")),
        (["h_in"], ("expected a dict", "list")),
        ("h_in", ("expected a dict", "str")),
    ],
)
def test_wrong_states_are_refused(states, words):
    with pytest.raises(InputError) as caught:
        rnnrt.load(parsed(STREAMING, **lstm()), states=states)
    for word in words:
        assert word in str(caught.value)


def test_states_of_another_type_are_refused():
    text = "(float[N] x, int64[N] h) => (float[N] y) { y = Neg(x) }"
    with pytest.raises(InputError, match=r"int64.*float32"):
        rnnrt.load(parsed(text), states={"h": "y"})


@pytest.mark.parametrize("given", [None, {}])
def test_a_model_without_state_has_no_streams(given):
    model = rnnrt.load(parsed("(float[N] x) => (float[N] y) { y = Neg(x) }"), states=given)
    assert model.states == {}
    with pytest.raises(InputError, match="states="):
        model.stream()


# Threads, processes, copies


def with_steps(change):
    """A streaming model whose functions are `change` of what they were, none of them native."""
    model = rnnrt.load(parsed(STREAMING, **lstm()))
    model._plan.steps = tuple(step._replace(fn=change(step.fn), bind=None) for step in model._plan.steps)
    return model


def test_a_second_thread_is_told_that_the_stream_is_in_use():
    """A model that stands still inside a run, seen from another thread."""
    entered, go_on = threading.Event(), threading.Event()
    go_on.set()

    def slow(fn):
        def run(*arrays):
            entered.set()
            assert go_on.wait(20)
            return fn(*arrays)

        return run

    stream = with_steps(slow).stream()
    stream.step({"x": frames(1)})
    before = stream.state
    entered.clear()
    go_on.clear()
    got = []
    thread = threading.Thread(target=lambda: got.append(stream.step({"x": frames(1)})))
    thread.start()
    try:
        assert entered.wait(20)
        with pytest.raises(RnnrtError, match="another thread") as caught:
            stream.step({"x": frames(1)})
        assert type(caught.value) is RnnrtError
        with pytest.raises(RnnrtError, match="another thread"):
            stream.reset()
        with pytest.raises(RnnrtError, match="another thread"):
            stream.state = before
        assert np.array_equal(stream.state["h_in"], before["h_in"]), "the state may be read: it is that before the step"
    finally:
        go_on.set()
        thread.join(20)
    assert len(got) == 1
    assert not np.array_equal(stream.state["h_in"], before["h_in"])
    stream.step({"x": frames(1)})


def test_an_interrupted_step_leaves_the_stream_as_it_was():
    interrupts: list[bool] = []

    def interrupted(fn):
        def run(*arrays):
            if interrupts:
                raise KeyboardInterrupt
            return fn(*arrays)

        return run

    stream = with_steps(interrupted).stream()
    stream.step({"x": frames(1)})
    before = stream.state
    interrupts.append(True)
    with pytest.raises(KeyboardInterrupt):
        stream.step({"x": frames(1)})
    interrupts.clear()
    assert np.array_equal(stream.state["h_in"], before["h_in"])
    stream.step({"x": frames(1)})


@pytest.mark.parametrize("copied", [lambda s: pickle.loads(pickle.dumps(s)), copy.deepcopy, copy.copy])
def test_copies_go_on_from_the_same_state(model, copied):
    stream, x = model.stream(), frames(5)
    stream.step({"x": x[:2]})
    other = copied(stream)
    want = whole(model, x)["y"]
    assert np.array_equal(other.step({"x": x[2:4]})["y"], want[2:4])
    assert np.array_equal(stream.step({"x": x[2:]})["y"], want[2:]), "one does not move the other"
    assert np.array_equal(other.step({"x": x[4:]})["y"], want[4:])
    fresh = copied(model.stream())
    assert fresh.state == {}
    assert np.array_equal(fresh.step({"x": x})["y"], want)


def _child(stream, x, pipe):
    pipe.send(stream.step({"x": x})["y"])
    pipe.close()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_goes_on_with_the_stream(model):
    stream, x = model.stream(), frames(5)
    stream.step({"x": x[:2]})
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_child, args=(stream, x[2:], theirs))
    child.start()
    theirs.close()
    assert ours.poll(30)
    got = ours.recv()
    child.join(30)
    assert child.exitcode == 0
    assert np.array_equal(got, whole(model, x)["y"][2:])
    assert np.array_equal(stream.step({"x": x[2:]})["y"], got)
