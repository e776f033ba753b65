"""Train the demo's LSTM and GRU and write them beside this file as ONNX; needs PyTorch.

    python -m rnnrt.demo.train [lstm] [gru]

The network is Gather (embedding) -> LSTM or GRU -> MatMul, Add -> Softmax. It learns one thing: the word in the gap at
the end of a text. Gaps grow from 10 to 200 words while it learns. At the end the share of right answers on held-out
texts (see `text`) with at least 100 words between clue and gap is printed, and written into the file's metadata.
"""

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np

from . import KINDS, model_path
from .text import GAP, UNKNOWN, Example, Writer, encode, vocabulary

EMBEDDING, HIDDEN = 24, 64
BATCH, STEPS, ASIDES, RATE = 64, 1800, 3, 1e-2
SEED = 7
LONGEST_GAP = 200
GOAL = 0.99


def make_network(kind: str, n_words: int):
    """Embedding, one recurrent layer and a linear readout as a `torch.nn.ModuleDict`."""
    import torch
    from torch import nn

    layer = {"lstm": nn.LSTM, "gru": nn.GRU}[kind](EMBEDDING, HIDDEN)
    with torch.no_grad():
        layer.bias_hh_l0.zero_()
        layer.bias_ih_l0.zero_()
        # Gates that let a value live for 1 to LONGEST_GAP steps from the start ("chrono initialization", Tallec and
        # Ollivier 2018). PyTorch's rows are i f g o for an LSTM, r z n for a GRU: the second block keeps the state.
        lifetime = torch.log(1 + torch.rand(HIDDEN) * (LONGEST_GAP - 1))
        layer.bias_ih_l0[HIDDEN : 2 * HIDDEN] = lifetime
        if kind == "lstm":
            layer.bias_ih_l0[:HIDDEN] = -lifetime
    return nn.ModuleDict(
        {"embedding": nn.Embedding(n_words, EMBEDDING), "layer": layer, "readout": nn.Linear(HIDDEN, n_words)}
    )


def answer_scores(network, examples: list[Example], words: list[str]):
    """Logits [N, V] for all gaps of the examples, one after the other, and the numbers [N] of the right answers."""
    import torch

    # The gaps within a text get a number of their own to be found by; the network reads them as unknown words.
    texts = [np.array(encode(e.text, [*words, GAP])) for e in examples]
    padded = np.zeros((max(map(len, texts)), len(texts)), np.int64)
    gaps, right = [], []
    for column, (numbers, example) in enumerate(zip(texts, examples, strict=True)):
        inner = np.flatnonzero(numbers == len(words))
        padded[: len(numbers), column] = np.where(numbers == len(words), words.index(UNKNOWN), numbers)
        gaps += [(k, column) for k in (*(inner - 1), len(numbers) - 1)]
        right += [words.index(answer.lower()) for answer in (*example.asides, example.answer)]
    y, _ = network["layer"](network["embedding"](torch.from_numpy(padded)))
    at, column = torch.tensor(np.array(gaps)).T
    return network["readout"](y[at, column]), torch.tensor(right)


def train(kind: str, words: list[str], steps: int):
    """Train one network; deterministic for a given PyTorch build and number of threads."""
    import torch

    torch.manual_seed(SEED)
    writer = Writer(random.Random(SEED), noise=0.15)
    network = make_network(kind, len(words))
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=steps, pct_start=0.1)
    begin, correct = time.perf_counter(), 0.0
    for step in range(steps):
        reach = 10 + (LONGEST_GAP - 10) * min(1.0, max(0.0, step / steps - 0.25) / 0.5)
        # One gap length a batch, so that hardly any padding is computed.
        gap = int(writer.rng.uniform(5, reach))
        batch = [writer.example(gap, writer.rng.random() > 0.1, n_asides=ASIDES) for _ in range(BATCH)]
        scores, right = answer_scores(network, batch, words)
        loss = torch.nn.functional.cross_entropy(scores, right)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        correct += float((scores.argmax(1) == right).float().mean())
        if (step + 1) % 200 == 0:
            took = time.perf_counter() - begin
            print(
                f"{kind} step {step + 1:5d}  gap <= {reach:3.0f}  right {correct / 200:.3f} {took:4.0f} s", flush=True
            )
            correct = 0.0
    return network


def held_out_accuracy(network, words: list[str], distances=(100, 150, 200), n: int = 700, seed: int = 2026) -> float:
    """Share of right answers on `n` held-out texts at each of `distances` (words between clue and gap)."""
    import torch

    writer, hits = Writer(random.Random(seed), held_out=True), []
    for distance in distances:
        with torch.no_grad():
            scores, right = answer_scores(network, [writer.example(distance) for _ in range(n)], words)
        hits.append(float((scores.argmax(1) == right).float().mean()))
        print(f"  held out, {distance} words or more: {hits[-1]:.4f}")
    return sum(hits) / len(hits)


def export(network, kind: str, words: list[str], accuracy: float, path: Path) -> None:
    """Write the network as ONNX: `word` [T, B] and the state in; `probability` [T, B, V] and the new state out."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    order = {"lstm": [0, 3, 1, 2], "gru": [1, 0, 2]}[kind]  # i f g o -> i o f c, and r z n -> z r h

    def gates(name: str) -> np.ndarray:
        blocks = np.split(weights[f"layer.{name}_l0"], len(order))
        return np.concatenate([blocks[k] for k in order])

    constants = {
        "embedding": weights["embedding.weight"],
        "W": gates("weight_ih")[None],
        "R": gates("weight_hh")[None],
        "B": np.concatenate([gates("bias_ih"), gates("bias_hh")])[None],
        "readout": np.ascontiguousarray(weights["readout.weight"].T),
        "bias": weights["readout.bias"],
        "direction_axis": np.array([1], np.int64),
    }
    carried = ["h", "c"] if kind == "lstm" else ["h"]
    options: dict = {} if kind == "lstm" else {"linear_before_reset": 1}
    nodes = [
        helper.make_node("Gather", ["embedding", "word"], ["x"]),
        helper.make_node(
            kind.upper(),
            ["x", "W", "R", "B", "", *carried],
            ["y", *(s + "_out" for s in carried)],
            hidden_size=HIDDEN,
            **options,
        ),
        helper.make_node("Squeeze", ["y", "direction_axis"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "readout"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logit"]),
        helper.make_node("Softmax", ["logit"], ["probability"], axis=-1),
    ]
    state_shape: list[str | int | None] = [1, "B", HIDDEN]
    real, whole = TensorProto.FLOAT, TensorProto.INT64
    graph = helper.make_graph(
        nodes,
        f"demo_{kind}",
        [helper.make_tensor_value_info("word", whole, ["T", "B"])]
        + [helper.make_tensor_value_info(s, real, state_shape) for s in carried],
        [helper.make_tensor_value_info("probability", real, ["T", "B", len(words)])]
        + [helper.make_tensor_value_info(s + "_out", real, state_shape) for s in carried],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="rnnrt.demo.train"
    )
    helper.set_model_props(
        model, {"vocabulary": json.dumps(words), "held_out_accuracy": f"{accuracy:.4f}", "seed": str(SEED)}
    )
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def main() -> None:
    """Train, measure and write the networks named on the command line."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", choices=[[], *KINDS], default=list(KINDS), metavar="lstm|gru")
    parser.add_argument("--steps", type=int, default=STEPS, help="batches to train on (default %(default)s)")
    parser.add_argument("--folder", type=Path, default=model_path("lstm").parent, help="where the ONNX files go")
    options = parser.parse_args()
    torch.set_num_threads(1)
    words = vocabulary()
    for kind in options.kinds:
        network = train(kind, words, options.steps)
        accuracy = held_out_accuracy(network, words)
        print(f"{kind}: {accuracy:.2%} of held-out texts with a gap of at least 100 words are right")
        if accuracy < GOAL:
            raise SystemExit(f"{kind}: below {GOAL:.0%}, nothing written")
        export(network, kind, words, accuracy, options.folder / f"{kind}.onnx")


if __name__ == "__main__":
    main()
