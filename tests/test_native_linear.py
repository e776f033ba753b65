"""MatMul, Gemm, Einsum and FusedMatMul as native steps, against NumPy in float64, on every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bound import LANES, Bound, run_native, strided
from ops_util import run_op

from rnnrt.native.product import add_bias

SIZES = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 48, 64, 65, 100, 130]
KNOWN = [(), (0,), (1,)]


def check(
    isa: str, op: str, *inputs: Any, known: tuple[int, ...] = (), parts: int = 1, domain: str = "", **attrs: Any
) -> None:
    """The native answer is the one in float64."""
    got = run_native(op, *inputs, isa=isa, known=known, parts=parts, domain=domain, **attrs)
    want = run_op(op, *(None if x is None else x.astype(np.float64) for x in inputs), domain=domain, **attrs)
    hint = f"{op} {[x.shape for x in inputs if x is not None]} {known} {attrs}"
    assert got is not None, hint
    assert got.shape == want.shape, hint
    np.testing.assert_allclose(got, want, 4e-6, 4e-6 * max(1, np.abs(want).max(initial=0)), err_msg=hint)


def pick(rng: np.random.Generator, choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def test_matmul(isa):
    rng = np.random.default_rng(1)
    for _ in range(80):
        m, k, n = (pick(rng, SIZES) for _ in range(3))
        a, b = strided(rng, (m, k), int(rng.integers(4))), strided(rng, (k, n), int(rng.integers(4)))
        check(isa, "MatMul", a, b, known=pick(rng, KNOWN), parts=int(rng.integers(1, 4)))


def test_a_long_sum(isa):
    rng = np.random.default_rng(2)
    for n in (1, 6, 16, 70):
        check(isa, "MatMul", strided(rng, (2, 1000), 0), strided(rng, (1000, n), 0), known=(1,))


def test_weights_that_no_l2_cache_holds(isa):
    """They are fetched ahead: the next panel, or a panel's own where two are too much or one tile of rows reads it."""
    rng = np.random.default_rng(6)
    for k, n in ((251, 3301), (3400, 261)):
        weights, a = strided(rng, (k, n), 0), strided(rng, (26, k), 0)
        rows = [run_native("MatMul", a[i : i + 1], weights, isa=isa, known=(1,)) for i in (0, 25)]
        for m in (1, 6, 7, 13, 26):
            check(isa, "MatMul", a[:m], weights, known=(1,), parts=1 + m % 2)
        whole = run_native("MatMul", a, weights, isa=isa, known=(1,))
        np.testing.assert_array_equal(whole[[0, 25]], np.concatenate(rows))


@pytest.mark.parametrize(
    ("batch_a", "batch_b"), [((3,), ()), ((), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((2, 3), (2, 3)), ((1,), (4,))]
)
def test_batches_broadcast(isa, batch_a, batch_b):
    rng = np.random.default_rng(3)
    for trial in range(12):
        m, k, n = (pick(rng, [1, 2, 5, 16, 17, 33]) for _ in range(3))
        a, b = strided(rng, (*batch_a, m, k), trial % 4), strided(rng, (*batch_b, k, n), trial // 4 % 4)
        check(isa, "MatMul", a, b, known=KNOWN[trial % 3], parts=1 + trial % 2)
        domain = "com.microsoft"
        a, b = a.swapaxes(-1, -2), b.swapaxes(-1, -2)
        check(isa, "FusedMatMul", a, b, known=KNOWN[trial % 3], domain=domain, transA=1, transB=1, alpha=0.25)


def test_vectors(isa):
    rng = np.random.default_rng(4)
    for k in SIZES:
        v, m = strided(rng, (k,), k % 4 if k % 4 != 1 else 0), strided(rng, (2, k, 19), 0)
        check(isa, "MatMul", v, m)
        check(isa, "MatMul", m.swapaxes(1, 2), v, known=KNOWN[k % 3])
        check(isa, "MatMul", v, v)


def test_gemm(isa):
    rng = np.random.default_rng(5)
    for _ in range(80):
        m, k, n, ta, tb = (*(pick(rng, SIZES) for _ in range(3)), *map(int, rng.integers(0, 2, 2)))
        a, b = strided(rng, (m, k), int(rng.integers(4))), strided(rng, (k, n), int(rng.integers(4)))
        a, b = a.T if ta else a, b.T if tb else b
        shape = pick(rng, [None, (), (n,), (1, n), (m, 1), (m, n), (1,)])
        c = None if shape is None else np.asarray(rng.standard_normal(shape), np.float32)
        known = pick(rng, [(), (0,), (1,), (1, 2), (0, 2)]) if c is not None else pick(rng, KNOWN)
        beta = pick(rng, [1.0, 2.0, 0.0]) if 2 in known else 1.0
        options = {"alpha": pick(rng, [1.0, 0.5]), "beta": beta, "transA": ta, "transB": tb}
        check(isa, "Gemm", a, b, c, known=known, parts=int(rng.integers(1, 4)), **options)


EQUATIONS = [
    "btgi,gih->btgh",
    "b h i d, b h j d -> b h i j",
    "bhij,bhjd->bhid",
    "ij,jk->ki",
    "ij,jk",
    "abc,dc->dab",
    "...ij,...jk->...ik",
    "abcd,bd->ac",
    "ab,abc->ac",
    "iab,jba->ij",
    "i,j->ij",
]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum(isa, equation):
    rng = np.random.default_rng(6)
    for trial in range(9):
        sizes = {c: pick(rng, [1, 2, 3, 16, 17, 33]) for c in "abcdghijkt"}
        operands = []
        for term in equation.split("->")[0].replace(" ", "").split(","):
            dots = pick(rng, [(3,), (2, 3), (2, 1), ()]) if "." in term else ()
            shape = (*dots, *(sizes[c] for c in term.replace(".", "")))
            operands.append(strided(rng, shape, int(rng.integers(4)) if len(shape) > 1 else 0))
        check(isa, "Einsum", *operands, equation=equation, known=KNOWN[trial % 3], parts=1 + trial % 2)


def test_einsum_of_one_operand_is_a_view(isa):
    bound = Bound(isa)
    y = bound.node("Einsum", np.zeros((2, 3, 4), np.float32), equation="abc->cab")
    assert not bound.steps
    assert (y.shape, y.strides) == ((4, 2, 3), (1, 12, 4))


@pytest.mark.parametrize("equation", ["ii->i", "ab->a", "a,a->a", "ab,bc,cd->ad", "abc,bca->ab"])
def test_other_equations_are_left_to_numpy(isa, equation):
    operands = [np.ones((3,) * len(t), np.float32) for t in equation.split("->")[0].split(",")]
    assert run_native("Einsum", *operands, isa=isa, equation=equation) is None


def test_bits_do_not_depend_on_rows_or_parts(isa):
    rng = np.random.default_rng(7)
    for k, n in [(64, 7), (100, 16), (100, 32), (33, 70), (256, 2), (70, 130)]:
        a, b = strided(rng, (19, k), 0), strided(rng, (k, n), 0)
        whole = run_native("MatMul", a, b, isa=isa, known=(1,))
        assert np.array_equal(whole, run_native("MatMul", a, b, isa=isa, known=(1,), parts=3))
        for row in (0, 7, 18):
            assert np.array_equal(whole[row], run_native("MatMul", a[row], b, isa=isa, known=(1,)))


def test_infinite_and_nan(isa):
    a = np.ones((3, 20), np.float32)
    a[0, 3], a[1, 5] = np.inf, np.nan
    b = np.ones((20, 5), np.float32)
    b[3, 1] = 0
    with np.errstate(invalid="ignore"):
        want = a @ b
    for known in KNOWN:
        np.testing.assert_array_equal(run_native("MatMul", a, b, isa=isa, known=known), want)


def test_a_known_addend_becomes_the_bias(isa):
    rng = np.random.default_rng(8)
    for shape_a, n, shape in [((4, 9), 21, (21,)), ((2, 3, 9), 21, (1, 1, 21)), ((4, 9), 5, (1,)), ((4, 90), 1, (1,))]:
        a, b, c = strided(rng, shape_a, 0), strided(rng, (shape_a[-1], n), 0), strided(rng, shape, 0)
        bound = Bound(isa)
        y = bound.node("MatMul", a, b, known=(1,))
        assert add_bias(bound.emitter, y, bound.constant(c))
        assert not add_bias(bound.emitter, y, bound.constant(c)), "there is one already"
        np.testing.assert_allclose(bound.run(y), a @ b + c, 1e-5, 1e-5)


def test_addends_that_are_no_bias(isa):
    a, b = np.ones((4, 9), np.float32), np.ones((9, 21), np.float32)
    bound = Bound(isa)
    y = bound.node("MatMul", a, b, known=(1,))
    for shape in [(4, 1), (4, 21), (1, 1, 1, 21)]:
        assert not add_bias(bound.emitter, y, bound.constant(np.ones(shape, np.float32)))
    y.uses = 2
    assert not add_bias(bound.emitter, y, bound.constant(np.ones(21, np.float32)))


def test_an_activation_is_applied_to_the_sums(isa):
    rng = np.random.default_rng(9)
    for m, k, n in [(1, 9, 40), (13, 7, 5), (5, 400, 3)]:
        a, b = strided(rng, (m, k), 0), strided(rng, (k, n), 0)
        bound = Bound(isa)
        y = bound.node("MatMul", a, b, known=(1,))
        y.producer.words[y.producer.epilogue] = 0
        np.testing.assert_allclose(bound.run(y), np.tanh(a @ b), 1e-5, 2e-5)


def test_empty(isa):
    assert run_native("MatMul", np.zeros((0, 3), np.float32), np.zeros((3, 4), np.float32), isa=isa).shape == (0, 4)
    assert run_native("MatMul", np.zeros((2, 0), np.float32), np.zeros((0, 4), np.float32), isa=isa) is None


def test_lanes_are_those_of_the_instruction_set():
    from rnnrt._core import engine, program

    assert LANES[engine.in_use] == program.LANES


def test_product_addend_and_activation_are_one_step():
    rng = np.random.default_rng(10)
    a, b, c = strided(rng, (4, 9), 0), strided(rng, (9, 21), 0), strided(rng, (21,), 0)
    bound = Bound()
    x = bound.node("MatMul", a, b, known=(1,))
    for op, operands in [("Add", [bound.constant(c)]), ("Relu", [])]:
        x.uses = 1
        x = bound.node(op, x, *operands)
    assert [step.op for step in bound.steps] == ["gemm"]
    assert x.pending is None
    np.testing.assert_allclose(bound.run(x), np.maximum(a @ b + c, 0), 1e-5, 1e-5)
