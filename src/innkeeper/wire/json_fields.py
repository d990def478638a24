"""Typed getters for JSON objects, whose errors name the key and the path to it.

``get_int(order, "size")`` is an integer or a ``JsonError`` that says ``disks[2].size is missing.``
A getter for nested values takes the function that reads one: ``get_list(plan, "disks", read_disk)``.
"""

from __future__ import annotations

import base64
import datetime as dt
import enum
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from innkeeper.errors import JsonError, NewerVersion
from innkeeper.wire.events import Json

T = TypeVar("T")
V = TypeVar("V")
E = TypeVar("E", bound=enum.Enum)

#: An object of JSON.
JsonObject = Mapping[str, Json]

_VERSION: Final = "version"


# Values: the path to them is known to the caller


def as_object(value: Json) -> JsonObject:
    """The value as an object. Raises ``JsonError``."""
    if isinstance(value, Mapping):
        return value
    raise _unexpected("an object", value)


def as_str(value: Json) -> str:
    """The value as text. Raises ``JsonError``."""
    if isinstance(value, str):
        return value
    raise _unexpected("text", value)


def as_int(value: Json) -> int:
    """The value as an integer. Raises ``JsonError``."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _unexpected("an integer", value)


def as_float(value: Json) -> float:
    """The value as a number. Raises ``JsonError``."""
    return value if isinstance(value, float) else float(as_int(value))


def as_bool(value: Json) -> bool:
    """The value as true or false. Raises ``JsonError``."""
    if isinstance(value, bool):
        return value
    raise _unexpected("true or false", value)


def as_list(value: Json, item: Callable[[Json], T]) -> tuple[T, ...]:
    """The value as a list, each item read by ``item``. Raises ``JsonError``."""
    if not isinstance(value, list):
        raise _unexpected("a list", value)
    return tuple(_at(f"[{number}]", item, each) for number, each in enumerate(value))


def as_row(value: Json, *lengths: int) -> tuple[Json, ...]:
    """The value as a list of one of these lengths, the items as they are. Raises ``JsonError``."""
    row = as_list(value, lambda item: item)
    if len(row) not in lengths:
        raise JsonError(f"has {len(row)} items instead of {' or '.join(map(str, lengths))}")
    return row


# Fields of an object


def get(of: JsonObject, key: str, read: Callable[[Json], T]) -> T:
    """The field, read by ``read``. Raises ``JsonError`` where it is missing or not what it should be."""
    if key not in of:
        raise JsonError("is missing", path=key)
    return _at(key, read, of[key])


def get_or(of: JsonObject, key: str, read: Callable[[Json], T], default: T) -> T:
    """As ``get``; ``default`` where the field is missing or null."""
    return default if of.get(key) is None else get(of, key, read)


def get_optional(of: JsonObject, key: str, read: Callable[[Json], T]) -> T | None:
    """As ``get``; ``None`` where the field is missing or null."""
    return get_or(of, key, read, None)


def get_object(of: JsonObject, key: str) -> JsonObject:
    """The field as an object."""
    return get(of, key, as_object)


def get_str(of: JsonObject, key: str) -> str:
    """The field as text."""
    return get(of, key, as_str)


def get_int(of: JsonObject, key: str) -> int:
    """The field as an integer."""
    return get(of, key, as_int)


def get_float(of: JsonObject, key: str) -> float:
    """The field as a number."""
    return get(of, key, as_float)


def get_bool(of: JsonObject, key: str) -> bool:
    """The field as true or false."""
    return get(of, key, as_bool)


def get_list(of: JsonObject, key: str, item: Callable[[Json], T]) -> tuple[T, ...]:
    """The field as a list, each item read by ``item``."""
    return get(of, key, lambda value: as_list(value, item))


def get_strs(of: JsonObject, key: str) -> tuple[str, ...]:
    """The field as a list of texts."""
    return get_list(of, key, as_str)


def get_enum(of: JsonObject, key: str, kind: type[E]) -> E:
    """The field as a member of an enumeration, by its value."""
    return get(of, key, lambda value: _converted(kind, value, kind.__name__))


def get_enum_name(of: JsonObject, key: str, kind: type[E]) -> E:
    """The field as a member of an enumeration, by its name."""
    return get(of, key, lambda value: _converted(lambda name: kind[name], as_str(value), kind.__name__))


def get_moment(of: JsonObject, key: str) -> dt.datetime:
    """The field as a point in time, written as in ISO 8601."""
    return get(of, key, lambda value: _converted(dt.datetime.fromisoformat, as_str(value), "a point in time"))


def get_bytes(of: JsonObject, key: str) -> bytes:
    """The field as bytes, written in base 64."""
    return get(of, key, lambda value: _converted(base64.b64decode, as_str(value), "bytes in base 64"))


# Versions


def refuse_newer(of: JsonObject, newest: int) -> int:
    """The version that an object was written in; one without a version is of release 0.1.0, and 0.

    Raises ``NewerVersion`` where it is above ``newest``, the last one that this code reads.
    """
    version = get_or(of, _VERSION, as_int, 0)
    if version > newest:
        raise NewerVersion(version=version, newest=newest)
    return version


# Machinery


def _unexpected(wanted: str, value: Json) -> JsonError:
    return JsonError(f"is {_NAMES.get(type(value), 'an object')} instead of {wanted}")


_NAMES: Mapping[type, str] = {
    str: "text",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    list: "a list",
    type(None): "null",
}


def _converted(convert: Callable[[V], T], value: V, wanted: str) -> T:
    try:
        return convert(value)
    except (ValueError, KeyError) as exc:
        raise JsonError(f"is {value!r}, which is not {wanted}") from exc


def _at(place: str, read: Callable[[Json], T], value: Json) -> T:
    """Read one value; an error is told with the place it is at."""
    try:
        return read(value)
    except JsonError as error:
        raise error.within(place) from error.__cause__
