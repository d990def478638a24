"""Find out whether guests really run with KVM here.

``/dev/kvm`` can open and still hang every guest (nested virtualisation that is half there), so a real QEMU
runs a few instructions, with a time-out. The answer is remembered with its reason.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

_QEMU = f"qemu-system-{platform.machine()}"
_PROBE_TIMEOUT_S = 10
_FIRMWARE_BYTES = 64 * 1024
#: Where a PC's processor begins, from the end of the firmware.
_RESET_VECTOR = -16
#: mov al, 0x10; out 0xf4, al; hlt; jmp to the hlt.
_PROGRAM = bytes.fromhex("b010 e6f4 f4 ebfd")
#: isa-debug-exit ends QEMU with (value << 1) | 1.
_PROGRAM_RAN = 0x10 << 1 | 1


class DomainType(enum.StrEnum):
    """How QEMU runs a guest's processor, in libvirt's words."""

    KVM = "kvm"
    #: Emulated: slower, and works everywhere.
    QEMU = "qemu"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Acceleration:
    """The answer of a probe."""

    domain_type: DomainType
    #: Why, for a person.
    reason: str
    #: What the answer is true for: the QEMU and kernel it was found with.
    found_with: str


def acceleration(state_directory: Path) -> Acceleration:
    """The remembered answer, or a fresh one where QEMU, kernel or rights have changed. Blocking."""
    memory = state_directory / "acceleration.json"
    found_with = _circumstances()
    remembered = _read(memory)
    if remembered is not None and remembered.found_with == found_with:
        return remembered
    fresh = probe("kvm", found_with)
    _write(memory, fresh)
    return fresh


def probe(accelerator: str, found_with: str = "") -> Acceleration:
    """Run a guest of four instructions with ``accelerator`` (``kvm``; ``tcg`` always works). Blocking."""
    reason = _why_not(accelerator)
    works = reason == ""
    return Acceleration(
        domain_type=DomainType.KVM if works and accelerator == "kvm" else DomainType.QEMU,
        reason="A guest ran with it." if works else reason,
        found_with=found_with,
    )


def _why_not(accelerator: str) -> str:
    """Why no guest runs with it, or empty."""
    if accelerator == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm is not there, or this user may not use it."
    if shutil.which(_QEMU) is None:
        return f"{_QEMU} is not installed."
    with tempfile.NamedTemporaryFile(suffix=".bin") as firmware:
        firmware.write(_firmware())
        firmware.flush()
        return _run(accelerator, firmware.name)


def _run(accelerator: str, firmware: str) -> str:
    command = [_QEMU, "-accel", accelerator, "-machine", "pc", "-m", "16", "-nodefaults", "-display", "none",
               "-no-user-config", "-bios", firmware,
               "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]  # fmt: skip
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return f"A guest of four instructions did not end in {_PROBE_TIMEOUT_S} s."
    if done.returncode != _PROGRAM_RAN:
        return f"QEMU ended with {done.returncode}: {done.stderr.strip()}"
    return ""


def _firmware() -> bytes:
    image = bytearray(b"\xf4" * _FIRMWARE_BYTES)
    image[_RESET_VECTOR : _RESET_VECTOR + len(_PROGRAM)] = _PROGRAM
    return bytes(image)


def _circumstances() -> str:
    qemu = shutil.which(_QEMU)
    changed = Path(qemu).stat().st_mtime_ns if qemu else 0
    may = os.access("/dev/kvm", os.R_OK | os.W_OK)
    return f"{_QEMU} {changed}, Linux {platform.release()}, /dev/kvm {'open' if may else 'closed'}"


def _read(memory: Path) -> Acceleration | None:
    try:
        kept = json.loads(memory.read_text())
        return Acceleration(
            domain_type=DomainType(kept["domain_type"]), reason=kept["reason"], found_with=kept["found_with"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(memory: Path, answer: Acceleration) -> None:
    memory.parent.mkdir(parents=True, exist_ok=True)
    making = memory.with_suffix(".making")
    making.write_text(json.dumps(dataclasses.asdict(answer), indent=1))
    making.replace(memory)
