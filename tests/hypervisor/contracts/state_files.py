"""Contract of ``machines.ports.state_files``."""

from __future__ import annotations

from pathlib import Path

from tests.hypervisor.contracts.subject import Subject


class StateFilesContract:
    """Small state files are copied, put back, and removed."""

    async def test_a_machine_without_firmware_variables_and_tpm_has_none(self, subject: Subject) -> None:
        """There is nothing to keep beside its disks."""
        assert list(await subject.hypervisor.state_files.find(subject.name)) == []

    async def test_a_file_is_kept_and_put_back_with_its_mode(self, subject: Subject) -> None:
        """Each step may be repeated, also with a copy that is the file already."""
        files = subject.hypervisor.state_files
        path, copy = subject.directory / "vars.fd", subject.directory / "vars.fd.innkeeper-7"
        path.write_bytes(b"before")
        path.chmod(0o640)
        digests = {await files.keep(str(path), str(copy)) for _ in range(2)}
        assert digests == {await subject.hypervisor.files.checksum(str(path))}
        path.write_bytes(b"after, and longer")
        for _ in range(2):
            await files.put_back(str(copy), str(path))
            assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"before", 0o640)
        # What is written from now on is not in a copy that is taken anew.
        await files.keep(str(path), str(copy))
        path.write_bytes(b"later")
        assert copy.read_bytes() == b"before"
        assert {each.name for each in subject.directory.glob("vars*")} == {path.name, copy.name}

    async def test_a_file_that_is_not_there_is_not_kept(self, subject: Subject) -> None:
        """No copy is made, and what a start makes later is removed with the folders that it made."""
        files = subject.hypervisor.state_files
        path = subject.directory / "swtpm" / "uuid" / "tpm2" / "tpm2-00.permall"
        copy = Path(f"{path}.innkeeper-7")
        assert await files.keep(str(path), str(copy)) == ""
        assert not path.parent.exists()
        path.parent.mkdir(parents=True)
        path.write_bytes(b"made")
        (path.parent / ".lock").touch()
        for _ in range(2):
            await files.remove(str(path))
            assert not (subject.directory / "swtpm" / "uuid").exists()
        assert (subject.directory / "swtpm").exists()

    async def test_a_note_is_read_as_it_was_written(self, subject: Subject) -> None:
        """And nothing is read where none was written."""
        files, note = subject.hypervisor.state_files, str(subject.directory / "note")
        assert await files.read_note(note) == ""
        for text in ("what was kept, and more", "less"):
            await files.write_note(note, text)
            assert await files.read_note(note) == text
