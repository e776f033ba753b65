"""NumPy operators by family. Importing a family fills :data:`rnnrt.ops.registry.OPERATORS`."""

from . import (  # noqa: F401
    activation,
    cast,
    elementwise,
    index,
    layout,
    reduce,
    select,
    shape,
)
