"""Builds the compiled core; everything that is not about C lies in pyproject.toml.

Switches, as environment variables: RNNRT_SANITIZE=1 builds with AddressSanitizer and UndefinedBehaviorSanitizer
(`.ci/sanitize` does, and runs the tests under them); RNNRT_BUILD=avx512 builds only the instruction sets it names, with
commas between, for a quick build while working on one; CC names the compiler, as ever.
"""

import os
import platform
import sys
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

CORE = "rnnrt/_core"
READER = ("fields.pxi", "value_messages.pxi")  # which messages.pyx alone includes
SWEEPS = "sweeps.pxi"  # which facts.pyx alone includes
WINDOWS = ("phases.pxi", "planes.pxi", "tilings.pxi")  # which windows.pyx alone includes
# No -ffast-math: it would flush denormals for the whole process. No contraction: kernels say where a product is fused.
FLAGS = ["-std=gnu11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi", "-g0"]
if os.environ.get("RNNRT_SANITIZE") == "1":
    FLAGS += ["-g", "-O1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"]
    LINK = ["-fsanitize=address,undefined"]
else:
    LINK = ["-Wl,--strip-all"] if sys.platform == "linux" else []

X86 = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"],
    "f64": [],
}
ISA_FLAGS = {
    "x86_64": X86,
    "AMD64": X86,
    "aarch64": {"baseline": [], "neon": [], "f64": []},
    "arm64": {"baseline": [], "neon": [], "f64": []},
}


def machine() -> str:
    """The processor built for, which a cross compiler's user names in _PYTHON_HOST_PLATFORM."""
    return os.environ.get("_PYTHON_HOST_PLATFORM", platform.machine()).split("-")[-1]


def flags_file() -> str:
    """A file that changes when the compiler or its flags do, so that what others built is built anew."""
    path = Path("build/flags")
    text = f"{os.environ.get('CC', 'cc')} {os.environ.get('CFLAGS', '')} {FLAGS} {LINK} {numpy.__version__}\n"
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return str(path)


def unread(module: str, header: str) -> bool:
    """Whether a module certainly does without a header, and need not be built anew when that changes."""
    if module == "messages":
        return header not in READER
    if module == "facts":
        return header != SWEEPS
    if module == "windows":
        return header not in WINDOWS
    if header in (*READER, SWEEPS, *WINDOWS):
        return True
    if module.startswith("ops_"):
        return header.endswith((".pxi", ".pxd"))
    return header.startswith("op_") or (header.startswith("simd_") and not module.startswith("cells_"))


def extension(name: str, flags: list[str], *sources: str) -> Extension:
    """One module of the core; each has a .pyx of its own, so that flags never meet in one object file."""
    headers = [f for f in sorted(os.listdir(CORE)) if f.endswith((".h", ".pxi", ".pxd")) and not unread(name, f)]
    return Extension(
        f"rnnrt._core.{name}",
        [f"{CORE}/{name}.pyx", *(f"{CORE}/{source}" for source in sources)],
        depends=[*(f"{CORE}/{header}" for header in headers), flags_file()],
        include_dirs=[CORE, numpy.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=FLAGS + flags,
        extra_link_args=[*LINK, "-pthread"],
    )


anywhere = {"baseline": [], "f64": []}
sets = ISA_FLAGS.get(machine(), anywhere)
wanted = os.environ.get("RNNRT_BUILD", ",".join(sets)).split(",")
kernels = [
    extension(f"{kind}_{isa}", flags)
    for isa, flags in sets.items()
    for kind in ("cells", "ops")
    if isa in wanted and (kind, isa) != ("ops", "f64")
]
setup(
    ext_modules=cythonize(
        [
            extension("engine", [], "threads.c"),
            *(extension(name, []) for name in ("program", "messages", "facts", "windows")),
            *kernels,
        ],
        compiler_directives={
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
        },
        include_path=[CORE],
    ),
    options={"build_ext": {"parallel": os.cpu_count()}},
)
