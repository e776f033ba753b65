"""ONNX's own node tests of the operators of some families, one by one. (The whole suite: ``test_backend.py``.)"""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest
from ops_util import run_graph

from rnnrt.errors import RnnrtError, UnsupportedError
from rnnrt.onnx_file import read_model
from rnnrt.ops.registry import OPERATORS
from rnnrt.rewrite.normalise import normalise

SHAPING = ("activation", "cast", "elementwise", "index", "layout", "reduce", "select", "shape")
PRODUCTS = ("blocks", "conv", "conv_transpose", "linear", "norm", "pool", "quant", "quant_linear", "resize", "softmax")
# Half precision is compared to within two roundings: expanded functions round more often than expected answers do.
HALF = {"float16": 2e-3, "bfloat16": 2e-2}


def operators(families: tuple[str, ...]) -> set[str]:
    """The standard operators of `families`."""
    modules = {f"rnnrt.ops.{family}" for family in families}
    return {op for (domain, op), operator in OPERATORS.items() if not domain and operator.build.__module__ in modules}


def cases(known: set[str]) -> list[Any]:
    """ONNX's node tests of which every operator is `known`."""
    from onnx.backend.test.case import node

    wanted = {op.lower() for op in known}
    for module in pkgutil.iter_modules(node.__path__):
        if module.name.replace("_", "") in wanted:
            importlib.import_module(f"{node.__name__}.{module.name}")
    return [case for case in node._NodeTestCases if {n.op_type for n in case.model.graph.node} <= known]


def to_numpy(value: Any) -> Any:
    from onnx import OptionalProto, SequenceProto, TensorProto, numpy_helper

    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, SequenceProto):
        return numpy_helper.to_list(value)
    if isinstance(value, OptionalProto):
        return numpy_helper.to_optional(value)
    return value


def same(got: Any, want: Any, rtol: float, atol: float) -> str:
    """What is different, or nothing."""
    if isinstance(want, list):
        if not isinstance(got, list) or len(got) != len(want):
            return f"list of {len(want)} against {type(got).__name__}"
        return next(filter(None, (same(g, w, rtol, atol) for g, w in zip(got, want, strict=True))), "")
    if want is None or got is None:
        return "" if got is want else "None"
    want = np.asarray(want)
    if not isinstance(got, np.ndarray):
        return f"a {type(got).__name__}"
    text = want.dtype.kind in "OUS"
    if got.shape != want.shape or (got.dtype != want.dtype and not text):
        return f"{got.dtype}{got.shape} against {want.dtype}{want.shape}"
    if text:
        return "" if [str(v) for v in got.reshape(-1)] == [str(v) for v in want.reshape(-1)] else "strings"
    exact = want.dtype.kind in "iub" or want.dtype.itemsize < 2
    with np.errstate(all="ignore"):
        if exact:
            equal = got.tobytes() == want.tobytes()
        else:
            wide = np.complex128 if want.dtype.kind == "c" else np.float64
            rtol = max(rtol, HALF.get(want.dtype.name, 0.0))
            equal = np.allclose(got.astype(wide), want.astype(wide), rtol, atol, equal_nan=True)
    return "" if equal else "values"


def run_case(case: Any) -> tuple[str, dict[str, str]]:
    """The outcome of one case, and which tier ran each operator."""
    tiers: dict[str, str] = {}
    try:
        graph = read_model(case.model).graph
        normalise(graph)
        for inputs, outputs in case.data_sets:
            names = [value.name for value in graph.inputs]
            feeds = dict(zip(names, map(to_numpy, inputs), strict=False))
            results = run_graph(graph, feeds, tiers)
            for got, want in zip(results, map(to_numpy, outputs), strict=False):
                difference = same(got, want, case.rtol, case.atol)
                if difference:
                    return f"wrong: {difference}", tiers
    except UnsupportedError as error:
        return f"unsupported: {error}", tiers
    except RnnrtError as error:
        return f"refused: {error}", tiers
    return "pass", tiers


@pytest.mark.parametrize(
    ("families", "least", "by_reference"),
    [(SHAPING, 400, {"Cast"}), (PRODUCTS, 240, {"Resize"})],
    ids=["shaping", "products"],
)
def test_node_tests_of_onnx(families: tuple[str, ...], least: int, by_reference: set[str]) -> None:
    """All pass, but for dropout in training mode, which is refused; and hardly any needs the reference tier."""
    outcomes, failed, slow = Counter(), [], set()
    known = operators(families)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        selected = cases(known)
    for case in selected:
        outcome, tiers = run_case(case)
        outcomes[outcome.split(":")[0]] += 1
        if outcome != "pass" and "training_dropout" not in case.name:
            failed.append((case.name, outcome))
        slow |= {op for op, tier in tiers.items() if tier == "reference"}
    print(f"\nONNX node tests of {len(known)} operators: {dict(outcomes)}; by the reference tier: {sorted(slow)}")
    assert not failed
    assert outcomes["pass"] > least
    assert slow <= by_reference
