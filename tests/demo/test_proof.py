"""The demo's own look at the disks tells a good night from a bad one."""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path

import pytest

from demo.machines import GUESTS
from demo.place import Place
from demo.proof import checksum_findings, disk_findings, installed_versions, state_findings
from innkeeper.wire.messages import ChecksumMessage, ReportMessage
from innkeeper.wire.states import MachineState, Verdict

MIDNIGHT = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
STATUS = "Package: one\nStatus: install ok installed\nVersion: 1.0\n\nPackage: two\nVersion: 2:3-4\n"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A qcow2 disk with a package database on its file system."""
    database = tmp_path / "tree/var/lib/dpkg"
    database.mkdir(parents=True)
    (database / "status").write_text(STATUS)
    raw, made = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    command: list[str | Path] = ["/sbin/mke2fs", "-q", "-t", "ext4", "-d", tmp_path / "tree", raw, "8M"]
    subprocess.run(command, check=True, capture_output=True)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, made], check=True)
    return made


def test_versions_are_read_from_the_disk_itself(disk: Path) -> None:
    """The package database is found on a disk with no help of its guest."""
    assert installed_versions(disk) == {"one": "1.0", "two": "2:3-4"}


def test_a_forgotten_undo_disk_is_found(disk: Path, tmp_path: Path) -> None:
    """An overlay beside the machines' disks, or under one of them, is not so."""
    place = Place(root=tmp_path)
    place.machines.mkdir()
    base = place.machines / "left.qcow2"
    disk.rename(base)
    overlay: list[str | Path] = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "qcow2",
        "-b",
        base,
        place.machines / "web-1.qcow2",
    ]
    subprocess.run(overlay, check=True)
    findings = {finding.text: finding.holds for finding in disk_findings(GUESTS[:1], place)}
    assert findings["web-1's disk stands on no other"] is False
    assert findings["left.qcow2 was left behind"] is False


def test_a_machine_in_another_state_is_found() -> None:
    """A machine that was found running and is off now is not so."""
    (finding,) = state_findings(GUESTS[:1], {"web-1": MachineState.TURNED_OFF})
    assert not finding.holds


@pytest.mark.parametrize(("before", "after", "ours"), [("a", "a", ""), ("a", "b", "a"), ("a", "a", "c")])
def test_one_other_checksum_is_enough(before: str, after: str, ours: str) -> None:
    """The disk is what it was only if all three checksums say so, and ours was taken."""
    report = ReportMessage(
        task_id=1,
        label="",
        machine="db-1",
        identifier="i",
        verdict=Verdict.ROLLED_BACK,
        reasons=(),
        started_at=MIDNIGHT,
        ended_at=MIDNIGHT,
        packages=(),
        phases=(),
        found_state="RUNNING",
        left_state="RUNNING",
        reboots=0,
        checksums=(ChecksumMessage(path="p", before=before, after=after),),
    )
    (finding,) = checksum_findings(report, ours)
    assert not finding.holds
