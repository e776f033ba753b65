"""Every rewrite leaves the answers of a graph as they were, and does what it is for."""

from __future__ import annotations

import numpy as np
import pytest
from graph_eval import changed, ops, read, run, weights
from hypothesis import given
from hypothesis import strategies as st

from rnnrt.errors import ModelError
from rnnrt.onnx_file import read_model
from rnnrt.rewrite import rewrite
from rnnrt.rewrite.clean import clean
from rnnrt.rewrite.dead import remove_dead
from rnnrt.rewrite.fold import fold
from rnnrt.rewrite.lower import lower
from rnnrt.rewrite.zeros import drop_zero_states


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


# -------------------------------------------------------------------------------------------------------------- folding


def test_chains_of_constants_become_constants() -> None:
    graph = read(
        """(float[N,6] x) => (float[N,4] y) {
            part = Slice(w, from, to, ax)
            turned = Transpose<perm = [1, 0]>(part)
            both = Concat<axis = 1>(turned, turned)
            y = MatMul(x, both)
        }""",
        **{"w": normal(3, 6), "from": ints(0), "to": ints(2), "ax": ints(0)},
    )
    assert changed(graph, {"x": normal(5, 6)}, fold).nodes == 3
    assert ops(graph) == ["MatMul"]


def test_declared_sizes_are_constants_and_undeclared_ones_are_not() -> None:
    text = """(float[{}] x) => (int64[1] n) {{
        s = Shape(x)
        n = Gather(s, k)
    }}"""
    known = read(text.format("N, 1, 257"), k=ints(2))
    changed(known, {"x": normal(3, 1, 257)}, fold)
    assert ops(known) == [] or ops(known) == ["Shape"]
    np.testing.assert_array_equal(known.constants["n"], [257])
    unknown = read(text.format("N, 1, M"), k=ints(2))
    changed(unknown, {"x": normal(3, 1, 9)}, fold)
    assert ops(unknown) == ["Shape", "Gather"]


def test_sizes_of_a_subgraphs_inputs_are_not_trusted() -> None:
    """A Loop may carry a value whose size changes, whatever its body declares."""
    graph = read(
        """(float[1] x, int64 n) => (float[M] y, int64[1] size) {
            y, size = Loop(n, , x, zero) <body = body (int64 i, bool c, float[1] v, int64[1] last)
                => (bool c2, float[K] w, int64[1] now) {
                c2 = Identity(c)
                now = Shape(v)
                w = Concat<axis = 0>(v, v)
            }>
        }""",
        zero=ints(0),
    )
    feeds = {"x": normal(1), "n": np.array(3, np.int64)}
    changed(graph, feeds, rewrite)
    assert run(graph, feeds)["size"] == [4]


def test_folding_sees_the_constants_of_enclosing_graphs_and_takes_constant_branches() -> None:
    graph = read(
        """(float[N,4] x, bool flag) => (float[N,3] y) {
            rank = Size(s)
            y = If(flag) <
                then_branch = a () => (float[N,3] p) {
                    is = Equal(rank, two)
                    p = If(is) <
                        then_branch = b () => (float[N,3] q) { wt = Transpose<perm=[1,0]>(w) q = MatMul(x, wt) },
                        else_branch = c () => (float[N,3] q) { wt = Neg(w) q = Relu(wt) }
                    >
                },
                else_branch = d () => (float[N,3] r) { wt = Transpose<perm=[1,0]>(w) z = MatMul(x, wt) r = Relu(z) }
            >
        }""",
        w=normal(3, 4),
        s=ints(3, 4),
        two=np.array(2),
    )
    folded = changed(graph, {"x": normal(5, 4), "flag": np.array(True)}, fold)
    assert folded.branches == 1
    again = changed(graph, {"x": normal(5, 4), "flag": np.array(False)}, fold)
    assert again.nodes + again.branches == 0
    assert ops(graph) == ["If", "MatMul", "MatMul", "Relu"]


def test_branches_are_inlined_under_names_of_their_own() -> None:
    branch = "t = {}(x) o = Neg(t)"
    graph = read(
        f"""(float[N] x, bool flag) => (float[N] u, float[N] v, float[N] w) {{
            u = If(yes) <then_branch = a () => (float[N] o) {{ {branch.format("Relu")} }},
                         else_branch = b () => (float[N] o) {{ {branch.format("Exp")} }}>
            v = If(no) <then_branch = c () => (float[N] o) {{ {branch.format("Relu")} }},
                        else_branch = d () => (float[N] o) {{ {branch.format("Exp")} }}>
            w = If(flag) <then_branch = e () => (float[N] o) {{ {branch.format("Tanh")} }},
                          else_branch = f () => (float[N] o) {{ o = Identity(x) }}>
        }}""",
        yes=np.array(True),
        no=np.array(False),
    )
    assert changed(graph, {"x": normal(4), "flag": np.array(True)}, fold).branches == 2
    assert ops(graph) == ["Relu", "Neg", "Exp", "Neg", "If", "Tanh", "Neg", "Identity"]
    own = [out for node in graph.nodes for out in node.outputs]
    inner = [out for _, sub in graph.nodes[-1].subgraphs() for node in sub.nodes for out in node.outputs]
    assert len(set(own)) == len(own)
    assert not set(own) & set(inner)


def test_branches_that_name_values_alike_do_not_share_their_sizes() -> None:
    """v has 6 rows in one branch and 2 in the other, so nothing about the result may follow from v."""
    graph = read(
        """(float[N,2] x, bool flag) => (float[M,2] y, bool[1] same) {
            y = If(flag) <
                then_branch = a () => (float[K,2] o) { v = Concat<axis=0>(x, x) o = Relu(v) },
                else_branch = b () => (float[K,2] o) { v = Slice(x, one, most, zero) o = Relu(v) }
            >
            z = If(flag) <
                then_branch = c () => (float[K,2] o) { v = Slice(x, one, most, zero) o = Relu(v) },
                else_branch = d () => (float[K,2] o) { v = Concat<axis=0>(x, x) o = Relu(v) }
            >
            s = Shape<start=0, end=1>(y)
            t = Shape<start=0, end=1>(z)
            same = Equal(s, t)
        }""",
        zero=ints(0),
        one=ints(1),
        most=ints(1 << 40),
    )
    for flag in (True, False):
        changed(graph, {"x": normal(3, 2), "flag": np.array(flag)}, rewrite)
        assert not run(graph, {"x": normal(3, 2), "flag": np.array(flag)})["same"]


@pytest.mark.parametrize(
    "nodes",
    [
        "y = RandomNormal<shape = [3]>()",
        "y = ConstantOfShape(million)",
        "t = Reshape(three, two) y = Cast<to = 1>(t)",
    ],
)
def test_what_is_random_or_large_or_wrong_is_left_to_the_run(nodes: str) -> None:
    constants = {"million": ints(10**6), "three": ints(1, 2, 3), "two": ints(2)}
    graph = read(f"(float[N] x) => (float[M] y) {{ {nodes} }}", **constants)
    assert fold(graph).nodes == 0
    assert ops(graph)


def test_a_small_file_cannot_make_a_large_constant() -> None:
    graph = read("(float[N] x) => (float[M] y) { big = ConstantOfShape(n) y = Neg(big) }", n=ints(1 << 40))
    assert fold(graph).nodes == 0


# ------------------------------------------------------------------------------------------------------------- cleaning


@pytest.mark.parametrize(
    ("nodes", "left"),
    [
        ("a = Identity(x) b = Identity(a) y = Relu(b)", ["Relu"]),
        ("a = Relu(x) y = Identity(a)", ["Relu"]),
        ("a = Cast<to = 1>(x) y = Relu(a)", ["Relu"]),
        ("a = Transpose<perm=[1,0,2]>(x) b = Transpose<perm=[1,0,2]>(a) y = Relu(b)", ["Relu"]),
        ("a = Transpose<perm=[1,2,0]>(x) y = Transpose<perm=[0,2,1]>(a)", ["Transpose"]),
        ("a = Unsqueeze(x, one) b = Squeeze(a, one) y = Relu(b)", ["Relu"]),
        ("a = Slice(x, zero, most, one) y = Relu(a)", ["Relu"]),
        ("a = Concat<axis=1>(x) y = Relu(a)", ["Relu"]),
        ("a = Reshape(x, s1) y = Reshape(a, s2)", ["Reshape"]),
        ("a = Reshape(x, s1) y = Reshape(a, s3)", ["Reshape", "Reshape"]),  # the first may refuse
        ("a = Reshape(x, s0) y = Relu(a)", ["Relu"]),
        ("a = Relu(x) b = Relu(x) y = Add(a, b)", ["Relu", "Add"]),
        ("a = Unsqueeze(x, one) b = Unsqueeze(x, one2) y = Add(a, b)", ["Unsqueeze", "Add"]),
        ("a = Squeeze(x, one) b = Unsqueeze(a, one) y = Relu(b)", ["Squeeze", "Unsqueeze", "Relu"]),  # might fail
        ("s = Shape(x) n = Gather(s, zero) m = Concat<axis=0>(n, minus) y = Reshape(x, m)", ["Reshape"]),
        ("y = Identity(x)", ["Identity"]),
    ],
)
def test_nodes_that_do_nothing_go_away(nodes: str, left: list[str]) -> None:
    names = {"zero": ints(0), "one": ints(1), "one2": ints(1), "most": ints((1 << 63) - 1), "minus": ints(-1)}
    shapes = {"s1": ints(-1, 4), "s2": ints(2, 6, 2), "s3": ints(2, -1, 2), "s0": ints(0, -1, 4)}
    graph = read(f"(float[N, M, 4] x) => (float[P, Q, R] y) {{ {nodes} }}", **names, **shapes)
    changed(
        graph, {"x": normal(2, 1 if " Squeeze(x" in nodes else 3, 4)}, lambda g: (fold(g), clean(g), remove_dead(g))
    )
    assert ops(graph) == left
    assert [v.name for v in graph.outputs] == ["y"]


def test_two_random_nodes_stay_two() -> None:
    graph = read("(float[N] x) => (float[N] y) { a = RandomNormalLike(x) b = RandomNormalLike(x) y = Sub(a, b) }")
    clean(graph)
    assert ops(graph) == ["RandomNormalLike", "RandomNormalLike", "Sub"]


def test_dead_nodes_go_away_and_captured_ones_stay() -> None:
    graph = read(
        """(float[N] x, bool flag) => (float[N] y) {
            kept = Relu(x)
            dead = Exp(x)
            deader = Neg(dead)
            y = If(flag) <then_branch = a () => (float[N] p) { p = Add(kept, c) q = Exp(p) },
                          else_branch = b () => (float[N] p) { p = Neg(kept) }>
        }""",
        c=normal(3),
        unused=normal(3),
    )
    assert changed(graph, {"x": normal(3), "flag": np.array(True)}, remove_dead) == 3
    assert ops(graph) == ["Relu", "If", "Add", "Neg"]
    assert set(graph.constants) == {"c"}


# ------------------------------------------------------------------------------------------------------------- lowering


def test_lowering_writes_every_default_out() -> None:
    graph = read(
        """(float[T,B,3] x) => (float[T,2,B,5] y, float[2,B,5] h) {
            y, h = GRU<direction = "bidirectional", activations = ["HARDSIGMOID", "Affine", "Sigmoid", "LeakyRelu"],
                       activation_alpha = [0.3], activation_beta = [0.6, 0.1], hidden_size = 5>(x, W, R, B)
        }""",
        **weights("GRU", 3, 5, 2),
    )
    assert changed(graph, {"x": normal(4, 2, 3)}, lower)[0] == 1
    node = graph.nodes[0]
    assert (node.domain, node.op, node.inputs) == ("rnnrt", "GRU", ["x", "W", "R", "B", "", ""])
    assert node.attrs == {
        "direction": "bidirectional",
        "hidden_size": 5,
        "activations": ["hardsigmoid", "affine", "sigmoid", "leakyrelu"],
        "activation_alpha": pytest.approx([0.3, 1.0, 0.0, 0.01]),
        "activation_beta": pytest.approx([0.6, 0.1, 0.0, 0.0]),
        "clip": 0.0,
        "linear_before_reset": False,
        "in_views": {},
        "out_axes": {},
    }


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_layout_1_is_a_matter_of_views(cell: str) -> None:
    states = "float[B,1,5] h, float[B,1,5] c" if cell == "LSTM" else "float[B,1,5] h"
    graph = read(
        f"""(float[B,T,3] x, {states}) => (float[B,T,1,5] y, float[B,1,5] yh) {{
            y, yh = {cell}<layout = 1, hidden_size = 5>(x, W, R, B, , h{", c" if cell == "LSTM" else ""})
        }}""",
        **weights(cell, 3, 5),
    )
    feeds = {"x": normal(2, 4, 3), "h": normal(2, 1, 5)} | ({"c": normal(2, 1, 5)} if cell == "LSTM" else {})
    changed(graph, feeds, lower)
    assert set(graph.nodes[0].attrs["in_views"]) == ({0, 5, 6} if cell == "LSTM" else {0, 5})


def with_shape(**changes: tuple[int, ...]) -> dict[str, np.ndarray]:
    made = {**weights("LSTM", 3, 5), "P": normal(1, 15)}
    return {**made, **{name: np.zeros(shape, np.float32) for name, shape in changes.items()}}


@pytest.mark.parametrize(
    ("attributes", "tensors", "message"),
    [
        ("hidden_size = 4", {}, r"shape of W for hidden_size 4: expected \[1, 16, 3\], got \[1, 20, 3\]"),
        (
            "hidden_size = 5",
            {"R": (1, 20, 2)},
            r"shape of R for hidden_size 5: expected \[1, 20, 5\], got \[1, 20, 2\]",
        ),
        ("hidden_size = 5", {"W": (2, 20, 3)}, r"shape of W .* expected \[1, 20, 3\], got \[2, 20, 3\]"),
        ("hidden_size = 5", {"W": (1, 20, 4)}, r"shape of W .* expected \[1, 20, 3\], got \[1, 20, 4\]"),
        ("hidden_size = 5", {"B": (1, 20)}, r"shape of B .* expected \[1, 40\], got \[1, 20\]"),
        ("hidden_size = 5", {"P": (1, 5)}, r"shape of P .* expected \[1, 15\], got \[1, 5\]"),
        ("hidden_size = 5", {"h": (1, 2, 4)}, r"shape of initial_h .* expected \[1, 2, 5\], got \[1, 2, 4\]"),
        ("hidden_size = 0", {}, "hidden_size: expected a number of at least 1, got 0"),
        ('direction = "backward"', {}, "direction: expected one of forward, reverse, bidirectional, got backward"),
        ("layout = 2", {}, "layout: expected one of 0, 1, got 2"),
        ('activations = ["Tanh"]', {}, "number of activations: expected 3, got 1"),
        ('activations = ["Tanh", "Swish", "Tanh"]', {}, "activations: expected one of affine.*, got swish"),
        ("activation_alpha = [1.0, 2.0, 3.0, 4.0]", {}, "activation_alpha: expected at most 3 finite numbers"),
        ("clip = -1.0", {}, "clip: expected a number of at least 0, got -1.0"),
    ],
)
def test_wrong_recurrent_nodes_are_named(attributes: str, tensors: dict, message: str) -> None:
    graph = read(
        f"(float[T,2,3] x) => (float[T,1,2,5] y) {{ y = LSTM<{attributes}>(x, W, R, B, , h, , P) }}",
        **with_shape(**{"h": (1, 2, 5), **tensors}),
    )
    with pytest.raises(ModelError, match=f"LSTM 'y': {message}"):
        lower(graph)


def test_mixed_types_are_refused() -> None:
    made = {**weights("RNN", 3, 5), "B": np.zeros((1, 10))}
    graph = read("(float[T,2,3] x) => (float[T,1,2,5] y) { y = RNN<hidden_size = 5>(x, W, R, B) }", **made)
    with pytest.raises(ModelError, match="type of B: expected float32 as of X, got float64"):
        lower(graph)


def test_weights_that_are_no_constants_are_lowered_too() -> None:
    graph = read(
        "(float[T,B,3] x, float[D,E,3] W, float[D,E,F] R) => (float[T,1,B,F] y) { y = RNN(x, W, R) }",
    )
    made = weights("RNN", 3, 5)
    changed(graph, {"x": normal(4, 2, 3), "W": made["W"], "R": made["R"]}, lower)
    assert graph.nodes[0].domain == "rnnrt"
    assert graph.nodes[0].attrs["hidden_size"] == 0


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
