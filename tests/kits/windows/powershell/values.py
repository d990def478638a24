"""Values of PowerShell: tables, objects, lists, and how they become one another."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

#: Anything that PowerShell may hold.
Value = Any


class Unknown(Exception):
    """The kit uses what these tests do not know."""


class Thrown(Exception):
    """An error of PowerShell's: what ``catch`` takes."""

    def __init__(self, error: Error, error_id: str = "", line: int = 0) -> None:
        super().__init__(f"line {line}: {error.message}")
        self.error = error
        self.error_id = error_id
        self.line = line


class Error:
    """An exception of .NET's."""

    def __init__(self, kind: str, message: str, code: int = -2146233088) -> None:
        self.kind = kind
        self.message = message
        self.hresult = code
        self.innerexception = None


class Table(dict[Any, Value]):
    """A hashtable: keys that are texts are found in any case."""

    def _key(self, key: Value) -> Value:
        if isinstance(key, str):
            return next(
                (known for known in self if isinstance(known, str) and known.lower() == key.lower()), key
            )
        return key

    def __getitem__(self, key: Value) -> Value:
        return super().get(self._key(key))

    def __setitem__(self, key: Value, value: Value) -> None:
        super().__setitem__(self._key(key), value)

    def has(self, key: Value) -> bool:
        """Whether there is such a member."""
        return self._key(key) in self


class Record:
    """An object with properties, found in any case; what it does not have is nothing."""

    def __init__(self, kind: str = "", **properties: Value) -> None:
        self.kind = kind
        self.properties = {name.lower(): value for name, value in properties.items()}

    def get(self, name: str) -> Value:
        """Return a property."""
        return self.properties.get(name.lower())


class ComObject:
    """A COM object of the guest's: properties and methods in any case, and no other."""

    def get(self, name: str) -> Value:
        """Return a property or a method."""
        found = next((known for known in dir(self) if known.lower() == name.lower()), None)
        if found is None or found.startswith("_"):
            raise Unknown(f"{type(self).__name__} has no {name}")
        return getattr(self, found)

    def set(self, name: str, value: Value) -> None:
        """Set a property."""
        self.get(name)
        setattr(self, next(known for known in dir(self) if known.lower() == name.lower()), value)


class Char(str):
    """One letter, which is a number too."""


class ArrayList(list[Value]):
    """A list that grows, as against an array."""


def as_list(values: Value) -> list[Value]:
    """Return what a pipeline is given by one value: lists are taken apart once, tables and texts are not."""
    if isinstance(values, (list, tuple)) or is_collection(values):
        return list(values)
    return [values]


def is_collection(value: Value) -> bool:
    """Whether this is a collection of COM's."""
    return isinstance(value, ComObject) and hasattr(value, "__iter__")


def collapsed(outputs: list[Value]) -> Value:
    """Return what a variable gets of a pipeline's outputs."""
    if not outputs:
        return None
    return outputs[0] if len(outputs) == 1 else list(outputs)


def truth(value: Value) -> bool:
    """Return what an ``if`` makes of a value."""
    if isinstance(value, (list, tuple)) and not isinstance(value, (bytes, bytearray)):
        return truth(value[0]) if len(value) == 1 else bool(value)
    if isinstance(value, Table):
        return True
    return bool(value)


def text(value: Value) -> str:
    """Return a value as text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, (list, tuple)):
        return " ".join(map(text, value))
    if isinstance(value, (Table, Record, ComObject, dt.datetime)):
        raise Unknown(f"{value!r} is made a text")
    return str(value)


def same(one: Value, other: Value, *, case: bool = False) -> bool:
    """Return what ``-eq`` says: the right side is made what the left one is."""
    if one is None or other is None:
        return one is other
    if isinstance(one, str):
        other = text(other)
        return bool(one == other if case else one.lower() == other.lower())
    if isinstance(one, int) and isinstance(other, str):
        return other.strip().lstrip("-").isdigit() and one == int(other)
    return bool(one == other)


def members(value: Value) -> Iterator[Value]:
    """Yield what a ``foreach`` goes through."""
    if value is not None:
        yield from as_list(value)
