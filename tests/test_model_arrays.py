"""The arrays that go into a model and come out: fresh outputs, any memory layout, any size, every precision."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from small_models import add_model, gru_feed, gru_model
from text_models import STREAMING, feeds, lstm, parsed, same

import rnnrt
from rnnrt.errors import InputError

F = np.float32


@pytest.fixture(scope="module")
def model() -> rnnrt.Model:
    return rnnrt.load(parsed(STREAMING, **lstm()))


def test_outputs_are_fresh():
    text = """(bool c, float[2] x)
        => (float[2] y, float[2] z, float[2] half, float[3, 2] wide, float[2] x2, float[2] b) {
        y = Neg(x)
        z = Identity(y)
        x2 = Identity(x)
        t = Concat <axis: int = 0> (x, y)
        half, rest = Split <num_outputs: int = 2> (t)
        wide = Expand(y, shape)
        b = If (c) <
            then_branch = yes () => (float[2] p) <float[2] k = {5, 6}> { p = Identity(k) },
            else_branch = no () => (float[2] q) { q = Identity(w) }
        >
    }"""
    model = rnnrt.load(parsed(text, shape=np.array([3, 2]), w=np.array([7, 8], F)))
    for c, b in ((True, [5, 6]), (False, [7, 8])) * 2:
        x = np.array([1, 2], F)
        got = model.run({"c": np.array(c), "x": x})
        assert got["b"].tolist() == b
        assert got["wide"].tolist() == [[-1, -2]] * 3
        assert (got["y"].tolist(), got["x2"].tolist(), got["half"].tolist()) == ([-1, -2], [1, 2], [1, 2])
        arrays = [*got.values()]
        for k, array in enumerate(arrays):
            assert not np.shares_memory(array, x)
            assert not any(np.shares_memory(array, other) for other in arrays[:k])
            array[...] = 99
        assert x.tolist() == [1, 2], "mutating an output leaves the input alone"


@pytest.mark.parametrize("n", [1, 4095, 4096, 100_003])
def test_outputs_belong_to_the_caller(n):
    """Large ones, which begin at a cache line, as well as small ones."""
    model = rnnrt.load(parsed("(float[N] x) => (float[N] y, int64[N] z) { y = Neg(x) z = Cast<to: int = 7>(x) }"))
    runs = [model.run({"x": np.full(n, k, F)}) for k in range(3)]
    for k, got in enumerate(runs):
        assert (got["y"] == -k).all()
        assert (got["z"] == k).all()
        for array in got.values():
            assert array.flags.c_contiguous
            assert array.flags.writeable
            assert array.flags.aligned
            assert array.nbytes < 16384 or array.ctypes.data % 64 == 0
            array[:] = 7


def test_an_input_changed_afterwards_changes_no_output(model):
    given = feeds()
    got = model.run(given)
    kept = {k: v.copy() for k, v in got.items()}
    for array in given.values():
        array[:] = 7
    assert same(got, kept)
    assert same(model.run(feeds()), kept)


def spread(a: np.ndarray) -> np.ndarray:
    big = np.full([2 * n + 1 for n in a.shape], 99, a.dtype)
    view = big[(..., *(slice(1, None, 2) for _ in a.shape))]
    view[...] = a
    return view


def fortran(a: np.ndarray) -> np.ndarray:
    return a.copy(order="F")


def negative(a: np.ndarray) -> np.ndarray:
    every = (slice(None, None, -1),) * a.ndim
    return a[every].copy()[every]


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.setflags(write=False)
    return a


def unaligned(a: np.ndarray) -> np.ndarray:
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


@pytest.mark.parametrize(
    "layout",
    [spread, negative, read_only, unaligned, fortran, lambda a: a.view(type("Sub", (np.ndarray,), {}))],
    ids=["spread", "negative", "read-only", "unaligned", "Fortran", "subclass"],
)
@pytest.mark.parametrize("which", ["lstm", "gru", "numpy"])
def test_any_memory_layout_gives_the_same_bits(model, which, layout):
    if which == "lstm":
        given = feeds()
    elif which == "gru":
        model, given = rnnrt.load(gru_model()), gru_feed()
    else:
        model = rnnrt.load(
            parsed("(float[N, M] x) => (float[M, K] y) { e = Tanh(x)  t = Transpose(e)  y = MatMul(t, e) }")
        )
        given = {"x": feeds()["x"][0]}
    want = model.run(given)
    got = model.run({name: layout(array) for name, array in given.items()})
    assert same(got, want)
    assert all(type(array) is np.ndarray for array in got.values())


@pytest.mark.parametrize(("steps", "batch"), [(0, 2), (3, 0), (0, 0)])
def test_inputs_of_no_size(model, steps, batch):
    given = feeds(steps, batch)
    got = model.run(given)
    assert got["y"].shape == (steps, 1, batch, 5)
    assert np.array_equal(got["h_out"], given["h_in"])
    assert np.array_equal(got["c_out"], given["c_in"])


def test_scalars():
    model = rnnrt.load(parsed("(float x, int64 k) => (float y, int64 n) { y = Neg(x)  n = Add(k, k) }"))
    for x in (np.array(2, F), F(2)):
        got = model.run({"x": x, "k": np.int64(4)})
        assert [(type(v), v.shape, v.dtype, v.item()) for v in got.values()] == [
            (np.ndarray, (), np.dtype(F), -2),
            (np.ndarray, (), np.dtype(np.int64), 8),
        ]


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_precisions(dtype):
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    proto = parsed(STREAMING, **{k: v.astype(dtype) for k, v in lstm().items()})
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = element
    given = {k: v.astype(dtype) for k, v in feeds().items()}
    model = rnnrt.load(proto)
    got = model.run(given)
    want = rnnrt.load(parsed(STREAMING, **{k: v.astype(dtype).astype(F) for k, v in lstm().items()})).run(
        {k: v.astype(F) for k, v in given.items()}
    )
    for name, array in got.items():
        assert array.dtype == dtype
        np.testing.assert_allclose(
            array, want[name], rtol=2e-3 if dtype == np.float16 else 1e-5, atol=1e-3 if dtype == np.float16 else 1e-6
        )
    with pytest.raises(InputError, match=np.dtype(dtype).name):
        model.run(feeds())
    assert model.states == {"h_in": "h_out", "c_in": "c_out"}


def test_denormal_inputs(model):
    tiny = {k: np.full_like(v, 1e-40) for k, v in feeds().items()}
    zero = {k: np.zeros_like(v) for k, v in feeds().items()}
    got, want = model.run(tiny), model.run(zero)
    for name in want:
        assert np.isfinite(got[name]).all()
        np.testing.assert_allclose(got[name], want[name], atol=1e-30)
    plain = rnnrt.load(parsed("(float[N] x) => (float[N] y) { y = Neg(x) }"))
    assert plain.run({"x": np.array([1e-40], F)})["y"][0] == -F(1e-40), "outside of the layers, nothing is flushed"
    assert F(1e-40) / F(2) != 0, "the caller's floating-point state is as before"


def test_a_model_without_inputs():
    model = rnnrt.load(parsed("() => (float[2] y, float[2] k) { y = Neg(k) }", k=np.array([1, 2], F)))
    for _ in range(2):
        got = model.run({})
        assert [a.tolist() for a in got.values()] == [[-1, -2], [1, 2]]
        for array in (*got.values(), *model()):
            array[:] = 9
    for given in (None, [1], {"x": 1}):
        with pytest.raises(InputError):
            model.run(given)


@pytest.mark.parametrize("ir_version", [3, 8])
def test_initializers_listed_as_inputs_are_constants(ir_version):
    """Before IR version 4 every initializer had to be listed so."""
    proto = parsed("(float[2] x, float[2] w) => (float[2] y) { y = Add(x, w) }", opset=8 if ir_version == 3 else 17,
                   ir_version=ir_version, w=np.array([1, 2], F))  # fmt: skip
    model = rnnrt.load(proto)
    assert [v.name for v in model.inputs] == ["x"]
    assert model(np.zeros(2, F)).tolist() == [1, 2]


def test_unaligned_weights_that_are_inputs():
    text = """(float[T, N, 3] x, float[1, 20, 3] W, float[1, 20, 5] R, float[1, 40] B) => (float[T, 1, N, 5] y) {
        y = LSTM <hidden_size: int = 5> (x, W, R, B)
    }"""
    model, arrays = rnnrt.load(parsed(text)), [feeds()["x"], *lstm().values()]
    want = rnnrt.load(parsed(STREAMING, **lstm())).run({k: v if k == "x" else v * 0 for k, v in feeds().items()})["y"]
    for layout in (np.copy, unaligned, spread, fortran, negative):
        assert np.array_equal(model(*map(layout, arrays)), want)


def test_sizes_may_differ_from_call_to_call(model):
    for steps, batch in ((1, 1), (9, 2), (2, 33), (1, 1)):
        got = model.run(feeds(steps, batch))
        alone = model.run({k: v[:, :1] for k, v in feeds(steps, batch).items()})
        assert got["y"][:, :, :1].tobytes() == alone["y"].tobytes()


def test_sequences_and_tensors_together_are_fresh():
    model = rnnrt.load(add_model())
    x = np.ones((2, 3), F)
    got = model.run({"x": x, "y": x})
    first, second = got["both"]
    first[:] = 5
    assert second.tolist() == x.tolist() == [[1] * 3] * 2
