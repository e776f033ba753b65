"""Stream a text through a demo network, and find the word that its answer hangs on and the unit that remembered it.

Nothing here knows allergies or foods. The clue is the word that decides which answer it is; the remembering unit
is the one whose state differs all the way from clue to gap, had the clue not been read, and whose output says the
answer.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .text import UNKNOWN, Token, encode, tokenize

# Bounds on the search for a clue: time steps of all variants at once, places of one word that are tried, words that are
# tried as the clue, and every how many-th word of the vocabulary is tried in its place.
_CHUNK = 16
_PLACES = 256
_CANDIDATES = 4
_STRIDE = 3


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
    before = np.concatenate([np.zeros((1, network.n_units), np.float32), hidden[:-1]])
    keep = network.keep_gate(numbers, before)
    return Reading(numbers, np.array(memory), np.array(hidden), keep, out["probability"].ravel())


def last_probabilities(model, network: Network, texts: np.ndarray) -> np.ndarray:
    """Run texts of equal length, word numbers [B, T], as one batch; the probabilities [B, V] after their last word."""
    n_texts, n_words = texts.shape
    state = {name: np.zeros((1, n_texts, network.n_units), np.float32) for name in model.states}
    for start in range(0, n_words, _CHUNK):
        chunk = np.ascontiguousarray(texts[:, start : start + _CHUNK].T)
        out = model.run({"word": chunk, **state})
        state = {name: out[to] for name, to in model.states.items()}
    return out["probability"][-1]


@dataclass(frozen=True)
class Clue:
    """The word that an answer hangs on.

    `position` among the tokens; the text's word `numbers` with it made unknown; the `probability` [V] of each word to
    fill the gap then.
    """

    position: int
    numbers: list[int]
    probability: np.ndarray


def find_clue(model, network: Network, tokens: list[Token], reading: Reading) -> Clue | None:
    """Find the word before the sentence with the gap that decides what the answer is.

    Each word is made unknown in turn; those that take half of the answer's probability with them matter ("allergic",
    "nuts"). Of these the clue is the one that brings the most different answers about when other words stand in its
    place. None if no word matters.
    """
    given, unknown, floor = np.array(reading.numbers), network.words.index(UNKNOWN), reading.probability.max() / 2
    stops = [k for k, token in enumerate(tokens) if token.word in ".!?"]
    places = np.array([k for k in range(stops[-1] if stops else 0) if tokens[k].is_word and given[k] != unknown], int)
    if not len(places):
        return None

    def without(masks: np.ndarray) -> np.ndarray:
        """The probabilities [N, V] that are left when the words under each mask [N, T] are unknown."""
        return last_probabilities(model, network, np.where(masks, unknown, given))

    at = np.arange(len(given))
    everywhere = (given == np.unique(given[places])[:, None]) & np.isin(at, places)
    left = without(everywhere)
    order = left[:, reading.answer].argsort()[:_CANDIDATES]
    mattering = [k for k in order if left[k, reading.answer] < floor]
    if not mattering:
        return None
    others = np.arange(0, len(network.words), _STRIDE)[:, None]
    best = max(mattering, key=lambda k: _n_answers(model, network, np.where(everywhere[k], others, given)))
    mask, probability = everywhere[best], left[best]
    one_place = at == np.flatnonzero(mask)[-_PLACES:, None]
    left = without(one_place)
    worst = left[:, reading.answer].argmin()
    if left[worst, reading.answer] < floor:
        mask, probability = one_place[worst], left[worst]
    # A clue given more than once is made unknown everywhere, and counts from where it was given last.
    return Clue(int(np.flatnonzero(mask)[-1]), np.where(mask, unknown, given).tolist(), probability)


def _n_answers(model, network: Network, texts: np.ndarray) -> int:
    """How many different answers these texts [B, T] get."""
    return len(np.unique(last_probabilities(model, network, texts).argmax(axis=1)))


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

    `without` is the memory of the same unit had the clue been an unknown word.
    """

    clue: Clue
    distance: int
    unit: int
    memory: np.ndarray
    keep: np.ndarray
    without: np.ndarray


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
    recall = Recall(clue, distance, unit, reading.memory[:, unit], reading.keep[:, unit], other.memory[:, unit])
    return Story(text, tokens, reading, recall)
