"""Contract of ``machines.ports.image_files``."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

from innkeeper.machines.ports.image_files import Hindrance
from tests.hypervisor.contracts.subject import Subject, an_image


class ImageFilesContract:
    """The files of disk images are identified, compared, copied and found."""

    async def test_a_file_is_the_same_until_it_changes(self, subject: Subject) -> None:
        """And one that is not there has no identity."""
        path = await an_image(subject)
        files = subject.hypervisor.files
        before = await files.identity(path)
        assert before is not None
        assert before == await files.identity(path)
        Path(path).write_bytes(b"other")
        assert await files.identity(path) != before
        assert await files.identity(str(subject.directory / "nowhere")) is None

    async def test_equal_contents_have_equal_checksums(self, subject: Subject) -> None:
        """And different ones have not."""
        path = await an_image(subject)
        copy = str(subject.directory / "copy.img")
        files = subject.hypervisor.files
        Path(copy).write_bytes(Path(path).read_bytes())
        assert await files.checksum(copy) == await files.checksum(path)
        Path(copy).write_bytes(Path(copy).read_bytes() + b"more")
        assert await files.checksum(copy) != await files.checksum(path)

    async def test_files_are_found_by_a_part_of_their_names(self, subject: Subject) -> None:
        """In order."""
        for name in ("b.undo-7", "a.undo-7", "c.other"):
            (subject.directory / name).write_bytes(b"")
        found = await subject.hypervisor.files.find(str(subject.directory), ".undo-7")
        assert [Path(each).name for each in found] == ["a.undo-7", "b.undo-7"]

    async def test_what_keeps_an_image_from_an_undo_disk_is_seen(self, subject: Subject) -> None:
        """By what it is and who may write to it; a sound one, and its folder, are not complained of."""
        path, files = await an_image(subject), subject.hypervisor.files

        async def hindrance(path: str) -> Hindrance | None:
            return await files.image_hindrance(path, "raw", is_device=False, is_idle=True)

        assert await hindrance(path) is None
        assert await hindrance(str(subject.directory)) is Hindrance.FOLDER
        assert await hindrance(str(subject.directory / "nowhere")) is Hindrance.MISSING
        Path(path).chmod(0o400)
        assert await hindrance(path) is Hindrance.NO_WRITES
        assert await files.folder_hindrance(str(subject.directory), "a.qcow2") is None
        assert await files.folder_hindrance(path, "a.qcow2") is Hindrance.MISSING
        assert await files.folder_hindrance(str(subject.directory), "a" * 256) is Hindrance.LONG_NAME

    async def test_an_image_that_stands_alone_leads_nowhere(self, subject: Subject) -> None:
        """Whatever the folders are; one over another leads to that one."""
        files, base = subject.hypervisor.files, subject.directory / "base.img"
        base.write_bytes(bytes(512))
        assert await files.outside(str(base), "raw", []) == ""
        over = str(subject.directory / "over.qcow2")
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(base), over]
        await asyncio.to_thread(subprocess.run, command, check=True)
        assert await files.outside(over, "qcow2", []) == str(base)
        assert await files.outside(over, "qcow2", [], [str(base)]) == ""
        assert await files.outside(over, "qcow2", [str(subject.directory)]) == ""
