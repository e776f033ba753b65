"""Loads and runs models that may be wrong in any way, each within fixed time and memory; see test_bad_models.py.

Usage: ``bad_models_worker.py CASES START``. The file CASES holds, for each case, its length (8 bytes, little endian)
and its bytes. One line of JSON per case goes out: how it ended (``ran``, ``refused`` or ``declined`` in loading,
``stopped`` or ``interrupted`` in running, or ``wrong: …``) and the seconds it took. Out of time, the process ends by
SIGPROF; a crash has its own signal.
"""

import json
import math
import os
import resource
import signal
import sys
import time
import traceback

import numpy as np
import onnx.inliner
import onnx.numpy_helper
import onnx.reference  # noqa: F401  (the memory and time of these imports are not a case's)

import rnnrt
from rnnrt.errors import ModelError, RnnrtError, UnsupportedError

SECONDS = 2.0
MEMORY = 512 << 20
MAX_FEED = 1 << 22


def zeros(values):
    """Zeros for all inputs, unnamed and named sizes being 1; None if there are none of a sensible size."""
    feed = {}
    for value in values:
        shape = tuple(d if isinstance(d, int) else 1 for d in value.shape or ())
        dtype = value.dtype
        if dtype is None or math.prod(shape) > MAX_FEED or len(shape) > 32:
            return None
        feed[value.name] = np.full(shape, "", object) if dtype.hasobject else np.zeros(shape, dtype)
    return feed


def outcome(data):
    """How one case ends."""
    try:
        model = rnnrt.load(data)
    except ModelError:
        return "refused"
    except UnsupportedError:
        return "declined"
    feed = zeros(model.inputs)
    if feed is None:
        return "not fed"
    if b"Loop" in data:
        signal.signal(signal.SIGPROF, interrupt)
    try:
        model.run(feed)
    except RnnrtError:
        return "stopped"
    except KeyboardInterrupt:
        return "interrupted"
    return "ran"


def interrupt(*_):
    """A Loop may count to 2^63, as is its right; then it has to let itself be interrupted, and at once."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, 0.5)
    raise KeyboardInterrupt


def attempt(data):
    """`outcome`, with every error that should not be described."""
    try:
        return outcome(data)
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = next((f for f in reversed(frames) if f"{os.sep}rnnrt{os.sep}" in f.filename), frames[-1])
        place = f"{os.path.basename(own.filename)}:{own.lineno} in {own.name}"
        return f"wrong: {type(error).__name__}: {str(error)[:150]} ({place})"


def limit_memory():
    """Allow MEMORY bytes more than what is mapped now; a sanitizer maps terabytes, so nothing is limited then."""
    if "asan" in os.environ.get("LD_PRELOAD", ""):
        return
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))


def main(path, start):
    with open(path, "rb") as file:
        blob = memoryview(file.read())
    cases, position = [], 0
    while position < len(blob):
        size = int.from_bytes(blob[position : position + 8], "little")
        cases.append(blob[position + 8 : position + 8 + size])
        position += 8 + size
    np.seterr(all="ignore")
    attempt(bytes(cases[0]))  # what is imported and cached on first use is not a case's either
    limit_memory()
    for case in cases[start:]:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        before = time.process_time()
        result = attempt(bytes(case))
        seconds = time.process_time() - before
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps([result, round(seconds, 4)]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
