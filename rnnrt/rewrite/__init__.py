"""Graph -> Graph: what can be known before the inputs come is done once.

The passes, in order, each in a file of its own:

1. :mod:`.normalise`: old opsets' forms become the newest's.
2. :mod:`.bodies`, :mod:`.fold`, :mod:`.clean`, :mod:`.dead`: what a Loop only hands on taken from outside, constants
   folded, empty and repeated nodes removed; again while that helps.
3. :mod:`.sequences`: sequences of a tensor's slices made that tensor.
4. :mod:`.quantised`: products of quantised tensors made products of floats.
5. :mod:`.loops`, :mod:`.roll`: Loops over cells, cells written out, and layers unrolled over time, made LSTM, GRU and
   RNN again; :mod:`.reverse`, :mod:`.directions` and :mod:`.places` take reversals, pairs of directions and Concats of
   steps away.
6. :mod:`.simpler`, :mod:`.scale`, :mod:`.norms`: simpler operators, BatchNormalization and other scales folded into
   weights, norms called by their names.
7. :mod:`.lower`: LSTM, GRU and RNN checked and written out in full.
8. :mod:`.zeros`: initial states that are zero made absent.
9. :mod:`.absorb`: views round recurrent nodes made part of them.
10. :mod:`.reshapes`: changes of shape in a row made one.
11. :mod:`.clean` and :mod:`.dead` once more.
"""

from __future__ import annotations

from collections.abc import Callable

from ..graph import Graph
from .absorb import absorb_views
from .bodies import free_invariants
from .clean import Cleaned, clean
from .dead import remove_dead
from .directions import join_directions
from .fold import Folded, fold
from .known import Known
from .loops import lift_loops
from .lower import lower
from .names import Names
from .normalise import normalise
from .norms import name_norms
from .places import join_places
from .quantised import unquantise
from .reshapes import merge_reshapes
from .reverse import slice_whole_reversals, turn_nodes
from .roll import roll
from .scale import fold_scales
from .sequences import replace_sequences
from .simpler import simplify
from .zeros import drop_zero_states

_ROUNDS = 8  # each round has to find something, so this bounds only what nobody writes


class _Rewriting:
    """A graph being rewritten, what is known of it, its names, and what has been cleaned away."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names = Names(graph)
        normalise(graph, self.names)
        self.known = Known(graph)
        self.cleaned = Cleaned()
        self.folded = Folded()

    def settle(self) -> None:
        """Fold and clean until that finds nothing more."""
        for _ in range(_ROUNDS):
            freed = free_invariants(self.graph)
            self.fold()
            changes = self.clean()
            self.remove_dead()
            if not changes and not freed:
                break

    def fold(self) -> None:
        """Fold constants."""
        self.folded.add(fold(self.graph, self.known, self.names, self.folded.time))

    def clean(self) -> int:
        """Clean; how much that changed."""
        cleaned = clean(self.graph, self.known, self.names, self.cleaned.time)
        self.cleaned.add(cleaned)
        return cleaned.changes()

    def remove_dead(self) -> None:
        """Remove what nobody uses."""
        self.cleaned.dead += remove_dead(self.graph)

    def tidy(self, fold: bool = False) -> None:
        """Remove what a pass left behind."""
        self.remove_dead()
        if fold:
            self.fold()
        if self.clean() or fold:
            self.remove_dead()

    def apply(self, change: Callable[[Graph, Known, Names], int]) -> int:
        """Do a pass that leaves it to others to learn what it has changed; how much that was."""
        count = change(self.graph, self.known, self.names)
        if count:
            self.known.learn_all()
        return count


def rewrite(graph: Graph) -> list[str]:
    """Rewrite `graph` in place; returns notes on what was done, one a line of `Model.describe`.

    Raises
    ------
    ModelError
        If a recurrent node is against the specification.
    """
    return rewritten(graph)[0]


def rewritten(graph: Graph) -> tuple[list[str], Known]:
    """The same; returns what is known of the graph then as well."""
    work = _Rewriting(graph)
    known, names = work.known, work.names
    work.settle()
    sequences = replace_sequences(graph, known, names)
    if sequences:
        work.settle()
    floated = work.apply(unquantise)
    if floated:
        work.tidy(fold=True)
    reversed_ = work.apply(slice_whole_reversals)
    lifted = lift_loops(graph, names)
    if lifted:
        known.learn_all()
        reversed_ += work.apply(slice_whole_reversals)
    if reversed_ or lifted:
        work.tidy()
    simpler = simplify(graph, known, names)
    cells, rolled = roll(graph, Known.of(graph, named=True) if Known.has_names(graph) else known, names)
    if cells:
        work.tidy()
    turned, scaled, norms, joined = map(work.apply, (turn_nodes, fold_scales, name_norms, join_places))
    if simpler or turned or scaled or norms or joined:
        work.tidy(fold=simpler > 0)
    paired = work.apply(join_directions)
    if paired:
        work.tidy()
        joined += work.apply(join_places)
        work.tidy()
    lowered, _ = lower(graph, known)
    zeros = drop_zero_states(graph, known)
    absorbed = 0
    if lowered:
        work.remove_dead()
        absorbed = absorb_views(graph, known)
    reshaped = merge_reshapes(graph, known, names)
    if lowered or reshaped:
        work.tidy()
    cleaned, folded = work.cleaned, work.folded
    counts = [
        (folded.nodes, "folded {} into constants", "node"),
        (folded.branches, "replaced {} by the branch taken", "If node"),
        (cleaned.removed, "removed {} that changed nothing", "node"),
        (cleaned.merged, "merged {} with the one before", "view"),
        (cleaned.repeated, "removed {} computed before", "node"),
        (cleaned.dead, "removed {} that nobody used", "node"),
        (sequences, "replaced {} by the tensor that it is", "sequence"),
        (floated, "replaced {} of quantised tensors by float ones", "node"),
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
    notes = [text.format(f"{count} {what}{'s' if count != 1 else ''}") for count, text, what in counts if count]
    return notes, known
