"""The harness of native steps itself: what it is there to see, it sees."""

from __future__ import annotations

import numpy as np
import pytest
from bound import Bound, run_native

from rnnrt.native.tensor import Buffer, Tensor, c_strides


def copied(n: int, at: int, size: int, writable: bool = False) -> None:
    """Copy n floats to `at` floats past the start of a buffer of `size`."""
    bound = Bound()
    y = bound.made((size,))
    target = Tensor(y.dtype, (n,), c_strides((n,)), y.buffer, at)
    bound.emitter.copy_into(bound.input(np.ones(n, np.float32)), target)
    bound.run(y)


def test_what_is_written_round_a_buffer_is_seen() -> None:
    copied(5, 0, 5)
    with pytest.raises(AssertionError, match="past a buffer"):
        copied(5, 1, 5)
    with pytest.raises(AssertionError, match="before a buffer"):
        copied(5, -1, 5)


def test_what_is_not_written_is_nan() -> None:
    bound = Bound()
    y = bound.made((4,))
    bound.emitter.copy_into(bound.input(np.ones(2, np.float32)), bound.emitter.view(y, (2,), (1,)))
    np.testing.assert_array_equal(bound.run(y), np.array([1, 1, np.nan, np.nan], np.float32))


def test_a_changed_input_is_seen() -> None:
    for writable in (False, True):
        bound = Bound()
        x = bound.input(np.zeros(3, np.float32), writable=writable)
        bound.emitter.copy_into(bound.input(np.ones(3, np.float32)), x)
        if writable:
            assert bound.run(x).tolist() == [1, 1, 1]
        else:
            with pytest.raises(AssertionError, match="an input was changed"):
                bound.run(x)


def test_gaps_of_an_input_are_nan_and_its_strides_stay() -> None:
    x = np.arange(24, dtype=np.float32).reshape(4, 6)[::-2, 1::2]
    bound = Bound()
    tensor = bound.input(x)
    np.testing.assert_array_equal(bound.array(tensor), x)
    assert tensor.strides == (-12, 2)
    memory = bound.array(Tensor(x.dtype, (17,), (1,), Buffer(68, 1)))
    assert np.isnan(memory).sum() == 17 - x.size


def test_parts_that_depend_on_their_order_are_seen() -> None:
    """Two parts of a sum into the same element: what a step must not do."""
    bound = Bound(threads=2)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    y = bound.node("ReduceSum", x, np.array([1]), known=(1,), keepdims=0)
    assert bound.run(y, parts=2).tolist() == [6, 22]
    bound.steps.append(bound.steps[0])
    step = bound.emitter.emit("copy", [bound.input(np.float32([5])), bound.emitter.view(y, (1,), (1,)), 4, 0, 0], 1)
    step.words += [1, 0, 0, 1, 0, 0]
    assert bound.run(y, parts=2).tolist() == [5, 22]


def test_a_form_left_to_numpy_is_none() -> None:
    assert run_native("Add", np.zeros(3), np.zeros(3)) is None


def test_an_absent_operand_is_left_to_numpy() -> None:
    x = np.ones((2, 3), np.float32)
    for op in ("Max", "Sum", "Mean"):
        assert run_native(op, x, None) is None
