"""Incremental backups of others stay right through undo points, on real libvirt and QEMU."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import libvirt
import pytest

from innkeeper.errors import ErrorCode, HypervisorError, InnkeeperError
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.backups import Tracking
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.backups import between_backups, mend_backups
from innkeeper.machines.undo.point import UndoDisk, UndoPlan
from innkeeper.tasks.clock import FakeClock
from tests.guests.machines import TinyMachine
from tests.guests.tiny import TinyGuest
from tests.hypervisor.backup_program import LibvirtBackupProgram

pytestmark = pytest.mark.qemu

_NAME = f"backed-up-{os.getpid()}"
#: Nobody waits long for a look.
CLOCK = FakeClock(speed=50)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class House:
    """A machine that somebody backs up, on and paused: its disk is written to by QEMU itself."""

    host: Host
    base: Path
    overlay: Path
    program: LibvirtBackupProgram
    #: The files of the backup chain, oldest first.
    chain: list[Path]

    @property
    def plan(self) -> UndoPlan:
        """Its undo point."""
        return UndoPlan(
            machine=_NAME, disks=(UndoDisk(target="vda", base=str(self.base), overlay=str(self.overlay)),)
        )

    def tracking(self, base: str) -> Tracking:
        """The bitmaps of its disk, on a base of this name."""
        return Tracking(
            machine=_NAME, target="vda", base=base, overlay=str(self.overlay), side=f"{self.overlay}.side"
        )

    async def back_up(self, checkpoint: str, since: str = "") -> None:
        """Add a backup to the chain."""
        number = len([*self.base.parent.glob("backup-*.qcow2")])
        file = self.base.with_name(f"backup-{number}.qcow2")
        self.chain.append(await self.program.write("vda", file, checkpoint, since))

    async def write(self, megabyte: int, pattern: int) -> None:
        """Have the machine write to a part of its disk."""
        await self.program.monitor(f"write -P {pattern} {megabyte}M 100k")

    async def start(self) -> None:
        """Start the machine; its processors stand still."""
        await self.host.lifecycle.start(_NAME, paused=True)

    async def turn_off(self) -> None:
        """Pull the plug."""
        await self.host.lifecycle.turn_off(_NAME)

    async def protect(self) -> None:
        """Put the undo disk on."""
        await self.host.undo_disks.add(_NAME, self.plan.overlays)

    async def merge(self) -> None:
        """Keep what the undo disk has."""
        await self.host.undo_disks.merge(_NAME, self.plan.bases)

    async def drop(self) -> None:
        """Go back to the base."""
        await self.host.undo_disks.drop(_NAME, self.plan.bases)

    def restored(self) -> bytes:
        """The disk as the whole chain of backups has it."""
        for older, newer in zip(self.chain, self.chain[1:], strict=False):
            _run("qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", str(older), str(newer))
        return _raw(self.chain[-1])


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _raw(image: Path) -> bytes:
    raw = image.with_suffix(".raw-copy")
    _run("qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", str(image), str(raw))
    return raw.read_bytes()


@pytest.fixture
async def house(
    embedded_hypervisor: Host,
    echo_guest: TinyGuest,
    define_machine: Callable[..., Awaitable[TinyMachine]],
    tmp_path: Path,
) -> AsyncIterator[House]:
    """It has one backup, the whole disk, and has written since."""
    machine = await define_machine(_NAME, guest=echo_guest, agent_port=False)
    with LibvirtBackupProgram.on(embedded_hypervisor.uri, _NAME, tmp_path) as program:
        house = House(
            host=embedded_hypervisor,
            base=machine.disk,
            overlay=tmp_path / f"{_NAME}.vda.innkeeper-7.qcow2",
            program=program,
            chain=[],
        )
        await house.start()
        await house.back_up("full")
        await house.write(1, 0x11)
        yield house


@pytest.mark.parametrize("live", [False, True])
async def test_increments_are_right_while_protected_and_after_a_merge(house: House, live: bool) -> None:
    """Whether the undo disk is put on and merged with the machine on or off."""
    before = await house.host.backups.checkpoints(_NAME)
    if not live:
        await house.turn_off()
    await house.protect()
    if not live:
        await house.start()
    await house.write(3, 0x33)
    await house.back_up("while", since="full")
    assert house.restored() == _raw(house.overlay)
    await house.write(5, 0x55)
    if not live:
        await house.turn_off()
    await house.merge()
    mended = await mend_backups(house.host, house.plan, CLOCK, before)
    assert not mended.lost
    if not live:
        assert mended.checkpoints == ("while",)
        assert await house.host.backups.sound_bitmaps(house.tracking(str(house.base))) == {"full", "while"}
        await house.start()
    await house.write(7, 0x77)
    await house.back_up("after", since="while")
    assert house.restored() == _raw(house.base)


@pytest.mark.parametrize("end", ["turned off", "killed"])
@pytest.mark.parametrize("is_known", [True, False])
async def test_a_chain_of_backups_goes_on_after_a_roll_back(house: House, end: str, is_known: bool) -> None:
    """Mended, it restores the rolled back disk byte for byte; a QEMU that was killed has lost its bitmap."""
    before = await house.host.backups.checkpoints(_NAME)
    await house.protect()
    await house.write(3, 0x33)
    await house.back_up("while", since="full")
    await house.write(5, 0x55)
    if end == "killed":
        await _kill_qemu(house)
    else:
        await house.turn_off()
    await house.drop()
    content = _raw(house.base)
    mended = await mend_backups(house.host, house.plan, CLOCK, before if is_known else None)
    assert _raw(house.base) == content
    if end == "killed" and not is_known:
        # Nobody knows then whether its record was there and was lost.
        [sentence] = mended.lost
        assert "from while:" in sentence
        assert "must be a full one" in sentence
        return
    assert not mended.lost
    await house.start()
    await house.write(9, 0x99)
    await house.back_up("after", since="while")
    assert house.restored() == _raw(house.base)
    house.chain[1:] = []
    await house.back_up("again", since="full")
    assert house.restored() == _raw(house.base)


async def test_without_mending_a_roll_back_breaks_the_chain(house: House) -> None:
    """What there is to mend: libvirt lists the checkpoint, and refuses its increments."""
    await house.protect()
    await house.back_up("while", since="full")
    await house.turn_off()
    await house.drop()
    await house.start()
    with pytest.raises(libvirt.libvirtError, match="missing or broken bitmap"):
        await house.back_up("after", since="while")


async def test_a_checkpoint_that_was_made_anew_under_its_name_is_no_old_one(house: House) -> None:
    """As backup programs do at each full backup: its increments have what the undo disk held, too."""
    before = await house.host.backups.checkpoints(_NAME)
    await asyncio.sleep(1)  # libvirt's times of checkpoints are whole seconds
    await house.protect()
    await house.write(3, 0x33)
    await house.program.forget("full")
    house.chain.clear()
    await house.back_up("full")
    await house.turn_off()
    await house.drop()
    assert not (await mend_backups(house.host, house.plan, CLOCK, before)).lost
    await house.start()
    await house.back_up("after", since="full")
    assert house.restored() == _raw(house.base)


async def test_a_checkpoint_that_was_given_up_leaves_no_bitmap(house: House) -> None:
    """Its name can be used again."""
    before = await house.host.backups.checkpoints(_NAME)
    await house.protect()
    await house.program.forget("full")
    await house.turn_off()
    await house.drop()
    await mend_backups(house.host, house.plan, CLOCK, before)
    assert not await house.host.backups.sound_bitmaps(house.tracking(str(house.base)))
    await house.start()
    house.chain.clear()
    await house.back_up("full")
    assert house.restored() == _raw(house.base)


async def test_an_undo_point_is_refused_while_a_backup_is_read_and_waits_for_its_end(house: House) -> None:
    """By a look: libvirt would wait for half a minute, and fail."""
    await house.program.begin("open", since="full")
    with pytest.raises(HypervisorError) as caught:
        await house.protect()
    assert caught.value.code is ErrorCode.ERROR_BUSY
    assert not house.overlay.exists()
    await _act_when_it_ends(house, house.protect)
    assert house.overlay.exists()


async def test_a_merge_is_refused_while_a_backup_is_read_and_waits_for_its_end(house: House) -> None:
    """The backup is whole, and the merge is done after it."""
    await house.protect()
    await house.write(3, 0x33)
    await house.program.begin("open", since="full")
    with pytest.raises(HypervisorError) as caught:
        await house.merge()
    assert caught.value.code is ErrorCode.ERROR_BUSY
    await _act_when_it_ends(house, house.merge)
    assert (await house.host.inventory.get(_NAME)).disks[0].path == str(house.base)


@pytest.mark.parametrize("act", ["protect", "merge"])
async def test_a_job_that_libvirt_knows_nothing_of_is_named_and_waited_for(
    house: House, act: str, tmp_path: Path
) -> None:
    """Some backup programs talk to QEMU itself, which puts a node of its own over the disk meanwhile."""
    if act == "merge":
        await house.protect()
    await house.write(3, 0x33)
    await house.program.begin_past_libvirt("theirs", tmp_path / "theirs.qcow2")
    assert not await house.host.backups.jobs(_NAME)
    said: list[str] = []
    acting = asyncio.ensure_future(
        between_backups(house.host, _NAME, CLOCK, getattr(house, act), say=said.append)
    )
    async with asyncio.timeout(60):
        while not said and not acting.done():
            await asyncio.sleep(0.05)
    await house.program.end_past_libvirt("theirs")
    await acting
    if act == "protect" and not said:
        return  # this QEMU can put an undo disk on meanwhile
    assert f"The disks of {_NAME} are held by the job theirs (backup" in said[0]
    assert said[-1] == "It has ended."


async def test_a_raw_base_needs_a_full_backup_after_a_roll_back(
    embedded_hypervisor: Host,
    echo_guest: TinyGuest,
    define_machine: Callable[..., Awaitable[TinyMachine]],
    tmp_path: Path,
) -> None:
    """Only its undo disk could keep a bitmap; the sentence has the command that frees the machine of it."""
    host = embedded_hypervisor
    machine = await define_machine(_NAME, guest=echo_guest, agent_port=False, disk_format="raw")
    overlay = tmp_path / f"{_NAME}.vda.innkeeper-7.qcow2"
    plan = UndoPlan(
        machine=_NAME, disks=(UndoDisk(target="vda", base=str(machine.disk), overlay=str(overlay)),)
    )
    await host.undo_disks.add(_NAME, plan.overlays)
    await host.lifecycle.start(_NAME, paused=True)
    with LibvirtBackupProgram.on(host.uri, _NAME, tmp_path) as program:
        await program.write("vda", tmp_path / "full.qcow2", "only")
        await host.lifecycle.turn_off(_NAME)
        await host.undo_disks.drop(_NAME, plan.bases)
        [sentence] = (await mend_backups(host, plan, CLOCK, ())).lost
        assert "its format is raw" in sentence
        assert f"virsh checkpoint-delete {_NAME} only --metadata" in sentence
        await program.forget("only", metadata_only=True)
    assert not await host.backups.checkpoints(_NAME)


@pytest.mark.parametrize("image", ["nbd:disk", "/gone/disk.qcow2"])
async def test_bitmaps_that_cannot_be_reached_are_a_sentence(house: House, image: str) -> None:
    """What is on a server, or gone: an error of ours, so that a roll back ends all the same."""
    with pytest.raises(InnkeeperError):
        await house.host.backups.sound_bitmaps(house.tracking(image))


async def _act_when_it_ends(house: House, act: Callable[[], Awaitable[None]]) -> None:
    said: list[str] = []
    acting = asyncio.ensure_future(between_backups(house.host, _NAME, CLOCK, act, say=said.append))
    async with asyncio.timeout(60):
        while not said:
            await asyncio.sleep(0.05)
    assert not acting.done()
    await house.program.end()
    await acting
    assert re.fullmatch(
        rf"A backup of {_NAME} is running \(a backup in pull mode at /\S+ of vda since [-0-9: ]+ UTC, "
        r"for the checkpoint open\): its end is waited for\.",
        said[0],
    ), said
    assert said[1:] == ["It has ended."]


async def _kill_qemu(house: House) -> None:
    mark = f"guest={_NAME},".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if b"qemu-system" in command.split(b"\0")[0] and mark in command:
            os.kill(int(process.name), signal.SIGKILL)
    async with asyncio.timeout(60):
        while (await house.host.inventory.get(_NAME)).state is not MachineState.TURNED_OFF:
            await asyncio.sleep(0.05)
