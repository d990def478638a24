"""A role on a plain name covers no namesake, from the first moment on at which a host's machines are seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from innkeeper.identity.caller import LOCAL_REALM
from innkeeper.identity.granted import Granted
from innkeeper.identity.roles import Grant, Reach, Role
from innkeeper.machines.machine import MachineState
from innkeeper.server.relay.keeper import DirectoryKeeper
from tests.server.relay.test_names_elsewhere import heard
from tests.server.relay.two_servers import Server, client, server

_PASSWORD = "a long enough password"  # of an account that lives for one test


async def test_a_namesake_is_not_covered_just_after_a_start_or_when_a_host_comes(
    postgres_database: sa.URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though what keeps the directory has not looked yet which names others have too."""
    async with server("north", "attic", postgres_database, tmp_path, ["web-1"]) as north:
        async with server("south", "cellar", postgres_database, tmp_path, ["web-1"]) as south:
            await _have_ana(north)

            async def are_told_apart() -> bool:
                return all(entry.title != "web-1" for entry in await north.directory.find("web-1"))

            await heard((north, south), are_told_apart)
        look = DirectoryKeeper.look
        monkeypatch.setattr(DirectoryKeeper, "look", _see_nothing)
        async with server("south", "cellar", postgres_database, tmp_path, []) as south:
            assert await _starts_of_ana(south) == [404, 404]
            ownership = south.house.ownership
            assert ownership is not None
            await ownership.close()
            assert not await south.house.board.all()
            await look(south.keeper)
            ownership._is_closed = False
            await ownership.look()
            assert ownership.owns(south.host.id)
            assert await _starts_of_ana(south) == [404, 404]
            assert (await south.host.inventory.get("web-1")).state is MachineState.TURNED_OFF


async def _have_ana(at: Server) -> None:
    """Have an account with a role on ``web-1``, which is the attic's."""
    await at.house.people.accounts.add("ana", _PASSWORD)
    grant = Grant(role=Role.OPERATOR, reach=Reach.MACHINE, name="web-1")
    await at.house.people.grants.give(Granted(realm=LOCAL_REALM, name="ana", is_group=False, grant=grant))


async def _starts_of_ana(at: Server) -> Sequence[int]:
    """The answers to her when she starts the namesake, by its name and by its key."""
    async with client(at.app) as door:
        door.auth = httpx.BasicAuth("ana@local", _PASSWORD)
        called = ("web-1", f"{at.host.id}%2Fcellar-web-1")
        return [(await door.post(f"/v1/machines/{each}/startup", json={})).status_code for each in called]


async def _see_nothing(keeper: DirectoryKeeper) -> None:
    """Have nothing written down, and hear of nothing."""
