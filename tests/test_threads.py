"""Threads of a run: the same bits, none before they are asked for, none that burns, and none that gets in the way."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from strategies import make
from text_models import STREAMING, lstm, parsed

import rnnrt
from rnnrt._core import program
from rnnrt.errors import InputError

ROOT = Path(rnnrt.__file__).resolve().parent.parent
LINUX = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")

# Sizes past which the engine shares work out: by rows, by units, and by directions.
SHAPES = {
    "rows": {"T": 30, "B": 24, "I": 40, "H": 64},
    "rows, uneven": {"T": 20, "B": 37, "I": 33, "H": 50},
    "units": {"T": 40, "B": 1, "I": 64, "H": 245},
    "units, uneven": {"T": 30, "B": 3, "I": 17, "H": 145},
    "directions": {"T": 30, "B": 2, "I": 40, "H": 96, "D": 2},
    "directions and rows": {"T": 12, "B": 17, "I": 30, "H": 70, "D": 2},
    "directions in turn": {"T": 6, "B": 2, "I": 20, "H": 500, "D": 2},
    "too little": {"T": 2, "B": 1, "I": 3, "H": 4},
}
FORMS = {
    "LSTM": ("LSTM", {"absent": ("P",)}),
    "LSTM, all there is": ("LSTM", {"clip": 2.0, "direction": "reverse"}),
    "GRU": ("GRU", {}),
    "GRU, linear": ("GRU", {"linear_before_reset": 1}),
    "RNN": ("RNN", {}),
}


def python(code: str, timeout: float = 150, **environment: str) -> str:
    """What a fresh process prints; it is killed, with all its threads' stacks shown, when it takes too long."""
    head = f"import faulthandler; faulthandler.dump_traceback_later({timeout * 0.8}, exit=True)\n"
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    result = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"} | environment,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


SETUP = """
import os, sys, threading, time
import numpy as np
import rnnrt
from strategies import make
case = make("LSTM", T=40, B=16, I=32, H=64, absent=("P", "sequence_lens"))
other = make("GRU", T=60, B=1, I=32, H=160, absent=("sequence_lens",))
def tasks():
    return len(os.listdir("/proc/self/task"))
def same(a, b):
    return all(a[k].tobytes() == b[k].tobytes() for k in b)
START = tasks()  # the watchdog is one
"""


# The same bits


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", FORMS)
def test_any_number_of_threads_gives_the_same_bits(form, shape):
    op, attrs = FORMS[form]
    for absent in ((), ("sequence_lens",)):
        attrs = attrs if "D" not in SHAPES[shape] else {k: v for k, v in attrs.items() if k != "direction"}
        case = make(op, **SHAPES[shape], **attrs | {"absent": attrs.get("absent", ()) + absent})
        data, feeds = case.model(), case.feeds()
        want = rnnrt.load(data).run(feeds)
        if not absent:
            case.check(want, 2e-5)
        for threads in (2, 3, 4):
            got = rnnrt.load(data, threads=threads).run(feeds)
            for name, array in want.items():
                assert got[name].tobytes() == array.tobytes(), f"{name} on {threads} threads"


# None before they are asked for, none that burns


@LINUX
def test_no_thread_exists_until_one_is_asked_for():
    out = python(
        SETUP
        + """
one = rnnrt.load(case.model())
want = one.run(case.feeds())
before = tasks() - START
two = rnnrt.load(case.model(), threads=2)
loaded = tasks() - START
assert same(two.run(case.feeds()), want)
print(before, loaded, tasks() - START)
for _ in range(20):
    two.run(case.feeds())
    rnnrt.load(other.model(), threads=2).run(other.feeds())
print(tasks() - START)
"""
    )
    before, loaded, after, later = map(int, out.split())
    assert before == loaded == 0
    assert after == later == 1, "models share the pool"


@LINUX
def test_an_idle_process_burns_nothing():
    out = python(
        SETUP
        + """
model = rnnrt.load(case.model(), threads=3)
for _ in range(3):
    model.run(case.feeds())
assert tasks() > START
time.sleep(0.05)
start = time.process_time()
time.sleep(1)
print(time.process_time() - start)
"""
    )
    assert float(out) < 0.05


# Nothing gets in the way


def test_a_child_forked_after_threads_were_used_has_its_own():
    out = python(
        SETUP
        + """
model = rnnrt.load(case.model(), threads=2)
want = model.run(case.feeds())
for _ in range(3):
    pid = os.fork()
    if not pid:
        ok = all(same(model.run(case.feeds()), want) for _ in range(3))
        new = rnnrt.load(case.model(), threads=2)  # the first runs of a model use threads, whatever they cost
        ok = ok and same(new.run(case.feeds()), want)
        grand = os.fork()
        if not grand:
            os._exit(0 if same(model.run(case.feeds()), want) else 1)
        ok = ok and os.waitpid(grand, 0)[1] == 0
        os._exit(0 if ok and tasks() == 2 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert same(model.run(case.feeds()), want)
print("done")
""",
        PYTHONWARNINGS="ignore::DeprecationWarning",
    )
    assert out.split() == ["done"]


def test_forks_while_other_threads_run():
    out = python(
        SETUP
        + """
model = rnnrt.load(case.model(), threads=2)
want = model.run(case.feeds())
stop = threading.Event()
def busy():
    while not stop.is_set():
        model.run(case.feeds())
threads = [threading.Thread(target=busy) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(12):
    time.sleep(0.003)
    pid = os.fork()
    if not pid:
        os._exit(0 if same(model.run(case.feeds()), want) else 1)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
print("done")
""",
        PYTHONWARNINGS="ignore::DeprecationWarning",
    )
    assert out.split() == ["done"]


def test_forks_while_other_threads_are_in_the_reference_tier():
    out = python(
        SETUP
        + """
from text_models import parsed
model = rnnrt.load(parsed("(float[N, N] x) => (float y) { y = Det(x) }"))
assert model._plan.count() == {"reference": 1}
x = np.eye(3, dtype=np.float32)
stop = threading.Event()
def busy():
    while not stop.is_set():
        model(x)
threads = [threading.Thread(target=busy) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(10):
    time.sleep(0.002)
    pid = os.fork()
    if not pid:
        import signal
        signal.alarm(10)  # ends a child that hangs
        os._exit(0 if model(x) == 1 else 1)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
print("done")
""",
        PYTHONWARNINGS="ignore::DeprecationWarning",
    )
    assert out.split() == ["done"]


def test_python_threads_share_the_pool_without_deadlock_or_other_answers():
    out = python(
        SETUP
        + """
models = [(rnnrt.load(c.model(), threads=n), c.feeds(), rnnrt.load(c.model()).run(c.feeds()))
          for c in (case, other) for n in (2, 3)]
wrong = []
def work(k):
    for turn in range(40):
        model, feeds, want = models[(k + turn) % len(models)]
        if not same(model.run(feeds), want):
            wrong.append((k, turn))
threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(wrong), "wrong")
""",
        timeout=120,
    )
    assert out.split() == ["0", "wrong"]


def tuned(tuner, runs, cost):
    """Whether each run used threads, where run k takes cost(k, shared) nanoseconds."""
    shares = []
    for k in range(runs):
        shares.append(tuner.shared())
        tuner.took(shares[-1], cost(k, shares[-1]))
    return shares


def test_threads_are_used_where_they_pay_and_now_and_then_tried():
    tuner = program.Tuner()
    slower = tuned(tuner, 3000, lambda k, shared: 10_000 if shared else 1000)
    assert slower[:8] == [True, True, False, True, True, False, True, True]
    assert slower[16:18] == [True, True], "soon once more"
    assert sum(slower[18:800]) in range(10, 14), "ten times slower: after 12 runs, then 24, 48 and so on"
    assert sum(slower[800:]) in range(8, 12), "in the end two runs in 480"
    faster = tuned(tuner, 3000, lambda k, shared: 500 if shared else 1000)
    assert sum(not share for share in faster[1100:]) in range(18, 23), "faster from then on: a run in 96 without"


def test_threads_that_something_held_up_at_first_are_soon_used():
    shares = tuned(program.Tuner(), 200, lambda k, shared: (5000 if k < 8 else 550) if shared else 1000)
    assert all(shares[18:30])
    assert sum(shares[18:]) > 175
    longer = tuned(program.Tuner(), 400, lambda k, shared: (9000 if k < 90 else 550) if shared else 1000)
    assert sum(longer[:90]) < 18
    assert sum(longer[110:]) > 280


def test_workers_that_have_to_be_woken_are_given_a_second_run():
    """The first run with threads after some without takes longer than one without."""
    last = [False]

    def cost(k, shared):
        woken, last[0] = shared and not last[0], shared
        return (6000 if k < 9 else 2000 if woken else 600) if shared else 1000

    shares = tuned(program.Tuner(), 2000, cost)
    assert sum(shares[20:]) > 1900


def test_a_slow_run_now_and_then_changes_nothing():
    def cost(k, shared):
        return 9000 if k % 5 == 1 else 600 if shared else 1000

    shares = tuned(program.Tuner(), 2000, cost)
    assert sum(shares[8:]) > 1800


def test_one_run_that_waited_for_its_processor_changes_nothing():
    shares = tuned(program.Tuner(), 200, lambda k, shared: (100_000 if k == 20 else 600) if shared else 1000)
    assert sum(shares) > 190


def test_threads_that_were_in_the_way_for_a_while_are_soon_used_again():
    """Other work on the machine for 30 runs: after that, threads are left alone for no more than as many."""
    shares = tuned(program.Tuner(), 200, lambda k, shared: (1300 if 20 <= k < 50 else 600) if shared else 1000)
    assert not all(shares[20:50]), "they were slower, and it was seen"
    assert all(shares[80:88])


def test_a_first_run_that_hires_workers_is_no_measure():
    shares = tuned(program.Tuner(), 24, lambda k, shared: 10**9 if k == 0 else 100 if shared else 200)
    assert all(shares[8:16])


def test_an_interrupt_leaves_the_model_usable():
    out = python(
        SETUP
        + """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
long = make("LSTM", T=100, B=16, I=64, H=128, absent=("P", "sequence_lens"))
model = rnnrt.load(long.model(), threads=2)
feeds = long.feeds()
want = model.run(feeds)
main, caught = os.getpid(), 0
for turn in range(5):
    timer = threading.Timer(0.05 + 0.01 * turn, os.kill, (main, signal.SIGINT))
    try:
        timer.start()
        while True:
            model.run(feeds)
    except KeyboardInterrupt:
        caught += 1
    timer.join()
    assert same(model.run(feeds), want)
print(caught)
"""
    )
    assert out.split() == ["5"]


# How many


def test_threads_0_is_what_this_process_may_use(monkeypatch):
    data = parsed(STREAMING, **lstm()).SerializeToString()
    for count in (1, 3):
        monkeypatch.setattr("rnnrt.model.usable", lambda count=count: count)
        assert rnnrt.load(data, threads=0).threads == count


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_threads_0_respects_the_affinity():
    out = python(
        SETUP
        + """
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
model = rnnrt.load(case.model(), threads=0)
model.run(case.feeds())
print(model.threads, tasks() - START)
"""
    )
    assert out.split() == ["1", "0"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_workers_run_where_the_caller_may_but_not_where_it_does():
    out = python(
        SETUP
        + """
known = set(os.listdir("/proc/self/task"))
os.sched_setaffinity(0, allowed := set(sorted(os.sched_getaffinity(0))[:2]))
rnnrt.load(case.model(), threads=2).run(case.feeds())
worker, = set(os.listdir("/proc/self/task")) - known
there = os.sched_getaffinity(int(worker))
rnnrt.load(case.model(), threads=3).run(case.feeds())
print(there <= allowed, len(there), max(len(allowed) - 1, 1), os.sched_getaffinity(int(worker)) == allowed)
"""
    ).split()
    assert out[0] == out[3] == "True", "more workers than other processors may run on all"
    assert out[1] == out[2], "on all but one, if there are more"


@pytest.mark.parametrize("threads", [1, 2, 7, np.int64(2), 10**30])
def test_numbers_of_threads_that_make_sense(threads):
    model = rnnrt.load(parsed(STREAMING, **lstm()), threads=threads)
    assert model.threads == min(threads, 64)
    assert type(model.threads) is int
    zeros = np.zeros((1, 2, 5), np.float32)
    assert model(np.zeros((2, 2, 3), np.float32), zeros, zeros)[0].shape == (2, 1, 2, 5)


@pytest.mark.parametrize("threads", [-1, 1.0, "2", None, True, [1], -(10**30), np.float32(1)])
def test_numbers_of_threads_that_make_none(threads):
    with pytest.raises(InputError, match=r"threads: expected 0 .* or a positive number, got"):
        rnnrt.load(parsed(STREAMING, **lstm()), threads=threads)
