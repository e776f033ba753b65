"""Bits do not depend on company: a row gives the same alone, in any batch, in chunks of time, on any number of threads.

Every comparison here is of bit patterns, on every instruction set, through the engine and through the public interface.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import OUTPUTS, Case, Layer, make

import rnnrt

engine = pytest.importorskip("rnnrt._core.engine", reason="the core is not built")

FORMS = {
    "lstm": ("LSTM", {}),
    "lstm-general": ("LSTM", {"clip": 2.5, "activations": ["HardSigmoid", "Softsign", "Elu"]}),
    "lstm-input-forget": ("LSTM", {"input_forget": 1}),
    "gru": ("GRU", {}),
    "gru-linear": ("GRU", {"linear_before_reset": 1}),
    "rnn": ("RNN", {}),
    "rnn-relu": ("RNN", {"activations": ["Relu"], "clip": 3.0}),
}
SIZES = ((1, 1), (3, 7), (7, 16), (16, 17), (40, 33), (24, 64), (65, 70))
"""I and H: below, at and past the vector widths and the blocks of a sum; with and without projecting ahead."""

T, B = 40, 40
STATES = ("initial_h", "initial_c")


def same(got: np.ndarray, want: np.ndarray, what: str = "") -> None:
    """Equal bit for bit."""
    assert got.shape == want.shape
    assert got.dtype == want.dtype == np.float32
    np.testing.assert_array_equal(np.ascontiguousarray(got).view(np.uint32), want.copy().view(np.uint32), what)


def case_of(form: str, I: int, H: int, **more) -> Case:  # noqa: E741
    op, attrs = FORMS[form]
    if "activations" in attrs:
        attrs = attrs | {"activations": attrs["activations"] * more.get("D", 1)}
    plain = ("sequence_lens", "P") if form == "lstm" else ("sequence_lens",)
    return make(op, T=more.pop("T", T), B=more.pop("B", B), I=I, H=H, gain=0.8, absent=plain, **attrs, **more)


def rows(case: Case, pick: list[int]) -> dict[str, np.ndarray]:
    """X and the initial states of the picked rows."""
    return {"X": case.inputs["X"][:, pick]} | {k: case.inputs[k][:, pick] for k in STATES if k in case.inputs}


def steps(case: Case, pick: list[int], start: int, stop: int) -> dict[str, np.ndarray]:
    """X of the picked rows from `start` to `stop`."""
    return {"X": case.inputs["X"][start:stop, pick]}


class Reference:
    """A form at a size, packed for an instruction set, and its answer for the whole batch at once."""

    cache: dict[tuple, Reference] = {}  # noqa: RUF012

    def __init__(self, form: str, isa: str, size: tuple[int, int], direction: str):
        self.case = case_of(form, *size, D=2 if direction == "bidirectional" else 1, direction=direction)
        self.layer = Layer(self.case, isa)
        self.whole = self.layer.run()

    @classmethod
    def of(cls, *key) -> Reference:
        if key not in cls.cache:
            cls.cache[key] = cls(*key)
        return cls.cache[key]


@pytest.fixture(scope="module", autouse=True)
def _forget():
    yield
    Reference.cache.clear()


directions = st.sampled_from(("forward", "forward", "reverse", "bidirectional"))
sizes = st.sampled_from(SIZES)
picks = st.lists(st.integers(0, B - 1), min_size=1, max_size=B)
few = settings(max_examples=max(12, settings.default.max_examples // 4))


@pytest.mark.parametrize("form", FORMS)
def test_company_of_other_rows(form, isa):
    """Any rows, in any order and number, repeated or not, give what they give in the whole batch."""

    @few
    @given(sizes, directions, picks)
    def check(size, direction, pick):
        ref = Reference.of(form, isa, size, direction)
        for got, want in zip(ref.layer.run(**rows(ref.case, pick)), ref.whole, strict=True):
            same(got, want[..., pick, :])

    check()


@pytest.mark.parametrize("form", FORMS)
def test_every_batch_size(form, isa):
    ref = Reference.of(form, isa, (16, 17), "forward")
    for n in range(1, B + 1):
        pick = list(range(B - n, B))
        for got, want in zip(ref.layer.run(**rows(ref.case, pick)), ref.whole, strict=True):
            same(got, want[..., pick, :], f"batch of {n}")


@pytest.mark.parametrize("form", ["lstm", "gru", "gru-linear", "rnn"])
def test_weights_beyond_the_cache(form, isa):
    """Other tiles, which fetch ahead, and one pass over x and h for many rows: the same bits in any batch, by steps."""
    case = case_of(form, 40, 1200 if form == "rnn" else 400, T=3, B=40)
    layer = Layer(case, isa)
    whole = layer.run()
    for n in (1, 2, 3, 4, 7, 9, 14, 33):
        pick = list(range(40 - n, 40))
        for got, want in zip(layer.run(**rows(case, pick)), whole, strict=True):
            same(got, want[..., pick, :], f"batch of {n}")
        state = rows(case, pick)
        for t in range(3):
            Y, *last = layer.run(**(state | steps(case, pick, t, t + 1)))
            same(Y, whole[0][t : t + 1][:, :, pick], f"step {t} of {n} rows")
            state |= zip(STATES, last, strict=False)


def beside_a_line(shape: tuple[int, ...], offset: int) -> tuple[np.ndarray, np.ndarray]:
    """An array that begins `offset` floats past a cache line, and the one, of ones, in whose middle it lies."""
    size = int(np.prod(shape))
    whole = np.ones(size + 64, np.float32)
    start = 16 - whole.ctypes.data // 4 % 16 + offset
    return whole[start : start + size].reshape(shape), whole


@pytest.mark.parametrize("H", [160, 133])
@pytest.mark.parametrize("form", FORMS)
def test_arrays_beyond_the_cache(form, H, isa):
    """Inputs fetched ahead, whole lines of Y stored past the caches: the bits of few rows, and nothing beside them."""
    n, D = 1100, 2
    case = case_of(form, 160, H, T=8, B=n, D=D, direction="bidirectional")
    layer = Layer(case, isa)
    y, around = beside_a_line((8, D, n, H), 0)
    shifted, _ = beside_a_line(y.shape, 1)
    few = [0, 1, 500, n - 1]
    others = layer.outputs(8, n)[1:]
    for lengths in (None, np.where(np.arange(n) % 3, 8, 5).astype(np.int32)):
        want = layer.run(**rows(case, few), sequence_lens=None if lengths is None else lengths[few])
        for whole in (y, shifted):
            for got, some in zip(layer.run([whole, *others], sequence_lens=lengths), want, strict=True):
                same(got[..., few, :], some)
        same(y, shifted)
    start = (y.ctypes.data - around.ctypes.data) // 4
    assert (np.delete(around, np.s_[start : start + y.size]) == 1).all()


@pytest.mark.parametrize("form", FORMS)
def test_values_of_other_rows(form, isa):
    ref = Reference.of(form, isa, (40, 33), "forward")
    x = ref.case.inputs["X"].copy()
    x[:, 1::2] = np.array([np.nan, np.inf, 1e30, 1e-40, 0], np.float32)[np.arange(B // 2) % 5, None]
    for got, want in zip(ref.layer.run(X=x), ref.whole, strict=True):
        same(got[..., ::2, :], want[..., ::2, :])


@pytest.mark.parametrize("special", [None, np.inf, np.nan])
@pytest.mark.parametrize("form", FORMS)
def test_no_initial_states_are_zeros(form, special, isa):
    """Also where a recurrent weight is not finite, of which zero times it would be NaN."""
    for size in SIZES:
        for n, n_time, direction in ((1, 1, "forward"), (1, 9, "reverse"), (4, 2, "bidirectional"), (B, 9, "forward")):
            case = case_of(form, *size, T=n_time, B=n, D=2 if direction == "bidirectional" else 1, direction=direction)
            if special is not None:
                case.inputs["R"][0, 0, -1] = special
            zeros = {k: np.zeros_like(case.inputs[k]) for k in STATES if case.inputs.get(k) is not None}
            layer = Layer(case, isa)
            given, absent = layer.run(**zeros), layer.run(**dict.fromkeys(zeros))
            for got, want in zip(absent, given, strict=True):
                same(np.isnan(got).astype("f4"), np.isnan(want).astype("f4"))
                same(np.nan_to_num(got), np.nan_to_num(want))


@pytest.mark.parametrize("form", FORMS)
def test_chunks_of_time(form, isa):
    """Cut at any points, with the states carried over, in any company."""

    @few
    @given(sizes, st.sampled_from(("forward", "reverse")), st.sets(st.integers(1, T - 1)), picks)
    def check(size, direction, cuts, pick):
        ref = Reference.of(form, isa, size, direction)
        pieces = list(zip([0, *sorted(cuts)], [*sorted(cuts), T], strict=True))
        state = rows(ref.case, pick)
        for start, stop in pieces if direction == "forward" else pieces[::-1]:
            Y, *last = ref.layer.run(**(state | steps(ref.case, pick, start, stop)))
            same(Y, ref.whole[0][start:stop][:, :, pick])
            state |= zip(STATES, last, strict=False)
        for got, want in zip(last, ref.whole[1:], strict=True):
            same(got, want[:, pick])

    check()


@pytest.mark.parametrize("form", FORMS)
def test_one_step_at_a_time(form, isa):
    for size in SIZES:
        ref = Reference.of(form, isa, size, "forward")
        for pick in ([5], list(range(9))):
            state = rows(ref.case, pick)
            for t in range(T):
                Y, *last = ref.layer.run(**(state | steps(ref.case, pick, t, t + 1)))
                same(Y, ref.whole[0][t : t + 1][:, :, pick], f"step {t} of {size}")
                state |= zip(STATES, last, strict=False)


@pytest.mark.parametrize("form", FORMS)
def test_lengths_of_other_rows(form, isa):
    """A row of length n gives what its first n steps give alone, whatever the others' lengths are."""

    @few
    @given(sizes, directions, st.lists(st.integers(0, T), min_size=1, max_size=B))
    def check(size, direction, lens):
        ref = Reference.of(form, isa, size, direction)
        pick = list(range(len(lens)))
        outs = ref.layer.run(**rows(ref.case, pick), sequence_lens=np.array(lens, np.int32))
        for b in {0, int(np.argmax(lens)), len(lens) - 1}:
            n = lens[b]
            assert not np.any(outs[0][n:, :, b])
            if n:
                Y, *last = ref.layer.run(**(rows(ref.case, [b]) | steps(ref.case, [b], 0, n)))
                same(outs[0][:n, :, b : b + 1], Y, f"row {b} of length {n}")
                for got, want in zip(outs[1:], last, strict=True):
                    same(got[:, b : b + 1], want, f"state of row {b} of length {n}")

    check()


@pytest.mark.parametrize("form", FORMS)
def test_the_other_direction(form, isa):
    """Each direction of a bidirectional layer is a layer by itself."""
    both = case_of(form, 16, 17, D=2, B=5)
    whole = Layer(both, isa).run()
    for d, direction in enumerate(("forward", "reverse")):
        one = case_of(form, 16, 17, D=1, B=5, direction=direction)
        one.inputs = {k: v if v is None or k == "X" else v[d : d + 1] for k, v in both.inputs.items()}
        Y, *last = Layer(one, isa).run()
        same(Y, whole[0][:, d : d + 1])
        for got, want in zip(last, whole[1:], strict=True):
            same(got, want[d : d + 1])


# ------------------------------------------------------------------------------------- through the public interface


def model_of(case: Case, **options) -> rnnrt.Model:
    case.symbolic = True
    return rnnrt.load(case.model(), **options)


@pytest.mark.parametrize("form", FORMS)
def test_models(form):
    case = case_of(form, 40, 33)
    model = model_of(case)
    whole = model.run(rows(case, list(range(B))))
    for pick in ([3], [39, 0], list(range(9)), list(range(40))[::-1]):
        for name, got in model.run(rows(case, pick)).items():
            same(got, whole[name][..., pick, :])
    state = rows(case, [7])
    for start, stop in ((0, 1), (1, 2), (2, 19), (19, 40)):
        out = model.run(state | steps(case, [7], start, stop))
        same(out["Y"], whole["Y"][start:stop, :, [7]])
        state |= {i: out[o] for i, o in zip(STATES, OUTPUTS[case.op][1:], strict=False)}
    for name in OUTPUTS[case.op][1:]:
        same(out[name], whole[name][:, [7]])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_threads(form, direction):
    for I, H, n in ((40, 33, 40), (64, 128, 1), (64, 128, 7)):  # noqa: E741
        case = case_of(form, I, H, B=n, D=2 if direction == "bidirectional" else 1, direction=direction)
        pick = list(range(n))
        alone = model_of(case, threads=1).run(rows(case, pick))
        for threads in (2, 3, 0):
            for name, got in model_of(case, threads=threads).run(rows(case, pick)).items():
                same(got, alone[name], f"{threads} threads")
