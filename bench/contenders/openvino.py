"""OpenVINO: one infer request used again and again, arrays shared; a stream as two with swapped state tensors."""

from __future__ import annotations

from typing import Any

import openvino

from ..jobs import Arrays, Call, Swapped, Task, session_call


def version() -> str:
    """Its version."""
    return openvino.__version__.partition("-")[0]


def open(task: Task) -> Call:
    """Open a task's model, its shapes fixed to those of the inputs."""
    core = openvino.Core()
    model = core.read_model(task.model)
    shapes = {name: list(array.shape) for name, array in task.inputs.items()}
    shapes |= {name: list(stack.shape[1:]) for name, stack in task.frames.items()}
    kept = {name for port in model.inputs for name in port.get_names()}
    model.reshape({name: shape for name, shape in shapes.items() if name in kept})
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": task.job.threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "CPU_DENORMALS_OPTIMIZATION": True,
    }
    compiled = core.compile_model(model, "CPU", settings)
    outputs = [port.get_any_name() for port in compiled.outputs]
    infer = compiled.create_infer_request().infer
    if task.job.mode == "stream" and len(task.frames) == 1:
        return _bound(compiled, outputs, task)
    if task.job.mode == "run":
        feed = {name: array for name, array in task.inputs.items() if name in kept}
        names = {"infer": infer, "feed": feed}
        statement = "infer(feed, share_inputs=True, share_outputs=True)"
        return Call(statement, names, lambda: dict(zip(outputs, infer(feed).values(), strict=True)))

    def run(_: None, feed: Arrays) -> list[Any]:
        return list(infer({name: array for name, array in feed.items() if name in kept}, share_inputs=True).values())

    return session_call(run, outputs, task)


def _bound(compiled: openvino.CompiledModel, outputs: list[str], task: Task) -> Call:
    first = compiled.create_infer_request().infer({**task.feeds()[0], **task.start()})
    buffers = Swapped(task, dict(zip(outputs, first.values(), strict=True)))
    runs = []
    for k in range(2):
        request = compiled.create_infer_request()
        for arrays in buffers.of(k):
            for name, array in arrays.items():
                request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
        runs.append(request.infer)
    return buffers.call(*runs)
