"""Native steps: how nodes become calls of compiled operators once the shapes of a model's inputs are known.

`registry` says what a binder is, `tensor` and `emitter` what it works with; the other modules
hold the binders, a family each. The operators themselves are written over vector words in ``_core/op_*.h``.
"""

from . import (
    activation,
    conv,
    elementwise,
    gather,
    layout,
    linear,
    norm,
    pool,
    quantise,
    reduce,
    resize,
    select,
    spectral,
    views,
)

__all__ = [
    "activation",
    "conv",
    "elementwise",
    "gather",
    "layout",
    "linear",
    "norm",
    "pool",
    "quantise",
    "reduce",
    "resize",
    "select",
    "spectral",
    "views",
]
