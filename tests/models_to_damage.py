"""Small right models, from which `test_bad_models` makes wrong ones."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def weights(rng, **shapes):
    return {name: rng.standard_normal(shape).astype(np.float32) / 2 for name, shape in shapes.items()}


def lstm_model():
    """An LSTM of 3 -> 4 with everything attached; about 1 kB."""
    w = weights(np.random.default_rng(1), W=(1, 16, 3), R=(1, 16, 4), B=(1, 32), P=(1, 12))
    w["lens"] = np.array([5, 2], np.int32)
    lstm = helper.make_node(
        "LSTM", ["x", "W", "R", "B", "lens", "h0", "", "P"], ["y", "h", "c"], name="lstm", hidden_size=4, clip=3.0,
        activations=["Sigmoid", "Tanh", "Affine"], activation_alpha=[1.0], activation_beta=[0.1],
    )  # fmt: skip
    return model_of([lstm], {"x": (5, 2, 3), "h0": (1, 2, 4)}, ["y", "h", "c"], w)


def mixed_model():
    """A bidirectional GRU among shapes computed at run time, an If and constants as exporters write them."""
    w = weights(np.random.default_rng(2), W=(2, 12, 3), R=(2, 12, 4), B=(2, 24), M=(8, 5))
    node = helper.make_node
    then = helper.make_graph([node("Relu", ["m"], ["t"])], "then", [], [declared("t")])
    other = helper.make_graph([node("Mul", ["m", "two"], ["e"])], "else", [], [declared("e")])
    nodes = [
        node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        node("Shape", ["xt"], ["s"]),
        node("Constant", [], ["one"], value=numpy_helper.from_array(np.array(1))),
        node("Gather", ["s", "one"], ["b"], axis=0),
        node("Constant", [], ["axes"], value_ints=[0]),
        node("Unsqueeze", ["b", "axes"], ["b1"]),
        node("Concat", ["two_i", "b1", "four"], ["hs"], axis=0),
        node("ConstantOfShape", ["hs"], ["h0"], value=numpy_helper.from_array(np.zeros(1, np.float32))),
        node(
            "GRU",
            ["xt", "W", "R", "B", "", "h0"],
            ["y"],
            direction="bidirectional",
            hidden_size=4,
            linear_before_reset=1,
        ),
        node("Transpose", ["y"], ["yt"], perm=[0, 2, 1, 3]),
        node("Reshape", ["yt", "flat"], ["r"]),
        node("MatMul", ["r", "M"], ["m"]),
        node("If", ["flag"], ["o"], then_branch=then, else_branch=other),
        node("Softmax", ["o"], ["p"], axis=-1),
    ]
    w |= {"two_i": np.array([2]), "four": np.array([4]), "flat": np.array([0, 0, 8]), "two": np.array(2, np.float32)}
    model = model_of(nodes, {"x": ("batch", 6, 3)}, ["p"], w)
    model.graph.input.add().CopyFrom(helper.make_tensor_value_info("flag", TensorProto.BOOL, []))
    return model


def loop_model():
    """A recurrent Loop, a Scan, a local function, a sparse initializer, Conv, Slice, Split and Pad."""
    node = helper.make_node
    w = weights(np.random.default_rng(3), K=(4, 3, 3), W=(1, 4, 4), R=(1, 4, 4))
    body = helper.make_graph(
        [node("Add", ["h_in", "first"], ["a"]), node("Tanh", ["a"], ["h_out"]), node("Identity", ["go"], ["go_on"])],
        "body",
        [info("k", TensorProto.INT64), info("go", TensorProto.BOOL), info("h_in", FLOAT)],
        [info("go_on", TensorProto.BOOL), info("h_out", FLOAT), info("a", FLOAT)],
    )
    step = helper.make_graph(
        [node("Add", ["state", "item"], ["next"]), node("Identity", ["next"], ["seen"])],
        "step", [info("state", FLOAT), info("item", FLOAT)], [info("next", FLOAT), info("seen", FLOAT)],
    )  # fmt: skip
    nodes = [
        node("Pad", ["x", "pads"], ["padded"], mode="constant"),
        node("Conv", ["padded", "K"], ["conv"], kernel_shape=[3], strides=[1], dilations=[1], group=1),
        node("Transpose", ["conv"], ["seq"], perm=[2, 0, 1]),
        node("RNN", ["seq", "W", "R"], ["rnn", "last"], hidden_size=4, activations=["Relu"]),
        node("Squeeze", ["rnn", "axis1"], ["flat"]),
        node("Slice", ["flat", "zero", "one", "zero"], ["first"]),
        node("Loop", ["trips", "", "last"], ["h", "trace"], body=body),
        node("Scan", ["last", "flat"], ["total", "partial"], body=step, num_scan_inputs=1),
        node("Split", ["partial"], ["left", "right"], axis=2, num_outputs=2),
        node("Scale2", ["right"], ["scaled"], domain="own", k=3.0),
        node("Add", ["h", "sparse"], ["y"]),
    ]
    w |= {"pads": np.array([0, 0, 1, 0, 0, 1]), "axis1": np.array([1]), "zero": np.array([0]), "one": np.array([1])}
    w["trips"] = np.array(3)
    model = model_of(nodes, {"x": (2, 3, 7)}, ["y", "trace", "total", "left", "scaled"], w, opset=18)
    sparse = model.graph.sparse_initializer.add(dims=[2, 4])
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(2, np.float32), "sparse"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([[0, 1], [1, 3]])))
    model.opset_import.add(domain="own", version=1)
    double = node("Mul", ["a", "c"], ["b"])
    constant = node("Constant", [], ["c"])
    constant.attribute.add(name="value_float", ref_attr_name="k", type=onnx.AttributeProto.FLOAT)
    function = helper.make_function(
        "own", "Scale2", ["a"], ["b"], [constant, double], [helper.make_opsetid("", 18)], ["k"]
    )
    model.functions.add().CopyFrom(function)
    return model


def quantized_model():
    """The dynamic quantized LSTM beside quantize, dequantize and a cell written out; initializers in typed fields."""
    node, rng = helper.make_node, np.random.default_rng(4)
    w = {
        "W": rng.integers(0, 255, (1, 3, 16)).astype(np.uint8), "R": rng.integers(0, 255, (1, 4, 16)).astype(np.uint8),
        "ws": np.full((1,), 0.01, np.float32), "rs": np.full((1,), 0.01, np.float32),
        "wz": np.full((1,), 128, np.uint8), "rz": np.full((1,), 128, np.uint8), "axis": np.array([1]),
        "scale": np.array(0.1, np.float32), "zero": np.array(0, np.int8),
    }  # fmt: skip
    quant = ["x", "W", "R", "", "", "", "", "", "ws", "wz", "rs", "rz"]
    nodes = [
        node("DynamicQuantizeLSTM", quant, ["d", "dh"], domain="com.microsoft", hidden_size=4),
        node("Squeeze", ["d", "axis"], ["q"]),
        node("QuantizeLinear", ["q", "scale", "zero"], ["qi"]),
        node("DequantizeLinear", ["qi", "scale", "zero"], ["qf"]),
        node("Gemm", ["g0", "gw", "gb"], ["gates"], transB=1, alpha=1.0),
        node("Split", ["gates"], ["gi", "go"], axis=1),
        node("Sigmoid", ["gi"], ["si"]),
        node("LayerNormalization", ["go", "ln"], ["n"], axis=-1),
        node("Mul", ["si", "n"], ["cell"]),
        node("Cast", ["cell"], ["half"], to=TensorProto.FLOAT16),
        node("ReduceMean", ["qf"], ["mean"], axes=[-1], keepdims=0),
    ]
    w |= weights(rng, g0=(2, 3), gb=(8,), ln=(4,))
    model = model_of(nodes, {"x": (5, 2, 3)}, ["mean", "half", "dh"], w)
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.FLOAT16
    gw = rng.standard_normal((8, 3)).astype(np.float32)
    model.graph.initializer.add().CopyFrom(helper.make_tensor("gw", FLOAT, [8, 3], gw.ravel()))
    model.opset_import.add(domain="com.microsoft", version=1)
    return model


def bytes_model():
    """Products of quantised tensors in both forms, a pool of bytes, and what onnxruntime makes of a product."""
    node, rng = helper.make_node, np.random.default_rng(5)
    w = {
        "M": rng.integers(-99, 99, (6, 4)).astype(np.int8), "K": rng.integers(-99, 99, (2, 1, 3)).astype(np.int8),
        "half": np.array(0.5, np.float32), "zero": np.array(0, np.int8), "mid": np.array(128, np.uint8),
        "axis": np.array([1]), "G": rng.standard_normal((4, 3)).astype(np.float32),
    }  # fmt: skip
    scaled = ["u", "half", "mid", "K", "half", "zero", "half", "mid"]
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "step", "point"]),
        node("MatMulInteger", ["q", "M", "point", "zero"], ["sums"]),
        node("Cast", ["sums"], ["f"], to=FLOAT),
        node("Mul", ["f", "step"], ["m"]),
        node("FusedGemm", ["m", "G"], ["y"], domain="com.microsoft", activation="Relu"),
        node("Unsqueeze", ["x", "axis"], ["planes"]),
        node("QuantizeLinear", ["planes", "half", "mid"], ["u"]),
        node("QLinearConv", scaled, ["conv"], kernel_shape=[3]),
        node("MaxPool", ["conv"], ["pooled"], kernel_shape=[2], strides=[2]),
        node("QLinearSigmoid", ["pooled", "half", "mid", "half", "mid"], ["s"], domain="com.microsoft"),
        node("DequantizeLinear", ["s", "half", "mid"], ["z"]),
    ]
    model = model_of(nodes, {"x": (3, 6)}, ["y", "z"], w)
    model.opset_import.add(domain="com.microsoft", version=1)
    return model


def sequence_model():
    """A loop over time as PyTorch scripts it, which takes its steps from a sequence and appends to another."""
    node = helper.make_node
    w = weights(np.random.default_rng(6), W=(3, 4), R=(4, 4), B=(4,), h0=(2, 4))
    body = helper.make_graph(
        [
            node("SequenceAt", ["pieces", "k"], ["piece"]),
            node("MatMul", ["piece", "W"], ["a"]),
            node("MatMul", ["h_in", "R"], ["b"]),
            node("Add", ["a", "b"], ["c"]),
            node("Add", ["c", "B"], ["d"]),
            node("Tanh", ["d"], ["h_out"]),
            node("SequenceInsert", ["made_in", "h_out"], ["made_out"]),
            node("Identity", ["go"], ["go_on"]),
        ],
        "body",
        [info("k", TensorProto.INT64), info("go", TensorProto.BOOL), info("h_in", FLOAT), sequence("made_in")],
        [info("go_on", TensorProto.BOOL), info("h_out", FLOAT), sequence("made_out")],
    )
    nodes = [
        node("SplitToSequence", ["x", "one"], ["pieces"], axis=0, keepdims=0),
        node("SequenceLength", ["pieces"], ["trips"]),
        node("SequenceEmpty", [], ["empty"], dtype=FLOAT),
        node("Loop", ["trips", "true", "h0", "empty"], ["h", "made"], body=body),
        node("ConcatFromSequence", ["made"], ["y"], axis=1, new_axis=1),
        node("SequenceAt", ["made", "last"], ["z"]),
    ]
    w |= {"one": np.array(1), "true": np.array(True), "last": np.array(-1)}
    return model_of(nodes, {"x": (5, 2, 3)}, ["h", "y", "z"], w)


def sequence(name):
    return helper.make_tensor_sequence_value_info(name, FLOAT, None)


def info(name, dtype):
    return helper.make_tensor_value_info(name, dtype, None)


def declared(name, shape=None):
    return helper.make_tensor_value_info(name, FLOAT, shape)


def model_of(nodes, inputs, outputs, constants, opset=17):
    graph = helper.make_graph(
        nodes, "g", [declared(n, s) for n, s in inputs.items()], [declared(n) for n in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name="test")


GOOD = {
    "lstm": lstm_model,
    "mixed": mixed_model,
    "loop": loop_model,
    "quantized": quantized_model,
    "bytes": bytes_model,
    "sequence": sequence_model,
}
