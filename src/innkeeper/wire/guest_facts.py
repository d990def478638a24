"""Facts that a guest reports of itself, bounded and cleaned by whoever read them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum


class Ability(enum.StrEnum):
    """Abilities of an agent beyond updates, named in its HELLO message; an old agent names none."""

    #: Say what the guest is.
    FACTS = "facts"
    #: Say who is logged on, and log them off.
    SESSIONS = "sessions"
    #: Keep named parameters.
    PARAMETERS = "parameters"
    #: Set the guest's clock.
    TIME = "time"
    #: Say which updates wait.
    SCAN = "scan"
    #: Refresh, simulate and download an update before anything is protected.
    PREPARE = "prepare"
    #: Say how units ended, and what the journal has of them.
    EVIDENCE = "evidence"
    #: Say whether an update has taken effect, and restart units for it.
    EFFECT = "effect"
    #: Say which jobs failed because an update held a lock, and start them again.
    JOBS = "jobs"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GuestFacts:
    """What the guest is."""

    computer_name: str
    #: Its kind, as ``os-release`` and qemu-guest-agent name it: ``debian``, ``mswindows``.
    os_id: str
    #: For people: ``Debian GNU/Linux 12 (bookworm)``.
    os_name: str
    #: ``12 (bookworm)``, and ``12.5``.
    version: str
    version_id: str
    #: ``server``, ``workstation``, or empty.
    variant: str
    #: ``6.1.0-28-amd64``, and what its builder wrote of it.
    kernel_release: str
    kernel_version: str
    #: ``x86_64``
    architecture: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class WaitingUpdate:
    """One package for which there is a newer version."""

    name: str
    #: Empty where it is not installed yet.
    installed: str
    available: str
    #: Whether it mends a weakness; nothing where the guest cannot say.
    security: bool | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LogonSession:
    """Somebody who is logged on."""

    user: str
    #: Windows' domain, or empty.
    domain: str
    since: dt.datetime | None
    #: Whether the screen is locked; nothing where the guest cannot say.
    locked: bool | None
    #: Whether it comes over the network; nothing where the guest cannot say.
    remote: bool | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GuestParameter:
    """A named value that the guest keeps."""

    value: str
    #: The revision of the host's that it stands on; 0 for one that the host never set.
    revision: int
    #: Whether the guest has set it since.
    by_guest: bool


#: A parameter's name, its value, how many a guest keeps, and the length of all values together.
MAX_PARAMETER_NAME = 255
MAX_PARAMETER_VALUE = 4096
MAX_PARAMETERS = 256
MAX_PARAMETER_TOTAL = 64 * 1024
#: So many sessions are told of.
MAX_SESSIONS = 64
#: Units that a guest is asked about at once.
MAX_EVIDENCE_UNITS = 16
