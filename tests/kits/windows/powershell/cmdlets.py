"""Commands of PowerShell's own that the kit uses."""

from __future__ import annotations

import datetime as dt
import json

from tests.kits.windows.powershell.dotnet import Files, Machine, new_object
from tests.kits.windows.powershell.language import Block, Command, Given, Interpreter
from tests.kits.windows.powershell.operators import member
from tests.kits.windows.powershell.values import (
    Error,
    Record,
    Thrown,
    Unknown,
    Value,
    as_list,
    collapsed,
    truth,
)

Named = dict[str, Value]


def commands(machine: Machine, files: Files) -> dict[str, Command]:
    """Return them by name."""

    def get_date(
        interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]
    ) -> list[Value]:
        return [machine.now]

    def sleep(interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]) -> list[Value]:
        if machine.on_sleep is not None:
            machine.on_sleep()
        machine.now += dt.timedelta(
            seconds=named.get("seconds", 0), milliseconds=named.get("milliseconds", 0)
        )
        return []

    def children(
        interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]
    ) -> list[Value]:
        _expect(named, "literalpath", "directory", "file")
        found = files.children(named["literalpath"], folders="directory" in named)
        return [
            Record(name=path.rpartition("/")[2], fullname=path, lastwritetimeutc=files.times[path])
            for path in found
        ]

    return {
        "join-path": _join,
        "where-object": _where,
        "foreach-object": _each,
        "sort-object": _sort,
        "select-object": _select,
        "new-object": _new,
        "convertfrom-json": _from_json,
        "get-date": get_date,
        "start-sleep": sleep,
        "get-childitem": children,
    }


def _expect(named: Named, *names: str) -> None:
    if not named.keys() <= set(names):
        raise Unknown(f"the parameters {sorted(named)}")


def _join(interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]) -> list[Value]:
    base, name = given
    return [f"{base}/{name}".replace("\\", "/")]


def _where(interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]) -> list[Value]:
    (block,) = given
    return [each for each in piped if truth(collapsed(interpreter.call_block(block, each)))]


def _each(interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]) -> list[Value]:
    (block,) = given
    return [value for each in piped for value in interpreter.call_block(block, each)]


def _sort(interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]) -> list[Value]:
    _expect(named, "descending")
    by: list[Value] = as_list(given[0]) if given else []

    def key(item: Value) -> list[Value]:
        return [
            collapsed(interpreter.call_block(each, item)) if isinstance(each, Block) else member(item, each)
            for each in by
        ]

    return sorted(piped, key=key if by else None, reverse="descending" in named)


def _select(interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]) -> list[Value]:
    _expect(named, "first", "last", "skip")
    if "skip" in named:
        return piped[named["skip"] :]
    return piped[: named["first"]] if "first" in named else piped[-named["last"] :]


def _new(interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]) -> list[Value]:
    if "comobject" in named:
        return interpreter.call("new-comobject", [named["comobject"]], {}, [])
    name, *rest = given
    arguments = list(rest[0]) if rest and isinstance(rest[0], Given) else rest
    return [new_object(name, arguments)]


def _from_json(interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]) -> list[Value]:
    (words,) = given
    if not words:
        return [None]
    try:
        return [_object(json.loads(words))]
    except ValueError as exc:
        raise Thrown(Error("argumentexception", str(exc))) from None


def _object(value: Value) -> Value:
    if isinstance(value, dict):
        return Record("json", **{name: _object(each) for name, each in value.items()})
    return [_object(each) for each in value] if isinstance(value, list) else value
