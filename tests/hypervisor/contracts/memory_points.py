"""Contract of ``machines.ports.memory_points``."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from innkeeper.errors import InnkeeperError, WrongState
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.memory_points import MemoryFile, MemoryLimits
from tests.hypervisor.contracts.subject import Subject

_LIMITS = MemoryLimits(most_bytes=1 << 30, most_seconds=60)


def _memory(subject: Subject) -> str:
    return str(subject.directory / f"{subject.name}.memory")


async def _take(subject: Subject, *, live: bool = False, limits: MemoryLimits = _LIMITS) -> dict[str, str]:
    """Keep the memory of the running machine; returns its disks as they were."""
    bases = dict(await subject.sources())
    await subject.hypervisor.memory_points.take(
        subject.name, _memory(subject), subject.overlays(bases), live=live, limits=limits
    )
    return bases


async def _go_back(subject: Subject, bases: dict[str, str]) -> None:
    """Turn it off, give it its own disks back, and its memory."""
    await subject.hypervisor.lifecycle.turn_off(subject.name)
    await subject.hypervisor.undo_disks.drop(subject.name, bases)
    await subject.hypervisor.memory_points.restore(subject.name, _memory(subject))


class MemoryPointsContract:
    """Memory is kept with the disks, at one moment, and comes back."""

    @pytest.mark.parametrize("live", [False, True])
    async def test_memory_and_disks_are_taken_at_one_moment(self, subject: Subject, live: bool) -> None:
        """The guest runs on, on its undo disks; asked again, nothing is done."""
        await subject.hypervisor.lifecycle.start(subject.name)
        bases = await _take(subject, live=live)
        assert await subject.state() is MachineState.RUNNING
        assert await subject.sources() == subject.overlays(bases)
        assert await subject.hypervisor.memory_points.state(_memory(subject)) is MemoryFile.WHOLE
        kept = await asyncio.to_thread(Path(_memory(subject)).stat)
        assert stat.S_IMODE(kept.st_mode) == 0o600
        await subject.hypervisor.memory_points.take(
            subject.name, _memory(subject), subject.overlays(bases), live=live, limits=_LIMITS
        )
        assert (await asyncio.to_thread(Path(_memory(subject)).stat)).st_mtime_ns == kept.st_mtime_ns
        await subject.hypervisor.lifecycle.turn_off(subject.name)

    async def test_a_machine_comes_back_paused_on_its_own_disks(self, subject: Subject) -> None:
        """Nothing is written to them until it is resumed, and the memory can be given back again."""
        await subject.hypervisor.lifecycle.start(subject.name)
        bases = await _take(subject)
        before = {path: await subject.hypervisor.files.checksum(path) for path in bases.values()}
        for _ in range(2):
            await _go_back(subject, bases)
            assert await subject.state() is MachineState.PAUSED
            assert await subject.sources() == bases
            after = {path: await subject.hypervisor.files.checksum(path) for path in bases.values()}
            assert after == before
        await subject.hypervisor.lifecycle.resume(subject.name)
        assert await subject.state() is MachineState.RUNNING
        await subject.hypervisor.lifecycle.turn_off(subject.name)

    async def test_it_is_given_up_in_time_and_nothing_is_left(self, subject: Subject) -> None:
        """The guest runs on from its own disks, and the next try succeeds."""
        await subject.hypervisor.lifecycle.start(subject.name)
        bases = await subject.sources()
        with pytest.raises(InnkeeperError, match="given up"):
            await _take(subject, limits=MemoryLimits(most_bytes=1 << 30, most_seconds=0.001))
        assert await subject.state() is MachineState.RUNNING
        assert await subject.sources() == bases
        assert await subject.hypervisor.memory_points.state(_memory(subject)) is MemoryFile.NONE
        for overlay in subject.overlays(bases).values():
            assert await subject.hypervisor.files.identity(overlay) is None
        await _take(subject)
        assert await subject.state() is MachineState.RUNNING
        await subject.hypervisor.lifecycle.turn_off(subject.name)

    async def test_a_file_that_a_crash_cut_short_is_known_and_cleared(self, subject: Subject) -> None:
        """It is no memory to go back to, and the next try writes it anew."""
        await subject.hypervisor.lifecycle.start(subject.name)
        await asyncio.to_thread(Path(_memory(subject)).write_bytes, b"LibvirtQemudPart and no more")
        assert await subject.hypervisor.memory_points.state(_memory(subject)) is MemoryFile.PARTIAL
        await _take(subject)
        assert await subject.hypervisor.memory_points.state(_memory(subject)) is MemoryFile.WHOLE
        await subject.hypervisor.lifecycle.turn_off(subject.name)

    async def test_a_file_of_somebody_else_is_known(self, subject: Subject) -> None:
        """By its first bytes, whatever its name."""
        await asyncio.to_thread(Path(_memory(subject)).write_bytes, b"precious")
        assert await subject.hypervisor.memory_points.state(_memory(subject)) is MemoryFile.FOREIGN

    async def test_memory_meets_no_disk_that_it_does_not_know(self, subject: Subject) -> None:
        """A machine that is still on its undo disks is refused its memory, and stays off."""
        await subject.hypervisor.lifecycle.start(subject.name)
        await _take(subject)
        await subject.hypervisor.lifecycle.turn_off(subject.name)
        with pytest.raises(InnkeeperError, match="memory knows"):
            await subject.hypervisor.memory_points.restore(subject.name, _memory(subject))
        assert await subject.state() is MachineState.TURNED_OFF

    async def test_a_machine_that_is_off_has_no_memory_to_keep(self, subject: Subject) -> None:
        """And one that runs none to be given."""
        with pytest.raises(WrongState):
            await _take(subject)
        assert await subject.hypervisor.memory_points.state(_memory(subject)) is MemoryFile.NONE
        await subject.hypervisor.lifecycle.start(subject.name)
        await _take(subject)
        with pytest.raises(WrongState):
            await subject.hypervisor.memory_points.restore(subject.name, _memory(subject))
        await subject.hypervisor.lifecycle.turn_off(subject.name)

    async def test_what_it_would_take_is_known_beforehand(self, subject: Subject) -> None:
        """The file stays below the most that was said; off and on, the hardware is the same."""
        off = await subject.hypervisor.memory_points.outlook(subject.name)
        await subject.hypervisor.lifecycle.start(subject.name)
        on = await subject.hypervisor.memory_points.outlook(subject.name)
        assert (on.obstacle, off.hardware) == ("", on.hardware)
        assert await subject.hypervisor.memory_points.write_speed(str(subject.directory)) > 0
        await _take(subject)
        kept = await subject.hypervisor.files.identity(_memory(subject))
        assert kept is not None
        assert 0 < kept.size_bytes < on.most_bytes
        await subject.hypervisor.lifecycle.turn_off(subject.name)
