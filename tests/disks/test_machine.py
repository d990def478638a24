"""A QEMU machine boots from a differencing chain over NBD, is saved and restored, and its undo disk is
merged.

The guest is a boot sector of our own: it prints a text that lies in the parent and one that lies in the
child, then counts in a sector of the disk, a dot for each count, and ends at sixty.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks.merge import merge
from innkeeper.disks.nbd.server import exported
from innkeeper.hypervisor.libvirt.acceleration import acceleration, qemu_arguments

SIZE = 16 << 20
PARENT_AT, CHILD_AT, COUNT_AT = 100, 200, 300
COUNT = 60

# 16-bit code, at 0x7C00. The packet for the disk is at 0x7DE0, the drive's number at 0x7DF0, the data at
# 0x8000.
_START = bytes.fromhex("fc 31c0 8ed8 8ec0 8ed0 bc007c 8816f07d")
_TRANSFER = bytes.fromhex("a3e87d 88cc 30c0 8a16f07d bee07d cd13 c3")
_PRINT_TAIL = bytes.fromhex("be0080 ac 84c0 7406 baf803 ee ebf5 c3")
_PACKET = bytes.fromhex("1000 0100 0080 0000") + bytes(8)


def boot_sector() -> bytes:
    """Put the program together: a jump over the two routines, then the main part."""
    transfer_at = 2
    print_at = transfer_at + len(_TRANSFER)
    code = bytearray(_TRANSFER)

    def call(target: int) -> None:
        here = 2 + len(code) + 3
        code.extend(b"\xe8" + ((target - here) & 0xFFFF).to_bytes(2, "little"))

    def load_sector(number: int) -> None:
        code.extend(b"\xb8" + number.to_bytes(2, "little"))

    code += b"\xb1\x42"
    call(transfer_at)
    code += _PRINT_TAIL
    main_at = 2 + len(code)
    code += _START
    for number in (PARENT_AT, CHILD_AT):
        load_sector(number)
        call(print_at)
    loop_at = 2 + len(code)
    load_sector(COUNT_AT)
    code += b"\xb1\x42"
    call(transfer_at)
    code += bytes.fromhex("ff060080")
    load_sector(COUNT_AT)
    code += b"\xb1\x43"
    call(transfer_at)
    code += bytes.fromhex("b02e baf803 ee fb f4 813e0080") + COUNT.to_bytes(2, "little")
    code += b"\x72" + ((loop_at - (2 + len(code) + 2)) & 0xFF).to_bytes(1, "little")
    code += bytes.fromhex("b000 e6f4 ebfe")
    program = b"\xeb" + (main_at - 2).to_bytes(1, "little") + code
    assert len(program) < 0x1E0
    return program.ljust(0x1E0, b"\0") + _PACKET + bytes(14) + b"\x55\xaa"


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """Make the guest's disk: boot sector and one text in the parent, the other text in the child."""
    parent = disks.create_dynamic(tmp_path / "p.vhd", SIZE)
    with disks.open(parent, writable=True) as disk:
        disk.pwrite(boot_sector(), 0)
        disk.pwrite(b"from the parent, ", PARENT_AT * 512)
        disk.pwrite(b"WRONG: hidden by the child", CHILD_AT * 512)
    child = disks.create_differencing(tmp_path / "c.vhd", parent)
    with disks.open(child, writable=True) as disk:
        disk.pwrite(b"from the child: ".ljust(512, b"\0"), CHILD_AT * 512)
    return child


class Guest:
    """One QEMU process."""

    def __init__(self, folder: Path, drive: str, accelerated: Sequence[str], *more: str) -> None:
        self._console = folder / "console"
        self._control = folder / "qmp"
        self._control.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [
                "qemu-system-x86_64", *accelerated, "-m", "16", "-display", "none", "-nodefaults",
                "-chardev", f"file,id=s,path={self._console},append=on", "-serial", "chardev:s",
                "-qmp", f"unix:{self._control},server=on,wait=off", "-device", "isa-debug-exit,iobase=0xf4",
                "-blockdev", drive, "-device", "ide-hd,drive=d,bootindex=0", *more,
            ]
        )  # fmt: skip
        self._until(self._control.exists)

    def message(self, text: str) -> None:
        """Return when the guest has printed this."""
        self._until(lambda: self._console.exists() and text in self._console.read_text())

    def save(self, state: Path) -> None:
        """Save memory and devices to a file, as a hypervisor's save does, and end."""
        with self._commands() as command:
            command("stop")
            command("migrate", uri=f"exec:cat > {state}")
            self._until(lambda: command("query-migrate").get("status") == "completed")
            command("quit")
        self.process.wait(30)

    def go_on(self) -> None:
        """Run from where it was saved, once all of the state is in."""
        with self._commands() as command:
            self._until(lambda: command("query-status")["status"] == "paused")
            command("cont")

    @contextlib.contextmanager
    def _commands(self) -> Iterator[Callable[..., dict[str, object]]]:
        """Speak QMP."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self._control))
            stream = control.makefile("rw")
            stream.readline()

            def command(name: str, **arguments: str) -> dict[str, object]:
                stream.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
                stream.flush()
                while "return" not in (answer := json.loads(stream.readline())):
                    assert "error" not in answer, answer
                return dict(answer["return"])

            command("qmp_capabilities")
            yield command

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, self._console.read_text()
            assert self.process.poll() is None, "QEMU has ended"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def accelerated(guest_cache: Path) -> Sequence[str]:
    """Whether QEMU runs the guest with KVM here, as its arguments."""
    return qemu_arguments(acceleration(guest_cache))


@contextlib.contextmanager
def guest(folder: Path, overlay: Path, accelerated: Sequence[str], *more: str) -> Iterator[Guest]:
    """Run a guest on an undo disk."""
    drive = f"driver=qcow2,node-name=d,file.driver=file,file.filename={overlay}"
    started = Guest(folder, drive, accelerated, *more)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait()


@pytest.mark.qemu
def test_a_machine_lives_on_a_chain_over_nbd(
    chain: Path, tmp_path: Path, run: Callable[..., str], accelerated: Sequence[str]
) -> None:
    """Boot, save, restore, end, and merge: the undo disk into the child, the child into the parent."""
    overlay, state = tmp_path / "undo.qcow2", tmp_path / "state"
    before = chain.read_bytes()
    with disks.open(chain) as disk, exported(disk.chain) as url:
        run("qemu-img", "create", "-f", "qcow2", "-b", url, "-F", "raw", overlay)
        with guest(tmp_path, overlay, accelerated) as machine:
            machine.message("from the parent, from the child: .....")
            machine.save(state)
        with guest(tmp_path, overlay, accelerated, "-incoming", f"exec:cat {state}") as machine:
            machine.go_on()
            # It goes on where it was: the texts are printed once, and it counts to the end.
            assert machine.process.wait(60) == 1
        printed = (tmp_path / "console").read_text()
    assert printed.count("from the child") == 1
    assert printed.count(".") == COUNT
    assert chain.read_bytes() == before, "everything went to the undo disk"
    with disks.open(chain, writable=True) as disk, exported(disk.chain, writable=True) as url:
        # The undo disk names the address of the export it was made over.
        run("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", url, "-F", "raw", overlay)
        run("qemu-img", "commit", "-f", "qcow2", overlay)
    with disks.open(chain) as disk:
        assert disk.pread(2, COUNT_AT * 512) == COUNT.to_bytes(2, "little")
    parent = merge(chain)
    with disks.open(parent) as disk:
        assert disk.pread(2, COUNT_AT * 512) == COUNT.to_bytes(2, "little")
        assert disk.pread(16, CHILD_AT * 512) == b"from the child: "
        assert disk.pread(512, 0) == boot_sector()
