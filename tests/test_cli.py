"""The command line, run as a program and, where that is all the same, in this process."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_models import add_model, finished, gru_feed, gru_model

pytest.importorskip("typer")

from rnnrt.cli.app import run_app
from rnnrt.cli.bench import measure
from rnnrt.cli.check import difference, stands_with
from rnnrt.cli.feeds import Wanted, make_feed, read_cases
from rnnrt.errors import InputError
from rnnrt.graph import Value


@pytest.fixture
def model(tmp_path):
    """The path of the small GRU."""
    path = tmp_path / "model.onnx"
    path.write_bytes(gru_model().SerializeToString())
    return path


@pytest.fixture
def rnnrt(monkeypatch, capsys):
    """Run a command line; gives exit code, stdout and stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["rnnrt", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            run_app()
        captured = capsys.readouterr()
        return left.value.code or 0, captured.out, captured.err

    return call


def test_run_stores_and_shows_outputs(rnnrt, model, tmp_path):
    feed = gru_feed()
    for name, array in feed.items():
        np.save(tmp_path / f"{name}.npy", array)
    given = [word for name in feed for word in ("--input", f"{name}={tmp_path / name}.npy")]
    code, out, err = rnnrt("run", model, *given, "--output", tmp_path / "out.npz")
    assert code == 0
    assert "4x1x2x5" in out
    assert "twice" in out
    assert "out.npz" in err
    with np.load(tmp_path / "out.npz") as stored:
        assert set(stored.files) == {"y", "h_out", "twice"}
        assert np.array_equal(stored["y"][-1], stored["h_out"])
        assert stored["twice"] == 42


def test_run_makes_inputs_up_and_says_so(rnnrt, model, tmp_path):
    code, out, err = rnnrt("run", model, "--output", tmp_path / "a.npz")
    assert code == 0
    assert "100x1x3" in out
    assert "T = 100" in err
    assert "B = 1" in err
    code, out, err = rnnrt("run", model, "--shape", "x=7x4x3", "--seed", "0", "--output", tmp_path / "b.npz")
    assert code == 0
    assert "7x4x3" in out
    assert "1x4x5" in out
    assert "chosen" not in err
    rnnrt("run", model, "--output", tmp_path / "c.npz")
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "c.npz") as c:
        assert np.array_equal(a["y"], c["y"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--shape", "x=7x4"], "'x': expected (T, B, 3), got (7, 4)"),
        (["--shape", "q=7"], "expected one of the inputs x, h, k, got 'q'"),
        (["--shape", "x"], "expected name=value"),
        (["--shape", "x=axb"], "expected sizes such as 1x512"),
        (["--shape", "x=999999x999999x3"], "expected at most"),
        (["--input", "x=there_is_none.npy"], "there_is_none.npy"),
        (["--output", "out.txt"], ".npz"),
    ],
)
def test_run_refuses_in_one_line(rnnrt, model, arguments, says):
    code, out, err = rnnrt("run", model, *arguments)
    assert code == 2
    assert not out.strip().startswith("outputs")
    assert says in err
    assert err.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in err


def test_bad_models_are_one_line(rnnrt, tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"this is no model")
    for verb in ("run", "inspect", "check", "bench"):
        for path in (bad, tmp_path / "none.onnx", tmp_path):
            code, _, err = rnnrt(verb, path)
            assert code == 2
            assert err.startswith("error: ")
            assert err.count("\n") == 1


def test_inspect(rnnrt, model):
    code, out, _ = rnnrt("inspect", model)
    assert code == 0
    for part in ("TxBx3", "tensor(int64)", "tests", "17", "h_out", "GRU"):
        assert part in out, part
    code, short, _ = rnnrt("inspect", model, "--no-plan")
    assert code == 0
    assert len(short) < len(out)


def test_check_agrees(rnnrt, model):
    code, out, err = rnnrt("check", model)
    assert code == 0
    assert "rnnrt agrees" in out
    assert "onnx.reference" in out
    assert "chosen" in err


def test_check_fails_where_recorded_cases_say_otherwise(rnnrt, tmp_path):
    path = tmp_path / "model.onnx"
    graph = add_model().graph
    del graph.output[1], graph.node[1]
    path.write_bytes(finished(graph).SerializeToString())
    assert rnnrt("check", path, "--cases")[0] == 2
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for wrong, wanted in ((0.0, 0), (0.5, 1)):
        np.savez(tmp_path / "cases.npz", **{"c0.in.x": x, "c0.in.y": x, "c0.out.z": x + x + np.float32(wrong)})
        code, out, err = rnnrt("check", path, "--cases")
        assert code == wanted
        assert "case 0" in out
        assert "cases.npz" in err
        assert rnnrt("check", path)[0] == 0


def test_check_names_engines_that_fail(rnnrt, tmp_path):
    """Layout 1 is beyond onnxruntime."""
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    weights = {"W": rng.standard_normal((1, 20, 3)), "R": rng.standard_normal((1, 20, 5))}
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "W", "R"], ["y"], hidden_size=5, layout=1)],
        "batchwise",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4, 1, 5])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(finished(graph).SerializeToString())
    _, out, _ = rnnrt("check", path)
    assert "onnxruntime gave no answer" in out
    assert "Batchwise" in out


def test_bench(rnnrt, model, tmp_path):
    stored = tmp_path / "figures.json"
    code, out, _ = rnnrt(
        *("bench", model, "--batch", 3, "--steps", 6, "--seconds", 0.05, "--vs", "onnx.reference", "--json", stored)
    )
    assert code == 0
    assert "6x3x3" in out
    assert "steps/s" in out
    assert "onnx.reference" in out
    figures = json.loads(stored.read_text())
    assert figures["steps"] == 6
    assert figures["inputs"]["x"] == {"shape": [6, 3, 3], "dtype": "float32"}
    for row in figures["rows"]:
        assert 0 < row["minimum"] <= row["median"] <= row["p99"]
        assert row["calls"] >= 3
        assert row["steps_per_second"] == pytest.approx(6e6 / row["median"])
    assert {"rnnrt", "rnnrt stream"} <= {row["engine"] for row in figures["rows"]}
    code, _, err = rnnrt("bench", model, "--vs", "nothing")
    assert code == 2
    assert "expected some of onnx.reference, onnxruntime, openvino" in err


def test_bench_takes_turns():
    order = []
    measure({name: (lambda name=name: order.append(name)) for name in "ab"}, 0.02)
    changes = sum(one != other for one, other in itertools.pairwise(order))
    assert changes >= 6


def test_program_version_help_pipes_and_usage(model):
    def program(*arguments, module="rnnrt"):
        return subprocess.run([sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True)

    assert program("--version").stdout.startswith("rnnrt ")
    shown = program("--help", module="rnnrt.cli")
    assert shown.returncode == 0
    assert all(verb in shown.stdout for verb in ("run", "inspect", "check", "bench", "demo"))
    piped = program("inspect", model)
    assert piped.returncode == 0
    assert "\x1b" not in piped.stdout
    assert piped.stderr == ""
    failed = program("run", "none.onnx")
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: ")
    assert "\x1b" not in failed.stderr
    assert program("run").returncode == 2
    assert program("nonsense").returncode == 2


def test_without_the_extra_it_says_how_to_get_it():
    code = "import sys; sys.modules['typer'] = None; from rnnrt.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert 'pip install "rnnrt[cli]"' in done.stderr


def _made(values, **wanted):
    feed = make_feed(values, {}, Wanted(**wanted), None)
    return {name: array.shape for name, array in feed.arrays.items()}, feed


def test_sizes_of_unknown_dimensions():
    f32 = np.dtype(np.float32)
    named = [Value("a", f32, ("batch", "time", 40)), Value("b", f32, ("time", "batch", 2))]
    assert _made(named)[0] == {"a": (1, 100, 40), "b": (100, 1, 2)}
    shapes, feed = _made(named, batch=3, steps=7)
    assert shapes == {"a": (3, 7, 40), "b": (7, 3, 2)}
    assert feed.steps == 7
    assert _made(named, shapes=["a=2x5x40"])[0] == {"a": (2, 5, 40), "b": (5, 2, 2)}
    assert _made([Value("a", f32, (None, None, 40))])[0] == {"a": (1, 100, 40)}
    assert _made([Value("a", f32, (None, 40))])[0] == {"a": (1, 40)}
    assert _made([Value("a", f32, (1, None))])[0] == {"a": (1, 100)}
    assert _made([Value("a", f32, ())])[0] == {"a": ()}
    with pytest.raises(InputError, match="'a'"):
        _made(named, shapes=["a=2x5x41"])


def test_values_by_dtype_and_name():
    values = [
        Value("sr", np.dtype(np.int64), ()),
        Value("lengths", np.dtype(np.int32), ("batch",)),
        Value("ids", np.dtype(np.int64), ("batch", "time")),
        Value("flag", np.dtype(bool), (4,)),
        Value("half", np.dtype(np.float16), (4,)),
        Value("text", np.dtype(object), (2,)),
    ]
    _, feed = _made(values, steps=9)
    arrays = feed.arrays
    assert arrays["sr"] == 16000
    assert list(arrays["lengths"]) == [9]
    assert arrays["ids"].shape == (1, 9)
    assert arrays["ids"].min() >= 0
    assert arrays["ids"].max() < 10
    for value in values:
        assert arrays[value.name].dtype == value.dtype
    with pytest.raises(InputError, match="seq"):
        _made([Value("s", None, None, "seq(tensor(float))")])


def test_states_begin_at_zero_or_anywhere():
    value = Value("h", np.dtype(np.float32), (1, "B", 5))
    states = {"h": "h_out"}
    assert not make_feed([value], states, Wanted(), None).arrays["h"].any()
    assert make_feed([value], states, Wanted(zero_states=False), None).arrays["h"].any()


def test_recorded_cases_are_used_unless_sizes_are_asked_for(tmp_path):
    path = tmp_path / "cases.npz"
    x = np.ones((2, 3), np.float32)
    np.savez(path, **{"c0.in.a": x, "c0.out.z": x, "c10.in.a": x + 1, "c2.in.a": x + 2, "other": x})
    assert [float(given["a"][0, 0]) for given, _ in read_cases(path)] == [1, 3, 2]
    value = Value("a", np.dtype(np.float32), ("N", 3))
    assert make_feed([value], {}, Wanted(), path).arrays["a"].shape == (2, 3)
    assert make_feed([value], {}, Wanted(batch=5), path).arrays["a"].shape == (5, 3)
    path.write_bytes(b"no archive")
    with pytest.raises(InputError, match="recorded"):
        read_cases(path)


def test_differences():
    one = np.array([1.0, 2.0], np.float32)

    def apart(got, want):
        return difference(got, want, 1e-4, 1e-4)

    assert apart(one, one + np.float32(1e-5)).allowed
    far = apart(one, one + 1)
    assert not far.allowed
    assert far.largest == 1
    assert far.relative == pytest.approx(1 / 3)
    assert not apart(one, one[:1]).allowed
    assert not apart(one, one.astype(np.float64)).allowed
    nan, inf = np.array([np.nan], np.float32), np.array([np.inf], np.float32)
    assert apart(nan, nan).allowed
    assert apart(inf, inf).allowed
    assert not apart(nan, inf).allowed
    assert not apart(one[:1], inf).allowed
    assert not apart(one[:1], nan).allowed
    assert not apart(np.array([3]), np.array([4])).allowed
    assert apart(np.array([1.0], np.float16), np.array([1.002], np.float16)).allowed
    assert apart([one, one], [one, one]).allowed
    assert not apart([one], [one, one]).allowed
    assert not apart([one, one], [one, one + 1]).allowed
    assert apart([], []).allowed
    assert apart(np.array(["a"], object), np.array(["a"])).allowed
    assert not apart(np.array(["a"]), np.array(["b"])).allowed
    assert apart(one[:0], one[:0]).allowed
    assert not apart(np.array([1j]), np.array([2j])).allowed


def test_majority():
    a, b, c = (np.array([v], np.float32) for v in (1.0, 2.0, 3.0))

    def stands(others):
        return stands_with(a, others, 1e-4, 1e-4)

    assert stands([a])
    assert stands([a, b])
    assert stands([a, b, c])
    assert not stands([b])
    assert not stands([b, c])
    assert not stands([b, b, a])
