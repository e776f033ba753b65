"""Binders of the activation functions: into the step that makes the operand where that is possible, else as chains."""

from __future__ import annotations

from ..graph import Node
from ..ops.common import choice, number
from .chain import LEAF, Op, chain
from .elementwise import FLOAT_BINARY, f32, unary
from .emitter import FLOAT, Emitter
from .registry import native
from .tensor import Tensor

TANH, SIGMOID, RELU, _, LEAKY_RELU, _, _, HARD_SIGMOID, ELU, SOFTSIGN, SOFTPLUS = range(11)
"""Activations as vmath.h numbers them."""


def merged(x: Tensor, activation: int, alpha: float = 0.0, beta: float = 0.0) -> bool:
    """Whether the step that makes `x`, which nothing else uses, now applies the activation too."""
    step = x.producer
    if step is None or x.uses != 1 or step.epilogue is None or step.words[step.epilogue] != -1:
        return False
    step.words[step.epilogue : step.epilogue + 3] = [activation, alpha, beta]
    x.uses = 0
    return True


def activated(
    emitter: Emitter, x: Tensor, op: Op, activation: int | None = None, alpha: float = 0.0, beta: float = 0.0
) -> Tensor | None:
    """`op` applied to `x`, by the step that makes it where `activation` names the same function."""
    if x.dtype != FLOAT:
        return None
    if activation is not None and merged(x, activation, alpha, beta):
        return x
    return chain(emitter, FLOAT, [x], unary(op))


SIGMOID_OP, TANH_OP, RELU_OP = f32("sigmoid", cost=8), f32("tanh", cost=8), f32("relu")
SOFTPLUS_OP, SOFTSIGN_OP = f32("softplus", cost=16), f32("softsign")
PRELU = (LEAF, LEAF, f32("prelu", arity=2))
PLAIN = {
    "Sigmoid": (SIGMOID_OP, SIGMOID),
    "Tanh": (TANH_OP, TANH),
    "Relu": (RELU_OP, RELU),
    "Softplus": (SOFTPLUS_OP, SOFTPLUS),
    "Softsign": (SOFTSIGN_OP, SOFTSIGN),
}


@native(*PLAIN, lazy=True)
def bind_plain(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """Activations without parameters."""
    return activated(emitter, x, *PLAIN[node.op])


@native("LeakyRelu", lazy=True)
def bind_leaky_relu(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """x, or alpha·x for x < 0."""
    alpha = number(node, "alpha", 0.01)
    return activated(emitter, x, f32("leaky_relu", alpha), LEAKY_RELU, alpha)


@native("PRelu", lazy=True)
def bind_prelu(emitter: Emitter, node: Node, x: Tensor, slope: Tensor) -> Tensor | None:
    """x, or slope·x for x < 0."""
    if x.dtype != FLOAT or slope.dtype != FLOAT:
        return None
    if slope.value is not None and slope.size == 1 and slope.ndim <= x.ndim:
        alpha = float(slope.value.item())
        return activated(emitter, x, f32("leaky_relu", alpha), LEAKY_RELU, alpha)
    return chain(emitter, FLOAT, [x, slope], PRELU)


@native("Elu", lazy=True)
def bind_elu(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """x, or alpha·(exp(x) - 1) for x < 0."""
    alpha = number(node, "alpha", 1.0)
    return activated(emitter, x, f32("elu", alpha, cost=8), ELU, alpha)


@native("HardSigmoid", lazy=True)
def bind_hard_sigmoid(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """alpha·x + beta, kept in [0, 1]."""
    alpha, beta = number(node, "alpha", 0.2), number(node, "beta", 0.5)
    return activated(emitter, x, f32("hard_sigmoid", alpha, beta), HARD_SIGMOID, alpha, beta)


@native("HardSwish", lazy=True)
def bind_hard_swish(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """The operand times its hard sigmoid."""
    return activated(emitter, x, f32("hard_swish", 1 / 6, 0.5))


@native("ThresholdedRelu", "Celu", "Swish", lazy=True)
def bind_with_alpha(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """Activations with one parameter, 1 by default."""
    name, cost = {"ThresholdedRelu": ("thresholded_relu", 1), "Celu": ("celu", 8), "Swish": ("swish", 8)}[node.op]
    return activated(emitter, x, f32(name, number(node, "alpha", 1.0), cost=cost))


@native("Selu", lazy=True)
def bind_selu(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """gamma·x, or gamma·alpha·(exp(x) - 1) for x <= 0."""
    alpha, gamma = number(node, "alpha", 1.67326319217681884765625), number(node, "gamma", 1.05070102214813232421875)
    return activated(emitter, x, f32("selu", alpha, gamma, cost=8))


@native("Gelu", lazy=True)
def bind_gelu(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """x·Φ(x), exactly or by its approximation with tanh."""
    exact = choice(node, "approximate", "none", ("none", "tanh")) == "none"
    return activated(emitter, x, f32("gelu" if exact else "gelu_tanh", cost=16))


@native("Shrink", lazy=True)
def bind_shrink(emitter: Emitter, node: Node, x: Tensor) -> Tensor | None:
    """The operand moved by `bias` toward 0 beyond `lambd`, else 0."""
    return activated(emitter, x, f32("shrink", number(node, "lambd", 0.5), number(node, "bias", 0.0)))


@native("SwiGLU", lazy=True)
def bind_swiglu(emitter: Emitter, node: Node, a: Tensor, b: Tensor) -> Tensor | None:
    """a·sigmoid(alpha·a)·b."""
    if a.dtype != FLOAT or b.dtype != FLOAT:
        return None
    swish = f32("swish", number(node, "alpha", 1.0), cost=8)
    return chain(emitter, FLOAT, [a, b], (LEAF, swish, LEAF, FLOAT_BINARY["Mul"][-1]))
