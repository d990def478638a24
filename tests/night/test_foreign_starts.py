"""What starts machines that have stopped does not let a half-done update run, on a real libvirtd."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from innkeeper.machines.machine import MachineState
from innkeeper.updates.booking import Verdict
from tests.guests.machines import EMULATED
from tests.guests.tiny import TinyGuest
from tests.hypervisor.daemons import HookedDaemon, a_home, until_it_answers
from tests.night.near import NEEDS_LIBVIRTD, POLICY, near_inn

_HOOK = Path(__file__).parents[2] / "packaging/libvirt-hook"


@contextlib.contextmanager
def _starter(uri: str, name: str) -> Iterator[list[str]]:
    """Somebody who starts a machine whenever it is off, as a watchdog does; the disks of each start."""
    started: list[str] = []
    is_over = threading.Event()

    def watch() -> None:
        connect = libvirt.open(uri)
        domain = connect.lookupByName(name)
        while not is_over.is_set():
            with contextlib.suppress(libvirt.libvirtError):
                if not domain.isActive():
                    domain.create()
                    started.append(domain.XMLDesc(0))
            time.sleep(0.01)
        connect.close()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield started
    finally:
        is_over.set()
        thread.join()


class TestNights:
    """Whole nights with somebody who starts the machine whenever it is off."""

    pytestmark = NEEDS_LIBVIRTD

    async def test_a_bad_update_is_rolled_back_though_the_machine_is_started_at_once(
        self, tiny_guest: TinyGuest
    ) -> None:
        """It comes up on its own disk, whoever starts it; nothing of the update is left."""
        async with near_inn() as inn:
            machine = await inn.add(tiny_guest)
            with _starter(inn.daemon.uri, "web") as started:
                await inn.book(b"fill fail")
                report = await inn.report()
            assert report.verdict is Verdict.ROLLED_BACK, await inn.log()
            assert len(started) == 1
            assert "innkeeper-" not in started[0].partition("<devices>")[2]
            found = await inn.machine()
            assert found.state is MachineState.RUNNING
            assert found.disks[0].path == str(machine.disk)
            assert not list(inn.daemon.home.glob("*.innkeeper-*"))
            assert "held-until" not in await inn.host.definitions.read("web")
            assert "urn:innkeeper:undo" not in await inn.host.definitions.read("web")

    @pytest.mark.parametrize("acts", [("reset",), ("destroy",), ("destroy", "create"), ("managedSave",)])
    async def test_a_good_update_is_kept_whatever_somebody_does_while_it_is_watched(
        self, tiny_guest: TinyGuest, acts: tuple[str, ...]
    ) -> None:
        """Its guest is well again; where nobody starts it, the run has done so."""
        async with near_inn(policy=dataclasses.replace(POLICY, soak_seconds=15)) as inn:
            machine = await inn.add(tiny_guest)
            await inn.book(b"fill")
            await inn.until_said("phase: Watching the guest for a while")
            await asyncio.to_thread(_act, inn.daemon.uri, "web", acts)
            report = await inn.report()
            assert report.verdict is Verdict.KEPT, (report.reasons, await inn.log())
            found = await inn.machine()
            assert (found.state, found.disks[0].path) == (MachineState.RUNNING, str(machine.disk))
            assert not list(inn.daemon.home.glob("*.innkeeper-*"))
            # A start is no reset: libvirt tells of none.
            assert report.reboots == (1 if acts == ("reset",) else 0), report.reboot_words


def _act(uri: str, name: str, acts: tuple[str, ...]) -> None:
    """Do what ``virsh`` does, with the same calls."""
    connect = libvirt.open(uri)
    domain = connect.lookupByName(name)
    for act in acts:
        getattr(domain, act)(*([0] if act in ("reset", "managedSave") else []))
    connect.close()


@pytest.mark.qemu
@pytest.mark.skipif(shutil.which("libvirtd") is None, reason="libvirtd is not installed")
@pytest.mark.skipif(os.geteuid() == 0, reason="root's libvirtd is the system's")
@pytest.mark.skipif(not Path("/etc/libvirt").is_dir(), reason="libvirtd has no place for hooks")
async def test_libvirtd_refuses_to_start_a_machine_that_is_held() -> None:
    """By the hook, whose sentence is in libvirt's error; and starts it as soon as it is held no more."""
    definition = f"""<domain type='{EMULATED}'><name>web</name><memory unit='MiB'>64</memory>
      <metadata>
        <innkeeper:machine xmlns:innkeeper="urn:innkeeper:machine:1" undoable='no' held-until='UNTIL'/>
      </metadata>
      <os><type machine='q35'>hvm</type></os>
    </domain>"""
    with a_home() as home:
        daemon = HookedDaemon(home, _HOOK)
        daemon.start()
        try:
            await until_it_answers(daemon.uri)
            connect = libvirt.open(daemon.uri)
            held = connect.defineXML(definition.replace("UNTIL", str(int(time.time()) + 600)))
            with pytest.raises(libvirt.libvirtError, match="Innkeeper is bringing web back"):
                held.create()
            held.undefine()
            free = connect.defineXML(definition.replace("UNTIL", "1"))
            free.create()
            free.destroy()
            connect.close()
        finally:
            daemon.end()


@pytest.mark.parametrize(
    ("operation", "held_for", "refused"),
    [("prepare", 600, True), ("prepare", -1, False), ("prepare", None, False), ("release", 600, False)],
)
def test_the_hook_refuses_starts_of_machines_that_are_brought_back(
    operation: str, held_for: int | None, refused: bool
) -> None:
    """Until the time that the definition says, and never where it says none: it asks nobody."""
    held = "" if held_for is None else f" held-until='{int(time.time()) + held_for}'"
    definition = f"""<domain><metadata>
      <innkeeper:machine xmlns:innkeeper="urn:innkeeper:machine:1" undoable='no'{held}/>
    </metadata></domain>"""
    done = subprocess.run(
        [_HOOK, "web", operation, "begin", "-"], input=definition, capture_output=True, text=True, check=False
    )
    assert done.returncode == int(refused)
    assert ("bringing web back" in done.stderr) == refused
