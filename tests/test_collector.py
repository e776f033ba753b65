"""The garbage collector is as it was after a model has been opened or bound, whatever happened in between."""

from __future__ import annotations

import gc
import os
import threading

import pytest
from small_models import gru_model

import rnnrt
from rnnrt.collector import paused


@pytest.fixture(autouse=True)
def _on():
    gc.enable()
    yield
    gc.enable()


def test_no_collection_starts_inside():
    with paused():
        with paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_stays_off_where_it_was_off():
    gc.disable()
    with paused():
        pass
    assert not gc.isenabled()


@pytest.mark.parametrize("source", [b"no model", gru_model().SerializeToString()])
def test_it_is_on_after_loading(source):
    try:
        rnnrt.load(source)
    except rnnrt.ModelError:
        assert source == b"no model"
    assert gc.isenabled()


def test_the_last_thread_turns_it_on():
    inside, leave = threading.Event(), threading.Event()

    def other():
        with paused():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    with paused():
        pass
    assert not gc.isenabled()
    leave.set()
    thread.join()
    assert gc.isenabled()


def test_a_child_has_it_on():
    with paused():
        child = os.fork()
        if not child:
            os._exit(0 if gc.isenabled() else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert not gc.isenabled()
    assert gc.isenabled()
