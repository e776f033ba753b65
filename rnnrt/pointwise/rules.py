"""One rule an operator: how its outputs are arranged, and along which sizes it mixes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

from ..graph import Node
from ..rewrite.views import Size, View, reshaped, unsqueezed, view_shape, views_of
from .flow import ONE, Arrangement, Axis, Flow, NotPointwise, Pick

Rule = Callable[[Node, Flow], None]
_RULES: dict[tuple[str, str], Rule] = {}
_END = 2**31 - 1
_SHAPE_INPUT = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0}  # where a value made of sizes may be used as a shape


def _rule(*ops: str, domain: str = "") -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        _RULES.update(((domain, op), rule) for op in ops)
        return rule

    return register


def arrange_node(node: Node, flow: Flow) -> None:
    """Conclude how the outputs of `node` are arranged.

    Raises
    ------
    NotPointwise
        If the node does with a size what cannot be followed.
    """
    if _is_of_sizes(node, flow):
        flow.sizes.update(out for out in node.outputs if out)
        return
    slot = _SHAPE_INPUT.get(node.op) if node.domain == "" else None
    if any(name in flow.sizes for k, name in enumerate(node.inputs) if k != slot):
        raise NotPointwise(f"{node.label()} computes with a size")
    rule = _RULES.get((node.domain, node.op))
    rest = node.outputs if node.op in ("Split", "LSTM", "GRU", "RNN") else node.outputs[:1]
    known = all(name in flow.axes or flow.known.constant(name) is not None or name in flow.sizes or not name
                for name in node.inputs)  # fmt: skip
    if (
        rule is None
        or not known
        or any(out for out in node.outputs[len(rest) :])
        or any(True for _ in node.subgraphs())
    ):
        flow.unknown(node)
    else:
        rule(node, flow)


def _is_of_sizes(node: Node, flow: Flow) -> bool:
    """Whether what `node` makes is made of sizes only."""
    if node.domain == "" and node.op in ("Shape", "Size"):
        return True
    if any(True for _ in node.subgraphs()):
        return False
    slot = _SHAPE_INPUT.get(node.op) if node.domain == "" else None
    inputs = [name for k, name in enumerate(node.inputs) if name and k != slot]
    return any(name in flow.sizes for name in inputs) and all(
        name in flow.sizes or flow.known.constant(name) is not None for name in node.inputs if name
    )


@_rule(
    "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "Cast", "Ceil", "Celu", "Clip", "Cos",
    "Cosh", "Div", "Dropout", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual",
    "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean",
    "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid",
    "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tan", "Tanh", "ThresholdedRelu",
    "Where", "Xor",
)  # fmt: skip
def _elementwise(node: Node, flow: Flow) -> None:
    if node.op == "Dropout" and len(node.inputs) > 2 and node.inputs[2]:
        flow.unknown(node)  # in training it is random
        return
    flow.put(node.outputs[0], _broadcast([flow.arrangement(name) for name in node.inputs if name], flow, node.label()))


def _broadcast(arrangements: Sequence[Arrangement], flow: Flow, why: str) -> Arrangement:
    columns = zip_longest(*(a[::-1] for a in arrangements), fillvalue=ONE)
    return tuple(flow.join(axes, why) for axes in columns)[::-1]


@_rule("Transpose", "Squeeze", "Unsqueeze", "Slice", "Split")
def _view(node: Node, flow: Flow) -> None:
    x = flow.arrangement(node.inputs[0])
    for k, out in enumerate(node.outputs):
        views = views_of(node, k, flow.known)
        if views is None:
            flow.unknown(node)
            return
        seen: Arrangement | None = x
        for view in views:
            seen = seen and _seen(seen, view, flow, node, len(views) == 1)
        if seen is None:
            flow.unknown(node)
            return
        flow.put(out, seen)


def _seen(x: Arrangement, view: View, flow: Flow, node: Node, picks: bool) -> Arrangement | None:
    """`x` through a view; with `picks`, taking the first or last entry of a size is noted and mixes nothing."""
    kind, *args = view
    rank = len(x)
    if kind == "reshape":
        return _reshaped(x, args[0], flow)
    if kind == "unsqueeze":
        return unsqueezed(x, args[0], ONE)
    if kind == "transpose":
        return tuple(x[p] for p in args[0]) if sorted(args[0]) == list(range(rank)) else None
    axes = args[0] if kind == "squeeze" else (args[0],)
    if any(not -rank <= a < rank for a in axes):
        return None
    gone = {a % rank for a in axes}
    if kind == "squeeze":
        flow.mix([x[a] for a in gone], node.label())
        return tuple(axis for a, axis in enumerate(x) if a not in gone)
    (a,) = gone
    keeps = kind == "slice"
    if keeps and _whole(args[1:], x[a]):
        return x
    last = (args[1] == -1 and args[3] == 1 and (args[2] is None or args[2] >= _END)) if keeps else args[1] == -1
    first = (args[1] == 0 and args[2] == 1 and args[3] == 1) if keeps else args[1] == 0
    if picks and (first or last) and len(x[a]) == 1 and isinstance(x[a][0], str):
        flow.picks.append(Pick(node, x[a][0], a, last, keeps))
        return (*x[:a], ONE, *x[a + 1 :]) if keeps else (*x[:a], *x[a + 1 :])
    flow.mix([x[a]], node.label())
    sizes = view_shape([_number(axis) for axis in x], view)
    if sizes is None or (keeps and sizes[a] is None):
        return None
    return (*x[:a], (sizes[a],), *x[a + 1 :]) if keeps else (*x[:a], *x[a + 1 :])


def _whole(bounds: Sequence[int], axis: Axis) -> bool:
    start, stop, step = bounds
    size = _number(axis)
    return start in (0, None) and step == 1 and (stop is None or stop >= (_END if size is None else size))


def _number(axis: Axis) -> int | None:
    result = 1
    for size in axis:
        if not isinstance(size, int):
            return None
        result *= size
    return result


@_rule("Reshape")
def _reshape(node: Node, flow: Flow) -> None:
    target = flow.known.contents(node.inputs[1])
    x = flow.arrangement(node.inputs[0])
    found = None
    copies = target is not None and any(d == 0 for d in target.flat) and not node.attrs.get("allowzero", 0)
    if target is not None and target.ndim == 1 and (copies or all(d != 0 for d in target.flat)):
        found = _reshaped(x, list(target), flow)
    if found is None:
        raise NotPointwise(f"{node.label()} makes other axes than can be followed")
    flow.put(node.outputs[0], found)


def _reshaped(x: Arrangement, target: Sequence[Size], flow: Flow) -> Arrangement | None:
    """The sizes of `x` shared out among those of `target` in order; None if that cannot be told."""
    if reshaped([None] * len(x), target) is None:
        return None
    wanted = [flow.normal(x[k]) if d == 0 else flow.normal((d,)) for k, d in enumerate(target)]
    left = [size for axis in x for size in flow.normal(axis) if size != 1]
    hole = list(target).index(-1) if -1 in target else len(target)
    result: list[Axis] = [ONE] * len(target)
    for k in (*range(hole), *range(len(target) - 1, hole, -1)):
        taken = _take(left, wanted[k], from_right=k > hole)
        if taken is None:
            return None
        result[k] = taken
    if hole < len(target):
        result[hole], left = tuple(left) or ONE, []
    return None if left else tuple(result)


def _take(left: list[Size], wanted: Axis, from_right: bool) -> Axis | None:
    """Take from one end of `left` what makes an axis of the size `wanted`."""
    rest = [size for size in wanted if size != 1]
    end = -1 if from_right else 0
    taken: list[Size] = []
    while rest:
        size = left.pop(end) if left else None
        want = rest.pop(end)
        if isinstance(size, int) and isinstance(want, int) and min(size, want) > 0:
            small, large = sorted((size, want))
            if large % small:
                return None
            if large > small:
                (left if size > want else rest).insert(len(left if size > want else rest) if from_right else 0,
                                                       large // small)  # fmt: skip
            size = small
        elif size != want or size is None:
            return None
        taken.insert(0 if from_right else len(taken), size)
    return tuple(taken) or ONE


@_rule("Flatten")
def _flatten(node: Node, flow: Flow) -> None:
    x = flow.arrangement(node.inputs[0])
    axis = int(node.attrs.get("axis", 1))
    axis += len(x) if axis < 0 else 0
    parts = (tuple(size for a in part for size in a) for part in (x[:axis], x[axis:]))
    flow.put(node.outputs[0], [part or ONE for part in parts])


@_rule("Gather")
def _gather(node: Node, flow: Flow) -> None:
    x, index = flow.arrangement(node.inputs[0]), flow.arrangement(node.inputs[1])
    views = views_of(node, 0, flow.known)
    if views is not None:
        _view(node, flow)
        return
    axis = int(node.attrs.get("axis", 0))
    if not -len(x) <= axis < len(x):
        raise NotPointwise(f"{node.label()} has no axis {axis}")
    axis %= len(x)
    flow.mix([x[axis]], node.label())
    flow.put(node.outputs[0], (*x[:axis], *index, *x[axis + 1 :]))


@_rule("Concat")
def _concat(node: Node, flow: Flow) -> None:
    parts = [flow.arrangement(name) for name in node.inputs]
    axis, rank = int(node.attrs.get("axis", 0)), len(parts[0])
    if any(len(p) != rank for p in parts) or not -rank <= axis < rank:
        raise NotPointwise(f"{node.label()} joins what does not fit")
    axis %= rank
    flow.mix([p[axis] for p in parts], node.label())
    sizes = [_number(p[axis]) for p in parts]
    if None in sizes:
        flow.unknown(node)
        return
    joined = [flow.join([p[a] for p in parts], node.label()) for a in range(rank)]
    joined[axis] = (sum(size for size in sizes if size is not None),)
    flow.put(node.outputs[0], joined)


@_rule("Expand")
def _expand(node: Node, flow: Flow) -> None:
    target = flow.known.contents(node.inputs[1])
    if target is None or target.ndim != 1:
        raise NotPointwise(f"{node.label()} expands to a shape that cannot be followed")
    shape = tuple((d,) for d in target)
    flow.put(node.outputs[0], _broadcast([flow.arrangement(node.inputs[0]), shape], flow, node.label()))


@_rule("ConstantOfShape")
def _constant_of_shape(node: Node, flow: Flow) -> None:
    sizes = flow.known.contents(node.inputs[0])
    if sizes is None or sizes.ndim != 1:
        raise NotPointwise(f"{node.label()} makes a shape that cannot be followed")
    flow.put(node.outputs[0], [(d,) for d in sizes])


@_rule("MatMul")
def _matmul(node: Node, flow: Flow) -> None:
    a, b = (flow.arrangement(name) for name in node.inputs)
    if len(a) < 2 or len(b) < 2:
        flow.unknown(node)
        return
    flow.mix((a[-1], b[-2]), node.label())
    flow.put(node.outputs[0], (*_broadcast([a[:-2], b[:-2]], flow, node.label()), a[-2], b[-1]))


@_rule("Gemm")
def _gemm(node: Node, flow: Flow) -> None:
    a, b = (flow.arrangement(name) for name in node.inputs[:2])
    a = a[::-1] if node.attrs.get("transA", 0) else a
    b = b[::-1] if node.attrs.get("transB", 0) else b
    if len(a) != 2 or len(b) != 2:
        raise NotPointwise(f"{node.label()} has no matrices")
    flow.mix((a[1], b[0]), node.label())
    terms: list[Arrangement] = [(a[0], b[1])]
    if node.input(2):
        terms.append(flow.arrangement(node.inputs[2]))
    flow.put(node.outputs[0], _broadcast(terms, flow, node.label()))


@_rule("Softmax", "LogSoftmax", "Hardmax", "LayerNormalization", "CumSum")
def _along_an_axis(node: Node, flow: Flow) -> None:
    """One axis is mixed; of a LayerNormalization, those after it as well."""
    x = flow.arrangement(node.inputs[0])
    axes = flow.known.ints(node, 1, "axis") if node.op == "CumSum" else [int(node.attrs.get("axis", -1))]
    if axes is None or len(axes) != 1 or not -len(x) <= axes[0] < len(x):
        flow.unknown(node)
        return
    axis = axes[0] % len(x)
    norm = node.op == "LayerNormalization"
    # Before version 13, a Softmax went over all axes from its axis on.
    wide = norm or node.version < 13
    flow.mix(x[axis:] if wide else x[axis : axis + 1], node.label())
    for name in node.inputs[1:] if norm else ():
        flow.mix(flow.arrangement(name) if name else (), node.label())
    flow.put(node.outputs[0], x)


@_rule("BatchNormalization", "InstanceNormalization")
def _channel_norm(node: Node, flow: Flow) -> None:
    x = flow.arrangement(node.inputs[0])
    if node.attrs.get("training_mode", 0):
        flow.unknown(node)
        return
    flow.mix(x[1:2] if node.op == "BatchNormalization" else x[1:], node.label())
    for name in node.inputs[1:]:
        flow.mix(flow.arrangement(name), node.label())
    flow.put(node.outputs[0], x)


@_rule(
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare", "ArgMax", "ArgMin",
)  # fmt: skip
def _reduce(node: Node, flow: Flow) -> None:
    x = flow.arrangement(node.inputs[0])
    axes = [int(node.attrs.get("axis", 0))] if node.op.startswith("Arg") else flow.known.ints(node, 1, "axes")
    if not axes or any(not -len(x) <= a < len(x) for a in axes):
        flow.unknown(node)
        return
    gone = {a % len(x) for a in axes}
    flow.mix([x[a] for a in gone], node.label())
    keep = bool(node.attrs.get("keepdims", 1))
    flow.put(node.outputs[0], [ONE if a in gone else axis for a, axis in enumerate(x) if keep or a not in gone])


@_rule("Conv")
def _conv(node: Node, flow: Flow) -> None:
    """Over an axis with a kernel of one entry nothing is mixed."""
    x, w = (flow.arrangement(name) for name in node.inputs[:2])
    shape = flow.known.shape(node.outputs[0])
    if len(x) != len(w) or len(x) < 3 or shape is None or len(shape) != len(x):
        flow.unknown(node)
        return
    n = len(x) - 2
    strides, pads = node.attrs.get("strides") or [1] * n, node.attrs.get("pads") or [0] * (2 * n)
    result = [x[0], w[0]]
    for k in range(n):
        if w[2 + k] == ONE and strides[k] == 1 and pads[k] == pads[n + k] == 0:
            result.append(x[2 + k])
        else:
            flow.mix([x[2 + k], (shape[2 + k],)], node.label())
            result.append((shape[2 + k],))
    flow.mix([x[1], *w], node.label())
    flow.put(node.outputs[0], result)


@_rule("LSTM", "GRU", "RNN", domain="rnnrt")
def _recurrent(node: Node, flow: Flow) -> None:
    steps, batch, features = _given(node, 0, flow)
    if "quantized" in node.attrs:
        raise NotPointwise(f"{node.label()} quantises all rows together")
    flow.mix([features], node.label())
    units: Axis = (node.attrs["hidden_size"],)
    directions: Axis = (2 if node.attrs["direction"] == "bidirectional" else 1,)
    if not units[0]:
        raise NotPointwise(f"{node.label()} has weights that only the run tells")
    for k in (1, 2, 3, 7):
        flow.mix(flow.arrangement(node.input(k)) if node.input(k) else (), node.label())
    for k in (5, 6):
        if node.input(k):
            state = _given(node, k, flow)
            flow.mix((state[0], state[2]), node.label())
            if flow.normal(state[1]) == ONE:  # one state for all rows does for a single row only
                flow.mix([batch], node.label())
            batch = flow.join([batch, state[1]], node.label())
    flow.recurrent.append((node, steps, batch))
    for k, out in enumerate(node.outputs):
        canonical = (directions, batch, units) if k else (steps, directions, batch, units)
        groups = node.attrs["out_axes"].get(k, tuple((a,) for a in range(len(canonical))))
        flow.put(out, [tuple(size for a in group for size in canonical[a]) or ONE for group in groups])


def _given(node: Node, k: int, flow: Flow) -> Arrangement:
    """Input `k` of a recurrent node as its views show it."""
    x: Arrangement | None = flow.arrangement(node.inputs[k])
    for view in node.attrs["in_views"].get(k, ()):
        x = x and _seen(x, view, flow, node, False)
    if x is None or len(x) != 3:
        raise NotPointwise(f"{node.label()} sees an input through views that cannot be followed")
    return x
