"""Calls that repeat: nothing of a run outlives it, errors change nothing, and what a caller does to arrays is seen."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from text_models import STREAMING, feeds, frames, lstm, parsed

import rnnrt
import rnnrt.onnxruntime as ort
from rnnrt.errors import InputError

F = np.float32

LOOKUP = """(int64[N] i, float[N] x, float[N] h) => (float[N] y, float[N] z) {
    t = Constant <value_floats = [1.0, 2.0, 3.0]> ()
    g = Gather (t, i)  s = Add (g, x)  z = Add (s, h)  y = Neg (z)
}"""
"""A run that fails in the middle where i is not in 0..2."""

GOOD, BAD = np.array([0, 2]), np.array([0, 3])


def looked_up(h: float = 0.0) -> dict[str, np.ndarray]:
    return {"i": GOOD, "x": np.ones(2, F), "h": np.full(2, h, F)}


class Clash:
    """A key that a dict compares with "x", which fails."""

    def __hash__(self) -> int:
        return hash("x")

    def __eq__(self, other: object) -> bool:
        raise ValueError("compared")


# What is held


def refused(feed: dict[str, np.ndarray]) -> list[dict]:
    """Feeds that do not go the way of the last one, or fail on it."""
    missing = {name: array for name, array in feed.items() if name != "x"}
    return [
        feed | {"i": BAD},
        feed | {"h": np.ones(3, F)},
        feed | {"h": np.ones(2)},
        missing,
        missing | {"z": feed["x"]},
        missing | {Clash(): feed["x"]},
    ]


def test_no_array_outlives_its_run():
    session = rnnrt.InferenceSession(parsed(LOOKUP))
    model = session.model
    feed = looked_up()
    session.run(None, feed)
    arrays = [*feed.values(), BAD]
    before = [sys.getrefcount(array) for array in arrays]
    for call in (lambda x: session.run(None, x), lambda x: session.run(["z"], x), model.run):
        for _ in range(3):
            call(feed)
            for bad in refused(feed):
                with pytest.raises((InputError, ValueError)):
                    call(bad)
    del bad
    gc.collect()  # errors refer to their frames and these to them
    assert [sys.getrefcount(array) for array in arrays] == before
    fresh, made = [np.zeros(2, F), np.zeros(2, F)], session.run(None, feed)
    assert [sys.getrefcount(array) for array in made] == [sys.getrefcount(array) for array in fresh]


def test_no_array_outlives_its_step():
    stream = rnnrt.load(parsed(LOOKUP), states={"h": "z"}).stream()
    feed = {"i": GOOD, "x": np.ones(2, F)}
    out = {"y": np.zeros(2, F)}
    stream.step(feed)
    arrays = [*feed.values(), *out.values(), BAD]
    before = [sys.getrefcount(array) for array in arrays]
    for _ in range(3):
        stream.step(feed)
        stream.step(feed, out)
        for bad in refused(feed):
            for target in (None, out):
                with pytest.raises((InputError, ValueError)):
                    stream.step(bad, target)
        with pytest.raises(InputError):
            stream.step(feed, {"y": np.zeros(3, F)})
    del bad
    gc.collect()  # errors refer to their frames and these to them
    assert [sys.getrefcount(array) for array in arrays] == before


def test_repeated_calls_need_no_more_memory():
    session = rnnrt.InferenceSession(parsed(LOOKUP))
    stream = rnnrt.load(parsed(LOOKUP), states={"h": "z"}).stream()
    feed, frame, out = looked_up(), {"i": GOOD, "x": np.ones(2, F)}, {"y": np.zeros(2, F)}

    def some() -> None:
        for _ in range(200):
            session.run(None, feed)
            session.run(["z", "y"], feed)
            session.model.run(feed)
            stream.step(frame)
            stream.step(frame, out)
            for call in (lambda: session.run(None, feed | {"i": BAD}), lambda: stream.step(frame | {"i": BAD})):
                with pytest.raises(InputError):
                    call()

    some()
    gc.collect()
    tracemalloc.start()
    try:
        some()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        some()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 4096
    finally:
        tracemalloc.stop()


# Sessions


def test_a_session_gives_the_outputs_asked_for_again_and_again():
    session = rnnrt.InferenceSession(parsed(STREAMING, **lstm()))
    names = [value.name for value in session.get_outputs()]
    feed = feeds(2)
    want = dict(zip(names, session.run(None, feed), strict=True))
    for _ in range(2):
        for wanted in (
            ["h_out"],
            names[::-1],
            ("c_out", "y"),
            ["y", "y"],
            [],
            (),
            np.array(["y", "h_out"])[:2].tolist(),
        ):
            got = session.run(wanted, feed)
            assert len(got) == len(wanted or names)
            for name, array in zip(wanted or names, got, strict=True):
                assert array.tobytes() == want[name].tobytes()
        for wrong in (["no"], ["y", "no"], [3], [["y"]]):
            with pytest.raises(InputError, match="expected one of y"):
                session.run(wrong, feed)
        for kind in ("y", 3):
            with pytest.raises(TypeError):
                session.run(kind, feed)
    a, b = session.run(["y", "y"], feed)
    assert a is b


def test_what_fixes_a_dimension_holds_in_every_call():
    options = rnnrt.SessionOptions()
    options.add_free_dimension_override_by_name("T", 2)
    session = rnnrt.InferenceSession(parsed(STREAMING, **lstm()), options)
    session.run(None, feeds(2))
    session.model.run(feeds(3))
    for _ in range(2):
        with pytest.raises(InputError, match=r"\(2, "):
            session.run(None, feeds(3))


def test_lists_come_fresh_from_every_call():
    text = "(float[N] x) => (seq(float[N]) y, float[N] z) { z = Neg (x)  y = SequenceConstruct (x, z) }"
    session = rnnrt.InferenceSession(parsed(text))
    feed = {"x": np.arange(3, dtype=F)}
    for call in (
        lambda: session.run(None, feed)[0],
        lambda: session.run(["y"], feed)[0],
        lambda: session.model.run(feed)["y"],
    ):
        for _ in range(3):
            got = call()
            assert [array.tolist() for array in got] == [[0, 1, 2], [0, -1, -2]]
            got[0][:] = 7
            got.clear()
    assert feed["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("cls", [rnnrt.InferenceSession, ort.InferenceSession])
@pytest.mark.parametrize("copied", [lambda s: pickle.loads(pickle.dumps(s)), copy.deepcopy, copy.copy])
def test_a_copy_of_a_session_is_one(cls, copied):
    session = cls(parsed(STREAMING, **lstm()).SerializeToString())
    want = session.run(None, feeds(2))
    other = copied(session)
    assert type(other) is cls
    for _ in range(2):
        assert all(np.array_equal(a, b) for a, b in zip(other.run(None, feeds(2)), want, strict=True))
        assert np.array_equal(other.run(["h_out"], feeds(2))[0], want[1])


def test_classes_can_be_derived_from():
    class Session(rnnrt.InferenceSession):
        def run(self, *args, **kwargs):
            return ["mine", *super().run(*args, **kwargs)]

    class Stream(rnnrt.Stream):
        def step(self, feeds, out=None):
            return {"mine": True} | super().step(feeds, out=out)

    session = Session(parsed(STREAMING, **lstm()))
    stream = Stream(session.model)
    for _ in range(3):
        assert session.run(output_names=["y"], input_feed=feeds(2))[0] == "mine"
        assert sorted(stream.step({"x": frames(2)})) == ["mine", "y"]


def test_what_was_never_made_fails_as_any_object():
    with pytest.raises(AttributeError):
        rnnrt.Stream.__new__(rnnrt.Stream).step({})
    with pytest.raises(AttributeError):
        rnnrt.InferenceSession.__new__(rnnrt.InferenceSession).run(None, {})


# Streams


def test_a_stream_may_begin_with_a_step_that_fails():
    stream = rnnrt.load(parsed(LOOKUP), states={"h": "z"}).stream()
    for _ in range(2):
        with pytest.raises(InputError, match="index"):
            stream.step({"i": BAD, "x": np.ones(2, F)})
        assert stream.state == {}
    assert stream.step({"i": GOOD, "x": np.ones(2, F)})["y"].tolist() == [-2, -4]


def test_a_step_that_fails_in_the_middle_leaves_the_state():
    stream = rnnrt.load(parsed(LOOKUP), states={"h": "z"}).stream()
    x, out = np.ones(2, F), {"y": np.zeros(2, F)}
    total = np.zeros(2, F)
    for k in range(6):
        total += [2, 4]
        got = stream.step({"i": GOOD, "x": x}, out if k % 2 else None)
        assert np.array_equal(got["y"], -total)
        for bad, error in (({"i": BAD, "x": x}, InputError), ({"i": GOOD, Clash(): x}, ValueError)):
            for target in (None, out):
                with pytest.raises(error):
                    stream.step(bad, target)
                assert np.array_equal(stream.state["h"], total)


def test_an_out_array_is_looked_at_in_every_step():
    model = rnnrt.load(parsed(STREAMING, **lstm()))
    stream, plain, x = model.stream(), model.stream(), frames(1)
    out = {"y": np.zeros((1, 1, 2, 5), F)}
    for _ in range(3):
        assert stream.step({"x": x}, out)["y"] is out["y"]
        assert np.array_equal(out["y"], plain.step({"x": x})["y"])
    before = out["y"].copy()
    out["y"].setflags(write=False)
    with pytest.raises(InputError, match="can be written"):
        stream.step({"x": x}, out)
    out["y"].setflags(write=True)
    out["y"].shape = (1, 2, 1, 5)
    with pytest.raises(InputError, match="expected float32"):
        stream.step({"x": x}, out)
    assert np.array_equal(out["y"].ravel(), before.ravel())
    out["y"].shape = (1, 1, 2, 5)
    stream.step({"x": x}, out)
    assert np.array_equal(out["y"], plain.step({"x": x})["y"]), "what was refused was no step"


def test_out_arrays_may_share_memory():
    text = (
        "(float[N] x, float[N] h) => (float[N] z, float[N] a, float[N] b) { z = Add (x, h)  a = Neg (z)  b = Exp (x) }"
    )
    stream = rnnrt.load(parsed(text), states={"h": "z"}).stream()
    memory = np.zeros(101, F)
    x = np.linspace(0, 1, 100, dtype=F)
    want = -2 * x
    stream.step({"x": x})
    a, b = memory[:100], memory[1:]
    assert stream.step({"x": x}, {"b": b, "a": a})["a"] is a
    assert np.array_equal(a, want), "the last one is written last"
    np.testing.assert_allclose(memory[100], np.exp(x[99]), rtol=1e-6)
    fed = memory[:100]
    fed[:] = x
    stream.step({"x": fed}, {"b": b})
    np.testing.assert_allclose(b, np.exp(x), rtol=1e-6, err_msg="what is fed is read before it is written")


def test_the_answer_is_a_dict_of_its_own():
    stream = rnnrt.load(parsed(STREAMING, **lstm())).stream()
    out = {"y": np.zeros((1, 1, 2, 5), F)}
    for _ in range(3):
        answer = stream.step({"x": frames(1)}, out)
        assert answer is not out
        answer.clear()
    assert list(out) == ["y"]


def test_a_stream_gives_nobody_its_own_arrays():
    stream = rnnrt.load(parsed(STREAMING, **lstm())).stream()
    stream.step({"x": frames(1)})
    want = copy.copy(stream)
    _, (_, state) = stream.__reduce__()
    for array in (*state.values(), *stream.state.values()):
        array[:] = 99
    assert np.array_equal(stream.step({"x": frames(2)})["y"], want.step({"x": frames(2)})["y"])


def test_shapes_may_change_from_step_to_step():
    model = rnnrt.load(parsed(STREAMING, **lstm()))
    stream, x = model.stream(), frames(12)
    got, at = [], 0
    for n in (1, 1, 1, 2, 1, 1, 3, 1, 1):
        got.append(stream.step({"x": x[at : at + n]})["y"])
        at += n
    zeros = np.zeros((1, 2, 5), F)
    want = model.run({"x": x, "h_in": zeros, "c_in": zeros})
    assert np.concatenate(got).tobytes() == want["y"].tobytes()
    assert stream.state["c_in"].tobytes() == want["c_out"].tobytes()


# Threads


def test_threads_run_one_session_while_its_feed_changes():
    """The arrays of a run that has released the GIL are held, whoever takes them out of the feed meanwhile."""
    session = rnnrt.InferenceSession(parsed("(float[N] x) => (float[N] y, float[N] z) { y = Neg (x)  z = Exp (y) }"))
    size = 200_000
    feed = {"x": np.zeros(size, F)}
    session.run(None, feed)
    wrong: list[float] = []
    done = threading.Event()

    def change() -> None:
        k = 0
        while not done.is_set():
            k = (k + 1) % 8
            feed["x"] = np.full(size, k, F)

    def run() -> None:
        for _ in range(40):
            y, z = session.run(None, feed)
            if not ((y == y[0]).all() and (z == z[0]).all() and abs(z[0] - np.exp(y[0])) < 1e-6):
                wrong.append(float(y[0]))

    changer = threading.Thread(target=change)
    runners = [threading.Thread(target=run) for _ in range(3)]
    for thread in (changer, *runners):
        thread.start()
    for thread in runners:
        thread.join()
    done.set()
    changer.join()
    assert not wrong
