"""Export every PyTorch case with both exporters and keep models, PyTorch's own answers and the failures.

    pip install torch onnx onnxscript onnxruntime
    python tests/exports/make_pytorch.py [torchscript] [dynamo] [--keep]

``--keep`` takes the models that are there, and only computes their answers and exports the missing ones.
Weights come from a seed by case. A case that the newer exporter refuses with axes that may change is tried again with
fixed shapes; both the failure and the case are kept.
"""

from __future__ import annotations

import copy
import logging
import os
import sys
import warnings
import zlib

import corpus
import numpy as np
import onnx
import onnxruntime
import onnxscript
import torch
from pytorch_layers import Case, cell_cases, fixed, form_cases, layer_cases
from pytorch_nets import net_cases, stream_cases


def flat(value) -> list[torch.Tensor]:
    """The tensors of nested tuples in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for part in value for tensor in flat(part)]


def answer(module: torch.nn.Module, case: Case, args: tuple) -> tuple[dict, dict]:
    """Inputs and outputs of one eager call, by name."""
    with torch.no_grad():
        outputs = flat(module(*args))
    named_in = {name: t.numpy() for name, t in zip(case.inputs, flat(args), strict=True)}
    return named_in, {name: t.numpy() for name, t in zip(case.outputs, outputs, strict=True)}


def stream(module: torch.nn.Module, case: Case) -> tuple[dict, dict, dict]:
    """Frames in, frames out and final state of a run from zero state."""
    example = dict(zip(case.inputs, case.calls[0], strict=True))
    state = {name: torch.zeros_like(example[name]) for name in case.states}
    ins = {name: [] for name in case.inputs if name not in state}
    outs = {name: [] for name in case.outputs if name not in case.states.values()}
    for _ in range(case.frames):
        frame = {name: torch.randn_like(example[name]) for name in ins}
        _, got = answer(module, case, tuple((frame | state)[name] for name in case.inputs))
        state = {name: torch.from_numpy(got[out]) for name, out in case.states.items()}
        for name in ins:
            ins[name].append(frame[name].numpy())
        for name in outs:
            outs[name].append(got[name])
    pack = lambda frames: {name: np.stack(arrays) for name, arrays in frames.items()}  # noqa: E731
    return pack(ins), pack(outs), {name: t.numpy() for name, t in state.items()}


def export(exporter: str, module: torch.nn.Module, case: Case, path) -> str:
    """Write `case` as an ONNX file; returns the error, empty if there was none."""
    options = {"opset_version": 17 if exporter == "torchscript" else 20, **case.options.get(exporter, {})}
    options |= {"input_names": case.inputs, "output_names": case.outputs}
    args, module = case.calls[0], copy.deepcopy(module)
    if exporter == "torchscript":
        options |= {"dynamo": False, "dynamic_axes": {**case.axes, **case.out_axes} or None}
        module = torch.jit.script(module) if case.scripted else module
    else:
        options |= {"dynamo": True, "external_data": False, "verbose": False}
        options |= {"dynamic_shapes": tuple(case.axes.get(name) for name in case.inputs)} if case.axes else {}
    try:
        torch.onnx.export(module, args, str(path), **options)
    except Exception as error:
        return corpus.root_error(error)
    return ""


def export_apart(*args) -> str:
    """`export` in a forked process: in one process the newer exporter refuses what it took before another export."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(write, export(*args).encode()[:4000])
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        error = pipe.read().decode()
    os.waitpid(child, 0)
    return error


def warm_up() -> None:
    """Let both ways of capturing load what they need, once, before the forks."""
    layer = torch.nn.Linear(2, 2).eval()
    args = (torch.zeros(3, 2),)
    torch.export.export(layer, args, strict=True)
    torch.onnx.export(layer, args, dynamo=True, verbose=False)
    torch._dynamo.reset()


def make(store: corpus.Corpus, case: Case, keep: bool) -> bool:
    """Export, verify and keep one case; False where it went wrong for more than a later call."""
    torch.manual_seed(zlib.crc32(case.name.encode()))
    module = case.build().to(getattr(torch, case.dtype)).eval()
    path = store.path(case.name)
    fail = lambda stage, error: store.failures.append(corpus.Failure(case.name, stage, error))  # noqa: E731
    calls = [answer(module, case, args) for args in case.calls]
    if not (keep and path.exists()):
        path.unlink(missing_ok=True)
        error = (export if store.exporter == "torchscript" else export_apart)(store.exporter, module, case, path)
        if error:
            path.unlink(missing_ok=True)
            fail("export", error)
            return False
        corpus.strip(path)
    stage, good, error = corpus.disagreement(path, calls, case.dtype)
    record = corpus.Record(case.name, case.inputs, case.outputs, len(calls), case.dtype)
    record.states, record.frames, record.note = case.states, case.frames, case.note
    if stage:
        fail(stage, f"call {good}: {error}" if good else error)
    if stage and "proj" in case.name:
        record.error_node, record.calls = recurrent_node(path), 1
        store.keep(record, calls)
        return True
    record.calls, record.refused = good, int(stage == "run")
    if not good:
        path.unlink()
        return False
    store.keep(record, calls, stream(module, case) if case.frames else None)
    return True


def recurrent_node(path) -> str:
    """Name of the first recurrent node of a model: the one to blame where its weights fit no shape."""
    return next(n.name for n in onnx.load(path).graph.node if n.op_type in ("LSTM", "GRU", "RNN"))


def main(arguments: list[str]) -> None:
    keep, exporters = "--keep" in arguments, [a for a in arguments if a != "--keep"]
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    cases = [*layer_cases(), *form_cases(), *cell_cases(), *net_cases(), *stream_cases()]
    assert len({c.name for c in cases}) == len(cases)
    packages = (torch, onnx, onnxscript, onnxruntime)
    for exporter in exporters or corpus.EXPORTERS[:2]:
        store = corpus.Corpus(exporter, {p.__name__: p.__version__ for p in packages})
        store.folder.mkdir(exist_ok=True)
        if exporter == "dynamo":
            warm_up()
        for case in cases:
            if exporter == "torchscript" or case.dynamo == "all":
                if not make(store, case, keep) and case.axes and exporter == "dynamo":
                    make(store, fixed(case), keep)
            elif case.dynamo:
                make(store, fixed(case) if case.axes else case, keep)
        store.save()
        print(store.summary())


if __name__ == "__main__":
    main(sys.argv[1:])
