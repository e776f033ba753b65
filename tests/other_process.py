"""What a test runs in another process: in a module that one finds too, by pytest's `pythonpath`."""

from __future__ import annotations


def answer(model, given, pipe) -> None:
    """Run a model and send what it says."""
    pipe.send(model.run(given))
    pipe.close()
