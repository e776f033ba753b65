"""Values and bindings as onnxruntime hands them out; all memory is the CPU's.

`OrtValue` holds one array. `IOBinding` remembers what goes into a run and where its outputs belong, for programs that
set up a call once and repeat it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .errors import InputError

TENSOR_NAMES: dict[str, str] = {
    "float32": "float",
    "float64": "double",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "bool": "bool",
    "object": "string",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (4, 8, 16, 32, 64)},
    "complex64": "complex64",
    "complex128": "complex128",
}
"""NumPy's name of an element type and ONNX's."""

_ELEMENT_TYPES = (
    *("undefined", "float", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool"),
    *("float16", "double", "uint32", "uint64", "complex64", "complex128", "bfloat16"),
)
"""ONNX's element types by their numbers."""


def tensor_type(dtype: np.dtype) -> str:
    """The type string of a tensor: ``tensor(float)`` for float32."""
    name = "string" if dtype.kind in "OSUT" else TENSOR_NAMES.get(dtype.name, dtype.name)
    return f"tensor({name})"


def _check_device(device_type: Any, what: str) -> None:
    if device_type is not None and str(device_type).lower() != "cpu":
        raise InputError(f"{what}: expected the device 'cpu', got {device_type!r}")


class OrtValue:
    """An array, or a list of arrays for a sequence."""

    __slots__ = ("_value",)

    def __init__(self, value: np.ndarray | list) -> None:
        self._value = value

    @classmethod
    def ortvalue_from_numpy(cls, numpy_obj: np.ndarray, device_type: str = "cpu", device_id: int = 0) -> OrtValue:
        """Wrap an array; a contiguous one is shared, not copied."""
        _check_device(device_type, "OrtValue")
        return cls(np.ascontiguousarray(numpy_obj) if np.ndim(numpy_obj) else np.asarray(numpy_obj))

    @classmethod
    def ortvalue_from_shape_and_type(
        cls, shape: Sequence[int], element_type: Any, device_type: str = "cpu", device_id: int = 0
    ) -> OrtValue:
        """An uninitialised array."""
        _check_device(device_type, "OrtValue")
        return cls(np.empty(tuple(shape), element_type))

    def numpy(self) -> np.ndarray:
        """A copy of the tensor."""
        return self._tensor().copy()

    def update_inplace(self, np_arr: np.ndarray) -> None:
        """Overwrite the tensor with an array of its shape and dtype."""
        mine = self._tensor()
        if np_arr.shape != mine.shape or np_arr.dtype != mine.dtype:
            raise InputError(f"OrtValue: expected {mine.dtype}{mine.shape}, got {np_arr.dtype}{np_arr.shape}")
        mine[...] = np_arr

    def shape(self) -> list[int]:
        """The tensor's dimensions."""
        return list(self._tensor().shape)

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self._tensor().ctypes.data

    def data_type(self) -> str:
        """The type string, such as ``tensor(float)``."""
        if isinstance(self._value, np.ndarray):
            return tensor_type(self._value.dtype)
        return f"seq({tensor_type(np.asarray(self._value[0]).dtype)})" if self._value else "seq(tensor(float))"

    def element_type(self) -> int:
        """The number of the element type in ONNX's enumeration."""
        name = tensor_type(self._tensor().dtype)[len("tensor(") : -1]
        return _ELEMENT_TYPES.index(name)

    def device_name(self) -> str:
        """Always ``cpu``."""
        return "cpu"

    def has_value(self) -> bool:
        """Whether there is a value, which there always is."""
        return True

    def is_tensor(self) -> bool:
        """Whether this is one array."""
        return isinstance(self._value, np.ndarray)

    def is_tensor_sequence(self) -> bool:
        """Whether this is a list of arrays."""
        return not self.is_tensor()

    def is_sparse_tensor(self) -> bool:
        """Always False."""
        return False

    def tensor_size_in_bytes(self) -> int:
        """The size of the tensor's data."""
        return self._tensor().nbytes

    def _tensor(self) -> np.ndarray:
        if not isinstance(self._value, np.ndarray):
            raise InputError("OrtValue: expected a tensor, got a sequence")
        return self._value


def unwrap(value: Any) -> Any:
    """What an `OrtValue` holds; anything else as it is."""
    return value._value if isinstance(value, OrtValue) else value


def _array_at(element_type: Any, shape: Sequence[int], buffer_ptr: int) -> np.ndarray:
    """An array over the caller's memory, which the caller keeps alive."""
    dtype = np.dtype(element_type)
    size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if size == 0:
        return np.empty(tuple(shape), dtype)
    return np.frombuffer((ctypes.c_char * size).from_address(buffer_ptr), dtype).reshape(tuple(shape))


class IOBinding:
    """Inputs and outputs bound to names; made by `InferenceSession.io_binding`, run by `run_with_iobinding`."""

    def __init__(self, input_names: Sequence[str], output_names: Sequence[str]) -> None:
        self._input_names, self._output_names = input_names, output_names
        self.inputs: dict[str, Any] = {}
        self.targets: dict[str, np.ndarray | None] = {}
        self.results: list[OrtValue] = []

    def bind_cpu_input(self, name: str, arr_on_cpu: np.ndarray) -> None:
        """Bind an array; what it holds when the run begins goes in."""
        self.inputs[self._known(name, self._input_names, "input")] = arr_on_cpu

    def bind_input(
        self, name: str, device_type: str, device_id: int, element_type: Any, shape: Sequence[int], buffer_ptr: int
    ) -> None:
        """Bind memory at an address, which has to stay valid."""
        _check_device(device_type, f"input {name!r}")
        self.bind_cpu_input(name, _array_at(element_type, shape, buffer_ptr))

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        """Bind an `OrtValue`."""
        self.bind_cpu_input(name, unwrap(ortvalue))

    def bind_output(
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,
        element_type: Any = None,
        shape: Sequence[int] | None = None,
        buffer_ptr: int | None = None,
    ) -> None:
        """Ask for an output: in memory at an address, or, without `buffer_ptr`, in a fresh array."""
        _check_device(device_type, f"output {name!r}")
        name = self._known(name, self._output_names, "output")
        if buffer_ptr is not None and (element_type is None or shape is None):
            got = f"{element_type}, {shape}"
            raise InputError(f"output {name!r}: expected element_type and shape beside buffer_ptr, got {got}")
        self.targets[name] = None if buffer_ptr is None else _array_at(element_type, shape or (), buffer_ptr)

    def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
        """Have an output written into an `OrtValue`."""
        self.targets[self._known(name, self._output_names, "output")] = ortvalue._tensor()

    def clear_binding_inputs(self) -> None:
        """Forget the inputs."""
        self.inputs.clear()

    def clear_binding_outputs(self) -> None:
        """Forget the outputs."""
        self.targets.clear()
        self.results = []

    def get_outputs(self) -> list[OrtValue]:
        """The outputs of the last run, in the order in which they were bound."""
        return list(self.results)

    def copy_outputs_to_cpu(self) -> list[Any]:
        """The outputs of the last run as arrays of their own."""
        return [v.numpy() if v.is_tensor() else list(unwrap(v)) for v in self.results]

    def synchronize_inputs(self) -> None:
        """Do nothing: the CPU's memory is always in step."""

    def synchronize_outputs(self) -> None:
        """Do nothing: the CPU's memory is always in step."""

    def deliver(self, values: Mapping[str, Any]) -> None:
        """Put the outputs of a run where they belong; called by the session."""
        for name, target in self.targets.items():
            value = values[name]
            if target is not None and (target.shape != value.shape or target.dtype != value.dtype):
                bound, got = f"{target.dtype}{target.shape}", f"{value.dtype}{value.shape}"
                raise InputError(f"output {name!r}: expected {got}, got a binding to {bound}")
        self.results = []
        for name, target in self.targets.items():
            if target is not None:
                target[...] = values[name]
            self.results.append(OrtValue(values[name] if target is None else target))

    @staticmethod
    def _known(name: str, names: Sequence[str], what: str) -> str:
        if name not in names:
            raise InputError(f"{what} {name!r}: expected one of {', '.join(names)}")
        return name
