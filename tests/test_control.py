"""If, Loop and Scan, against onnxruntime and against plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from text_models import lstm, parsed

import rnnrt
from rnnrt.errors import InputError, ModelError, UnsupportedError

F = np.float32
YES, NO = np.array(True), np.array(False)


def both(model, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    """Our answer, which is onnxruntime's in values, shapes and types."""
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    theirs = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    got = rnnrt.load(model).run(feeds)
    for (name, array), want in zip(got.items(), theirs.run(None, feeds), strict=True):
        assert (array.shape, array.dtype) == (want.shape, want.dtype), name
        np.testing.assert_allclose(array, want, rtol=1e-6, atol=1e-6, err_msg=name)
    return got


# If


IF = parsed("""(bool c, float[N] x) => (float[N] y, float[N] z) {
    t = Add(x, x)
    y, z = If (c) <
        then_branch = yes () => (float[N] a, float[N] b) { a = Mul(t, x)  b = Identity(x) },
        else_branch = no () => (float[N] d, float[N] e) <float[1] k = {7}> { d = Add(t, k)  e = Sub(d, x) }
    >
}""")


def test_if_runs_the_branch_asked_for_with_what_it_captures():
    x = np.array([1, 2, 3], F)
    got = both(IF, c=YES, x=x)
    assert got["y"].tolist() == [2, 8, 18]
    assert got["z"].tolist() == [1, 2, 3]
    got = both(IF, c=NO, x=x)
    assert got["y"].tolist() == [9, 11, 13]
    assert got["z"].tolist() == [8, 9, 10]


def test_the_branch_that_is_not_asked_for_is_not_run():
    model = rnnrt.load(
        parsed("""(bool c, float[N] x, int64[R] s) => (float[M] y) {
        y = If (c) <
            then_branch = yes () => (float[M] a) { a = Reshape(x, s) },
            else_branch = no () => (float[M] d) { d = Identity(x) }
        >
    }""")
    )
    feeds = {"x": np.ones(4, F), "s": np.array([3])}
    assert model.run({"c": NO, **feeds})["y"].tolist() == [1, 1, 1, 1]
    with pytest.raises(InputError, match="Reshape"):
        model.run({"c": YES, **feeds})


def test_nested_ifs_capture_across_levels():
    model = parsed("""(bool c, bool d, float[N] x) => (float[N] y) {
        two = Add(x, x)
        y = If (c) <
            then_branch = outer () => (float[N] a) {
                three = Add(two, x)
                a = If (d) <
                    then_branch = inner () => (float[N] b) { six = Mul(three, two)  b = Sub(six, x) },
                    else_branch = deep () => (float[N] e) { e = Identity(three) }
                >
            },
            else_branch = flat () => (float[N] f) { f = Neg(two) }
        >
    }""")
    x = np.array([1, 2], F)
    assert both(model, c=YES, d=YES, x=x)["y"].tolist() == [5, 22]
    assert both(model, c=YES, d=NO, x=x)["y"].tolist() == [3, 6]
    assert both(model, c=NO, d=YES, x=x)["y"].tolist() == [-2, -4]


def test_branches_may_give_other_shapes():
    model = parsed("""(bool[1] c, float[N] x) => (float[M] y) {
        y = If (c) <
            then_branch = yes () => (float[M] a) { a = Concat <axis: int = 0> (x, x) },
            else_branch = no () => (float[M] b) { b = Identity(x) }
        >
    }""")
    assert both(model, c=np.array([True]), x=np.ones(2, F))["y"].shape == (4,)
    assert both(model, c=np.array([False]), x=np.ones(2, F))["y"].shape == (2,)


def test_a_condition_of_several_values_is_an_error():
    model = rnnrt.load(
        parsed("""(bool[N] c, float[1] x) => (float[1] y) {
        y = If (c) <
            then_branch = a () => (float[1] p) { p = Neg(x) },
            else_branch = b () => (float[1] q) { q = Abs(x) }
        >
    }""")
    )
    with pytest.raises(InputError, match=r"If 'y': expected a single value, got shape \(2,\)"):
        model.run({"c": np.array([True, False]), "x": np.ones(1, F)})


def test_a_recurrent_layer_inside_a_branch_is_native():
    model = parsed(
        """(bool c, float[T, N, 3] x) => (float[1, N, 5] h) {
        h = If (c) <
            then_branch = yes () => (float[1, N, 5] a) { , a = LSTM <hidden_size: int = 5> (x, W, R, B) },
            else_branch = no () => (float[1, N, 5] b) { n = Neg(x)  , b = LSTM <hidden_size: int = 5> (n, W, R, B) }
        >
    }""",
        **lstm(),
    )
    x = np.random.default_rng(0).standard_normal((4, 2, 3)).astype(F)
    assert rnnrt.load(model)._plan.count() == {"native": 3, "control": 1}
    assert not np.array_equal(both(model, c=YES, x=x)["h"], both(model, c=NO, x=x)["h"])


@pytest.mark.parametrize("count", [0, 2])
def test_a_branch_with_another_number_of_outputs_is_refused(count):
    text = "".join(f"float[1] a{k}, " for k in range(count)).rstrip(", ")
    body = " ".join(f"a{k} = Neg(x)" for k in range(count)) or "unused = Neg(x)"
    model = parsed(f"""(bool c, float[1] x) => (float[1] y) {{
        y = If (c) <
            then_branch = p () => ({text}) {{ {body} }},
            else_branch = b () => (float[1] q) {{ q = Abs(x) }}
        >
    }}""")
    with pytest.raises(ModelError, match="then_branch"):
        rnnrt.load(model)


# Loop


BODY = """<body = step (int64 i, bool going, float a) => (bool more, float b, float s)
    <float one = {1}, float end = {3}> {
    b = Add(a, one)  more = Less(b, end)  s = Mul(b, b)
}>"""


@pytest.mark.parametrize(
    ("trips", "condition", "turns"),
    [
        (None, None, 3),
        (2, None, 2),
        (9, None, 3),
        (0, None, 0),
        (-5, None, 0),
        (None, True, 3),
        (None, False, 0),
        (2, True, 2),
        (9, True, 3),
        (9, False, 0),
        (0, True, 0),
    ],
)
def test_loop_ends_by_count_or_condition(trips, condition, turns):
    feeds = {"x": np.array(0, F)}
    feeds |= {"m": np.array(trips)} if trips is not None else {}
    feeds |= {"k": np.array(condition)} if condition is not None else {}
    inputs = ", ".join({"x": "float x", "m": "int64 m", "k": "bool k"}[name] for name in feeds)
    call = f"Loop {BODY} ({'m' if 'm' in feeds else ''}, {'k' if 'k' in feeds else ''}, x)"
    got = both(parsed(f"({inputs}) => (float y, float[K] s) {{ y, s = {call} }}"), **feeds)
    assert got["y"] == turns
    assert got["s"].tolist() == [k * k for k in range(1, turns + 1)]


def test_loop_without_any_bound_is_an_error_and_no_hang():
    body = "<body = step (int64 i, bool going, float a) => (bool more, float b) <bool more = {1}> { b = Neg(a) }>"
    model = rnnrt.load(parsed(f"(bool k, float x) => (float y) {{ y = Loop {body} (, k, x) }}"))
    with pytest.raises(InputError, match="never end"):
        model.run({"k": YES, "x": np.array(1, F)})
    assert model.run({"k": NO, "x": np.array(1, F)})["y"] == 1


def test_loop_gives_iteration_and_condition_to_its_body_and_stacks_rows():
    model = parsed("""(int64 m, float[N] x) => (float[N] y, float[K, N] rows, int64[K] ks) {
        t = Neg(x)
        y, rows, ks = Loop <body = step (int64 i, bool going, float[N] a)
            => (bool more, float[N] b, float[N] r, int64 j) {
            more = Identity(going)  f = Cast <to: int = 1> (i)  b = Add(a, f)  r = Mul(b, t)  j = Identity(i)
        }> (m, , x)
    }""")
    got = both(model, m=np.array(3), x=np.array([1, 2], F))
    assert got["y"].tolist() == [4, 5]
    assert got["rows"].tolist() == [[-1, -4], [-2, -6], [-4, -10]]
    assert got["ks"].tolist() == [0, 1, 2]
    none = rnnrt.load(model).run({"m": np.array(0), "x": np.array([1, 2], F)})
    assert none["y"].tolist() == [1, 2]
    assert len(none["rows"]) == 0
    assert none["rows"].ndim == 2
    assert none["ks"].shape == (0,)
    assert none["ks"].dtype == np.int64


@pytest.mark.parametrize("trips", [0, 1, 3])
@pytest.mark.parametrize("known", [False, True])
def test_the_number_of_the_iteration_has_the_axes_that_the_body_declares(trips, known):
    count = f"<int64 m = {{{trips}}}>" if known else ""
    model = parsed(f"""({"" if known else "int64 m, "}float[N] x) => (float[N] y, int64[K, 1] ks) {count} {{
        y, ks = Loop <body = step (int64[1] i, bool going, float[N] a) => (bool more, float[N] b, int64[1] j) {{
            more = Identity(going)  f = Cast <to: int = 1> (i)  b = Add(a, f)  j = Identity(i)
        }}> (m, , x)
    }}""")
    got = both(model, x=np.array([1, 2], F), **({} if known else {"m": np.array(trips)}))
    assert got["ks"].tolist() == [[k] for k in range(trips)]


def test_what_an_undeclared_output_would_be_is_what_no_iteration_gives():
    model = parsed("""(int64 m, float[N] x) => (float[N] y, float[K, N] s) {
        y, s = Loop <body = step (int64 i, bool going, float[N] a) => (bool more, float[N] b, float[N] r) {
            more = Identity(going)  b = Add(a, a)  r = Neg(a)
        }> (m, , x)
    }""")
    body = next(a.g for a in model.graph.node[0].attribute if a.name == "body")
    for value in body.output[1:]:
        value.ClearField("type")
    opened = rnnrt.load(model)
    assert opened.run({"m": np.array(0), "x": np.ones(2, F)})["s"].shape == (0, 2)
    assert opened.run({"m": np.array(3), "x": np.ones(2, F)})["s"].tolist() == [[-1, -1], [-2, -2], [-4, -4]]


def test_loops_within_loops_and_ifs():
    model = parsed("""(int64 m, int64 n, float x) => (float y) {
        two = Add(x, x)
        y = Loop <body = outer (int64 i, bool g, float a) => (bool more, float b) {
            more = Identity(g)
            odd = Cast <to: int = 9> (i)
            c = Loop <body = inner (int64 j, bool h, float p) => (bool still, float q) {
                still = Identity(h)
                q = If (odd) <
                    then_branch = up () => (float r) { r = Add(p, two) },
                    else_branch = down () => (float s) { s = Sub(p, x) }
                >
            }> (n, , a)
            b = Add(c, a)
        }> (m, , x)
    }""")
    value = 3.0
    for i in range(3):
        inner = value
        for _ in range(4):
            inner = inner + 6 if i else inner - 3
        value += inner
    assert both(model, m=np.array(3), n=np.array(4), x=np.array(3, F))["y"] == value


def test_loop_may_grow_what_it_carries():
    body = """<body = b (int64 i, bool g, float[N] a) => (bool more, float[N2] c) {
        more = Identity(g)  c = Concat <axis: int = 0> (a, a) }>"""
    model = parsed(f"(int64 m, float[N] x) => (float[M] y) {{ y = Loop {body} (m, , x) }}")
    assert both(model, m=np.array(3), x=np.ones(2, F))["y"].shape == (16,)


def test_loop_with_a_carried_value_that_stays():
    body = "<body = b (int64 i, bool g, float[N] a, float[N] k) => (bool g, float[N] c, float[N] k) { c = Add(a, k) }>"
    model = rnnrt.load(
        parsed(f"(int64 m, float[N] x) => (float[N] y, float[N] z) {{ y, z = Loop {body} (m, , x, x) }}")
    )
    x = np.array([1, 2], F)
    got = model.run({"m": np.array(3), "x": x})
    assert got["y"].tolist() == [4, 8]
    assert got["z"].tolist() == [1, 2]
    assert not np.shares_memory(got["z"], x)


def test_what_a_loop_stacks_is_bounded():
    body = """<body = b (int64 i, bool g, float[N] a) => (bool more, float[N] c, float[M] wide)
        <int64[1] n = {1000000}> {
        more = Identity(g)  c = Identity(a)  wide = Expand(a, n) }>"""
    model = rnnrt.load(
        parsed(f"(int64 m, float[N] x) => (float[N] y, float[K, M] s) {{ y, s = Loop {body} (m, , x) }}")
    )
    with pytest.raises(InputError, match="bytes; the limit is"):
        model.run({"m": np.array(1 << 40), "x": np.ones(1, F)})


@pytest.mark.parametrize(
    "body",
    [
        "(int64 i, bool g) => (bool more, float b) { more = Identity(g)  b = Cast <to: int = 1> (i) }",
        "(int64 i, bool g, float a, float z) => (bool more, float b) { more = Identity(g)  b = Add(a, z) }",
        "(int64 i, bool g, float a) => (bool more) { more = Identity(g) }",
    ],
)
def test_a_body_that_does_not_fit_its_loop_is_refused(body):
    with pytest.raises(ModelError, match="Loop 'y'"):
        rnnrt.load(parsed(f"(int64 m, float x) => (float y) {{ y = Loop <body = b {body}> (m, , x) }}"))


def test_scan_outputs_of_different_shapes_are_an_error():
    body = """<body = b (int64 i, bool g, float[N] a) => (bool more, float[M] c, float[M] s) {
        more = Identity(g)  c = Concat <axis: int = 0> (a, a)  s = Identity(c) }>"""
    model = rnnrt.load(
        parsed(f"(int64 m, float[N] x) => (float[M] y, float[K, M] s) {{ y, s = Loop {body} (m, , x) }}")
    )
    with pytest.raises(InputError, match="Loop 'y'"):
        model.run({"m": np.array(2), "x": np.ones(1, F)})


# Scan


SUM = "<body = b (float[N] a, float[N] x) => (float[N] c, float[N] s) { c = Add(a, x)  s = Mul(c, t) }, %s>"


def scan(attributes: str, rank: int = 2):
    sizes = ", ".join("TUVW"[:rank])
    outs = ", ".join("PQRS"[:rank])
    return parsed(f"""(float[N] a, float[{sizes}] x) => (float[N] y, float[{outs}] s) {{
        t = Add(a, a)
        y, s = Scan {SUM % attributes} (a, x)
    }}""")


@pytest.mark.parametrize("back", [0, 1])
@pytest.mark.parametrize("out_back", [0, 1])
@pytest.mark.parametrize(("axis", "out_axis"), [(0, 0), (1, 0), (0, 1), (-1, -1), (1, -2)])
def test_scan_axes_and_directions(axis, out_axis, back, out_back):
    x = np.arange(1, 7, dtype=F).reshape(3, 2)
    a = np.array([1, 10, 100], F)[: x.shape[1 - axis % 2]]
    model = scan(
        f"num_scan_inputs: int = 1, scan_input_axes: ints = [{axis}], scan_output_axes: ints = [{out_axis}], "
        f"scan_input_directions: ints = [{back}], scan_output_directions: ints = [{out_back}]"
    )
    rows = np.moveaxis(x, axis, 0)
    sums = a + np.cumsum(rows[::-1] if back else rows, axis=0)
    want = 2 * a * sums
    got = both(model, a=a, x=x)
    assert got["y"].tolist() == sums[-1].tolist()
    assert got["s"].tolist() == np.moveaxis(want[::-1] if out_back else want, 0, out_axis).tolist()


def test_scan_of_no_steps():
    got = rnnrt.load(scan("num_scan_inputs: int = 1")).run({"a": np.ones(2, F), "x": np.zeros((0, 2), F)})
    assert got["y"].tolist() == [1, 1]
    assert got["s"].ndim == 2
    assert len(got["s"]) == 0
    assert got["s"].dtype == F


def test_scan_of_several_inputs_without_state():
    model = parsed("""(float[T, N] x, float[N, T] z) => (float[T, N] s, float[T, N] d) {
        s, d = Scan <num_scan_inputs: int = 2, scan_input_axes: ints = [0, 1],
            body = b (float[N] p, float[N] q) => (float[N] u, float[N] v) { u = Add(p, q)  v = Sub(p, q) }> (x, z)
    }""")
    x, z = np.arange(6, dtype=F).reshape(3, 2), np.ones((2, 3), F)
    got = both(model, x=x, z=z)
    assert np.array_equal(got["s"], x + 1)
    assert np.array_equal(got["d"], x - 1)
    with pytest.raises(InputError, match="one length"):
        rnnrt.load(model).run({"x": x, "z": np.ones((2, 4), F)})


@pytest.mark.parametrize(
    ("attributes", "what"),
    [
        ("num_scan_inputs: int = 0", "num_scan_inputs"),
        ("num_scan_inputs: int = 5", "num_scan_inputs"),
        ("num_scan_inputs: int = 1, scan_input_axes: ints = [0, 0]", "scan_input_axes"),
        ("num_scan_inputs: int = 1, scan_output_directions: ints = [0, 0]", "scan_output_directions"),
    ],
)
def test_scan_attributes_that_do_not_agree_are_refused(attributes, what):
    with pytest.raises(ModelError, match=what):
        rnnrt.load(scan(attributes))


def test_a_scan_axis_that_is_not_there_is_an_error():
    model = rnnrt.load(scan("num_scan_inputs: int = 1, scan_input_axes: ints = [4]"))
    with pytest.raises(InputError, match="Scan 'y'"):
        model.run({"a": np.ones(2, F), "x": np.zeros((3, 2), F)})


def test_the_batched_scan_of_opset_8_is_unsupported():
    body = """<num_scan_inputs: int = 1, body = b (float[N] a, float[N] x) => (float[N] c, float[N] s) {
        c = Add(a, x)  s = Neg(c) }>"""
    text = f"(float[B, N] a, float[B, T, N] x) => (float[B, N] y, float[B, T, N] s) {{ y, s = Scan {body} (, a, x) }}"
    with pytest.raises(UnsupportedError, match="opset 8"):
        rnnrt.load(parsed(text, opset=8, ir_version=3))
