"""Describe what is said of the servers that share a database."""

from __future__ import annotations

from pydantic import AwareDatetime

from innkeeper.wire.messages import Message, Paged, Request
from innkeeper.wire.states import ServerState


class KeptHostMessage(Message):
    """A host that a drained server has still."""

    name: str
    reason: str
    #: Whether no other server can take it, so that nobody need wait for that.
    stays: bool = False


class ServerMessage(Message):
    """One server."""

    name: str
    #: The same for ever, under whatever name.
    id: str
    state: ServerState
    #: Whether it shows that it lives.
    alive: bool
    #: The release that it runs.
    version: str
    #: Where other servers reach it (``host:port``); empty where they do not.
    address: str
    #: Since when it runs.
    since: AwareDatetime | None
    last_seen: AwareDatetime
    #: Why its last start failed, or it broke off; empty where it has ended in good order.
    trouble: str = ""
    #: The hosts that it looks after, or looked after last.
    hosts: tuple[str, ...]
    #: The hosts that it takes only while no other server can.
    stands_in_for: tuple[str, ...] = ()
    #: The hosts that it has still, though it is drained, each with the reason.
    keeps: tuple[KeptHostMessage, ...] = ()
    #: How many tasks are in flight on it, or wait for it.
    in_flight: int
    #: Whether it is the one that answers.
    answers: bool


class ServerList(Paged):
    """The servers, by name."""

    entries_field = "servers"

    servers: tuple[ServerMessage, ...]


class RetireRequest(Request):
    """What is to be retired."""

    #: A server that lives too.
    living: bool = False
