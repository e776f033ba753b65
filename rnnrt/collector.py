"""Python's cyclic garbage collector, put off while a model is opened or bound.

Both make many objects that stay, and a collection goes through all that is young, again and again, to find nothing.
"""

from __future__ import annotations

import gc
import os
import threading

_MOST_AGED = 16
"""Models after which their garbage, which only a full collection finds once it is old, is collected."""


class _State:
    """How many threads are inside of `paused`, and what is to be done when the last one leaves."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.aged = 0
        self.was_on = False


class paused:
    """Inside the with-block, of any number of threads, no collection starts by itself.

    What was made in it is no longer young afterwards if `lasting`, so that the next collection need not go through it.
    """

    __slots__ = ("lasting",)

    def __init__(self, lasting: bool = False) -> None:
        self.lasting = lasting

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
            if _state.inside or not _state.was_on:
                return
            if self.lasting and not gc.get_freeze_count():  # what a program has frozen stays so
                gc.freeze()
                gc.unfreeze()
                _state.aged += 1
            is_full = _state.aged >= _MOST_AGED
            _state.aged = 0 if is_full else _state.aged
            gc.enable()
        if is_full:
            gc.collect()


_state = _State()


def _after_fork() -> None:
    """In a child the other threads, and what they were about, are gone."""
    global _state
    if _state.inside and _state.was_on:
        gc.enable()
    _state = _State()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
