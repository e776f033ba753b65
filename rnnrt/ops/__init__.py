"""NumPy operators by family. Importing a family fills :data:`rnnrt.ops.registry.OPERATORS`."""

# ruff: noqa: F401
from . import activation
from . import cast
from . import elementwise
from . import index
from . import layout
from . import reduce
from . import select
from . import shape
