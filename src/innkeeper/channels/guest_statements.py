"""Parsers of a guest's answers about itself, its users and parameters; nothing in them is trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from innkeeper.channels.statements import Reader, Unbelievable, said_nothing
from innkeeper.wire.guest_facts import (
    MAX_PARAMETER_NAME,
    MAX_PARAMETER_VALUE,
    MAX_PARAMETERS,
    MAX_SESSIONS,
    GuestFacts,
    GuestParameter,
    LogonSession,
    WaitingUpdate,
)
from innkeeper.wire.text import plain_text

_MAX_FACT = 200
_MAX_UPDATES = 2000
_MAX_REVISION = (1 << 53) - 1


def read_facts(message: object) -> GuestFacts:
    """Parse the guest's facts."""
    reader = Reader(message)
    return GuestFacts(
        computer_name=reader.text("computer_name", _MAX_FACT),
        os_id=reader.text("os_id", _MAX_FACT),
        os_name=reader.text("os_name", _MAX_FACT),
        version=reader.text("version", _MAX_FACT),
        version_id=reader.text("version_id", _MAX_FACT),
        variant=reader.text("variant", _MAX_FACT),
        kernel_release=reader.text("kernel_release", _MAX_FACT),
        kernel_version=reader.text("kernel_version", _MAX_FACT),
        architecture=reader.text("architecture", _MAX_FACT),
    )


def read_sessions(message: object) -> Sequence[LogonSession]:
    """Parse who is logged on."""
    return tuple(_read_session(each) for each in Reader(message).items("sessions", MAX_SESSIONS))


def read_updates(message: object) -> Sequence[WaitingUpdate]:
    """Parse the updates that wait."""
    return tuple(_read_update(each) for each in Reader(message).items("updates", _MAX_UPDATES))


def read_count(message: object) -> int:
    """Parse the number of sessions that were told to end."""
    return Reader(message).number("count", 0, 1 << 20)


def read_parameters(message: object) -> Mapping[str, GuestParameter]:
    """Parse the named values that the guest keeps."""
    named = Reader(message).mapping("parameters", MAX_PARAMETERS)
    return {_read_name(name): _read_parameter(entry) for name, entry in named}


def _read_session(message: object) -> LogonSession:
    reader = Reader(message)
    return LogonSession(
        user=reader.text("user", _MAX_FACT),
        domain="",
        since=reader.time("since"),
        locked=None if said_nothing(message, "locked") else reader.truth("locked"),
        remote=None if said_nothing(message, "remote") else reader.truth("remote"),
    )


def _read_update(message: object) -> WaitingUpdate:
    reader = Reader(message)
    return WaitingUpdate(
        name=reader.text("name", _MAX_FACT),
        installed=reader.text("installed", _MAX_FACT),
        available=reader.text("available", _MAX_FACT),
        security=None if said_nothing(message, "security") else reader.truth("security"),
    )


def _read_name(name: str) -> str:
    if not 0 < len(name) <= MAX_PARAMETER_NAME or "\\" in name or not name.isprintable():
        raise Unbelievable("a parameter has a name that none may have")
    return name


def _read_parameter(message: object) -> GuestParameter:
    if not isinstance(message, list) or len(message) != 3:
        raise Unbelievable("a parameter is not value, revision and who set it")
    value, revision, by_guest = message
    try:
        text = plain_text(value, MAX_PARAMETER_VALUE)
    except ValueError as exc:
        raise Unbelievable(f"a parameter's value is no text that one may have: {exc}") from None
    if not isinstance(revision, int) or isinstance(revision, bool) or not 0 <= revision <= _MAX_REVISION:
        raise Unbelievable("a parameter's revision is none")
    if not isinstance(by_guest, bool):
        raise Unbelievable("it is neither true nor false that the guest has set it")
    return GuestParameter(value=text, revision=revision, by_guest=by_guest)
