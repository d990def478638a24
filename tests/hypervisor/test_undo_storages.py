"""Undo disks over every storage, of one machine that has them all, on real QEMU."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from innkeeper.machines.ports.host import Host
from tests.hypervisor import storages
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


@pytest.mark.parametrize(("end", "written"), [(keep, True), (roll_back, False)])
@pytest.mark.parametrize("running", [False, True])
async def test_all_storages_are_kept_or_rolled_back_together(
    mixed: Mixed, tmp_path: Path, running: bool, end: End, written: bool
) -> None:
    """The definition is the one from before, and the golden image is as it was."""
    golden = storages.digest(tmp_path / "golden.qcow2")
    await round_trip(mixed, running, end, written)
    assert storages.digest(tmp_path / "golden.qcow2") == golden


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
