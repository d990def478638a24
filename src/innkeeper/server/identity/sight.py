"""Middleware: names in a request mean machines among those that its caller may see."""

from __future__ import annotations

from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Role, machine
from innkeeper.machines.directory import MachineEntry
from innkeeper.machines.sight import Placed, seeing
from innkeeper.server.house import House
from innkeeper.server.http.callers import CALLER
from innkeeper.server.identity.subjects import resource_of


class Sight:
    """Keeps from callers that machines have namesakes which they may not see."""

    def __init__(self, app: ASGIApp, house: House) -> None:
        self._app = app
        self._house = house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        caller = cast("Caller | None", scope.get(CALLER))
        if caller is None or caller.may(Role.VIEWER):
            await self._app(scope, receive, send)
            return
        with seeing(lambda found: self._sees(caller, found)):
            await self._app(scope, receive, send)

    def _sees(self, caller: Caller, found: Placed) -> bool:
        if isinstance(found, MachineEntry):
            return caller.may(Role.VIEWER, resource_of(found))
        known = self._house.board.with_key(found.key)
        if known is not None:
            return caller.may(Role.VIEWER, resource_of(known))
        # One of several is called by its host and its name.
        title, neighbours = f"{found.host}/{found.name}", self._house.neighbours
        labels = () if neighbours is None else neighbours.labels(found.key)
        return caller.may(Role.VIEWER, machine(title, labels, names=(title, found.key)))
