"""ONNX Runtime: `InferenceSession.run`; a stream as two IO bindings with swapped state buffers."""

from __future__ import annotations

from functools import partial

import onnxruntime

from ..jobs import Call, Swapped, Task, session_call


def version() -> str:
    """Its version."""
    return onnxruntime.__version__


def open(task: Task) -> Call:
    """Open a task's model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.job.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = onnxruntime.InferenceSession(task.model, options, providers=["CPUExecutionProvider"])
    if task.job.mode == "stream" and len(task.frames) == 1:
        return _bound(session, task)
    return session_call(session.run, [value.name for value in session.get_outputs()], task)


def _bound(session: onnxruntime.InferenceSession, task: Task) -> Call:
    outputs = [value.name for value in session.get_outputs()]
    first = session.run(None, {**task.feeds()[0], **task.start()})
    buffers = Swapped(task, dict(zip(outputs, first, strict=True)))
    runs = []
    for k in range(2):
        binding = session.io_binding()
        ins, outs = buffers.of(k)
        for bind, arrays in ((binding.bind_input, ins), (binding.bind_output, outs)):
            for name, array in arrays.items():
                bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        runs.append(partial(session.run_with_iobinding, binding))
    return buffers.call(*runs)
