"""The engine on every instruction set of the CPU: right at sizes around the vector width, and within guard bytes."""

from __future__ import annotations

import ctypes
import ctypes.util
import itertools
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import INPUTS, TOLERANCE, Case, Layer, cases, close, make

engine = pytest.importorskip("rnnrt._core.engine", reason="the core is not built")

OPS = tuple(INPUTS)
LANES = {"baseline": 4, "neon": 4, "avx2": 8, "avx512": 16}
SLOTS = {"LSTM": 5, "GRU": 3, "RNN": 1}
"""What a step of a traced layer tells of a unit."""
CANARY = np.uint32(0x7FC0BEEF)
"""A NaN that no arithmetic makes: bytes written out of place lose it, values read out of place spoil the answer."""


def compare(case: Case, outs: list[np.ndarray]) -> None:
    names = [n for n, w in zip(("Y", "Y_h", "Y_c"), case.wanted, strict=False) if w]
    for name, got in zip(names, outs, strict=True):
        close(got, case.answer[name], TOLERANCE[case.dtype.name], f"{name} of {case!r}")


# --------------------------------------------------------------------------------------------------------- guard bytes


class Guarded:
    """An array of `shape` inside a larger one filled with canaries; `gaps` leaves some between rows as well."""

    def __init__(self, shape: tuple[int, ...], gaps: bool, fill: np.ndarray | None = None):
        room = [n + (3 if gaps else 0) for n in shape]
        size = int(np.prod(room))
        self.whole = np.full(size + 64, CANARY).view(np.float32)
        self.array = self.whole[31 : 31 + size].reshape(room)[tuple(slice(n) for n in shape)]
        if fill is not None:
            self.array[...] = fill
        self.before = self.whole.copy()

    def untouched(self) -> bool:
        """Whether every byte around the array is as it was."""
        around = np.ones(self.whole.shape, bool)
        offset = (self.array.__array_interface__["data"][0] - self.whole.__array_interface__["data"][0]) // 4
        strides = tuple(s // 4 for s in self.array.strides)
        inside = np.lib.stride_tricks.as_strided(around[offset:], self.array.shape, strides)
        inside[...] = False
        return np.array_equal(self.whole.view(np.uint32)[around], self.before.view(np.uint32)[around])

    def unchanged(self) -> bool:
        return np.array_equal(self.whole.view(np.uint32), self.before.view(np.uint32))


def run_guarded(case: Case, isa: str, gaps: bool) -> list[np.ndarray]:
    """Run `case` with guard bytes around every array; they and the inputs are as before."""
    ins = {k: Guarded(v.shape, gaps, v) for k, v in case.inputs.items() if v is not None and v.dtype == np.float32}
    kept = case.inputs
    case.inputs = kept | {k: g.array for k, g in ins.items()}
    try:
        layer = Layer(case, isa)
        outs = [Guarded(a.shape, gaps) for a in layer.outputs(*case.inputs["X"].shape[:2])]
        layer.run([g.array for g in outs])
    finally:
        case.inputs = kept
    assert all(g.unchanged() for g in ins.values())
    assert all(g.untouched() for g in outs)
    return [g.array for g in outs]


def test_guard_bytes_can_tell():
    guarded = Guarded((2, 3, 5), gaps=True)
    guarded.array[...] = 1
    assert guarded.untouched()
    assert not guarded.unchanged()
    past_a_row = np.lib.stride_tricks.as_strided(guarded.array, (2, 3, 6), guarded.array.strides)
    past_a_row[0, 1, 5] = 1
    assert not guarded.untouched()


def around(lanes: int) -> list[int]:
    return [lanes - 1, lanes, lanes + 1, 2 * lanes + 1]


@pytest.mark.parametrize("gaps", [False, True], ids=["dense", "gaps"])
@pytest.mark.parametrize("op", OPS)
def test_sizes_around_the_vector_width(op, gaps, isa):
    lanes = LANES[isa]
    for H, I, B in itertools.product((1, *around(lanes), 4 * lanes + 1), around(lanes), (1, 4, 7)):  # noqa: E741
        for form in (0, 1) if op == "GRU" else (0,):
            case = make(op, T=3, B=B, I=I, H=H, D=1, seed=H + I + B, **({"linear_before_reset": form} if form else {}))
            case.inputs["sequence_lens"] = None if B == 4 else case.inputs["sequence_lens"]
            compare(case, run_guarded(case, isa, gaps))


@pytest.mark.parametrize("op", OPS)
def test_every_hidden_size(op, isa):
    """Whatever the last block has: gates of few units have no gaps between them. Across lanes, clipped, traced, too."""
    lanes = LANES[isa]
    for H, B in itertools.product(range(1, 2 * lanes + 2), (1, 2, 4, 7, 3 * lanes)):
        attrs: dict[str, Any] = {"clip": 2.5} if op == "LSTM" and H % 3 == 0 else {}
        case = make(op, T=5, B=B, I=3, H=H, seed=H, absent=() if attrs else ("P",), **attrs)
        outs = run_guarded(case, isa, gaps=bool(H % 2))
        compare(case, outs)
        layer = Layer(case, isa)
        again = layer.outputs(5, B)
        given = [case.inputs.get(name) for name in ("X", "sequence_lens", "initial_h", "initial_c")]
        trace = np.full((5, 1, B, SLOTS[op], H), np.nan, np.float32)
        layer.engine.run(*given, *again, *[None] * (3 - len(again)), trace)
        for got, want in zip(again, outs, strict=True):
            assert np.array_equal(got.view(np.uint32), want.copy().view(np.uint32))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", OPS)
def test_every_batch_size(op, direction, isa):
    for B in (*range(20), 31, 32, 33, 64, 65):
        D = 2 if direction == "bidirectional" else 1
        case = make(op, T=3, B=B, I=5, H=LANES[isa] + 3, D=D, seed=B, direction=direction)
        compare(case, run_guarded(case, isa, gaps=bool(B % 2)))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", OPS)
def test_rows_across_lanes(op, direction, isa):
    """Few units, many rows: right, within guard bytes, and with the bits that a row has alone."""
    lanes, D = LANES[isa], 2 if direction == "bidirectional" else 1
    sizes = itertools.product((1, lanes // 2, lanes + 1), (1, lanes + 1), (lanes, 5 * lanes - 1), (True, False))
    for k, (H, I, B, lengths) in enumerate(sizes):  # noqa: E741
        attrs: dict[str, Any] = {"linear_before_reset": 1} if op == "GRU" and k % 2 else {}
        absent = ("P",) if lengths else ("P", "sequence_lens")
        case = make(op, T=9, B=B, I=I, H=H, D=D, seed=k, direction=direction, absent=absent, **attrs)
        outs = run_guarded(case, isa, gaps=bool(k % 3))
        compare(case, outs)
        for b in (0, B - 1):
            states = [name for name in ("initial_h", "initial_c") if name in case.inputs]
            alone = {name: case.inputs[name][:, b : b + 1] for name in ("X", *states)}
            if lengths:
                alone["sequence_lens"] = case.inputs["sequence_lens"][b : b + 1]
            for got, want in zip(Layer(case, isa).run(**alone), outs, strict=True):
                assert np.array_equal(got.view(np.uint32), want[..., b : b + 1, :].copy().view(np.uint32))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_a_single_row(op, direction, isa):
    """Of a layer of one to 33 blocks, also longer than the inputs that are projected at once: as in a batch."""
    lanes, D = LANES[isa], 2 if direction == "bidirectional" else 1
    sizes = [(n * lanes - n % 3, T) for n in (*range(1, 10), 16, 31, 32, 33) for T in (1, 2, 9)]
    for k, (H, T) in enumerate([*sizes, (8 * lanes - 1, 200), (4 * lanes, 200)]):
        attrs: dict[str, Any] = {"linear_before_reset": 1} if op == "GRU" else {}
        absent = ("P",) if k % 2 else ("P", "sequence_lens")
        case = make(op, T=T, B=2, I=1 + k % 7, H=H, D=D, seed=k, gain=0.8, direction=direction, absent=absent, **attrs)
        both = Layer(case, isa).run()
        states = [name for name in ("initial_h", "initial_c") if name in case.inputs]
        kept = case.inputs
        alone = {name: kept[name][:, 1:] for name in ("X", *states)}
        if k % 2:
            alone["sequence_lens"] = kept["sequence_lens"][1:]
        case.inputs = kept | alone
        outs = run_guarded(case, isa, gaps=bool(k % 3))
        case.inputs = kept
        compare(case, both)
        for got, want in zip(outs, both, strict=True):
            assert np.array_equal(got.copy().view(np.uint32), want[..., 1:, :].copy().view(np.uint32))


@pytest.mark.parametrize("op", OPS)
def test_every_length(op, isa):
    for T in (*range(20), 31, 32, 33, 64, 65, 130):
        case = make(op, T=T, B=3, I=6, H=LANES[isa] + 1, D=2, seed=T, gain=0.8)
        compare(case, run_guarded(case, isa, gaps=bool(T % 2)))


@pytest.mark.parametrize("op", OPS)
def test_larger_layers(op, isa):
    for T, B, I, H in ((7, 2, 161, 200), (3, 9, 300, 150), (2, 40, 39, 96)):  # noqa: E741
        case = make(op, T=T, B=B, I=I, H=H, D=2, seed=H)
        compare(case, run_guarded(case, isa, gaps=False))


@pytest.mark.parametrize("op", OPS)
def test_anything_on_every_instruction_set(op, isa):
    @settings(max_examples=max(15, settings.default.max_examples // 3))
    @given(cases(ops=(op,), dtypes=("float32",), layouts=(0,)))
    def check(case):
        outs = run_guarded(case, isa, gaps=case.symbolic)
        compare(case, [y for y, w in zip(outs, case.wanted, strict=True) if w])

    check()


@given(cases(dtypes=("float64",), layouts=(0,)))
def test_float64(case):
    compare(case, [y for y, w in zip(Layer(case).run(), case.wanted, strict=True) if w])


@pytest.mark.parametrize("where", ["X", "X, late", "initial_h", "W", "R"])
@pytest.mark.parametrize(("B", "I", "H"), [(5, 33, 17), (5, 200, 17), (9, 200, 33), (1, 200, 130), (40, 33, 4)])
@pytest.mark.parametrize("weight", [0.999, 1.5, 8.0])
@pytest.mark.parametrize("op", OPS)
def test_the_largest_numbers_give_no_nan(op, weight, B, I, H, where, isa):  # noqa: E741
    absent = ["sequence_lens", "initial_c"] + ["initial_h"] * (where[0] in "XW") + ["P"] * (H != 17)  # a plain cell
    case = make(op, T=6, B=B, I=I, H=H, absent=absent)
    large, factor = {"initial_h": ("initial_h", "R"), "R": ("R", "initial_h"), "W": ("W", "X")}.get(where, ("X", "W"))
    case.inputs[large][4 * where.endswith("late") :] = np.copysign(np.finfo("f4").max, case.inputs[large])[0]
    case.inputs[factor] = np.copysign(np.float32(weight), case.inputs[factor])
    assert all(np.isfinite(y).all() for y in Layer(case, isa).run())


@pytest.mark.parametrize("op", OPS)
def test_outputs_may_be_absent(op, isa):
    layer = Layer(make(op, D=2), isa)
    every = layer.run()
    for wanted in itertools.product((False, True), repeat=len(every)):
        outs = [y if w else None for y, w in zip(layer.outputs(5, 3), wanted, strict=True)]
        layer.run(outs)
        for got, want in zip(outs, every, strict=True):
            assert got is None or np.array_equal(got, want)


def test_input_projection_and_state_agree_across_instruction_sets():
    for op in OPS:
        case = make(op, T=20, B=9, I=33, H=41, D=2, gain=0.8)
        results = [Layer(case, isa).run() for isa in engine.available()]
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                close(b, a, 2 * TOLERANCE["float32"])


def test_trace_of_an_lstm_obeys_its_equations(isa):
    case = make("LSTM", T=6, B=5, I=7, H=LANES[isa] + 2, D=2, absent=("sequence_lens", "P"))
    layer = Layer(case, isa)
    y, y_h, y_c = layer.outputs(6, 5)
    trace = np.full((6, 2, 5, 5, layer.engine.hidden_size), np.nan, np.float32)
    given_ = case.inputs
    layer.engine.run(given_["X"], None, given_["initial_h"], given_["initial_c"], y, y_h, y_c, trace)
    i, o, f, g, c = np.moveaxis(trace.astype(np.float64), 3, 0)
    before = np.concatenate([given_["initial_c"][None, :1], c[:-1, :1]])
    np.testing.assert_allclose(c[:, 0], (f[:, :1] * before + i[:, :1] * g[:, :1])[:, 0], atol=1e-6)
    np.testing.assert_allclose(y, o * np.tanh(c), atol=1e-6)
    for got, want in zip((y, y_h, y_c), layer.run(), strict=True):
        close(got, want, TOLERANCE["float32"])


# ------------------------------------------------------------------------------------------ the caller's floating point


def control_word() -> int | None:
    """MXCSR without its sticky flags; None where this is no x86-64 glibc."""
    libm = ctypes.CDLL(ctypes.util.find_library("m") or "libm.so.6")
    state = (ctypes.c_uint32 * 8)()
    return state[7] & 0xFFC0 if libm.fegetenv(state) == 0 else None


def set_flush(on: bool) -> None:
    """Turn flushing of denormals (FTZ and DAZ) on or off in this thread."""
    libm = ctypes.CDLL(ctypes.util.find_library("m") or "libm.so.6")
    state = (ctypes.c_uint32 * 8)()
    libm.fegetenv(state)
    state[7] = state[7] | 0x8040 if on else state[7] & ~0x8040
    libm.fesetenv(state)


def x86() -> bool:
    import platform

    return platform.machine() in ("x86_64", "AMD64") and platform.libc_ver()[0] == "glibc"


@pytest.mark.parametrize("flush", [False, True])
def test_the_floating_point_state_is_left_as_it_was(isa, flush):
    if not x86():
        pytest.skip("the control register is read on x86-64 with glibc only")
    small = Layer(make("LSTM", T=2, B=1, I=3, H=4), isa)
    large = Layer(make("GRU", T=20, B=8, I=64, H=64, D=2), isa)
    set_flush(flush)
    try:
        before = control_word()
        assert bool(before & 0x8040) == flush
        small.run()
        large.run()
        engine.apply("tanh", np.ones(9, np.float32), isa=isa)
        with pytest.raises(engine.InputError):
            small.run(X=np.ones((2, 1, 4), np.float32))
        assert control_word() == before
    finally:
        set_flush(False)


def test_denormals_survive_in_the_caller(isa):
    Layer(make("LSTM"), isa).run()
    tiny = np.full(33, 1e-40, np.float32)
    assert np.all(tiny * np.float32(1) == tiny)
    assert np.all(tiny + tiny > tiny)


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "changed",
    [
        {"X": np.ones((5, 3, 8), np.float32)},
        {"X": np.ones((5, 3, 9), np.float64)},
        {"X": np.ones((5, 27), np.float32)},
        {"X": np.ones((9, 3, 5), np.float32).T},
        {"X": np.ones((5, 3, 9), np.dtype(">f4"))},
        {"X": np.ones((5, 3, 18), np.float32)[..., ::2]},
        {"initial_h": np.ones((1, 2, 17), np.float32)},
        {"initial_c": np.ones((2, 3, 17), np.float32)},
        {"sequence_lens": np.array([5, 6, 0], np.int32)},
        {"sequence_lens": np.array([5, -1, 0], np.int32)},
        {"sequence_lens": np.array([5, 2**32, 0], np.int64)},
        {"sequence_lens": np.array([5, 5], np.int32)},
    ],
    ids=lambda c: f"{next(iter(c))}-{next(iter(c.values())).dtype.str}{list(next(iter(c.values())).shape)}",
)
def test_arrays_that_do_not_fit_are_refused_before_anything_is_written(changed):
    layer = Layer(make("LSTM"))
    outs = layer.outputs(5, 3)
    with pytest.raises(engine.InputError):
        layer.run(outs, **changed)
    assert all(np.all(y == -99) for y in outs)


@pytest.mark.parametrize("k", [0, 1, 2])
def test_outputs_that_do_not_fit_are_refused(k):
    layer = Layer(make("LSTM"))
    for wrong in (lambda y: y[..., :-1], lambda y: y.astype(np.float64), lambda y: np.asfortranarray(y)):
        outs = layer.outputs(5, 3)
        outs[k] = wrong(outs[k])
        with pytest.raises(engine.InputError):
            layer.run(outs)


def test_outputs_must_be_writeable():
    layer = Layer(make("LSTM"))
    outs = layer.outputs(5, 3)
    outs[0].flags.writeable = False
    with pytest.raises((engine.InputError, ValueError)):
        layer.run(outs)
    assert np.all(outs[0] == -99)


def test_instruction_sets_are_named():
    assert "baseline" in engine.available()
    assert set(engine.available()) <= set(engine.built()) & set(engine.present())
    case = make("RNN")
    assert [Layer(case, isa).engine.isa for isa in engine.available()] == list(engine.available())
    with pytest.raises(engine.InputError, match="sse9"):
        _ = Layer(case, "sse9").engine
    absent = set(engine.ISAS) - set(engine.available())
    for isa in absent:
        with pytest.raises(engine.UnsupportedError, match=isa):
            _ = Layer(case, isa).engine


def test_one_layer_serves_several_threads(isa):
    case = make("LSTM", T=40, B=6, I=50, H=70, gain=0.8)
    layer = Layer(case, isa)
    want, failures = layer.run(), []

    def work() -> None:
        for _ in range(10):
            if not all(np.array_equal(a, b) for a, b in zip(layer.run(), want, strict=True)):
                failures.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


@pytest.mark.parametrize("rows", [0, 1, 3, 4, 5, 63, 64, 65, 130])
@pytest.mark.parametrize("columns", [0, 1, 3, 4, 15, 16, 17, 33])
def test_matrices_are_turned_within_guard_bytes(rows, columns):
    source = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    whole = np.pad(source, ((1, 1), (2, 3)))
    for matrix in (source, whole[1:-1, 2:-3], np.asfortranarray(source), source[::-1, ::-1], source.astype(np.float64)):
        target = Guarded((columns, rows), gaps=True)
        engine.put_transposed(target.array, matrix)
        np.testing.assert_array_equal(target.array, matrix.T)
        assert target.untouched()
    with pytest.raises(ValueError, match="shape"):
        engine.put_transposed(np.zeros((columns, rows + 1), np.float32), source)
