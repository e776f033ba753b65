"""A session with the interface of onnxruntime's over a `Model`.

The fast path of `InferenceSession.run` is compiled (``RepeatedRun``): a run of the names, dtypes and shapes of the last
one. Any other is a call of the `Model`, which checks all that itself. Only when that refuses a feed is it looked at
here: what onnxruntime would have converted (lists, `OrtValue`) is converted and the run repeated; a model checks its
inputs before it writes anything, so nothing happens twice.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from . import model as _model
from ._core.program import RepeatedRun
from .binding import IOBinding, OrtValue, tensor_type, unwrap
from .errors import InputError, RnnrtError, UnsupportedError
from .graph import Value
from .options import RunOptions, SessionOptions

PROVIDERS = ("CPUExecutionProvider",)


class NodeArg:
    """An input or output: ``name``, ``type`` as ``tensor(float)``, ``shape`` as a list of int, str and None."""

    __slots__ = ("name", "shape", "type")

    def __init__(self, value: Value, dimensions: Mapping[str, int] | None = None) -> None:
        self.name = value.name
        self.type = value.kind if value.dtype is None else tensor_type(value.dtype)
        fixed = dimensions or {}
        self.shape = [fixed.get(dim, dim) if isinstance(dim, str) else dim for dim in value.shape or ()]

    def __repr__(self) -> str:
        return f"NodeArg(name={self.name!r}, type={self.type!r}, shape={self.shape})"


class ModelMetadata:
    """What the file says about itself."""

    __slots__ = (
        "custom_metadata_map",
        "description",
        "domain",
        "graph_description",
        "graph_name",
        "producer_name",
        "version",
    )

    def __init__(self, about: Mapping[str, Any]) -> None:
        self.custom_metadata_map: dict[str, str] = dict(about.get("custom_metadata_map", {}))
        self.version = int(about.get("version", 0))
        for name in ("description", "domain", "graph_description", "graph_name", "producer_name"):
            setattr(self, name, str(about.get(name, "")))


class InferenceSession(RepeatedRun):
    """Run a model through the interface of ``onnxruntime.InferenceSession``.

    Parameters
    ----------
    path_or_bytes
        A path, the bytes of an ONNX file, or an ``onnx.ModelProto``.
    sess_options
        A `SessionOptions`; :mod:`rnnrt.options` says what has an effect.
    providers, provider_options
        Names or (name, options) pairs. There is one provider, the CPU's; any other is warned about and passed over.
    **kwargs
        Other keywords of onnxruntime (``enable_fallback``, ``disabled_optimizers``); without effect.

    Raises
    ------
    ModelError, UnsupportedError
        As :func:`rnnrt.load`.
    """

    def __init__(
        self,
        path_or_bytes: Any,
        sess_options: SessionOptions | None = None,
        providers: Sequence[Any] | None = None,
        provider_options: Sequence[Mapping] | None = None,
        **kwargs: Any,
    ) -> None:
        options = SessionOptions() if sess_options is None else sess_options
        if not isinstance(options, SessionOptions):
            raise TypeError(f"sess_options: expected SessionOptions, got {type(options).__name__}")
        self._options = options
        self._dimensions = options.free_dimensions
        self._provider_options = _check_providers(providers, provider_options)
        try:
            self._model = self._load(path_or_bytes)
            self._check_dimensions()
        except (RnnrtError, OSError) as error:
            raise self._load_error(error, path_or_bytes) from error.__cause__
        self._output_names = tuple(v.name for v in self._model.outputs)
        self._start()

    def _start(self) -> None:
        self._run = self._run_fixed if self._dimensions else self._model._answers
        plain = not (self._dimensions or self._model._opaque)
        self._repeat(self._model._program if plain else None, self._model._input_names, self._output_names)

    @property
    def model(self) -> _model.Model:
        """The `Model` underneath."""
        return self._model

    def run_with_ort_values(
        self,
        output_names: Sequence[str] | None,
        input_dict_ort_values: Mapping[str, OrtValue],
        run_options: RunOptions | None = None,
    ) -> list[OrtValue]:
        """As `run`, with an `OrtValue` for every array."""
        feed = {name: unwrap(value) for name, value in input_dict_ort_values.items()}
        return [OrtValue(value) for value in self.run(output_names, feed, run_options)]

    def io_binding(self) -> IOBinding:
        """An empty binding for `run_with_iobinding`."""
        return IOBinding(tuple(v.name for v in self._model.inputs), self._output_names)

    def run_with_iobinding(self, iobinding: IOBinding, run_options: RunOptions | None = None) -> None:
        """Run on the bound inputs and put the outputs where they are bound."""
        names = list(iobinding.targets)
        if not names:
            raise self._run_error(InputError("io binding: expected at least one bound output, got none"), {})
        outputs = self.run(names, iobinding.inputs, run_options)
        try:
            iobinding.deliver(dict(zip(names, outputs, strict=True)))
        except RnnrtError as error:
            raise self._run_error(error, iobinding.inputs) from None

    def get_inputs(self) -> list[NodeArg]:
        """The model's inputs."""
        return [NodeArg(value, self._dimensions) for value in self._model.inputs]

    def get_outputs(self) -> list[NodeArg]:
        """The model's outputs."""
        return [NodeArg(value, self._dimensions) for value in self._model.outputs]

    def get_overridable_initializers(self) -> list[NodeArg]:
        """Always empty: initializers are constants here."""
        return []

    def get_modelmeta(self) -> ModelMetadata:
        """What the file says about itself."""
        return ModelMetadata(self._model.metadata)

    def get_providers(self) -> list[str]:
        """``["CPUExecutionProvider"]``."""
        return list(PROVIDERS)

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        """The options given with the provider; they have no effect."""
        return {name: dict(self._provider_options) for name in PROVIDERS}

    def set_providers(self, providers: Sequence[Any] | None = None, provider_options: Any = None) -> None:
        """Warn about every provider that is not the CPU's; nothing changes."""
        self._provider_options = _check_providers(providers, provider_options)

    def enable_fallback(self) -> None:
        """Do nothing: there is nothing to fall back from."""

    def disable_fallback(self) -> None:
        """Do nothing: there is nothing to fall back from."""

    def get_session_options(self) -> SessionOptions:
        """The options the session was made with."""
        return self._options

    def end_profiling(self) -> str:
        """The empty string: no profile was written."""
        return ""

    def _load(self, source: Any) -> _model.Model:
        if self._options.optimized_model_filepath:
            path = self._options.optimized_model_filepath
            raise UnsupportedError(f"optimized_model_filepath {path!r}: rnnrt writes no ONNX files")
        if self._options.enable_profiling:
            warnings.warn("enable_profiling: rnnrt writes no profile; end_profiling returns ''", stacklevel=3)
        return _model.load(source, threads=max(self._options.intra_op_num_threads, 1))

    def _check_dimensions(self) -> None:
        for name, size in self._dimensions.items():
            if size < 0:
                raise InputError(f"free dimension {name!r}: expected a size of at least 0, got {size}")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_run"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()

    def _run_in_full(self, names: Any, feed: Any, options: RunOptions | None) -> list[Any]:
        """A run as any other: the first one, one of other shapes, or one that is refused."""
        if isinstance(names, str) or not (options is None or isinstance(options, RunOptions)):
            got = f"{names!r}" if isinstance(names, str) else type(options).__name__
            raise TypeError(f"run: expected (list of names or None, dict, RunOptions or None), got {got}")
        names = list(names or self._output_names)
        if options is not None and options.terminate:
            raise self._run_error(RnnrtError("run: stopped before it began, as RunOptions.terminate is set"), feed)
        for name in names:
            if name not in self._output_names:
                error = InputError(f"output {name!r}: expected one of {', '.join(self._output_names)}")
                raise self._run_error(error, None)
        try:
            outputs = self._run(feed)
        except Exception as error:
            outputs = self._run_again(feed, error)
        return [outputs[self._output_names.index(name)] for name in names]

    def _run_fixed(self, feed: Mapping[str, Any]) -> list[Any]:
        """Run, with the dimensions fixed by the options checked first."""
        for value in self._model.inputs:
            got = getattr(feed.get(value.name), "shape", None)
            if got is not None and value.shape is not None and len(got) == len(value.shape):
                want = [self._dimensions.get(d, d) if isinstance(d, str) else d for d in value.shape]
                if any(isinstance(w, int) and w != g for w, g in zip(want, got, strict=True)):
                    shape = ", ".join("?" if w is None else str(w) for w in want)
                    raise InputError(f"input {value.name!r}: expected ({shape}), got {got}")
        return self._model._answers(feed)

    def _run_again(self, feed: Any, error: Exception) -> list[Any]:
        """Convert what can be converted and run once more, or raise what `error` comes to."""
        if not isinstance(feed, Mapping):
            raise TypeError(f"input_feed: expected a dict of arrays, got {type(feed).__name__}") from None
        converted = self._converted(feed)
        if converted is not None:
            try:
                return self._run(converted)
            except RnnrtError as second:
                error, feed = second, converted
        self._refuse(feed, error)

    def _refuse(self, feed: Any, error: Exception) -> NoReturn:
        """Raise what an error of a run comes to."""
        if isinstance(error, RnnrtError):
            raise self._run_error(error, feed) from error.__cause__
        raise error

    def _converted(self, feed: Mapping[str, Any]) -> dict[str, Any] | None:
        """The feed with lists, scalars, OrtValues and foreign byte orders made arrays; None if there are none."""
        declared = {value.name: value for value in self._model.inputs}
        result = {}
        for name, given in feed.items():
            value = unwrap(given)
            want = declared[name].dtype if name in declared else None
            if isinstance(value, np.ndarray):
                value = value if value.dtype.isnative else value.astype(value.dtype.newbyteorder("="))
            elif want is not None and isinstance(value, (list, tuple, bool, int, float, complex, str, np.generic)):
                value = _as_array(name, value, want)
            result[name] = value
        return result if any(result[name] is not feed[name] for name in feed) else None

    def _load_error(self, error: Exception, source: Any) -> Exception:
        """What to raise for an error of loading; the look-alike module refines it."""
        return error

    def _run_error(self, error: Exception, feed: Any) -> Exception:
        """What to raise for an error of running; the look-alike module refines it."""
        return error


_KINDS = "biufcUO"
"""NumPy's kinds of element, each of which may stand where a later one is wanted: no list is rounded on its way in."""


def _as_array(name: str, value: Any, dtype: np.dtype) -> np.ndarray:
    """A list or scalar as an array of the declared dtype; a NumPy scalar keeps its own, and may be refused."""
    try:
        array = np.asarray(value)
        if isinstance(value, np.generic):
            return array
        if _KINDS.find(array.dtype.kind) > _KINDS.find(dtype.kind):
            raise TypeError(f"{array.dtype} would lose its value")
        return np.asarray(value, dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"input {name!r}: expected values of {dtype}, got {value!r:.60} ({error})") from None


def _check_providers(providers: Any, provider_options: Any) -> dict[str, str]:
    """Warn about providers other than ours; return the options given with ours."""
    if providers is not None and (isinstance(providers, str) or not isinstance(providers, Sequence)):
        raise InputError(f"providers: expected a list of names, got {providers!r}")
    options: dict[str, str] = {}
    for k, entry in enumerate(providers or ()):
        name, own = entry if isinstance(entry, (tuple, list)) and len(entry) == 2 else (entry, {})
        if not isinstance(name, str):
            raise InputError(f"providers: expected names or (name, options) pairs, got {entry!r}")
        if name not in PROVIDERS:
            warnings.warn(f"provider {name!r} is not available here; {PROVIDERS[0]} runs the model", stacklevel=3)
            continue
        if provider_options is not None and k < len(provider_options):
            own = provider_options[k]
        options = {str(key): str(value) for key, value in dict(own).items()}
    return options
