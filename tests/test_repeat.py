"""Iterations of Loop and Scan without going back to Python: as a step, at once, and one by one are the same."""

from __future__ import annotations

import signal
import threading
import time

import numpy as np
import pytest
from text_models import lstm, parsed, same

import rnnrt
from rnnrt import bind, control
from rnnrt.errors import InputError

F = np.float32


def answers(monkeypatch, model, feeds):
    """By the three ways; which of them was taken is looked up in what was bound."""
    found = {}
    for way in ("step", "at once", "one by one"):
        with monkeypatch.context() as patch:
            if way != "step":
                patch.setattr(bind, "repeated", lambda *_: None)
            if way == "one by one":
                patch.setattr(control.Repeated, "at_once", lambda *_: None)
            opened = rnnrt.load(model)
            found[way] = opened.run(feeds), opened
    return found


def steps_of(model: rnnrt.Model) -> list[str]:
    (root,) = model._plan.program.roots.values()
    return root.names


def check(monkeypatch, model, feeds, as_step=True):
    """All three are the same bits, and onnxruntime's answer; returns it."""
    ort = pytest.importorskip("onnxruntime")
    found = answers(monkeypatch, model, feeds)
    want, _ = found["one by one"]
    assert ("repeat" in steps_of(found["step"][1])) == as_step
    assert "repeat" not in steps_of(found["at once"][1])
    for got, _ in found.values():
        assert same(got, want)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for (name, array), theirs in zip(want.items(), session.run(None, feeds), strict=True):
        assert (array.shape, array.dtype) == (theirs.shape, theirs.dtype), name
        np.testing.assert_allclose(array, theirs, rtol=1e-5, atol=1e-5, err_msg=name)
    again = found["step"][1]
    assert same(again.run(feeds), want)
    return want


CELL = """(float[N] h, float[M] c, float[N] x, float[N] z)
    => (float[N] h2, float[M] c2, float[N] out, float[K] both, float pick) {
    p = MatMul(h, R)  q = Add(p, x)  r = Sub(q, z)  h2 = Tanh(r)
    k = Concat <axis: int = 0> (h2, c)  both = Mul(k, scale)
    c1 = Neg(c)  c2 = Add(c1, far)  out = Softsign(q)  pick = ReduceSum <keepdims: int = 0> (h2)
}"""


def scan(length: int, attributes: str = ""):
    """A Scan of two states, two inputs and three outputs, with constants and captured values."""
    rng = np.random.default_rng(length)
    model = parsed(
        f"""(float[5] h, float[2] c, float[{length}, 5] x, float[5, T] z, float[2] g)
        => (float[5] hn, float[2] cn, float[P, Q] s, float[U, V] b, float[W] e) {{
        far = Add(g, g)
        hn, cn, s, b, e = Scan <num_scan_inputs: int = 2, scan_input_axes: ints = [0, 1]{attributes},
            body = cell {CELL}> (h, c, x, z)
    }}""",
        R=rng.normal(0, 0.4, (5, 5)).astype(F),
        scale=np.array([1.5], F),
    )
    shapes = {"h": (5,), "c": (2,), "x": (length, 5), "z": (5, length), "g": (2,)}
    return model, {name: rng.standard_normal(shape).astype(F) for name, shape in shapes.items()}


@pytest.mark.parametrize("length", [1, 2, 3, 8, 33])
def test_a_scan_is_one_step(monkeypatch, length):
    check(monkeypatch, *scan(length))


@pytest.mark.parametrize(
    "attributes",
    [
        ", scan_input_directions: ints = [1, 0]",
        ", scan_input_directions: ints = [0, 1], scan_output_directions: ints = [1, 0, 1]",
        ", scan_output_axes: ints = [1, -1, 0]",
        ", scan_output_axes: ints = [1, 0, 0], scan_output_directions: ints = [1, 1, 0]",
    ],
)
def test_axes_and_directions(monkeypatch, attributes):
    check(monkeypatch, *scan(4, attributes))


def loop(trips: int, body: str, stacked: str = "float[P, N]"):
    return parsed(f"""(float[T, 3] x, float[3] a) => (float[N] y, {stacked} s) <int64 m = {{{trips}}}> {{
        w = Neg(x)  y, s = Loop <body = b {body}> (m, , a)
    }}""")


COUNTED = """(int64 i, bool g, float[N] h) => (bool more, float[N] h2, float[N] s) {
    more = Identity(g)  row = Gather <axis: int = 0> (w, i)  t = Add(h, row)  h2 = Sin(t)  s = Mul(h2, row) }"""


@pytest.mark.parametrize("trips", [1, 2, 5, 6])
def test_a_loop_of_known_length_is_one_step(monkeypatch, trips):
    rng = np.random.default_rng(trips)
    feeds = {"x": rng.standard_normal((6, 3)).astype(F), "a": rng.standard_normal(3).astype(F)}
    check(monkeypatch, loop(trips, COUNTED), feeds)


def test_an_error_inside_names_the_loop(monkeypatch):
    feeds = {"x": np.ones((4, 3), F), "a": np.ones(3, F)}
    for way in ("step", "at once"):
        with monkeypatch.context() as patch:
            if way == "at once":
                patch.setattr(bind, "repeated", lambda *_: None)
            model = rnnrt.load(loop(5, COUNTED))
            with pytest.raises(InputError, match=r"(Loop|Gather).*an index lies outside"):
                model.run(feeds)
            assert model.run({**feeds, "x": np.ones((5, 3), F)})["s"].shape == (5, 3)


UNTIL = """(int64 m, float a, float end) => (float y, float[K] s) {
    y, s = Loop <body = b (int64 i, bool g, float h) => (bool more, float h2, float t) <float one = {1}> {
        h2 = Add(h, one)  more = Less(h2, end)  t = Mul(h2, h2) }> (m, , a)
}"""


@pytest.mark.parametrize("end", [1, 2, 300000, 400001])
def test_slices_of_a_loop_that_ends_by_its_condition_find_room(monkeypatch, end):
    """More iterations than room is made for at first."""
    found = answers(monkeypatch, parsed(UNTIL), feeds := {"m": np.array(1 << 40), "a": F(0), "end": F(end)})
    for way in ("step", "at once"):
        got, model = found[way]
        assert "repeat" not in steps_of(model)
        assert got["y"] == end
        want = np.arange(1, end + 1, dtype=F)
        assert np.array_equal(got["s"], want * want)
    assert feeds["m"] == 1 << 40


def test_what_is_carried_in_is_left_alone(monkeypatch):
    model, feeds = scan(5)
    before = {name: array.copy() for name, array in feeds.items()}
    answers(monkeypatch, model, feeds)
    assert same(feeds, before)


def test_a_loop_in_a_loop_is_one_step(monkeypatch):
    inner = """(int64 j, bool u, float[N] p) => (bool v, float[N] q, float[N] z) {
        v = Identity(u)  n = Cast <to: int = 1> (j)  q1 = Mul(p, p)  q2 = Add(q1, n)  q = Tanh(q2)  z = Sub(q, row) }"""
    body = f"""(int64 i, bool g, float[N] h) => (bool more, float[N] h2, float[R, N] s) <int64 k = {{3}}> {{
        more = Identity(g)  row = Gather <axis: int = 0> (w, i)
        t, s = Loop <body = inner {inner}> (k, , h)  h2 = Add(t, row) }}"""
    feeds = {"x": np.random.default_rng(0).standard_normal((4, 3)).astype(F), "a": np.ones(3, F)}
    check(monkeypatch, loop(4, body, "float[P, R, N]"), feeds)


def test_a_recurrent_layer_inside(monkeypatch):
    body = """(float[1, B, 5] h, float[1, B, 5] c, float[B, 3] x)
        => (float[1, B, 5] h2, float[1, B, 5] c2, float[1, 1, B, 5] y) <int64[1] first = {0}> {
        one = Unsqueeze(x, first)  y, h2, c2 = LSTM <hidden_size: int = 5> (one, W, R, B, , h, c) }"""
    text = f"""(float[T, B, 3] x, float[1, B, 5] h, float[1, B, 5] c)
        => (float[1, B, 5] hn, float[1, B, 5] cn, float[T, 1, 1, B, 5] y) {{
        hn, cn, y = Scan <num_scan_inputs: int = 1, body = b {body}> (h, c, x) }}"""
    rng = np.random.default_rng(0)
    shapes = {"x": (7, 2, 3), "h": (1, 2, 5), "c": (1, 2, 5)}
    feeds = {name: rng.standard_normal(shape).astype(F) for name, shape in shapes.items()}
    got = rnnrt.load(parsed(text, **lstm())).run(feeds)
    whole = parsed("""(float[T, B, 3] x, float[1, B, 5] h, float[1, B, 5] c) => (float[T, 1, B, 5] y) {
        y = LSTM <hidden_size: int = 5> (x, W, R, B, , h, c) }""", **lstm())  # fmt: skip
    assert np.array_equal(got["y"].reshape(7, 1, 2, 5), rnnrt.load(whole).run(feeds)["y"])
    check(monkeypatch, parsed(text, **lstm()), feeds)


def test_bodies_that_are_not_native_steps_alone_go_one_by_one(monkeypatch):
    body = """(float[N] a, float[N] x) => (float[N] c, float[N] s) {
        c = Add(a, x)  d = Det(m)  s = Mul(c, d) }"""
    model = parsed(f"""(float[N] a, float[T, N] x, float[2, 2] m) => (float[N] y, float[T, N] s) {{
        y, s = Scan <num_scan_inputs: int = 1, body = b {body}> (a, x) }}""")
    feeds = {"a": np.ones(3, F), "x": np.ones((4, 3), F), "m": np.array([[2, 1], [1, 3]], F)}
    want = check(monkeypatch, model, feeds, as_step=False)
    assert want["s"].tolist() == [[10] * 3, [15] * 3, [20] * 3, [25] * 3]


def test_runs_at_the_same_time(monkeypatch):
    model, feeds = scan(200)
    opened = rnnrt.load(model)
    others = [{name: array * F(k) for name, array in feeds.items()} for k in range(4)]
    want = [opened.run(other) for other in others]
    wrong = []

    def run(k):
        wrong.extend(1 for _ in range(50) if not same(opened.run(others[k]), want[k]))

    threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_endless_loop_can_be_interrupted():
    model = rnnrt.load(
        parsed("""(bool k, float a) => (float y) {
        y = Loop <body = b (int64 i, bool g, float h) => (bool more, float h2) <float one = {1}> {
            h2 = Tanh(h)  more = Less(h2, one) }> (, k, a)
    }""")
    )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGINT))
    try:
        timer.start()
        start = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            model.run({"k": np.array(True), "a": F(0.5)})
        assert time.perf_counter() - start < 30
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)


def test_what_a_scan_stacks_is_bounded():
    model = rnnrt.load(
        parsed("""(float[T] x, float[1] a) => (float[1] y, float[T, M] s) <int64[1] n = {1000000000}> {
        y, s = Scan <num_scan_inputs: int = 1, body = b (float[1] h, float x) => (float[1] h2, float[M] w) {
            h2 = Add(h, x)  w = Expand(h, n) }> (a, x)
    }""")
    )
    with pytest.raises(InputError, match="bytes; the limit is"):
        model.run({"x": np.zeros(1 << 20, F), "a": np.ones(1, F)})


def test_describe_tells_the_steps_inside():
    model, feeds = scan(6)
    opened = rnnrt.load(model)
    opened.run(feeds)
    text = str(opened.describe())
    step = text.index("Scan 'hn', 6 times")
    assert text.rindex("MatMul 'p'") > step
