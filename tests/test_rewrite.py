"""Every rewrite leaves the answers of a graph as they were, and does what it is for."""

from __future__ import annotations

import numpy as np
import pytest
from graph_eval import changed, ints, normal, ops, read, run, weights

from rnnrt.errors import ModelError
from rnnrt.rewrite import rewrite
from rnnrt.rewrite.clean import clean
from rnnrt.rewrite.dead import remove_dead
from rnnrt.rewrite.fold import fold
from rnnrt.rewrite.lower import lower

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
