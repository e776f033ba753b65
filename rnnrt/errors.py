"""The errors that rnnrt raises; each message says what, where, expected, got."""


class RnnrtError(Exception):
    """Base of every error that rnnrt raises on purpose."""


class ModelError(RnnrtError, ValueError):
    """The model itself is wrong: damaged, inconsistent, or against the ONNX specification."""


class UnsupportedError(RnnrtError, NotImplementedError):
    """The model may be right, but rnnrt cannot run it; the message names every node concerned."""


class InputError(RnnrtError, ValueError):
    """A value given by the caller does not fit: a name, a dtype, a shape, or a setting."""
