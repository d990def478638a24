"""A machine on a differencing VHD, on real QEMU: started, saved, restored, undone, merged, and killed at."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks.export_files import ExportFiles
from innkeeper.disks.kind import Kind
from innkeeper.errors import DiskError, ErrorCode, InnkeeperError, MachineUnfit
from innkeeper.hypervisor.libvirt import undo_disks
from innkeeper.machines.machine import DiskKind, MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.wire.byte_pipe import BytePipe
from tests.guests import tiny
from tests.guests.machines import TinyMachine, forget, tiny_definition, until
from tests.guests.tiny import TinyGuest

pytestmark = pytest.mark.qemu

_PORT = "<channel type='unix'><target type='virtio' name='org.innkeeper.agent.0'/></channel>"


def make_chain(directory: Path) -> Path:
    """A child over a parent that has the guest's file system."""
    raw = directory / "made.raw"
    tiny.data_disk(raw)
    parent = disks.convert(raw, directory / "p.vhd", Kind.DYNAMIC, source_kind=Kind.RAW)
    raw.unlink()
    return disks.create_differencing(directory / "c.vhd", parent)


@pytest.fixture
def child(tmp_path: Path) -> Path:
    """The machine's disk."""
    return make_chain(tmp_path)


@pytest.fixture
async def machine(
    embedded_hypervisor: Host, echo_guest: TinyGuest, child: Path
) -> AsyncIterator[TinyMachine]:
    """A machine, off, whose definition names the VHD as a person would: as QEMU must not have it."""
    made = TinyMachine(name="vhd", disk=child, console=child.with_name("console"))
    await embedded_hypervisor.definitions.define(tiny_definition(made, echo_guest, "vpc", _PORT))
    yield made
    with contextlib.suppress(InnkeeperError):
        await embedded_hypervisor.saved_states.discard("vhd")
        await forget(embedded_hypervisor, "vhd")


async def say(host: Host, words: bytes) -> bytes:
    """Say words to the program in the guest; returns its answer."""
    pipe: BytePipe = await host.agent_ports.open("vhd")
    try:
        async with asyncio.timeout(60):
            await pipe.write(words)
            return await pipe.read()
    finally:
        await pipe.close()


async def path_of(host: Host) -> str:
    """The file that takes the writes of the machine's disk."""
    (disk,) = (await host.inventory.get("vhd")).disks
    assert disk.kind is DiskKind.FILE
    return disk.path


async def released(state_directory: Path, path: Path) -> None:
    """Return when no export has the disk any more."""
    files = ExportFiles.of(state_directory / "exports", str(path))
    async with asyncio.timeout(30):
        while await asyncio.to_thread(files.process) is not None:
            await asyncio.sleep(0.05)


async def test_qemu_never_gets_a_differencing_disk_itself(
    embedded_hypervisor: Host, machine: TinyMachine
) -> None:
    """It would read it as if it had no parent. The refusal says what to do, and that can be done."""
    host = embedded_hypervisor
    with pytest.raises(MachineUnfit) as refused:
        await host.lifecycle.start("vhd")
    assert refused.value.code is ErrorCode.VM_E_UNSUPPORTED_HD_DISK_TYPE
    assert "innkeeper disk connect vhd" in refused.value.advice
    assert (await host.inventory.get("vhd")).state is MachineState.TURNED_OFF
    assert await host.disks.use_exports("vhd") == ["vda"]
    assert await host.disks.use_exports("vhd") == []
    (disk,) = (await host.inventory.get("vhd")).disks
    assert (disk.path, disk.format, disk.kind) == (str(machine.disk), "vhd", DiskKind.FILE)
    assert list(await host.disks.backing_chain(disk.path)) == [disk.path]
    assert await host.files.virtual_size(disk.path, disk.format) == 16 << 20
    (drive,) = (await host.configurations.read("vhd")).drives
    assert drive.path == str(machine.disk)


async def test_a_chain_that_cannot_be_opened_is_not_connected(
    embedded_hypervisor: Host, machine: TinyMachine
) -> None:
    """The definition stays as it is, and the documented error says why."""
    machine.disk.with_name("p.vhd").rename(machine.disk.with_name("gone.vhd"))
    before = await embedded_hypervisor.definitions.read("vhd")
    with pytest.raises(DiskError) as refused:
        await embedded_hypervisor.disks.use_exports("vhd")
    assert refused.value.code is ErrorCode.VM_E_PARENT_PATH_NOT_FOUND
    assert await embedded_hypervisor.definitions.read("vhd") == before


async def test_a_machine_lives_on_a_chain(
    embedded_hypervisor: Host,
    machine: TinyMachine,
    state_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Written, saved, restored, undone while it runs and while it is off, discarded and merged."""
    host, vhd = embedded_hypervisor, str(machine.disk)
    await host.disks.use_exports("vhd")
    await host.lifecycle.start("vhd")
    assert await say(host, b"write first") == b"written"
    await host.saved_states.save("vhd")
    await released(state_directory, machine.disk)
    await host.lifecycle.start("vhd")
    assert await say(host, b"read") == b"first"
    # An undo disk while it runs, and a save on top of it.
    undo = str(machine.disk.with_name("vhd.vda.innkeeper-7.qcow2"))
    await host.undo_disks.add("vhd", {"vda": undo})
    assert await path_of(host) == undo
    assert list(await host.disks.backing_chain(undo)) == [undo, vhd]
    assert await say(host, b"write second") == b"written"
    await host.saved_states.save("vhd")
    await released(state_directory, machine.disk)
    assert list(await host.disks.backing_chain(undo)) == [undo, vhd], "also with no export running"
    await host.lifecycle.start("vhd")
    assert await say(host, b"read") == b"second"
    await host.undo_disks.merge("vhd", {"vda": vhd})
    assert await path_of(host) == vhd
    assert await say(host, b"read") == b"second"
    await host.lifecycle.turn_off("vhd")
    await host.disks.delete(undo)
    # One while it is off: discarded.
    await host.undo_disks.add("vhd", {"vda": undo})
    await host.lifecycle.start("vhd")
    assert await say(host, b"write third") == b"written"
    await host.lifecycle.turn_off("vhd")
    await host.undo_disks.drop("vhd", {"vda": vhd})
    await host.disks.delete(undo)
    assert await path_of(host) == vhd
    # And one that is merged while it is off, without a start.
    monkeypatch.delattr(undo_disks, "begin_without_processor")
    await host.undo_disks.add("vhd", {"vda": undo})
    await host.lifecycle.start("vhd")
    assert await say(host, b"read") == b"second"
    assert await say(host, b"write fourth") == b"written"
    await host.lifecycle.turn_off("vhd")
    await host.undo_disks.merge("vhd", {"vda": vhd})
    assert (await host.inventory.get("vhd")).state is MachineState.TURNED_OFF
    assert await path_of(host) == vhd
    await host.disks.delete(undo)
    # At last the child goes into its parent.
    await released(state_directory, machine.disk)
    findings = await asyncio.to_thread(lambda: disks_check(machine.disk))
    assert findings == []
    await asyncio.to_thread(lambda: disks.open(machine.disk).convert(machine.disk.with_name("flat"), "raw"))
    assert b"fourth" in await asyncio.to_thread(machine.disk.with_name("flat").read_bytes)


def disks_check(path: Path) -> list[str]:
    """What is wrong with a disk."""
    from innkeeper.disks.check import check

    return [finding.sentence for finding in check(path, deep=True)]


async def test_a_saved_machine_is_tried_on_an_undo_disk_and_put_back(
    embedded_hypervisor: Host, machine: TinyMachine, state_directory: Path
) -> None:
    """As a night does with a machine found saved: its memory is kept for the way back."""
    host, vhd = embedded_hypervisor, str(machine.disk)
    await host.disks.use_exports("vhd")
    await host.lifecycle.start("vhd")
    assert await say(host, b"write before") == b"written"
    await host.saved_states.save("vhd")
    undo = str(machine.disk.with_name("vhd.vda.innkeeper-8.qcow2"))
    await host.saved_states.restore_keeping("vhd", {"vda": undo})
    assert await say(host, b"write meanwhile") == b"written"
    await host.lifecycle.turn_off("vhd")
    await host.undo_disks.drop("vhd", {"vda": vhd})
    assert (await host.inventory.get("vhd")).state is MachineState.SAVED
    await host.lifecycle.start("vhd")
    assert await say(host, b"read") == b"before"


async def test_a_killed_export_is_started_again_and_the_guest_goes_on(
    embedded_hypervisor: Host, machine: TinyMachine, state_directory: Path
) -> None:
    """The machine waits for its disk meanwhile; what it had written is there."""
    host = embedded_hypervisor
    await host.disks.use_exports("vhd")
    await host.lifecycle.start("vhd")
    assert await say(host, b"write before") == b"written"
    files = ExportFiles.of(state_directory / "exports", str(machine.disk))
    process = await asyncio.to_thread(files.process)
    assert process is not None
    os.kill(process, signal.SIGKILL)
    assert await say(host, b"write after") == b"written"
    assert await say(host, b"read") == b"after"
    await until(host, "vhd", MachineState.RUNNING, timeout=30)
    again = await asyncio.to_thread(files.process)
    assert again not in (None, process)
    await host.lifecycle.turn_off("vhd")
    await released(state_directory, machine.disk)
    await asyncio.to_thread(lambda: disks.open(machine.disk).convert(machine.disk.with_name("flat"), "raw"))
    assert b"after" in await asyncio.to_thread(machine.disk.with_name("flat").read_bytes)
