"""`rnnrt demo`: a small LSTM or GRU reads a text word by word and fills the gap at its end."""

import io
import random
import sys
import time
from enum import Enum
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

STORY = (
    "Alice is allergic to nuts. She works at the library near the river and has a small dog. On Monday it rained "
    "all day, and the train was twenty minutes late. Tom bought apples and cheese at the market, and his sister "
    "cooked rice with mushrooms for the guests. In the evening they played cards, talked about old films and "
    "listened to the radio. Later Peter told a long story about his trip to Portugal, where he ate fish by the sea "
    "every night and lost his umbrella twice. Nobody believed him, but everybody laughed. When the rain stopped, "
    "they went for a walk through the park. The bakery on the corner was still open, and there were bread, honey "
    "and chocolate cakes in the window. Tom wanted to buy something sweet for everybody. Alice looked at the cakes "
    "for a long time, then she shook her head. She can't eat"
)

_TIMED_STEPS = 2000


class Kind(str, Enum):
    """The recurrent layers that the demo comes with."""

    lstm = "lstm"
    gru = "gru"


def demo(
    model: Annotated[Kind, typer.Option(help="Which of the two networks reads the text.")] = Kind.lstm,
    text: Annotated[
        str | None, typer.Option(help="Your own words, up to the gap: 'Bob is allergic to milk. (...) He cannot eat'.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Make a text up from this number, one that was never trained on.")
    ] = None,
    gap: Annotated[
        int, typer.Option(min=1, max=1000, help="With --seed: at least so many words before the gap.")
    ] = 120,
) -> None:
    """Let a small network read a text whose clue lies many sentences before a gap, and see what it remembers."""
    import rnnrt
    from rnnrt.demo import model_path
    from rnnrt.demo.memory import follow, open_network
    from rnnrt.demo.show import show_story, show_timing
    from rnnrt.demo.text import Writer, before_gap, tokenize

    if text is not None and seed is not None:
        raise typer.BadParameter("give --text or --seed, not both")
    if text is None:
        text = STORY if seed is None else Writer(random.Random(seed), held_out=True).example(gap).text
    # Whatever a terminal would act on becomes a space, and lines are broken anew.
    text = before_gap(" ".join("".join(c if c.isprintable() else " " for c in text).split()))
    if not tokenize(text):
        raise typer.BadParameter("--text holds no word before its gap")

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without µ gets a question mark
    console = Console(highlight=False, markup=False)
    path = model_path(model.value)
    network, runtime = open_network(path), rnnrt.load(path)
    console.print(
        f"{network.kind.upper()}, {network.n_units} units, {len(network.words)} words, {path.stat().st_size // 1000} "
        f"kB; right on {network.accuracy:.2%} of texts it never saw, 100 to 200 words between clue and gap.\n"
    )
    story = follow(runtime, network, text)
    show_story(console, network, story)
    show_timing(console, time_steps(runtime, story.reading.numbers))


def time_steps(model, numbers: list[int]) -> np.ndarray:
    """Nanoseconds of each of a few thousand single-word steps, going over the text as often as it takes."""
    words = [np.array([[number]], np.int64) for number in numbers]
    stream = model.stream()
    taken: list[int] = []
    while len(taken) < _TIMED_STEPS:
        stream.reset()
        for word in words:
            begin = time.perf_counter_ns()
            stream.step({"word": word})
            taken.append(time.perf_counter_ns() - begin)
    return np.array(taken)
