"""MatMul, Gemm, FusedMatMul and Einsum against NumPy and onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from ops_util import run_op
from ort_util import run_onnxruntime

from rnnrt.errors import InputError, ModelError
from rnnrt.ops.limits import limit

rng = np.random.default_rng(1)


def floats(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.uint64])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3,), (3,)),
        ((3,), (2, 3, 5)),
        ((2, 4, 3), (3,)),
        ((1, 2, 4, 3), (5, 1, 3, 2)),
        ((0, 3), (3, 2)),
        ((2, 0), (0, 3)),
    ],
)
def test_matmul(a: tuple, b: tuple, dtype: type) -> None:
    x, y = (floats(*a) * 9).astype(dtype), (floats(*b) * 9).astype(dtype)
    got = run_op("MatMul", x, y)
    want = np.asarray(np.matmul(x.astype(np.float64), y.astype(np.float64)))
    assert got.dtype == dtype
    assert got.shape == want.shape
    if np.dtype(dtype).kind == "f":
        np.testing.assert_allclose(got, want, rtol=2e-3 if dtype == np.float16 else 1e-5, atol=1e-3)
    else:
        np.testing.assert_array_equal(got, np.asarray(np.matmul(x, y)))


def test_half_precision_sums_are_float32() -> None:
    assert run_op("MatMul", np.ones((1, 4096), np.float16), np.ones((4096, 1), np.float16)) == 4096


def test_shapes_that_do_not_fit_name_the_node() -> None:
    with pytest.raises(InputError, match=r"MatMul 'node'.*\(2, 3\) and \(2, 3\)"):
        run_op("MatMul", floats(2, 3), floats(2, 3))
    with pytest.raises(InputError, match="input C"):
        run_op("Gemm", floats(2, 3), floats(3, 4), floats(3, 4))
    with pytest.raises(InputError, match="input C"):
        run_op("Gemm", floats(1, 3), floats(3, 4), floats(2, 4))
    with pytest.raises(InputError, match="two matrices"):
        run_op("Gemm", floats(1, 2, 3), floats(3, 4))


def test_results_far_larger_than_the_operands_are_refused() -> None:
    with limit(1 << 20), pytest.raises(InputError, match="output"):
        run_op("MatMul", floats(5000, 1), floats(1, 5000))
    with limit(1 << 20), pytest.raises(InputError, match="output"):
        run_op("MatMul", np.zeros((10**6, 0), np.float32), np.zeros((0, 10**6), np.float32))
    with limit(1 << 20), pytest.raises(InputError, match="output"):
        run_op("Einsum", floats(200), floats(200), floats(200), equation="a,b,c->abc")


@pytest.mark.parametrize("transposed", range(4))
@pytest.mark.parametrize("c", [None, (), (1,), (4,), (3, 1), (3, 4)])
def test_gemm(transposed: int, c: tuple | None) -> None:
    trans_a, trans_b = transposed & 1, transposed >> 1
    a, b = floats(*((5, 3) if trans_a else (3, 5))), floats(*((4, 5) if trans_b else (5, 4)))
    bias = None if c is None else floats(*c)
    got = run_op("Gemm", a, b, bias, alpha=0.5, beta=2.0, transA=trans_a, transB=trans_b)
    want = 0.5 * (a.T if trans_a else a) @ (b.T if trans_b else b) + (0 if bias is None else 2 * bias)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    assert got.dtype == np.float32


def test_gemm_of_integers_stays_integer() -> None:
    a, b, c = (np.arange(6).reshape(s) for s in ((2, 3), (3, 2), (6,)))
    np.testing.assert_array_equal(run_op("Gemm", a, b, c[:2], alpha=2.0), 2 * (a @ b) + c[:2])


@pytest.mark.parametrize("flags", range(16))
def test_fused_matmul(flags: int) -> None:
    trans_a, trans_b, batch_a, batch_b = (flags >> k & 1 for k in range(4))
    a, b = [4, 5] if not trans_a else [5, 4], [5, 6] if not trans_b else [6, 5]
    a = [a[0], 2, 3, a[1]] if batch_a else [2, 3, *a]
    b = [b[0], 2, 3, b[1]] if batch_b else [2, 3, *b]
    attrs = {"transA": trans_a, "transB": trans_b, "transBatchA": batch_a, "transBatchB": batch_b, "alpha": 0.25}
    args = floats(*a), floats(*b)
    want = run_onnxruntime("FusedMatMul", *args, domain="com.microsoft", **attrs)
    np.testing.assert_allclose(
        run_op("FusedMatMul", *args, domain="com.microsoft", **attrs), want, rtol=1e-4, atol=1e-5
    )


EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("bij,bkj->bki", (2, 3, 4), (2, 5, 4)),
    ("abcd,dcbe->ea", (2, 3, 4, 5), (5, 4, 3, 6)),
    ("ij,ij->", (2, 3), (2, 3)),
    ("i,i", (4,), (4,)),
    ("i,j->ij", (2,), (3,)),
    ("ii->i", (3, 3)),
    ("ii", (3, 3)),
    ("...ii->...i", (2, 3, 3)),
    ("ij->ji", (2, 3)),
    ("ij", (2, 3)),
    ("ba", (2, 3)),
    ("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 2)),
    (" b n h , n h d -> b d ", (2, 3, 4), (3, 4, 5)),
    ("i...->...", (2, 3)),
    ("aB,Bc->ca", (2, 3), (3, 4)),
    ("BA,BAc->Ac", (2, 3), (2, 3, 4)),
    ("i,ij,j->", (2,), (2, 3), (3,)),
    ("aB,Ba", (2, 3), (3, 2)),
    ("ij,jk->ik", (1, 3), (3, 0)),
    ("ij,jk->ik", (2, 0), (0, 3)),
    ("ij,kj->i", (2, 3), (4, 3)),
    (",a->a", (), (3,)),
    ("ij,jk->ik", (2, 1), (3, 4)),
    ("bnqd,bnkd->bnqk", (2, 2, 3, 4), (2, 2, 5, 4)),
    ("a...b,b...->...a", (2, 3, 4), (4, 3)),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
@pytest.mark.parametrize("case", EQUATIONS, ids=lambda case: case[0])
def test_einsum(case: tuple, dtype: type) -> None:
    equation, *shapes = case
    arrays = [(floats(*s) * 5).astype(dtype) for s in shapes]
    wide = [x.astype(np.float64) if dtype != np.int32 else x for x in arrays]
    want = np.asarray(np.einsum(equation.replace(" ", ""), *wide))
    got = run_op("Einsum", *arrays, equation=equation)
    assert got.dtype == dtype
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=2e-3 if dtype == np.float16 else 1e-4, atol=1e-3)


def test_einsum_refuses_what_does_not_fit() -> None:
    with pytest.raises(ModelError, match="3 terms"):
        run_op("Einsum", floats(2), floats(2), floats(2), equation="i,i")
    for shapes in [((2, 3), (4, 5)), ((2,), (3, 4)), ((2, 3, 4), (3, 4))]:
        with pytest.raises(InputError, match="ij,jk->ik"):
            run_op("Einsum", *(floats(*s) for s in shapes), equation="ij,jk->ik")
    with pytest.raises(InputError):
        run_op("Einsum", floats(2, 3), equation="ij->k")
