"""Whether guests really run with KVM."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from innkeeper.hypervisor.libvirt import acceleration as room
from innkeeper.hypervisor.libvirt.acceleration import DomainType, acceleration, probe


@pytest.mark.qemu
def test_the_probes_guest_runs() -> None:
    """In software, where nothing can be in its way: so a failure with KVM is KVM's."""
    assert probe("tcg").reason == "A guest ran with it."


@pytest.mark.qemu
def test_an_accelerator_that_is_not_there_is_said() -> None:
    """With QEMU's own words."""
    answer = probe("hax")
    assert answer.domain_type is DomainType.QEMU
    assert "hax" in answer.reason


def fake_qemu(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program of QEMU's name first."""
    program = directory / "qemu"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(room, "_QEMU", str(program))
    monkeypatch.setattr(os, "access", lambda *_: True)


def test_a_guest_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``/dev/kvm`` that opens and then does nothing must not hold the service."""
    monkeypatch.setattr(room, "_PROBE_TIMEOUT_S", 0.2)
    fake_qemu(tmp_path, "exec sleep 60", monkeypatch)
    begun = time.monotonic()
    answer = probe("kvm")
    assert answer.domain_type is DomainType.QEMU
    assert "did not end" in answer.reason
    assert time.monotonic() - begun < 10


def test_the_answer_is_remembered_until_qemu_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason, for whoever wonders why guests are slow."""
    fake_qemu(tmp_path, "exit 33", monkeypatch)
    assert acceleration(tmp_path).domain_type is DomainType.KVM
    kept = json.loads((tmp_path / "acceleration.json").read_text())
    assert kept["domain_type"] == "kvm"
    assert kept["reason"] == "A guest ran with it."
    program = tmp_path / "qemu"
    stamp = program.stat()
    program.write_text("#!/bin/sh\necho broken >&2; exit 1\n")
    os.utime(program, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert acceleration(tmp_path).domain_type is DomainType.KVM
    os.utime(program)
    answer = acceleration(tmp_path)
    assert answer.domain_type is DomainType.QEMU
    assert "broken" in answer.reason


def test_a_memory_that_cannot_be_read_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-written file costs a probe, and nothing else."""
    fake_qemu(tmp_path, "exit 33", monkeypatch)
    (tmp_path / "acceleration.json").write_text("{")
    assert acceleration(tmp_path).domain_type is DomainType.KVM
