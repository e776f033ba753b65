"""The benchmark suite: rows, floors, jobs and contenders. No time is asserted."""

from __future__ import annotations

import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent))

pytest.importorskip("typer")
pytest.importorskip("rich")

from bench import cases, layers, limits, models, problems, report, rounds, rows, summary
from bench.floors import floor, products, reachable
from bench.rounds import Contender, ContenderError, Pace, Timing, interleave, uncertainty

BRIEF = Pace(2, 0.001)
LIMITS = limits.Limits(
    isa="avx2",
    threads=1,
    flops={"avx2": 1e11},
    bandwidth={"L1": 4e11, "L2": 2e11, "L3": 1e11, "DRAM": 1e10},
    sizes={"L1": 32 << 10, "L2": 1 << 20, "L3": 32 << 20},
    round_trip=None,
)


def row(**changes) -> rows.Row:
    return replace(rows.Row("odd", "LSTM", 3, 5, 4, 2), **changes)


@pytest.fixture
def ours():
    with Contender("rnnrt", 1) as contender:
        yield contender


# ------------------------------------------------------------------------------------------------------ rows and floors


def test_rows_are_distinct_and_every_target_has_rows():
    assert len({(r.group, r.name) for r in rows.ROWS}) == len(rows.ROWS)
    assert {group for group, _ in rows.TARGETS} <= set(rows.GROUPS)
    assert [r.name for r in rows.ROWS if rows.is_opened_twice(r)] == ["LSTM 512 T=50 B=1"]
    assert {r.group for r in rows.chosen([], "", quick=True)} == set(rows.USUAL_GROUPS)


def test_lengths_are_between_one_and_all():
    lens = row(steps=100, batch=500, lengths="uniform").sequence_lens
    assert lens.min() >= 1
    assert lens.max() <= 100
    assert 45 < lens.mean() < 56
    assert (row(lengths="full").sequence_lens == 4).all()


def test_floor_of_one_row_is_streaming_and_of_many_is_multiplying():
    w = r = 4 * 4 * 256 * 256  # 1 MiB each: R fits L2, both together L3
    one = row(inputs=256, hidden=256, steps=10, batch=1)
    assert floor(one, LIMITS) == pytest.approx(max(2 * 10 * w / 4 / 1e11, w / 1e11) + 10 * r / 2e11)
    many = replace(one, batch=64)
    assert floor(many, LIMITS) == pytest.approx(2 * 10 * 64 * (w + r) / 4 / 1e11)


def test_floor_of_one_step_streams_both_from_where_they_are():
    assert floor(row(inputs=256, hidden=256, steps=1, batch=1), LIMITS) == pytest.approx((2 << 20) / 1e11)


def test_what_can_be_reached_is_made_of_products_and_functions():
    one = row(inputs=256, hidden=256, steps=10, batch=2)
    r = 4 * 4 * 256 * 256
    inputs, states, last = products(one, 1)
    assert inputs == limits.Product(20, 256, r)
    assert states == limits.Product(2, 256, r)
    assert last == limits.Product(1, 256, r)
    assert products(row(inputs=256, hidden=256, steps=1, batch=1), 1)[:2] == (None, limits.Product(1, 512, 2 * r))
    assert products(row(inputs=1, hidden=256, batch=1), 1)[:2] == (None, limits.Product(1, 257, r + r // 256))
    assert products(replace(one, directions=2), 2)[1] == states
    taken = replace(LIMITS, products={inputs: 3e-3, states: 2e-3, last: 1e-3}, exponential=1e-6, chained=1e-5)
    assert reachable(one, taken) == pytest.approx(3e-3 + 10 * (2e-3 + 2 * 5 * 256 / 8 * 1e-6))
    assert reachable(one, replace(taken, chained=1.0)) == pytest.approx(3e-3 + 10 * (2e-3 + 2.0))
    both = replace(one, directions=2)
    twice = dict(zip(products(both, 1), (3e-3, 2e-3, 1e-3), strict=True))
    assert reachable(both, replace(taken, products=twice)) == pytest.approx(3e-3 + 20 * (2e-3 + 2 * 5 * 256 / 8 * 1e-6))
    alone = replace(taken, products={inputs: 3e-3, states: 2e-3, last: 2e-3})
    assert reachable(one, alone) == pytest.approx(reachable(one, taken))


def test_floor_counts_real_steps_and_private_caches():
    ragged = row(hidden=128, inputs=128, steps=50, batch=64, lengths="uniform")
    full = replace(ragged, lengths="full")
    share = ragged.sequence_lens.sum() / full.sequence_lens.sum()
    assert share * 0.999 < floor(ragged, LIMITS) / floor(full, LIMITS) < share * 1.1
    assert LIMITS.level(1.5 * (1 << 20)) == "L3"
    assert replace(LIMITS, threads=2).level(1.5 * (1 << 20)) == "L2"
    assert LIMITS.level(1 << 30) == "DRAM"


# --------------------------------------------------------------------------------------------------- answers and timing


@pytest.mark.parametrize("name", ["rnnrt", "onnxruntime", "openvino", "torch"])
def test_contenders_answer_right_in_every_mode(name, tmp_path):
    pytest.importorskip(name)
    shapes = [
        row(),
        row(op="GRU", directions=2),
        row(op="RNN", batch=1),
        row(op="GRU", lengths="uniform", directions=2, batch=5),
        row(op="LSTM", lengths="uniform", batch=5),
        row(group="calls", steps=1, batch=1),
        row(group="calls", op="GRU", steps=1, batch=1),
        row(group="streams", steps=1, batch=1, mode="stream"),
        row(group="streams", op="GRU", steps=1, batch=1, mode="stream"),
    ]
    with Contender(name, 1) as contender:
        for k, one in enumerate(shapes):
            folder = tmp_path / str(k)
            folder.mkdir()
            right = problems.write(one, 1, folder)
            reply, answer = contender.open(folder)
            assert problems.error(answer, right) < 1e-5, one.name
            assert reply["seconds"] > 0
            (timing,) = interleave({name: (contender, reply)}, BRIEF).values()
            assert isinstance(timing, Timing)
            assert timing.seconds >= timing.best > 0


def test_a_wrong_answer_is_seen():
    right = {"Y": np.zeros((4, 1, 2, 5))}
    assert problems.error({"Y": np.ones((4, 1, 2, 5))}, right) == 1
    assert problems.error({"Y": np.full((4, 1, 2, 5), np.nan)}, right) == float("inf")
    assert problems.error({"Y": np.zeros((4, 1, 5))}, right) == problems.error({}, right) == float("inf")
    assert problems.error({"Y": np.zeros((9, 1, 2, 5))}, right) == 0  # the oracle stopped early


def test_long_sequences_are_checked_at_their_beginning(tmp_path, monkeypatch, ours):
    monkeypatch.setattr(problems, "CHECKED_WORK", 2 * 2 * 4 * 5 * 8)
    right = problems.write(row(), 1, tmp_path)
    assert {name: array.shape for name, array in right.items()} == {"Y": (2, 1, 2, 5)}
    assert problems.error(ours.open(tmp_path)[1], right) < 1e-5


def test_contender_that_fails_or_dies_is_an_error_and_starts_again(tmp_path, ours):
    with pytest.raises(ContenderError, match="FileNotFoundError"):
        ours.open(tmp_path)
    ours._process.kill()
    with pytest.raises(ContenderError, match="ended with code -9"):
        ours.ask("about")
    assert "version" in ours.ask("about")
    with Contender("nobody", 1) as nobody, pytest.raises(ContenderError, match="ModuleNotFoundError"):
        nobody.ask("about")


def test_opening_twice(tmp_path, ours):
    problems.write(row(), 1, tmp_path)
    assert set(ours.ask("twice", folder=str(tmp_path))) == {"seconds", "more"}


# -------------------------------------------------------------------------------------------------------------- reports


def test_ratios_are_taken_round_by_round():
    slow, fast = Timing((1.0, 4.0, 2.0, 9.0)), Timing((0.5, 2.0, 4.0, 3.0))
    assert slow.over(fast) == 2.0
    assert (slow.seconds, slow.best, slow.spread) == (3.0, 1.0, 8 / 3)
    result = layers.Result(row(), 1, fast, {"rnnrt": fast, "openvino": slow, "torch": Timing((9.0,) * 4)})
    assert result.ahead == 2.0
    assert result.over_floor == 1.0


def test_rounds_go_on_while_ratios_are_restless(monkeypatch):
    assert uncertainty([2.0, 2.0, 2.0]) == 0
    assert uncertainty([1.0]) == math.inf
    assert uncertainty([1.0, 2.0, 3.0, 4.0]) == pytest.approx(1.5 / 2.5 / 2)
    replies = {name: (name, {"seconds": 0.001, "calls": 1}) for name in ("ours", "peer")}
    for peer, wanted in ((lambda k: 2.0, 4), (lambda k: 2.0 if k > 3 else 1.0 + k, 9), (lambda k: 1.0 + k % 5, 12)):
        taken = {"ours": 0, "peer": 0}

        def turn(name, reply, pace, taken=taken, peer=peer):
            taken[name] += 1
            return 1.0 if name == "ours" else peer(taken[name] - 1)

        monkeypatch.setattr(rounds, "_turn", turn)
        timings = interleave(replies, Pace(4, patience=3))
        assert {len(timing.turns) for timing in timings.values()} == {wanted}


def test_row_summary_and_stores(tmp_path, ours):
    with Contender("rnnrt", 1) as again:
        result = layers.run_row(row(group="lengths", batch=5, lengths="uniform"), [ours], 1, LIMITS, BRIEF, again)
    assert not result.failures
    assert result.over_floor
    assert result.over_reachable
    assert set(result.times) == {"rnnrt", layers.FULL}
    assert len(result.floors.turns) == len(result.times["rnnrt"].turns) == BRIEF.rounds
    result.times["onnxruntime"] = Timing(tuple(2 * t for t in result.times["rnnrt"].turns))
    result.errors["onnxruntime"] = 1.0
    assert result.ahead == pytest.approx(2)
    table = summary.group_table("lengths", 1, [result], ["rnnrt", "onnxruntime"])
    verdicts = summary.verdict_table([result])
    words = {line[0]: line[1:] for line in verdicts.rows}
    assert words["lengths, 1 thread: best peer / rnnrt, mean"] == ["2.00×", "≥ 1.60×", "reached"]
    assert words["error at most the best peer's, rows"] == ["1", "1", "reached"]
    assert any("time a real step" in name for name in words)
    report.store({"rows": []}, [table, verdicts], tmp_path / "r.json", tmp_path / "r.md")
    assert json.loads((tmp_path / "r.json").read_text())["machine"]["processors"] >= 1
    assert "| LSTM 3→5 T=4 B=5 uniform |" in (tmp_path / "r.md").read_text()


def test_limits_are_measured_or_refused_with_a_reason(monkeypatch):
    try:
        measured = limits.measure(1, seconds=0.001)
    except limits.NoLimitsError as missing:
        pytest.skip(str(missing))
    assert measured.peak > 1e8
    assert all(rate > 1e7 for rate in measured.bandwidth.values())
    asked = {limits.Product(1, 3, 60), limits.Product(9, 64, 1 << 16), limits.Product(100, 33, 5000)}
    now = measured.now((), 1e-4, asked)
    assert now.products.keys() == asked
    for product, seconds in now.products.items():
        assert seconds > product.rows * product.n_bytes / 2 / (2 * now.peak)
    assert 0 < now.exponential < now.chained
    assert [*measured.bandwidth] == [*measured.sizes, "DRAM"]
    with pytest.raises(limits.NoLimitsError, match="threads asked for"):
        limits.measure(10**4)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    limits._library.cache_clear()
    with pytest.raises(limits.NoLimitsError, match="no C compiler"):
        limits.measure(1)
    limits._library.cache_clear()


def test_models_of_a_folder(tmp_path, ours):
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xsyt"]
    nodes = [helper.make_node("Add", ["x", "s"], ["t"]), helper.make_node("Neg", ["t"], ["y"])]
    graph = helper.make_graph(nodes, "sum", value[:2], value[2:])
    folder = tmp_path / "sum"
    folder.mkdir()
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    x, s = np.ones(2, np.float32), np.zeros(2, np.float32)
    np.savez(folder / "cases.npz", **{"c0.in.x": x, "c0.in.s": s, "c0.out.y": -x, "c0.out.t": x})
    totals = np.cumsum(np.ones((6, 2), np.float32), axis=0)
    np.savez(folder / "stream.npz", **{"in.x": np.ones((6, 2), np.float32), "out.y": -totals, "state.s": totals[-1]})
    (tmp_path / "manifest.json").write_text(json.dumps([{"id": "sum", "state": {"t": "s"}}]))
    found = cases.find(tmp_path)
    assert [(case.name, case.streaming) for case in found] == [("sum 0", False), ("sum stream", True)]
    assert [case.name for case in cases.find(tmp_path, streams_only=True)] == ["sum stream"]
    with Contender("rnnrt", 1) as stepper:
        results = [models.run_case(case, [ours], stepper, BRIEF) for case in found]
    assert all(not r.failures and all(r.right.values()) and r.difference == 0 for r in results)
    assert set(results[1].times) == {"rnnrt", models.STEP}
    assert models.means_table(results, []).rows == [["answers as recorded", "2", "2", "reached"]]
    assert models.times_table(results, ["rnnrt", models.STEP], []).rows[0][2] == "–"
    figures = models.load_row(found[0], ["rnnrt"], {})["rnnrt"]
    assert figures["first_seconds"] > 0
    assert figures["resident"] > 1e6
    with pytest.raises(report.InputError, match="found none"):
        cases.find(folder)


def test_a_difference_that_is_not_a_number_is_infinite():
    nan = {"y": np.array([np.nan])}
    assert cases.difference(nan, {"y": np.zeros(1)}) == float("inf")
    assert not cases.agrees(nan, {"y": np.zeros(1)})
