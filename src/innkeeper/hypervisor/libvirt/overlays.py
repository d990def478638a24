"""Make the overlays that take a machine's writes, over whatever storage its disks are on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import libvirt

from innkeeper.disks import dirty_bitmaps, qemu_img
from innkeeper.disks.confined.reach import Reach
from innkeeper.errors import DiskError, ErrorCode, HypervisorError, MachineUnfit
from innkeeper.hypervisor.libvirt.backups import refuse_held, running_jobs
from innkeeper.hypervisor.libvirt.chain_nodes import size_of
from innkeeper.hypervisor.libvirt.definition import Definition, overlays_xml
from innkeeper.hypervisor.libvirt.described_chains import DescribedChains
from innkeeper.hypervisor.libvirt.disk_elements import DiskElement
from innkeeper.hypervisor.libvirt.domains import current
from innkeeper.hypervisor.libvirt.exported_disks import ExportedDisks
from innkeeper.hypervisor.libvirt.image_chain import ImageNode, LocalImage
from innkeeper.hypervisor.libvirt.images import Images
from innkeeper.hypervisor.libvirt.starts import begin_without_processor
from innkeeper.hypervisor.libvirt.storages import virtual_size

#: How often an encrypted overlay is tried where QEMU could not measure the derivation of its key, which on
#: computers that count a thread's time coarsely happens more often than not; and QEMU's words then.
_TRIES = 50
_BUSY_PROCESSOR = "Unable to get accurate CPU usage"
_ATOMIC_OVERLAY = (
    libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
)


class Overlays:
    """Makes the overlays of one host's machines."""

    def __init__(self, images: Images, chains: DescribedChains, exported: ExportedDisks) -> None:
        self._images = images
        self._chains = chains
        self._exported = exported

    def make(
        self, connect: libvirt.virConnect, domain: libvirt.virDomain, overlays: Mapping[str, str]
    ) -> None:
        """Make an overlay over each disk (target → path), all or none; a running machine goes onto them."""
        definition = current(domain)
        missing = {target: path for target, path in overlays.items() if definition.disk(target).file != path}
        if not missing:
            return
        if missing != overlays and domain.isActive():
            raise MachineUnfit(
                f"A disk of {domain.name()!r} has its undo disk already, and {min(missing)!r} has not.",
                machine=domain.name(),
                advice="Take away the undo disks of this machine first.",
            )
        # A crash may have come while the disks of a machine that is off were defined one by one.
        overlays = missing
        self.clear(connect, definition, overlays)
        if domain.isActive():
            _refuse_in_job(domain)
            _take(domain, definition, overlays)
        elif (bases := self._bases(connect, definition, overlays)) is not None:
            for target, path in overlays.items():
                self._create(definition.disk(target), bases[target], path)
        else:
            _make_by_qemu(connect, definition, overlays)

    def clear(self, connect: libvirt.virConnect, definition: Definition, overlays: Mapping[str, str]) -> None:
        """Delete what a crash left half made. Raises ``DiskError``, deleting nothing, for any other file."""
        for target, path in overlays.items():
            if self._images.is_local and not os.path.lexists(path):
                self._images.delete(connect, path)
                continue
            # No definition names it, and no QEMU may have it open.
            self._images.refuse_if_open(path)
            disk = definition.disk(target)
            base = self._chains.image(connect, disk)
            self._images.delete_undo_disk(connect, path, disk.source() if base is None else base.storage.name)

    def _bases(
        self, connect: libvirt.virConnect, definition: Definition, overlays: Mapping[str, str]
    ) -> Mapping[str, ImageNode] | None:
        """The image of each disk, where the service may use all; else libvirt has passwords and rights."""
        found: dict[str, ImageNode] = {}
        for target, path in overlays.items():
            disk = definition.disk(target)
            base = self._chains.image(connect, disk)
            if base is None or not (disk.is_exported or _can_create(disk, base, path)):
                return None
            found[target] = base
        return found

    def _create(self, disk: DiskElement, base: ImageNode, path: str) -> None:
        if disk.is_exported:
            self._exported.create_overlay(path, disk.file)
        elif isinstance(base.storage, LocalImage):
            create_overlay(base.storage.path, base.format, path)
            _carry_bitmaps(base.storage.path, base.format, path)
        else:
            _make(path, base.format, disk.source(), size_of(base))
        _make_durable(Path(path), base.storage.name)


def _can_create(disk: DiskElement, base: ImageNode, path: str) -> bool:
    if base.secret is not None or not os.access(Path(path).parent, os.W_OK):
        return False
    if isinstance(base.storage, LocalImage):
        return base.storage.is_open_to_us(writable=False)
    # Bitmaps of an image on a server are carried by QEMU alone, and so are names that an address changes.
    return base.format == "raw" and disk.source() == quote(disk.source(), safe="/:?=+[]")


def create_overlay(base: str, base_format: str, path: str) -> None:
    """Make an empty overlay over a file or block device that no QEMU runs; nobody makes out its format."""
    _make(path, base_format, base, virtual_size(base, base_format))


def _make(path: str, base_format: str, base: str, size: int | None) -> None:
    command = ["create", "-q", "-f", "qcow2", "-F", base_format, "-b", base]
    # Where the size is known, the base is not opened.
    reads = (Path(base),) if size is None else ()
    reach = Reach(reads=reads, writes=(Path(path).parent,))
    command += (
        [qemu_img.new_file(Path(path))] if size is None else ["-u", qemu_img.new_file(Path(path)), str(size)]
    )
    try:
        qemu_img.run(command, Path(path), 0, reach=reach)
    except DiskError as error:
        raise DiskError(
            f"The undo disk {path} cannot be made: {error.sentence}", path=path, code=error.code
        ) from error


def _carry_bitmaps(base: str, base_format: str, path: str) -> None:
    """Begin the base's bitmaps in its overlay: increments are refused without, and right with them."""
    # An image that cannot be looked at like this does not need to be: only backups could not go on.
    with contextlib.suppress(DiskError):
        if base_format == "qcow2":
            dirty_bitmaps.carry(Path(base), Path(path))


def _refuse_in_job(domain: libvirt.virDomain) -> None:
    """Raises ``HypervisorError`` (ERROR_BUSY): a snapshot would wait for a backup, and fail."""
    if running_jobs(domain):
        raise HypervisorError(
            f"A backup of {domain.name()}, or another job on its disks, is running.",
            code=ErrorCode.ERROR_BUSY,
            advice="Wait until it has ended.",
        )


def _take(domain: libvirt.virDomain, definition: Definition, overlays: Mapping[str, str]) -> None:
    """Put the overlays on by an atomic snapshot, which makes nothing where it fails."""
    for tries_left in reversed(range(_TRIES)):
        try:
            domain.snapshotCreateXML(overlays_xml(definition, overlays), _ATOMIC_OVERLAY)
        except libvirt.libvirtError as error:
            if _BUSY_PROCESSOR not in str(error) or not tries_left:
                refuse_held(domain, error)
                raise
        else:
            return


def _make_by_qemu(connect: libvirt.virConnect, definition: Definition, overlays: Mapping[str, str]) -> None:
    """Make the overlays by a QEMU that runs the disks and nothing else: it opens whatever the machine can."""
    begin_without_processor(connect, definition.for_merging(overlays))
    domain = connect.lookupByName(definition.name)
    try:
        _take(domain, current(domain), overlays)
    finally:
        domain.destroy()


def _make_durable(path: Path, base: str) -> None:
    """Store an overlay safely before a definition names it, as private as its base."""
    with path.open("rb") as overlay:
        # A base on the network has no mode: nobody else has any business with what its guest writes.
        os.fchmod(overlay.fileno(), 0o600)
        with contextlib.suppress(OSError):
            found = Path(base).stat()
            os.fchmod(overlay.fileno(), found.st_mode & 0o660 | 0o600)
            os.fchown(overlay.fileno(), -1, found.st_gid)
        os.fsync(overlay.fileno())
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
