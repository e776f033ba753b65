"""The plan: slots and when they are let go of, tiers, and errors that name what they are about."""

from __future__ import annotations

import subprocess
import sys
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from onnx import helper
from small_models import gru_model
from text_models import STREAMING, lstm, parsed

import rnnrt
from rnnrt._core import program
from rnnrt.errors import InputError, ModelError, UnsupportedError
from rnnrt.ops.registry import OPERATORS
from rnnrt.plan import ABSENT, Plan, Step

F = np.float32


def plan_of(text: str, **weights) -> Plan:
    return rnnrt.load(parsed(text, **weights))._plan


def every(plan: Plan) -> Iterator[Plan]:
    yield plan
    for step in plan.steps:
        for _, inner in step.plans:
            yield from every(inner)


def check_slots(plan: Plan) -> None:
    """No slot is read before it is written or after it is let go of; all but outputs is let go of once."""
    for part in every(plan):
        constants = {k for k, v in enumerate(part._slots) if v is not None}
        alive = {ABSENT, *range(1, 1 + part.n_inputs), *constants}
        freed: list[int] = []
        for step in part.steps:
            assert set(step.inputs) <= alive, step.label
            alive |= set(step.outputs)
            assert set(step.frees) <= alive, step.label
            assert not set(step.frees) & (constants | {ABSENT}), step.label
            alive -= set(step.frees)
            freed += step.frees
        assert set(part.outputs) <= alive
        assert len(freed) == len(set(freed))
        used = {slot for step in part.steps for slot in (*step.inputs, *step.outputs)}
        assert used - set(freed) <= {ABSENT} | constants | set(part.outputs)


def test_slots_of_values_used_twice_captured_later_and_never():
    plan = plan_of("""(bool c, float[4] x) => (float[4] y, float[2] first) {
        early = Exp(x)
        first, second = Split <num_outputs: int = 2> (early)
        twice = Mul(early, early)
        late = Neg(twice)
        y = If (c) <
            then_branch = yes () => (float[4] a) { p = Add(early, late)  a = Mul(p, p) },
            else_branch = no () => (float[4] b) { b = Sub(x, twice) }
        >
    }""")
    check_slots(plan)
    x = np.array([0.5, -1, 0.25, 0.125], F)
    e = np.exp(x)
    y, first = plan.run([np.array(True), x])
    np.testing.assert_allclose(y, (e - e * e) ** 2, rtol=1e-5)
    np.testing.assert_allclose(first, e[:2], rtol=1e-6)
    np.testing.assert_allclose(plan.run([np.array(False), x])[0], x - e * e, rtol=1e-5)


def test_slots_of_loops_in_branches():
    plan = plan_of("""(bool c, int64 m, float x) => (float y) {
        k = Exp(x)
        y = If (c) <
            then_branch = yes () => (float a) {
                n = Add(k, x)
                a = Loop <body = b (int64 i, bool g, float p) => (bool more, float q) {
                    more = Identity(g)  t = Mul(p, k)  q = Sub(t, n)
                }> (m, , k)
            },
            else_branch = no () => (float b) { b = Neg(k) }
        >
    }""")
    check_slots(plan)
    k = np.exp(F(0.5))
    value = k
    for _ in range(3):
        value = value * k - (k + F(0.5))
    np.testing.assert_allclose(plan.run([np.array(True), np.array(3), np.array(0.5, F)])[0], value, rtol=1e-5)


@pytest.mark.parametrize("model", [gru_model(), parsed(STREAMING, **lstm())], ids=["gru", "lstm"])
def test_slots_of_recurrent_models(model):
    check_slots(rnnrt.load(model)._plan)


def test_values_nobody_needs_are_let_go_of_while_it_runs():
    """Of a chain of steps, no more than the last two values are alive at any time."""
    chain = " ".join(f"v{k + 1} = Tanh(v{k})" for k in range(6))
    plan = plan_of(f"(float[N] v0) => (float[N] v6) {{ {chain} }}")
    kept: list[weakref.ref] = []

    def watched(fn):
        def run(*args):
            result = fn(*args)
            kept.append(weakref.ref(result))
            assert sum(ref() is not None for ref in kept) <= 2
            return result

        return run

    plan.steps = tuple(step._replace(fn=watched(step.fn), bind=None) for step in plan.steps)
    assert plan.run([np.zeros(3, F)])[0].shape == (3,)
    assert len(kept) == 6


def test_an_input_and_a_constant_and_one_value_twice_as_outputs():
    text = "(float[2] x) => (float[2] x, float[2] k, float[2] y, float[2] z) { y = Neg(x)  z = Identity(y) }"
    model = rnnrt.load(parsed(text, k=np.array([1, 2], F)))
    check_slots(model._plan)
    x = np.array([3, 4], F)
    got = model.run({"x": x})
    assert [a.tolist() for a in got.values()] == [[3, 4], [1, 2], [-3, -4], [-3, -4]]
    arrays = [x, *got.values()]
    for k, a in enumerate(arrays):
        assert a.flags.writeable
        assert not any(np.shares_memory(a, b) for b in arrays[k + 1 :])


# Tiers


def test_the_reference_tier_runs_what_is_exotic():
    plan = plan_of("(float[N, N] x) => (float y) { t = Neg(x)  y = Det(t) }")
    assert ("", "Det") not in OPERATORS, "take another operator for this test"
    assert [(step.op, step.tier) for step in plan.steps] == [("Neg", "NumPy"), ("Det", "reference")]
    assert plan.run([np.array([[2, 1], [1, 2]], F)])[0] == 3


def test_count_goes_through_branches():
    plan = plan_of("""(bool c, float[1] x) => (float[1] y) {
        t = Neg(x)
        y = If (c) <
            then_branch = a () => (float[1] p) { p = Abs(t) },
            else_branch = b () => (float[1] q) { q = Exp(t) }
        >
    }""")
    assert plan.count() == {"native": 3, "control": 1}


def test_weights_are_not_kept_beside_the_packed_ones():
    plan = rnnrt.load(parsed(STREAMING, **lstm()))._plan
    assert not [v for v in plan._slots if v is not None]


# What cannot be run


def custom(op: str, inputs: list[str], outputs: list[str]):
    return helper.make_node(op, inputs, outputs, domain="com.example")


def test_all_unknown_nodes_are_named_at_once():
    model = parsed("""(bool c, float[1] x) => (float[1] y, float[1] z) {
        t = Neg(x)
        y = If (c) <
            then_branch = a () => (float[1] p) { p = Abs(t) },
            else_branch = b () => (float[1] q) { q = Exp(t) }
        >
        z = Abs(t)
    }""")
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    neg, branch, last = model.graph.node
    neg.CopyFrom(custom("Alpha", ["x"], ["t"]))
    for attribute, op in zip(branch.attribute, ("Beta", "Gamma"), strict=True):
        inner = attribute.g.node[0]
        inner.CopyFrom(custom(op, list(inner.input), list(inner.output)))
    last.CopyFrom(custom("Delta", ["t"], ["z"]))
    with pytest.raises(UnsupportedError) as caught:
        rnnrt.load(model)
    text = str(caught.value)
    assert text.startswith("4 nodes cannot be run: ")
    for op, where in (("Alpha", "t"), ("Beta", "p"), ("Gamma", "q"), ("Delta", "z")):
        assert f"com.example.{op} {where!r}" in text


def test_one_unknown_node_inside_a_loop():
    body = "<body = b (int64 i, bool g, float a) => (bool more, float c) { more = Identity(g)  c = Neg(a) }>"
    model = parsed(f"(int64 m, float x) => (float y) {{ y = Loop {body} (m, , x) }}")
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    model.graph.node[0].attribute[0].g.node[1].CopyFrom(custom("Odd", ["a"], ["c"]))
    with pytest.raises(UnsupportedError, match=r"1 node cannot be run: com\.example\.Odd 'c'"):
        rnnrt.load(model)


def test_weights_that_do_not_fit_are_a_model_error_naming_the_node():
    model = parsed(STREAMING, **(lstm() | {"R": np.zeros((1, 20, 4), F)}))
    with pytest.raises(ModelError, match="LSTM"):
        rnnrt.load(model)


# What fails while it runs


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(float[N] x, float[M] w) => (float[K] y) { y = Add(x, w) }", ("Add 'y'", "float32[2]", "float32[3]")),
        ("(float[N] x, float[M] w) => (float y) { y = MatMul(x, w) }", ("MatMul 'y'", "(2,)", "(3,)")),
        ("(float[N] x, float[M] w) => (float[K] y) { y = Concat <axis: int = 3> (x, w) }", ("Concat 'y'",)),
    ],
)
def test_errors_inside_a_node_name_it_with_the_shapes(text, words):
    model = rnnrt.load(parsed(text))
    with pytest.raises(InputError) as caught:
        model.run({"x": np.ones(2, F), "w": np.ones(3, F)})
    for word in words:
        assert word in str(caught.value)


def test_errors_inside_a_branch_name_the_inner_node():
    model = rnnrt.load(parsed("""(bool c, float[N] x, float[M] w) => (float[K] y) {
        y = If (c) <
            then_branch = a () => (float[K] p) { p = Add(x, w) },
            else_branch = b () => (float[K] q) { q = Abs(x) }
        >
    }"""))  # fmt: skip
    with pytest.raises(InputError, match=r"Add 'p': cannot be computed from \(float32\[2\], float32\[3\]\)"):
        model.run({"c": np.array(True), "x": np.ones(2, F), "w": np.ones(3, F)})
    assert model.run({"c": np.array(False), "x": np.ones(2, F), "w": np.ones(3, F)})["y"].tolist() == [1, 1]


def test_an_error_of_a_recurrent_node_says_which_state_does_not_fit():
    model = rnnrt.load(parsed(STREAMING, **lstm()))
    feeds = {"x": np.zeros((2, 4, 3), F), "h_in": np.zeros((1, 3, 5), F), "c_in": np.zeros((1, 4, 5), F)}
    with pytest.raises(InputError, match=r"LSTM 'y'.*initial_h.*\(1, 4, 5\).*\(1, 3, 5\)"):
        model.run(feeds)


def test_floating_point_errors_are_no_warnings():
    model = rnnrt.load(parsed("(float[N] x) => (float[N] y) { a = Log(x)  y = Div(a, x) }"))
    with np.errstate(all="raise"):
        assert np.isnan(model.run({"x": np.array([-1], F)})["y"]).all()
        with pytest.raises(FloatingPointError):
            np.ones(1, F) / np.zeros(1, F)


def test_every_family_of_native_steps_is_registered():
    """Without any test having imported it: a family that is left out runs in NumPy, and nothing else shows it."""
    code = (
        "import re, pathlib, rnnrt, rnnrt.native as n\n"
        "from rnnrt.native.registry import NATIVE\n"
        "folder = pathlib.Path(n.__file__).parent\n"
        "with_binders = {f.stem for f in folder.glob('*.py') if re.search(r'^@native\\(', f.read_text(), re.M)}\n"
        "missing = with_binders - {b.bind.__module__.rpartition('.')[2] for b in NATIVE.values()}\n"
        "assert not missing, missing\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_walk_knows_the_places_of_a_steps_fields():
    assert Step._fields[: len(program.STEP_FIELDS)] == program.STEP_FIELDS
