"""Places in an arena: buffers whose lives do not overlap may share bytes."""

from __future__ import annotations

from collections.abc import Sequence

from .emitter import Emitted
from .tensor import ARENA, Buffer, Tensor

ALIGN = 64
"""Every buffer begins on a cache line."""


def place(steps: Sequence[Emitted], live: Sequence[Buffer], base: int) -> tuple[int, int]:
    """Put the buffers that `steps` use at offsets from `base`; those of `live` are needed after the last step.

    Returns
    -------
    size, peak
        Bytes of the arena, and the most that are in use at once: what no arrangement could do without.
    """
    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    for k, step in enumerate(steps):
        for word in step.words:
            if type(word) is Tensor:
                buffer = word.buffer
                assert buffer is not None
                while buffer.inside is not None:
                    buffer = buffer.inside
                if buffer.base == ARENA:
                    if buffer not in last:
                        first[buffer] = k
                    last[buffer] = k
    end = len(steps)
    for buffer in live:
        root = buffer.root()
        if root.base == ARENA:
            first.setdefault(root, end)
            last[root] = end
    return _fit(first, last, base)


def _fit(firsts: dict[Buffer, int], lasts: dict[Buffer, int], base: int) -> tuple[int, int]:
    """First fit, in the order of first use; `taken` holds (start, end, last use) by start."""
    taken: list[tuple[int, int, int]] = []
    size = peak = used = 0
    soonest = 1 << 62  # when the first of `taken` is free
    for buffer, first in firsts.items():
        last = lasts[buffer]
        if soonest < first:
            used -= sum([t[1] - t[0] for t in taken if t[2] < first])
            taken = [t for t in taken if t[2] >= first]
            soonest = min([last, *[t[2] for t in taken]])
        elif last < soonest:
            soonest = last
        need = -(-(buffer.size or 1) // ALIGN) * ALIGN
        at, k = 0, 0
        for k, (start, end, _) in enumerate(taken):  # noqa: B007
            if start - at >= need:
                break
            at = end
        else:
            k = len(taken)
        taken.insert(k, (at, at + need, last))
        buffer.base, buffer.offset = base, at
        used += need
        if at + need > size:
            size = at + need
        if used > peak:
            peak = used
    return size, peak
