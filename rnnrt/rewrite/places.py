"""Values that are one place of an axis of another value, and Concats that put such places together again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..graph import Graph, Node
from .affine import Source, shape_of
from .known import Known
from .names import Names
from .order import put_in_order
from .views import END, Size, View, views_of
from .write import Writer


class Place(NamedTuple):
    """Where a step is taken from: index `at` of axis `axis` of `base`, by a view of that `kind`."""

    base: Source
    axis: int
    kind: str
    at: int


def place_of(name: str, views: Sequence[View], known: Known) -> Place | None:
    """Where `name`, seen through `views`, is taken from, if that is one place of an axis."""
    views = list(views)
    for _ in range(8):
        cut = len(views)
        while cut and views[cut - 1][0] in ("squeeze", "unsqueeze"):
            cut -= 1
        if cut:
            return _single(Source(name, tuple(views[: cut - 1])), views[cut - 1], known)
        made = known.producer(name)
        if made is not None and made[0].op == "Identity" and not made[0].domain:
            name = made[0].inputs[0]
            continue
        before = views_of(made[0], made[0].outputs.index(name), made[1]) if made is not None else None
        if made is None or before is None:
            return None
        name, views = made[0].inputs[0], [*before, *views]
    return None


def _single(base: Source, view: View, known: Known) -> Place | None:
    """The one place that `view` takes of `base`; of a base that is turned round, that in the base itself."""
    shape = shape_of(base, known)
    if shape is None or view[0] not in ("index", "slice") or not -len(shape) <= view[1] < len(shape):
        return None
    kind, axis, *where = view
    axis, size = axis % len(shape), shape[axis]
    if not isinstance(size, int):
        return None
    taken = range(size)[slice(*where)] if kind == "slice" else [where[0] % size] if -size <= where[0] < size else []
    if len(taken) != 1:
        return None
    at = taken[0]
    if not base.views:
        made = known.producer(base.name)
        turned = views_of(made[0], 0, known) if made is not None and made[0].op == "Slice" else None
        if made is not None and turned is not None and _turns(turned, axis, size, len(shape)):
            return Place(Source(made[0].inputs[0]), axis, kind, size - 1 - at)
    elif _turns(base.views[-1:], axis, size, len(shape)):
        return Place(Source(base.name, base.views[:-1]), axis, kind, size - 1 - at)
    return Place(base, axis, kind, at)


def _turns(views: Sequence[View], axis: int, size: int, rank: int) -> bool:
    """Whether `views` do nothing but turn `axis`, of that size, round."""
    if len(views) != 1 or views[0][0] != "slice" or views[0][1] % rank != axis:
        return False
    return list(range(size)[slice(*views[0][2:])]) == list(range(size))[::-1]


def join_places(graph: Graph, known: Known, names: Names | None = None) -> int:
    """Replace Concats of consecutive places of one value by views of it, in place; returns how many."""
    names = names or Names(graph)
    count = 0
    writer = Writer(graph, names)
    gone: set[int] = set()
    for sub in graph.bodies():
        count += join_places(sub, known.inner[id(sub)], names)
    for node in graph.nodes:
        if node.op != "Concat" or node.domain or len(node.inputs) < 2:
            continue
        if _join(node, known, writer) or _join_slices(node, known, writer):
            gone.add(id(node))
    if gone:
        graph.nodes[:] = [node for node in graph.nodes if id(node) not in gone] + writer.nodes
        put_in_order(graph)
    return count + len(gone)


def _join(node: Node, known: Known, writer: Writer) -> bool:
    """Write ``Concat(base[0], base[1], ...)`` as a view of base, whichever axes of size 1 came and went between."""
    axis, piece = int(node.attrs.get("axis", 0)), known.shape(node.inputs[0])
    first = place_of(node.inputs[0], (), known)
    shape = shape_of(first.base, known) if first is not None else None
    if piece is None or first is None or shape is None or not -len(piece) <= axis < len(piece):
        return False
    axis %= len(piece)
    if piece[axis] != 1 or any(known.shape(name) != piece for name in node.inputs):
        return False
    step = 0
    for k, name in enumerate(node.inputs):
        here = place_of(name, (), known)
        step = here.at - first.at if here is not None and k == 1 else step
        if step not in ((1, -1) if k else (0,)) or here != first._replace(at=first.at + k * step):
            return False
    b, n = first.axis, len(node.inputs)
    others = [k for k in range(len(shape)) if k != b]
    if [shape[k] for k in others if shape[k] != 1] != [d for d in piece if d != 1]:
        return False
    # The new axis goes after as many axes that are not 1 as it has before it in the result.
    before, put = sum(1 for d in piece[:axis] if d != 1), 0
    while before or (put < len(others) and put < axis and shape[others[put]] == 1):
        before -= shape[others[put]] != 1
        put += 1
    perm = [*others[:put], b, *others[put:]]
    name = writer.viewed(first.base)
    if n != shape[b] or step < 0:
        last = first.at + step * n
        bounds = [first.at, last if last >= 0 else -END - 1, b, step]
        name = writer.node("Slice", [name, *map(writer.ints, bounds)], node.outputs[0])
    name = writer.node("Transpose", [name], node.outputs[0], perm=perm) if perm != sorted(perm) else name
    now = [n if k == b else shape[k] for k in perm]
    _fit(name, now, [n if k == axis else d for k, d in enumerate(piece)], put, axis, node.outputs[0], writer)
    return True


def _fit(
    name: str, now: Sequence[Size], want: Sequence[Size], mark: int, place: int, output: str, writer: Writer
) -> None:
    """Take away axes of size 1, and put others, so that shape `now` is `want`; axis `mark` becomes axis `place`."""
    if list(now) != list(want):
        ones = [k for k, d in enumerate(now) if d == 1 and k != mark]
        more = [k for k, d in enumerate(want) if d == 1 and k != place]
        name = writer.node("Squeeze", [name, writer.ints(*ones)], output) if ones else name
        name = writer.node("Unsqueeze", [name, writer.ints(*more)], output) if more else name
    writer.node("Identity", [name], name, output)


def _join_slices(node: Node, known: Known, writer: Writer) -> bool:
    """Write ``base[0:3], base[3:8]`` of one axis, next to each other in a Concat, as a slice of base."""
    shape, axis = known.shape(node.inputs[0]), int(node.attrs.get("axis", 0))
    if shape is None or not -len(shape) <= axis < len(shape):
        return False
    runs: list[tuple[str, int, int, str]] = []  # base, start, end; the name of what is by itself
    for name in node.inputs:
        part = _part(name, axis % len(shape), known)
        if part is not None and runs and runs[-1][0] == part[0] and runs[-1][2] == part[1]:
            runs[-1] = (part[0], runs[-1][1], part[2], "")
        else:
            runs.append((*part, name) if part is not None else ("", 0, 0, name))
    if len(runs) == len(node.inputs):
        return False
    parts = []
    for base, start, end, name in runs:
        bounds = [writer.ints(v) for v in (start, end, axis, 1)] if not name else []
        parts.append(name or writer.node("Slice", [base, *bounds], base))
    op = "Concat" if len(parts) > 1 else "Identity"
    writer.node(op, parts, node.outputs[0], node.outputs[0], **({"axis": axis} if len(parts) > 1 else {}))
    return True


def _part(name: str, axis: int, known: Known) -> tuple[str, int, int] | None:
    """Base, start and end, if `name` is a slice of that axis of a value."""
    made = known.producer(name)
    views = views_of(made[0], made[0].outputs.index(name), made[1]) if made is not None else None
    shape = known.shape(made[0].inputs[0]) if made is not None and views is not None else None
    if made is None or views is None or shape is None or len(views) != 1 or views[0][0] != "slice":
        return None
    _, where_axis, *where = views[0]
    if not -len(shape) <= where_axis < len(shape) or where_axis % len(shape) != axis or where[2] != 1:
        return None
    size = shape[axis]
    taken = range(size)[slice(*where)] if isinstance(size, int) else None
    return (made[0].inputs[0], taken[0], taken[-1] + 1) if taken else None
