"""Disks on the storages that people have, in one machine whose guest never runs."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import libvirt
import libvirt_qemu

from innkeeper.hypervisor.libvirt.link import Link
from innkeeper.machines.ports.host import Host

SIZE = 4 << 20
#: What a guest writes, and where.
PATTERN = b"\x5a" * 65536
_AT = 65536

NEEDED = ("qemu-img", "qemu-nbd", "nbdkit")
MISSING = [program for program in NEEDED if shutil.which(program) is None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """One disk: what a definition says of it, and the file in which its content lies in the end."""

    target: str
    definition: str
    file: Path
    format: str

    def content(self) -> bytes:
        """What the guest reads where the pattern goes."""
        return read(self.file, self.format)


def read(file: Path, image_format: str) -> bytes:
    """The bytes of an image where the pattern goes, by a program that is not the one under test."""
    raw = file.with_name(f"{file.name}.read")
    subprocess.run(
        ["qemu-img", "convert", "-U", "-f", image_format, "-O", "raw", file, raw], check=True, timeout=60
    )
    with raw.open("rb") as image:
        image.seek(_AT)
        found = image.read(len(PATTERN))
    raw.unlink()
    return found


def digest(file: Path) -> str:
    """The digest of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def make(file: Path, image_format: str, *more: str) -> Path:
    """Make an empty image."""
    size = [] if "-b" in more else [str(SIZE)]
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", image_format, *more, file, *size], check=True, timeout=60
    )
    return file


def disk(target: str, kind: str, image_format: str, source: str, more: str = "") -> str:
    """One disk of a definition."""
    return f"""<disk type='{kind}' device='disk'><driver name='qemu' type='{image_format}'/>{source}{more}
        <target dev='{target}' bus='virtio'/></disk>"""


@contextlib.contextmanager
def served(command: Sequence[str | Path], socket: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until it listens, and end it afterwards."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not socket.exists():
            assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def network_disks(directory: Path, targets: Sequence[str]) -> Iterator[list[Stored]]:
    """Disks by NBD: one of QEMU's own server, one of nbdkit's."""
    found = []
    with contextlib.ExitStack() as servers:
        for target, program in zip(targets, ("qemu-nbd", "nbdkit"), strict=True):
            file, socket = make(directory / f"{program}.raw", "raw"), directory / f"{program}.sock"
            command: list[str | Path] = (
                ["qemu-nbd", "-t", "-e", "8", "-f", "raw", "-x", "disk", "-k", socket, file]
                if program == "qemu-nbd"
                else ["nbdkit", "-f", "-U", socket, "-e", "disk", "file", file]
            )
            servers.enter_context(served(command, socket))
            source = f"<source protocol='nbd' name='disk'><host transport='unix' socket='{socket}'/></source>"
            found.append(
                Stored(
                    target=target, definition=disk(target, "network", "raw", source), file=file, format="raw"
                )
            )
        yield found


def file_disk(directory: Path, target: str) -> Stored:
    """A file with everything about it that libvirt's own calls forget."""
    file = make(directory / f"{target}.qcow2", "qcow2")
    source = f"<source file='{file}' startupPolicy='optional'/>"
    definition = disk(target, "file", "qcow2", source).replace(
        "type='qcow2'/>",
        "type='qcow2' cache='writeback' discard='unmap'><metadata_cache>"
        "<max_size unit='bytes'>1048576</max_size></metadata_cache></driver>",
        1,
    )
    return Stored(target=target, definition=definition, file=file, format="qcow2")


def clones(directory: Path, targets: Sequence[str]) -> tuple[Path, list[Stored]]:
    """Linked clones of one golden image: one that declares it, and one that only its header knows of."""
    golden = make(directory / "golden.qcow2", "qcow2")
    declared = (
        f"<backingStore type='file'><format type='qcow2'/><source file='{golden}'/>"
        "<backingStore/></backingStore>"
    )
    found = []
    for target, backing in zip(targets, (declared, ""), strict=True):
        file = make(directory / f"{target}.qcow2", "qcow2", "-b", str(golden), "-F", "qcow2")
        definition = disk(target, "file", "qcow2", f"<source file='{file}'/>", backing)
        found.append(Stored(target=target, definition=definition, file=file, format="qcow2"))
    return golden, found


def machine_xml(name: str, disks: Sequence[Stored]) -> str:
    """A machine that is started paused, and whose processor never runs."""
    return f"""<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
      <os><type machine='q35'>hvm</type></os>
      <devices>{"".join(each.definition for each in disks)}
        <controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""


async def sources(host: Host, name: str) -> Mapping[str, str]:
    """What takes the writes of each disk."""
    return {each.target: each.path for each in (await host.inventory.get(name)).disks}


async def write(host: Host, name: str, targets: Sequence[str]) -> None:
    """Write the pattern to disks of a machine that runs, as its guest would."""
    link = host.connection
    assert isinstance(link, Link)

    def work(connect: libvirt.virConnect) -> None:
        domain = connect.lookupByName(name)
        for number, _ in enumerate(targets):
            device = f"/machine/peripheral/virtio-disk{number}/virtio-backend"
            line = f'qemu-io -d {device} "write -P 0x5a {_AT} {len(PATTERN)}"'
            printed = libvirt_qemu.qemuMonitorCommand(
                domain, line, libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
            )
            assert "rror" not in printed, printed
            libvirt_qemu.qemuMonitorCommand(
                domain, f'qemu-io -d {device} "flush"', libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
            )

    await link.libvirt.command(work, "write to", name)


async def contents(disks: Sequence[Stored]) -> Mapping[str, bool]:
    """Whether each disk has the pattern."""
    return {each.target: await asyncio.to_thread(each.content) == PATTERN for each in disks}
