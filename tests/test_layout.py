"""Order of reading is order of data: a module imports only what lies before it; and no file holds two concepts."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The flow from an ONNX file to answers and those who ask for them. A package stands for all of its modules; "" is rnnrt
# itself, the names a user sees: only those after it may use it as a user does.
BUILDING_BLOCKS = ("errors", "processors", "collector", "records", "_core", "graph")
READING = ("wire", "external", "tensors", "schema", "onnx_graph", "onnx_file")
OPERATORS_AND_REWRITES = ("ops", "control", "rewrite", "shared", "native", "recurrent", "states", "pointwise")
PLANNING = (*OPERATORS_AND_REWRITES, "folded", "bind", "plan")
RUNNING = ("model", "ragged", "describe", "profile", "stream")
COMPATIBILITY = ("options", "binding", "session", "onnxruntime", "backend")
USERS = ("demo", "cli", "__main__")
ORDER = (*BUILDING_BLOCKS, *READING, *PLANNING, *RUNNING, *COMPATIBILITY, "", *USERS)
EARLIER = {name: place for place, name in enumerate(ORDER)}

LATER = {
    ("model", "stream"): "Model.stream makes a Stream, which holds a Model",
    ("model", "ragged"): "Model.run_ragged is written in a file of its own",
    ("model", "profile"): "Model.profile is written in a file of its own",
    ("model", "describe"): "Model.describe is written in a file of its own",
}
"""Imports of what comes later, inside a function; nothing else may be imported against the flow."""

LAZY = {
    ("model", "states"): "which values carry state is found when it is asked for",
    ("cli", "cli"): "the entry point says what to install where the extra `cli` is missing",
    ("cli", "demo"): "other commands start without the demo",
    ("cli", ""): "other commands start without the demo",
    ("cli", "options"): "an engine is imported when it is opened",
    ("cli", "session"): "an engine is imported when it is opened",
}
"""Imports inside a function along the flow; elsewhere imports stand at the top."""

LONGER: dict[str, str] = {}
"""Files that may exceed the limit, and why."""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_of(path): path for path in sorted((ROOT / "rnnrt").rglob("*.py")) if "__pycache__" not in path.parts}
CORE = {f"rnnrt._core.{path.stem}" for path in (ROOT / "rnnrt" / "_core").glob("*.pyx")}


def stage(module: str) -> str:
    """The part of the flow that a module belongs to: ``rnnrt.ops.conv`` to ``ops``."""
    return module.split(".")[1] if "." in module else ""


def targets(node: ast.Import | ast.ImportFrom, module: str) -> Iterator[str]:
    """The modules of rnnrt that an import statement names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "rnnrt")
        return
    base = node.module or ""
    if node.level:
        package = module.split(".") if SOURCES[module].name == "__init__.py" else module.split(".")[:-1]
        base = ".".join([*package[: len(package) + 1 - node.level], *([base] if base else [])])
    if base.split(".")[0] == "rnnrt":
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            yield inner if inner in SOURCES or inner in CORE else base


def imports(module: str) -> Iterator[tuple[str, bool]]:
    """What a module imports from rnnrt, and whether inside a function; not what only a type checker sees."""

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, (ast.Import, ast.ImportFrom)):
                yield from ((target, inside) for target in targets(child, module))
            yield from walk(child, inside or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)))

    return walk(ast.parse(SOURCES[module].read_text()), False)


def test_every_module_has_its_place():
    assert {stage(module) for module in SOURCES} == set(EARLIER)


@pytest.mark.parametrize("module", SOURCES)
def test_imports_follow_the_data(module):
    own = stage(module)
    for target, inside in imports(module):
        to = stage(target)
        if module == "rnnrt":
            assert to in ("_core", "errors"), "import rnnrt loads the core and the errors alone"
        elif inside:
            assert (own, to) in LATER or (EARLIER[to] <= EARLIER[own] and (own, to) in LAZY), (
                f"{module} imports {target} lazily"
            )
        else:
            assert EARLIER[to] <= EARLIER[own], f"{module} imports {target}, which comes later"


def test_exceptions_are_in_use():
    found = {(stage(m), stage(target)) for m in SOURCES for target, inside in imports(m) if inside}
    assert found == set(LATER) | set(LAZY)


def test_the_core_knows_nothing_of_models():
    for path in (ROOT / "rnnrt" / "_core").glob("*.p[yx]*"):
        for target in re.findall(r"^(?:from|import)\s+(rnnrt[\w.]*)", path.read_text(), re.MULTILINE):
            assert stage(target) in ("_core", "errors"), f"{path.name} imports {target}"


def test_no_two_modules_need_each_other():
    needs = {m: {t for t, inside in imports(m) if not inside and t in SOURCES} - {m, "rnnrt"} for m in SOURCES}
    # `from . import a, b` in a package's own __init__ is no circle: its modules name one another, not the package.
    while needs:
        free = [m for m, wanted in needs.items() if not wanted & needs.keys()]
        assert free, f"these need each other: {', '.join(sorted(needs))}"
        for m in free:
            del needs[m]


def committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_is_too_long():
    sources = [path for path in committed() if path.suffix in {".py", ".pyi", ".pyx", ".pxi", ".pxd", ".c", ".h"}]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources}
    assert lengths
    assert {name: n for name, n in lengths.items() if n > 400 and name not in LONGER} == {}
    assert all(lengths.get(name, 0) > 400 for name in LONGER), "an exception that none needs"


def test_the_top_level_is_fixed():
    allowed = {"rnnrt", "tests", "bench", ".ci", "setup.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"}
    tools = {".gitignore", ".clang-format", "MANIFEST.in"}
    assert {path.relative_to(ROOT).parts[0] for path in committed()} <= allowed | tools
