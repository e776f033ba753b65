"""Graph -> Graph: what can be known before the inputs come is done once.

The passes, in order, each in a file of its own:

1. :mod:`.normalise`: old opsets' forms become the newest's.
2. :mod:`.bodies`, :mod:`.fold`, :mod:`.clean`, :mod:`.dead`: what a Loop only hands on taken from outside, constants
   folded, empty and repeated nodes removed; again while that helps.
3. :mod:`.loops`, :mod:`.roll`: Loops over cells, cells written out, and layers unrolled over time, made LSTM, GRU and
   RNN again; :mod:`.reverse`, :mod:`.directions` and :mod:`.places` take reversals, pairs of directions and Concats of
   steps away.
4. :mod:`.simpler`, :mod:`.scale`, :mod:`.norms`: simpler operators, BatchNormalization and other scales folded into
   weights, norms called by their names.
5. :mod:`.lower`: LSTM, GRU and RNN checked and written out in full.
6. :mod:`.zeros`: initial states that are zero made absent.
7. :mod:`.absorb`: views round recurrent nodes made part of them.
8. :mod:`.reshapes`: changes of shape in a row made one.
9. :mod:`.clean` and :mod:`.dead` once more.
"""

from __future__ import annotations

from ..graph import Graph
from .absorb import absorb_views
from .bodies import free_invariants
from .clean import Cleaned, clean
from .dead import remove_dead
from .directions import join_directions
from .fold import fold
from .known import Known
from .loops import lift_loops
from .lower import lower
from .normalise import normalise
from .norms import name_norms
from .places import join_places
from .reshapes import merge_reshapes
from .reverse import slice_whole_reversals, turn_nodes
from .roll import roll
from .scale import fold_scales
from .simpler import simplify
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
        freed = free_invariants(graph)
        now = fold(graph)
        cleaning = clean(graph)
        dead = remove_dead(graph)
        folded, branches = folded + now.nodes, branches + now.branches
        cleaned.add(cleaning, dead)
        if not cleaning.changes() and not freed:
            break
    reversed_ = slice_whole_reversals(graph)
    lifted = lift_loops(graph)
    reversed_ += slice_whole_reversals(graph) if lifted else 0
    if reversed_ or lifted:
        cleaned.add(Cleaned(), remove_dead(graph))
        cleaned.add(clean(graph), remove_dead(graph))
    known = Known(graph)
    simpler = simplify(graph, known)
    cells, rolled = roll(graph, Known.of(graph, named=True) if Known.has_names(graph) else known)
    if cells:
        cleaned.add(Cleaned(), remove_dead(graph))
        cleaned.add(clean(graph), remove_dead(graph))
        known = Known.of(graph)
    changes = []
    for change in (turn_nodes, fold_scales, name_norms, join_places):
        changes.append(change(graph, known))
        known = Known.of(graph) if changes[-1] else known
    turned, scaled, norms, joined = changes
    if simpler or any(changes):
        cleaned.add(Cleaned(), remove_dead(graph))
        folded += fold(graph).nodes if simpler else 0
        cleaned.add(clean(graph), remove_dead(graph))
    paired = join_directions(graph)
    if paired:
        cleaned.add(Cleaned(), remove_dead(graph))
        cleaned.add(clean(graph), remove_dead(graph))
        joined += join_places(graph, Known.of(graph))
        cleaned.add(Cleaned(), remove_dead(graph))
        cleaned.add(clean(graph), remove_dead(graph))
    lowered, known = lower(graph)
    zeros = drop_zero_states(graph, known)
    if lowered:
        cleaned.add(Cleaned(), remove_dead(graph))
        absorbed = absorb_views(graph, known)
    reshaped = merge_reshapes(graph, known)
    if lowered or reshaped:
        cleaned.add(Cleaned(), remove_dead(graph))
        cleaned.add(clean(graph), remove_dead(graph))
    counts = [
        (folded, "folded {} into constants", "node"),
        (branches, "replaced {} by the branch taken", "If node"),
        (cleaned.removed, "removed {} that changed nothing", "node"),
        (cleaned.merged, "merged {} with the one before", "view"),
        (cleaned.repeated, "removed {} computed before", "node"),
        (cleaned.dead, "removed {} that nobody used", "node"),
        (cells, f"made {rolled} recurrent nodes of {{}} written out", "cell"),
        (reversed_, "made a Slice of {} of whole sequences", "reversal"),
        (lifted, "made recurrent nodes of {}", "loop"),
        (norms, "recognised {} written out", "norm"),
        (simpler, "replaced {} by simpler operators", "node"),
        (scaled, "folded {} by constants into the product next to it", "operation"),
        (turned, "turned {} round", "recurrent node"),
        (paired, "made bidirectional nodes of {} of layers", "pair"),
        (joined, "replaced {} of consecutive pieces", "Concat"),
        (lowered, "checked and lowered {}", "recurrent node"),
        (zeros, "dropped {}", "zero initial state"),
        (reshaped, "made one Reshape of {} and what came before", "shape change"),
        (absorbed, "absorbed {} into recurrent nodes", "view"),
    ]
    return [text.format(f"{count} {what}{'s' if count != 1 else ''}") for count, text, what in counts if count]
