"""GraphProto to Graph: names, order, attributes, subgraphs; operators against their definitions."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_util import FLOAT, model_of, node, refused, simple, value

from rnnrt.errors import ModelError
from rnnrt.graph import Graph
from rnnrt.onnx_file import read_model

# Graphs


def test_declared_inputs_and_outputs():
    model = model_of([node("Identity", ["x"], ["y"])])
    model.graph.input.add().CopyFrom(helper.make_tensor_value_info("a", TensorProto.FLOAT16, ["batch", None, 3, -1, 0]))
    model.graph.input.add().CopyFrom(helper.make_tensor_value_info("huge", TensorProto.INT64, [1 << 62, 1 << 62]))
    model.graph.input.add().CopyFrom(helper.make_tensor_value_info("norank", TensorProto.BOOL, None))
    model.graph.input.add().CopyFrom(
        helper.make_value_info("seq", helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None)))
    )
    found = {v.name: (v.dtype, v.shape, v.kind) for v in read_model(model).graph.inputs}
    assert found["a"] == (np.float16, ("batch", None, 3, None, 0), "tensor")
    assert found["huge"] == (np.int64, (1 << 62, 1 << 62), "tensor")
    assert found["norank"] == (np.bool_, None, "tensor")
    assert found["seq"] == (None, None, "seq(tensor(float))")


def test_declarations_refused():
    for change, word in [(-2, "at least 0"), (-(1 << 63), "at least 0")]:
        model = simple()
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = change
        refused(model, word, "input")
    model = simple()
    model.graph.input[0].type.tensor_type.elem_type = 77
    refused(model, "77")
    model = simple()
    model.graph.input[0].ClearField("type")
    refused(model, "type", "'x'")
    model = simple()
    model.graph.input[0].name = ""
    refused(model, "name")
    model = simple()
    model.graph.input.add().CopyFrom(model.graph.input[0])
    refused(model, "'x'", "two")


def test_initializers_are_no_inputs():
    model = simple()
    model.graph.input.add().CopyFrom(value("w"))
    assert [v.name for v in read_model(model).graph.inputs] == ["x"]


def test_two_initializers_of_one_name():
    model = simple()
    model.graph.initializer.add().CopyFrom(model.graph.initializer[0])
    refused(model, "two initializers", "'w'")


def test_nodes_are_sorted():
    nodes = [node("Relu", ["b"], ["y"]), node("Neg", ["x"], ["a"]), node("Abs", ["a"], ["b"])]
    assert [n.op for n in read_model(model_of(nodes)).graph.nodes] == ["Neg", "Abs", "Relu"]
    free = [node("Neg", ["x"], ["y"]), node("Abs", ["x"], ["a"]), node("Relu", ["x"], ["b"])]
    assert [n.op for n in read_model(model_of(free)).graph.nodes] == ["Neg", "Abs", "Relu"]


def test_cycle_is_named():
    nodes = [
        node("Relu", ["x"], ["p"], name="before"), node("Add", ["p", "c"], ["a"], name="one"),
        node("Neg", ["a"], ["b"], name="two"), node("Abs", ["b"], ["c"], name="three"),
        node("Abs", ["c"], ["y"], name="after"),
    ]  # fmt: skip
    with pytest.raises(ModelError, match="cycle") as caught:
        read_model(model_of(nodes))
    message = str(caught.value)
    assert all(name in message for name in ("one", "two", "three"))
    assert "before" not in message
    assert "after" not in message
    refused(model_of([node("Add", ["x", "y"], ["y"], name="self")]), "cycle", "self")


def test_a_long_cycle_and_a_long_chain():
    n = 3000
    chain = [node("Neg", [f"v{k}"], [f"v{k + 1}"]) for k in range(n)]
    ends = [node("Identity", ["x"], ["v0"]), node("Identity", [f"v{n}"], ["y"])]
    found = read_model(model_of([*chain[::-1], *ends])).graph.nodes
    assert [f.outputs[0] for f in found] == [f"v{k}" for k in range(n + 1)] + ["y"]
    ends[0] = node("Identity", [f"v{n}"], ["v0"])
    refused(model_of([*chain, *ends]), "cycle", "more")


def test_missing_values_are_listed():
    nodes = [node("Add", ["x", "weight_a"], ["a"], name="first"), node("Add", ["a", "weight_b"], ["y"])]
    refused(model_of(nodes), "weight_a", "weight_b", "'first'")
    refused(model_of([node("Neg", ["x"], ["a"])]), "'y'", "output")


def test_one_definition_a_value():
    refused(model_of([node("Neg", ["x"], ["y"]), node("Abs", ["x"], ["y"])]), "'y'", "two")
    refused(model_of([node("Neg", ["x"], ["x"])], outputs=("x",)), "'x'", "two")
    refused(
        model_of([node("Neg", ["x"], ["w"])], outputs=("w",), constants=[("w", np.zeros(2, np.float32))]), "'w'", "two"
    )


def test_absent_inputs_stay():
    nodes = [node("Clip", ["x", "", "m"], ["y"])]
    found = read_model(model_of(nodes, constants=[("m", np.array(1, np.float32))])).graph.nodes[0]
    assert found.inputs == ["x", "", "m"]


def test_invalid_utf8():
    data = model_of([node("Relu", ["x"], ["y"], name="NAME")]).SerializeToString()
    for old, new in [(b"NAME", b"\xff\xfeME"), (b"Relu", b"\xff\xfelu")]:
        with pytest.raises(ModelError, match="UTF-8"):
            read_model(data.replace(old, new))


# Attributes


def test_attribute_values():
    nodes = [
        node(
            "F", ["x"], ["y"], domain="org.own", f=1.5, i=-3, s="text", b=b"\xff\x00",
            fs=[1.0, 2.5], ints=[1, 2], ss=["a", "b"],
            t=numpy_helper.from_array(np.eye(2, dtype=np.float16)), tp=helper.make_tensor_type_proto(FLOAT, [1]),
        )
    ]  # fmt: skip
    attrs = read_model(model_of(nodes, opsets={"org.own": 1})).graph.nodes[0].attrs
    t, tp = attrs.pop("t"), attrs.pop("tp")
    want = {"f": 1.5, "i": -3, "s": "text", "b": b"\xff\x00", "fs": [1.0, 2.5], "ints": [1, 2], "ss": ["a", "b"]}
    assert attrs == want
    assert {key: type(got) for key, got in attrs.items()} == {key: type(w) for key, w in want.items()}
    np.testing.assert_array_equal(t, np.eye(2, dtype=np.float16))
    assert t.dtype == np.float16
    assert not t.flags.writeable
    assert tp.tensor_type.elem_type == FLOAT


def mutated_attribute(op="Softmax", change=None, **attributes):
    model = model_of([node(op, ["x"], ["y"], name="it", **attributes)])
    if change:
        change(model.graph.node[0].attribute)
    return model


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (mutated_attribute(axis=1.5), ["'axis'", "expected INT", "got FLOAT"]),
        (mutated_attribute(axis=[1]), ["'axis'", "expected INT", "got INTS"]),
        (mutated_attribute(axes=1), ["no attribute 'axes'", "axis"]),
        (mutated_attribute("Cast"), ["'to'", "missing"]),
        (mutated_attribute(axis=1, change=lambda a: a.add().CopyFrom(a[0])), ["'axis'", "twice"]),
        (mutated_attribute(axis=1, change=lambda a: a[0].ClearField("name")), ["no name"]),
        (mutated_attribute(axis=1, change=lambda a: setattr(a[0], "f", 1.0)), ["INT", "FLOAT"]),
        (mutated_attribute(axis=1, change=lambda a: setattr(a[0], "type", onnx.AttributeProto.TENSOR)), ["TENSOR"]),
        (mutated_attribute(axis=1, change=lambda a: setattr(a[0], "ref_attr_name", "k")), ["function"]),
        (mutated_attribute(axis=1, change=lambda a: (a[0].ClearField("type"), a[0].ClearField("i"))), ["type"]),
    ],
)
def test_attributes_refused(model, words):
    refused(model, "'it'", *words)


def test_attribute_without_a_type_or_a_value():
    untyped = mutated_attribute(axis=1, change=lambda a: a[0].ClearField("type"))
    assert read_model(untyped).graph.nodes[0].attrs == {"axis": 1}
    empty = mutated_attribute(axis=1, change=lambda a: a[0].ClearField("i"))
    assert read_model(empty).graph.nodes[0].attrs == {"axis": 0}


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (node("Add", ["x"], ["y"], name="it"), ["expected 2 inputs", "got 1"]),
        (node("Add", ["x", "x", "x"], ["y"], name="it"), ["expected 2 inputs", "got 3"]),
        (node("Add", ["x", ""], ["y"], name="it"), ["'B'", "missing"]),
        (node("Concat", [], ["y"], name="it", axis=0), ["at least 1 inputs"]),
        (node("Neg", ["x"], ["y", "z"], name="it"), ["expected 1 outputs", "got 2"]),
        (node("LSTM", ["x", "x"], ["y"], name="it"), ["expected 3 to 8 inputs", "got 2"]),
        (node("LSTM", ["x", "", "x"], ["y"], name="it"), ["'W'"]),
        (node("LSTM", ["x"] * 3, ["y"], name="it", output_sequence=1), ["output_sequence"]),
        (node("GRU", ["x"] * 3, ["y"], name="it", hidden_size=2.0), ["hidden_size", "got FLOAT"]),
        (node("", ["x"], ["y"], name="it"), ["no operator type"]),
    ],
)
def test_operators_refused(broken, words):
    refused(model_of([broken]), "it", *words)


def test_unknown_operators_are_left_to_the_planner():
    assert read_model(model_of([node("Frobnicate", ["x"], ["y"], k=1)])).graph.nodes[0].op == "Frobnicate"


def test_trailing_absent_values():
    graph = read_model(model_of([node("LSTM", ["x"] * 3 + [""] * 5, ["y", "", ""], hidden_size=1)])).graph
    assert len(graph.nodes[0].inputs) == 8


# Subgraphs


def branch(nodes, outputs, name="b", inputs=(), constants=()):
    tensors = [numpy_helper.from_array(array, key) for key, array in constants]
    return helper.make_graph(nodes, name, list(inputs), [value(n) for n in outputs], tensors)


def if_model(then, otherwise, before=()):
    choose = node("If", ["c"], ["y"], name="choose", then_branch=then, else_branch=otherwise)
    return model_of([*before, choose], constants=[("c", np.array(True))])


def test_subgraphs_capture():
    then = branch([node("Neg", ["x"], ["t"])], ["t"], "then")
    graph = read_model(if_model(then, branch([node("Abs", ["x"], ["e"])], ["e"], "else"))).graph
    subs = dict(graph.nodes[0].subgraphs())
    assert subs.keys() == {"then_branch", "else_branch"}
    assert isinstance(subs["then_branch"], Graph)
    assert subs["then_branch"].nodes[0].inputs == ["x"]
    assert len(list(graph.walk())) == 3
    assert graph.nodes[0].proto is not None


def test_inner_names_become_unique():
    """Both branches and the main graph make a value `t`; the inner ones shadow, and each use follows its own."""
    w = [("w", np.zeros(2, np.float32))]
    inner = branch([node("Abs", ["t"], ["u"]), node("Neg", ["u"], ["t__1"])], ["t__1"], "inner")
    nested = node("If", ["c"], ["r"], then_branch=inner, else_branch=inner)
    then = branch([node("Add", ["x", "w"], ["t"]), nested], ["r"], "then", constants=w)
    otherwise = branch([node("Neg", ["x"], ["t"])], ["t"], "else")
    graph = read_model(if_model(then, otherwise, [node("Relu", ["x"], ["t"]), node("Relu", ["t"], ["w"])])).graph

    def check(g, outer):
        made = [v.name for v in g.inputs] + list(g.constants) + [o for n in g.nodes for o in n.outputs]
        assert len(set(made)) == len(made)
        assert not set(made) & outer
        for n in g.nodes:
            assert set(n.inputs) <= outer | set(made)
            for _, sub in n.subgraphs():
                check(sub, outer | set(made))

    check(graph, set())
    choose = graph.nodes[-1]
    assert choose.proto is None
    t_then, t_else = choose.attrs["then_branch"].nodes[0], choose.attrs["else_branch"].nodes[0]
    assert t_then.inputs == ["x", next(iter(choose.attrs["then_branch"].constants))]
    assert choose.attrs["else_branch"].outputs[0].name == t_else.outputs[0] != "t"
    deepest = choose.attrs["then_branch"].nodes[1].attrs["then_branch"]
    assert deepest.nodes[0].inputs == t_then.outputs
    assert deepest.outputs[0].name == deepest.nodes[1].outputs[0]
    assert graph.nodes[0].proto is not None


def test_many_subgraphs_that_shadow_one_name():
    """Finding a new name for each takes the same time, however many there are."""
    same = branch([node("Neg", ["x"], ["t"])], ["t"])
    ifs = [node("If", ["c"], [f"y{k}"], then_branch=same, else_branch=same) for k in range(1500)]
    model = model_of([node("Abs", ["x"], ["t"]), *ifs], outputs=("y0",), constants=[("c", np.array(True))])
    made = [n.outputs[0] for g in read_model(model).graph.walk() for n in g.nodes]
    assert len(set(made)) == len(made) == 1 + 3 * 1500


def test_subgraphs_are_sorted_after_what_they_capture():
    then = branch([node("Neg", ["late"], ["t"])], ["t"])
    model = if_model(then, then)
    model.graph.node.append(node("Abs", ["x"], ["late"]))
    assert [n.op for n in read_model(model).graph.nodes] == ["Abs", "If"]
    model.graph.node[1].input[0] = "y"
    refused(model, "cycle", "choose")


def test_subgraphs_refused():
    good = branch([node("Neg", ["x"], ["t"])], ["t"])
    refused(if_model(branch([node("Neg", ["nowhere"], ["t"])], ["t"]), good), "nowhere", "then_branch of If 'choose'")
    refused(if_model(good, branch([node("Neg", ["x"], ["t"])], ["t", "t"])), "else_branch", "expected 1 outputs")
    refused(if_model(branch([], ["i"], inputs=[value("i")]), good), "then_branch", "expected 0 inputs")
    body = branch([node("Neg", ["v"], ["n"])], ["c", "n"], inputs=[value("i"), value("c")])
    refused(model_of([node("Loop", ["", "", "x"], ["y"], body=body)]), "v")
    body = branch([], ["c", "i"], inputs=[value("i"), value("c")])
    refused(model_of([node("Loop", ["", "", "x"], ["y"], body=body)]), "body", "expected 3 inputs")


def nested_ifs(depth):
    model = onnx.ModelProto(ir_version=8)
    model.opset_import.add(version=17)
    model.graph.name = "g"
    graph = model.graph
    for _ in range(depth):
        inner = graph.node.add(op_type="If", input=["c"], output=["y"])
        graph.output.add(name="y")
        graph = inner.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH).g
    return model


def test_nesting_is_bounded():
    with pytest.raises(ModelError, match="deeper than 64"):
        read_model(nested_ifs(5000))
