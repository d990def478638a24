"""Contract of ``machines.ports.image_maker``."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.errors import DiskError
from tests.hypervisor.contracts.subject import Subject


class ImageMakerContract:
    """Image files and small texts are made whole, and never over what is there."""

    async def test_an_image_that_is_there_stays_as_it_is(self, subject: Subject) -> None:
        """Made again, nothing happens."""
        path = str(subject.directory / "new.qcow2")
        await subject.hypervisor.images.create(path, 1 << 20)
        made = Path(path).read_bytes()
        await subject.hypervisor.images.create(path, 2 << 20)
        assert Path(path).read_bytes() == made

    async def test_a_text_is_read_as_it_was_written(self, subject: Subject) -> None:
        """And one that is not there is an error of disks."""
        path = str(subject.directory / "notes.xml")
        await subject.hypervisor.images.write(path, "<a>\u00e9</a>\n")
        assert await subject.hypervisor.images.read(path) == "<a>\u00e9</a>\n"
        with pytest.raises(DiskError):
            await subject.hypervisor.images.read(str(subject.directory / "nowhere.xml"))

    async def test_a_file_is_moved_once(self, subject: Subject) -> None:
        """Asked again, nothing happens."""
        source, target = (str(subject.directory / name) for name in ("from.xml", "to.xml"))
        await subject.hypervisor.images.write(source, "text")
        for _ in range(2):
            await subject.hypervisor.images.move(source, target)
            assert await subject.hypervisor.images.read(target) == "text"
            assert not Path(source).exists()

    async def test_only_an_empty_directory_is_removed(self, subject: Subject) -> None:
        """What lies in one is never lost."""
        full, empty = subject.directory / "full", subject.directory / "empty"
        full.mkdir()
        empty.mkdir()
        (full / "kept").write_text("kept")
        for directory in (full, empty):
            await subject.hypervisor.images.remove_directory(str(directory))
        assert (full / "kept").read_text() == "kept"
        assert not empty.exists()
