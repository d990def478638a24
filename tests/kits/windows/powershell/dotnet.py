"""The classes of .NET's that the kit uses, over a directory that stands for the guest's disk."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import random
import uuid
from collections.abc import Callable
from typing import Any, Protocol
from xml.sax.saxutils import escape

from tests.kits.windows.powershell.language import Settable, Static
from tests.kits.windows.powershell.values import (
    ArrayList,
    Char,
    Error,
    Record,
    Table,
    Thrown,
    Unknown,
    Value,
    text,
)

SYSTEM = "S-1-5-18"


class Machine(Protocol):
    """What classes ask the guest."""

    now: dt.datetime
    stdin: bytes
    registry: dict[str, dict[str, Value]]
    owners: dict[str, str]
    is_wow64: bool
    on_sleep: Callable[[], None] | None

    def print(self, words: str) -> None:
        """Take what is written to standard output."""


def io_error(message: str, result: int = -2147024864) -> Thrown:
    """Return the error of a file that another has, or another one."""
    return Thrown(Error("io.ioexception", message, result))


class Files:
    """The disk of the guest, in memory: who has a file open alone, and when each was written by its clock."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.content: dict[str, bytes] = {}
        self.folders: set[str] = set()
        #: Folders that lead elsewhere.
        self.links: set[str] = set()
        self.held: set[str] = set()
        self.times: dict[str, dt.datetime] = {}
        #: How many bytes more find room; ``None`` for any.
        self.free: int | None = None

    def touch(self, path: str) -> None:
        """Note when it was written."""
        self.times[path] = self.machine.now

    def write(self, path: str, data: bytes) -> None:
        """Write a file."""
        assert path.rpartition("/")[0] in self.folders, path
        had = len(self.content.get(path, b""))
        if self.free is not None and len(data) - had > self.free:
            self.content[path], self.free = data[: had + self.free], 0
            raise io_error("There is not enough space on the disk.", -2147024784)
        if self.free is not None:
            self.free -= len(data) - had
        self.content[path] = data
        self.touch(path)

    def children(self, folder: str, *, folders: bool) -> list[str]:
        """Return the paths of what lies in a folder, by name."""
        found = self.folders if folders else self.content
        return sorted(path for path in found if path.rpartition("/")[0] == folder)

    def file(self, name: str, given: list[Value]) -> Value:
        """Call a member of ``System.IO.File``."""
        calls: dict[str, Callable[..., Value]] = {
            "exists()": lambda path: path in self.content,
            "open()": self.open,
            "delete()": self._remove,
            "replace()": self._replace,
            "move()": self._move,
            "readalltext()": lambda path: self.content[path].decode(),
            "readallbytes()": lambda path: self.content[path],
            "getattributes()": lambda path: 0x400 if path in self.links else 0x10,
            "getlastwritetimeutc()": lambda path: self.times[path],
        }
        return calls[name](*given)

    def open(self, path: str, mode: str, access: str, share: str) -> Stream:
        """Open a file as ``File.Open`` does."""
        if path in self.held:
            raise io_error(f"{path} is used by another process")
        if mode == "Open" and path not in self.content:
            raise Thrown(Error("io.filenotfoundexception", f"there is no {path}"))
        if mode == "Create" or path not in self.content:
            self.write(path, b"")
        if share == "None":
            self.held.add(path)
        if access != "Read":
            self.touch(path)
        return Stream(self, path, mode)

    def _remove(self, path: str) -> None:
        data = self.content.pop(path, b"")
        if self.free is not None:
            self.free += len(data)

    def _replace(self, fresh: str, path: str, backup: None) -> None:
        if path not in self.content:
            raise Unknown(f"Replace wants {path}")
        self._remove(path)
        self._take(fresh, path)

    def _move(self, fresh: str, path: str) -> None:
        if path in self.content:
            raise Unknown(f"Move wants no {path}")
        self._take(fresh, path)

    def _take(self, fresh: str, path: str) -> None:
        self.content[path] = self.content.pop(fresh)
        self.touch(path)

    def directory(self, name: str, given: list[Value]) -> Value:
        """Call a member of ``System.IO.Directory``."""
        calls: dict[str, Callable[..., Value]] = {
            "exists()": lambda path: path in self.folders,
            "createdirectory()": self._create,
            "delete()": self._delete,
            "getaccesscontrol()": lambda path: Access(self.machine.owners.get(path, "S-1-5-21-1-1001")),
            "setaccesscontrol()": lambda path, rules: self.machine.owners.update({path: SYSTEM}),
        }
        return calls[name](*given)

    def _create(self, path: str, rules: Value = None) -> Record:
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            part = "/".join(parts[:count])
            if part not in self.folders:
                self.folders.add(part)
                self.machine.owners[part] = SYSTEM
                self.touch(part)
                self.touch(part.rpartition("/")[0])
        return Record("directory", fullname=path)

    def _delete(self, path: str, all_: bool) -> None:
        if any(held.startswith(path + "/") for held in self.held):
            raise io_error(f"{path} is in use")
        self.content = {each: data for each, data in self.content.items() if not each.startswith(path + "/")}
        self.folders = {each for each in self.folders if each != path and not each.startswith(path + "/")}


class Access(Settable):
    """A security descriptor."""

    def __init__(self, owner: str) -> None:
        super().__init__(areaccessrulesprotected=owner == SYSTEM)
        self._owner = owner

    def getowner(self, kind: str) -> Record:
        """Return who owns it."""
        return Record("sid", value=self._owner)


class Rules:
    """A ``DirectorySecurity`` that is made."""

    def setaccessruleprotection(self, is_protected: bool, keep: bool) -> None:
        """Take note of nothing."""

    def setowner(self, who: Value) -> None:
        """Take note of nothing."""

    def addaccessrule(self, rule: Value) -> None:
        """Take note of nothing."""


class Stream:
    """An open file."""

    def __init__(self, files: Files, path: str, mode: str) -> None:
        self._files = files
        self._path = path
        self._at = len(files.content[path]) if mode == "Append" else 0

    def get(self, name: str) -> Value:
        """Return a property."""
        if name.lower() != "length":
            raise Unknown(name)
        return len(self._files.content[self._path])

    def write(self, data: bytes, at: int, count: int) -> None:
        """Write, where it stands."""
        was, part = self._files.content[self._path], bytes(data)[at : at + count]
        self._files.write(self._path, was[: self._at] + part + was[self._at + len(part) :])
        self._at += count

    def seek(self, offset: int, origin: str) -> int:
        """Go somewhere."""
        self._at = offset
        return offset

    def read(self, buffer: bytearray, at: int, count: int) -> int:
        """Read into a buffer."""
        data = self._files.content[self._path][self._at : self._at + count]
        buffer[at : at + len(data)] = data
        return len(data)

    def flush(self, to_disk: bool) -> None:
        """Do nothing."""

    def dispose(self) -> None:
        """Close it."""
        self._files.held.discard(self._path)


class Input:
    """Standard input."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def copyto(self, memory: Memory) -> None:
        """Read all."""
        memory.data += self._data


class Random:
    """A ``System.Random``."""

    def nextbytes(self, buffer: bytearray) -> None:
        """Fill it."""
        buffer[:] = random.randbytes(len(buffer))


class Memory:
    """A ``MemoryStream``."""

    def __init__(self) -> None:
        self.data = b""

    def toarray(self) -> bytes:
        """Return all bytes."""
        return self.data


class Letters:
    """A ``StringBuilder``."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def append(self, letter: str) -> Letters:
        """Add a text."""
        self._parts.append(letter)
        return self

    def appendformat(self, form: str, code: int) -> Letters:
        """Add an escaped letter."""
        if form != "\\u{0:x4}":
            raise Unknown(form)
        self._parts.append(f"\\u{code:04x}")
        return self

    def tostring(self) -> str:
        """Return the whole."""
        return "".join(self._parts)


class Hash:
    """An SHA-256."""

    def computehash(self, data: bytes) -> bytes:
        """Return the digest."""
        return hashlib.sha256(data).digest()

    def dispose(self) -> None:
        """Do nothing."""


class Key:
    """A key of the registry."""

    def __init__(self, values: dict[str, Value]) -> None:
        self._values = values

    def getvalue(self, name: str) -> Value:
        """Return a value, or nothing."""
        return self._values.get(name.lower())

    def setvalue(self, name: str, value: Value) -> None:
        """Set a value."""
        self._values[name.lower()] = value

    def close(self) -> None:
        """Do nothing."""


class Registry:
    """``HKEY_LOCAL_MACHINE``; a volatile key is marked so."""

    def __init__(self, keys: dict[str, dict[str, Value]]) -> None:
        self._keys = keys

    def opensubkey(self, path: str) -> Key | None:
        """Return a key that is there."""
        found = self._keys.get(path.lower())
        return None if found is None else Key(found)

    def createsubkey(self, path: str, check: str = "", options: str = "") -> Key:
        """Return a key, and make it where it is not there."""
        return Key(self._keys.setdefault(path.lower(), {"(volatile)": True} if options == "volatile" else {}))


class Coded:
    """An encoding."""

    def __init__(self, name: str) -> None:
        self._name = name

    def getbytes(self, words: str) -> bytes:
        """Encode."""
        return words.encode(self._name)

    def getstring(self, data: bytes, at: int = 0, count: int | None = None) -> str:
        """Decode."""
        part = bytes(data)[at:] if count is None else bytes(data)[at : at + count]
        return part.decode(self._name, "replace")


def _named(value: Value) -> Static:
    """Return a class whose members are names."""
    return lambda name, given: name if value is None else value


def statics(machine: Machine, files: Files) -> dict[str, Static]:
    """Return all classes."""
    simple: dict[str, dict[str, Callable[..., Value]]] = {
        "environment": {
            "systemdirectory": lambda: "C:/Windows/System32",
            "machinename": lambda: "SRV-1",
            "is64bitoperatingsystem": lambda: True,
            "is64bitprocess": lambda: not machine.is_wow64,
            "getfolderpath()": lambda which: "C:/ProgramData",
            "$env": lambda name: {"processor_architecture": "AMD64"}[name],
        },
        "console": {
            "openstandardinput()": lambda: Input(machine.stdin),
            "out": lambda: Out(machine),
        },
        "text.encoding": {"ascii": lambda: Coded("ascii"), "utf8": lambda: Coded("utf-8")},
        "security.cryptography.sha256": {"create()": Hash},
        "bitconverter": {"tostring()": lambda data: data.hex("-").upper()},
        "convert": {"frombase64string()": base64.b64decode},
        "guid": {"newguid()": Guid},
        "datetime": {
            "utcnow": lambda: machine.now,
            "minvalue": lambda: dt.datetime.min.replace(tzinfo=dt.UTC),
            "specifykind()": lambda time, kind: time,
        },
        "math": {
            "max()": max,
            "min()": min,
            "abs()": abs,
            "floor()": lambda number: int(number // 1),
        },
        "int": {"maxvalue": lambda: 2**31 - 1},
        "double": {"parse()": lambda words, form: float(words)},
        "byte[]": {"new()": bytearray},
        "microsoft.win32.registry": {"localmachine": lambda: Registry(machine.registry)},
        "security.securityelement": {"escape()": lambda words: escape(words, {'"': "&quot;"})},
        "io.fileattributes": {"reparsepoint": lambda: 0x400},
        "nullstring": {"value": lambda: None},
    }
    names = ("microsoft.win32.registryoptions", "microsoft.win32.registrykeypermissioncheck", "datetimekind")
    others: dict[str, Static] = {
        "io.file": files.file,
        "io.directory": files.directory,
        **{name: _named(None) for name in (*names, "globalization.cultureinfo")},
    }
    return others | {name: _static(name, members) for name, members in simple.items()}


def _static(kind: str, members: dict[str, Callable[..., Value]]) -> Static:
    def call(name: str, given: list[Value]) -> Value:
        if name not in members:
            raise Unknown(f"{kind} has no {name}")
        return members[name](*given)

    return call


class Guid:
    """A new identifier."""

    def tostring(self) -> str:
        """Return it as text."""
        return str(uuid.uuid4())


class Out:
    """Standard output."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def write(self, words: str) -> None:
        """Print."""
        self._machine.print(words)


def new_object(name: str, given: list[Value]) -> Any:
    """Return what ``New-Object`` makes of a class."""
    makers: dict[str, Callable[..., Any]] = {
        "system.applicationexception": lambda words: Error("system.applicationexception", words),
        "system.componentmodel.win32exception": lambda code: Record(message=f"Windows has words for {code}."),
        "system.text.stringbuilder": Letters,
        "system.collections.arraylist": ArrayList,
        "system.io.memorystream": Memory,
        "system.random": Random,
        "system.security.accesscontrol.directorysecurity": Rules,
        "system.security.accesscontrol.filesystemaccessrule": lambda *parts: Record("rule"),
        "system.security.principal.securityidentifier": lambda sid: Record("sid", value=sid),
        "datetime": lambda year, month, day, *rest: dt.datetime(year, month, day, tzinfo=dt.UTC),
        "system.diagnostics.processstartinfo": Settable,
    }
    if name.lower() not in makers:
        raise Unknown(f"New-Object {name}")
    return makers[name.lower()](*given)


def whole(value: Value) -> int:
    """Return what ``[int]`` or ``[long]`` makes of a value: halves go to the even."""
    if value is None or value == "":
        return 0
    if isinstance(value, str):
        return ord(value) if isinstance(value, Char) else int(value)
    rounded: int = round(value)
    return rounded


class Format:
    """``[System.IFormattable]``: a number that is printed."""

    def __init__(self, value: Value) -> None:
        if not isinstance(value, (int, float)):
            raise Unknown(f"{value!r} is no number")
        self._value = value

    def tostring(self, form: str, culture: str) -> str:
        """Return its digits."""
        return str(round(self._value))


def casts() -> dict[str, Callable[[Value], Value]]:
    """Return what the types make of a value."""
    return {
        "string": text,
        "int": whole,
        "long": whole,
        "double": lambda value: float(value or 0),
        "bool": bool,
        "byte": int,
        "datetime": lambda value: value,
        "scriptblock": lambda value: value,
        "iformattable": Format,
        "collections.arraylist": ArrayList,
        "hashtable": Table,
    }
