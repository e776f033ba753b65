"""ONNX's own backend test suite through `rnnrt.backend`, and the backend interface itself.

Every test of the suite whose data comes with the ``onnx`` package has to pass or to end in an `UnsupportedError`: a
wrong answer or any other error fails the group. The counts stand in pytest's summary.
"""

from __future__ import annotations

import re
import unittest
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.backend.test import BackendTest
from onnx.backend.test.loader import load_model_tests
from small_models import add_model, gru_feed, gru_model

import rnnrt.backend
from rnnrt.errors import InputError, ModelError, UnsupportedError

NODE_GROUPS = 8
RECURRENT = re.compile(r"test_(lstm|gru|rnn|simple_rnn)_.*_cpu")
LEAST_SHARE = 0.9

counts: dict[str, Counter] = {}


@pytest.fixture(scope="module")
def suite() -> dict[str, list[unittest.TestCase]]:
    """The suite's CPU tests by category, without those that download a model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # making the expected outputs overflows here and there
        tests = list(_flat(BackendTest(rnnrt.backend, __name__).test_suite))
    found: dict[str, list[unittest.TestCase]] = {}
    for test in tests:
        category = re.sub(r"^OnnxBackend|ModelTest$", "", type(test).__name__)
        if category != "Real" and _name(test).endswith("_cpu"):
            found.setdefault(category, []).append(test)
    return found


def _flat(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from _flat(item)
        else:
            yield item


def _name(test: unittest.TestCase) -> str:
    return test.id().rpartition(".")[2]


def _outcome(test: unittest.TestCase) -> tuple[str, str]:
    """How a test ends: passed, unsupported, wrong or crashed; and why."""
    try:
        getattr(test, _name(test))()
    except (UnsupportedError, unittest.SkipTest) as error:  # skipped: prepare has raised an UnsupportedError
        return "unsupported", str(error)
    except AssertionError as error:
        if _name(test).startswith("test_bernoulli"):
            return _drawn_here(test)
        return _compared_here(test) if "float16" in _dtypes(test) else ("wrong", str(error))
    except Exception as error:
        if "Unable to compare" in str(error):
            return _compared_here(test)
        return "crashed", f"{type(error).__name__}: {error}"
    return "passed", ""


def _compared_here(test: unittest.TestCase) -> tuple[str, str]:
    """How a test ends by a comparison that knows scalars in sequences and what half precision can hold.

    The tolerance for float16 is below the spacing of its numbers, and the answers come from arithmetic in float16;
    here two units in the last place are allowed, as the suite itself does for bfloat16.
    """
    case = _case(test)
    assert case is not None
    for inputs, expected in case.data_sets:
        got = rnnrt.backend.run_model(case.model, list(inputs))
        try:
            for one, other in zip(_leaves(got), _leaves(expected), strict=True):
                assert (one.shape, one.dtype) == (other.shape, other.dtype)
                rtol = max(case.rtol, 2**-9) if one.dtype == np.float16 else case.rtol
                np.testing.assert_allclose(one, other, rtol, case.atol)
        except (AssertionError, ValueError) as error:
            return "wrong", str(error)
    return "passed", ""


def _drawn_here(test: unittest.TestCase) -> tuple[str, str]:
    """How a test of Bernoulli ends, whose answers are random: by shape, type, and that they are ones and zeros."""
    case = _case(test)
    assert case is not None
    for inputs, expected in case.data_sets:
        (got,), (want,) = rnnrt.backend.run_model(case.model, list(inputs)), expected
        if (got.shape, got.dtype) != (want.shape, want.dtype) or not set(np.unique(got)) <= {0, 1}:
            return "wrong", f"expected {want.dtype}{want.shape} of ones and zeros, got {got!r}"
    return "passed", ""


def _case(test: unittest.TestCase) -> Any:
    """The node test case that `test` runs; None for another kind."""
    return next((case for case in load_model_tests(kind="node") if f"{case.name}_cpu" == _name(test)), None)


def _dtypes(test: unittest.TestCase) -> set[str]:
    case = _case(test)
    return {leaf.dtype.name for _, outputs in case.data_sets for leaf in _leaves(outputs)} if case else set()


def _leaves(values: Iterable[Any]) -> Iterator[np.ndarray]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _leaves(value)
        else:
            yield value


def _run_group(group: str, tests: list[unittest.TestCase]) -> None:
    assert tests, group
    outcomes = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for test in tests:
            outcomes[_name(test)] = _outcome(test)
    counts.setdefault(group, Counter()).update(outcome for outcome, _ in outcomes.values())
    for name, (outcome, why) in outcomes.items():
        if outcome == "unsupported":
            print(f"{name}: {why[:200]}")
    bad = [f"{name}: {what}: {why[:300]}" for name, (what, why) in outcomes.items() if what in ("wrong", "crashed")]
    assert not bad, f"{len(bad)} of {len(tests)}:\n" + "\n".join(bad)


@pytest.mark.parametrize("part", range(NODE_GROUPS))
def test_operators(suite, part):
    _run_group("node", suite["Node"][part::NODE_GROUPS])


@pytest.mark.parametrize("category", ["Simple", "PyTorchConverted", "PyTorchOperator"])
def test_models(suite, category):
    _run_group(category.lower(), suite[category])


def test_all_recurrent_operators_pass(suite):
    tests = [test for test in suite["Node"] if RECURRENT.fullmatch(_name(test))]
    outcomes = {_name(test): _outcome(test) for test in tests}
    assert len(outcomes) >= 18
    assert {outcome for outcome, _ in outcomes.values()} == {"passed"}, outcomes
    counts["recurrent nodes"] = Counter(passed=len(outcomes))


def test_share_that_passes(suite, record_property):
    groups = {group: count for group, count in counts.items() if group != "recurrent nodes"}
    total = sum(groups.values(), Counter())
    if sum(total.values()) < sum(map(len, suite.values())):
        pytest.skip("the groups of the suite did not all run")
    for group, count in {**counts, "all": total}.items():
        parts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(count.items()))
        record_property("summary", f"ONNX backend suite, {group}: {parts} of {sum(count.values())}")
    assert total["passed"] >= LEAST_SHARE * sum(total.values())


def test_inputs_come_as_list_mapping_or_single_array():
    prepared = rnnrt.backend.prepare(gru_model())
    feed = gru_feed()
    by_order, by_name = prepared.run(list(feed.values())), prepared.run(feed)
    assert by_order._fields == ("y", "h_out", "twice")
    for one, other in zip(by_order, by_name, strict=True):
        assert np.array_equal(one, other)
    assert np.array_equal(by_order["y"], by_order[0])
    with pytest.raises(InputError, match=r"expected 3 .*got 1"):
        prepared.run(feed["x"])
    assert np.array_equal(rnnrt.backend.run_model(gru_model(), list(feed.values()))[0], by_order[0])


def test_run_node():
    x = np.array([[-1, 2]], np.float32)
    assert np.array_equal(rnnrt.backend.run_node(helper.make_node("Relu", ["x"], ["y"]), x)[0], [[0, 2]])
    double = helper.make_node("Add", ["x", "x"], ["y"])
    (total,) = rnnrt.backend.run_node(double, [x], outputs_info=[(x.dtype, x.shape)])
    assert np.array_equal(total, x + x)
    axes = helper.make_node("Squeeze", ["x"], ["y"], axes=[0])
    assert rnnrt.backend.run_node(axes, [x], opset_version=11)[0].shape == (2,)
    with pytest.raises(InputError, match="expected 1"):
        rnnrt.backend.run_node(helper.make_node("Relu", ["x"], ["y"]), [x, x])


def test_devices_and_compatibility():
    assert rnnrt.backend.supports_device("CPU")
    assert not rnnrt.backend.supports_device("CUDA:0")
    with pytest.raises(UnsupportedError, match="CUDA"):
        rnnrt.backend.prepare(add_model(), "CUDA")
    assert rnnrt.backend.is_compatible(add_model())
    foreign = add_model()
    foreign.graph.node[0].domain = "acme"
    foreign.opset_import.add(domain="acme", version=1)
    assert not rnnrt.backend.is_compatible(foreign)
    with pytest.raises(ModelError):
        rnnrt.backend.prepare(onnx.ModelProto())
