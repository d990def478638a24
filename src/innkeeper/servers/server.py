"""A server: one running service among those that share a database."""

from __future__ import annotations

import dataclasses
import datetime as dt

from innkeeper.wire.states import ServerState as ServerState


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """One server, as its row in the database has it."""

    #: The same for ever: under it its hosts are leased, and its queue of runs is named by it.
    id: str
    #: For people; unique, and may change.
    name: str
    #: Counts its starts: each is a process of its own, to which its runs and writes belong.
    incarnation: int
    #: Where its peers reach it (``host:port``); empty where it has no such door.
    address: str = ""
    #: The release that it runs.
    version: str = ""
    state: ServerState = ServerState.SERVING
    started_at: dt.datetime | None = None
    last_seen: dt.datetime
    #: Until then it has its name, unless it gives it up or shows that it lives.
    until: dt.datetime | None = None
    #: Why its last start failed, or it broke off, in a sentence; empty where it has ended in good order.
    trouble: str = ""
    #: Whether ``until`` lies ahead by the database's clock: those of servers may differ.
    alive: bool

    @property
    def executor_id(self) -> str:
        """The id of this start of the server in the journal of runs: no two processes share one."""
        return f"{self.id}.{self.incarnation}"

    @property
    def queue(self) -> str:
        """The name of its queue of runs."""
        return f"srv-{self.id}"
