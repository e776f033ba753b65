"""Shared fixtures: the folder of real models, the instruction sets, how hard hypothesis tries.

Environment: ``RNNRT_MODELS`` names the folder of models (default ``../shared/models`` beside the repository);
``RNNRT_EXAMPLES`` sets the examples a property test draws, at random instead of always the same.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
MODELS = Path(os.environ.get("RNNRT_MODELS") or ROOT.parent / "shared" / "models")
EXAMPLES = int(os.environ.get("RNNRT_EXAMPLES") or 0)

settings.register_profile(
    "rnnrt",
    max_examples=EXAMPLES or 60,
    derandomize=not EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("rnnrt")


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """The folder of real models; a test that needs it is skipped where it is missing."""
    if not (MODELS / "manifest.json").is_file():
        pytest.skip(f"no models in {MODELS}: set RNNRT_MODELS to their folder")
    return MODELS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `isa` once for every instruction set that is built in and that this CPU has."""
    if "isa" in metafunc.fixturenames:
        engine = pytest.importorskip("rnnrt._core.engine", reason="the core is not built")
        metafunc.parametrize("isa", engine.available())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests recorded with ``record_property("summary", line)``."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for key, line in report.user_properties:
                if key == "summary" and report.when == "call":
                    terminalreporter.write_line(line)
