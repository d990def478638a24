"""Who stands on images of a simulated host, at every look as its files are then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from innkeeper.hypervisor.simulated import disks
from innkeeper.hypervisor.simulated.host import SimulatedHost, simulated_host
from innkeeper.hypervisor.simulated.machines import SimulatedMachine, file_disk
from innkeeper.machines.ports.disks import ImageUser
from innkeeper.tasks.clock import FakeClock

_MACHINES = 20


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[SimulatedHost]:
    """A host of machines with a base each."""
    host = simulated_host(
        tmp_path / "attic", clock=FakeClock(), publish=lambda _: None, name="attic", threads=False
    )
    await host.connection.open()
    for number in range(_MACHINES):
        await asyncio.to_thread(disks.create_base, _base(tmp_path, number))
        disk = file_disk("vda", _base(tmp_path, number))
        await host.simulation.add(SimulatedMachine(name=f"web-{number}", uuid=f"web-{number}", disks=[disk]))
    yield host
    await host.connection.close()


async def test_an_image_is_looked_at_anew_when_it_was_replaced(host: SimulatedHost, tmp_path: Path) -> None:
    """A base that has become an overlay stands on another one from then on."""
    first, second = _base(tmp_path, 0), _base(tmp_path, 1)
    assert await _machines(host, first) == ["web-0"]
    await asyncio.to_thread(disks.create_overlay, second, first, anew=True)
    assert await _machines(host, first) == ["web-0", "web-1"]
    await asyncio.to_thread(Path(second).unlink)
    assert await _machines(host, first) == ["web-0"]
    await asyncio.to_thread(disks.create_base, second)
    assert await _machines(host, first) == ["web-0"]


async def test_an_image_in_a_folder_is_seen_that_no_machine_has(host: SimulatedHost, tmp_path: Path) -> None:
    """It is told by its path alone."""
    first, clone = _base(tmp_path, 0), str(tmp_path / "clone.img")
    assert [user.image for user in await host.disks.users(first)] == [first]
    await asyncio.to_thread(disks.create_overlay, clone, first)
    assert ImageUser(image=clone) in await host.disks.users(first)


async def test_a_look_opens_no_base_again(
    host: SimulatedHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A night looks at each of its machines several times: that must not read the disks of all others."""
    await host.disks.users(_base(tmp_path, 0))
    opened: list[str] = []
    chain = disks.chain_if_any

    def counted(path: str) -> list[str]:
        opened.append(path)
        return chain(path)

    monkeypatch.setattr(disks, "chain_if_any", counted)
    await asyncio.to_thread(disks.write, _base(tmp_path, 3), b"changed")
    await host.disks.users(_base(tmp_path, 0))
    assert set(opened) == {_base(tmp_path, 3)}


def _base(directory: Path, number: int) -> str:
    return str(directory / f"web-{number}.img")


async def _machines(host: SimulatedHost, path: str) -> list[str]:
    return [user.machine for user in await host.disks.users(path)]
