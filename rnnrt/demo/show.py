"""What `rnnrt demo` prints: the text with the unit that remembered below it, the answer, and the time of a step."""

import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .memory import Network, Story
from .text import UNKNOWN

_BLOCKS, _ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.:-=+*#"
_COLORS = ["grey37", "steel_blue", "cornflower_blue", "cyan3", "spring_green3", "yellow3", "orange1", "bright_red"]
_GAP = "_____"
_MARGIN = "      "


def show_story(console: Console, network: Network, story: Story) -> None:
    """Print everything about one text but the timing."""
    _show_text(console, network, story)
    console.print()
    _show_answers(console, network, story)
    if story.clue is not None:
        console.print()
        _show_control(console, network, story)
        _show_unit(console, network, story)


def show_timing(console: Console, nanoseconds: np.ndarray) -> None:
    """Print the median and the quickest of the measured steps."""
    median, least = np.median(nanoseconds) / 1e3, nanoseconds.min() / 1e3
    calls = len(nanoseconds)
    console.print(f"A word takes {median:.1f} µs (median of {calls} calls of stream.step; least {least:.1f} µs).")


def _show_text(console: Console, network: Network, story: Story) -> None:
    """The text in lines as wide as the terminal, each with two rows of blocks below: memory, and keep gate."""
    text = f"{story.text} {_GAP}"
    styled = Text(text)
    styled.stylize("bold reverse", len(text) - len(_GAP))
    levels = []
    if story.clue is not None:
        token = story.tokens[story.clue.position]
        styled.stylize("bold black on green", token.start, token.end)
        memory = story.reading.memory[:, story.unit] * memory_sign(story)
        low, high = memory.min(), memory.max()
        levels = [
            ("cell" if network.kind == "lstm" else "state", (memory - low) / max(high - low, 1e-9)),
            ("forget" if network.kind == "lstm" else "update", story.reading.keep[:, story.unit]),
        ]
    blocks = _ASCII_BLOCKS if console.options.ascii_only else _BLOCKS
    for start, end in wrap(text, console.width - len(_MARGIN) - 1):
        console.print(Text(_MARGIN + " ") + styled[start:end], no_wrap=True, overflow="ignore", crop=False)
        for name, values in levels:
            row = Text(f"{name:>{len(_MARGIN)}} ", style="dim")
            for column, level in _columns(story, values, start, end):
                if level is None:
                    row.append(" " * column)
                else:
                    row.append(blocks[level] * column, _COLORS[level])
            row.rstrip()
            console.print(row, no_wrap=True, overflow="ignore", crop=False)


def memory_sign(story: Story) -> int:
    """-1 where the unit remembers by a state below what it was before the clue, else 1."""
    memory = story.reading.memory[:, story.unit]
    before = memory[story.clue.position - 1] if story.clue.position else 0.0
    return -1 if np.median(memory[story.clue.position + 1 :]) < before else 1


def _columns(story: Story, values: np.ndarray, start: int, end: int):
    """Pairs (terminal columns, block number or None) for the characters `start` to `end` of the text."""
    level = np.full(len(story.text) + 1 + len(_GAP), -1)
    for token, value in zip(story.tokens, values, strict=True):
        level[token.start : token.end] = min(int(value * len(_BLOCKS)), len(_BLOCKS) - 1)
    shown = story.text + " " * (1 + len(_GAP))
    for k in range(start, end):
        yield cell_len(shown[k]), None if level[k] < 0 else int(level[k])


def wrap(text: str, width: int) -> list[tuple[int, int]]:
    """Where lines of at most `width` terminal columns start and end in `text`, broken at spaces where there are any."""
    width = max(width, 8)
    lines, start = [], 0
    while start < len(text):
        end, used = start, 0
        while end < len(text) and used + cell_len(text[end]) <= width:
            used += cell_len(text[end])
            end += 1
        if end < len(text) and (space := text.rfind(" ", start, end + 1)) > start:
            end = space
        lines.append((start, end))
        start = end + (text[end : end + 1] == " ")
    return lines


def _word(word: str) -> str:
    return f"{UNKNOWN} (a word it does not know)" if word == UNKNOWN else word


def _show_answers(console: Console, network: Network, story: Story) -> None:
    """The three most probable words at the gap."""
    probability = story.reading.probability
    block = "#" if console.options.ascii_only else "█"
    table = Table(box=None, show_header=False, padding=(0, 1))
    best = np.argsort(-probability)[:3]
    for k in best:
        style = "bold green" if k == best[0] else "dim"
        bar = block * round(24 * float(probability[k]))
        table.add_row(_word(network.words[k]), f"{probability[k]:.2%}", bar, style=style)
    question = story.text[max(story.text.rfind(mark) for mark in ".!?") + 1 :].strip()
    console.print(Text.assemble(f"{question} ", (f"{_word(network.words[best[0]])}", "bold green"), "."))
    console.print(table)


def _show_control(console: Console, network: Network, story: Story) -> None:
    """What the answer would have been without the clue."""
    answer = int(story.reading.probability.argmax())
    left, clue = story.clue.probability, story.tokens[story.clue.position]
    shown = story.text[clue.start : clue.end]
    console.print(
        f"The clue is “{shown}”, {story.distance} words before the gap. Made unknown, it leaves "
        f"“{network.words[answer]}” a probability of {left[answer]:.2%}; the answer is then "
        f"{_word(network.words[int(left.argmax())])}."
    )


def _show_unit(console: Console, network: Network, story: Story) -> None:
    """The remembering unit in numbers."""
    clue, unit = story.clue.position, story.unit
    memory, keep = story.reading.memory[:, unit], story.reading.keep[:, unit]
    cell, gate = ("cell state", "forget gate") if network.kind == "lstm" else ("state", "update gate z")
    before = memory[clue - 1] if clue else 0.0
    turned = " (shown upside down)" if memory_sign(story) < 0 else ""
    console.print(
        f"Unit {unit} of {network.n_units} remembered it: its {cell}{turned} was {before:+.2f} before the clue, "
        f"{memory[clue]:+.2f} after it and {memory[-1]:+.2f} at the gap; its {gate} was {keep[clue + 1 :].mean():.3f} "
        "on average in between."
    )
