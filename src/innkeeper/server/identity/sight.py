"""Middleware: names in a request and its answer mean machines among those that the caller may see."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final, cast

from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Role, machine
from innkeeper.machines.directory import MachineEntry
from innkeeper.machines.sight import Placed, seeing
from innkeeper.server.house import House
from innkeeper.server.http.callers import CALLER
from innkeeper.server.http.plain_names import PlainNames
from innkeeper.server.identity.subjects import resource_of
from innkeeper.server.shared_names import of_shared_names

#: What people have written is told as they wrote it: in scheduled tasks names mean one of all machines.
_WRITTEN: Final = ("/v1/schedule", "/schedule")


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
        await self._house.board.look_first()
        names = await self._plain_names(caller) if _tells_titles(scope) else {}
        if names:
            # What is packed already cannot be read.
            headers = [header for header in scope["headers"] if header[0] != b"accept-encoding"]
            scope, send = {**scope, "headers": headers}, PlainNames(send, names)
        with seeing(lambda found: self._sees(caller, found)):
            await self._app(scope, receive, send)

    async def _plain_names(self, caller: Caller) -> Mapping[str, str]:
        """The plain names of machines that are told from namesakes of which the caller sees none."""
        found: dict[str, Placed] = {each.key: each for each in await of_shared_names(self._house)}
        seen: dict[str, list[Placed]] = defaultdict(list)
        for each in found.values():
            if self._sees(caller, each):
                seen[each.name.casefold()].append(each)
        alone = (several[0] for several in seen.values() if len(several) == 1)
        return {f"{each.host}/{each.name}": each.name for each in alone}

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


def _tells_titles(scope: Scope) -> bool:
    return scope["type"] == "http" and not scope["path"].startswith(_WRITTEN)
