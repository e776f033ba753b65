"""The engines compared, one module each, imported only in a process of its own.

A module has ``version() -> str`` and ``open(task) -> Call`` (see `bench.jobs`); each sets the threads asked for,
float32 throughout, and what its documentation advises for latency.
"""

NAMES = ("rnnrt", "onnxruntime", "openvino", "torch")
PEERS = NAMES[1:]
