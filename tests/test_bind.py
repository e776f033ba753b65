"""Binding a plan to shapes, and the executor: folding, guards, branches, memory, repeated calls."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from text_models import STREAMING, feeds, frames, lstm, parsed

import rnnrt
from rnnrt._core import program
from rnnrt._core.program import place
from rnnrt.errors import InputError
from rnnrt.native.emitter import Emitted
from rnnrt.native.tensor import ARENA, Buffer, Tensor, c_strides

F = np.float32


def segments(model):
    """All bound segments of a model."""
    todo = list(model._plan.program.roots.values())
    for segment in todo:
        todo.extend(segment.children.values())
    return todo


# Folding


def test_shape_arithmetic_costs_no_step():
    text = """(float[N, M] x) => (float[A, B] y) {
        s = Shape(x)  n = Gather<axis = 0>(s, zero)  two_n = Mul(n, two)  n1 = Unsqueeze(two_n, axis)
        rest = Constant<value_ints = [-1]>()  to = Concat<axis = 0>(n1, rest)  r = Reshape(x, to)  y = Relu(r)
    }"""
    ints = {"zero": np.array(0, np.int64), "two": np.array(2, np.int64), "axis": np.array([0], np.int64)}
    model = rnnrt.load(parsed(text, **ints))
    for shape in ((3, 4), (5, 2)):
        x = np.random.default_rng(0).normal(size=shape).astype(F)
        assert np.array_equal(model.run({"x": x})["y"], np.maximum(x, 0).reshape(2 * shape[0], -1))
    assert [(s.n_steps, s.terminal.kind) for s in segments(model)] == [(1, 0), (1, 0)]


# Calls of Python functions, and branches


def test_what_follows_a_shape_that_depends_on_data_is_bound_to_each_shape():
    """NonZero has no native form; how much it finds decides the shapes after it."""
    text = "(float[N] x) => (int64[1, K] y, float[N] z) { k = NonZero(x)  y = Add(k, k)  z = Tanh(x) }"
    model = rnnrt.load(parsed(text))
    for given in ([0, 1, 2], [1, 1, 1], [0, 0, 0], [3, 0, 0], [0, 2, 2]):
        x = np.array(given, F)
        got = model.run({"x": x})
        assert np.array_equal(got["y"], 2 * np.array(np.nonzero(x)))
        np.testing.assert_allclose(got["z"], np.tanh(x), rtol=1e-6)
    (root,) = model._plan.program.roots.values()
    assert root.terminal.op == "NonZero"
    assert len(root.children) == 4, "0, 1, 2 and 3 elements"


BRANCHES = """(float[N] x, bool c) => (float[N] y) {
    t = Exp(x)
    b = If(c) <then_branch = then () => (float[N] p) { q = Add(t, x)  p = Tanh(q) },
               else_branch = other () => (float[N] r) { r = Sub(t, x) }>
    y = Mul(b, t)
}"""


def test_both_branches_are_bound_when_they_are_taken_and_kept():
    model = rnnrt.load(parsed(BRANCHES))
    x = np.linspace(-1, 1, 19, dtype=F)
    t = np.exp(x)
    for condition in (True, False, True, False):
        want = np.tanh(t + x) * t if condition else (t - x) * t
        np.testing.assert_allclose(model.run({"x": x, "c": np.array(condition)})["y"], want, rtol=2e-6)
    (root,) = model._plan.program.roots.values()
    assert set(root.children) == {True, False}
    assert all(s.terminal.kind != 1 for s in segments(model)), "no Python function"


def test_a_condition_that_shapes_decide_is_gone():
    text = """(float[N] x) => (float[N] y) {
        s = Shape(x)  n = Squeeze(s)  c = Greater(n, four)
        y = If(c) <then_branch = then () => (float[N] p) { p = Neg(x) },
                   else_branch = other () => (float[N] r) { r = Abs(x) }>
    }"""
    model = rnnrt.load(parsed(text, four=np.array(4, np.int64)))
    for n in (3, 4, 5):
        x = np.arange(n, dtype=F) - 1
        assert np.array_equal(model.run({"x": x})["y"], -x if n > 4 else abs(x))
    assert all(s.terminal.kind == 0 for s in segments(model))


def test_a_value_used_twice_inside_a_branch_is_not_changed_there():
    """The product has one user outside, the If, and two inside: neither may change it for the other."""
    text = """(float[2, 3] x, bool c) => (float[2, 5] y) {
        m = MatMul(x, w)
        y = If(c) <then_branch = then () => (float[2, 5] p) { a = Relu(m)  p = Sub(a, m) },
                   else_branch = other () => (float[2, 5] r) { r = Neg(m) }>
    }"""
    rng = np.random.default_rng(1)
    w, x = rng.normal(size=(3, 5)).astype(F), rng.normal(size=(2, 3)).astype(F)
    model = rnnrt.load(parsed(text, w=w))
    m = x @ w
    np.testing.assert_allclose(
        model.run({"x": x, "c": np.array(True)})["y"], np.maximum(m, 0) - m, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(model.run({"x": x, "c": np.array(False)})["y"], -m, rtol=1e-5)


def test_a_condition_of_several_elements_is_an_input_error():
    text = BRANCHES.replace("bool c", "bool[M] c")
    with pytest.raises(InputError, match="single value"):
        rnnrt.load(parsed(text)).run({"x": np.ones(3, F), "c": np.ones(2, bool)})


def test_an_index_outside_names_the_node():
    model = rnnrt.load(parsed("(float[N] x, int64[K] i) => (float[K] y) { y = Gather(x, i) }"))
    x = np.arange(5, dtype=F)
    assert np.array_equal(model.run({"x": x, "i": np.array([4, -5])})["y"], [4, 0])
    for bad in (5, -6):
        with pytest.raises(InputError, match="Gather 'y'"):
            model.run({"x": x, "i": np.array([0, bad])})


# Memory


def steps_over(*words):
    return [Emitted("copy", list(row), 0.0, "") for row in words]


def buffers(*sizes):
    return [Tensor(np.dtype(np.uint8), (n,), (1,), Buffer(n)) for n in sizes]


def test_buffers_whose_lives_do_not_overlap_share_bytes():
    a, b, c, d = buffers(100, 200, 100, 64)
    size, peak = place(steps_over([a], [a, b], [b, c], [c, d]), [], 7)
    assert size == peak == 128 + 256
    assert a.buffer.place() == c.buffer.place(), "c lies where a lay"
    assert {t.buffer.base for t in (a, b, c, d)} == {7}
    assert all(t.buffer.offset % 64 == 0 for t in (a, b, c, d))


def test_what_is_needed_later_keeps_its_bytes():
    a, b, c = buffers(64, 64, 64)
    size, peak = place(steps_over([a], [a, b], [b, c]), [a.buffer], 1)
    assert size == peak == 192
    inside = Buffer(16)
    inside.inside, inside.offset = b.buffer, 32
    assert inside.place() == (1, b.buffer.offset + 32)


@pytest.mark.parametrize("seed", range(20))
def test_no_two_live_buffers_overlap(seed):
    rng = np.random.default_rng(seed)
    tensors = buffers(*(int(n) for n in rng.integers(1, 1000, 30)))
    rows = [[tensors[k] for k in rng.integers(0, 30, 3)] for _ in range(40)]
    live = [t.buffer for t in tensors[:3]]
    size, peak = place(steps_over(*rows), live, 1)
    assert peak <= size
    spans = []
    for t in tensors:
        used = [k for k, row in enumerate(rows) if t in row]
        if t.buffer.base == ARENA:
            assert not used
            continue
        last = len(rows) if t.buffer in live else used[-1]
        spans.append((used[0] if used else len(rows), last, t.buffer.offset, t.buffer.offset + t.buffer.size))
        assert spans[-1][3] <= size
    for k, (first, last, start, end) in enumerate(spans):
        for f, m, s, e in spans[k + 1 :]:
            assert last < f or m < first or end <= s or e <= start


def test_outputs_that_are_views_inputs_or_constants_are_fresh_arrays():
    outputs = "float[3, 2] t, float[2, 3] x, float[2] k, float[6] r"
    text = f"(float[2, 3] x) => ({outputs}) {{ t = Transpose(x)  r = Reshape(x, six) }}"
    model = rnnrt.load(parsed(text, six=np.array([6], np.int64), k=np.array([1, 2], F)))
    x = np.arange(6, dtype=F).reshape(2, 3)
    got = model.run({"x": x})
    assert np.array_equal(got["t"], x.T)
    assert np.array_equal(got["r"], x.ravel())
    arrays = [x, *got.values()]
    for k, a in enumerate(arrays):
        assert a.flags.writeable
        assert a.flags.c_contiguous
        assert not any(np.shares_memory(a, b) for b in arrays[k + 1 :])
    again = model.run({"x": x})
    assert not any(np.shares_memory(a, b) for a in got.values() for b in again.values())


def test_describe_tells_the_arena_of_each_shape():
    model = rnnrt.load(
        parsed("(float[N] x) => (float y) { a = Exp(x)  b = CumSum(a, k)  y = ReduceSum(b) }", k=np.array(0))
    )
    assert "arena" not in model.describe()
    model.run({"x": np.ones(100, F)})
    text = model.describe()
    assert "bound to x (100,)" in text
    (root,) = model._plan.program.roots.values()
    assert f"arena {root.arena_size} bytes, of which at most {root.peak}" in text
    assert root.arena_size >= root.peak >= 400


def test_describe_tells_how_a_layer_goes():
    """By the shapes it is bound to: the way that its kernels take, and its threads."""
    model = rnnrt.load(parsed(STREAMING, **lstm()))
    for steps, batch, way in ((1, 1, "x and h in one pass"), (4, 64, "rows across lanes")):
        model.run(feeds(steps, batch))
        assert way in model.describe()
    wide = parsed(STREAMING.replace("5", "1100"), **lstm(units=1100))  # 19 MB: too much for any to fetch unasked
    model = rnnrt.load(wide, threads=2)
    rng = np.random.default_rng(0)
    states = {name: rng.standard_normal((1, 6, 1100), F) for name in ("h_in", "c_in")}
    model.run({"x": rng.standard_normal((50, 6, 3), F), **states})
    assert "x and h in one pass, weights fetched ahead, 2 threads by units" in model.describe()


# Repeated calls


def test_the_short_way_takes_only_what_fits():
    model = rnnrt.load(parsed("(float[N, 4] x) => (float[N, 4] y) { y = Neg(x) }"))
    executor, names = model._plan.program, ("x",)
    x = np.arange(12, dtype=F).reshape(3, 4)
    assert executor.run_again(names, {"x": x}) is None, "nothing was run yet"
    model.run({"x": x})
    assert np.array_equal(executor.run_again(names, {"x": x + 1})[0], -x - 1)
    other = np.asfortranarray(x)
    backwards = np.arange(12, dtype=F)[::-1].reshape(3, 4)
    swapped = x.astype(">f4")
    for given in (
        {},
        {"z": x},
        {"x": x, "z": x},
        {"x": x[:2]},
        {"x": x.astype(float)},
        {"x": x.tolist()},
        {"x": other},
    ):
        assert executor.run_again(names, given) is None
    assert executor.run_again(names, {"x": swapped}) is None
    for given in (other, backwards, x[:2], x[::2]):
        assert np.array_equal(model.run({"x": given})["y"], -given)
    for bad in ({"x": x[:, :3]}, {"x": x.astype(float)}, {}, {"x": x, "z": x}):
        with pytest.raises(InputError):
            model.run(bad)


def test_threads_share_a_program():
    model = rnnrt.load(parsed(STREAMING, **lstm()))
    want = {n: model.run(feeds(n)) for n in (1, 2, 5)}
    wrong = []

    def work(n):
        for _ in range(50):
            got = model.run(feeds(n))
            if any(not np.array_equal(got[k], want[n][k]) for k in got):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 5, 1, 2, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_stream_writes_into_given_arrays_even_where_they_overlap_what_is_fed():
    model = rnnrt.load(parsed(STREAMING, **lstm()))
    plain, given = model.stream(), model.stream()
    x = frames(6)
    for k in range(6):
        want = plain.step({"x": x[k : k + 1]})["y"]
        out = np.full_like(want, np.nan)
        answer = given.step({"x": x[k : k + 1]}, out={"y": out})
        assert answer["y"] is out
        assert np.array_equal(out, want)
    memory = np.zeros(4096, F)
    for k in range(6):
        frame = memory[: x[0].size].reshape(x[:1].shape)
        frame[...] = x[k : k + 1]
        want = plain.step({"x": x[k : k + 1]})["y"]
        out = memory[1 : 1 + want.size].reshape(want.shape)
        given.step({"x": frame}, out={"y": out})
        assert np.array_equal(out, want)


def test_a_refused_out_changes_neither_state_nor_arrays():
    model = rnnrt.load(parsed(STREAMING, **lstm()))
    stream = model.stream()
    y = stream.step({"x": frames(1)})["y"]
    before = stream.state
    bad = np.full((*y.shape, 2), 7, F)
    read_only = np.full_like(y, 7)
    read_only.flags.writeable = False
    for out in ({"y": bad}, {"y": read_only}, {"y": y.astype(float)}, {"z": y}, [y]):
        with pytest.raises(InputError):
            stream.step({"x": frames(1)}, out=out)
    assert np.all(bad == 7)
    assert np.all(read_only == 7)
    assert all(np.array_equal(stream.state[k], before[k]) for k in before)


# Profiles


def test_a_profile_accounts_for_every_step(tmp_path):
    text = "(float[N, 8] x) => (float[N, 4] y, int64[2, K] z) { m = MatMul(x, w)  y = Sigmoid(m)  z = NonZero(x) }"
    model = rnnrt.load(parsed(text, w=np.ones((8, 4), F)))
    found = model.profile({"x": np.ones((16, 8), F)}, runs=5)
    assert sum(s.share for s in found.steps) == pytest.approx(1)
    tiers = {s.label.split()[0]: s.tier for s in found.steps}
    assert tiers["NonZero"] == "NumPy"
    assert "native" in tiers.values()
    product = next(s for s in found.steps if s.operator == "gemm")
    assert product.flops == 2 * 16 * 8 * 4
    assert product.bytes >= 4 * (16 * 8 + 16 * 4)
    assert product.times_floor > 0
    assert 0 < found.native_share < 1
    assert "NonZero" in str(found)
    assert "µs" in str(found)
    found.save(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [e["name"] for e in events] == [s.label for s in found.steps]
    assert all(e["ph"] == "X" and e["dur"] >= 0 for e in events)
    assert [e["ts"] for e in events] == sorted(e["ts"] for e in events)


def test_strides_of_a_c_contiguous_array():
    assert c_strides((2, 3, 4)) == (12, 4, 1)
    assert c_strides(()) == ()


# What both tiers must agree on


@pytest.mark.parametrize("op", ["Div(a, b)", "Mod(a, b)", "Mod<fmod = 1>(a, b)"])
@pytest.mark.parametrize("kind", ["int32", "int64", "uint8", "int16", "uint32", "uint64"])
def test_integer_division_by_zero_is_the_same_error_in_both_tiers(op, kind):
    model = rnnrt.load(parsed(f"({kind}[N] a, {kind}[M] b) => ({kind}[K] y) {{ y = {op} }}"))
    a = np.array([4, 5, 6], kind)
    with pytest.raises(InputError, match=rf"{op[:3]} 'y': {program.WRONG[3]}"):
        model.run({"a": a, "b": np.array([1, 0, 3], kind)})
    assert model.run({"a": a, "b": np.array([4, 2, 7], kind)})["y"].tolist() == [[1, 2, 0], [0, 1, 6]][op[0] == "M"]
    assert model.run({"a": a[:0], "b": np.zeros(1, kind)})["y"].shape == (0,), "nothing is divided"


def test_integer_division_of_constants_by_zero_is_the_same_error():
    model = rnnrt.load(parsed("(int64[N] a) => (int64[K] y) { z = Div(k, l)  y = Mul(a, z) }", k=[3, 4], l=[1, 0]))
    with pytest.raises(InputError, match=rf"Div 'z': {program.WRONG[3]}"):
        model.run({"a": np.ones(2, np.int64)})


def test_constant_strings_go_out():
    text = """(bool c) => (string[2] y, string[2] z, string[2] same) {
        y = Identity(k)  same = Identity(k)
        z = If(c)<then_branch = t () => (string[2] a) { a = Identity(k) },
                  else_branch = e () => (string[2] b) { b = Identity(l) }>
    }"""
    model = rnnrt.load(parsed(text, k=np.array(["a", "bc"], object), l=np.array(["d", ""], object)))
    for c in (True, False, True):
        got = model.run({"c": np.array(c)})
        assert got["y"].tolist() == got["same"].tolist() == ["a", "bc"]
        assert got["z"].tolist() == (["a", "bc"] if c else ["d", ""])
        got["y"][:] = "another"  # which is the caller's own
        assert got["same"].tolist() == ["a", "bc"]


def test_a_look_at_a_constant_is_an_argument_of_a_python_function():
    """What is left of Concat where its other part is empty is a view of the constant one."""
    model = rnnrt.load(
        parsed("""(float[N] x) => (int64[1, K] y) <float[3] k = {1, 0, 2}> {
        e = Concat <axis = 0> (k, x)  y = NonZero(e)
    }""")
    )
    for size in (0, 2, 0):
        assert model.run({"x": np.ones(size, np.float32)})["y"].tolist() == [[0, 2, *range(3, 3 + size)]]
