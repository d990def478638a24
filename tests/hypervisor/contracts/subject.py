"""One machine of one implementation under test."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.wire.events import Event

_TIMEOUT_S = 180


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """One implementation under test, and a machine of it that is off."""

    hypervisor: Host
    #: The machine's name.
    name: str
    #: Where overlays may be put.
    directory: Path
    #: What the host has published, oldest first.
    events: list[Event] = dataclasses.field(default_factory=list)

    async def state(self) -> MachineState:
        """What the machine does now."""
        return (await self.hypervisor.inventory.get(self.name)).state

    async def until(self, wanted: MachineState) -> None:
        """Wait for a state that the guest, or the end of QEMU, brings about."""
        async with asyncio.timeout(_TIMEOUT_S):
            while await self.state() is not wanted:
                await asyncio.sleep(0.05)

    async def sources(self) -> Mapping[str, str]:
        """The file that takes the writes of each disk."""
        return {disk.target: disk.path for disk in (await self.hypervisor.inventory.get(self.name)).disks}

    def overlays(self, bases: Mapping[str, str], suffix: str = "undo") -> dict[str, str]:
        """A path for an overlay of each disk."""
        return {target: str(self.directory / f"{self.name}-{target}.{suffix}") for target in bases}


async def an_image(subject: Subject) -> str:
    """One more image, as its host's disks are."""
    path = subject.directory / "another.img"
    disks = await subject.sources()
    size = Path(next(iter(disks.values()))).stat().st_size if "fake" in subject.hypervisor.uri else 1 << 20
    path.write_bytes(bytes(size))
    return str(path)


async def bring_to(subject: Subject, state: MachineState) -> None:
    """Bring a machine that is off to a settled state."""
    if state is not MachineState.TURNED_OFF:
        await subject.hypervisor.lifecycle.start(subject.name, paused=state is MachineState.PAUSED)
    assert await subject.state() is state
