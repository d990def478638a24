"""Look for ourselves whether the night did what the service says: at the disks, not at its words."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from demo.machines import Guest, disk_of
from demo.place import Place
from innkeeper.wire.messages import ReportMessage
from innkeeper.wire.states import MachineState


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at."""

    holds: bool
    #: What was found, in a sentence.
    text: str


def checksum(path: Path) -> str:
    """A disk's SHA-256, read by ourselves, written as the service writes its own."""
    with path.open("rb") as disk:
        return f"sha256:{hashlib.file_digest(disk, 'sha256').hexdigest()}"


def state_findings(guests: Sequence[Guest], states: dict[str, MachineState]) -> Iterator[Finding]:
    """Whether each machine is in the state it was found in."""
    for guest in guests:
        found = states[guest.name]
        yield Finding(holds=found is guest.state, text=f"{guest.name} is {_word(found)}, as it was found")


def verdict_findings(guests: Sequence[Guest], reports: dict[str, ReportMessage | None]) -> Iterator[Finding]:
    """Whether each update came out as its packages deserve."""
    for guest in guests:
        report = reports[guest.name]
        verdict = report.verdict if report else None
        wanted = guest.verdict.replace("_", " ")
        yield Finding(holds=verdict is guest.verdict, text=f"{guest.name}'s update was {wanted}")


def checksum_findings(report: ReportMessage | None, ours: str) -> Iterator[Finding]:
    """Whether the rolled-back disk is what it was; ``ours`` was taken while the update ran."""
    told = {value for each in report.checksums for value in (each.before, each.after)} if report else set()
    same = bool(ours) and told == {ours}
    text = "db-1's disk is byte for byte what it was: one checksum before, during (ours) and after the update"
    yield Finding(holds=same, text=text)


def disk_findings(guests: Sequence[Guest], place: Place) -> Iterator[Finding]:
    """What the disks themselves hold, now that no machine runs: versions, and no undo disk left behind."""
    for guest in guests:
        disk = disk_of(guest, place.machines)
        yield _stands_alone(guest, disk)
        versions = installed_versions(disk)
        for package, version in guest.versions:
            found = versions.get(package, "missing")
            yield Finding(holds=found == version, text=f"{guest.name}'s disk has {package} {found}")
    strays = sorted(
        set(place.machines.glob("*.qcow2*")) - {disk_of(guest, place.machines) for guest in guests}
    )
    names = ", ".join(stray.name for stray in strays) or "no undo disk"
    yield Finding(holds=not strays, text=f"{names} was left behind")


def reboot_findings(guest: Guest, report: ReportMessage | None, place: Place) -> Iterator[Finding]:
    """Whether the machine really rebooted: its console says so."""
    console = (place.machines / f"{guest.name}.console.log").read_text(errors="replace")
    happened = "reboot: Restarting system" in console and bool(report and report.reboots)
    yield Finding(holds=happened, text=f"{guest.name} was rebooted: its console says so")


def installed_versions(disk: Path) -> dict[str, str]:
    """Package → version, read from the disk's own package database with no help of its guest."""
    with tempfile.TemporaryDirectory(dir=disk.parent) as scratch:
        raw, status = Path(scratch) / "disk.raw", Path(scratch) / "status"
        subprocess.run(["qemu-img", "convert", "-O", "raw", disk, raw], check=True, timeout=120)
        # The plug was pulled, or the machine sleeps: the copy's journal has to be played first.
        subprocess.run(["/sbin/e2fsck", "-fy", raw], check=False, capture_output=True, timeout=120)
        request = f"dump /var/lib/dpkg/status {status}"
        subprocess.run(["/sbin/debugfs", "-R", request, raw], check=True, capture_output=True, timeout=60)
        return _versions(status.read_text())


def _versions(status: str) -> dict[str, str]:
    versions = {}
    for stanza in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
        if "Package" in fields:
            versions[fields["Package"]] = fields.get("Version", "")
    return versions


def _stands_alone(guest: Guest, disk: Path) -> Finding:
    told = subprocess.run(
        ["qemu-img", "info", "--output=json", disk], check=True, capture_output=True, timeout=60
    ).stdout
    return Finding(
        holds="backing-filename" not in json.loads(told), text=f"{guest.name}'s disk stands on no other"
    )


def _word(state: MachineState) -> str:
    return state.name.lower().replace("_", " ")
