"""Contracts of ``machines.ports.backups``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.backups import JobKind, Tracking
from tests.hypervisor.contracts.subject import Subject, bring_to


class BackupProgram(Protocol):
    """Somebody's program for incremental backups, on the subject."""

    async def begin(self, checkpoint: str, since: str = "") -> None:
        """Begin a checkpoint and a backup: of everything, or of what was written since another one.

        Raises where the host has no record of what was written since.
        """

    async def end(self) -> None:
        """End the backup."""


class BackupsContract:
    """Backups of others are seen, and can go on after a roll back."""

    async def test_a_machine_that_nobody_backs_up_has_nothing(self, subject: Subject) -> None:
        """Off and on."""
        for state in (MachineState.TURNED_OFF, MachineState.PAUSED):
            await bring_to(subject, state)
            assert not await subject.hypervisor.backups.checkpoints(subject.name)
            assert not await subject.hypervisor.backups.jobs(subject.name)

    async def test_a_running_backup_and_its_checkpoint_are_seen(
        self, subject: Subject, program: BackupProgram
    ) -> None:
        """The job for as long as it runs, the checkpoint for good."""
        backups = subject.hypervisor.backups
        await bring_to(subject, MachineState.PAUSED)
        await program.begin("first")
        assert await backups.jobs(subject.name) == {JobKind.BACKUP}
        await program.end()
        assert not await backups.jobs(subject.name)
        [checkpoint] = await backups.checkpoints(subject.name)
        assert checkpoint.name == "first"
        assert dict(checkpoint.bitmaps) == dict.fromkeys(await subject.sources(), "first")
        # The clocks of simulated machines stand where a test put them.
        assert checkpoint.created <= time.time() + 1

    async def test_where_no_backup_was_taken_there_is_nothing_to_mend(
        self, subject: Subject, program: BackupProgram
    ) -> None:
        """The bases are left alone."""
        await bring_to(subject, MachineState.PAUSED)
        await program.begin("first")
        await program.end()
        for tracking in await _protected(subject, kept=frozenset({"first"})):
            await _roll_back(subject)
            before = Path(tracking.base).read_bytes()
            assert not await subject.hypervisor.backups.gather(tracking)
            assert not Path(tracking.side).exists()
            assert Path(tracking.base).read_bytes() == before

    async def test_backups_go_on_after_a_roll_back(self, subject: Subject, program: BackupProgram) -> None:
        """From a backup that was taken through the overlay; each step may be repeated."""
        await bring_to(subject, MachineState.PAUSED)
        await program.begin("first")
        await program.end()
        trackings = await _protected(subject, kept=frozenset({"first"}), begun=frozenset({"second"}))
        await program.begin("second", since="first")
        await program.end()
        await _roll_back(subject)
        for tracking in (*trackings, *trackings):
            assert await subject.hypervisor.backups.gather(tracking)
            await subject.hypervisor.backups.restore(tracking)
            found = await subject.hypervisor.backups.sound_bitmaps(tracking)
            assert found == {"first", "second"}
        await bring_to(subject, MachineState.PAUSED)
        await program.begin("third", since="second")
        await program.end()


async def _protected(
    subject: Subject, kept: frozenset[str], begun: frozenset[str] = frozenset()
) -> list[Tracking]:
    bases = await subject.sources()
    overlays = subject.overlays(bases)
    await subject.hypervisor.undo_disks.add(subject.name, overlays)
    return [
        Tracking(
            machine=subject.name,
            target=target,
            base=base,
            overlay=overlays[target],
            side=f"{overlays[target]}.side",
            kept=kept,
            begun=begun,
        )
        for target, base in bases.items()
    ]


async def _roll_back(subject: Subject) -> None:
    if await subject.state() is not MachineState.TURNED_OFF:
        await subject.hypervisor.lifecycle.turn_off(subject.name)
    chains = {
        target: (await subject.hypervisor.disks.backing_chain(path))[-1]
        for target, path in (await subject.sources()).items()
    }
    await subject.hypervisor.undo_disks.drop(subject.name, chains)
