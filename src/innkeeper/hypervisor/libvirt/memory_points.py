"""Memory of a libvirt host's machines, as part of undo points: libvirt's external snapshots with memory."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import IO, Final

import libvirt
from lxml import etree

from innkeeper.disks.look import opened_to_look
from innkeeper.errors import DiskError, ErrorCode, InnkeeperError, MachineError, MachineUnfit
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.definition import Definition, overlays_xml
from innkeeper.hypervisor.libvirt.domains import Domains, current
from innkeeper.hypervisor.libvirt.exported_disks import ExportedDisks
from innkeeper.hypervisor.libvirt.images import Images
from innkeeper.hypervisor.libvirt.overlays import Overlays
from innkeeper.hypervisor.libvirt.own_files import foreign
from innkeeper.hypervisor.libvirt.progress import abort_job, followed, look_at_restore, look_at_save
from innkeeper.hypervisor.libvirt.starts import kvm_needed
from innkeeper.hypervisor.libvirt.undo_definitions import UndoDefinitions
from innkeeper.hypervisor.libvirt.undo_disks import LibvirtUndoDisks
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.memory_points import Hardware, MemoryFile, MemoryLimits, MemoryOutlook
from innkeeper.machines.ports.progress import OnProgress

#: Beside the memory itself, the state of devices is written.
_DEVICES_BYTES: Final = 64 << 20
#: The attributes that say how much memory a video card has, in KiB.
_VIDEO_SIZES: Final = ("ram", "vram", "vgamem", "vram64")
#: How much is written to see how fast a disk is, and how long the answer is believed.
_TRIAL_BYTES: Final = 32 << 20
_TRIAL_PIECE: Final = 1 << 20
_BELIEVED_SECONDS: Final = 3600.0
#: What is taken for the speed of a folder that the service itself may not write to.
_UNKNOWN_SPEED: Final = 100e6
#: The first bytes of a file that libvirt has finished, and of one that it has not.
_WHOLE, _PARTIAL = b"LibvirtQemudSave", b"LibvirtQemudPart"
_WATCH_SECONDS: Final = 0.02
_RUNNING: Final = frozenset({MachineState.RUNNING})
_OFF: Final = frozenset({MachineState.TURNED_OFF, MachineState.SAVED})


class LibvirtMemoryPoints:
    """Memory of one host's machines (``machines.ports.memory_points.MemoryPoints``)."""

    def __init__(
        self,
        uri: HostUri,
        connection: Connection,
        domains: Domains,
        images: Images,
        undo_disks: LibvirtUndoDisks,
        undo_definitions: UndoDefinitions,
        exported: ExportedDisks,
        overlays: Overlays,
    ) -> None:
        self._uri = uri
        self._connection = connection
        self._domains = domains
        self._images = images
        self._undo_disks = undo_disks
        self._undo_definitions = undo_definitions
        self._exported = exported
        self._overlays = overlays
        #: Directory → when its disk was tried, and its speed.
        self._speeds: dict[str, tuple[float, float]] = {}

    async def outlook(self, name: str) -> MemoryOutlook:
        """What an undo point with memory would take, and what forbids it."""

        def look(connect: libvirt.virConnect) -> MemoryOutlook:
            domain = connect.lookupByName(name)
            definition = current(domain)
            return MemoryOutlook(
                most_bytes=domain.maxMemory() * 1024 + _video_bytes(definition) + _DEVICES_BYTES,
                obstacle=self._obstacle(definition),
                hardware=_hardware(connect, definition),
            )

        return await self._connection.ask(look, "look at the memory of", name)

    async def write_speed(self, directory: str) -> float:
        """Bytes a second that the directory's disk takes."""
        tried, speed = self._speeds.get(directory, (float("-inf"), 0.0))
        if time.monotonic() - tried > _BELIEVED_SECONDS:
            speed = await asyncio.to_thread(_try_speed, Path(directory))
            self._speeds[directory] = (time.monotonic(), speed)
        return speed

    async def take(
        self,
        name: str,
        path: str,
        overlays: Mapping[str, str],
        *,
        live: bool,
        limits: MemoryLimits,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Write the memory and put an overlay over each disk, at one moment."""
        needed = await self._connection.command(
            lambda c: self._prepare(c, name, path, overlays), "look at the memory of", name
        )
        if needed:
            watch = _Watch(self._connection, name, Path(path), limits)
            async with followed(look_at_save(self._connection, name), on_progress):
                try:
                    async with watch.over():
                        await self._connection.command(
                            lambda c: _snapshot(c.lookupByName(name), path, overlays, live=live),
                            "keep the memory of",
                            name,
                        )
                except Exception:
                    await self._connection.command(lambda c: self._images.delete(c, path), f"delete {path}")
                    if watch.reason:
                        raise _given_up(name, watch.reason) from None
                    raise
        await asyncio.to_thread(_settle, Path(path))
        # The persistent definition follows.
        await self._undo_disks.add(name, overlays)

    async def state(self, path: str) -> MemoryFile:
        """What the file is good for, by its first bytes."""
        return await asyncio.to_thread(_state, Path(path))

    async def restore(self, name: str, path: str, on_progress: OnProgress | None = None) -> None:
        """Start a machine that is off from the file, paused, on the disks that the memory knows."""

        def work(connect: libvirt.virConnect) -> None:
            domain = connect.lookupByName(name)
            self._domains.require(domain, _OFF, "go back to its running moment")
            _refuse_other_disks(connect, domain, path)
            with kvm_needed(name):
                connect.restoreFlags(path, None, libvirt.VIR_DOMAIN_SAVE_PAUSED)
            # The memory was kept when its disks had been noted.
            own = {disk.target: disk.source() for disk in current(domain).disks()}
            self._undo_definitions.forget_live(domain, own)

        async with self._exported.held(name), followed(look_at_restore(Path(path)), on_progress):
            await self._connection.command(work, "bring back the memory of", name)

    # Machinery

    def _prepare(
        self, connect: libvirt.virConnect, name: str, path: str, overlays: Mapping[str, str]
    ) -> bool:
        """Delete what a crash left half made, and say whether anything is left to do."""
        domain = connect.lookupByName(name)
        self._domains.require(domain, _RUNNING, "have its memory kept")
        if current(domain).has_sources(overlays):
            if _state(Path(path)) is MemoryFile.WHOLE:
                return False
            raise MachineUnfit(
                f"{name} stands on its undo disks already, and no memory goes with them.",
                machine=name,
                advice="Take the undo disks away first, or go on without its memory.",
            )
        self._undo_definitions.note(domain, overlays)
        if _state(Path(path)) is MemoryFile.FOREIGN:
            raise foreign(path, "the memory of an undo point")
        self._images.refuse_if_open(path)
        self._overlays.clear(connect, current(domain), overlays)
        self._images.delete(connect, path)
        return True

    def _obstacle(self, definition: Definition) -> str:
        """What libvirt would refuse to keep the memory for, or could not bring back."""
        if not self._uri.is_local:
            return (
                f"its host at {self._uri.text} is another computer, whose files cannot be looked at from here"
            )
        passed = next(iter(definition.passthrough()), "")
        if passed:
            return f"it has the host's {passed}, whose state stays in the device"
        node = definition.node
        for where, what in _FORBIDDING:
            if node.xpath(where):
                return f"it has {what}"
        exported = next((disk.target for disk in definition.disks() if disk.is_exported), "")
        return f"its disk {exported} is a VHD that it reaches by an export" if exported else ""


#: Where a definition shows what forbids it, and what that is.
_FORBIDDING: Final = (
    ("devices/filesystem[driver/@type='virtiofs']", "a folder of the host by virtiofs"),
    ("devices/filesystem", "a folder of the host (9p), whose open files stay on the host"),
    ("devices/shmem", "memory that it shares with other machines (ivshmem)"),
    ("devices/interface[@type='hostdev' or @type='vdpa' or @type='vhostuser']", "a network card of the host"),
    ("devices/tpm/backend[@type='passthrough']", "the host's own TPM"),
    ("cpu/feature[@name='invtsc' and (@policy='require' or @policy='force')]",
     "a processor whose clock may not jump (invtsc)"),
)  # fmt: skip


class _Watch:
    """Ends a job of libvirt's that outgrows its limits."""

    def __init__(self, connection: Connection, name: str, path: Path, limits: MemoryLimits) -> None:
        self._connection = connection
        self._name = name
        self._path = path
        self._limits = limits
        #: Why the job was ended; empty where it was not.
        self.reason = ""

    @contextlib.asynccontextmanager
    async def over(self) -> AsyncIterator[None]:
        """Watch the job that is done meanwhile."""
        watching = asyncio.create_task(self._watch(), name=f"memory of {self._name}")
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._limits.most_seconds
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if loop.time() > give_up:
                self.reason = f"it took longer than {self._limits.most_seconds:g} seconds"
            elif await asyncio.to_thread(_length, self._path) > self._limits.most_bytes:
                self.reason = f"the file outgrew {self._limits.most_bytes:,} bytes"
            if self.reason:
                # An abort that comes before libvirt has begun its job finds none: it is sent again.
                with contextlib.suppress(InnkeeperError):
                    await self._connection.ask(lambda c: abort_job(c, self._name), "abort", self._name)


def _snapshot(domain: libvirt.virDomain, path: str, overlays: Mapping[str, str], *, live: bool) -> None:
    request = etree.fromstring(overlays_xml(current(domain), overlays))
    request.insert(0, etree.Element("memory", snapshot="external", file=path))
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
    flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_LIVE if live else 0
    domain.snapshotCreateXML(etree.tostring(request, encoding="unicode"), flags)


def _refuse_other_disks(connect: libvirt.virConnect, domain: libvirt.virDomain, path: str) -> None:
    """Memory must meet the disks that it knows, and no others."""
    known = Definition.parse(connect.saveImageGetXMLDesc(path, libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE))
    own = {disk.target: disk.source() for disk in current(domain).disks()}
    for disk in known.disks():
        if disk.device in ("disk", "lun") and own.get(disk.target) != disk.source():
            raise MachineUnfit(
                f"The disk {disk.target} of {domain.name()} is {own.get(disk.target) or 'none'}, "
                f"and its memory knows {disk.source()}.",
                machine=domain.name(),
                advice="Give the machine its former disk back, or start it without that memory.",
            )


def _hardware(connect: libvirt.virConnect, definition: Definition) -> Hardware:
    version = connect.getVersion()
    words = f"{connect.getType()} {version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"
    # Not its clock's frequency, which is measured anew at each boot of the host.
    host = etree.fromstring(connect.getCapabilities().encode()).find("host/cpu")
    parts = [] if host is None else [part for part in host if part.tag in ("vendor", "model", "feature")]
    text = " ".join(sorted(f"{part.tag}={part.get('name') or part.text}" for part in parts))
    kind = definition.node.find("os/type")
    return Hardware(
        hypervisor=words,
        machine_type="" if kind is None else str(kind.get("machine", "")),
        processor=hashlib.sha256(text.encode()).hexdigest()[:16],
    )


def _video_bytes(definition: Definition) -> int:
    models = definition.node.iterfind("devices/video/model")
    return 1024 * sum(
        int(model.get(size, "0")) * int(model.get("heads", "1")) for model in models for size in _VIDEO_SIZES
    )


def _state(path: Path) -> MemoryFile:
    try:
        if not path.is_file():
            return MemoryFile.FOREIGN if os.path.lexists(path) else MemoryFile.NONE
        with opened_to_look(path) as file:
            magic = file.read(len(_WHOLE))
    except FileNotFoundError:
        return MemoryFile.NONE
    except PermissionError:
        # libvirt runs as another user: it refuses a file that it has not finished.
        return MemoryFile.WHOLE
    if magic == _WHOLE:
        return MemoryFile.WHOLE
    return MemoryFile.PARTIAL if _PARTIAL.startswith(magic) else MemoryFile.FOREIGN


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _settle(path: Path) -> None:
    """Bring the file and its name to the disk, for nobody but its owner to read."""
    try:
        path.chmod(0o600)
        _sync(path, os.O_RDONLY)
        _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        # libvirt's own user has made it, with the same mode; its file systems write it in their time.
        return


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _try_speed(directory: Path) -> float:
    """Write a little, and see how long it takes until it is on the disk."""
    piece = os.urandom(_TRIAL_PIECE)
    try:
        with _nameless(directory) as file:
            began = time.monotonic()
            for _ in range(_TRIAL_BYTES // _TRIAL_PIECE):
                file.write(piece)
            os.fdatasync(file.fileno())
        return _TRIAL_BYTES / max(time.monotonic() - began, 1e-3)
    except PermissionError:
        return _UNKNOWN_SPEED
    except OSError as error:
        raise DiskError(
            f"{directory} cannot be written to: {error.strerror}.",
            path=str(directory),
            advice="Free some room there.",
        ) from error


def _nameless(directory: Path) -> IO[bytes]:
    """A file of the directory that has no name: not even a kill leaves anything of it.

    Where the file system knows none (NFS), it loses its name at once.
    """
    return tempfile.TemporaryFile(dir=directory, buffering=0, prefix=".innkeeper-speed-")


def _given_up(name: str, reason: str) -> MachineError:
    return MachineError(
        f"Keeping the memory of {name} was given up: {reason}. The guest runs on.",
        machine=name,
        code=ErrorCode.VM_E_TIMED_OUT,
        advice="Raise longest_pause_seconds in the policy, or keep its memory while it runs (live).",
    )
