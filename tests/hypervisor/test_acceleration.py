"""Whether guests really run with KVM, and how the answer is remembered."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper.hypervisor.libvirt import acceleration as room
from innkeeper.hypervisor.libvirt import boot_trial
from innkeeper.hypervisor.libvirt.acceleration import acceleration, probe, qemu_arguments, remember_failure
from innkeeper.hypervisor.libvirt.boot_trial import PROBE_KERNEL
from innkeeper.machines.host_facts import Accelerator
from tests.guests.tiny import TinyGuest

_ROOT = Path(__file__).parents[2]
WORKS = "A guest kernel started on it."
#: What each of its steps says, in order.
STEPS = ["protected mode", "long mode", "memory", "timer interrupts", "user mode"]


@pytest.mark.qemu
def test_the_probes_kernel_runs_to_its_sign_of_life() -> None:
    """In software, where nothing can be in its way: so a failure with KVM is KVM's."""
    assert probe("tcg").reason == WORKS


@pytest.mark.qemu
def test_the_probes_kernel_goes_through_long_mode_timer_and_user_mode() -> None:
    """It says each step, and ends QEMU with its own number once all are done."""
    command = boot_trial._command("qemu-system-x86_64", "tcg", PROBE_KERNEL)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines() == STEPS
    assert done.returncode == 0x10 << 1 | 1


@pytest.mark.skipif(not shutil.which("as") or not shutil.which("ld"), reason="needs binutils")
def test_the_probes_kernel_is_what_its_source_says(tmp_path: Path) -> None:
    """The bytes that ship are those that the text beside them assembles to."""
    source, built = PROBE_KERNEL.path.with_suffix(".s"), tmp_path / "probe_kernel.bin"
    made = tmp_path / "probe_kernel.o"
    subprocess.run(["as", "--64", str(source), "-o", str(made)], check=True, timeout=60)
    link = ["ld", "-m", "elf_x86_64", "--oformat", "binary", "-e", "0x100000", "-Ttext", "0x100000"]
    subprocess.run([*link, str(made), "-o", str(built)], check=True, timeout=60)
    assert built.read_bytes() == PROBE_KERNEL.path.read_bytes()


@pytest.mark.qemu
def test_a_real_kernel_is_tried_where_there_is_one(tiny_guest: TinyGuest) -> None:
    """It starts in software; a file that is no kernel does not."""
    assert probe("tcg", tiny_guest.kernel).reason == WORKS
    answer = probe("tcg", tiny_guest.initrd)
    assert "No guest starts with tcg" in answer.reason


@pytest.mark.qemu
def test_an_accelerator_that_is_not_there_is_said() -> None:
    """With QEMU's own words."""
    answer = probe("hax")
    assert answer.accelerator is Accelerator.TCG
    assert "hax" in answer.reason


class FakeQemu:
    """A program of QEMU's name, first on PATH, beside a ``/dev/kvm`` that opens."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.program = directory / "qemu-system-x86_64"
        self.device = directory / "kvm"
        self.device.touch(mode=0o660)
        self._started = directory / "started"
        monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
        monkeypatch.setattr(room, "_DEVICE", self.device)
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")

    def does(self, script: str, version: str = "7.2.0") -> None:
        """Let it do this when it is to run a guest."""
        asked = f'[ "$1" = --version ] && {{ echo "QEMU emulator version {version}"; exit; }}'
        self.program.write_text(f"#!/bin/sh\n{asked}\necho >>{self._started}\n{script}\n")
        self.program.chmod(0o755)

    @property
    def starts(self) -> int:
        """How often a guest was tried."""
        return len(self._started.read_text().splitlines()) if self._started.exists() else 0


@pytest.fixture
def qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeQemu:
    """A QEMU whose guest starts, until it is told otherwise."""
    made = FakeQemu(tmp_path, monkeypatch)
    made.does("echo 'user mode'")
    return made


def test_a_device_that_opens_and_hangs_is_not_used(qemu: FakeQemu, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service does not wait for it for ever, and the reason says how far the guest came."""
    monkeypatch.setattr(boot_trial, "TIMEOUT_S", 0.5)
    qemu.does("echo 'protected mode'; echo 'long mode'; exec sleep 60")
    begun = time.monotonic()
    answer = probe("kvm")
    assert answer.accelerator is Accelerator.TCG
    said = "/dev/kvm opens, but a guest kernel does not start on it: nothing more came in 0.5 s"
    assert answer.reason == f"{said} after 'long mode'."
    assert time.monotonic() - begun < 30


def test_a_device_that_gives_up_a_guest_is_not_used(qemu: FakeQemu) -> None:
    """QEMU waits for ever then; its word that KVM gave up is enough."""
    qemu.does("echo 'long mode'; echo 'KVM internal error. Suberror: 1' >&2; exec sleep 600")
    assert "does not start on it: KVM internal error. Suberror: 1 after 'long mode'" in probe("kvm").reason


def test_a_device_that_ends_qemu_is_not_used(qemu: FakeQemu) -> None:
    """The reason has QEMU's last words and its number."""
    qemu.does("echo 'kvm_buf_set_msrs: Assertion failed' >&2; exit 134")
    answer = probe("kvm")
    assert answer.accelerator is Accelerator.TCG
    assert "QEMU ended with 134: kvm_buf_set_msrs: Assertion failed" in answer.reason


def test_a_device_on_which_only_the_probes_kernel_starts_is_not_used(qemu: FakeQemu, tmp_path: Path) -> None:
    """Where a real kernel is on disk, it must start too."""
    qemu.does("case \"$*\" in *vmlinuz*) exit 1;; *) echo 'user mode';; esac")
    assert probe("kvm").accelerator is Accelerator.KVM
    assert probe("kvm", tmp_path / "vmlinuz").accelerator is Accelerator.TCG


def test_what_is_closed_is_said(qemu: FakeQemu, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that is missing, one without rights, and a processor that is another: no guest is tried."""
    qemu.device.unlink()
    assert "is not there" in probe("kvm").reason
    qemu.device.touch()
    monkeypatch.setattr(room, "_opens", lambda: False)
    assert "this user may not use it" in probe("kvm").reason
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "this computer is aarch64" in probe("kvm").reason
    assert qemu.starts == 0


def test_the_answer_is_remembered_with_its_reason(qemu: FakeQemu, tmp_path: Path) -> None:
    """For whoever wonders why guests are slow; a remembered answer costs no guest."""
    assert acceleration(tmp_path).accelerator is Accelerator.KVM
    kept = json.loads((tmp_path / "acceleration.json").read_text())
    assert (kept["accelerator"], kept["reason"]) == ("kvm", WORKS)
    before = qemu.program.stat()
    qemu.does("exit 1")
    os.utime(qemu.program, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert acceleration(tmp_path).accelerator is Accelerator.KVM
    assert qemu.starts == 1


def _rights_change(qemu: FakeQemu, _patch: pytest.MonkeyPatch) -> None:
    qemu.device.chmod(0o600)


def _qemu_is_another_version(qemu: FakeQemu, _patch: pytest.MonkeyPatch) -> None:
    before = qemu.program.stat()
    qemu.does("exit 1", version="10.0.0")
    os.utime(qemu.program, ns=(before.st_atime_ns, before.st_mtime_ns))


def _qemu_is_installed_anew(qemu: FakeQemu, _patch: pytest.MonkeyPatch) -> None:
    os.utime(qemu.program, ns=(1, 1))


def _qemu_is_elsewhere(qemu: FakeQemu, patch: pytest.MonkeyPatch) -> None:
    elsewhere = qemu.program.parent / "elsewhere"
    elsewhere.mkdir()
    shutil.copy2(qemu.program, elsewhere)
    patch.setenv("PATH", f"{elsewhere}:{os.environ['PATH']}")


def _the_kernel_is_another(_qemu: FakeQemu, patch: pytest.MonkeyPatch) -> None:
    other = platform.uname()._replace(release="99.0")
    patch.setattr(platform, "uname", lambda: other)


def _the_computer_was_started_again(qemu: FakeQemu, patch: pytest.MonkeyPatch) -> None:
    boot_id = qemu.program.with_name("boot_id")
    boot_id.write_text("another\n")
    patch.setattr(room, "_BOOT_ID", boot_id)


@pytest.mark.parametrize(
    "change",
    [
        _rights_change,
        _qemu_is_another_version,
        _qemu_is_installed_anew,
        _qemu_is_elsewhere,
        _the_kernel_is_another,
        _the_computer_was_started_again,
    ],
)
def test_it_is_asked_again_when_something_changes(
    qemu: FakeQemu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[..., None]
) -> None:
    """Rights on the device, QEMU, or the computer's kernel: each may make the answer another one."""
    acceleration(tmp_path)
    assert qemu.starts == 1
    change(qemu, monkeypatch)
    acceleration(tmp_path)
    assert qemu.starts == 2


def test_an_answer_found_with_a_kernel_stands_for_that_kernel(qemu: FakeQemu, tmp_path: Path) -> None:
    """Another one is tried."""
    qemu.does("echo 'user mode'; echo 'Linux version 6'")
    for kernel in (None, tmp_path / "one", tmp_path / "one", tmp_path / "two"):
        assert acceleration(tmp_path, kernel).accelerator is Accelerator.KVM
    assert qemu.starts == 5


def test_a_start_that_died_of_kvm_is_remembered(qemu: FakeQemu, tmp_path: Path) -> None:
    """Until something changes, no machine is made for KVM, and no guest is tried on it again."""
    acceleration(tmp_path)
    remember_failure(tmp_path, "failed to set MSR 0x10a")
    answer = acceleration(tmp_path)
    assert answer.accelerator is Accelerator.TCG
    assert "failed to set MSR 0x10a" in answer.reason
    qemu.device.chmod(0o600)
    assert acceleration(tmp_path).accelerator is Accelerator.KVM


@pytest.mark.parametrize("kept", ["{", "[]", '{"accelerator": "steam", "reason": "", "found_with": ""}'])
def test_a_memory_that_cannot_be_read_is_made_anew(qemu: FakeQemu, tmp_path: Path, kept: str) -> None:
    """A half-written file, or one of another release, costs a probe and nothing else."""
    (tmp_path / "acceleration.json").write_text(kept)
    assert acceleration(tmp_path).accelerator is Accelerator.KVM


def test_whatever_starts_qemu_goes_by_the_one_answer() -> None:
    """No program and no test chooses KVM or software by itself; the probe's own alone names accelerators."""
    choice = re.compile(r"""accel[=,"' ]+(kvm|tcg)|<domain type=['"](kvm|qemu)['"]""")
    folders = [_ROOT / name for name in ("src", "demo", "benchmarks", "tests", "scripts")]
    files = [path for folder in folders for path in folder.rglob("*.py") if path.is_file()]
    assert len(files) > 500
    found = {path.name for path in files if choice.search(path.read_text())}
    assert found == {"starts.py", "test_acceleration.py", "test_starts.py"}


@pytest.mark.usefixtures("qemu")
def test_a_qemu_without_libvirt_gets_accelerator_and_processor_of_the_answer() -> None:
    """As machines get them from libvirt."""
    assert qemu_arguments(probe("kvm")) == ["-accel", "kvm", "-cpu", "host"]
    assert qemu_arguments(probe("hax")) == ["-accel", "tcg", "-cpu", "max"]
    assert qemu_arguments(probe("kvm"), "qemu64") == ["-accel", "kvm", "-cpu", "host"]
    assert qemu_arguments(probe("hax"), "qemu64") == ["-accel", "tcg", "-cpu", "qemu64"]
