"""Undo disks over every storage, of one machine that has them all, on real QEMU."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import libvirt
import pytest

from innkeeper.errors import InnkeeperError, MachineUnfit, NotSupported
from innkeeper.hypervisor.libvirt import embedded_root
from innkeeper.hypervisor.libvirt.domains import current
from innkeeper.hypervisor.libvirt.link import Link
from innkeeper.hypervisor.libvirt.merging import MergeStage, advance_merge
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.point import UndoPlan
from tests.hypervisor import storages
from tests.hypervisor.service import Service
from tests.hypervisor.storages import Stored
from tests.hypervisor.undo_definitions import canonical
from tests.hypervisor.undo_round_trips import NAME, End, Mixed, keep, roll_back, round_trip

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(bool(storages.MISSING), reason=f"{storages.MISSING} are not installed"),
]


@pytest.fixture
async def mixed(embedded_hypervisor: Host, tmp_path: Path) -> AsyncIterator[Mixed]:
    """One with a file, two network disks and two linked clones, off."""
    clones = await asyncio.to_thread(storages.clones, tmp_path, ["vdd", "vde"])
    first = await asyncio.to_thread(storages.file_disk, tmp_path, "vda")
    with storages.network_disks(tmp_path, ["vdb", "vdc"]) as remote:
        disks = [first, *remote, *clones]
        await embedded_hypervisor.definitions.define(storages.machine_xml(NAME, disks))
        yield Mixed(embedded_hypervisor, disks)
        await embedded_hypervisor.lifecycle.turn_off(NAME)
        await embedded_hypervisor.definitions.undefine(NAME)


@pytest.fixture
def service(state_directory: Path) -> Iterator[Service]:
    """A host of its own, whose QEMU has been probed already."""
    path = Path(tempfile.mkdtemp(prefix="ik-", dir="/tmp"))
    cache = "cache/qemu/capabilities"
    shutil.copytree(embedded_root(state_directory) / cache, embedded_root(path) / cache)
    service = Service(path)
    yield service
    service.kill_qemu()
    shutil.rmtree(path)


@pytest.mark.parametrize(("end", "written"), [(keep, True), (roll_back, False)])
@pytest.mark.parametrize("running", [False, True])
async def test_all_storages_are_kept_or_rolled_back_together(
    mixed: Mixed, tmp_path: Path, running: bool, end: End, written: bool
) -> None:
    """The definition is the one from before, and the golden image is as it was."""
    golden = storages.digest(tmp_path / "golden.qcow2")
    await round_trip(mixed, running, end, written)
    assert storages.digest(tmp_path / "golden.qcow2") == golden


async def test_undo_disks_over_the_network_are_for_their_owner_alone(mixed: Mixed) -> None:
    """Whatever the umask: no image on this computer has a mode to take over."""
    plan = await mixed.plan()
    before = os.umask(0o022)
    try:
        await mixed.host.undo_disks.add(NAME, plan.overlays)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(Path(plan.overlays[each]).stat().st_mode) for each in ("vdb", "vdc")] == [0o600] * 2
    await mixed.host.undo_disks.drop(NAME, plan.bases)


async def test_a_volume_on_a_libvirt_without_pools_is_refused_in_words(embedded_hypervisor: Host) -> None:
    """Its storage driver is never asked for: it would end this process."""
    source = "<source pool='people' volume='web.qcow2'/>"
    definition = storages.disk("vda", "volume", "qcow2", source)
    volume = Stored(target="vda", definition=definition, file=Path("/none"), format="qcow2")
    await embedded_hypervisor.definitions.define(storages.machine_xml(NAME, [volume]))
    with pytest.raises(NotSupported, match=r"people/web\.qcow2 of a storage pool.* has no pools") as caught:
        await Mixed(embedded_hypervisor, [volume]).plan()
    assert "Name the volume's file" in caught.value.advice
    await embedded_hypervisor.definitions.undefine(NAME)


async def test_undo_disks_are_at_one_moment_or_refused(mixed: Mixed) -> None:
    """What a crash left undone is done where the machine is off; one that runs has gone on since."""
    before, plan = await canonical(mixed.host, NAME), await mixed.plan()
    first = {"vda": plan.overlays["vda"]}
    for running in (True, False):
        await mixed.host.undo_disks.add(NAME, first)
        if running:
            await mixed.host.lifecycle.start(NAME, paused=True)
            with pytest.raises(MachineUnfit, match="'vdb' has not"):
                await mixed.host.undo_disks.add(NAME, plan.overlays)
            assert (await storages.sources(mixed.host, NAME)) == {**plan.bases, **first}
            await mixed.host.lifecycle.turn_off(NAME)
        else:
            await mixed.host.undo_disks.add(NAME, plan.overlays)
            assert (await storages.sources(mixed.host, NAME)) == plan.overlays
        await mixed.host.undo_disks.drop(NAME, plan.bases)
        assert await canonical(mixed.host, NAME) == before


async def test_a_merge_that_was_killed_between_disks_is_finished(mixed: Mixed) -> None:
    """All disks were ready, two were on their bases already: the definition names some of each."""
    before, plan = await canonical(mixed.host, NAME), await mixed.plan()
    await mixed.host.lifecycle.start(NAME, paused=True)
    await mixed.host.undo_disks.add(NAME, plan.overlays)
    await mixed.write()
    await merge_halfway(mixed.host, plan, ["vda", "vdc"])
    assert await storages.sources(mixed.host, NAME) == {
        target: plan.bases[target] if target in ("vda", "vdc") else overlay
        for target, overlay in plan.overlays.items()
    }
    for _ in range(2):
        await mixed.host.undo_disks.merge(NAME, plan.bases)
    assert await canonical(mixed.host, NAME) == before
    assert set((await storages.contents(mixed.disks)).values()) == {True}


async def merge_halfway(host: Host, plan: UndoPlan, done: list[str]) -> None:
    """Merge all disks until they are ready, go over to the base of some, and kill QEMU."""
    link = host.connection
    assert isinstance(link, Link)

    def work(connect: libvirt.virConnect) -> None:
        domain = connect.lookupByName(NAME)
        for target, base in plan.bases.items():
            advance_merge(connect, NAME, target, base, bandwidth_mib=0)
        while any(each.mirror_ready != "yes" for each in current(domain).disks()):
            time.sleep(0.02)
        for target in done:
            while (
                advance_merge(connect, NAME, target, plan.bases[target], bandwidth_mib=0).stage
                is not MergeStage.DONE
            ):
                time.sleep(0.02)
        mark = f"guest={NAME},".encode()
        for process in Path("/proc").glob("[0-9]*"):
            # A process may end between two looks at it.
            with contextlib.suppress(OSError):
                if mark in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
        while domain.isActive():
            time.sleep(0.02)

    await link.libvirt.command(work, "merge half of", NAME)


async def test_a_merge_into_a_server_that_died_is_finished_with_the_machine_off(
    embedded_hypervisor: Host, tmp_path: Path
) -> None:
    """The server coming back is nothing to a QEMU that has lost it; one that is started for the merge is."""
    host = embedded_hypervisor
    with storages.network_disks(tmp_path, ["vda", "vdb"]) as disks:
        await host.definitions.define(storages.machine_xml(NAME, disks))
        before, mixed = await canonical(host, NAME), Mixed(host, disks)
        plan = await mixed.plan()
        await host.undo_disks.add(NAME, plan.overlays)
        await host.lifecycle.start(NAME, paused=True)
        await mixed.write()
    with pytest.raises(InnkeeperError):
        await host.undo_disks.merge(NAME, plan.bases)
    assert await storages.sources(host, NAME) == plan.overlays
    await host.lifecycle.turn_off(NAME)
    with storages.network_servers(tmp_path):
        await host.undo_disks.merge(NAME, plan.bases)
    assert await canonical(host, NAME) == before
    assert await storages.contents(disks) == {"vda": True, "vdb": True}
    await host.definitions.undefine(NAME)


def test_undo_disks_whose_making_was_killed_are_made_again(service: Service, tmp_path: Path) -> None:
    """By a QEMU that is there for it alone, which outlives the service; nothing is left of it."""
    overlays = {target: str(tmp_path / f"{target}.innkeeper-7.qcow2") for target in ("vda", "vdb")}
    with storages.network_disks(tmp_path, ["vda", "vdb"]) as disks:
        service.run("define", storages.machine_xml(NAME, disks))
        service.kill_as_soon_as(Path(overlays["vda"]).exists, "add_overlays", NAME, overlays)
        service.run("add_overlays", NAME, overlays)
        assert service.run("look", NAME) == {"state": "TURNED_OFF", "sources": overlays}
        assert service.qemu_processes() == []


@pytest.mark.skipif(not storages.DEVICES, reason="INNKEEPER_TEST_DEVICES names no two block devices")
@pytest.mark.parametrize(("end", "written"), [(keep, True), (roll_back, False)])
@pytest.mark.parametrize("running", [False, True])
async def test_block_devices_are_kept_or_rolled_back_together(
    embedded_hypervisor: Host, running: bool, end: End, written: bool
) -> None:
    """Their overlays lie among the host's undo disks."""
    disks = await asyncio.to_thread(storages.block_devices, ["vda", "vdb"])
    await embedded_hypervisor.definitions.define(storages.machine_xml(NAME, disks))
    await round_trip(Mixed(embedded_hypervisor, disks), running, end, written)
    await embedded_hypervisor.definitions.undefine(NAME)
