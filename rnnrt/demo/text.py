"""Texts with a clue and, many sentences later, a gap that the clue fills; and how a text becomes word numbers.

Training and the demo share this file. A text is held out (never trained on) by what it is made of: one filler sentence
in six and one pair of name and clue in five appear in held-out texts only. A text is about one person; others eat and
travel in it, but an allergy and a place of birth are told of that person alone.
"""

import random
import re
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from . import words as language

UNKNOWN = "<unk>"
_UNHEARD = "quetzal"  # stands for all words that are not in the vocabulary
GAP = "___"

_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|\d+|_{2,}|[.,!?;:]")
_SLOT = re.compile(r"\{(\w+)\}")
_GAP = re.compile(r"_{2,}|\.{3,}\s*$|…\s*$")

_KINDS = {
    "allergy": (language.ALLERGY_CLUES, language.ALLERGY_GAPS, {food: food for food in language.FOODS}),
    "origin": (language.ORIGIN_CLUES, language.ORIGIN_GAPS, language.LANGUAGE_OF),
}
_SENTENCES = language.DISTRACTORS + language.FILLERS
_NAMES = {"woman": language.WOMEN, "man": language.MEN}
_STRANGERS = {"woman": language.STRANGE_WOMEN, "man": language.STRANGE_MEN}
_ALL_NAMES = [name for group in (_NAMES, _STRANGERS) for names in group.values() for name in names]
_PRONOUNS = {"woman": {"s": "she", "o": "her", "p": "her"}, "man": {"s": "he", "o": "him", "p": "his"}}


class Token(NamedTuple):
    """A word or punctuation mark, lower case, and where it stands in the text."""

    word: str
    start: int
    end: int

    @property
    def is_word(self) -> bool:
        """Whether this is a word or number rather than a mark."""
        return self.word[0].isalnum()


def tokenize(text: str) -> list[Token]:
    """Words, numbers, marks and gaps of `text` in order; everything else separates them."""
    return [Token(_normal(m.group()), *m.span()) for m in _TOKEN.finditer(text)]


def _normal(word: str) -> str:
    return word.lower().replace("’", "'")


def before_gap(text: str) -> str:
    """The part of `text` that precedes its gap: up to the first `___`, or up to its last word."""
    mark = _GAP.search(text)
    return re.sub(r"[\s.…?!_]+$", "", text[: mark.start()] if mark else text)


def encode(text: str, vocabulary: list[str]) -> list[int]:
    """Number each token of `text` by its place in `vocabulary`; those not in it get the number of `<unk>`."""
    number = {word: k for k, word in enumerate(vocabulary)}
    return [number.get(word, number[UNKNOWN]) for word in map(_normal, _TOKEN.findall(text))]


def vocabulary() -> list[str]:
    """Every word that a training text can hold, `<unk>` first; words of held-out sentences only are not in it."""
    clues = [part for clues, gaps, _ in _KINDS.values() for part in clues + gaps]
    texts = [_SLOT.sub(" ", part) for part in clues + _sentences(held_out=False)]
    texts += [word for slot in language.SLOTS.values() for word in slot]
    texts += [word for pronouns in _PRONOUNS.values() for word in pronouns.values()]
    return [UNKNOWN, *sorted({token.word for text in texts for token in tokenize(text)})]


def _sentences(held_out: bool) -> list[str]:
    if held_out:
        return list(_SENTENCES)
    return [sentence for k, sentence in enumerate(_SENTENCES) if k % 6 != 5]


# Words that filler sentences are made of, for jumbled ones.
_COMMON = [
    token.word for text in _sentences(held_out=False) for token in tokenize(_SLOT.sub(" ", text)) if token.is_word
]
_COMMON += [word for slot in language.SLOTS.values() for word in slot]


@dataclass(frozen=True)
class Example:
    """A text up to its gap, the word that fills the gap, and how many words lie between clue and gap.

    A training text asks more than once, with `GAP` in the place of an answer; `asides` are those answers in order.
    """

    text: str
    answer: str
    distance: int
    asides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Person:
    """Somebody a text is about."""

    name: str
    sex: str

    def slots(self) -> dict[str, str]:
        """The words that stand for this person in a sentence template."""
        return {"n": self.name, **_PRONOUNS[self.sex]}


class Writer:
    """Writes texts from a seeded `random.Random`; the same seed gives the same texts on every machine.

    Parameters
    ----------
    rng : random.Random
    held_out : bool
        Write texts as they never occur in training.
    noise : float
        The share of filler sentences turned into a jumble of random and unknown words, so that what users write does
        not throw a model off.
    """

    def __init__(self, rng: random.Random, held_out: bool = False, noise: float = 0.0):
        self.rng = rng
        self._held_out = held_out
        self._noise = noise
        self._pool = _sentences(held_out)
        self._distractors = [s for s in self._pool if s in language.DISTRACTORS]

    def example(self, distance: int, answerable: bool = True, kind: str | None = None, n_asides: int = 0) -> Example:
        """Write a text with at least `distance` words between clue and gap.

        Where `answerable` is false the clue is left out or an unheard-of word, and the right answer is `<unk>`. `kind`
        is "allergy" or "origin". Before the last question come `n_asides` others, of either kind.
        """
        rng = self.rng
        kind = kind or rng.choices(["allergy", "origin"], weights=[7, 3])[0]
        person = self._person()
        clue, answer = self._fact(kind, person)
        known = {kind: answer if answerable else UNKNOWN}
        before = [self._sentence(person) for _ in range(rng.choice([0, 0, 0, 1, 2, 4]))]
        after = []
        if rng.random() < 0.4:
            side_kind = "origin" if kind == "allergy" else "allergy"
            side_fact, known[side_kind] = self._fact(side_kind, person)
            after.append(side_fact.replace("{here}", ""))
        if rng.random() < 0.3:
            before, after = before + after, []
        asked = [rng.choice(list(_KINDS)) for _ in range(n_asides)]
        *asides, gap = (self._question(k, person) for k in (*asked, kind))
        count = sum(_words(s) for s in (*after, gap)) + clue.partition("{here}")[2].count(" ")
        while count < distance:
            after.append(self._sentence(person))
            count += _words(after[-1])
        rng.shuffle(after)
        if not answerable:
            clue = re.sub(r"\w+\{here\}", _UNHEARD, clue) if rng.random() < 0.5 else ""
        clue = clue.replace("{here}", "")
        questions = [f"{aside} {GAP}." for aside in asides]
        text = " ".join(part for part in (*before, clue, *after, *questions, gap) if part)
        return Example(text, known[kind], count, tuple(known.get(k, UNKNOWN) for k in asked))

    def _person(self) -> Person:
        """Whom the text is about; now and then somebody whose name the models do not know."""
        sex = self.rng.choice(list(_NAMES))
        return Person(self.rng.choice((_STRANGERS if self.rng.random() < 0.2 else _NAMES)[sex]), sex)

    def _question(self, kind: str, person: Person) -> str:
        return self._fill(self.rng.choice(_KINDS[kind][1]), person)

    def _fact(self, kind: str, person: Person) -> tuple[str, str]:
        """A clue sentence about `person`, marked `{here}` after the clue itself, and the word it decides."""
        clues, _, answers = _KINDS[kind]
        row = _ALL_NAMES.index(person.name)
        held = [clue for column, clue in enumerate(answers) if (row + column) % 5 == 0]
        clue = self.rng.choice(held if self._held_out else [c for c in answers if c not in held])
        return self._fill(self.rng.choice(clues), person, clue=clue + "{here}"), answers[clue]

    def _sentence(self, person: Person) -> str:
        pool = self._distractors if self.rng.random() < 0.25 else self._pool
        sentence = self._fill(self.rng.choice(pool), person)
        # "Tom is not allergic to" must not become "<unk> <unk> <unk> allergic to".
        jumbled = self.rng.random() < self._noise and "allergic" not in sentence
        return self._jumble(sentence) if jumbled else sentence

    def _jumble(self, sentence: str) -> str:
        """The sentence with some words unknown, or as many words at random."""
        rng, words = self.rng, sentence[:-1].split()
        if rng.random() < 0.5:
            return " ".join(rng.choice(_COMMON) for _ in words) + "."
        return " ".join(_UNHEARD if rng.random() < 0.4 else word for word in words) + "."

    def _fill(self, template: str, person: Person, **given: str) -> str:
        known = {**person.slots(), **given}
        used = {person.name}

        def word(slot: str) -> str:
            if slot.lower() in known:
                value = known[slot.lower()]
                return value[0].upper() + value[1:] if slot[0].isupper() else value
            while (value := self.rng.choice(language.SLOTS[slot])) in used:
                pass
            used.add(value)
            return value.capitalize() if slot == "day" else value

        # Splitting at the slots leaves them at the odd places.
        return "".join(word(part) if k % 2 else part for k, part in enumerate(_split(template)))


@cache
def _split(template: str) -> list[str]:
    return _SLOT.split(template)


def _words(sentence: str) -> int:
    return sentence.count(" ") + 1
