"""Shape, layout and padding operators against NumPy's own answers and onnxruntime, and what they must refuse."""

from __future__ import annotations

import numpy as np
import pytest
from ops_util import assert_same, random_array, run_onnxruntime, run_op, run_reference

from rnnrt.errors import InputError, ModelError, UnsupportedError
from rnnrt.ops.limits import RUN_BYTES, check_size, limit

SHAPES = [(), (0,), (1,), (4,), (2, 3), (2, 0, 3), (3, 1, 4, 2)]


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def arange(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shape_size_identity_flatten(shape: tuple) -> None:
    x = arange(*shape)
    np.testing.assert_array_equal(run_op("Shape", x), np.array(shape, np.int64))
    for start, end in ((1, None), (-2, None), (0, -1), (-9, 9), (2, 1)):
        attrs = {"start": start} if end is None else {"start": start, "end": end}
        assert run_op("Shape", x, **attrs).tolist() == list(shape[start:end] if start >= -len(shape) else shape[:end])
        assert run_op("Shape", x, **attrs).dtype == np.int64
    assert_same(run_op("Size", x), np.array(x.size, np.int64))
    assert run_op("Identity", x) is not None
    for axis in range(-len(shape), len(shape) + 1):
        assert_same(run_op("Flatten", x, axis=axis), run_reference("Flatten", x, axis=axis)[0]) if x.size else None
        first = axis + len(shape) if axis < 0 else axis
        want = (int(np.prod(shape[:first])), int(np.prod(shape[first:])))
        assert run_op("Flatten", x, axis=axis).shape == want
    with pytest.raises(InputError, match="axis"):
        run_op("Flatten", x, axis=len(shape) + 1)


@pytest.mark.parametrize(
    ("shape", "target", "allowzero", "want"),
    [
        ((2, 3, 4), [4, 6], 0, (4, 6)),
        ((2, 3, 4), [0, -1], 0, (2, 12)),
        ((2, 3, 4), [0, 0, 2, -1], 0, (2, 3, 2, 2)),
        ((2, 3, 4), [-1], 0, (24,)),
        ((1,), [], 0, ()),
        ((), [1, 1], 0, (1, 1)),
        ((), [-1], 0, (1,)),
        ((0, 3), [0, -1], 0, (0, 3)),
        ((0, 4, 6), [0, 0, 2, -1], 0, (0, 4, 2, 3)),
        ((0, 3), [3, 0], 1, (3, 0)),
        ((3, 0, 2), [-1, 0], 0, (6, 0)),
    ],
)
def test_reshape(shape: tuple, target: list, allowzero: int, want: tuple) -> None:
    x = arange(*shape)
    y = run_op("Reshape", x, np.array(target, np.int64), allowzero=allowzero)
    assert_same(y, x.reshape(want))
    assert x.size == 0 or np.shares_memory(x, y)


@pytest.mark.parametrize(
    ("shape", "target", "allowzero"),
    [
        *(((2, 3), target, 0) for target in ([5], [4, -1], [-1, -1], [-2, 3], [2, 3, 0], [1 << 40, -1])),
        *(((0, 3), target, 1) for target in ([0, -1], [-1, -1, 0])),
        ((2, 3), [0, 6], 1),
    ],
)
def test_reshape_refuses(shape: tuple, target: list, allowzero: int) -> None:
    with pytest.raises(InputError, match="node"):
        run_op("Reshape", arange(*shape), np.array(target, np.int64), allowzero=allowzero)


def test_transpose() -> None:
    x = arange(2, 3, 4)
    assert_same(run_op("Transpose", x), x.T)
    assert_same(run_op("Transpose", x, perm=[1, 0, 2]), x.transpose(1, 0, 2))
    assert_same(run_op("Transpose", arange(), perm=[]), arange())
    with pytest.raises(InputError, match="axes"):
        run_op("Transpose", arange(2, 3), perm=[1, 0, 2])
    with pytest.raises(ModelError, match="permutation"):
        run_op("Transpose", x, perm=[0, 0, 1])


def test_squeeze_and_unsqueeze() -> None:
    x = arange(1, 3, 1, 2)
    assert run_op("Squeeze", x).shape == (3, 2)
    assert run_op("Squeeze", x, i64(-2)).shape == (1, 3, 2)
    assert run_op("Squeeze", x, i64(0, 2)).shape == (3, 2)
    assert run_op("Squeeze", arange(1)).shape == ()
    for axes in (i64(1), i64(4), i64(0, 0), i64(0, -4)):
        with pytest.raises(InputError, match="axes"):
            run_op("Squeeze", x, axes)
    y = arange(3, 2).T
    assert run_op("Unsqueeze", y, i64(0, -1)).shape == (1, 2, 3, 1)
    assert run_op("Unsqueeze", y, i64(3, 1)).shape == (2, 1, 3, 1)
    assert np.shares_memory(run_op("Unsqueeze", y, i64(1)), y)
    assert run_op("Unsqueeze", arange(), i64(0)).shape == (1,)
    for axes in (i64(3), i64(0, 0), i64(0, -4)):
        with pytest.raises(InputError, match="axis"):
            run_op("Unsqueeze", y, axes)


def test_concat() -> None:
    rng = np.random.default_rng(5)
    for dtype in (np.float32, np.int64, bool, object):
        parts = [random_array(rng, (2, n, 3), dtype) for n in (1, 0, 4)]
        assert_same(run_op("Concat", *parts, axis=1), np.concatenate(parts, 1))
        assert_same(run_op("Concat", *parts, axis=-2), np.concatenate(parts, 1))
    assert_same(run_op("Concat", arange(2), axis=0), arange(2))
    with pytest.raises(InputError, match=r"\[2, 3\], \[3, 2\]"):
        run_op("Concat", arange(2, 3), arange(3, 2), axis=0)
    with pytest.raises(ModelError, match="axis"):
        run_op("Concat", arange(2))


BIG, SMALL = np.iinfo(np.int64).max, np.iinfo(np.int64).min
SLICES = [
    ([0], [2], [0], None),
    ([1], [BIG], [1], [2]),
    ([-1], [SMALL], [1], [-1]),
    ([BIG], [SMALL], [-1], [-2]),
    ([2], [-1], [0], [-1]),
    ([-100], [100], [1], [3]),
    ([0, 1], [2, 3], None, None),
    ([3, 0], [0, 1], [1, 0], [-2, 1]),
    ([3], [1], [0], [1]),
    ([-100], [-50], [0], [1]),
    ([0], [0], [-2], None),
]


@pytest.mark.parametrize(("starts", "ends", "axes", "steps"), SLICES)
def test_slice_agrees_with_onnxruntime(starts: list, ends: list, axes: list | None, steps: list | None) -> None:
    x = arange(5, 4)
    optional = [None if axes is None else i64(*axes), None if steps is None else i64(*steps)]
    while optional and optional[-1] is None:
        optional.pop()
    args = [x, i64(*starts), i64(*ends), *optional]
    y = run_op("Slice", *args)
    assert_same(y, run_onnxruntime("Slice", *args)[0])
    assert y.size == 0 or np.shares_memory(x, y)


def test_slice_refuses() -> None:
    x = arange(5, 4)
    a, b = i64(0), i64(1)
    for args in ([a, b, i64(2)], [a, b, a, a], [i64(0, 0), b], [a, b, i64(0, 1)]):
        with pytest.raises(InputError, match="node"):
            run_op("Slice", x, *args)
    with pytest.raises(InputError, match="integers"):
        run_op("Slice", x, np.array([0.0]), i64(1))


def test_split() -> None:
    x = arange(7, 2)
    assert [p.shape[0] for p in run_op("Split", x, outputs=3, num_outputs=3)] == [3, 3, 1]
    assert [p.shape[1] for p in run_op("Split", x, outputs=2, axis=-1)] == [1, 1]
    pieces = run_op("Split", x, i64(0, 5, 2), outputs=3)
    assert_same(np.concatenate(pieces), x)
    assert [p.shape[0] for p in pieces] == [0, 5, 2]
    for split, count in ((i64(3, 3), 2), (i64(8, -1), 2), (i64(7), 2), (None, 5)):
        with pytest.raises(InputError, match="sizes"):
            run_op("Split", x, split, outputs=count)
    with pytest.raises(ModelError, match="outputs"):
        run_op("Split", x, outputs=2, num_outputs=3)


@pytest.mark.parametrize(
    ("shape", "target", "want"),
    [
        ((3, 1), [3, 4], (3, 4)),
        ((3, 1), [2, 1, 4], (2, 3, 4)),
        ((2, 3), [3], (2, 3)),
        ((), [2, 0], (2, 0)),
        ((3,), [], (3,)),
        ((0, 1), [1, 5], (0, 5)),
        ((1,), [0], (0,)),
    ],
)
def test_expand(shape: tuple, target: list, want: tuple) -> None:
    x = arange(*shape)
    y = run_op("Expand", x, np.array(target, np.int64))
    assert_same(y, np.broadcast_to(x, want).copy())


def test_expand_and_tile_refuse() -> None:
    for shape, target in (((3,), [2]), ((2, 3), [4, 2, 2]), ((2,), [0]), ((1,), [-1])):
        with pytest.raises(InputError):
            run_op("Expand", arange(*shape), i64(*target))
    for repeats in ([2], [2, -1]):
        with pytest.raises(InputError):
            run_op("Tile", arange(2, 3), i64(*repeats))


def test_tile() -> None:
    for shape, repeats in (((2, 3), [2, 1]), ((2, 3), [1, 1]), ((2, 3), [0, 2]), ((), []), ((0, 2), [3, 2])):
        assert_same(run_op("Tile", arange(*shape), np.array(repeats, np.int64)), np.tile(arange(*shape), repeats))


PADS = [
    ((4, 3), [1, 0, 2, 1], None),
    ((4, 3), [2, 1], [-1]),
    ((4, 3), [0, 0, 0, 0], None),
    ((4, 3), [3, 2, 3, 2], None),
    ((2, 3, 4), [1, 1, 0, 2], [2, 0]),
]


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize(("shape", "pads", "axes"), PADS)
def test_pad_agrees_with_numpy_and_onnxruntime(mode: str, shape: tuple, pads: list, axes: list | None) -> None:
    x = arange(*shape)
    if mode == "reflect" and axes == [2, 0]:
        pads = [1, 1, 0, 1]
    chosen = list(range(len(shape))) if axes is None else [a % len(shape) for a in axes]
    widths = [[0, 0] for _ in shape]
    for k, axis in enumerate(chosen):
        widths[axis] = [pads[k], pads[k + len(chosen)]]
    args = [x, i64(*pads)] + ([] if axes is None else [None, i64(*axes)])
    y = run_op("Pad", *args, mode=mode)
    assert_same(y, np.pad(x, widths, mode=mode))
    assert_same(y, run_onnxruntime("Pad", *args, mode=mode)[0])


def test_pad_values_and_cropping() -> None:
    x = arange(3, 4)
    want = np.pad(x[1:, :2], ((0, 0), (1, 0)), constant_values=7)
    assert_same(run_op("Pad", x, i64(-1, 1, 0, -2), np.float32(7)), want)
    assert_same(run_op("Pad", x, i64(0, -1, 0, -1)), x[:, 1:3])
    assert run_op("Pad", np.array(["a"], object), i64(1, 1)).tolist() == ["", "a", ""]
    assert run_op("Pad", np.array([True]), i64(1, 0)).tolist() == [False, True]
    assert run_op("Pad", arange(2).astype(np.float64), i64(1, 0), np.float32(0.5)).dtype == np.float64
    assert_same(run_op("Pad", arange(0, 2), i64(1, 0, 0, 0)), np.zeros((1, 2), np.float32))
    assert_same(run_op("Pad", arange(1), i64(2, 1), mode="reflect"), np.zeros(4, np.float32))
    for args, mode in (((i64(1, 0, 0, 0),), "edge"), ((i64(-1, 0, 0, 0),), "constant"), ((i64(1, 1),), "constant")):
        with pytest.raises(InputError):
            run_op("Pad", arange(0, 2), *args, mode=mode)
    with pytest.raises(UnsupportedError, match="mode"):
        run_op("Pad", x, i64(1, 1, 1, 1), mode="symmetric")


def test_constants() -> None:
    assert_same(run_op("Constant", value=arange(2)), arange(2))
    assert_same(run_op("Constant", value_float=0.5), np.float32(0.5))
    assert_same(run_op("Constant", value_ints=[1, 2]), i64(1, 2))
    assert run_op("Constant", value_strings=["a", b"b"]).tolist() == ["a", "b"]
    with pytest.raises(ModelError, match="one value"):
        run_op("Constant")
    assert_same(run_op("ConstantOfShape", i64(2, 0)), np.zeros((2, 0), np.float32))
    assert_same(run_op("ConstantOfShape", np.array([], np.int64), value=i64(3)), np.int64(3))
    assert_same(run_op("ConstantOfShape", i64(2), value=np.array([True])), np.array([True, True]))
    assert np.signbit(run_op("ConstantOfShape", i64(2), value=np.array([-0.0], np.float32))).all()
    with pytest.raises(InputError, match="at least 0"):
        run_op("ConstantOfShape", i64(2, -1))
    assert_same(run_op("EyeLike", arange(2, 3), k=1), np.eye(2, 3, 1, np.float32))
    assert_same(run_op("EyeLike", arange(2, 2), dtype=7), np.eye(2, dtype=np.int64))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.float32, np.float64])
def test_range(dtype: type) -> None:
    for start, stop, step in ((3, 9, 3), (10, 4, -2), (0, 5, 1), (5, 5, 1), (5, 0, 1), (-1, -8, -3), (0, 1, 3)):
        args = [np.array(v, dtype) for v in (start, stop, step)]
        assert_same(run_op("Range", *args), np.arange(start, stop, step, dtype))
    with pytest.raises(InputError, match="step"):
        run_op("Range", *(np.array(v, dtype) for v in (0, 5, 0)))


def test_range_of_fractions_and_half() -> None:
    args = [np.float32(v) for v in (0, 1, 0.1)]
    assert_same(run_op("Range", *args), run_onnxruntime("Range", *args)[0])
    y = run_op("Range", *(np.float16(v) for v in (0, 3000, 1)))
    assert_same(y, np.arange(3000, dtype=np.float32).astype(np.float16))
    with pytest.raises(InputError, match="finite"):
        run_op("Range", np.float32(0), np.float32(np.inf), np.float32(1))


def test_outputs_without_bound_are_refused() -> None:
    huge = 1 << 40
    for op, args in [
        ("ConstantOfShape", [i64(huge)]),
        ("ConstantOfShape", [i64(huge, huge, huge)]),
        ("Expand", [arange(1), i64(huge)]),
        ("Tile", [arange(2), i64(huge)]),
        ("Range", [np.int64(0), np.int64(huge), np.int64(1)]),
        ("Range", [np.float64(0), np.float64(1e300), np.float64(1)]),
        ("Pad", [arange(2), i64(0, huge)]),
        ("Pad", [arange(2), i64(0, huge), None, i64(0)]),
        ("OneHot", [i64(0), np.int64(huge), arange(2)]),
        ("CenterCropPad", [arange(2), i64(huge)]),
    ]:
        with pytest.raises(InputError, match="limit is"):
            run_op(op, *args)
    with pytest.raises(InputError, match="limit is"):
        run_op("Pad", arange(2), i64(0, huge), mode="wrap")
    with pytest.raises(InputError, match="64 dimensions"):
        run_op("ConstantOfShape", np.ones(65, np.int64))


def test_limit_holds_inside_its_block() -> None:
    byte = np.dtype(np.uint8)
    with limit(10):
        check_size((10,), byte, "x")
        with pytest.raises(InputError, match="11 bytes; the limit is 10"):
            check_size((11,), byte, "x")
        with limit(100):
            check_size((11,), byte, "x")
    check_size((RUN_BYTES,), byte, "x")
    check_size((RUN_BYTES * 4, 0), byte, "x")
    with pytest.raises(InputError):
        check_size((RUN_BYTES + 1,), byte, "x")


def test_dropout_at_inference() -> None:
    x = arange(2, 3)
    y, mask = run_op("Dropout", x, np.float32(0.5), np.array(False), outputs=2)
    assert_same(y, x)
    assert_same(mask, np.ones((2, 3), bool))
    assert_same(run_op("Dropout", x, np.float32(0), np.array(True)), x)
    with pytest.raises(UnsupportedError, match="random"):
        run_op("Dropout", x, np.float32(0.5), np.array(True))


def test_trilu() -> None:
    x = arange(2, 3, 4) + 1
    for k in (-5, -1, 0, 2, 9):
        assert_same(run_op("Trilu", x, np.int64(k)), np.triu(x, k))
        assert_same(run_op("Trilu", x, np.int64(k), upper=0), np.tril(x, k))
    assert_same(run_op("Trilu", arange(0, 3)), arange(0, 3))
    with pytest.raises(InputError):
        run_op("Trilu", arange(3))


def test_reverse_sequence() -> None:
    x, lengths = arange(4, 3, 2), i64(0, 4, 3)
    for time, batch in ((0, 1), (1, 0)):
        data = x if batch == 1 else x.transpose(1, 0, 2)
        want = data.copy()
        for b, n in enumerate(lengths):
            row = want[:, b] if batch == 1 else want[b]
            row[:n] = row[:n][::-1].copy()
        assert_same(run_op("ReverseSequence", data, lengths, time_axis=time, batch_axis=batch), want)
    for wrong in (i64(5, 0, 0), i64(-1, 0, 0), i64(1, 1)):
        with pytest.raises(InputError, match="length"):
            run_op("ReverseSequence", x, wrong)


def test_tensor_scatter_and_center_crop_pad() -> None:
    rng = np.random.default_rng(6)
    cache, update = random_array(rng, (2, 3, 5, 4), np.float32), random_array(rng, (2, 3, 2, 4), np.float32)
    for mode, starts in (("linear", i64(0, 3)), ("circular", i64(4, 1)), ("linear", None)):
        args = [cache, update] if starts is None else [cache, update, starts]
        assert_same(run_op("TensorScatter", *args, mode=mode), run_reference("TensorScatter", *args, mode=mode)[0])
    with pytest.raises(InputError, match="positions"):
        run_op("TensorScatter", cache, update, i64(0, 4))
    for sizes, axes in (([3, 6], None), ([7], [-1]), ([1, 9], [1, 0])):
        attrs = {} if axes is None else {"axes": axes}
        args = [arange(4, 4), i64(*sizes)]
        assert_same(run_op("CenterCropPad", *args, **attrs), run_reference("CenterCropPad", *args, **attrs)[0])
