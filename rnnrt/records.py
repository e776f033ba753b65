"""Classes of named fields, as those of :mod:`dataclasses`, which take half a millisecond each to define.

Only what is used here: fields in slots, defaults, ``field(default_factory=...)`` and ``repr``. Each is equal to itself
alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import dataclass as record
    from dataclasses import field
else:

    class field:
        """A field's default that is made anew each time."""

        def __init__(self, default_factory: Callable[[], Any]) -> None:
            self.make = default_factory

    def record(cls: type) -> type:
        """The class with a slot and a parameter of its constructor for each annotated field."""
        body = dict(cls.__dict__)
        names = tuple(cls.__annotations__)
        defaults = {name: body.pop(name) for name in names if name in body}
        for name in ("__dict__", "__weakref__", *names):
            body.pop(name, None)
        parameters = [f"{name}=defaults[{name!r}]" if name in defaults else name for name in names]
        lines = [f"    self.{name} = {_value(name, defaults)}" for name in names]
        made: dict[str, Any] = {}
        exec(f"def __init__(self, {', '.join(parameters)}):\n" + "\n".join(lines), {"defaults": defaults}, made)
        body |= {"__slots__": names, "__init__": made["__init__"], "__match_args__": names}
        body.setdefault("__repr__", _repr)
        return type(cls)(cls.__name__, cls.__bases__, body)


def _value(name: str, defaults: dict[str, Any]) -> str:
    if type(defaults.get(name)) is not field:
        return name
    return f"defaults[{name!r}].make() if {name} is defaults[{name!r}] else {name}"


def fields_of(item: Any) -> dict[str, Any]:
    """The values of a record by name."""
    return {name: getattr(item, name) for name in item.__slots__}


def _repr(self: Any) -> str:
    return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in fields_of(self).items())})"


def replaced(item: T, **changes: Any) -> T:
    """A copy of a record with other values in some fields."""
    return type(item)(**{**fields_of(item), **changes})
