"""What is left when the service or QEMU is killed in the middle of a long call, and how it goes on."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.hypervisor.libvirt import embedded_root
from tests.guests import tiny
from tests.guests.machines import TinyMachine, tiny_definition
from tests.guests.tiny import TinyGuest
from tests.hypervisor.service import Service

pytestmark = pytest.mark.qemu

_NAME = "crash"
_DISK_MIB = 128
_WRITTEN_MIB = 96


def in_the_middle(done: int, total: int) -> bool:
    """Something is done, and something is left."""
    return 0 < done < total


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


@pytest.fixture
def machine(service: Service, tiny_guest: TinyGuest) -> TinyMachine:
    """A machine, off, whose disk has an overlay with much in it to come."""
    directory = service.state_directory
    machine = TinyMachine(name=_NAME, disk=directory / "base.qcow2", console=directory / "console")
    tiny.data_disk(machine.disk, format="qcow2", size_mib=_DISK_MIB)
    service.run("define", tiny_definition(machine, tiny_guest, "qcow2", ""))
    return machine


@pytest.fixture
def overlay(service: Service, machine: TinyMachine) -> Path:
    """An overlay over the machine's disk, with much in it."""
    overlay = service.state_directory / "undo.qcow2"
    service.run("add_overlays", _NAME, {"vda": str(overlay)})
    write = f"write -P 0xaa 16M {_WRITTEN_MIB}M"
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", write, str(overlay)], check=True, capture_output=True)
    return overlay


def content(image: Path) -> str:
    """A digest of what a guest would read, through the whole chain."""
    with tempfile.NamedTemporaryFile(dir=image.parent) as raw:
        command = ["qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", str(image), raw.name]
        subprocess.run(command, check=True)
        return hashlib.sha256(Path(raw.name).read_bytes()).hexdigest()


def look(service: Service) -> tuple[str, str]:
    """The machine's state, and the file that takes its writes."""
    seen = service.run("look", _NAME)
    assert isinstance(seen, dict)
    sources = seen["sources"]
    assert isinstance(sources, dict)
    return str(seen["state"]), str(sources["vda"])


#: How a merge is done: by the service's own daemon, by a QEMU started for it, by the machine's own.
_BY = ("daemon", "QEMU for it", "the machine's QEMU")


def found_by(by: str, service: Service) -> tuple[str, bool]:
    """Bring the machine to where it is merged so: its state, and whether the images are the service's."""
    if by != "the machine's QEMU":
        return "TURNED_OFF", by == "daemon"
    service.run("start", _NAME)
    service.run("pause", _NAME)
    return "PAUSED", True


@pytest.mark.parametrize("by", _BY)
def test_a_merge_goes_on_after_the_service_was_killed(
    service: Service, machine: TinyMachine, overlay: Path, by: str
) -> None:
    """A QEMU merges on without a service, and the next adopts its job; a daemon dies with its service."""
    wanted = content(overlay)
    found, ours = found_by(by, service)
    bases = {"vda": str(machine.disk)}
    service.kill_in_the_middle("merge", _NAME, bases, True, ours, at=in_the_middle)
    assert look(service) == ("MERGING_DRIVES" if by == "QEMU for it" else found, str(overlay))
    assert content(overlay) == wanted
    service.run("merge", _NAME, bases)
    assert look(service) == (found, str(machine.disk))
    overlay.unlink()
    assert content(machine.disk) == wanted


@pytest.mark.parametrize("by", _BY)
def test_a_merge_is_taken_up_again_after_qemu_was_killed(
    service: Service, machine: TinyMachine, overlay: Path, by: str
) -> None:
    """The base is half written then; the chain still reads right, and a second merge ends it."""
    wanted = content(overlay)
    _, ours = found_by(by, service)
    bases = {"vda": str(machine.disk)}
    failure = service.kill_qemu_in_the_middle("merge", _NAME, bases, True, ours, at=in_the_middle)
    assert "can be taken up again" in str(failure) or "Failed" in str(failure)
    assert look(service) == ("TURNED_OFF", str(overlay))
    assert content(overlay) == wanted
    service.run("merge", _NAME, bases, False, ours)
    assert look(service) == ("TURNED_OFF", str(machine.disk))
    assert service.qemu_processes() == []
    overlay.unlink()
    assert content(machine.disk) == wanted


def test_a_save_that_died_with_the_service_leaves_no_saved_state(
    service: Service, machine: TinyMachine
) -> None:
    """The machine runs on, and what the save had written is not taken for a saved state."""
    service.run("start", _NAME)

    def is_being_written() -> bool:
        return any(file.stat().st_size for file in root.rglob("*.save"))

    root = embedded_root(service.state_directory)
    service.kill_as_soon_as(is_being_written, "save", _NAME)
    assert look(service) == ("RUNNING", str(machine.disk))
    assert not list(root.rglob("*.save"))
    service.run("save", _NAME)
    assert look(service)[0] == "SAVED"
    service.run("start", _NAME)
    assert look(service)[0] == "RUNNING"


@pytest.mark.parametrize("keeping", [False, True])
def test_a_restore_that_died_with_the_service_can_be_done_again(
    service: Service, machine: TinyMachine, keeping: bool
) -> None:
    """The saved state is there until the machine runs from it, and after that where it is to be kept."""
    service.run("start", _NAME)
    service.run("save", _NAME)
    overlay = str(service.state_directory / "undo.qcow2")
    step = ("restore_keeping", _NAME, {"vda": overlay}) if keeping else ("start", _NAME)
    service.kill_in_the_middle(*step, at=lambda _done, _total: True)
    assert look(service)[0] in ("SAVED", "RUNNING")
    service.run(*step)
    assert look(service) == ("RUNNING", overlay if keeping else str(machine.disk))
    service.run("turn_off", _NAME)
    assert look(service)[0] == ("SAVED" if keeping else "TURNED_OFF")


def test_a_try_on_a_saved_machine_outlives_the_service(service: Service, machine: TinyMachine) -> None:
    """Another process finds it running on its overlay, and the way back is still there."""
    service.run("start", _NAME)
    service.run("save", _NAME)
    overlay = str(service.state_directory / "undo.qcow2")
    before = content(machine.disk)
    service.run("restore_keeping", _NAME, {"vda": overlay})
    assert look(service) == ("RUNNING", overlay)
    service.kill_qemu()
    # libvirt hears of the end of QEMU a moment after it has connected again.
    service.run("turn_off", _NAME)
    assert look(service)[0] == "SAVED"
    service.run("restore_keeping", _NAME, {"vda": overlay})
    service.run("turn_off", _NAME)
    service.run("drop_overlays", _NAME, {"vda": str(machine.disk)})
    assert look(service) == ("SAVED", str(machine.disk))
    assert content(machine.disk) == before
    service.run("start", _NAME)
    assert look(service) == ("RUNNING", str(machine.disk))
