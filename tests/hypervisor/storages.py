"""Disks on the storages that people have, in one machine whose guest never runs."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import libvirt
import libvirt_qemu

from innkeeper.hypervisor.libvirt.link import Link
from innkeeper.machines.ports.host import Host
from tests.disks.images import make_image
from tests.guests.machines import EMULATED

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
    #: The file of the passphrase, where it is encrypted.
    key: Path | None = None

    def content(self) -> bytes:
        """What the guest reads where the pattern goes."""
        return read(self.file, self.format, self.key)


def read(file: Path, image_format: str, key: Path | None = None) -> bytes:
    """The bytes of an image where the pattern goes, by a program that is not the one under test."""
    raw = Path(tempfile.mkdtemp()) / "raw"
    opened: list[str | Path] = ["-f", image_format, file]
    if key is not None:
        options = f"driver={image_format},encrypt.key-secret=s,file.filename={file}"
        opened = ["--object", f"secret,id=s,file={key}", "--image-opts", options]
    subprocess.run(["qemu-img", "convert", "-U", "-O", "raw", *opened, raw], check=True, timeout=60)
    with raw.open("rb") as image:
        image.seek(_AT)
        found = image.read(len(PATTERN))
    shutil.rmtree(raw.parent)
    return found


def digest(file: Path) -> str:
    """The digest of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def make(file: Path, image_format: str, *more: str) -> Path:
    """Make an empty image."""
    size = [] if "-b" in more else [str(SIZE)]
    make_image("-f", image_format, *more, file, *size)
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
def network_servers(directory: Path) -> Iterator[None]:
    """Serve two images by NBD: one by QEMU's own server, one by nbdkit."""
    with contextlib.ExitStack() as servers:
        for program in ("qemu-nbd", "nbdkit"):
            file, socket = directory / f"{program}.raw", directory / f"{program}.sock"
            socket.unlink(missing_ok=True)
            command: list[str | Path] = (
                ["qemu-nbd", "-t", "-e", "8", "-f", "raw", "-x", "disk", "-k", socket, file]
                if program == "qemu-nbd"
                else ["nbdkit", "-f", "-U", socket, "-e", "disk", "file", file]
            )
            servers.enter_context(served(command, socket))
        yield


@contextlib.contextmanager
def network_disks(directory: Path, targets: Sequence[str]) -> Iterator[list[Stored]]:
    """Disks by NBD, one of each server."""
    found = []
    for target, program in zip(targets, ("qemu-nbd", "nbdkit"), strict=True):
        file, socket = make(directory / f"{program}.raw", "raw"), directory / f"{program}.sock"
        source = f"<source protocol='nbd' name='disk'><host transport='unix' socket='{socket}'/></source>"
        definition = disk(target, "network", "raw", source)
        found.append(Stored(target=target, definition=definition, file=file, format="raw"))
    with network_servers(directory):
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


def clones(directory: Path, targets: Sequence[str]) -> list[Stored]:
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
    return found


def encrypted_disk(directory: Path, target: str, secret: str) -> Stored:
    """A qcow2 image that is encrypted with the secret that ``passphrase`` wrote."""
    key = directory / "key"
    options = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
    file = make(directory / f"{target}.luks", "qcow2", "--object", f"secret,id=s,file={key}", "-o", options)
    source = (
        f"<source file='{file}'><encryption format='luks'><secret type='passphrase' uuid='{secret}'/>"
        "</encryption></source>"
    )
    definition = disk(target, "file", "qcow2", source)
    return Stored(target=target, definition=definition, file=file, format="qcow2", key=key)


def passphrase(connect: libvirt.virConnect, directory: Path) -> str:
    """Give libvirt a private secret, which it hands to no one but QEMU; returns its UUID."""
    (directory / "key").write_bytes(b"correct horse")
    secret = connect.secretDefineXML(
        "<secret ephemeral='no' private='yes'><description>disk</description></secret>"
    )
    secret.setValue(b"correct horse")
    return str(secret.UUIDString())


def is_encrypted(file: Path) -> bool:
    """Whether a qcow2 image keeps its content encrypted, by its header."""
    return file.read_bytes()[32:36] == (2).to_bytes(4, "big")


def volumes(connect: libvirt.virConnect, directory: Path, targets: Sequence[str]) -> list[Stored]:
    """Volumes of a pool that is a folder, raw and qcow2."""
    folder = directory / "pool"
    folder.mkdir()
    files = [
        make(folder / f"{target}.img", kind) for target, kind in zip(targets, ("raw", "qcow2"), strict=True)
    ]
    pool = connect.storagePoolDefineXML(
        f"<pool type='dir'><name>people</name><target><path>{folder}</path></target></pool>"
    )
    pool.create()
    return [
        Stored(
            target=target,
            definition=disk(target, "volume", kind, f"<source pool='people' volume='{file.name}'/>"),
            file=file,
            format=kind,
        )
        for target, file, kind in zip(targets, files, ("raw", "qcow2"), strict=True)
    ]


#: Block devices of the host that a test may write to, which only root can make: ``losetup`` and ``chown``.
DEVICES = [Path(each) for each in os.environ.get("INNKEEPER_TEST_DEVICES", "").split(":") if each]


def block_devices(targets: Sequence[str]) -> list[Stored]:
    """Block devices, one with plain bytes and one with a qcow2 image."""
    found = []
    for target, device, kind in zip(targets, DEVICES, ("raw", "qcow2"), strict=True):
        subprocess.run(["qemu-io", "-f", "raw", "-c", f"write -z 0 {SIZE}", device], check=True, timeout=60)
        if kind == "qcow2":
            make = ["qemu-img", "create", "-q", "-f", kind, str(device), str(SIZE // 2)]
            subprocess.run(make, check=True, timeout=60)
        definition = disk(target, "block", kind, f"<source dev='{device}' startupPolicy='optional'/>")
        found.append(Stored(target=target, definition=definition, file=device, format=kind))
    return found


def machine_xml(name: str, disks: Sequence[Stored]) -> str:
    """A machine that is started paused, and whose processor never runs."""
    return f"""<domain type='{EMULATED}'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
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
