"""Describe which part of a list is asked for."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from innkeeper.wire.messages import MachineStateName

#: The longest page.
MAX_LIMIT = 10_000
#: The page of whoever says nothing.
DEFAULT_LIMIT = 500


class MachineQuery(BaseModel):
    """Which machines: those for which all that is said holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: On this host, whatever the case of its letters.
    host: str | None = None
    #: In this state.
    state: MachineStateName | None = None
    #: With this in their name, whatever the case of its letters.
    text: str | None = Field(default=None, max_length=255)
    #: Those of a selector: names, globs, ``host/name``, ``label:``, ``host:``, ``state:``, ``os:``, joined
    #: by ``and``, ``or`` and ``not``.
    select: str | None = Field(default=None, max_length=4096)
    #: At the most so many; the others are on the next pages.
    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    #: What the page before said as ``next_after``.
    after: str | None = Field(default=None, max_length=512)


class UpdateQuery(BaseModel):
    """Which bookings: those for which all that is said holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Of this machine.
    machine: str | None = Field(default=None, max_length=255)
    #: Those that have come to an end, or those that have not.
    ended: bool | None = None
    #: With this in their label or identifier, whatever the case of its letters.
    text: str | None = Field(default=None, max_length=255)
    #: At the most so many; the others are on the next pages.
    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    #: What the page before said as ``next_after``.
    after: str | None = Field(default=None, max_length=2048)
