"""Two small models that remember a clue over hundreds of words, and what `rnnrt demo` shows of them."""

from pathlib import Path

KINDS = ("lstm", "gru")


def model_path(kind: str) -> Path:
    """Where the demo's ONNX file of this kind ("lstm" or "gru") is."""
    return Path(__file__).parent / f"{kind}.onnx"
