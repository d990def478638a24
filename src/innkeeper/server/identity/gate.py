"""Recognise callers by what they bring: the kernel's word on the other end of the local door."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from innkeeper.identity.caller import Caller
from innkeeper.server.peers import PEER, Peers


class Gate:
    """Says who asks."""

    def __init__(self, *, peers: Peers) -> None:
        self._peers = peers

    async def caller(self, connection: HTTPConnection) -> Caller | None:
        """Who asks; ``None`` for somebody unknown. Raises ``NotPermitted`` for who may not use the door."""
        credentials = connection.scope.get(PEER)
        return None if credentials is None else await self._peers.caller(credentials)
