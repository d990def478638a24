"""A lease: the right of one server to work on a host, for a while."""

from __future__ import annotations

import dataclasses
import datetime as dt


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HostLease:
    """Who owns a host, or owned it last."""

    #: The host's id, which outlives its names.
    host_id: str
    #: The host's name, for people.
    name: str
    #: Under which the owner reaches it.
    uri: str = ""
    #: The id of the server that owns it or owned it last; ``None`` where it was given up.
    server_id: str | None = None
    #: Goes up with each owner and each of its starts: writes under an older one are refused.
    epoch: int = 0
    until: dt.datetime | None = None
    #: Whether ``until`` lies ahead by the database's clock.
    alive: bool = False
    #: Since when its owner would leave it to whoever opens it; ``None`` where it would not.
    offered_at: dt.datetime | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A lease that this server has taken: what it proves its ownership with."""

    host_id: str
    epoch: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """A server that can work on a host: it has the host in its settings, and has reached it."""

    host_id: str
    server_id: str
    #: Whether it takes the host only while no other server can.
    stand_in: bool
    #: The host's name and URI in its settings.
    name: str = ""
    uri: str = ""
    #: When the host answered it last; ``None`` until it has.
    reached_at: dt.datetime | None = None

    def has_opened(self, lease: HostLease) -> bool:
        """Whether the server has opened the host since its owner offered it."""
        return (
            self.reached_at is not None
            and lease.offered_at is not None
            and self.reached_at >= lease.offered_at
        )
