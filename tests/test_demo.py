"""The demo: its language, its two shipped models run by rnnrt, and what `rnnrt demo` prints."""

import os
import random
import re
import subprocess
import sys

import numpy as np
import pytest

import rnnrt
from rnnrt.demo import KINDS, model_path
from rnnrt.demo import words as language
from rnnrt.demo.memory import follow, last_probabilities, open_network, read
from rnnrt.demo.text import UNKNOWN, Writer, before_gap, encode, tokenize, vocabulary


@pytest.fixture(scope="module", params=KINDS)
def opened(request):
    """A shipped model as rnnrt runs it, and its weights."""
    path = model_path(request.param)
    return rnnrt.load(path), open_network(path)


def answers(model, network, texts):
    """The word that the model puts into the gap of each text; texts of equal length run as one batch."""
    numbers = [encode(text, network.words) for text in texts]
    found = [""] * len(texts)
    for length in {len(n) for n in numbers}:
        rows = [k for k, n in enumerate(numbers) if len(n) == length]
        best = last_probabilities(model, np.array([numbers[k] for k in rows])).argmax(axis=1)
        for k, word in zip(rows, best, strict=True):
            found[k] = network.words[word]
    return found


# The language.


def test_tokens_are_lower_case_words_and_marks_with_their_places():
    text = "She can’t eat 12 X-rays, Émile!"
    tokens = tokenize(text)
    assert [t.word for t in tokens] == ["she", "can't", "eat", "12", "x-rays", ",", "émile", "!"]
    assert [text[t.start : t.end] for t in tokens] == ["She", "can’t", "eat", "12", "X-rays", ",", "Émile", "!"]
    assert [t.is_word for t in tokens] == [True] * 5 + [False, True, False]


@pytest.mark.parametrize(
    "ending", ["", " ", " ___", " ____.", "...", " ... ", " …", " ___ today, poor thing.", " ___. Tom can eat ___", "?"]
)
def test_the_gap_is_found_however_it_is_written(ending):
    assert before_gap("A b... c. She can't eat" + ending) == "A b... c. She can't eat"


def test_the_vocabulary_is_of_a_few_hundred_words_and_unknown_words_share_a_number():
    words = vocabulary()
    assert words[0] == UNKNOWN
    assert len(words) == len(set(words))
    assert 200 < len(words) < 500
    assert encode("Alice quetzal Zoltan", words) == [words.index("alice"), 0, 0]
    assert {food.lower() for food in language.FOODS} <= set(words)


def test_the_same_seed_writes_the_same_text():
    one, two, other = (Writer(random.Random(seed), held_out=True) for seed in (5, 5, 6))
    texts = [one.example(100) for _ in range(5)]
    assert texts == [two.example(100) for _ in range(5)]
    assert texts != [other.example(100) for _ in range(5)]


def test_held_out_texts_are_made_of_pairs_that_training_never_sees():
    def pairs(held_out):
        writer = Writer(random.Random(1), held_out=held_out)
        texts = [writer.example(5, kind="allergy").text for _ in range(800)]
        found = {pair for text in texts for pair in re.findall(r"(\w+) is allergic to (\w+)\.", text)}
        return {(name, food) for name, food in found if name in language.SLOTS["a"]}

    trained, held_out = pairs(False), pairs(True)
    assert len(trained) > 120
    assert len(held_out) > 60
    assert not trained & held_out


@pytest.mark.parametrize("distance", [10, 100, 250])
def test_clue_and_gap_are_as_far_apart_as_asked(distance):
    writer = Writer(random.Random(distance), held_out=True)
    for _ in range(50):
        example = writer.example(distance, kind="allergy")
        words = [token.word for token in tokenize(example.text) if token.is_word]
        assert example.distance in {len(words) - 1 - k for k, word in enumerate(words) if word == example.answer}
        assert distance <= example.distance < distance + 40
        assert example.answer in language.FOODS


def test_asides_ask_what_the_text_says_or_does_not_say():
    writer, languages, asked = Writer(random.Random(6)), set(language.LANGUAGE_OF.values()), 0
    for _ in range(100):
        example = writer.example(20, n_asides=3)
        assert example.text.count("___.") == len(example.asides) == 3
        for question, answer in zip(example.text.split("___.")[:3], example.asides, strict=True):
            if answer != UNKNOWN:
                asked += 1
                assert (answer in languages) == bool(re.search(r"(speaks|language)[^.]*$", question))
    assert asked > 50


def test_a_text_without_its_clue_has_no_answer():
    example = Writer(random.Random(3)).example(60, answerable=False)
    assert example.answer == UNKNOWN


# The shipped models.


def test_both_models_together_are_at_most_a_megabyte():
    assert sum(model_path(kind).stat().st_size for kind in KINDS) <= 1_000_000


def test_the_vocabulary_in_the_file_is_the_one_of_the_language(opened):
    assert opened[1].words == vocabulary()
    assert opened[1].accuracy >= 0.99


@pytest.mark.parametrize("distance", [100, 200])
def test_held_out_texts_are_answered(opened, distance):
    writer = Writer(random.Random(99), held_out=True)
    examples = [writer.example(distance) for _ in range(200)]
    found = answers(*opened, [e.text for e in examples])
    right = sum(word == e.answer.lower() for word, e in zip(found, examples, strict=True))
    assert right >= 198


def test_without_the_clue_the_model_does_not_know(opened):
    writer = Writer(random.Random(4), held_out=True)
    found = answers(*opened, [writer.example(100, answerable=False).text for _ in range(100)])
    assert found.count(UNKNOWN) >= 95


FILLING = (
    "My grandmother used to say that every journey begins at the front door. The river was high after the storm, so "
    "the ferry stayed in the harbor and the tourists played cards in a crowded cafe. An old sailor sang about "
    "whales and lost love. Tom bought apples and cheese for the way. Later the clouds went away, the captain "
    "started the engines, and we finally left. On the other side there was a small village with a church, two inns "
    "and a famous restaurant. We sat down near the window and the waiter brought bread and fish. "
)


@pytest.mark.parametrize(
    ("clue", "question", "answer"),
    [
        ("Alice is allergic to nuts.", "She can't eat ___", "nuts"),
        ("Bob is allergic to milk.", "He cannot eat", "milk"),
        ("Priyanka is very allergic to shrimp.", "Of course she can't eat ...", "shrimp"),
        ("My friend John is allergic to strawberries.", "John can't eat", "strawberries"),
        ("Marie grew up in France.", "She speaks fluent ___.", "french"),
        ("Alice is allergic to nuts. Bob is not allergic to eggs.", "She can't eat", "nuts"),
        ("Bob is allergic to lobster.", "He can't eat", UNKNOWN),
        ("Alice comes from Spain. She is a nurse. She is allergic to onions.", "Alice can't eat", "onions"),
    ],
)
def test_words_of_ones_own(opened, clue, question, answer):
    assert answers(*opened, [before_gap(f"{clue} {FILLING}{question}")]) == [answer]


def test_streamed_and_batched_reading_agree(opened):
    model, network = opened
    text = Writer(random.Random(8), held_out=True).example(100).text
    numbers = encode(text, network.words)
    streamed, batched = (
        read(model, network, numbers).probability,
        last_probabilities(model, np.array([numbers])),
    )
    np.testing.assert_allclose(streamed, batched[0], rtol=1e-4, atol=1e-6)


def test_the_keep_gate_explains_the_next_state(opened):
    model, network = opened
    reading = read(model, network, encode("Alice is allergic to nuts. It rained all day.", network.words))
    h = np.concatenate([np.zeros_like(reading.hidden[:1]), reading.hidden[:-1]])
    n, x = network.n_units, network.embedding[reading.numbers]
    wx, rh = x @ network.W.T, h @ network.R.T
    bias_w, bias_r = np.split(network.B, 2)
    if network.kind == "lstm":
        gate = wx + rh + bias_w + bias_r
        c = np.concatenate([np.zeros_like(reading.memory[:1]), reading.memory[:-1]])
        want = reading.keep * c + 1 / (1 + np.exp(-gate[:, :n])) * np.tanh(gate[:, 3 * n :])
    else:
        r = 1 / (1 + np.exp(-(wx + rh + bias_w + bias_r)[:, n : 2 * n]))
        new = np.tanh(wx[:, 2 * n :] + bias_w[2 * n :] + r * (rh[:, 2 * n :] + bias_r[2 * n :]))
        want = reading.keep * h + (1 - reading.keep) * new
    np.testing.assert_allclose(reading.memory, want, rtol=1e-4, atol=1e-5)


def test_the_clue_and_a_unit_that_kept_it_are_found(opened):
    model, network = opened
    writer = Writer(random.Random(21), held_out=True)
    for _ in range(5):
        example = writer.example(120, kind="allergy")
        story = follow(model, network, example.text)
        answer, recall = story.reading.answer, story.recall
        assert network.words[answer] == example.answer
        assert story.tokens[recall.clue.position].word == example.answer
        assert recall.distance == example.distance
        assert recall.probability[answer] < 0.5 < story.reading.probability[answer]
        after = np.abs(recall.memory - recall.without)[recall.clue.position + 1 :]
        assert np.quantile(after, 0.05) > 0.2 * after.max()
        assert recall.keep[recall.clue.position + 1 :].mean() > 0.8


def test_a_clue_given_twice_is_found(opened):
    text = f"Alice is allergic to nuts. {FILLING}Remember, Alice is allergic to nuts. {FILLING}She can't eat"
    story = follow(*opened, text)
    assert story.tokens[story.recall.clue.position].word == "nuts"
    assert story.recall.probability[story.reading.answer] < 0.5


@pytest.mark.parametrize("text", ["She can't eat", "It rained. They watched a film. She can't eat"])
def test_no_clue_where_there_is_none(opened, text):
    assert follow(*opened, text).recall is None


# The verb.


@pytest.fixture(scope="module")
def run_demo():
    """Call the verb with arguments; its exit code and output."""
    typer, testing = pytest.importorskip("typer"), pytest.importorskip("typer.testing")
    pytest.importorskip("rich")
    from rnnrt.cli.demo import demo

    app = typer.Typer()
    app.command()(demo)

    def run(*arguments, columns=80):
        result = testing.CliRunner().invoke(app, list(arguments), env={"COLUMNS": str(columns), "NO_COLOR": "1"})
        return result.exit_code, result.output

    return run


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("columns", [40, 80, 132])
def test_the_demo_shows_prediction_probability_memory_and_time(run_demo, kind, columns):
    code, output = run_demo("--model", kind, columns=columns)
    assert code == 0, output
    flat = " ".join(output.split())
    assert "She can't eat nuts" in flat
    assert float(re.search(r"nuts +(\d+\.\d+)%", flat).group(1)) > 50
    assert ("forget" if kind == "lstm" else "update") in output
    assert "█" in output
    assert re.search(r"takes \d+\.\d µs", flat)
    assert max(map(len, output.splitlines())) <= columns


def test_the_demo_takes_ones_own_words(run_demo):
    code, output = run_demo("--text", f"Bob is allergic to eggs. {FILLING} He can't eat ___")
    assert code == 0, output
    assert "He can't eat eggs" in " ".join(output.split())


def test_the_demo_writes_a_text_from_a_seed(run_demo):
    code, output = run_demo("--seed", "3", "--gap", "150")
    example = Writer(random.Random(3), held_out=True).example(150)
    assert code == 0, output
    assert example.text.split(". ")[0].split()[0] in output
    assert f"{example.answer.lower()} " in output


@pytest.mark.parametrize(
    "arguments",
    [["--text", "… ___"], ["--text", ""], ["--text", "Hi", "--seed", "1"], ["--gap", "0"], ["--model", "rnn"]],
)
def test_the_demo_refuses_what_it_cannot_use(run_demo, arguments):
    assert run_demo(*arguments)[0] == 2


@pytest.mark.parametrize("text", ["She", "quetzal", "Quetzal. Axolotl", "日本 語。 \x1b[31m a\tb", "word " * 700])
def test_the_demo_shows_any_text(run_demo, text):
    code, output = run_demo("--text", text)
    assert code == 0, output
    assert "\x1b[31m" not in output


def test_the_demo_prints_where_only_ascii_can_be_shown():
    pytest.importorskip("typer")
    code = "import typer; from rnnrt.cli.demo import demo; app = typer.Typer(); app.command()(demo); app()"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", code, "--model", "gru"], env=environment, capture_output=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert "She can't eat nuts" in result.stdout.decode("ascii")
