"""The machines of all servers whose names others have too."""

from __future__ import annotations

from collections.abc import Sequence

from innkeeper.machines.directory import MachineEntry
from innkeeper.machines.places import Place
from innkeeper.server.house import House


async def of_shared_names(house: House) -> Sequence[Place | MachineEntry]:
    """Return them, those of this server's hosts last: of those it knows most."""
    elsewhere = () if house.neighbours is None else await house.neighbours.of_shared_names()
    return [*elsewhere, *house.machines.places.of_shared_names()]
