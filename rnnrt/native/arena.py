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
    spans: dict[int, list[int]] = {}
    buffers: dict[int, Buffer] = {}
    for k, step in enumerate(steps):
        for word in step.words:
            if type(word) is Tensor:
                buffer = word.buffer
                assert buffer is not None
                while buffer.inside is not None:
                    buffer = buffer.inside
                if buffer.base == ARENA:
                    key = id(buffer)
                    if key in spans:
                        spans[key][1] = k
                    else:
                        spans[key], buffers[key] = [k, k], buffer
    end = len(steps)
    for buffer in live:
        root = buffer.root()
        if root.base == ARENA:
            spans.setdefault(id(root), [end, end])[1] = end
            buffers[id(root)] = root
    return _fit([(first, last, buffers[key]) for key, (first, last) in spans.items()], base)


def _fit(spans: list[tuple[int, int, Buffer]], base: int) -> tuple[int, int]:
    """First fit, in the order of first use; `taken` holds (start, end, last use) by start."""
    taken: list[tuple[int, int, int]] = []
    size = peak = 0
    for first, last, buffer in sorted(spans, key=lambda span: span[0]):
        taken = [t for t in taken if t[2] >= first]
        need = -(-max(buffer.size, 1) // ALIGN) * ALIGN
        at, k = 0, 0
        for k, (start, end, _) in enumerate(taken):  # noqa: B007
            if start - at >= need:
                break
            at = end
        else:
            k = len(taken)
        taken.insert(k, (at, at + need, last))
        buffer.base, buffer.offset = base, at
        size = max(size, at + need)
        peak = max(peak, sum(end - start for start, end, _ in taken))
    return size, peak
