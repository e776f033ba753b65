"""Export Keras recurrent layers with tf2onnx and keep models, TensorFlow's own answers and the failures.

    pip install tensorflow-cpu tf2onnx onnxruntime
    python tests/exports/make_tf2onnx.py [--keep]

``--keep`` takes the models that are there, and only computes their answers and exports the missing ones.
The layers are wrapped in a `tf.function` and converted by ``tf2onnx.convert.from_function``. Which of them become LSTM
nodes and which stay loops is tf2onnx's choice.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import logging
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import corpus
import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx
from keras import layers

I, H, T, B = 3, 4, 5, 2  # noqa: E741 - the field's names


@dataclass
class Case:
    """A function of tensors and what to call it with.

    ``build`` makes the function (layers and weights with it); ``specs`` are its inputs as (name, shape, dtype),
    ``shapes`` the sizes of each recorded call's inputs. ``carried`` maps the position of an input to that of the output
    that is its next value; a stream of ``frames`` is then recorded. ``from_keras`` converts the model as Keras has it.
    """

    name: str
    build: Callable[[], Callable]
    specs: list[tuple]
    shapes: list[list[tuple]]
    carried: dict[int, int] | None = None
    frames: int = 0
    opset: int = 17
    from_keras: bool = False


MAKE = {
    "lstm": layers.LSTM,
    "gru": layers.GRU,
    "gru_before": lambda units, **k: layers.GRU(units, reset_after=False, **k),
    "rnn": layers.SimpleRNN,
}
SEQUENCE = [("x", (None, None, I), "float32")]
WINDOW = [("x", (None, T, I), "float32")]
TWO = [[(B, T, I)], [(B + 1, T + 3, I)]]
SAME = [[(B, T, I)], [(B + 2, T, I)]]


def chain(*parts) -> Callable:
    """The layers one after the other, as a function."""

    def run(x):
        for part in parts:
            x = part(x)
        return x

    return run


def layer_cases() -> Iterator[Case]:
    """Each layer: last step, sequence, with state, both directions, stacked; LSTM and GRU in more forms."""
    states = {"return_sequences": True, "return_state": True}
    for kind, make in MAKE.items():
        yield Case(f"{kind}_last", lambda m=make: m(H), SEQUENCE, TWO)
        yield Case(f"{kind}_sequence", lambda m=make: m(H, return_sequences=True), SEQUENCE, TWO)
        yield Case(f"{kind}_states", lambda m=make: m(H, **states), WINDOW, SAME)
        build = lambda m=make: layers.Bidirectional(m(H, return_sequences=True))  # noqa: E731
        yield Case(f"{kind}_bi", build, SEQUENCE, TWO)
        if kind in ("lstm", "gru"):
            yield Case(f"{kind}_nobias", lambda m=make: m(H, use_bias=False), WINDOW, SAME)
            yield Case(f"{kind}_backwards", lambda m=make: m(H, go_backwards=True, return_sequences=True), WINDOW, SAME)
            yield Case(f"{kind}_unroll", lambda m=make: m(H, unroll=True), WINDOW, SAME)
            yield Case(f"{kind}_bi_sum", lambda m=make: layers.Bidirectional(m(H), merge_mode="sum"), WINDOW, SAME)
        build = lambda m=make: chain(m(H, return_sequences=True), m(H + 1, return_sequences=True), m(H))  # noqa: E731
        yield Case(f"{kind}_stack", build, WINDOW, SAME)

        def given(m=make):
            layer = m(H, **states)
            return lambda x, *state: layer(x, initial_state=list(state))

        n = 2 if kind == "lstm" else 1
        specs = [("x", (None, 1, I), "float32"), *((f"s{k}", (None, H), "float32") for k in range(n))]
        shapes = [[(b, 1, I), *[(b, H)] * n] for b in (1, B)]
        yield Case(f"{kind}_given", given, specs, shapes, {1 + k: 1 + k for k in range(n)}, frames=6)


def form_cases() -> Iterator[Case]:
    """Activations, masks, wrapped and stacked cells, opsets, and small nets."""
    hard = {"activation": "relu", "recurrent_activation": "hard_sigmoid"}
    for kind in ("lstm", "gru"):
        yield Case(f"{kind}_activations", lambda m=MAKE[kind]: m(H, **hard), WINDOW, SAME)
    yield Case("rnn_relu", lambda: layers.SimpleRNN(H, activation="relu", return_sequences=True), WINDOW, SAME)
    for kind in ("lstm", "gru", "rnn"):

        def masked(m=MAKE[kind]):
            layer = m(H, return_sequences=True)
            return lambda x, keep: layer(x, mask=keep)

        specs = [*WINDOW, ("keep", (None, T), "bool")]
        yield Case(f"{kind}_masked", masked, specs, [[(B, T, I), (B, T)], [(B + 1, T, I), (B + 1, T)]])
    cells = {"lstm": layers.LSTMCell, "gru": layers.GRUCell, "rnn": layers.SimpleRNNCell}
    for kind, cell in cells.items():
        build = lambda cell=cell: layers.RNN(cell(H), return_sequences=True)  # noqa: E731
        yield Case(f"{kind}cell_wrapped", build, SEQUENCE, TWO)
    stacked = lambda: layers.RNN([layers.LSTMCell(H), layers.GRUCell(H + 1)], return_sequences=True)  # noqa: E731
    yield Case("cells_stacked", stacked, WINDOW, SAME)
    for opset in (9, 11, 13, 15, 18):
        build = lambda: layers.Bidirectional(layers.LSTM(H, return_sequences=True))  # noqa: E731
        yield Case(f"lstm_bi_opset{opset}", build, WINDOW, SAME, opset=opset)
    head = lambda: chain(layers.LSTM(H, return_sequences=True), layers.TimeDistributed(layers.Dense(2)))  # noqa: E731
    yield Case("net_time_distributed", head, WINDOW, SAME)
    net = lambda: chain(  # noqa: E731
        layers.Conv1D(6, 3, padding="same", activation="relu"),
        layers.BatchNormalization(),
        layers.Bidirectional(layers.GRU(H, return_sequences=True)),
        layers.LSTM(H),
        layers.Dense(3, activation="softmax"),
    )
    yield Case("net_conv_gru_lstm", net, WINDOW, SAME)
    for kind in ("lstm", "gru"):
        model = lambda m=MAKE[kind]: keras.Sequential([keras.Input((T, I), name="x"), m(H)])  # noqa: E731
        yield Case(f"{kind}_from_keras", model, WINDOW, SAME, from_keras=True)
    tagger = lambda: chain(layers.Embedding(11, 4), layers.LSTM(H, return_sequences=True), layers.Dense(5))  # noqa: E731
    yield Case("net_tagger", tagger, [("tokens", (None, None), "int32")], [[(B, T)], [(1, 8)]])


def draw(case: Case, shapes: list[tuple], rng: np.random.Generator) -> list[np.ndarray]:
    """Random inputs by declared type."""
    of = {
        "float32": lambda s: rng.standard_normal(s).astype(np.float32),
        "int32": lambda s: rng.integers(0, 11, s, dtype=np.int32),
        "bool": lambda s: rng.random(s) < 0.7,
    }
    return [of[dtype](shape) for (_, _, dtype), shape in zip(case.specs, shapes, strict=True)]


def answer(function: Callable, args: list[np.ndarray]) -> list[np.ndarray]:
    """One eager call."""
    return [np.asarray(y) for y in tf.nest.flatten(function(*map(tf.constant, args)))]


def stream(function: Callable, case: Case, names: tuple, rng: np.random.Generator):
    """Frames in, frames out and final state of a run from zero state."""
    inputs, outputs = names
    args = draw(case, case.shapes[0], rng)
    args = [np.zeros_like(a) if k in case.carried else a for k, a in enumerate(args)]
    ins = {n: [] for k, n in enumerate(inputs) if k not in case.carried}
    outs = {n: [] for k, n in enumerate(outputs) if k not in case.carried.values()}
    for _ in range(case.frames):
        fresh = draw(case, case.shapes[0], rng)
        args = [args[k] if k in case.carried else a for k, a in enumerate(fresh)]
        got = answer(function, args)
        for side, values, all_names in ((ins, args, inputs), (outs, got, outputs)):
            for name, value in zip(all_names, values, strict=True):
                if name in side:
                    side[name].append(value)
        args = [got[case.carried[k]] if k in case.carried else a for k, a in enumerate(args)]
    state = {inputs[k]: args[k] for k in case.carried}
    return {n: np.stack(v) for n, v in ins.items()}, {n: np.stack(v) for n, v in outs.items()}, state


def export(function: Callable, case: Case, path) -> str:
    """Write `case` as an ONNX file; returns the error, empty if there was none."""
    signature = [tf.TensorSpec(shape, dtype, name=name) for name, shape, dtype in case.specs]
    options = {"opset": case.opset, "output_path": str(path)}
    try:
        if case.from_keras:
            tf2onnx.convert.from_keras(function, signature, **options)
        else:
            traced = tf.function(function, input_signature=signature)
            tf2onnx.convert.from_function(traced, signature, **options)
    except Exception as error:
        return corpus.root_error(error)
    return ""


def make(store: corpus.Corpus, case: Case, keep: bool) -> None:
    """Export, verify and keep one case."""
    seed = zlib.crc32(case.name.encode())
    keras.utils.set_random_seed(seed)
    rng, path = np.random.default_rng(seed), store.path(case.name)
    function = case.build()
    fail = lambda stage, error: store.failures.append(corpus.Failure(case.name, stage, error))  # noqa: E731
    args = [draw(case, shapes, rng) for shapes in case.shapes]
    answer(function, args[0])  # a layer has weights from its first call on
    randomise(function, rng)
    answers = [answer(function, a) for a in args]
    if not (keep and path.exists()):
        path.unlink(missing_ok=True)
        if error := export(function, case, path):
            path.unlink(missing_ok=True)
            return fail("export", error)
        corpus.strip(path)
    graph = onnx.load(path).graph
    names = [name for name, _, _ in case.specs], [value.name for value in graph.output]
    calls = [
        (dict(zip(names[0], a, strict=True)), dict(zip(names[1], y, strict=True)))
        for a, y in zip(args, answers, strict=True)
    ]
    stage, good, error = corpus.disagreement(path, calls, "float32")
    if stage:
        fail(stage, f"call {good}: {error}" if good else error)
    if not good:
        return path.unlink()
    states = {names[0][k]: names[1][v] for k, v in case.carried.items()} if case.carried else {}
    record = corpus.Record(case.name, *names, good, states=states, frames=case.frames)
    store.keep(record, calls, stream(function, case, names, rng) if case.frames else None)
    return None


def randomise(function: Callable, rng: np.random.Generator) -> None:
    """Give biases values: Keras starts them at zero and one, where a mix-up would not show."""
    found = [function] + [c.cell_contents for c in getattr(function, "__closure__", None) or ()]
    for item in found:
        for layer in item if isinstance(item, tuple) else [item]:
            for w in getattr(layer, "weights", ()):
                if "bias" in w.name:
                    w.assign(0.5 * rng.standard_normal(w.shape))


def main() -> None:
    logging.disable(logging.WARNING)
    packages = (tf, keras, tf2onnx, onnx, onnxruntime, np)
    store = corpus.Corpus("tf2onnx", {p.__name__: p.__version__ for p in packages})
    store.folder.mkdir(exist_ok=True)
    for case in (*layer_cases(), *form_cases()):
        make(store, case, "--keep" in sys.argv)
    store.save()
    print(store.summary())


if __name__ == "__main__":
    main()
