"""Memory of weights and workspaces: zero at first, apart, and given back."""

import gc
import itertools
import random
from pathlib import Path

import numpy as np
import pytest

from rnnrt._core.engine import memory

STATM = Path("/proc/self/statm")
SIZES = [
    0,
    1,
    63,
    64,
    65,
    (1 << 14) - 1,
    1 << 14,
    100_000,
    (1 << 18) - 1,
    1 << 18,
    (1 << 20) + 7,
    1 << 21,
    5 << 20,
    8 << 20,
    20 << 20,
]


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("size", SIZES)
def test_it_is_zero_and_begins_at_a_cache_line(size):
    array = memory(size)
    assert array.shape == (size,)
    assert array.dtype == np.uint8
    assert address(array) % 64 == 0
    assert not array.any()


def test_pieces_keep_what_is_in_them_while_others_come_and_go():
    rng = random.Random(3)
    held = []
    for k in range(400):
        size = rng.choice(SIZES[:-2])
        array = memory(size)
        assert not array.any()
        array[:] = k % 255 + 1
        held.append((k % 255 + 1, array))
        while sum(a.nbytes for _, a in held) > 48 << 20:
            mark, gone = held.pop(rng.randrange(len(held)))
            assert (gone == mark).all()
    assert all((array == mark).all() for mark, array in held)
    spans = sorted((address(a), address(a) + a.nbytes) for _, a in held if a.nbytes)
    assert all(stop <= start for (_, stop), (start, _) in itertools.pairwise(spans))


def test_an_array_of_it_outlives_what_it_was_seen_by():
    numbers = memory(1 << 20).view(np.float32).reshape(512, 512)
    numbers[:] = 2
    part = numbers[100:200]
    del numbers
    others = [memory(1 << 20) for _ in range(40)]
    assert not any(a.any() for a in others)
    assert (part == 2).all()


@pytest.mark.skipif(not STATM.exists(), reason="needs /proc, to see how much memory is in use")
@pytest.mark.parametrize("size", [300_000, 1 << 20, 3 << 20])
def test_it_goes_back_to_the_system(size):
    def resident():
        gc.collect()
        return int(STATM.read_text().split()[1]) * 4096

    def fill():
        arrays = [memory(size) for _ in range((64 << 20) // size)]
        for array in arrays:
            array[:] = 1
        return arrays

    memory(1 << 18)[:] = 1  # begins a huge page, into which small pieces may go
    before = resident()
    arrays = fill()
    assert resident() - before > 60 << 20
    del arrays[::2]
    del arrays
    assert resident() - before < 8 << 20
