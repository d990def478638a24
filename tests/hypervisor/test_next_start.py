"""A running machine whose next start has other disks, or none at all, is refused before it is touched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import libvirt
import pytest

from innkeeper.errors import DiskError, ErrorCode, MachineUnfit
from innkeeper.hypervisor.libvirt.link import Link
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.point import UndoPoint
from innkeeper.tasks.clock import SystemClock
from tests.hypervisor import storages
from tests.hypervisor.storages import Stored

pytestmark = pytest.mark.qemu

_NAME = "next"


@pytest.fixture
async def disks(embedded_hypervisor: Host, tmp_path: Path) -> AsyncIterator[list[Stored]]:
    """Two disks; the machine that has them is forgotten afterwards."""
    yield [await asyncio.to_thread(storages.file_disk, tmp_path, target) for target in ("vda", "vdb")]
    await embedded_hypervisor.lifecycle.turn_off(_NAME)
    await embedded_hypervisor.definitions.undefine(_NAME)


async def refusal(host: Host) -> MachineUnfit:
    """What a run is refused for."""
    with pytest.raises(MachineUnfit) as caught:
        await plan_undo_point(host, await host.inventory.get(_NAME), 7, UndoRules())
    return caught.value


async def run_and_redefine(host: Host, now: list[Stored], then: list[Stored]) -> None:
    """Start a machine, standing still, and give its next start other disks."""
    await host.definitions.define(storages.machine_xml(_NAME, now))
    await host.lifecycle.start(_NAME, paused=True)
    uuid = (await host.inventory.get(_NAME)).uuid
    text = storages.machine_xml(_NAME, then).replace("</name>", f"</name><uuid>{uuid}</uuid>", 1)
    await host.definitions.define(text)


async def test_a_disk_of_the_next_start_alone_is_refused(
    embedded_hypervisor: Host, disks: list[Stored]
) -> None:
    """The update's restart would let the guest write to it past all undo disks."""
    await run_and_redefine(embedded_hypervisor, disks[:1], disks)
    error = await refusal(embedded_hypervisor)
    assert "vdb of next comes with its next start only" in error.sentence
    assert "Shut the machine down" in error.advice


async def test_a_disk_of_the_running_machine_alone_is_refused(
    embedded_hypervisor: Host, disks: list[Stored]
) -> None:
    """With what makes it last, and what takes it away."""
    await run_and_redefine(embedded_hypervisor, disks, disks[:1])
    error = await refusal(embedded_hypervisor)
    assert "vdb of next was attached to the running machine alone" in error.sentence
    assert "--config" in error.advice
    assert "--undo-exclude vdb" in error.advice


async def test_a_transient_machine_is_refused(embedded_hypervisor: Host, disks: list[Stored]) -> None:
    """Defined, as the refusal says, it is taken."""
    text = storages.machine_xml(_NAME, disks)

    def create(connect: libvirt.virConnect) -> None:
        connect.createXML(text, libvirt.VIR_DOMAIN_START_PAUSED)

    link = embedded_hypervisor.connection
    assert isinstance(link, Link)
    await link.libvirt.command(create, "create", _NAME)
    error = await refusal(embedded_hypervisor)
    assert "is transient" in error.sentence
    assert error.way_out.endswith("virsh define next.xml")
    uuid = (await embedded_hypervisor.inventory.get(_NAME)).uuid
    await embedded_hypervisor.definitions.define(text.replace("</name>", f"</name><uuid>{uuid}</uuid>", 1))
    await plan_undo_point(embedded_hypervisor, await embedded_hypervisor.inventory.get(_NAME), 7, UndoRules())


async def test_a_file_in_the_place_of_an_undo_disk_is_never_deleted(
    embedded_hypervisor: Host, disks: list[Stored], tmp_path: Path
) -> None:
    """Whatever it is: a text, or an undo disk over another image; half of one of its own is cleared away."""
    host = embedded_hypervisor
    await host.definitions.define(storages.machine_xml(_NAME, disks[:1]))
    undo = UndoPoint(
        host,
        await plan_undo_point(host, await host.inventory.get(_NAME), 7, UndoRules()),
        clock=SystemClock(),
    )
    overlay = Path(undo.plan.overlays["vda"])

    async def is_refused() -> None:
        before = await asyncio.to_thread(overlay.read_bytes)
        assert (await refusal(host)).code is ErrorCode.ERROR_ALREADY_EXISTS
        for attempt in (undo.take(freeze_seconds=1), host.undo_disks.add(_NAME, undo.plan.overlays)):
            with pytest.raises(DiskError, match="is left as it is") as caught:
                await attempt
            assert caught.value.code is ErrorCode.ERROR_ALREADY_EXISTS
        # To add it begins with a note in the definition.
        await host.undo_disks.drop(_NAME, undo.plan.bases)
        await undo.delete_files()
        assert await asyncio.to_thread(overlay.read_bytes) == before

    await asyncio.to_thread(overlay.write_text, "precious")
    await is_refused()
    overlay.unlink()
    other = await asyncio.to_thread(storages.make, tmp_path / "other.qcow2", "qcow2")
    await asyncio.to_thread(storages.make, overlay, "qcow2", "-b", str(other), "-F", "qcow2")
    await is_refused()
    overlay.unlink()
    for beginning in (b"", bytes(4096)):
        await asyncio.to_thread(overlay.write_bytes, beginning)
        await undo.take(freeze_seconds=1)
        assert (await host.inventory.get(_NAME)).disks[0].path == str(overlay)
        await undo.drop()
        await undo.delete_files()
        assert not overlay.exists()
