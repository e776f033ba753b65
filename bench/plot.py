"""Time over floor against the size of a layer, one curve a contender, one panel a group."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnnrt import InputError

from .report import mean

if TYPE_CHECKING:
    from .layers import Result


def draw(results: Sequence[Result], contenders: Sequence[str], path: Path) -> None:
    """Draw into `path`; its suffix says the format. A point is the geometric mean over the rows of one hidden size.

    Raises
    ------
    InputError
        If matplotlib is missing or there is no floor to draw against.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("--plot: matplotlib is not installed (pip install matplotlib)") from None
    results = [result for result in results if result.floor]
    panels = list(dict.fromkeys((result.threads, result.row.group) for result in results))
    if not panels:
        raise InputError("--plot: no row has a floor")
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(5 * across, 4 * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for ax, (threads, group) in zip(axes, panels, strict=False):
        mine = [result for result in results if (result.threads, result.row.group) == (threads, group)]
        sizes = sorted({result.row.hidden for result in mine})
        for name in contenders:
            points = [(h, _over_floor(mine, name, h)) for h in sizes]
            known = [(h, value) for h, value in points if value is not None]
            if known:
                ax.plot(*zip(*known, strict=True), marker="o", label=name, linewidth=2.5 if name == "rnnrt" else 1.2)
        ax.axhline(1, color="black", linewidth=0.8, linestyle=":")
        ax.set(xscale="log", yscale="log", xlabel="hidden units", ylabel="time / floor")
        ax.set_title(f"{group}, {threads} thread{'s' * (threads > 1)}")
        ax.set_xticks(sizes, [str(size) for size in sizes], rotation=45)
        ax.set_ylim(bottom=min(0.9, ax.get_ylim()[0]))
        ax.set_yticks(*_ticks(ax.get_ylim()[1]))
        ax.minorticks_off()
        ax.grid(True, which="major", alpha=0.3)
    for ax in axes[len(panels) :]:
        ax.axis("off")
    axes[0].legend()
    figure.savefig(path)


def _ticks(top: float) -> tuple[list[float], list[str]]:
    """Places and labels of multiples from 1 to `top`: fewer where there are many."""
    steps = (1, 1.2, 1.5, 2, 3, 5, 7) if top < 20 else (1, 2, 5)
    ticks = [step * 10**k for k in range(9) for step in steps if step * 10**k <= top]
    return ticks, [f"{tick:g}×" for tick in ticks]


def _over_floor(results: Sequence[Result], name: str, hidden: int) -> float | None:
    multiples = (r.multiple(name) for r in results if r.row.hidden == hidden)
    ratios = [multiple for multiple in multiples if multiple]
    return mean(ratios) if ratios else None
