"""PyTorch: nn.LSTM, nn.GRU and nn.RNN in inference mode; unequal lengths as a packed sequence.

Arrays are tensors before the clock starts. Single layers only.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ..jobs import Arrays, Call, Task

ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""PyTorch's gates (i f g o; r z n) as numbers of ONNX's (i o f c; z r h)."""


_INFERENCE = torch.inference_mode()
_INFERENCE.__enter__()  # for as long as this process lives, so that no call pays for entering it


def version() -> str:
    """Its version."""
    return torch.__version__


def open(task: Task) -> Call:
    """Make a task's layer."""
    if task.job.layer is None:
        raise NotImplementedError("PyTorch runs single layers here, not ONNX files")
    torch.set_num_threads(task.job.threads)
    torch.set_flush_denormal(True)
    layer = _layer(task)
    tensors = {name: torch.from_numpy(array) for name, array in task.inputs.items()}
    state = tuple(tensors[name] for name in task.job.states)
    start = None if not state else state if len(state) > 1 else state[0]
    if task.job.mode == "run":
        return _one(layer, tensors, start)
    frames = [torch.from_numpy(feed["X"]) for feed in task.feeds()]

    def answer() -> Arrays:
        last, ys = start, []
        for x in frames:
            y, last = layer(x, last)
            ys.append(_sequence(y, layer))
        return {"Y": np.stack(ys)} | {f"state.{k}": v for k, v in zip(("h", "c"), _states(last), strict=False)}

    statement = "for x in frames:\n    y, state = layer(x, state)"
    return Call(statement, {"layer": layer, "frames": frames, "start": start}, answer, len(frames), "state = start")


def _one(layer: torch.nn.RNNBase, tensors: dict[str, torch.Tensor], start: object) -> Call:
    if "lens" not in tensors:
        names = {"layer": layer, "x": tensors["X"], "start": start}
        return Call("layer(x, start)", names, lambda: _named(*layer(tensors["X"], start), layer))
    lens, steps = tensors["lens"].to(torch.int64), len(tensors["X"])

    def run() -> tuple:
        packed = pack_padded_sequence(tensors["X"], lens, enforce_sorted=False)
        y, last = layer(packed)
        return pad_packed_sequence(y, total_length=steps)[0], last

    return Call("run()", {"run": run}, lambda: _named(*run(), layer))


def _layer(task: Task) -> torch.nn.RNNBase:
    """The layer with the weights of the ONNX node."""
    about = task.job.layer or {}
    kind = {"LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU, "RNN": torch.nn.RNN}[about["op"]]
    hidden = about["hidden"]
    layer = kind(about["inputs"], hidden, bidirectional=about["directions"] == 2)
    order = list(ORDER[about["op"]])
    for d, suffix in enumerate(("", "_reverse")[: about["directions"]]):
        biases = task.weights["B"][d].reshape(2, -1)
        for name, array in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"),
                               (task.weights["W"][d], task.weights["R"][d], *biases), strict=True):  # fmt: skip
            ordered = array.reshape(len(order), hidden, -1)[order].reshape(array.shape)
            getattr(layer, f"{name}_l0{suffix}").data.copy_(torch.from_numpy(ordered.copy()))
    return layer.eval()


def _sequence(y: torch.Tensor, layer: torch.nn.RNNBase) -> np.ndarray:
    """[T, B, D*H] as ONNX has it, [T, D, B, H]."""
    steps, batch, _ = y.shape
    return y.reshape(steps, batch, -1, layer.hidden_size).permute(0, 2, 1, 3).numpy()


def _states(last: object) -> list[np.ndarray]:
    return [part.numpy() for part in (last if isinstance(last, tuple) else (last,))]


def _named(y: torch.Tensor, last: object, layer: torch.nn.RNNBase) -> Arrays:
    return {"Y": _sequence(y, layer), **dict(zip(("Y_h", "Y_c"), _states(last), strict=False))}
