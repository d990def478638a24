"""Make the overlays that take a machine's writes, over whatever storage its disks are on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import libvirt

from innkeeper.disks import dirty_bitmaps, qemu_img
from innkeeper.errors import DiskError, ErrorCode, HypervisorError, MachineUnfit
from innkeeper.hypervisor.libvirt.backups import running_jobs
from innkeeper.hypervisor.libvirt.definition import Definition, overlays_xml
from innkeeper.hypervisor.libvirt.disk_elements import DiskElement
from innkeeper.hypervisor.libvirt.domains import current
from innkeeper.hypervisor.libvirt.exported_disks import ExportedDisks
from innkeeper.hypervisor.libvirt.images import Images
from innkeeper.hypervisor.libvirt.starts import begin_without_processor
from innkeeper.hypervisor.libvirt.storages import virtual_size
from innkeeper.hypervisor.libvirt.uris import HostUri

_ATOMIC_OVERLAY = (
    libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
)


class Overlays:
    """Makes the overlays of one host's machines."""

    def __init__(self, uri: HostUri, images: Images, exported: ExportedDisks) -> None:
        self._uri = uri
        self._images = images
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
        for path in overlays.values():
            # What a crash left half made: no definition names it, and no QEMU has it open.
            self._images.refuse_if_open(path)
            self._images.delete(connect, path)
        if domain.isActive():
            _refuse_in_job(domain)
            domain.snapshotCreateXML(overlays_xml(definition, overlays), _ATOMIC_OVERLAY)
        elif all(self._can_create(definition.disk(target), path) for target, path in overlays.items()):
            for target, path in overlays.items():
                self._create(definition.disk(target), path)
        else:
            _make_by_qemu(connect, definition, overlays)

    def _can_create(self, disk: DiskElement, path: str) -> bool:
        """Whether the service itself may do it: else libvirt has the passwords, addresses and rights."""
        if disk.is_exported:
            return True
        return (
            self._uri.is_local
            and disk.type in ("file", "block")
            and not (disk.encrypted or disk.encrypted_of_old)
            and os.access(disk.source(), os.R_OK)
            and os.access(Path(path).parent, os.W_OK)
        )

    def _create(self, disk: DiskElement, path: str) -> None:
        if disk.is_exported:
            self._exported.create_overlay(path, disk.file)
        else:
            create_overlay(disk.source(), disk.format, path)
            _carry_bitmaps(disk.source(), disk.format, path)
        _make_durable(Path(path), disk.source())


def create_overlay(base: str, base_format: str, path: str) -> None:
    """Make an empty overlay over a file or block device that no QEMU runs; nobody makes out its format."""
    command = ["create", "-q", "-f", "qcow2", "-F", base_format, "-b", base]
    size = virtual_size(base, base_format)
    # Where the size is known, nothing that the base names is opened.
    command += (
        [qemu_img.new_file(Path(path))] if size is None else ["-u", qemu_img.new_file(Path(path)), str(size)]
    )
    try:
        qemu_img.run(command, Path(path), 0)
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


def _make_by_qemu(connect: libvirt.virConnect, definition: Definition, overlays: Mapping[str, str]) -> None:
    """Make the overlays by a QEMU that runs the disks and nothing else: it opens whatever the machine can."""
    begin_without_processor(connect, definition.for_merging(overlays))
    domain = connect.lookupByName(definition.name)
    try:
        domain.snapshotCreateXML(overlays_xml(current(domain), overlays), _ATOMIC_OVERLAY)
    finally:
        domain.destroy()


def _make_durable(path: Path, base: str) -> None:
    """Store an overlay safely before a definition names it, as private as its base."""
    with path.open("rb") as overlay:
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
