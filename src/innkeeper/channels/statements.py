"""Read what a guest says into values, once, and believe none of it beyond its bounds."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping

from innkeeper.channels.ports import (
    AgentHello,
    AgentTask,
    AgentTerminated,
    GuestMessage,
    GuestOutput,
    PackageChange,
    Preparation,
    PreparationState,
    ScheduleDeleted,
    ScheduleRequested,
    TaskStateChanged,
    UpdateStatus,
)
from innkeeper.wire.guest_facts import Ability
from innkeeper.wire.session import VERSION

MAX_CONTEXT_BYTES = 64 * 1024
MAX_NAME_CHARS = 255
MAX_TEXT_CHARS = 2000
MAX_PACKAGES = 5000
MAX_TASKS = 64
MAX_ABILITIES = 64
MAX_ITEMS = 4096
MAX_CHECKS = 256
MAX_AWAY_SECONDS = 3600
_MAX_OFFSET = (1 << 53) - 1
#: No clock of a guest is taken to show a later time.
_LATEST = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)

#: The states an agent may report; the others are the host's own.
_AGENT_STATES = frozenset(UpdateStatus) - {UpdateStatus.UNKNOWN, UpdateStatus.TIMEOUT}


class Unbelievable(ValueError):
    """The guest said what no agent says."""


class OtherVersion(Unbelievable):
    """The agent speaks another version of the protocol: no lie, but no session either."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """A message that the guest sends again until it is answered."""

    #: The boot in which it was written, and its number there.
    boot_id: str
    seq: int
    message: GuestMessage


def read_hello(response: Mapping[str, object]) -> AgentHello:
    """Parse the agent's HELLO message."""
    reader = Reader(response)
    version = reader.number("protocol", 0, 1 << 16)
    if version != VERSION:
        raise OtherVersion(f"it speaks version {version} of the protocol, not {VERSION}")
    return AgentHello(
        agent_version=reader.text("agent_version", 64),
        boot_id=reader.name("boot_id"),
        plugin_name=reader.text("plugin_name", MAX_NAME_CHARS),
        os_name=reader.text("os_name", MAX_NAME_CHARS),
        tasks=tuple(read_task(task) for task in reader.items("tasks", MAX_TASKS)),
        max_streams=0 if said_nothing(response, "channels") else reader.number("channels", 0, 1 << 16),
        knows=_read_abilities(reader, response),
        away_seconds=0 if said_nothing(response, "away_seconds") else _read_away(reader),
    )


def _read_away(reader: Reader) -> int:
    """How long it may be away; what a guest claims beyond the bound is not waited for."""
    return min(reader.number("away_seconds", 0, _MAX_OFFSET), MAX_AWAY_SECONDS)


def _read_abilities(reader: Reader, response: Mapping[str, object]) -> frozenset[Ability]:
    """The agent's abilities: unknown ones of a newer agent are ignored, and an old agent names none."""
    named = () if said_nothing(response, "knows") else reader.texts("knows", MAX_ABILITIES)
    return frozenset(Ability(name) for name in named if name in list(Ability))


def read_task(response: object) -> AgentTask:
    """Read what the agent's journal says of one update; without packages there are none."""
    reader = Reader(response)
    percent = None if said_nothing(response, "percent") else reader.number("percent", 0, 100)
    packages = () if said_nothing(response, "packages") else reader.items("packages", MAX_PACKAGES)
    return AgentTask(
        identifier=reader.name("identifier"),
        status=_read_status(reader),
        percent=percent,
        text=reader.text("text", MAX_TEXT_CHARS),
        packages=tuple(_read_package(package) for package in packages),
        unchanged=not said_nothing(response, "unchanged") and reader.truth("unchanged"),
    )


def read_preparation(response: object) -> Preparation:
    """Read how far the preparation of an update is."""
    reader = Reader(response)
    state = reader.text("state", MAX_NAME_CHARS)
    if state not in list(PreparationState):
        raise Unbelievable("a preparation is in no state that there is")
    output = reader.items("output", MAX_ITEMS)
    return Preparation(
        state=PreparationState(state),
        text=reader.text("text", MAX_TEXT_CHARS),
        packages=tuple(_read_package(package) for package in reader.items("packages", MAX_PACKAGES)),
        output=tuple(clean(line, MAX_TEXT_CHARS) for line in output),
        offset=reader.number("offset", 0, _MAX_OFFSET),
    )


def read_task_of(response: object, identifier: str) -> AgentTask:
    """Read what the agent's journal says of the update that was asked for; another's is no answer."""
    task = read_task(response)
    if task.identifier != identifier:
        raise Unbelievable("it reports another update than the one that was asked for")
    return task


def read_notice(response: Mapping[str, object]) -> Notice:
    """Read a message that must be answered."""
    reader = Reader(response)
    read = _NOTICES.get(reader.text("tell", 64))
    if read is None:
        raise Unbelievable("it gives notice of something unknown")
    return Notice(
        boot_id=reader.name("boot_id"), seq=reader.number("seq", 1, (1 << 53) - 1), message=read(reader)
    )


def read_told(response: Mapping[str, object]) -> GuestMessage:
    """Read a message that may be lost: progress or output."""
    reader = Reader(response)
    kind = reader.text("tell", 64)
    if kind == "output":
        return GuestOutput(identifier=reader.name("identifier"), text=reader.text("text", MAX_TEXT_CHARS))
    if kind == "progress":
        return TaskStateChanged(task=read_task(response))
    raise Unbelievable("it tells something unknown")


def read_may_reach(response: Mapping[str, object]) -> bool:
    """Read whether channels may reach a port."""
    return Reader(response).truth("allowed")


def said_nothing(response: object, name: str) -> bool:
    """Whether the object has no such member, or null."""
    return isinstance(response, dict) and response.get(name) is None


def clean_sentence(response: object) -> str:
    """Return a refusal's text, fit to be shown to a person."""
    return clean(response, 500)


def _read_schedule(reader: Reader) -> ScheduleRequested:
    return ScheduleRequested(
        label=reader.text("label", MAX_NAME_CHARS),
        identifier=reader.name("identifier"),
        context=reader.data("context", MAX_CONTEXT_BYTES),
        start=reader.time("start") or dt.datetime.fromtimestamp(0, dt.UTC),
        end=reader.time("end"),
        deadline=reader.time("deadline"),
    )


#: How to read each kind of notice.
_NOTICES: Mapping[str, Callable[[Reader], GuestMessage]] = {
    "schedule": _read_schedule,
    "delete_schedule": lambda reader: ScheduleDeleted(identifier=reader.name("identifier")),
    "task_state": lambda reader: TaskStateChanged(task=read_task(reader.member("task"))),
    "terminated": lambda reader: AgentTerminated(hresult=reader.number("hresult", 0, (1 << 32) - 1)),
}


def _read_status(reader: Reader) -> UpdateStatus:
    status = reader.number("status", 0, 8)
    if status not in _AGENT_STATES:
        raise Unbelievable(f"it reports state {status}, which is the host's to give")
    return UpdateStatus(status)


def _read_package(response: object) -> PackageChange:
    if not isinstance(response, list) or len(response) != 3:
        raise Unbelievable("a package is not name, old and new version")
    name, old, new = (clean(part, MAX_NAME_CHARS) for part in response)
    return PackageChange(name=name, old_version=old, new_version=new)


def clean(text: object, most: int) -> str:
    """Cut a text to its bound, and take out what would act on a terminal or break an encoding."""
    if not isinstance(text, str):
        raise Unbelievable("a text is none")
    return "".join(
        c if c.isprintable() else " " if c in "\t\r\n" else "\N{REPLACEMENT CHARACTER}" for c in text[:most]
    )


class Reader:
    """Takes members out of one JSON object, each with its type and bounds."""

    def __init__(self, response: object) -> None:
        if not isinstance(response, dict):
            raise Unbelievable("an object is none")
        self._said: dict[str, object] = response

    def member(self, name: str) -> object:
        """Any value, which must be there."""
        if name not in self._said:
            raise Unbelievable(f"{name} is missing")
        return self._said[name]

    def text(self, name: str, most: int) -> str:
        """A text, cut and cleaned."""
        return clean(self.member(name), most)

    def name(self, name: str) -> str:
        """A text that names something: it is taken whole or not at all."""
        value = self.member(name)
        if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_CHARS or not value.isprintable():
            raise Unbelievable(f"{name} is not 1 to {MAX_NAME_CHARS} printable characters")
        return value

    def number(self, name: str, least: int, most: int) -> int:
        """A whole number within its bounds."""
        value = self.member(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise Unbelievable(f"{name} is not a number from {least} to {most}")
        return value

    def truth(self, name: str) -> bool:
        """True or false."""
        value = self.member(name)
        if not isinstance(value, bool):
            raise Unbelievable(f"{name} is neither true nor false")
        return value

    def time(self, name: str) -> dt.datetime | None:
        """Seconds since 1970; 0 is none."""
        seconds = self.number(name, 0, int(_LATEST.timestamp()))
        return dt.datetime.fromtimestamp(seconds, dt.UTC) if seconds else None

    def data(self, name: str, most: int) -> bytes:
        """Bytes, as base64."""
        value = self.member(name)
        if not isinstance(value, str) or len(value) > most * 4 // 3 + 4:
            raise Unbelievable(f"{name} has more than {most} bytes")
        try:
            data = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise Unbelievable(f"{name} is no base64") from None
        if len(data) > most:
            raise Unbelievable(f"{name} has more than {most} bytes")
        return data

    def items(self, name: str, most: int) -> list[object]:
        """A list of at most so many."""
        value = self.member(name)
        if not isinstance(value, list) or len(value) > most:
            raise Unbelievable(f"{name} is not a list of at most {most}")
        return value

    def texts(self, name: str, most: int) -> list[str]:
        """A list of texts."""
        return [clean(item, MAX_NAME_CHARS) for item in self.items(name, most)]

    def mapping(self, name: str, most: int) -> list[tuple[str, object]]:
        """An object's members, at most so many."""
        value = self.member(name)
        if not isinstance(value, dict) or len(value) > most:
            raise Unbelievable(f"{name} is not an object of at most {most}")
        return list(value.items())
