"""Python's cyclic garbage collector, put off while a model is opened or bound.

Both make many objects that stay, and a collection goes through all that is young, again and again, to find nothing.
"""

from __future__ import annotations

import gc
import os
import threading


class _State:
    """How many threads are inside of `paused`, and whether the last one to leave turns the collector on."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.was_on = False


class paused:
    """Inside the with-block, of any number of threads, no collection starts by itself."""

    __slots__ = ()

    def __enter__(self) -> None:
        with _state.lock:
            if not _state.inside:
                _state.was_on = gc.isenabled()
                gc.disable()
            _state.inside += 1

    def __exit__(self, *_: object) -> None:
        with _state.lock:
            if not _state.inside:
                return  # in a child that was forked meanwhile
            _state.inside -= 1
            if not _state.inside and _state.was_on:
                gc.enable()


_state = _State()


def _after_fork() -> None:
    """In a child the other threads, and what they were about, are gone."""
    global _state
    if _state.inside and _state.was_on:
        gc.enable()
    _state = _State()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
