"""How the exported models are kept: one folder an exporter, with the models, their answers and a manifest.

    <exporter>/<case>.onnx      the model, without the exporter's notes on the source it came from
    <exporter>/answers.npz      <case>.<k>.in.<name> and <case>.<k>.out.<name> for each recorded call k; for streams
                                also <case>.stream.in.<name>, .out.<name> (frames on axis 0) and .state.<name> (final)
    <exporter>/manifest.json    versions; the cases, with what a test expects of them; the failures, with their errors

The answers are the framework's own, computed eagerly; the exported model has no part in them.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
EXPORTERS = ("torchscript", "dynamo", "tf2onnx")
TOLERANCE = {"float16": 4e-3, "float32": 1e-5, "float64": 1e-10}


@dataclass
class Record:
    """One stored model.

    ``error_node`` is the node that a loader has to blame where the exporter wrote a model that is wrong, else None.
    After the ``calls`` that come out right there are the inputs of ``refused`` ones: sizes that the model declares and
    then cannot do. ``states`` are the {input: output} pairs that carry state; None where that is a matter of opinion.
    """

    name: str
    inputs: list[str]
    outputs: list[str]
    calls: int
    dtype: str = "float32"
    refused: int = 0
    states: dict[str, str] | None = None
    frames: int = 0
    error_node: str | None = None
    note: str = ""


@dataclass
class Failure:
    """A case that an exporter could not do: at export, or in a model that is invalid or answers something else."""

    case: str
    stage: str
    error: str


@dataclass
class Corpus:
    """All that one exporter made."""

    exporter: str
    versions: dict[str, str]
    cases: list[Record] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    answers: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the models are."""
        return HERE / self.exporter

    def path(self, case: str) -> Path:
        """Where the model of `case` is."""
        return self.folder / f"{case}.onnx"

    def arrays(self, case: str, what: str) -> dict[str, np.ndarray]:
        """The arrays of `case` whose key starts with `what` (``0.in``, ``1.out``, ``stream.state``), by name."""
        prefix = f"{case}.{what}."
        return {key[len(prefix) :]: value for key, value in self.answers.items() if key.startswith(prefix)}

    def keep(self, record: Record, calls, stream=None) -> None:
        """Add a case: `calls` is a list of (inputs, outputs), `stream` a triple (inputs, outputs, final states)."""
        assert record.name not in {r.name for r in self.cases}
        self.cases.append(record)
        calls = [*calls[: record.calls], *((inputs, {}) for inputs, _ in calls[record.calls :][: record.refused])]
        parts = {f"{k}.{side}": call[i] for k, call in enumerate(calls) for i, side in enumerate(("in", "out"))}
        if stream is not None:
            parts |= {f"stream.{side}": stream[i] for i, side in enumerate(("in", "out", "state"))}
        for what, arrays in parts.items():
            self.answers.update({f"{record.name}.{what}.{name}": np.asarray(a) for name, a in arrays.items()})

    def save(self) -> None:
        """Write the manifest and the answers, and drop the files of cases that are no more."""
        known = {r.name for r in self.cases}
        for file in self.folder.glob("*.onnx"):
            if file.stem not in known:
                file.unlink()
        np.savez_compressed(self.folder / "answers.npz", **self.answers)
        manifest = {
            "versions": self.versions,
            "cases": [asdict(r) for r in self.cases],
            "failures": [asdict(f) for f in self.failures],
        }
        (self.folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        write_readme()

    def summary(self) -> str:
        """What there is and what failed, as Markdown."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        wrong = sum(r.error_node is not None for r in self.cases)
        lines = [f"## {self.exporter}", "", f"{versions}: {len(self.cases)} models", ""]
        if wrong:
            lines[-2] += f", {wrong} of them wrong and kept to be refused"
        if self.failures:
            lines += ["| failed | at | error |", "|---|---|---|"]
        cell = lambda text: text.replace("|", "\\|").replace("\n", " ")  # noqa: E731
        lines += [f"| {f.case} | {f.stage} | {cell(f.error)} |" for f in self.failures]
        return "\n".join(lines) + "\n"


def load(exporter: str) -> Corpus:
    """What is stored for `exporter`."""
    manifest = json.loads((HERE / exporter / "manifest.json").read_text())
    with np.load(HERE / exporter / "answers.npz") as answers:
        return Corpus(
            exporter,
            manifest["versions"],
            [Record(**r) for r in manifest["cases"]],
            [Failure(**f) for f in manifest["failures"]],
            dict(answers),
        )


README = """\
# Models as exporters write them

Small recurrent models, each with inputs and with the outputs that the framework itself computed, eagerly, in the
model's type. `corpus.py` says how they are kept; `make_pytorch.py` and `make_tf2onnx.py` make them and this page.
Each model was also run by ONNX Runtime (by `onnx.reference` where that cannot) before it was kept. Weights are random,
with a seed by case.

- **torchscript** is `torch.onnx.export(..., dynamo=False)`, **dynamo** `torch.onnx.export(..., dynamo=True)`,
  **tf2onnx** `tf2onnx.convert.from_function` over Keras layers.
- Names: layer, number of layers, `bi`(directional), `first` (batch first), `given` (state given), `fixed` (shapes of
  the example only); `stream_…` are nets that carry state, `net_…` nets that do not.
- Documentation strings and metadata (the exporters' stack traces) are removed; nothing else is changed.
- The newer PyTorch exporter is run in a process of its own for each case: within one process it refused, after another
  export, a changing time axis that it takes in a fresh one.
- What an exporter could not do is in the tables: *export*, it raised an error; *check* and *run*, nothing can open or
  run what it wrote; *answer*, what it wrote computes something else.

"""


def write_readme() -> None:
    """The page that says what is here, from all manifests."""
    made = [load(exporter).summary() for exporter in EXPORTERS if (HERE / exporter / "manifest.json").exists()]
    (HERE / "README.md").write_text(README + "\n".join(made))


def root_error(error: BaseException) -> str:
    """Type and first line (two where the first says nothing) of what an exception goes back to, without paths."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()
    line = " ".join(lines[: 1 + lines[0].endswith("tracing:")]) if lines else ""
    line = re.sub(r"(?<![\w/:])(?:/[\w.+-]+)+/([\w.+-]+)", r"\1", line)
    return f"{type(error).__name__}: {line[:320]}".strip().rstrip(":")


def strip(path: Path) -> None:
    """Remove documentation strings and metadata (stack traces with paths); nothing of what is computed."""
    import onnx

    def clean(graph) -> None:
        graph.doc_string = ""
        del graph.metadata_props[:]
        for item in (*graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
            item.doc_string = ""
            del item.metadata_props[:]
        for node in graph.node:
            for attribute in node.attribute:
                attribute.doc_string = ""
                for sub in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                    clean(sub)

    model = onnx.load(path)
    model.doc_string = ""
    del model.metadata_props[:]
    clean(model.graph)
    for function in model.functions:
        function.doc_string = ""
        del function.metadata_props[:]
        for node in function.node:
            node.doc_string = ""
            del node.metadata_props[:]
    onnx.save(model, path)


def onnxruntime_engine(path: Path):
    """The model in ONNX Runtime, quiet."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def reference_engine(path: Path):
    """The model, checked, in the evaluator that comes with onnx."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    return ReferenceEvaluator(model)


def disagreement(path: Path, calls, dtype: str) -> tuple[str, int, str]:
    """Run an exported model on another engine and compare with the framework's answers.

    Returns
    -------
    (stage, k, error)
        ``("", n, "")`` if all n calls agree; else ``"check"`` where no engine takes the model, ``"run"`` where none can
        run call `k`, ``"answer"`` where call `k` comes out different.
    """
    verdict = None
    for make in (onnxruntime_engine, reference_engine):
        try:
            engine = make(path)
        except Exception as error:
            verdict = verdict or ("check", 0, root_error(error))
            continue
        for k, (inputs, outputs) in enumerate(calls):
            try:
                got = engine.run(list(outputs), dict(inputs))
            except Exception as error:
                verdict = verdict or ("run", k, root_error(error))
                break
            if difference := compare(outputs, got, TOLERANCE[dtype]):
                return "answer", k, difference
        else:
            return "", len(calls), ""
    return verdict


def compare(wanted: dict[str, np.ndarray], got: list[np.ndarray], tolerance: float) -> str:
    """What is different about `got`, empty if nothing is."""
    for (name, want), have in zip(wanted.items(), got, strict=True):
        if have.shape != want.shape:
            return f"output {name!r} has shape {have.shape}, not {want.shape}"
        if not np.allclose(have, want, rtol=tolerance, atol=tolerance):
            worst = np.abs(have.astype(np.float64) - want).max()
            return f"output {name!r} differs by {worst:.2g}"
    return ""
