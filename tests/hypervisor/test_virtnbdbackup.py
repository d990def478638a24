"""A backup program that people use goes on after a roll back: virtnbdbackup, on a libvirt daemon."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from innkeeper.hypervisor.libvirt import libvirt_host
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.backups import mend_backups
from innkeeper.machines.undo.point import UndoDisk, UndoPlan
from innkeeper.tasks.clock import SystemClock
from innkeeper.wire.events import Event, EventKind
from tests.guests.machines import define_tiny_machine, forget
from tests.guests.tiny import TinyGuest
from tests.hypervisor.backup_program import LibvirtBackupProgram
from tests.hypervisor.daemons import Daemon
from tests.hypervisor.test_session_daemon import happened

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(shutil.which("virtnbdbackup") is None, reason="virtnbdbackup is not installed"),
    pytest.mark.skipif(shutil.which("libvirtd") is None, reason="libvirtd is not installed"),
    pytest.mark.skipif(os.geteuid() == 0, reason="root's libvirtd is the system's"),
]

_NAME = "kept-safe"


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Host]:
    """A daemon of its own, connected."""
    home = Path(tempfile.mkdtemp(prefix="ik-", dir="/tmp"))
    daemon = Daemon(home)
    for name, value in daemon.environment.items():
        monkeypatch.setenv(name, value)
    daemon.start()
    events: list[Event] = []
    host = libvirt_host(name="far", uri=daemon.uri, publish=events.append, state_directory=tmp_path)
    await host.connection.open()
    await happened(events, EventKind.HOST_CONNECTED)
    yield host
    await host.connection.close()
    daemon.kill()
    shutil.rmtree(home)


class Virtnbdbackup:
    """The program, and the folder that it keeps its backups in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._backups = folder / "backups"

    async def back_up(self, level: str) -> None:
        """Take a backup of this level."""
        options = ["-d", _NAME, "-l", level, "-o", str(self._backups), "-S", str(self._folder)]
        await self._run("virtnbdbackup", *options)

    async def restored(self) -> bytes:
        """The disk as the backups have it."""
        target = self._folder / "restored"
        await self._run("virtnbdrestore", "-i", str(self._backups), "-o", str(target))
        [image] = target.glob(f"{_NAME}*.qcow2")
        return raw(image)

    async def _run(self, program: str, *options: str) -> None:
        # It takes any longer address for another computer's; the environment names the daemon.
        command = [program, "-U", "qemu:///session", "-n", "-f", str(self._folder / "nbd"), *options]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ""}
        )
        assert done.returncode == 0, done.stderr


def raw(image: Path) -> bytes:
    """What a guest would read."""
    copy = image.with_suffix(".raw-copy")
    subprocess.run(["qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", image, copy], check=True)
    return copy.read_bytes()


async def test_its_increments_go_on_after_a_roll_back(
    host: Host, echo_guest: TinyGuest, tmp_path: Path
) -> None:
    """A full one, an increment through the undo disk, roll back, an increment: the restore is identical."""
    machine = await define_tiny_machine(host, echo_guest, tmp_path, _NAME, agent_port=False)
    overlay = tmp_path / f"{_NAME}.vda.innkeeper-7.qcow2"
    plan = UndoPlan(
        machine=_NAME, disks=(UndoDisk(target="vda", base=str(machine.disk), overlay=str(overlay)),)
    )
    program = Virtnbdbackup(tmp_path)
    with LibvirtBackupProgram.on(host.uri, _NAME, tmp_path) as writer:
        await host.lifecycle.start(_NAME, paused=True)
        await program.back_up("full")
        await writer.monitor("write -P 0x11 1M 100k")
        before = await host.backups.checkpoints(_NAME)
        await host.undo_disks.add(_NAME, plan.overlays)
        await writer.monitor("write -P 0x33 3M 100k")
        await program.back_up("inc")
        await writer.monitor("write -P 0x55 5M 100k")
        await host.lifecycle.turn_off(_NAME)
        await host.undo_disks.drop(_NAME, plan.bases)
        mended = await mend_backups(host, plan, SystemClock(), before)
        assert (mended.checkpoints, mended.lost) == (("virtnbdbackup.1",), ())
        overlay.unlink()
        await host.lifecycle.start(_NAME, paused=True)
        await writer.monitor("write -P 0x77 7M 100k")
        await program.back_up("inc")
        assert await program.restored() == raw(machine.disk)
    for checkpoint in await host.backups.checkpoints(_NAME):
        assert checkpoint.name.startswith("virtnbdbackup.")
    await host.lifecycle.turn_off(_NAME)
    await forget(host, _NAME)
