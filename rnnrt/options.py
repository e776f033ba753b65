"""Options of a session and of a run, under the names that programs written for onnxruntime use.

What an option means here:

- ``intra_op_num_threads`` n > 0 is ``load(threads=n)``; 0, the default, is one thread, as for ``load``.
- ``add_free_dimension_override_by_name`` fixes a named dimension of the inputs.
- ``optimized_model_filepath`` and ``register_custom_ops_library`` ask for what rnnrt does not have: `UnsupportedError`.
- ``enable_profiling`` is answered with a warning: no profile is written.
- All others steer machinery of onnxruntime that has no counterpart here: checked for type, kept, and without effect.
"""

from __future__ import annotations

import enum
import operator
from typing import Any, ClassVar

from .errors import UnsupportedError


class GraphOptimizationLevel(enum.IntEnum):
    """Accepted for compatibility: rnnrt plans every model in the same way."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_LAYOUT = 3
    ORT_ENABLE_ALL = 99


class ExecutionMode(enum.IntEnum):
    """Accepted for compatibility."""

    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


class ExecutionOrder(enum.IntEnum):
    """Accepted for compatibility."""

    DEFAULT = 0
    PRIORITY_BASED = 1


class _Options:
    """Attributes with a fixed set of names, each of the type of its default, which stands in the class."""

    _defaults: ClassVar[dict[str, Any]] = {}
    _config: dict[str, str]

    def __init_subclass__(cls) -> None:
        own = {name: value for name, value in vars(cls).items() if isinstance(value, (int, str)) and name[0] != "_"}
        cls._defaults = {**cls._defaults, **own}

    def __init__(self) -> None:
        self.__dict__.update(self._defaults, _config={})

    def __setattr__(self, name: str, value: Any) -> None:
        default = self._defaults.get(name)
        if default is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.__dict__[name] = _as_type_of(default, value, f"{type(self).__name__}.{name}")

    def __repr__(self) -> str:
        changed = [f"{k}={v!r}" for k, v in self.__dict__.items() if k in self._defaults and v != self._defaults[k]]
        return f"{type(self).__name__}({', '.join(changed)})"


def _as_type_of(default: Any, value: Any, what: str) -> Any:
    if isinstance(default, bool) and isinstance(value, (bool, int)):
        return bool(value)
    if isinstance(default, enum.IntEnum) and isinstance(value, type(default)):
        return value
    if type(default) is int and not isinstance(value, enum.IntEnum) and hasattr(value, "__index__"):
        return operator.index(value)
    if isinstance(default, str) and (isinstance(value, str) or hasattr(value, "__fspath__")):
        return str(value)
    raise TypeError(f"{what}: expected {type(default).__name__}, got {value!r}")


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what}: expected str, got {value!r}")
    return value


class SessionOptions(_Options):
    """Settings of an `InferenceSession`; the module's docstring says which have an effect.

    An attribute that onnxruntime does not have is an `AttributeError`, a value of the wrong type a `TypeError`.
    """

    enable_cpu_mem_arena: bool = True
    enable_mem_pattern: bool = True
    enable_mem_reuse: bool = True
    enable_profiling: bool = False
    execution_mode: ExecutionMode = ExecutionMode.ORT_SEQUENTIAL
    execution_order: ExecutionOrder = ExecutionOrder.DEFAULT
    graph_optimization_level: GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_ALL
    inter_op_num_threads: int = 0
    intra_op_num_threads: int = 0
    log_severity_level: int = -1
    log_verbosity_level: int = 0
    logid: str = ""
    optimized_model_filepath: str = ""
    profile_file_prefix: str = "rnnrt_profile_"
    use_deterministic_compute: bool = False
    use_per_session_threads: bool = True
    _dimensions: dict[str, int]

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["_dimensions"] = {}

    @property
    def free_dimensions(self) -> dict[str, int]:
        """The dimensions fixed by name."""
        return dict(self._dimensions)

    def add_session_config_entry(self, config_key: str, config_value: str) -> None:
        """Keep an entry; none has an effect."""
        self._config[_text(config_key, "config_key")] = _text(config_value, "config_value")

    def get_session_config_entry(self, config_key: str) -> str:
        """The entry, or a RuntimeError if there is none."""
        try:
            return self._config[config_key]
        except KeyError:
            raise RuntimeError(f"session options: no entry {config_key!r}") from None

    def add_free_dimension_override_by_name(self, dim_name: str, dim_value: int) -> None:
        """Fix the dimension `dim_name` of the model's inputs to `dim_value`."""
        self._dimensions[_text(dim_name, "dim_name")] = _as_type_of(0, dim_value, f"dimension {dim_name!r}")

    def register_custom_ops_library(self, path: str) -> None:
        """Refused: operators compiled for onnxruntime cannot be run here."""
        raise UnsupportedError(f"library {str(path)!r}: operators compiled for onnxruntime cannot be run here")


class RunOptions(_Options):
    """Settings of one `InferenceSession.run`; only ``terminate`` has an effect: the run does not begin."""

    log_severity_level: int = -1
    log_verbosity_level: int = 0
    logid: str = ""
    only_execute_path_to_fetches: bool = False
    terminate: bool = False

    def add_run_config_entry(self, config_key: str, config_value: str) -> None:
        """Keep an entry; none has an effect."""
        self._config[_text(config_key, "config_key")] = _text(config_value, "config_value")

    def get_run_config_entry(self, config_key: str) -> str:
        """The entry, or a RuntimeError if there is none."""
        try:
            return self._config[config_key]
        except KeyError:
            raise RuntimeError(f"run options: no entry {config_key!r}") from None
