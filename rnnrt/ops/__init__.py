"""NumPy operators by family. Importing a family fills :data:`rnnrt.ops.registry.OPERATORS`."""

from . import (  # noqa: F401
    activation,
    blocks,
    cast,
    conv,
    conv_transpose,
    dynamic_lstm,
    elementwise,
    index,
    layout,
    linear,
    norm,
    pool,
    quant,
    quant_elementwise,
    quant_linear,
    reduce,
    resize,
    select,
    shape,
    softmax,
)
