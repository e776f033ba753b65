"""Stacked layers as one step, where threads make more of a wavefront than of each by itself (_core/wavefront.pxi)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .._core import engine
from .._core.program import Emitted
from .emitter import Emitter, Word
from .tensor import Tensor


@dataclass(frozen=True)
class Link:
    """A layer of one direction, its step's words, and what it reads and writes.

    Attributes
    ----------
    threads
        What it may use by itself.
    x, states
        The inputs [T, B, I], and the initial states that are given.
    made
        Y [T, D, B, H], Y_h and Y_c, None where nobody wants them.
    """

    layer: engine.Recurrent
    words: list[Word]
    work: float
    threads: int
    label: str
    x: Tensor
    states: list[Tensor]
    made: list[Tensor | None]

    def feeds(self, above: Link) -> bool:
        """Whether the layer `above` reads our Y as it lies in memory."""
        y, x = self.made[0], above.x
        if y is None or x.buffer is not y.buffer or x.offset != y.offset:
            return False
        n_time, _, n_batch, hidden = y.shape
        if x.shape != (n_time, n_batch, hidden):
            return False
        return x.strides[0] == y.strides[0] and (n_batch == 1 or x.strides[1] == y.strides[2])


@dataclass(frozen=True)
class Stack:
    """Layers that are one step so far."""

    step: Emitted
    links: tuple[Link, ...]

    def carries(self, link: Link) -> bool:
        """Whether `link` can go as the wavefront's next layer: of the others' results it needs none but the last Y."""
        made = _memory([tensor for below in self.links for tensor in below.made])
        return self.links[-1].feeds(link) and not made & _memory(link.states)


def emit(emitter: Emitter, function: int, link: Link, threads: int) -> None:
    """Emit a layer's step, or make one of it and the steps just emitted."""
    below = emitter.stack if emitter.stack and emitter.steps[-1:] == [emitter.stack.step] else None
    if below is not None and below.carries(link):
        links = (*below.links, link)
        n_time, n_batch, _ = link.x.shape
        found = engine.wavefront([one.layer for one in links], n_time, n_batch, threads)
        if found is not None:
            emitter.steps.pop()
            step = emitter.emit(found[0], _words(emitter, found[1], links), sum(one.work for one in links))
            step.label, step.threads = ", ".join(one.label for one in links), len(links)
            emitter.stack = Stack(step, links)
            return
    step = emitter.emit(function, link.words, link.work)
    step.threads = link.threads
    emitter.stack = Stack(step, (link,))


def _memory(tensors: Iterable[Tensor | None]) -> set[int]:
    """The buffers that tensors lie in."""
    return {id(t.buffer.root()) for t in tensors if t is not None and t.buffer is not None}


def _words(emitter: Emitter, begin: list[int], links: tuple[Link, ...]) -> list[Word]:
    words: list[Word] = [*begin]
    for link in links:
        size = link.x.shape[1] * link.layer.hidden_size * link.layer.dtype.itemsize
        words += [*link.words, emitter.scratch(size), emitter.scratch(size)]
    return words
