"""Models from a stranger, wrong in any way, end in a ModelError; never in a crash, a hang, or memory without bound.

Cases go in batches through ``bad_models_worker.py``, a process that has 512 MB above what it starts with and 2 s of
processor time for each. ``RNNRT_FUZZ=n`` sets the number of seeded cases for each model and kind (default 250).
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.descriptor import FieldDescriptor
from models_to_damage import GOOD, lstm_model, model_of
from onnx import helper

import rnnrt
from rnnrt.errors import ModelError

WORKER = Path(__file__).with_name("bad_models_worker.py")
CASES = int(os.environ.get("RNNRT_FUZZ", "250"))


# Running cases


def run_cases(good, cases, folder):
    """Put `cases`, pairs of a label and bytes, through the worker; count how they end, fail if any ends wrongly."""
    blob = b"".join(len(data).to_bytes(8, "little") + data for _, data in [("good", good), *cases])
    (folder / "cases").write_bytes(blob)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    env |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    ends, wrong, start = Counter(), [], 1
    while start <= len(cases):
        command = [sys.executable, str(WORKER), str(folder / "cases"), str(start)]
        process = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60 + 3 * len(cases))
        results = [json.loads(line) for line in process.stdout.splitlines()]
        for (label, data), (end, seconds) in zip(cases[start - 1 :], results, strict=False):
            ends[end.split(":")[0]] += 1
            if end.startswith("wrong") or (seconds > 2 and end != "interrupted"):
                wrong.append((label, end, seconds, data))
        start += len(results)
        if process.returncode and start <= len(cases):
            assert process.returncode < 0, process.stderr
            hung = process.returncode == -signal.SIGPROF
            end = "wrong: more than 2 s" if hung else f"wrong: killed by {signal.Signals(-process.returncode).name}"
            ends["wrong"] += 1
            wrong.append((cases[start - 1][0], end, 0, cases[start - 1][1]))
            start += 1
            if len(wrong) > 30:
                break
    for k, (_, _, _, data) in enumerate(wrong):
        (folder / f"wrong_{k}.onnx").write_bytes(data)
    print(f"{sum(ends.values())} cases: {dict(ends)}")
    assert not wrong, f"{len(wrong)} of {len(cases)}; models in {folder}:\n" + "\n".join(
        f"wrong_{k}: {label}: {end} ({seconds} s)" for k, (label, end, seconds, _) in enumerate(wrong)
    )
    return ends


@pytest.mark.parametrize("name", GOOD)
def test_undamaged_models_run(name, tmp_path):
    data = GOOD[name]().SerializeToString()
    assert run_cases(data, [("good", data)], tmp_path) == {"ran": 1}


# Damage


def test_truncated_at_every_length(tmp_path):
    data = lstm_model().SerializeToString()
    assert len(data) < 2000
    ends = run_cases(data, [(f"first {n} bytes", data[:n]) for n in range(len(data))], tmp_path)
    assert ends == {"refused": len(data)}


@pytest.mark.parametrize("name", GOOD)
def test_bytes_flipped(name, tmp_path):
    data, rng = GOOD[name]().SerializeToString(), random.Random(f"bytes {name}")
    cases = []
    for _ in range(CASES):
        damaged = bytearray(data)
        for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
            k = rng.randrange(len(damaged))
            damaged[k] = rng.choice([damaged[k] ^ 1 << rng.randrange(8), rng.randrange(256), 0, 255, 127, 128])
        cases.append((f"bytes flipped, number {len(cases)}", bytes(damaged)))
    run_cases(data, cases, tmp_path)


@pytest.mark.parametrize("name", GOOD)
def test_fields_changed(name, tmp_path):
    good = GOOD[name]()
    places = list(changes(good))
    rng = random.Random(f"fields {name}")
    cases = [changed(good, *place) for place in rng.sample(places, min(CASES, len(places)))]
    print(f"{len(cases)} of {len(places)} changes")
    run_cases(good.SerializeToString(), cases, tmp_path)


INTS = (0, 1, -1, 2, -2, 3, 7, 64, 1000, 1 << 20, (1 << 31) - 1, -(1 << 31), (1 << 62) + 1, (1 << 63) - 1, -(1 << 63))
FLOATS = (0.0, -1.0, 1e-40, 3e38, float("inf"), float("-inf"), float("nan"))
STRINGS = ("", "x", "y", "W", "h0", "Relu", "LSTM", "If", "Loop", "com.microsoft", "\0", "../w", "n" * 10_000, "\u00fc")
BYTES = (b"", b"\xff", b"\0" * 3, b"reverse", b"bidirectional", b"\xff" * 64, bytes(100_000))
KINDS = {
    FieldDescriptor.CPPTYPE_INT64: INTS,
    FieldDescriptor.CPPTYPE_INT32: INTS[:12],
    FieldDescriptor.CPPTYPE_UINT64: [abs(n) for n in INTS],
    FieldDescriptor.CPPTYPE_FLOAT: FLOATS,
    FieldDescriptor.CPPTYPE_DOUBLE: FLOATS,
}


def odd_values(field):
    """Values to put into a field that is no message."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return [v.number for v in field.enum_type.values]
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return BYTES if field.type == FieldDescriptor.TYPE_BYTES else STRINGS
    return KINDS[field.cpp_type]


def is_repeated(field):
    return field.is_repeated if hasattr(field, "is_repeated") else field.label == FieldDescriptor.LABEL_REPEATED


def changes(message, path=()):
    """All changes of one field somewhere in `message`: (path to its message, field name, change, its argument)."""
    for field in message.DESCRIPTOR.fields:
        scalar = field.cpp_type != FieldDescriptor.CPPTYPE_MESSAGE
        if is_repeated(field):
            items = getattr(message, field.name)
            if scalar:
                yield from ((path, field.name, "append", v) for v in odd_values(field))
                yield from (
                    (path, field.name, ("set", k), v) for k in range(min(len(items), 8)) for v in odd_values(field)
                )
            else:
                yield (path, field.name, "append", None)
                for k, item in enumerate(items):
                    yield from ((path, field.name, (change, k), None) for change in ("repeat", "clear", "many"))
                    yield from changes(item, (*path, (field.name, k)))
            yield from ((path, field.name, ("delete", k), None) for k in range(min(len(items), 8)))
            if len(items) > 1:
                yield (path, field.name, "reverse", None)
        elif scalar:
            yield from ((path, field.name, "set", v) for v in odd_values(field))
        elif message.HasField(field.name):
            yield from changes(getattr(message, field.name), (*path, (field.name, None)))
        else:
            yield (path, field.name, "make", None)
        if not is_repeated(field) and message.HasField(field.name):
            yield (path, field.name, "delete", None)


def changed(good, path, name, change, argument):
    """A label and the bytes of `good` after a change that :func:`changes` lists."""
    model = onnx.ModelProto()
    model.CopyFrom(good)
    message = model
    for step, k in path:
        message = getattr(message, step) if k is None else getattr(message, step)[k]
    change, k = change if isinstance(change, tuple) else (change, None)
    field = getattr(message, name)
    if change == "set" and k is None:
        setattr(message, name, argument)
    elif change == "set":
        field[k] = argument
    elif change == "append" and argument is None:
        field.add()
    elif change == "append":
        field.append(argument)
    elif change == "clear":
        field[k].Clear()
    elif change in ("repeat", "many"):
        field.extend([field[k]] * (1 if change == "repeat" else 500))
    elif change == "delete" and k is None:
        message.ClearField(name)
    elif change == "delete":
        del field[k]
    elif change == "reverse":
        items = list(field)[::-1]
        copies = [type(i).FromString(i.SerializeToString()) if hasattr(i, "DESCRIPTOR") else i for i in items]
        del field[:]
        field.extend(copies)
    else:
        field.SetInParent()
    where = ".".join(step if k is None else f"{step}[{k}]" for step, k in path)
    return f"{where}.{name} {change} {k if k is not None else ''} {str(argument)[:30]!r}", model.SerializeToString()


# Weights of the wrong shape


def right_shapes(gates):
    """Of the inputs of a recurrent node 3 -> 4 with a batch of 2."""
    of_weights = {"W": (1, gates * 4, 3), "R": (1, gates * 4, 4), "B": (1, gates * 8), "P": (1, 12)}
    return of_weights | {"lens": (2,), "h0": (1, 2, 4), "c0": (1, 2, 4)}


def recurrent(op, gates, shapes, **attributes):
    """A model of one recurrent node, 3 -> 4, whose optional inputs are all there, of the given shapes."""
    names = ["W", "R", "B", "lens", "h0"] + (["c0", "P"] if op == "LSTM" else [])
    full = right_shapes(gates) | shapes
    constants = {n: np.full(full[n], 2, np.int32) if n == "lens" else np.ones(full[n], np.float32) for n in names}
    node = helper.make_node(op, ["x", *names], ["y", "h"], name="the_cell", **({"hidden_size": 4} | attributes))
    return model_of([node], {"x": (5, 2, 3)}, ["y", "h"], constants)


WRONG_SHAPES = [
    {"W": (1, 16, 5)}, {"W": (1, 15, 3)}, {"W": (2, 16, 3)}, {"W": (16, 3)}, {"W": (1, 0, 3)}, {"W": (1, 48)},
    {"R": (1, 16, 3)}, {"R": (1, 4, 16)}, {"R": (0, 16, 4)}, {"R": (1, 16, 4, 1)}, {"B": (1, 16)}, {"B": (32,)},
    {"B": (2, 32)},
    {"lens": (3,)}, {"lens": (2, 1)}, {"h0": (2, 4)}, {"h0": (1, 2, 5)}, {"h0": (2, 2, 4)}, {"h0": (1, 3, 4)},
    {"c0": (1, 2, 3)}, {"c0": (8,)}, {"P": (1, 16)}, {"P": (12,)},
]  # fmt: skip


@pytest.mark.parametrize("shapes", WRONG_SHAPES, ids=str)
@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_weights_of_the_wrong_shape(op, gates, shapes):
    """Known when loading where it contradicts other constants; the batch is known only from the input."""
    if shapes.keys() & {"c0", "P"} and op != "LSTM":
        pytest.skip(f"{op} has no such input")
    scaled = {k: tuple(n * gates // 4 if n in (15, 16, 32, 48) else n for n in s) for k, s in shapes.items()}
    if scaled.items() <= right_shapes(gates).items():
        pytest.skip(f"the right shape for {op}")
    with pytest.raises(ModelError, match="the_cell"):
        rnnrt.load(recurrent(op, gates, scaled)).run({"x": np.zeros((5, 2, 3), np.float32)})


@pytest.mark.parametrize(
    "attributes",
    [
        {"hidden_size": 5}, {"hidden_size": 0}, {"hidden_size": -4}, {"hidden_size": 1 << 62},
        {"direction": "sideways"}, {"direction": "bidirectional"}, {"direction": b"\xff"}, {"activations": ["Tanh"]},
        {"activations": ["Nope"] * 3}, {"clip": -1.0}, {"layout": 2}, {"input_forget": 3},
    ],
    ids=str,
)  # fmt: skip
def test_attributes_that_make_no_sense(attributes):
    with pytest.raises(ModelError, match="the_cell"):
        rnnrt.load(recurrent("LSTM", 4, {}, **attributes))


# Declared sizes


@pytest.mark.parametrize("dims", [(1 << 62, 2, 3), (1 << 40, 2, 3)])
def test_huge_inputs_are_fine_until_fed(dims, tmp_path):
    model = lstm_model()
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, dims, strict=True):
        dim.dim_value = size
    data = lstm_model().SerializeToString()
    ends = run_cases(data, [("huge", model.SerializeToString())], tmp_path)
    assert "refused" not in ends


def test_small_files_that_ask_for_much_memory(tmp_path):
    """Shapes in constants that would fill the memory when computed with: an error, and no attempt."""
    node = helper.make_node
    shape = {"s": np.array([1 << 20, 1 << 20])}
    big = [
        [node("ConstantOfShape", ["s"], ["y"])],
        [node("Expand", ["x", "s"], ["y"])],
        [node("Tile", ["x", "s"], ["y"])],
        [node("Range", ["a", "b", "c"], ["y"])],
        [node("OneHot", ["s", "b", "v"], ["y"])],
        [node("Pad", ["x", "p"], ["y"])],
        [node("Resize", ["x", "", "f"], ["y"])],
        [node("RandomNormal", [], ["y"], shape=[1 << 20, 1 << 20])],
        [node("EyeLike", ["e"], ["y"]), node("ConstantOfShape", ["s"], ["e"])],
    ]
    scalars = {"a": np.array(0), "b": np.array(1 << 40), "c": np.array(1), "v": np.array([0, 1])}
    more = {"p": np.array([0, 0, 1 << 40, 1 << 40]), "f": np.array([1e9, 1e9], np.float32)}
    models = [model_of(nodes, {"x": (1, 1)}, ["y"], shape | scalars | more) for nodes in big]
    cases = [(nodes[0].op_type, m.SerializeToString()) for nodes, m in zip(big, models, strict=True)]
    run_cases(lstm_model().SerializeToString(), cases, tmp_path)
