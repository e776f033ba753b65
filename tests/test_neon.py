"""The C half of kernels and operators without Python: for NEON under an emulator, and here under sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def checked(program: str, **environment: str) -> str:
    """The last line of a program of tests/neon that found nothing wrong."""
    run = HERE / "neon" / "run.sh"
    environment = {**os.environ, **environment}
    done = subprocess.run([run, program], capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("program", ["harness", "operators"])
def test_neon_under_an_emulator(program, record_property):
    missing = [tool for tool in ("aarch64-linux-gnu-gcc", "qemu-aarch64") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"NEON not checked: no {' and no '.join(missing)} (Debian: gcc-aarch64-linux-gnu, qemu-user)")
    record_property("summary", f"NEON under qemu: {checked(program)}")


@pytest.mark.parametrize("program", ["harness", "operators"])
def test_plain_code_under_sanitizers(program, record_property, tmp_path):
    """Of two compilers clang's sanitizer sees more: offsets to NULL."""
    sanitizers = "-O0 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
    (tmp_path / "empty.c").write_text("int main(void) { return 0; }\n")
    for compiler in ("clang", "gcc", "cc"):
        command = [compiler, *sanitizers.split(), "empty.c", "-o", "empty"]
        if shutil.which(compiler) and subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0:
            break
    else:
        pytest.skip("operators not sanitized: no compiler here has AddressSanitizer and UndefinedBehaviorSanitizer")
    line = checked(program, SIMD="simd_baseline.h", CC=compiler, CFLAGS=sanitizers, RUN="")
    record_property("summary", f"Sanitized by {compiler}: {line}")
