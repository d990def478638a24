"""Starts that die of KVM: what Innkeeper made goes on in software, what a person made is left as it is."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from innkeeper.errors import MachineError
from innkeeper.hypervisor.domain.template import Platform, template
from innkeeper.hypervisor.libvirt import acceleration as room
from innkeeper.hypervisor.libvirt import embedded_root
from innkeeper.hypervisor.libvirt.acceleration import acceleration
from innkeeper.hypervisor.libvirt.starts import kvm_failure, kvm_needed
from innkeeper.machines.host_facts import Acceleration, Accelerator
from innkeeper.machines.new_machine import NewMachine
from tests.hypervisor.service import Service, StepFailed

_MSR = """internal error: process exited while connecting to monitor: qemu: failed to set MSR 0x10a to 0x0
qemu-system-x86_64: ../kvm/kvm.c:2893: kvm_buf_set_msrs: Assertion `ret == cpu->kvm_msr_buf->nmsrs' failed."""
#: A QEMU that answers all questions, runs guests in software, and dies with KVM as it does on half a KVM.
_LYING_QEMU = """#!/bin/sh
case "$*" in
*"-machine none"*) ;;
*accel=kvm*|*"-accel kvm"*)
    echo "qemu-system-x86_64: error: failed to set MSR 0x10a to 0x0" >&2
    echo "qemu-system-x86_64: kvm.c:2893: kvm_buf_set_msrs: Assertion failed." >&2
    kill -ABRT $$ ;;
esac
exec {qemu} "$@"
"""


def libvirt_error(message: str) -> libvirt.libvirtError:
    """An error with the words of libvirt's."""
    error = libvirt.libvirtError(message)
    error.err = (libvirt.VIR_ERR_INTERNAL_ERROR, 0, message, 2, "", "", "", -1, -1)
    return error


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (_MSR, "failed to set MSR 0x10a"),
        ("qemu-kvm: kvm_init_vcpu: kvm_get_vcpu failed (0): Invalid argument", "kvm_init_vcpu"),
        ("ioctl(KVM_CREATE_VM) failed: 16 Device or resource busy", "KVM_CREATE_VM"),
        ("Could not access KVM kernel module: Permission denied", "Could not access KVM"),
        ("qemu-system-x86_64: failed to initialize kvm: No such file or directory", "failed to initialize"),
        ("CPU model 'host' requires KVM or HVF", "requires KVM"),
        ("unsupported configuration: Emulator '/q' does not support virt type 'kvm'", "virt type 'kvm'"),
    ],
)
def test_a_failure_of_kvm_is_known_by_its_words(message: str, words: str) -> None:
    """QEMU's, and libvirt's own; the line that says it is what people are told."""
    assert words in kvm_failure(libvirt_error(message))


@pytest.mark.parametrize(
    "message",
    [
        "Could not open '/srv/kvm_images/disk.qcow2': No such file or directory",
        'qemu-kvm: -drive file=/srv/kvm/a.qcow2: Failed to get shared "write" lock',
        "domain 'kvm-1' is already running",
        "Cannot access storage file '/vm/KVM/disk.img'",
        "cannot set up guest memory 'pc.ram': Cannot allocate memory",
    ],
)
def test_a_failure_of_something_else_is_not_kvms(message: str) -> None:
    """Whatever is called kvm: a missing disk must not send a machine into software."""
    assert kvm_failure(libvirt_error(message)) == ""


def test_memory_saved_with_kvm_is_not_tried_in_software() -> None:
    """It would not go on there; the refusal says what can be done."""
    with (
        pytest.raises(MachineError, match="was made with KVM, and KVM fails: qemu: failed") as caught,
        kvm_needed("a"),
    ):
        raise libvirt_error(_MSR.partition("monitor: ")[2])
    assert "discard the saved state" in caught.value.advice
    with pytest.raises(libvirt.libvirtError), kvm_needed("a"):
        raise libvirt_error("no such disk")


@pytest.fixture
def service(state_directory: Path) -> Iterator[Service]:
    """A host of its own, where the probe found that guests run with KVM."""
    path = Path(tempfile.mkdtemp(prefix="ik-", dir="/tmp"))
    cache = "cache/qemu/capabilities"
    shutil.copytree(embedded_root(state_directory) / cache, embedded_root(path) / cache)
    remember(path, Accelerator.KVM)
    service = Service(path)
    yield service
    service.kill_qemu()
    shutil.rmtree(path)


def remember(state: Path, accelerator: Accelerator) -> None:
    """Have the probe's answer be this, here and now."""
    answer = Acceleration(accelerator=accelerator, reason="so the test wants it")
    room._write(state / "acceleration.json", room._Remembered(answer=answer, found_with=room.circumstances()))


def define(service: Service, *, processor: str = "host-passthrough") -> Path:
    """Define a machine for KVM on a QEMU that dies of it; returns the file of its definition.

    libvirt itself takes no definition for KVM where the device is closed, but keeps one that it has.
    """
    emulator = service.state_directory / "qemu-system-x86_64"
    emulator.write_text(_LYING_QEMU.format(qemu=shutil.which("qemu-system-x86_64")))
    emulator.chmod(0o755)
    made = template(NewMachine(name="new-1", memory_mib=64, vcpus=1), Platform(domain_type="qemu"))
    service.run("define", made.replace("<devices>", f"<devices><emulator>{emulator}</emulator>"))
    file = embedded_root(service.state_directory) / "etc/qemu/new-1.xml"
    text = file.read_text().replace("<domain type='qemu'", "<domain type='kvm'")
    file.write_text(text.replace("<cpu mode='maximum'", f"<cpu mode='{processor}'"))
    return file


def state(service: Service) -> str:
    """What the machine is doing."""
    seen = service.run("look", "new-1")
    assert isinstance(seen, dict)
    return str(seen["state"])


@pytest.mark.qemu
def test_a_start_that_dies_of_kvm_goes_on_in_software_and_says_so(service: Service) -> None:
    """The definition stays as it is, so that the machine has KVM again once that works."""
    file = define(service)
    before = file.read_text()
    remark = service.run("start", "new-1")
    assert "new-1 runs in software emulation" in str(remark)
    assert "/dev/kvm opens, but a machine's start died of it" in str(remark)
    assert state(service) == "RUNNING"
    assert "a machine's start died of it" in str(service.run("notes_of_this_run", "new-1"))
    assert acceleration(service.state_directory).accelerator is Accelerator.TCG
    service.run("turn_off", "new-1")
    assert file.read_text() == before
    assert service.run("notes_of_this_run", "new-1") == ""


@pytest.mark.qemu
def test_a_machine_of_ours_is_not_tried_on_a_kvm_that_is_known_to_fail(service: Service) -> None:
    """A device that hangs guests would not even end its QEMU; and a saved state goes on where it was made."""
    define(service)
    remember(service.state_directory, Accelerator.TCG)
    assert "for KVM does not work here: so the test wants it" in str(service.run("start", "new-1"))
    service.run("save", "new-1")
    assert state(service) == "SAVED"
    assert service.run("start", "new-1") == ""
    assert state(service) == "RUNNING"


@pytest.mark.qemu
@pytest.mark.parametrize("ours", [False, True])
def test_a_definition_that_a_person_made_is_left_as_it_is(service: Service, ours: bool) -> None:
    """Also one of ours in which somebody has chosen another processor: the error says the way out."""
    file = define(service, processor="host-model" if ours else "host-passthrough")
    if not ours:
        file.write_text(file.read_text().replace("made-here='yes'", "").replace('made-here="yes"', ""))
    before = file.read_text()
    with pytest.raises(StepFailed, match=r"KVM fails: .*so it is left as it is.*<domain type='qemu'>"):
        service.run("start", "new-1")
    assert state(service) == "TURNED_OFF"
    assert file.read_text() == before


@pytest.mark.qemu
def test_a_merge_needs_no_kvm(service: Service) -> None:
    """Its QEMU runs no guest: where KVM cannot be set up, it does without, whoever made the definition."""
    disk, overlay = (service.state_directory / name for name in ("disk.qcow2", "undo.qcow2"))
    make = ["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "8M"]
    subprocess.run(make, check=True, timeout=60)
    file = define(service)
    with_disk = f"""<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk}'/>
        <target dev='vda' bus='virtio'/></disk></devices>"""
    file.write_text(file.read_text().replace("</devices>", with_disk))
    service.run("add_overlays", "new-1", {"vda": str(overlay)})
    service.run("merge", "new-1", {"vda": str(disk)})
    seen = service.run("look", "new-1")
    assert seen == {"state": "TURNED_OFF", "sources": {"vda": str(disk)}}
