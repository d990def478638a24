"""Innkeeper's additions to a definition, kept where Windows keeps them without reading them."""

from __future__ import annotations

import dataclasses
import re
from zoneinfo import ZoneInfo

from innkeeper.schedule.calendar import zone_database
from innkeeper.schedule.xml import forms
from innkeeper.schedule.xml.deviation import Findings
from innkeeper.schedule.xml.element import Element, attribute, read, write
from innkeeper.schedule.xml.markup import render
from innkeeper.schedule.xml.node import Node

#: The namespace of our one element inside a task's ``Data``.
NAMESPACE = "urn:innkeeper:schedule:1"
_PREFIX = "innkeeper"
_NAME = re.compile(r"[^\s,][^,]{0,127}")


def _zone(text: str) -> str:
    if not text:
        raise ValueError("it is empty")
    try:
        return zone_database.find(text).key
    except (KeyError, ValueError, OSError) as problem:  # an unknown key, a path, a directory
        raise ValueError("it is not a time zone such as Europe/Paris") from problem


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not all(_NAME.fullmatch(name) for name in names):
        raise ValueError("it is not a list of calendar names")
    return names


def _take_zone(value: object) -> str:
    return _zone(value.key if isinstance(value, ZoneInfo) else str(value))


def _take_names(value: object) -> tuple[str, ...]:
    return _names(
        value
        if isinstance(value, str)
        else ",".join(value)
        if isinstance(value, list | tuple)
        else str(value)
    )


ZONE = forms.Leaf(parse=_zone, show=str, take=_take_zone)
NAMES = forms.Leaf(parse=_names, show=",".join, take=_take_names)


@dataclasses.dataclass(kw_only=True, slots=True)
class Extension(Element):
    """Innkeeper's additions to a definition: kept in ``Data``, so that the rest stays pure."""

    #: The IANA time zone of local boundaries; the host's where ``None``.
    zone: str | None = attribute("zone", ZONE)
    #: Named calendars on whose days the task does not start.
    exclude: tuple[str, ...] = attribute("exclude", NAMES, default=())
    #: Named calendars on whose days alone it starts; every day where empty.
    include: tuple[str, ...] = attribute("include", NAMES, default=())
    #: A non-zero exit code counts as a failure to start, and is tried again (``RestartOnFailure``).
    restart_on_exit_code: bool = attribute("restartOnExitCode", forms.FLAG, default=False)
    #: Do not go on with the next action after one that failed.
    stop_on_failure: bool = attribute("stopOnFailure", forms.FLAG, default=False)


def is_ours(node: Node) -> bool:
    """Whether a node inside ``Data`` is the extension."""
    return node.namespace == NAMESPACE and node.name == "Schedule"


def parsed(node: Node, findings: Findings) -> Extension:
    """Return the extension of a node."""
    prefixes = dict(findings.prefixes)
    made = read(Extension, node, findings)
    findings.prefixes = prefixes  # our element declares its own
    return made


def markup(extension: Extension) -> str:
    """Return the extension's element, or nothing for an empty extension."""
    tag = write(f"{_PREFIX}:Schedule", extension)
    if not tag.attributes:
        return ""
    return render(dataclasses.replace(tag, attributes={f"xmlns:{_PREFIX}": NAMESPACE, **tag.attributes}))
