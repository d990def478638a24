"""Operators of PowerShell, and members of its values."""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
import struct
from collections.abc import Callable
from typing import Any

from tests.kits.windows.powershell.values import (
    ArrayList,
    Char,
    ComObject,
    Error,
    Record,
    Table,
    Unknown,
    Value,
    as_list,
    is_collection,
    same,
    text,
)


def binary(word: str, one: Value, other: Value, assign: Callable[[str, Value], None]) -> Value:
    """Return what an operator makes of two values."""
    if word in _SIMPLE:
        return _SIMPLE[word](one, other)
    if word in ("-match", "-notmatch", "-cmatch"):
        return _match(word, one, other, assign)
    raise Unknown(f"the operator {word}")


def add(one: Value, other: Value) -> Value:
    """Return a sum: texts and lists are joined to."""
    if one is None:
        return list(other) if isinstance(other, list) else other
    if isinstance(one, str):
        return one + text(other)
    if isinstance(one, list):
        return [*one, *as_list(other)]
    return one + other


def is_of(value: Value, kind: str) -> bool:
    """Return what ``-is`` says."""
    kinds: dict[str, Callable[[Value], bool]] = {
        "bool": lambda v: isinstance(v, bool),
        "string": lambda v: isinstance(v, str),
        "collections.idictionary": lambda v: isinstance(v, Table),
        "collections.ienumerable": lambda v: isinstance(v, (list, tuple, str, Table)),
        "management.automation.pscustomobject": lambda v: isinstance(v, Record) and v.kind == "json",
    }
    if kind in kinds:
        return kinds[kind](value)
    if isinstance(value, Error):
        return value.kind.removeprefix("system.") == kind
    raise Unknown(f"the type {kind}")


def element(holder: Value, key: Value) -> Value:
    """Return an element; beyond the end there is nothing."""
    if holder is None:
        raise Unknown("an element of nothing")
    if isinstance(holder, Table):
        return holder[key]
    if isinstance(holder, (list, tuple, bytes)):
        return holder[key] if -len(holder) <= key < len(holder) else None
    raise Unknown(f"an element of {holder!r}")


def member(holder: Value, name: str) -> Value:
    """Return a property; nothing has none."""
    low = name.lower()
    if holder is None:
        return 0 if low == "count" else None
    if isinstance(holder, Table):
        return len(holder) if low == "count" and not holder.has(name) else holder[name]
    if isinstance(holder, (Record, ComObject)) or hasattr(holder, "get"):
        return holder.get(name)
    if isinstance(holder, Error):
        return getattr(holder, low)
    return _plain(holder, low)


def _plain(holder: Value, low: str) -> Value:
    if isinstance(holder, (list, tuple, bytes, bytearray, str)) and low in ("count", "length"):
        return len(holder)
    if isinstance(holder, list) and low not in ("count", "length"):
        # A member of a list is the list of its members'.
        return [value for value in (member(each, low) for each in holder) if value is not None]
    if isinstance(holder, dt.timedelta) and low == "totalseconds":
        return holder.total_seconds()
    if isinstance(holder, int) and low == "count":
        return 1
    raise Unknown(f"{holder!r} has no {low}")


def method(holder: Value, name: str, arguments: list[Value]) -> Value:
    """Call a method."""
    low = name.lower()
    if isinstance(holder, str):
        return _STRING[low](holder, *arguments)
    if isinstance(holder, ArrayList) and low == "add":
        holder.append(*arguments)
        return len(holder) - 1
    if isinstance(holder, Table):
        return _table_method(holder, low, arguments)
    if isinstance(holder, dt.datetime):
        return _time_method(holder, low, arguments)
    if isinstance(holder, ComObject):
        return holder.get(name)(*arguments)
    found = getattr(holder, low, None)
    if found is None:
        raise Unknown(f"{holder!r} has no method {name}")
    return found(*arguments)


def _table_method(holder: Table, low: str, arguments: list[Value]) -> Value:
    if low == "containskey":
        return holder.has(arguments[0])
    if low == "getenumerator":
        return [Record(key=key, value=value) for key, value in holder.items()]
    if low == "remove":
        holder.pop(arguments[0], None)
        return []
    raise Unknown(f"a table has no method {low}")


def _time_method(holder: dt.datetime, low: str, arguments: list[Value]) -> Value:
    units = {"addseconds": "seconds", "addmilliseconds": "milliseconds", "adddays": "days"}
    if low in units:
        return holder + dt.timedelta(**{units[low]: arguments[0]})
    if low in ("touniversaltime", "tolocaltime"):
        return holder
    raise Unknown(f"a time has no method {low}")


_STRING: dict[str, Callable[..., Any]] = {
    "substring": lambda s, at, count=None: s[at:] if count is None else s[at : at + count],
    "tochararray": lambda s: [Char(chr(unit)) for (unit,) in struct.iter_unpack("<H", s.encode("utf-16-le"))],
    "trim": lambda s, letters=None: s.strip(letters),
    "startswith": lambda s, start: s.startswith(start),
    "lastindexof": lambda s, part: s.rfind(part),
    "split": lambda s, part: s.split(part),
    "replace": lambda s, old, new: s.replace(old, new),
    "tolowerinvariant": lambda s: s.lower(),
}


def _replace(one: Value, other: Value) -> str:
    pattern, new = (*other, "")[:2] if isinstance(other, list) else (other, "")
    return re.sub(
        pattern, re.sub(r"\$(\d)", r"\\g<\1>", new.replace("\\", "\\\\")), text(one), flags=re.IGNORECASE
    )


def _match(word: str, one: Value, other: Value, assign: Callable[[str, Value], None]) -> bool:
    found = re.search(other.replace(r"\z", r"\Z"), text(one), flags=0 if word == "-cmatch" else re.IGNORECASE)
    if found is not None and word == "-match":
        assign("matches", Table({at: found.group(at) for at in range(1 + found.re.groups)}))
    return (found is None) == (word == "-notmatch")


def _format(pattern: Value, values: Value) -> str:
    given = values if isinstance(values, list) else [values]

    def part(found: re.Match[str]) -> str:
        value, form = given[int(found.group(1))], found.group(2)
        if form in ("X8", "x4"):
            wide = int(form[1])
            return format(int(value) & (16**wide - 1), f"0{wide}{form[0]}")
        if form == "yyyy-MM-ddTHH:mm:ss":
            return str(value.strftime("%Y-%m-%dT%H:%M:%S"))
        if form:
            raise Unknown(f"the form {form}")
        return text(value)

    return re.sub(r"\{(\d)(?::([^}]*))?\}", part, text(pattern))


def _contains(one: Value, other: Value, *, case: bool = False) -> bool:
    return any(same(each, other, case=case) for each in ([] if one is None else as_list(one)))


def _like(one: Value, other: Value) -> bool:
    pattern = text(other).lower().replace("[", "[[]")
    return fnmatch.fnmatchcase(text(one).lower(), pattern)


def _less(one: Value, other: Value) -> bool:
    if isinstance(one, (int, float)) or isinstance(other, (int, float)):
        return bool((one or 0) < (other or 0))
    # Nothing comes before everything.
    return other is not None if one is None else other is not None and bool(one < other)


def _compared(one: Value, other: Value) -> Value:
    """``-eq``: of a list, those that are equal."""
    if isinstance(one, list) or is_collection(one):
        return [each for each in one if same(each, other)]
    return same(one, other)


_SIMPLE: dict[str, Callable[[Value, Value], Value]] = {
    "-eq": _compared,
    "-ne": lambda one, other: not same(one, other) if not isinstance(one, list) else _refuse(),
    "-ceq": lambda one, other: same(one, other, case=True),
    "-cne": lambda one, other: not same(one, other, case=True),
    "-gt": lambda one, other: _less(other, one),
    "-lt": _less,
    "-ge": lambda one, other: not _less(one, other),
    "-le": lambda one, other: not _less(other, one),
    "-like": _like,
    "-notlike": lambda one, other: not _like(one, other),
    "-contains": _contains,
    "-notcontains": lambda one, other: not _contains(one, other),
    "-cnotcontains": lambda one, other: not _contains(one, other, case=True),
    "-replace": _replace,
    "-split": lambda one, other: re.split(other, text(one)),
    "-join": lambda one, other: text(other).join(map(text, as_list(one))),
    "-band": lambda one, other: int(one or 0) & int(other),
    "-f": _format,
    "+": add,
    "-": lambda one, other: one - other,
    "*": lambda one, other: one * other,
    "/": lambda one, other: one / other,
}


def _refuse() -> bool:
    raise Unknown("a list is compared")
