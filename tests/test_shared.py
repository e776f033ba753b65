"""Models of one file share their weights, and nothing is kept of what they were packed from."""

from __future__ import annotations

import gc
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from text_models import lstm, parsed

import rnnrt
from rnnrt._core import engine
from rnnrt.shared import LARGE

F = np.float32
UNITS = 64
TEXT = """(float[T, N, 64] x) => (float[T, N, 300] y) {
    all = LSTM <hidden_size: int = 64> (x, W, R, B)
    axes = Constant <value = int64[1] {1}> ()
    flat = Squeeze (all, axes)
    y = MatMul (flat, V) }"""


def model_bytes(seed: int = 0, **attributes) -> bytes:
    rng = np.random.default_rng(seed)
    text = TEXT.replace("= 64>", "= 64" + "".join(f", {k}: float = {v}" for k, v in attributes.items()) + ">")
    weights = lstm(inputs=UNITS, units=UNITS, seed=seed)
    return parsed(text, **weights, V=rng.standard_normal((UNITS, 300)).astype(F)).SerializeToString()


def held(model: rnnrt.Model) -> tuple[list[engine.Recurrent], list[np.ndarray]]:
    """The packed layers and the large constants that a model keeps alive."""
    found: dict[int, object] = {}
    pending: list[object] = [model._plan, model._graph]
    while pending:
        thing = pending.pop()
        if id(thing) in found or isinstance(thing, type | type(gc) | type(gc.collect)):
            continue
        found[id(thing)] = thing
        if len(found) < 200_000:
            pending += [t for t in gc.get_referents(thing) if not isinstance(t, dict) or "__builtins__" not in t]
    layers = [t for t in found.values() if isinstance(t, engine.Recurrent)]
    arrays = [t for t in found.values() if isinstance(t, np.ndarray) and t.nbytes >= LARGE]
    return layers, arrays


def test_models_of_one_file_hold_the_same_layer_and_constants():
    data = model_bytes()
    one, two = rnnrt.load(data), rnnrt.load(data)
    (layer,), arrays = held(one)
    (other,), others = held(two)
    assert layer is other
    assert {id(a) for a in arrays} == {id(a) for a in others}
    x = np.random.default_rng(0).standard_normal((5, 2, UNITS)).astype(F)
    assert one(x).tobytes() == two(x).tobytes()


def test_nothing_is_kept_of_what_was_packed():
    layers, arrays = held(rnnrt.load(model_bytes()))
    assert len(layers) == 1
    assert [a.shape for a in arrays if a.base is None or a.dtype == F] == [(UNITS, 300)]


def test_other_weights_and_other_attributes_are_others():
    x = np.random.default_rng(0).standard_normal((5, 2, UNITS)).astype(F)
    sources = [model_bytes(), model_bytes(1), model_bytes(clip=0.25)]
    models = [rnnrt.load(source) for source in sources]
    assert len({id(held(model)[0][0]) for model in models}) == 3
    answers = [model(x) for model in models]
    del models
    gc.collect()
    for source, answer in zip(sources, answers, strict=True):
        assert rnnrt.load(source)(x).tobytes() == answer.tobytes()


def test_weights_that_differ_where_no_sample_is_taken_are_others():
    rng = np.random.default_rng(0)
    w, r, b = (rng.standard_normal(s).astype(F) for s in ((1, 256, 64), (1, 256, 64), (1, 512)))
    layers = [engine.Recurrent("LSTM", w, r, b)]
    for place in rng.integers(0, w.size, 20):
        changed = w.copy()
        changed.reshape(-1)[place] += 1
        layers.append(engine.Recurrent("LSTM", changed, r, b))
    assert engine.same_weights(layers[0], engine.Recurrent("LSTM", w, r, b))
    assert not any(engine.same_weights(layers[0], other) for other in layers[1:])
    assert len({engine.sample_weights(layer, 64) for layer in layers}) < len(layers)
    assert not engine.same_weights(layers[0], w)
    assert not engine.same_weights(w, w.astype(np.float64))


def test_layers_go_with_the_last_model():
    before = sum(isinstance(t, engine.Recurrent) for t in gc.get_objects())
    model = rnnrt.load(model_bytes(7))
    del model
    gc.collect()
    assert sum(isinstance(t, engine.Recurrent) for t in gc.get_objects()) <= before


def test_threads_that_load_at_once_hold_one_layer():
    data = model_bytes(3)
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(rnnrt.load, [data] * 8))
    assert len({id(held(model)[0][0]) for model in models}) == 1


RESIDENT = """
import gc, sys
import rnnrt

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

rnnrt.load(sys.argv[2])
models, seen = [], [resident()]
for _ in range(4):
    models.append(rnnrt.load(sys.argv[1]))
    seen.append(resident())
print(*[after - before for before, after in zip(seen, seen[1:])])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_loading_again_adds_next_to_nothing(tmp_path):
    """An LSTM of 8 MB: the first load keeps the packed weights alone, others less than a tenth of that."""
    units = 512
    text = """(float[T, N, 512] x) => (float[T, 1, N, 512] y) {
        y = LSTM <hidden_size: int = 512> (x, W, R, B) }"""
    big, small = tmp_path / "big.onnx", tmp_path / "small.onnx"
    weights = lstm(inputs=units, units=units)
    big.write_bytes(parsed(text, **weights).SerializeToString())
    small.write_bytes(model_bytes())
    size = sum(array.nbytes for array in weights.values())
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT, str(big), str(small)], capture_output=True, text=True, check=True
    )
    first, *others = map(int, done.stdout.split())
    assert 0.9 * size < first < 1.3 * size
    assert max(others) < 0.1 * size
