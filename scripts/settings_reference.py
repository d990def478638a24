"""Write the reference of the settings from the classes that read them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import inspect
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from innkeeper.machines.undo.fitness import UndoRules
from innkeeper.machines.undo.memory import MemoryRules
from innkeeper.server.identity.realm_settings import KerberosSettings, LdapSettings, PamSettings
from innkeeper.server.settings import ENVIRONMENT, FakeSettings, Settings, variable_of
from innkeeper.updates.policy import Policy

_HEAD = """# The settings

Written by `scripts/reference.py` from the classes that read them.

The service reads a TOML file: the one that `--config` or `INNKEEPER_CONFIG` names, else
`/etc/innkeeper/innkeeper.toml` for the system's service and `~/.config/innkeeper/innkeeper.toml` for a
user's own. The environment wins over the file, and flags of `innkeeper serve` win over both. An unknown
setting is refused by name.

```toml
socket_group = "libvirt"
hypervisors = ["qemu:///system", "qemu+ssh://host2/system"]

[policy]
slots = 8

[policy.undo]
checksum_max_bytes = 0
```
"""

#: Each table with its name in the file and the class that reads it.
_TABLES: tuple[tuple[str, type], ...] = (
    ("", Settings),
    ("[policy]", Policy),
    ("[policy.undo]", UndoRules),
    ("[policy.memory]", MemoryRules),
    ("[pam]", PamSettings),
    ("[[ldap]]", LdapSettings),
    ("[[kerberos]]", KerberosSettings),
    ("[fake]", FakeSettings),
)
#: Defaults that are worked out when the service starts.
_WORKED_OUT = {
    "state_dir": "`/var/lib/innkeeper`; `~/.local/state/innkeeper` for a user's own",
    "socket": "`/run/innkeeper/innkeeper.sock`; `$XDG_RUNTIME_DIR/innkeeper/innkeeper.sock` for a user's own",
}
_WORDS: dict[object, str] = {
    bool: "`true` or `false`",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    dt.time: "time of day",
}

#: Environment variables that are no setting of the service, by who reads them.
_OTHER_VARIABLES = (
    ("INNKEEPER_CONFIG", "`innkeeper serve`", "The settings file."),
    ("INNKEEPER_SOCKET", "every command, Python", "The socket of the service to talk to."),
    ("INNKEEPER_SERVER", "every command", "The service on another computer, as `HOST[:PORT]`."),
    ("INNKEEPER_CONTEXT", "every command", "The named service to talk to: see `innkeeper context`."),
    ("INNKEEPER_ZONE", "every command", "The time zone to read and show times in."),
    ("INNKEEPER_AGENT_BUNDLE", "the agent's launcher in a guest", "The agent's file."),
)


def settings_reference() -> str:
    """Every setting with its type, its default, its environment variable and its meaning."""
    lines = [_HEAD]
    for title, kind in _TABLES:
        lines += _table(title, kind)
    lines += ["## Other environment variables", "", "| variable | read by | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {reader} | {text} |" for name, reader, text in _OTHER_VARIABLES]
    lines += ["", "Scripts of updates in a guest are given theirs: see [The task agent](agent.md)."]
    return "\n".join(lines) + "\n"


def fields_of(kind: type) -> Iterator[tuple[str, str]]:
    """Each field of a class with the comment above it."""
    comment: list[str] = []
    for line in inspect.getsource(kind).splitlines():
        words = line.strip()
        if words.startswith("#:"):
            comment.append(words.removeprefix("#:").strip())
        elif field := re.match(r"(\w+): ", words):
            yield field[1], " ".join(comment).replace("``", "`")
            comment = []


def _table(title: str, kind: type) -> Iterator[str]:
    """A section: what the table is for, and its settings."""
    top = kind is Settings
    yield f"## `{title}`" if title else "## At the top"
    if not top:
        yield from ("", str(inspect.getdoc(kind)).partition("\n\n")[0].replace("``", "`"))
    yield from ("", f"| setting | type | default |{' environment |' if top else ''} meaning |")
    yield "|---|---|---|---|" + ("---|" if top else "")
    hints = typing.get_type_hints(kind, include_extras=True)
    for name, meaning in fields_of(kind):
        variable = f" `{variable_of(name)}` |" if top and name in ENVIRONMENT else " |" if top else ""
        cells = (f"`{name}`", _type(hints[name], _constraints(kind, name)), _default(kind, name))
        yield f"| {' | '.join(_cell(cell) for cell in cells)} |{variable} {_cell(meaning)} |"
    if top:
        yield from ("", "Lists from the environment are parted by spaces, `INNKEEPER_DISK_ROOTS` by colons.")
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _type(annotation: object, limits: str) -> str:
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        (annotation,) = (each for each in inside if each is not type(None))
        return _type(annotation, limits)
    if origin is typing.Literal:
        return ", ".join(f'`"{each}"`' for each in inside)
    if origin is tuple:
        return f"list of {_plural(inside[0])}"
    if origin is dict:
        return "table of texts"
    if origin is Mapping:
        return f"table of names, each with {_type(inside[1], '')}"
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return ", ".join(f'`"{each.value}"`' for each in annotation)
    for title, kind in _TABLES:
        if annotation is kind:
            return f"table: [`{title}`](#{_anchor(title)})"
    word = _WORDS[annotation]
    return f"{word}, {limits}" if limits else word


def _plural(kind: object) -> str:
    for title, each in _TABLES:
        if kind is each:
            return f"tables: [`{title}`](#{_anchor(title)})"
    return "paths" if kind is Path else "texts"


def _anchor(title: str) -> str:
    """The anchor that the site gives to a table's heading."""
    return title.strip("[]").replace(".", "")


def _constraints(kind: type, name: str) -> str:
    """The bounds of a number, in words."""
    found = _field(kind, name)
    said = {type(each).__name__: each for each in (found.metadata if isinstance(found, FieldInfo) else ())}
    words = [
        f"{word} {getattr(said[limit], limit.lower()):,}".replace(",", " ")
        for limit, word in (("Ge", "at least"), ("Gt", "above"), ("Le", "at most"), ("Lt", "below"))
        if limit in said
    ]
    return ", ".join(words)


def _field(kind: type, name: str) -> FieldInfo | dataclasses.Field[object]:
    if issubclass(kind, BaseModel):
        return kind.model_fields[name]
    return next(field for field in dataclasses.fields(typing.cast("Any", kind)) if field.name == name)


def _default(kind: type, name: str) -> str:
    """A field's default as TOML would have it; nothing where it has none of its own."""
    if kind is Settings and name in _WORKED_OUT:
        return _WORKED_OUT[name]
    field = _field(kind, name)
    if isinstance(field, FieldInfo) and field.is_required():
        return "must be given"
    value: object = field.default
    if isinstance(value, dt.time):
        return f"`{value:%H:%M:%S}`"
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str | int | float | bool):
        return f"`{json.dumps(value)}`"
    if value == ():
        return "`[]`"
    return "none" if value is None else "its own defaults"
