"""Contract of ``machines.ports.disks``."""

from __future__ import annotations

from pathlib import Path

from innkeeper.machines.machine import DiskKind
from tests.hypervisor.contracts.subject import Subject, an_image


class DisksContract:
    """Disk images are looked at and deleted."""

    async def test_an_image_that_stands_on_nothing_is_its_own_chain(self, subject: Subject) -> None:
        """Alone in it."""
        for path in (await subject.sources()).values():
            assert list(await subject.hypervisor.disks.backing_chain(path)) == [path]

    async def test_an_image_is_deleted_once(self, subject: Subject) -> None:
        """Asked again, nothing happens."""
        path = await an_image(subject)
        for _ in range(2):
            await subject.hypervisor.disks.delete(path)
            assert not Path(path).exists()

    async def test_the_room_left_is_known(self, subject: Subject) -> None:
        """Of the directory that disks lie in."""
        assert await subject.hypervisor.disks.free_bytes(str(subject.directory)) > 0

    async def test_no_disk_needs_an_export_but_a_vhd(self, subject: Subject) -> None:
        """A machine without one keeps its definition."""
        before = await subject.hypervisor.definitions.read(subject.name)
        assert list(await subject.hypervisor.disks.use_exports(subject.name)) == []
        assert await subject.hypervisor.definitions.read(subject.name) == before

    async def test_the_storage_of_a_disk_is_told_below_its_undo_disk(self, subject: Subject) -> None:
        """What holds the content is one and the same, with an undo disk on it and without."""
        sources, disks = await subject.sources(), subject.hypervisor.disks
        before = {target: await disks.storage(subject.name, target) for target in sources}
        for target, storage in before.items():
            assert (storage.source, storage.path, storage.kind) == (sources[target],) * 2 + (DiskKind.FILE,)
            assert storage.chain == (sources[target],)
            assert storage.size_bytes > 0
        overlays = subject.overlays(sources, "innkeeper-7.qcow2")
        await subject.hypervisor.undo_disks.add(subject.name, overlays)
        assert {target: await disks.storage(subject.name, target) for target in sources} == before
        await subject.hypervisor.undo_disks.drop(subject.name, sources)

    async def test_the_hosts_folder_for_undo_disks_is_there(self, subject: Subject) -> None:
        """A disk that lies in no folder has its overlay there."""
        directory = await subject.hypervisor.disks.undo_directory()
        assert await subject.hypervisor.disks.free_bytes(directory) > 0
