"""One rule an operator: what the shapes of its inputs say about the shapes of its outputs.

A rule returns a shape for each output of the node, or None where it knows nothing; a size that it does not know is
None and becomes a token of its own (see :mod:`rnnrt.rewrite.known`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..graph import Node
from .views import Size, arrangement_shape, quotient, reshaped, view_shape, views_of

if TYPE_CHECKING:
    from .known import Known

Sizes = tuple[Size, ...]
Shape = Sequence[Size | None]
Rule = Callable[[Node, "Known"], "list[Shape | None] | None"]

SHAPES: dict[tuple[str, str], Rule] = {}


def _shapes(*ops: str, domain: str = "") -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        SHAPES.update(((domain, op), rule) for op in ops)
        return rule

    return register


def broadcast(*shapes: Shape | None) -> Shape | None:
    """The shape to which all of `shapes` broadcast; None if one is unknown or they cannot."""
    if len(shapes) == 2 and (shapes[0] == shapes[1] or (shapes[1] == () and shapes[0] is not None)):
        return shapes[0]
    known = [s for s in shapes if s is not None]
    if len(known) < len(shapes):
        return None
    result: list[Size | None] = []
    for k in range(1, max(map(len, known), default=0) + 1):
        sizes = {s[-k] for s in known if len(s) >= k} - {1}
        numbers = [d for d in sizes if isinstance(d, int)]
        if len(numbers) > 1:
            return None
        # A number other than 1 decides whatever the others turn out to be; two tokens do not.
        result.append(numbers[0] if numbers else 1 if not sizes else sizes.pop() if len(sizes) == 1 else None)
    return tuple(reversed(result))


@_shapes(
    "Abs", "Acos", "Asin", "Atan", "BatchNormalization", "Cast", "Ceil", "Clip", "Cos", "CumSum", "Dropout", "Elu",
    "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Hardmax", "Identity", "InstanceNormalization", "IsInf",
    "IsNaN", "ReverseSequence", "Trilu",
    "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "Mish", "Neg", "Not", "PRelu", "QuantizeLinear",
    "DequantizeLinear", "Reciprocal", "Relu", "Round", "ScatterElements", "ScatterND", "Selu", "Sigmoid", "Sign",
    "Sin", "Softmax", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu",
)  # fmt: skip
def _like_first(node: Node, known: Known) -> list[Shape | None]:
    return [known.shape(node.input(0))]


@_shapes(
    "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod",
    "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor",
)  # fmt: skip
def _broadcasting(node: Node, known: Known) -> list[Shape | None]:
    shapes = [known.shape(name) for name in node.inputs]
    return [shapes[0] if len(shapes) == 2 and shapes[0] == shapes[1] else broadcast(*shapes)]


@_shapes("Transpose", "Squeeze", "Unsqueeze", "Slice", "Split")
def _view(node: Node, known: Known) -> list[Shape | None]:
    results: list[Shape | None] = []
    for k in range(len(node.outputs)):
        views = views_of(node, k, known)
        shape: Shape | None = known.shape(node.input(0)) if views is not None else None
        for view in views or ():
            # A size that one view makes unknown stays so through the next: views never look at it again.
            shape = view_shape(shape, view) if shape is not None else None
        results.append(shape)
    return results


@_shapes("Reshape")
def _reshape(node: Node, known: Known) -> list[Shape | None]:
    shape, target = known.shape(node.input(0)), known.contents(node.input(1))
    if target is None or target.ndim != 1:
        length = known.shape(node.input(1))
        return [(None,) * length[0] if length and isinstance(length[0], int) and length[0] <= 64 else None]
    if shape is None or (node.attrs.get("allowzero", 0) and 0 in target):
        return [tuple(d if isinstance(d, str) or d > 0 else None for d in target)]
    return [reshaped(shape, list(target))]


@_shapes("Gather")
def _gather(node: Node, known: Known) -> list[Shape | None]:
    data, index = known.shape(node.input(0)), known.shape(node.input(1))
    axis = int(node.attrs.get("axis", 0))
    if data is None or index is None or not -len(data) <= axis < len(data):
        return [None]
    axis %= len(data)
    return [(*data[:axis], *index, *data[axis + 1 :])]


@_shapes("Concat")
def _concat(node: Node, known: Known) -> list[Shape | None]:
    shapes = [known.shape(name) for name in node.inputs]
    axis = int(node.attrs.get("axis", 0))
    if not shapes or any(s is None or len(s) != len(shapes[0] or ()) for s in shapes):
        return [None]
    rank = len(shapes[0] or ())
    if not -rank <= axis < rank:
        return [None]
    result: list[Size | None] = []
    for k, sizes in enumerate(zip(*shapes, strict=True)):  # type: ignore[arg-type]
        numbers = [d for d in sizes if isinstance(d, int)]
        if k == axis % rank:
            result.append(sum(numbers) if len(numbers) == len(sizes) else sizes[0] if len(sizes) == 1 else None)
        else:
            result.append(numbers[0] if numbers else sizes[0])
    return [result]


def part_of(node: Node, shape: Sequence[Size]) -> Sequence[Size]:
    """What the Shape `node` gives of a shape."""
    return shape[slice(node.attrs.get("start", 0), node.attrs.get("end"))]


@_shapes("DynamicQuantizeLinear")
def _dynamic_quantize(node: Node, known: Known) -> list[Shape | None]:
    return [known.shape(node.inputs[0]), (), ()]


@_shapes("Shape")
def _shape(node: Node, known: Known) -> list[Shape | None]:
    shape = known.shape(node.input(0))
    return [(len(part_of(node, shape)),) if shape is not None else (None,)]


@_shapes("Size")
def _size(node: Node, known: Known) -> list[Shape | None]:
    return [()]


@_shapes("ConstantOfShape")
def _of_contents(node: Node, known: Known) -> list[Shape | None]:
    sizes = known.contents(node.input(0))
    return [tuple(sizes) if sizes is not None and sizes.ndim == 1 else None]


@_shapes("Expand")
def _expand(node: Node, known: Known) -> list[Shape | None]:
    sizes = known.contents(node.input(1))
    return [broadcast(known.shape(node.input(0)), tuple(sizes)) if sizes is not None and sizes.ndim == 1 else None]


@_shapes("MatMul", "MatMulInteger")
def _matmul(node: Node, known: Known) -> list[Shape | None]:
    a, b = known.shape(node.input(0)), known.shape(node.input(1))
    if a is None or b is None or len(a) < 2 or len(b) < 2:
        return [None]
    stack = broadcast(a[:-2], b[:-2])
    return [None if stack is None else (*stack, a[-2], b[-1])]


@_shapes("Einsum")
def _einsum(node: Node, known: Known) -> list[Shape | None]:
    equation = node.attrs.get("equation", "")
    equation = (equation.decode("utf-8", "replace") if isinstance(equation, bytes) else equation).replace(" ", "")
    given, _, out = equation.partition("->")
    terms, shapes = given.split(","), [known.shape(name) for name in node.inputs]
    if not out or "." in equation or len(terms) != len(shapes):
        return [None]
    sizes: dict[str, Shape | None] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if shape is None or len(shape) != len(term):
            return [None]
        for label, size in zip(term, shape, strict=True):
            sizes[label] = broadcast(sizes[label], (size,)) if label in sizes else (size,)
    found = [sizes.get(label) for label in out]
    return [[shape[0] if shape is not None else None for shape in found]]


@_shapes("Flatten")
def _flatten(node: Node, known: Known) -> list[Shape | None]:
    shape, axis = known.shape(node.input(0)), int(node.attrs.get("axis", 1))
    if shape is None or not -len(shape) <= axis <= len(shape):
        return [(None, None)]
    axis = axis % len(shape) if axis < 0 else axis
    return [(quotient(shape[:axis], []), quotient(shape[axis:], []))]


@_shapes("Gemm")
def _gemm(node: Node, known: Known) -> list[Shape | None]:
    a, b = known.shape(node.input(0)), known.shape(node.input(1))
    rows = a[1 if node.attrs.get("transA", 0) else 0] if a is not None and len(a) == 2 else None
    columns = b[0 if node.attrs.get("transB", 0) else 1] if b is not None and len(b) == 2 else None
    return [(rows, columns)]


@_shapes("Conv", "ConvInteger")
def _conv(node: Node, known: Known) -> list[Shape | None]:
    x, w = known.shape(node.input(0)), known.shape(node.input(1))
    if x is None or w is None or len(x) != len(w) or len(x) < 3:
        return [None]
    spatial = [_windows(x[2 + k], w[2 + k], node, k, len(x) - 2) for k in range(len(x) - 2)]
    return [(x[0], w[0], *spatial)]


def _windows(size: Size | None, kernel: Size | None, node: Node, k: int, n: int) -> Size | None:
    """How often the window of a convolution or pooling fits along spatial axis `k` of `n`."""
    attrs = node.attrs
    stride = int((attrs.get("strides") or [1] * n)[k])
    dilation = int((attrs.get("dilations") or [1] * n)[k])
    pads = attrs.get("pads") or [0] * (2 * n)
    if not isinstance(kernel, int) or len(pads) != 2 * n or stride < 1:
        return None
    automatic = attrs.get("auto_pad", "NOTSET")
    automatic = automatic.decode("utf-8", "replace") if isinstance(automatic, bytes) else automatic
    same = automatic in ("SAME_UPPER", "SAME_LOWER")
    padding = pads[k] + pads[n + k] if automatic == "NOTSET" else 0
    more = padding - dilation * (kernel - 1)
    if not isinstance(size, int):
        return size if stride == 1 and (same or more == 0) else None
    return -(-size // stride) if same else (size + more - 1) // stride + 1 if size + more > 0 else None


@_shapes("ConvTranspose")
def _conv_transpose(node: Node, known: Known) -> list[Shape | None]:
    x, w = known.shape(node.input(0)), known.shape(node.input(1))
    if x is None or w is None or len(x) != len(w) or len(x) < 3 or not isinstance(w[1], int):
        return [None]
    n, attrs = len(x) - 2, node.attrs
    strides, dilations = attrs.get("strides") or [1] * n, attrs.get("dilations") or [1] * n
    pads, more = attrs.get("pads") or [0] * (2 * n), attrs.get("output_padding") or [0] * n
    automatic = attrs.get("auto_pad", "NOTSET") not in ("NOTSET", b"NOTSET") or attrs.get("output_shape")
    spatial: list[Size | None] = []
    for k in range(n):
        size, kernel = x[2 + k], w[2 + k]
        certain = isinstance(size, int) and isinstance(kernel, int) and not automatic and len(pads) == 2 * n
        total = (
            (size - 1) * strides[k] + more[k] + (kernel - 1) * dilations[k] + 1 - pads[k] - pads[n + k]  # type: ignore[operator]
            if certain
            else -1
        )
        spatial.append(total if total >= 0 and size else None)
    return [(x[0], w[1] * int(attrs.get("group", 1)), *spatial)]


@_shapes("AveragePool", "MaxPool", "LpPool")
def _pool(node: Node, known: Known) -> list[Shape | None]:
    x, kernel = known.shape(node.input(0)), node.attrs.get("kernel_shape") or []
    if x is None or len(x) < 3:
        return [None]
    n = len(x) - 2
    known_sizes = len(kernel) == n and not node.attrs.get("ceil_mode", 0)
    spatial = [_windows(x[2 + k], int(kernel[k]), node, k, n) if known_sizes else None for k in range(n)]
    return [(x[0], x[1], *spatial)]


@_shapes("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(node: Node, known: Known) -> list[Shape | None]:
    x = known.shape(node.input(0))
    return [None if x is None or len(x) < 3 else (x[0], x[1], *(1 for _ in x[2:]))]


@_shapes(
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
def _reduce(node: Node, known: Known) -> list[Shape | None]:
    x, axes = known.shape(node.input(0)), known.ints(node, 1, "axes")
    if x is None or (axes is None and node.input(1)):
        return [None]
    if not axes:
        axes = [] if node.attrs.get("noop_with_empty_axes", 0) else list(range(len(x)))
    return [_reduced(x, axes, bool(node.attrs.get("keepdims", 1)))]


@_shapes("ArgMax", "ArgMin")
def _arg(node: Node, known: Known) -> list[Shape | None]:
    x = known.shape(node.input(0))
    axis = [int(node.attrs.get("axis", 0))]
    return [None if x is None else _reduced(x, axis, bool(node.attrs.get("keepdims", 1)))]


def _reduced(x: Sizes, axes: Sequence[int], keep: bool) -> Shape | None:
    if any(not -len(x) <= a < len(x) for a in axes):
        return None
    gone = {a % len(x) for a in axes}
    return [1 if k in gone else d for k, d in enumerate(x) if keep or k not in gone]


@_shapes("Pad")
def _pad(node: Node, known: Known) -> list[Shape | None]:
    x, pads = known.shape(node.input(0)), known.ints(node, 1, "pads")
    if x is None or pads is None:
        return [None if x is None else [None for _ in x]]
    axes = known.ints(node, 3, "axes") if node.input(3) else list(range(len(x)))
    if axes is None or len(pads) != 2 * len(axes) or any(not -len(x) <= a < len(x) for a in axes):
        return [[None for _ in x]]
    sizes: list[Size | None] = list(x)
    for k, axis in enumerate(axes):
        size, more = x[axis], pads[k] + pads[k + len(axes)]
        if more:
            sizes[axis % len(x)] = size + more if isinstance(size, int) and size + more >= 0 else None
    return [sizes]


@_shapes("If")
def _if(node: Node, known: Known) -> list[Shape | None]:
    results: list[Shape | None] = []
    branches = known.branch_shapes(node)
    for k in range(len(node.outputs)):
        shapes = [branch[k] if k < len(branch) else None for branch in branches]
        first = shapes[0] if shapes else None
        if first is None or any(s is None or len(s) != len(first) for s in shapes):
            results.append(None)
            continue
        sizes = [{s[axis] for s in shapes if s is not None} for axis in range(len(first))]
        results.append([s.pop() if len(s) == 1 else None for s in sizes])
    return results


@_shapes("LSTM", "GRU", "RNN")
@_shapes("LSTM", "GRU", "RNN", domain="rnnrt")
def _recurrent(node: Node, known: Known) -> list[Shape | None]:
    x: Shape | None = known.shape(node.input(0))
    lowered = node.domain == "rnnrt"
    for view in node.attrs["in_views"].get(0, ()) if lowered else ():
        x = view_shape(x, view) if x is not None else None
    steps, batch = (x[0], x[1]) if x is not None and len(x) == 3 else (None, None)
    if not lowered and node.attrs.get("layout", 0):
        return [None]
    both = node.attrs.get("direction", "forward") in ("bidirectional", b"bidirectional")
    weights = known.shape(node.input(2))
    units: Size | None = weights[2] if weights is not None and len(weights) == 3 else None
    if lowered and units is None:
        units = node.attrs["hidden_size"] or None  # once packed, a node has no weights
    ends: Shape = (2 if both else 1, batch, units)
    canonical: list[Shape] = [(steps, *ends), ends, ends]
    axes = node.attrs["out_axes"] if lowered else {}
    return [arrangement_shape(shape, axes[k]) if k in axes else shape for k, shape in enumerate(canonical)]
