"""Describe the messages of guests' health: what was found, and what would count."""

from __future__ import annotations

import enum

from pydantic import AwareDatetime

from innkeeper.wire.messages import Message


class Weight(enum.StrEnum):
    """What a finding counts."""

    #: The update is rolled back for it.
    FAULT = "fault"
    #: It is told, and the update is kept.
    WARNING = "warning"
    #: An administrator has said of this machine that it is no fault.
    IGNORED = "ignored"
    #: It comes and goes whatever is updated.
    NOTHING = "nothing"


class StakeMessage(Message):
    """One thing that a guest has, and what its loss by an update would count."""

    #: ``unit:shop.service``, ``listener:tcp/80``, ``mount:/srv``.
    subject: str
    #: What it is like now.
    now: str
    weight: Weight
    #: What would be said of its loss; empty where that is nothing.
    sentence: str


class BootMessage(Message):
    """How a boot went, as the guest's agent watched it."""

    #: For how long after the boot.
    watched_seconds: int
    #: When the last port came to be listened on, after the boot, and how many there were.
    last_port_seconds: int
    ports: int
    #: When it was looked at last.
    load: float
    free_mib: int


class GuestHealthMessage(Message):
    """A guest's health now, and what of it counts."""

    machine: str
    at: AwareDatetime
    #: As its init says: ``running``, ``degraded``; empty where that does not say.
    system_state: str
    #: Since its boot; nothing where an old agent does not tell.
    uptime_seconds: int | None
    kernel: str
    reboot_required: bool
    failed_units: tuple[str, ...]
    #: Units that its journal has seen fail in the last week: their failure is only a warning.
    failed_lately: tuple[str, ...]
    #: What is wrong with its package database, a line each.
    complaints: tuple[str, ...]
    #: Names of checks that fail now, with what they print.
    failed_checks: dict[str, str]
    #: The boots before this one, the newest last; nothing where the agent has not watched any.
    boots: tuple[BootMessage, ...]
    stakes: tuple[StakeMessage, ...]
    #: What is ignored for this machine, as patterns of subjects.
    ignored: tuple[str, ...]
