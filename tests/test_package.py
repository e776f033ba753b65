"""What is installed: an import that costs little, stubs that agree with the module, a wheel without sources."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import make_operators
import onnx
import pytest
from small_models import gru_model

import rnnrt
from rnnrt import schema
from rnnrt._core import engine

ROOT = Path(__file__).resolve().parent.parent

# --------------------------------------------------------------------------------------------------------------- import


def modules_after(statement: str) -> set[str]:
    """Names of the modules that `statement` imports in a fresh interpreter that has NumPy already."""
    before = "import json, sys, numpy; before = set(sys.modules)"
    program = f"{before}; {statement}; print(json.dumps(sorted(set(sys.modules) - before)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_import_brings_the_core_and_little_else():
    found = modules_after("import rnnrt")
    own = {name for name in found if name.split(".")[0] == "rnnrt"}
    core = {"rnnrt._core", "rnnrt._core.engine", f"rnnrt._core.cells_{rnnrt.cpu()['in_use']}"}
    assert own == {"rnnrt", "rnnrt.errors", *core}
    others = {name for name in found - own if name.split(".")[0] not in sys.stdlib_module_names}
    assert {name for name in others if not re.match(r"_?cython", name)} == set()
    assert len(found) < 20, sorted(found)


@pytest.mark.parametrize("name", ["Model", "Stream", "InferenceSession"])
def test_classes_come_without_onnx(name):
    found = {module.split(".")[0] for module in modules_after(f"import rnnrt; rnnrt.{name}")}
    assert found.isdisjoint({"onnx", "google", "typer", "click", "rich"})


def test_a_model_is_opened_and_run_without_onnx(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(gru_model().SerializeToString())
    feeds = "{'x': numpy.zeros((4, 2, 3), 'f4'), 'h': numpy.zeros((1, 2, 5), 'f4'), 'k': numpy.array(1)}"
    found = modules_after(f"import rnnrt; rnnrt.load({str(path)!r}).run({feeds})")
    assert {module.split(".")[0] for module in found}.isdisjoint({"onnx", "google", "ml_dtypes"})


def test_operators_are_those_of_onnx():
    """What is written down is what the package says, in the version that it was written from."""
    newest = onnx.IR_VERSION, onnx.defs.onnx_opset_version()
    if newest != schema.newest_versions():
        pytest.skip(f"operators.txt was written from {schema.newest_versions()}, onnx here has {newest}")
    assert make_operators.FILE.read_text() == make_operators.text()


def test_public_names():
    assert set(rnnrt.__all__) <= set(dir(rnnrt))
    for name in rnnrt.__all__:
        assert getattr(rnnrt, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Lstm'"):
        _ = rnnrt.Lstm


def test_the_version_is_that_of_the_package():
    text = (ROOT / "pyproject.toml").read_text()
    assert re.search(r'^version = "(.+)"$', text, re.MULTILINE).group(1) == rnnrt.__version__
    assert f"## [{rnnrt.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


# ---------------------------------------------------------------------------------------------------------------- stubs

STUB = ast.parse((ROOT / "rnnrt" / "_core" / "engine.pyi").read_text())


def parameters(node: ast.FunctionDef) -> list[tuple[str, str, str]]:
    """Name, kind and default of each parameter of a stub's function."""
    a = node.args
    defaults = [None] * (len(a.args) - len(a.defaults)) + a.defaults
    plain = [(x.arg, "POSITIONAL_OR_KEYWORD", d) for x, d in zip(a.args, defaults, strict=True)]
    named = [(x.arg, "KEYWORD_ONLY", d) for x, d in zip(a.kwonlyargs, a.kw_defaults, strict=True)]
    return [(name, kind, "" if d is None else repr(ast.literal_eval(d))) for name, kind, d in plain + named]


def runtime_parameters(function: object) -> list[tuple[str, str, str]]:
    found = inspect.signature(function).parameters.values()
    return [(p.name, p.kind.name, "" if p.default is p.empty else repr(p.default)) for p in found]


def public(names: object) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def test_stub_names_what_the_module_has():
    written: set[str] = set()
    for node in STUB.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            written.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            written.add(node.target.id)
    found = {n for n in public(vars(engine)) if not inspect.ismodule(getattr(engine, n))}
    imported = {"InputError", "ModelError", "UnsupportedError", "import_module", "find_spec"}
    assert public(written) == found - imported


def test_stub_functions_agree():
    functions = [node for node in STUB.body if isinstance(node, ast.FunctionDef)]
    assert functions
    for node in functions:
        assert parameters(node) == runtime_parameters(getattr(engine, node.name)), node.name


@pytest.mark.parametrize(
    "node", [n for n in STUB.body if isinstance(n, ast.ClassDef) and n.name == "Recurrent"], ids=["Recurrent"]
)
def test_stub_classes_agree(node):
    cls = getattr(engine, node.name)
    written = {n.name: n for n in node.body if isinstance(n, ast.FunctionDef)}
    attributes = {n.target.id for n in node.body if isinstance(n, ast.AnnAssign)}
    assert public(vars(cls)) == public(written) | attributes
    for name in public(written):
        assert parameters(written[name]) == runtime_parameters(getattr(cls, name)), name
    # Cython writes a constructor's signature into the first line of the docstring.
    header = re.match(rf"{node.name}\((.*)\)", cls.__doc__).group(1)
    names = [re.split(r"\s*=", part)[0].split()[-1] for part in header.split(", ") if part != "*"]
    assert names == [name for name, _, _ in parameters(written["__init__"])[1:]]


def test_the_package_is_typed():
    assert (ROOT / "rnnrt" / "py.typed").exists()


def test_typing_examples_name_what_there_is():
    """The examples are for a type checker; this finds the names that a checker not at hand would."""
    tree = ast.parse((ROOT / "tests" / "typing_examples.py").read_text())
    modules = {"rnnrt": rnnrt, "ort": importlib.import_module("rnnrt.onnxruntime")}
    used = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id in modules
    ]
    assert len(used) > 20
    for n in used:
        assert hasattr(modules[n.value.id], n.attr), f"{n.value.id}.{n.attr}"


# ------------------------------------------------------------------------------------------------------ what is shipped


def test_a_wheel_holds_no_sources_and_is_small():
    path = os.environ.get("RNNRT_WHEEL")
    if not path:
        pytest.skip("no wheel: set RNNRT_WHEEL to one, as .ci/run does")
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
    assert Path(path).stat().st_size < 3_000_000
    assert [n for n in names if n.endswith((".pyx", ".pxi", ".pxd", ".c", ".h"))] == []
    assert {Path(n).parts[0] for n in names} == {"rnnrt", f"rnnrt-{rnnrt.__version__}.dist-info"}
    for wanted in (
        "rnnrt/py.typed",
        "rnnrt/operators.txt",
        "rnnrt/_core/engine.pyi",
        "rnnrt/demo/",
        ".dist-info/licenses/LICENSE",
    ):
        assert any(wanted in n for n in names), wanted
    assert len([n for n in names if n.startswith("rnnrt/demo/") and n.endswith(".onnx")]) == 2
    kernels = {f"{kind}_{isa}" for kind in ("cells", "ops") for isa in rnnrt.cpu()["built"]}
    assert {Path(n).name.split(".")[0] for n in names if n.endswith(".so")} == {
        "engine",
        "facts",
        "messages",
        "program",
        "windows",
        "cells_f64",
        *kernels,
    }


@pytest.mark.parametrize("name", ["demo", "tests"])
def test_readme_commands_are_single_lines(name):
    block = re.search(rf"<!-- command: {name} -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    (line,) = block.group(1).splitlines()
    assert line.startswith("python3 -m venv ")
