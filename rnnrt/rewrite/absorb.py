"""Views round recurrent nodes go into the nodes: ``in_views`` and ``out_axes`` (see :mod:`rnnrt.rewrite.lower`).

* A Transpose, Squeeze, Unsqueeze, Reshape, Slice, Gather of one index or Split that makes X or an initial state is read
  through; it stays for its other users.
* A Transpose, Squeeze, Unsqueeze, Reshape or Gather of a size-1 axis that alone reads an output becomes part of it,
  where it only regroups axes.
* The last step of Y, where nothing else of Y is used, is Y_h. (With T = 0 the run then gives the initial state,
  where the Gather would have failed.)
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Graph, Node
from .dead import remove_dead
from .known import Known
from .views import Groups, Size, View, unsqueezed, view_shape, views_of

_INPUTS = {"LSTM": (0, 5, 6), "GRU": (0, 5), "RNN": (0, 5)}
_ROUNDS = 8  # each has to find something
_TO_STATE = {1: 0, 2: 1, 3: 2}  # axes of Y [T, D, B, H] -> axes of Y_h [D, B, H]


def absorb_views(graph: Graph, known: Known) -> int:
    """Absorb views into the lowered nodes of `graph` and of the graphs in it, in place; returns how many.

    `known` is what is known of the graph. Of the values that are left it holds from one sweep to the next, and
    afterwards: they are what they were.
    """
    total = 0
    for _ in range(_ROUNDS):
        count = _sweep(graph, known)
        # Reading through a view on one side may leave a single reader on the other, hence again until nothing changes.
        if not count:
            break
        total += count
        remove_dead(graph)
    return total


def _sweep(graph: Graph, known: Known) -> int:
    users = graph.consumers()
    outputs = {v.name for v in graph.outputs}
    gone: set[int] = set()
    count = 0
    for sub in graph.bodies():
        count += _sweep(sub, known.inner[id(sub)])
    for node in graph.nodes:
        if node.domain != "rnnrt" or node.op not in _INPUTS:
            continue
        count += _take_last_of_many(node, users, gone, known)
        for k in range(len(node.outputs)):
            while (reader := _sole_reader(node.output(k), users, outputs)) is not None:
                if not (_absorb_after(node, k, reader, known) or _take_last_step(node, k, reader, known)):
                    break
                gone.add(id(reader))
                known.producers[reader.outputs[0]] = node
                count += 1
                if not node.output(k):
                    break
        for k in _INPUTS[node.op]:
            while _absorb_before(node, k, known, users):
                count += 1
    graph.nodes[:] = [node for node in graph.nodes if id(node) not in gone]
    return count


def _take_last_of_many(node: Node, users: dict[str, list[Node]], gone: set[int], known: Known) -> bool:
    """Let one of several readers of Y, which takes the last step, read Y_h."""
    readers = users.get(node.output(0), []) if node.output(0) else []
    for last in readers:
        if id(last) not in gone and _take_last_step(node, 0, last, known, only=False):
            gone.add(id(last))
            readers.remove(last)
            known.producers[last.outputs[0]] = node
            return True
    return False


def _sole_reader(name: str, users: dict[str, list[Node]], outputs: set[str]) -> Node | None:
    readers = users.get(name, ()) if name and name not in outputs else ()
    return readers[0] if len(readers) == 1 and list(readers[0].inputs).count(name) == 1 else None


def _absorb_before(node: Node, k: int, known: Known, users: dict[str, list[Node]]) -> bool:
    """Read input `k` of `node` through the view that makes it."""
    made = known.producer(node.input(k))
    if made is None:
        return False
    view_node, home = made
    views = views_of(view_node, view_node.outputs.index(node.inputs[k]), home)
    if views is None or not _fits(home.shape(view_node.inputs[0]), views):
        return False
    if view_node.op == "Reshape" and len(users.get(node.inputs[k], ())) > 1:
        before = home.producer(view_node.inputs[0])
        if before is not None and before[0].op == "Transpose":
            return False  # it copies: once for all its users is better
    node.inputs[k] = view_node.inputs[0]
    node.attrs["in_views"][k] = views + node.attrs["in_views"].get(k, ())
    return True


def _fits(shape: Sequence[Size | None] | None, views: Sequence[View]) -> bool:
    """Whether no view has an axis or index that is out of bounds for certain."""
    for view in views:
        if shape is None:
            return True
        if view[0] == "index" and -len(shape) <= view[1] < len(shape):
            size = shape[view[1]]
            if isinstance(size, int) and not -size <= view[2] < size:
                return False
        shape = view_shape(shape, view)
        if shape is None:
            return False
    return True


def canonical_sizes(node: Node, k: int, known: Known) -> list[Size | None]:
    """Sizes of Y [T, D, B, H] or, for `k` > 0, of Y_h and Y_c [D, B, H], as far as they are known."""
    shape: Sequence[Size | None] | None = known.shape(node.inputs[0])
    for view in node.attrs["in_views"].get(0, ()):
        shape = view_shape(shape, view) if shape is not None else None
    steps, batch = (shape[0], shape[1]) if shape is not None and len(shape) == 3 else (None, None)
    directions = 2 if node.attrs["direction"] == "bidirectional" else 1
    sizes = [steps, directions, batch, node.attrs["hidden_size"] or None]
    return sizes[1:] if k else sizes


def _groups(node: Node, k: int) -> Groups:
    rank = 3 if k else 4
    return node.attrs["out_axes"].get(k, tuple((axis,) for axis in range(rank)))


def _absorb_after(node: Node, k: int, reader: Node, known: Known) -> bool:
    """Make `reader`, the one user of output `k`, part of `node`."""
    views = views_of(reader, 0, known) if reader.inputs[0] == node.outputs[k] else None
    if views is None or len(reader.outputs) != 1:
        return False
    groups: Groups | None = _groups(node, k)
    for view in views:
        groups = regroup(groups, view, canonical_sizes(node, k, known)) if groups is not None else None
    if groups is None:
        return False
    node.outputs[k] = reader.outputs[0]
    node.attrs["out_axes"][k] = groups
    return True


def regroup(groups: Groups, view: View, sizes: Sequence[Size | None]) -> Groups | None:
    """The arrangement `groups` of a canonical array of `sizes`, seen through `view`; None if that is no arrangement."""
    kind, *args = view
    rank = len(groups)
    if kind == "transpose":
        return tuple(groups[p] for p in args[0]) if sorted(args[0]) == list(range(rank)) else None
    if kind == "unsqueeze":
        return unsqueezed(groups, args[0], ())
    if kind == "reshape":
        return _match(groups, args[0], sizes)
    axes = args[0] if kind == "squeeze" else (args[0],) if kind == "index" and args[1] in (0, -1) else None
    if axes is None or any(not -rank <= a < rank for a in axes):
        return None
    gone = {a % rank for a in axes}
    if any(sizes[axis] != 1 for a in gone for axis in groups[a]):
        return None
    return tuple(group for a, group in enumerate(groups) if a not in gone)


def _match(groups: Groups, target: Sequence[int], sizes: Sequence[Size | None]) -> Groups | None:
    """Share out the canonical axes among the sizes of a Reshape: from the left, from the right, the rest to -1."""
    if list(target).count(-1) > 1 or any(d == 0 and a >= len(groups) for a, d in enumerate(target)):
        return None
    atoms = [axis for group in groups for axis in group if sizes[axis] != 1]
    result: list[tuple[int, ...]] = [()] * len(target)
    hole = list(target).index(-1) if -1 in target else len(target)
    for a in range(hole):
        count = _count(atoms, target[a], groups[a] if target[a] == 0 else None, sizes)
        if count is None:
            return None
        result[a], atoms = tuple(atoms[:count]), atoms[count:]
    for a in range(len(target) - 1, hole, -1):
        count = _count(atoms[::-1], target[a], groups[a][::-1] if target[a] == 0 else None, sizes)
        if count is None:
            return None
        result[a], atoms = tuple(atoms[len(atoms) - count :]), atoms[: len(atoms) - count]
    if hole < len(target):
        result[hole], atoms = tuple(atoms), []
    return None if atoms else tuple(result)


def _count(atoms: Sequence[int], size: int, like: Sequence[int] | None, sizes: Sequence[Size | None]) -> int | None:
    """How many of the next `atoms` make an axis of `size`, or one `like` a group; None if it cannot be told."""
    if like is not None:
        wanted = [axis for axis in like if sizes[axis] != 1]
        return len(wanted) if list(atoms[: len(wanted)]) == wanted else None
    product, count = 1, 0
    while product != size:
        known = sizes[atoms[count]] if count < len(atoms) else None
        if not isinstance(known, int) or not 0 < product * known <= size:
            return None
        product, count = product * known, count + 1
    return count


def _take_last_step(node: Node, k: int, reader: Node, known: Known, only: bool = True) -> bool:
    """Give what `reader` takes of Y as Y_h, if that is the last step in the order of computation.

    `only` says that nobody else reads Y, which is not made then.
    """
    if k or node.attrs["direction"] == "bidirectional" or node.input(4) or reader.inputs[0] != node.outputs[0]:
        return False
    views = views_of(reader, 0, known)
    groups, sizes = _groups(node, 0), canonical_sizes(node, 0, known)
    if not only and node.output(1):
        return False
    if views is None or len(views) != 1 or views[0][0] not in ("index", "slice") or len(reader.outputs) != 1:
        return False
    kind, axis, *where = views[0]
    if not -len(groups) <= axis < len(groups) or groups[axis] != (0,):
        return False
    if not is_last(kind, where, node.attrs["direction"] == "reverse", sizes[0]):
        return False
    axis %= len(groups)
    kept = (*groups[:axis], *(((),) if kind == "slice" else ()), *groups[axis + 1 :])
    state = tuple(tuple(_TO_STATE[a] for a in group) for group in kept)
    if node.output(1):
        return False
    node.outputs[:2] = ["" if only else node.outputs[0], reader.outputs[0]]
    if only:
        node.attrs["out_axes"].pop(0, None)
    node.attrs["out_axes"][1] = state
    return True


def is_last(kind: str, where: Sequence[int], reverse: bool, steps: Size | None) -> bool:
    """Whether an ``index`` or ``slice`` of Y's first axis takes just what is computed last."""
    if kind == "index":
        last = (0 if reverse else -1, None if not isinstance(steps, int) else -steps if reverse else steps - 1)
        return steps != 0 and where[0] in last
    if not isinstance(steps, int) or steps < 1:
        return False  # of nothing, a Slice takes nothing
    return list(range(steps)[slice(*where)]) == [0 if reverse else steps - 1]
