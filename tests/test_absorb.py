"""Zero states and the views round recurrent nodes are absorbed, and the answers stay as they were."""

from __future__ import annotations

import numpy as np
import pytest
from graph_eval import changed, ints, normal, ops, read, run, weights
from hypothesis import given
from hypothesis import strategies as st

from rnnrt.onnx_file import read_model
from rnnrt.rewrite import rewrite
from rnnrt.rewrite.lower import lower
from rnnrt.rewrite.zeros import drop_zero_states

# ---------------------------------------------------------------------------------------------------------- zero states


@pytest.mark.parametrize(
    ("nodes", "dropped"),
    [
        ("h = Identity(zeros)", 1),
        ("s = Shape(x) b = Gather(s, one) n = Concat<axis=0>(one, b, five) h = ConstantOfShape(n)", 1),
        ("s = Shape(x) b = Gather(s, one) n = Concat<axis=0>(one, b, five) h = Expand(z, n)", 1),
        ("s = Shape(x) b = Gather(s, one) n = Concat<axis=0>(two, b, five) a = ConstantOfShape(n) h = Slice(a, "
        "zero, one, zero)", 1),
        ("s = Shape(x) b = Gather(s, one) n = Concat<axis=0>(one, b, five) h = "
        "ConstantOfShape<value=float[1]{0.5}>(n)", 0),
        ("h = Identity(nearly)", 0),
        ("h = Mul(given, z)", 0),  # 0 times inf is not 0
    ],
)  # fmt: skip
def test_states_that_are_zero_are_dropped(nodes: str, dropped: int) -> None:
    nearly = np.zeros((1, 2, 5), np.float32)
    nearly[0, 1, 4] = 1e-30
    graph = read(
        f"(float[T,B,3] x, float[1,B,5] given) => (float[1,B,5] yh) {{ {nodes} y, yh = GRU<hidden_size=5>(x, W, "
        f"R, B, , h) }}",
        **weights("GRU", 3, 5),
        zeros=np.zeros((1, 2, 5), np.float32),
        nearly=nearly,
        z=np.zeros((1, 1, 1), np.float32),
        zero=ints(0),
        one=ints(1),
        two=ints(2),
        five=ints(5),
    )
    feeds = {"x": normal(4, 2, 3), "given": normal(1, 2, 5)}
    count = changed(graph, feeds, lambda g: drop_zero_states(g, lower(g)[1]))
    assert count == dropped


# --------------------------------------------------------------------------------------------------- absorbing of views


@pytest.mark.parametrize(
    ("cell", "direction", "text", "left"),
    [
        ("LSTM", "forward", "(float[B,T,3] x) => (float[B,T,5] y) { a = Transpose<perm=[1,0,2]>(x) @ b = "
        "Squeeze(Y, one) y = Transpose<perm=[1,0,2]>(b) }", 0),
        ("GRU", "bidirectional", "(float[T,B,3] a) => (float[T,B,10] y) { @ b = Transpose<perm=[0,2,1,3]>(Y) y "
        "= Reshape(b, keep) }", 0),
        ("GRU", "bidirectional", "(float[T,B,3] a) => (float[M,5] y) { @ b = Transpose<perm=[0,2,1,3]>(Y) y = "
        "Reshape(b, rows) }", 0),
        ("RNN", "forward", "(float[T,B,3] a) => (float[B,5] y) { @ b = Squeeze(Y, one) y = Gather<axis=0>(b, "
        "last) }", 0),
        ("GRU", "forward", "(float[T,B,3] a) => (float[1,B,5] y)"
         "{ @ b = Slice(Y, minus, most, zero) y = Squeeze(b, zero) }", 0),
        ("GRU", "reverse", "(float[T,B,3] a) => (float[1,B,5] y)"
         "{ @ b = Slice(Y, zero, one, zero) y = Squeeze(b, zero) }", 0),
        ("RNN", "reverse", "(float[T,B,3] a) => (float[B,5] y) { @ b = Squeeze(Y, one) y = Gather<axis=0>(b, "
        "zero0) }", 0),
        ("RNN", "reverse", "(float[T,B,3] a) => (float[B,5] y) { @ b = Squeeze(Y, one) y = Gather<axis=0>(b, "
        "last) }", 1),
        ("RNN", "bidirectional", "(float[T,B,3] a) => (float[2,B,5] y) { @ y = Gather<axis=0>(Y, last) }", 1),
        ("GRU", "forward", "(float[7,B,3] a) => (float[1,1,B,5] y) { @ y = Slice(Y, minus, most, zero) }", 0),
        ("GRU", "forward", "(float[T,B,3] a) => (float[1,1,B,5] y) { @ y = Slice(Y, minus, most, zero) }", 1),
        ("LSTM", "forward", "(float[T,B,3] a) => (float[B,5] y) { @ y = Squeeze(Yh, zero) }", 0),
        ("LSTM", "forward", "(float[T,B,3] a) => (float[B,5] y) { @ y = Gather<axis=0>(Yh, zero0) }", 0),
        ("GRU", "bidirectional", "(float[T,B,3] a) => (float[B,10] y) { @ b = Transpose<perm=[1,0,2]>(Yh) y = "
        "Reshape(b, keep1) }", 0),
        ("GRU", "bidirectional", "(float[T,B,3] a) => (float[B,5] y) { @ y = Gather<axis=0>(Yh, zero0) }", 1),
        ("LSTM", "forward", "(float[B,T,3] x) => (float[T,B,5] y, float[B,T,3] z) { a = "
        "Transpose<perm=[1,0,2]>(x) @ y = Squeeze(Y, one) z = Relu(x) }", 1),
        ("LSTM", "forward", "(float[T,B,3] a) => (float[T,B,5] y, float[T,1,B,5] z) { @ y = Squeeze(Y, one) z = "
        "Relu(Y) }", 2),
        ("LSTM", "forward", "(float[T,B,1,3] x) => (float[T,B,5] y) { a = Squeeze(x, two) @ y = Squeeze(Y, one) "
        "}", 0),
        ("LSTM", "forward", "(float[T,12] x) => (float[T,B,5] y) { a = Reshape(x, four3) @ y = Squeeze(Y, one) }", 0),
    ],
)  # fmt: skip
def test_views_round_a_recurrent_node_are_absorbed(cell: str, direction: str, text: str, left: int) -> None:
    # Unused outputs are named too: exporters name them all.
    results = "Y, Yh, Yc" if cell == "LSTM" else "Y, Yh"
    graph = read(
        text.replace("@", f'{results} = {cell}<direction="{direction}", hidden_size=5>(a, W, R, B)'),
        **weights(cell, 3, 5, 2 if direction == "bidirectional" else 1),
        zero=ints(0),
        one=ints(1),
        two=ints(2),
        minus=ints(-1),
        most=ints(1 << 40),
        last=np.array(-1),
        zero0=np.array(0),
        keep=ints(0, 0, -1),
        keep1=ints(0, -1),
        rows=ints(-1, 5),
        four3=ints(0, -1, 3),
    )
    value = graph.inputs[0]
    sizes = {"B": 4, "T": 7}
    feeds = {value.name: normal(*(d if isinstance(d, int) else sizes[d] for d in value.shape or ()))}
    changed(graph, feeds, rewrite)
    assert len(ops(graph)) == 1 + left, ops(graph)


def test_states_are_read_through_slices_of_a_stack_and_bidirectional_layers_hand_on() -> None:
    graph = read(
        """(float[B,T,3] x, float[4,B,10] s) => (float[B,T,10] y, float[B,5] h) {
            a = Transpose<perm=[1,0,2]>(x)
            h1, h2 = Split<axis=0>(s, halves)
            h3 = Slice(h1, zero, five, two)
            Y, Yh = GRU<direction="bidirectional", hidden_size=5>(a, W, R, B, , h3)
            b = Transpose<perm=[0,2,1,3]>(Y)
            c = Reshape(b, keep)
            k = Gather<axis=0>(s, three)
            k1 = Unsqueeze(k, zero)
            k2 = Slice(k1, five, ten, two)
            Z, Zh, Zc = LSTM<hidden_size=5>(c, W2, R2, B2, , k2)
            d = Squeeze(Z, one)
            e = Transpose<perm=[1,0,2]>(d)
            y = Concat<axis=2>(e, e)
            h = Squeeze(Zh, zero)
        }""",
        **weights("GRU", 3, 5, 2),
        **{f"{name}2": array for name, array in weights("LSTM", 10, 5, seed=1).items()},
        halves=ints(2, 2),
        keep=ints(0, 0, -1),
        three=np.array(3),
        zero=ints(0),
        one=ints(1),
        two=ints(2),
        five=ints(5),
        ten=ints(10),
    )
    changed(graph, {"x": normal(2, 6, 3), "s": normal(4, 2, 10)}, rewrite)
    assert ops(graph) == ["rnnrt.GRU", "rnnrt.LSTM", "Concat"]


class Views:
    """Chains of views as hypothesis draws them, in ONNX's text form."""

    KINDS = ("Transpose", "Squeeze", "Unsqueeze", "Reshape", "Slice", "Gather")

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        self.lines: list[str] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, *values: int) -> str:
        name = f"k{len(self.constants)}"
        self.constants[name] = ints(*values)
        return name

    def after(self, name: str, shape: list[int]) -> tuple[str, list[int]]:
        """Views of the value `name`: the last one's name and shape."""
        for _ in range(self.draw(st.integers(0, 4))):
            new, rank = f"v{len(self.lines)}", len(shape)
            kind, axis = self.draw(st.sampled_from(self.KINDS)), self.draw(st.integers(0, rank - 1))
            if kind == "Transpose":
                perm = self.draw(st.permutations(range(rank)))
                call, shape = f"Transpose<perm={list(perm)}>({name})", [shape[p] for p in perm]
            elif kind == "Squeeze" and shape[axis] == 1 and rank > 1:
                call, shape = f"Squeeze({name}, {self.constant(axis)})", shape[:axis] + shape[axis + 1 :]
            elif kind == "Unsqueeze" and rank < 6:
                call, shape = f"Unsqueeze({name}, {self.constant(axis)})", [*shape[:axis], 1, *shape[axis:]]
            elif kind == "Reshape" and axis < rank - 1:
                shape = [*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]]
                zeros = self.draw(st.booleans())
                target = [0 if zeros else d for d in shape[:axis]] + [-1] + shape[axis + 1 :]
                call = f"Reshape({name}, {self.constant(*target)})"
            elif kind == "Slice":
                start = self.draw(st.integers(-shape[axis], shape[axis] - 1))
                step = self.draw(st.sampled_from([1, 2]))
                bounds = [self.constant(v) for v in (start, 1 << 40, axis, step)]
                call = f"Slice({name}, {', '.join(bounds)})"
                shape = [*shape[:axis], len(range(shape[axis])[start::step]), *shape[axis + 1 :]]
            elif kind == "Gather" and rank > 1:
                index = self.constant(self.draw(st.integers(-shape[axis], shape[axis] - 1)))
                self.constants[index] = self.constants[index].reshape(())
                call, shape = f"Gather<axis={axis}>({name}, {index})", shape[:axis] + shape[axis + 1 :]
            else:
                continue
            self.lines.append(f"{new} = {call}")
            name = new
        return name, shape

    def before(self, name: str, shape: list[int]) -> tuple[str, list[int]]:
        """Views that make a value of `shape` of the input `name`: the last one's name, the input's shape."""
        result = current = f"{name}_0"
        lines: list[str] = []
        for count in range(1, self.draw(st.integers(1, 5))):
            source, rank = f"{name}_{count}", len(shape)
            kind, axis = self.draw(st.sampled_from(self.KINDS)), self.draw(st.integers(0, rank - 1))
            if kind == "Transpose":
                perm = list(self.draw(st.permutations(range(rank))))
                call, shape = f"Transpose<perm={perm}>({source})", [shape[perm.index(k)] for k in range(rank)]
            elif kind == "Squeeze" and rank < 6:
                call, shape = f"Squeeze({source}, {self.constant(axis)})", [*shape[:axis], 1, *shape[axis:]]
            elif kind == "Unsqueeze" and shape[axis] == 1 and rank > 1:
                call, shape = f"Unsqueeze({source}, {self.constant(axis)})", shape[:axis] + shape[axis + 1 :]
            elif kind == "Reshape" and axis < rank - 1:
                call = f"Reshape({source}, {self.constant(*shape[:axis], -1, *shape[axis + 1 :])})"
                shape = [*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]]
            elif kind == "Slice":
                bounds = [self.constant(v) for v in (1, 1 + shape[axis], axis, 1)]
                call = f"Slice({source}, {', '.join(bounds)})"
                shape = [*shape[:axis], shape[axis] + 2, *shape[axis + 1 :]]
            elif kind == "Gather" and rank < 6:
                index = self.constant(self.draw(st.sampled_from([0, 1, -1])))
                self.constants[index] = self.constants[index].reshape(())
                call, shape = f"Gather<axis={axis}>({source}, {index})", [*shape[:axis], 3, *shape[axis:]]
            else:
                continue
            lines.append(f"{current} = {call}")
            current = source
        self.lines += [f"{current} = Identity({name})", *reversed(lines)]
        return result, shape


@given(data=st.data())
def test_random_views_round_random_nodes(data: st.DataObject) -> None:
    """Chains of views before X and the state, and after each output, in any order, with known and unknown sizes."""
    cell = data.draw(st.sampled_from(["LSTM", "GRU", "RNN"]))
    direction = data.draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    both = 2 if direction == "bidirectional" else 1
    steps, batch = data.draw(st.sampled_from([1, 2, 3])), data.draw(st.sampled_from([1, 2, 5]))
    views = Views(data)
    declared, feeds, into = [], {}, {}
    for name, shape in (("x", [steps, batch, 3]), ("h", [both, batch, 4])):
        into[name], shape = views.before(name, shape)
        known = data.draw(st.booleans())
        declared.append(f"float[{','.join(str(d) if known else f'{name}{k}' for k, d in enumerate(shape))}] {name}")
        feeds[name] = normal(*shape)
    outputs = {"Y": [steps, both, batch, 4], "Yh": [both, batch, 4]} | (
        {"Yc": [both, batch, 4]} if cell == "LSTM" else {}
    )
    call = f'{cell}<direction="{direction}", hidden_size=4>({into["x"]}, W, R, B, , {into["h"]})'
    views.lines.append(f"{', '.join(outputs)} = {call}")
    results = []
    for name, shape in outputs.items():
        last, shape = views.after(name, shape)
        results.append(f"float[{','.join(f'{name}{k}' for k in range(len(shape)))}] {last}")
    text = f"({', '.join(declared)}) => ({', '.join(results)}) {{ {' '.join(views.lines)} }}"
    changed(read(text, **weights(cell, 3, 4, both), **views.constants), feeds, rewrite)


def test_real_models_answer_as_before(models_dir) -> None:
    """Two models with much around their nodes: the recorded answers come out of the rewritten graphs."""
    for model in ("dtln-1", "silero-vad-v5-op15"):
        graph = read_model(models_dir / model / "model.onnx").graph
        before = len(ops(graph))
        notes = rewrite(graph)
        assert len(ops(graph)) < before / 2
        assert notes
        with np.load(models_dir / model / "cases.npz") as cases:
            feeds = {key[6:]: cases[key] for key in cases.files if key.startswith("c0.in.")}
            want = {key[7:]: cases[key] for key in cases.files if key.startswith("c0.out.")}
        for name, value in run(graph, feeds).items():
            np.testing.assert_allclose(value, want[name], rtol=1e-4, atol=1e-4)
