"""What `rnnrt demo` prints: the text with the unit that remembered below it, the answer, and the time of a step."""

import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .memory import Network, Recall, Story
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
    console.print()
    if story.recall is None:
        silent = network.words[story.reading.answer] == UNKNOWN
        console.print(
            "The text does not tell, or tells it in a word that the network does not know."
            if silent
            else "No single word of the text decides this answer."
        )
    else:
        _show_control(console, network, story, story.recall)
        _show_unit(console, network, story.recall)


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
    rows = []
    if story.recall is not None:
        token, memory = story.tokens[story.recall.clue.position], story.recall.memory * memory_sign(story.recall)
        styled.stylize("bold black on green", token.start, token.end)
        names = ("cell", "forget") if network.kind == "lstm" else ("state", "update")
        low, high = memory.min(), memory.max()
        rows = list(zip(names, ((memory - low) / max(high - low, 1e-9), story.recall.keep), strict=True))
    blocks = _ASCII_BLOCKS if console.options.ascii_only else _BLOCKS
    for start, end in wrap(text, console.width - len(_MARGIN) - 1):
        console.print(Text(_MARGIN + " ") + styled[start:end], no_wrap=True, overflow="ignore", crop=False)
        for name, values in rows:
            row = Text(f"{name:>{len(_MARGIN)}} ", style="dim")
            for column, level in _columns(story, values, start, end):
                if level is None:
                    row.append(" " * column)
                else:
                    row.append(blocks[level] * column, _COLORS[level])
            row.rstrip()
            console.print(row, no_wrap=True, overflow="ignore", crop=False)


def memory_sign(recall: Recall) -> int:
    """-1 where the clue lowers the memory of the unit, else 1."""
    after = slice(recall.clue.position + 1, None)
    return -1 if np.median(recall.memory[after] - recall.without[after]) < 0 else 1


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
    names = [_word(network.words[k]) for k in best]
    width = min(24, max(console.width - max(map(len, names)) - 12, 0))
    for k in best:
        style = "bold green" if k == best[0] else "dim"
        bar = block * round(width * float(probability[k]))
        table.add_row(_word(network.words[k]), f"{probability[k]:.2%}", bar, style=style)
    question = story.text[max(story.text.rfind(mark) for mark in ".!?") + 1 :].strip()
    console.print(Text.assemble(f"{question} ", (f"{_word(network.words[best[0]])}", "bold green"), "."))
    console.print(table)


def _show_control(console: Console, network: Network, story: Story, recall: Recall) -> None:
    """What the answer would have been without the clue."""
    token, left, answer = story.tokens[recall.clue.position], recall.probability, story.reading.answer
    console.print(
        f'The clue is "{story.text[token.start : token.end]}", {recall.distance} words before the gap. Were it an '
        f'unknown word, "{network.words[answer]}" would have a probability of {left[answer]:.2%}, and the answer '
        f"would be {_word(network.words[int(left.argmax())])}."
    )


def _show_unit(console: Console, network: Network, recall: Recall) -> None:
    """The remembering unit in numbers."""
    clue, memory = recall.clue.position, recall.memory
    cell, gate = ("cell state", "forget gate") if network.kind == "lstm" else ("state", "update gate")
    drawn = ", drawn upside down," if memory_sign(recall) < 0 else ""
    console.print(
        f"Unit {recall.unit} of {network.n_units} remembered it. Its {cell}{drawn} was {memory[clue]:+.2f} at the "
        f"clue, {np.median(memory[clue + 1 :]):+.2f} (median) from there on, and {memory[-1]:+.2f} at the gap "
        f"({recall.without[-1]:+.2f} without the clue); its {gate} kept {recall.keep[clue + 1 :].mean():.2%} a "
        "word on average."
    )
