"""rnnrt behind the backend interface of the ``onnx`` package, as ONNX's own test suite uses it.

::

    import rnnrt.backend
    from onnx.backend.test import BackendTest

    globals().update(BackendTest(rnnrt.backend, __name__).test_cases)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.backend.base import Backend, BackendRep, namedtupledict

from . import model as _model
from .errors import InputError, UnsupportedError


class RnnrtBackendRep(BackendRep):
    """A loaded model."""

    def __init__(self, model: _model.Model) -> None:
        self.model = model

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Run on a sequence of arrays, in the order of the model's inputs, on a mapping, or on one array.

        Returns
        -------
        tuple
            One array an output, under its name as well.
        """
        outputs = self.model.run(self._feed(inputs))
        return namedtupledict("Outputs", list(outputs))(*outputs.values())

    def _feed(self, inputs: Any) -> dict[str, Any]:
        if isinstance(inputs, Mapping):
            return dict(inputs)
        given = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
        names = [value.name for value in self.model.inputs]
        if len(given) != len(names):
            raise InputError(f"inputs: expected {len(names)} ({', '.join(names)}), got {len(given)}")
        arrays = (np.asarray(value) if isinstance(value, np.generic) else value for value in given)
        return dict(zip(names, arrays, strict=True))


class RnnrtBackend(Backend):
    """Prepares and runs models on the CPU."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether `model` can be run: False where `prepare` would raise an UnsupportedError."""
        try:
            cls.prepare(model, device, **kwargs)
        except UnsupportedError:
            return False
        return True

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> RnnrtBackendRep:
        """Load a model; ``threads`` among `kwargs` is the number of threads."""
        if not cls.supports_device(device):
            raise UnsupportedError(f"device: expected CPU, got {device!r}")
        return RnnrtBackendRep(_model.load(model, threads=kwargs.get("threads", 1)))

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Run one operator on the arrays of its present inputs.

        Its opset is ``opset_version`` among `kwargs`, or else the newest.
        """
        super().run_node(node, inputs, device, outputs_info, **kwargs)
        names = [name for name in dict.fromkeys(node.input) if name]
        arrays = [np.asarray(array) for array in ([inputs] if isinstance(inputs, np.ndarray) else inputs)]
        if len(arrays) != len(names):
            raise InputError(f"inputs of {node.op_type}: expected {len(names)} ({', '.join(names)}), got {len(arrays)}")
        declared = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in zip(names, arrays, strict=True)
        ]
        graph = helper.make_graph([node], node.op_type, declared, cls._outputs(node, outputs_info))
        version = kwargs.get("opset_version", onnx.defs.onnx_opset_version())
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, version)])
        return cls.prepare(model, device).run(arrays)

    @staticmethod
    def _outputs(node: onnx.NodeProto, outputs_info: Any) -> list[onnx.ValueInfoProto]:
        names = [name for name in node.output if name]
        if outputs_info is None:
            return [onnx.ValueInfoProto(name=name) for name in names]
        return [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
            for name, (dtype, shape) in zip(names, outputs_info, strict=True)
        ]

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether `device` is the CPU."""
        return device.partition(":")[0] == "CPU"


is_compatible = RnnrtBackend.is_compatible
prepare = RnnrtBackend.prepare
run_model = RnnrtBackend.run_model
run_node = RnnrtBackend.run_node
supports_device = RnnrtBackend.supports_device
