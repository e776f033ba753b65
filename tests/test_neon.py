"""The NEON kernels: right under an emulator, where there is a cross compiler and qemu."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.mark.parametrize("program", ["harness", "operators"])
def test_kernels_under_an_emulator(program, record_property):
    missing = [tool for tool in ("aarch64-linux-gnu-gcc", "qemu-aarch64") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"NEON not checked: no {' and no '.join(missing)} (Debian: gcc-aarch64-linux-gnu, qemu-user)")
    done = subprocess.run([HERE / "neon" / "run.sh", program], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    record_property("summary", f"NEON under qemu: {done.stdout.splitlines()[-1]}")
