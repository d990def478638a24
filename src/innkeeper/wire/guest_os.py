"""Describe the messages about guests: what they are, who is on, what they keep."""

from __future__ import annotations

from pydantic import AwareDatetime

from innkeeper.wire.messages import Message, Request


class SessionMessage(Message):
    """Somebody who is logged on."""

    user: str
    domain: str
    since: AwareDatetime | None
    #: Nothing where the guest cannot say.
    locked: bool | None
    remote: bool | None


class SessionList(Message):
    """Logged-on sessions, and whether a screen is locked."""

    sessions: tuple[SessionMessage, ...]
    #: Nothing where the guest cannot say.
    locked: bool | None


class GuestMessage(Message):
    """What a guest is (``IVMGuestOS``)."""

    computer_name: str
    os_name: str
    os_version: str
    #: The documented parts of the version.
    major_version: int
    minor_version: int
    build_number: str
    platform_id: str
    service_pack: str
    product_type: int
    kernel: str
    architecture: str
    variant: str


class IntegrationMessage(Message):
    """The program in a guest that answers for it."""

    #: Its version; nothing where none answers.
    version: str | None
    can_shut_down: bool
    #: Percent of the heartbeats of the last minute; nothing where none was heard since it runs.
    heartbeat: int | None
    #: Whether its clock is set after every start, restore and resume.
    time_synchronised: bool


class HeartbeatMessage(Message):
    """How a guest's heart beats."""

    percent: int


class TimeSyncRequest(Request):
    """Request to set a guest's clock or not (``IsHostTimeSyncEnabled``)."""

    enabled: bool


class ForceRequest(Request):
    """Restart or shut down a guest."""

    #: Heed no locked screen, and do not wait for a guest that does not go.
    forced: bool = False


class ParameterRequest(Request):
    """Give a guest a named value; without one, take it back (``SetParameter``)."""

    #: Its name.
    key: str
    value: str | None


class ParameterMessage(Message):
    """A named value that a guest keeps (``GetParameter``)."""

    name: str
    value: str


class KeptParameterMessage(Message):
    """A named value as the host knows it."""

    name: str
    value: str
    by_guest: bool
    at: AwareDatetime


class ParameterList(Message):
    """All named values of a machine, by name."""

    parameters: tuple[KeptParameterMessage, ...]
