"""Stream a text through a demo network, and find the word that its answer hangs on and the unit that remembered it.

Nothing here knows allergies or foods. The clue is the word after which the network, if asked at once, would begin to
give its answer; the remembering unit is the one whose state differs all the way from clue to gap, had the clue not been
read, and whose output says the answer.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .text import UNKNOWN, Token, encode, tokenize

# Word steps of one batch in the search for a clue; bounds the memory of its outputs.
_ROWS = 4096


@dataclass(frozen=True)
class Network:
    """Weights as the model's ONNX file holds them: `W` [G*H, E], `R` [G*H, H], `B` [2*G*H], `readout` [H, V]."""

    kind: str
    words: list[str]
    accuracy: float
    embedding: np.ndarray
    W: np.ndarray
    R: np.ndarray
    B: np.ndarray
    readout: np.ndarray

    @property
    def n_units(self) -> int:
        """Hidden units H."""
        return self.R.shape[1]

    def keep_gate(self, numbers: list[int], before: np.ndarray) -> np.ndarray:
        """The share of the old state that each unit keeps at each step: the LSTM's forget gate, the GRU's update gate.

        Parameters
        ----------
        numbers : list of T word numbers
        before : array [T, H]
            The hidden state h before each step.

        Returns
        -------
        array [T, H], values in (0, 1)
        """
        n = self.n_units
        block = 2 if self.kind == "lstm" else 0  # ONNX orders the rows i o f c, and z r h
        rows = slice(block * n, (block + 1) * n)
        bias = np.add(*np.split(self.B, 2))[rows]
        return 1 / (1 + np.exp(-(self.embedding[numbers] @ self.W[rows].T + before @ self.R[rows].T + bias)))


def open_network(path: Path) -> Network:
    """Read weights, vocabulary and measured accuracy out of a demo model's ONNX file."""
    import onnx
    from onnx import numpy_helper

    file = onnx.load(path)
    notes = {entry.key: entry.value for entry in file.metadata_props}
    array = {tensor.name: numpy_helper.to_array(tensor) for tensor in file.graph.initializer}
    kind = next(node.op_type for node in file.graph.node if node.op_type in ("LSTM", "GRU")).lower()
    return Network(
        kind,
        json.loads(notes["vocabulary"]),
        float(notes["held_out_accuracy"]),
        array["embedding"],
        array["W"][0],
        array["R"][0],
        array["B"][0],
        array["readout"],
    )


@dataclass(frozen=True)
class Reading:
    """What streaming a text of T words gave.

    `memory` (the cell state c, or the GRU's h) and `hidden` (h) after each word, and the `keep` gate at it, [T, H];
    `probability` [V] of each word to come next.
    """

    numbers: list[int]
    memory: np.ndarray
    hidden: np.ndarray
    keep: np.ndarray
    probability: np.ndarray

    @property
    def answer(self) -> int:
        """The number of the most probable word."""
        return int(self.probability.argmax())


def read(model, network: Network, numbers: list[int]) -> Reading:
    """Stream the words through `model` (a `rnnrt.Model`) one at a time, noting its state after each."""
    stream = model.stream()
    memory, hidden = [], []
    for number in numbers:
        out = stream.step({"word": np.array([[number]], np.int64)})
        state = stream.state
        hidden.append(np.array(state["h"]).ravel())
        memory.append(np.array(state["c"]).ravel() if "c" in state else hidden[-1])
    before = np.stack([np.zeros(network.n_units, np.float32), *hidden[:-1]])
    keep = network.keep_gate(numbers, before)
    return Reading(numbers, np.array(memory), np.array(hidden), keep, out["probability"].ravel())


def last_probabilities(model, texts: np.ndarray, **state: np.ndarray) -> np.ndarray:
    """Run texts of equal length, word numbers [B, T], as one batch; the probabilities [B, V] after their last word.

    `state` is the h (and c) [1, B, H] to start from; zeros where it is not given.
    """
    zeros = {
        put.name: np.zeros((1, len(texts), put.shape[-1]), np.float32) for put in model.inputs if put.name != "word"
    }
    return model.run({"word": np.ascontiguousarray(texts.T), **zeros, **state})["probability"][-1]


@dataclass(frozen=True)
class Clue:
    """The word that an answer hangs on.

    `position` among the tokens; the text's word `numbers` with this word made unknown, wherever it stands before the
    question.
    """

    position: int
    numbers: list[int]


def find_clue(model, network: Network, tokens: list[Token], reading: Reading) -> Clue | None:
    """Find the word that decides the answer, by asking early.

    The question (the sentence with the gap) is put right after each word of the text before it, and again with an
    unknown word in that word's place. The clue is the word that makes the most of the probability of the answer; None
    if that is less than a quarter of what it is in the end.
    """
    numbers, unknown = np.array(reading.numbers), network.words.index(UNKNOWN)
    stops = [k for k, token in enumerate(tokens) if token.word in ".!?"]
    begin = stops[-1] + 1 if stops else max(len(tokens) - 3, 0)
    places = np.array([k for k in range(begin) if tokens[k].is_word], int)
    if not len(places):
        return None
    given = np.stack([np.append(numbers[k], numbers[begin:]) for k in places])
    blank = given.copy()
    blank[:, 0] = unknown
    early, without = (ask(model, network, reading, places, texts)[:, reading.answer] for texts in (given, blank))
    gain = early - without
    if gain.max() < reading.probability.max() / 4:
        return None
    position = int(places[gain.argmax()])
    known = (np.arange(len(numbers)) >= begin) | (numbers != numbers[position])
    return Clue(position, np.where(known, numbers, unknown).tolist())


def ask(model, network: Network, reading: Reading, places: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Go on with text k of `texts` [N, Q] from the state before token `places[k]`; the last probabilities [N, V]."""
    answers = []
    for rows in np.array_split(np.arange(len(places)), -(-texts.size // _ROWS)):
        state = {"h": reading.hidden, "c": reading.memory} if network.kind == "lstm" else {"h": reading.hidden}
        before = {
            name: np.where(places[rows, None] > 0, values[places[rows] - 1], 0)[None] for name, values in state.items()
        }
        answers.append(last_probabilities(model, texts[rows], **before))
    return np.concatenate(answers)


def remembering_unit(network: Network, reading: Reading, clue: Clue, other: Reading) -> int:
    """The unit that carried the clue to the gap.

    `other` is the reading of the same text with the clue made unknown. A unit scores by what its change of output adds
    to the logit of the answer (against the other words, weighed by their probability without the clue), times how
    steadily its memory differs between the two readings: the 5th percentile of the difference from clue to gap over its
    maximum.
    """
    weight = network.readout[:, reading.answer] - network.readout @ other.probability
    gain = weight * (reading.hidden[-1] - other.hidden[-1])
    difference = np.abs(reading.memory - other.memory)[clue.position + 1 :]
    steadiness = np.quantile(difference, 0.05, axis=0) / np.maximum(difference.max(axis=0), 1e-9)
    return int((gain * steadiness).argmax())


@dataclass(frozen=True)
class Recall:
    """How the clue, `distance` words before the gap, got there: the unit, its memory and its keep gate [T].

    Had the clue been an unknown word, the memory of the same unit would have been `without`, and `probability` [V] that
    of each word to fill the gap.
    """

    clue: Clue
    distance: int
    unit: int
    memory: np.ndarray
    keep: np.ndarray
    without: np.ndarray
    probability: np.ndarray


@dataclass(frozen=True)
class Story:
    """A text read to its gap; `recall` is None where the answer hangs on no single word."""

    text: str
    tokens: list[Token]
    reading: Reading
    recall: Recall | None


def follow(model, network: Network, text: str) -> Story:
    """Read `text` (which ends at its gap and holds at least one word) and find out what the answer hangs on."""
    tokens = tokenize(text)
    reading = read(model, network, encode(text, network.words))
    clue = find_clue(model, network, tokens, reading)
    if clue is None:
        return Story(text, tokens, reading, None)
    other = read(model, network, clue.numbers)
    unit = remembering_unit(network, reading, clue, other)
    distance = sum(token.is_word for token in tokens[clue.position + 1 :])
    memory, keep, without = reading.memory[:, unit], reading.keep[:, unit], other.memory[:, unit]
    return Story(text, tokens, reading, Recall(clue, distance, unit, memory, keep, without, other.probability))
