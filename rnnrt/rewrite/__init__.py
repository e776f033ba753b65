"""Graph -> Graph: what can be known before the inputs come is done once.

The passes, in order, each in a file of its own:

1. :mod:`.normalise`: old opsets' forms become the newest's.
2. :mod:`.fold`, :mod:`.clean`, :mod:`.dead`: constants folded, empty and repeated nodes removed; again while that
   helps.
3. :mod:`.roll`: cells written out, and layers unrolled over time, made LSTM, GRU and RNN again.
4. :mod:`.lower`: LSTM, GRU and RNN checked and written out in full.
5. :mod:`.zeros`: initial states that are zero made absent.
6. :mod:`.absorb`: views round recurrent nodes made part of them.
7. :mod:`.clean` and :mod:`.dead` once more.
"""

from __future__ import annotations

from ..graph import Graph
from .absorb import absorb_views
from .clean import Cleaned, clean
from .dead import remove_dead
from .fold import fold
from .lower import lower
from .normalise import normalise
from .places import join_places
from .roll import roll
from .zeros import drop_zero_states

_ROUNDS = 8  # each round has to find something, so this bounds only what nobody writes


def rewrite(graph: Graph) -> list[str]:
    """Rewrite `graph` in place; returns notes on what was done, one a line of `Model.describe`.

    Raises
    ------
    ModelError
        If a recurrent node is against the specification.
    """
    normalise(graph)
    folded = branches = absorbed = 0
    cleaned = Cleaned()
    for _ in range(_ROUNDS):
        now = fold(graph)
        cleaning = clean(graph)
        dead = remove_dead(graph)
        folded, branches = folded + now.nodes, branches + now.branches
        cleaned.add(cleaning, dead)
        if not cleaning.changes():
            break
    cells, rolled = roll(graph)
    if cells:
        cleaned.add(Cleaned(), remove_dead(graph))
        cleaned.add(clean(graph), remove_dead(graph))
    joined = join_places(graph)
    if joined:
        cleaned.add(Cleaned(), remove_dead(graph))
        cleaned.add(clean(graph), remove_dead(graph))
    lowered, known = lower(graph)
    zeros = drop_zero_states(graph, known)
    if lowered:
        cleaned.add(Cleaned(), remove_dead(graph))
        absorbed = absorb_views(graph, known)
        cleaned.add(clean(graph), remove_dead(graph))
    counts = [
        (folded, "folded {} into constants", "node"),
        (branches, "replaced {} by the branch taken", "If node"),
        (cleaned.removed, "removed {} that changed nothing", "node"),
        (cleaned.merged, "merged {} with the one before", "view"),
        (cleaned.repeated, "removed {} computed before", "node"),
        (cleaned.dead, "removed {} that nobody used", "node"),
        (cells, f"made {rolled} recurrent nodes of {{}} written out", "cell"),
        (joined, "replaced {} of consecutive pieces by a view", "Concat"),
        (lowered, "checked and lowered {}", "recurrent node"),
        (zeros, "dropped {}", "zero initial state"),
        (absorbed, "absorbed {} into recurrent nodes", "view"),
    ]
    return [text.format(f"{count} {what}{'s' if count != 1 else ''}") for count, text, what in counts if count]
