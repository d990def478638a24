"""Who looks after a host: its server, one that is away, or nobody."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Final

from innkeeper.errors import ErrorCode, ServiceError
from innkeeper.servers.lease import HostLease
from innkeeper.servers.server import Server, ServerState

_ADVICE: Final = (
    "innkeeper server list shows the servers and their hosts. Start the one that looked after it, or name "
    "the host in the settings of another (hypervisors)."
)
_ADVICE_WHERE_IT_LIVES: Final = (
    "innkeeper host list says whether the server that looked after it reaches it, and innkeeper server list "
    "whether that one is drained."
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Care:
    """Who looks after a host now, or did last."""

    #: The server whose lease of the host holds; ``None`` where none does.
    owner: Server | None
    #: The server that had the host last.
    last: Server | None = None
    #: Since when nobody has it.
    since: dt.datetime | None = None
    #: Since when the owner does not answer this server; ``None`` where it does, or was not asked.
    silent_since: dt.datetime | None = None

    @property
    def answers(self) -> bool:
        """Whether its owner can be asked, and has answered when it was asked last."""
        return self.owner is not None and can_be_asked(self.owner) and self.silent_since is None

    def reason(self, subject: str = "it") -> str:
        """Return why nothing is done with the host, in a sentence; empty where its owner answers."""
        if self.owner is None:
            return f"No server looks after {subject} now{self._who_did()}."
        return f"Its server {self.owner.name} {self.absence}." if self.absence else ""

    @property
    def absence(self) -> str:
        """Since when its owner is away or silent, as the end of a sentence; empty where it answers."""
        if self.owner is not None and not can_be_asked(self.owner):
            return f"is away since {said(self.owner.last_seen)}"
        return "" if self.silent_since is None else f"does not answer since {said(self.silent_since)}"

    @property
    def outlook(self) -> str:
        """For whom its work waits, in a sentence."""
        return "Its work waits until one does." if self.owner is None else "Its work waits for it."

    def refusal(self, host: str) -> ServiceError:
        """Return the error for what only the host's owner can do."""
        subject = host or "This"
        if self.owner is not None:
            name = self.owner.name
            reason = f"{subject} is looked after by the server {name}, which {self.absence}."
            advice = (
                f"Start {name} again (innkeeper server list shows all); where it does not "
                f"come back, innkeeper server retire {name} frees its hosts."
            )
        else:
            reason = self.reason(subject)
            advice = _ADVICE if self.last is None or not self.last.alive else _ADVICE_WHERE_IT_LIVES
        return ServiceError(f"{reason} {self.outlook}", code=ErrorCode.ERROR_ONLY_IF_CONNECTED, advice=advice)

    def _who_did(self) -> str:
        since = "" if self.since is None else f", since {said(self.since)}"
        if self.last is None:
            return since
        away = "" if self.last.alive else f", and is away since {said(self.last.last_seen)}"
        return f"{since}; {self.last.name} did last{away}"


def can_be_asked(server: Server) -> bool:
    """Whether a server lives, and has a door for its peers."""
    return server.alive and bool(server.address) and server.state is not ServerState.RETIRED


def care_by(lease: HostLease, server: Server | None, silent_since: dt.datetime | None) -> Care:
    """Return who looks after a host by its lease, whose server is the one given."""
    if lease.alive:
        return Care(owner=server, silent_since=silent_since)
    return Care(owner=None, last=server, since=lease.until)


def said(moment: dt.datetime) -> str:
    """A moment, for people."""
    utc = moment.astimezone(dt.UTC)
    return f"{utc:%H:%M} UTC on {utc:%Y-%m-%d}"
