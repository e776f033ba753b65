"""The exception classes of onnxruntime, by name; what the look-alike raises is an instance of them and of rnnrt's."""


class Fail(Exception):
    """General failure."""


class InvalidArgument(Exception):
    """A feed, an output name or a part of the model does not fit."""


class NoSuchFile(Exception):
    """There is no file at the path."""


class NoModel(Exception):
    """No model has been loaded."""


class EngineError(Exception):
    """An error inside an engine."""


class RuntimeException(Exception):
    """A node failed while running."""


class InvalidProtobuf(Exception):
    """The bytes are no ONNX file."""


class ModelLoaded(Exception):
    """A model has been loaded already."""


class NotImplemented(Exception):
    """A node is of a form that cannot be run."""


class InvalidGraph(Exception):
    """The graph is against the ONNX specification."""


class EPFail(Exception):
    """An execution provider failed."""


class ModelLoadCanceled(Exception):
    """Loading was cancelled."""


class ModelRequiresCompilation(Exception):
    """The model has to be compiled first."""


class NotFound(Exception):
    """Something asked for by name is not there."""


class DeviceReset(Exception):
    """A device was lost."""
