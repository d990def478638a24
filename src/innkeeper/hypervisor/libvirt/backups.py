"""Backups that others take of a libvirt host's machines: checkpoints, running jobs, dirty bitmaps."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import libvirt
import libvirt_qemu

from innkeeper.disks import dirty_bitmaps
from innkeeper.disks.dirty_bitmaps import Since
from innkeeper.errors import ErrorCode, HypervisorError, NotSupported
from innkeeper.hypervisor.domain.fields import Attribute, Element, Text, Whole, parse
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.domains import current
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.ports.backups import Checkpoint, JobKind, Tracking
from innkeeper.wire.json_fields import as_list, as_object, get_int, get_str

_BACKUP = libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP
_KINDS = {
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_BACKUP: JobKind.BACKUP,
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT: JobKind.MERGE,
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT: JobKind.MERGE,
}


class CheckpointElement(Element):
    """``<domaincheckpoint>``: one checkpoint of a machine."""

    name = Text("name")
    created = Text("creationTime", 0, Whole())

    def disks(self) -> Iterator[CheckpointDisk]:
        """Each disk of the machine, and whether the checkpoint has it."""
        yield from map(CheckpointDisk, self.node.iterfind("disks/disk"))


class CheckpointDisk(Element):
    """``<disk>`` of a checkpoint."""

    target = Attribute(".", "name")
    checkpoint = Attribute(".", "checkpoint")
    bitmap = Attribute(".", "bitmap")


class BackupElement(Element):
    """``<domainbackup>``: one that is running."""

    mode = Attribute(".", "mode", "push")
    socket = Attribute("server", "socket")
    host = Attribute("server", "name")
    port = Attribute("server", "port")

    @property
    def server(self) -> str:
        """Where it is read; empty where QEMU writes it itself."""
        return self.socket or ":".join(filter(None, (self.host, self.port)))

    def targets(self) -> Iterator[str]:
        """The disks that it is of."""
        for disk in self.node.iterfind("disks/disk"):
            if disk.get("backup", "yes") == "yes":
                yield str(disk.get("name"))


class LibvirtBackups:
    """The backups of one host's machines (``machines.ports.backups.Backups``)."""

    def __init__(self, uri: HostUri, connection: Connection) -> None:
        self._uri = uri
        self._connection = connection

    async def checkpoints(self, name: str) -> Sequence[Checkpoint]:
        """The machine's checkpoints, oldest first."""
        return await self._connection.ask(lambda c: _checkpoints(c, name), "list the checkpoints of", name)

    async def jobs(self, name: str) -> frozenset[JobKind]:
        """What is being done with its disks now."""
        if self._uri.is_test:  # this driver has no jobs
            return frozenset()
        return await self._connection.ask(lambda c: _jobs(c, name), "see the jobs of", name)

    async def held_by(self, name: str) -> Sequence[str]:
        """What is being done with its disks now, in words."""
        if self._uri.is_test:
            return ()
        return await self._connection.ask(lambda c: _held_by(c.lookupByName(name)), "see the jobs of", name)

    async def gather(self, tracking: Tracking) -> bool:
        """Write down in ``side`` what the base's bitmaps are to be."""
        await self._require_bitmaps(tracking)
        base, overlay, side = map(Path, (tracking.base, tracking.overlay, tracking.side))
        return await asyncio.to_thread(dirty_bitmaps.gather, base, overlay, side, _since(tracking))

    async def restore(self, tracking: Tracking) -> None:
        """Give the base what ``side`` has."""
        side, base = Path(tracking.side), Path(tracking.base)
        await asyncio.to_thread(dirty_bitmaps.restore, side, base, _since(tracking))

    async def sound_bitmaps(self, tracking: Tracking) -> frozenset[str]:
        """The names of the bitmaps in the base, without those that may miss writes."""
        await self._require_bitmaps(tracking)
        found = await asyncio.to_thread(dirty_bitmaps.bitmaps, Path(tracking.base))
        return frozenset(each.name for each in found if not each.broken)

    async def _require_bitmaps(self, tracking: Tracking) -> None:
        """Raises ``NotSupported`` for a base that keeps no bitmaps, or is not to be reached from here."""
        base, where = tracking.base, self._uri.text
        if not self._uri.is_local or not base.startswith("/"):
            raise NotSupported(
                f"{base} is reached by the host at {where} alone, and its bitmaps not from here.",
                advice="Run Innkeeper where the disk is.",
            )
        found = await self._connection.ask(
            lambda c: current(c.lookupByName(tracking.machine)).disk(tracking.target).format,
            "read the disks of",
            tracking.machine,
        )
        if found != "qcow2":
            raise NotSupported(
                f"{base} keeps no bitmaps: its format is {found}.",
                advice="Convert it to qcow2 to take incremental backups of it.",
            )


def _since(tracking: Tracking) -> Since:
    return Since(kept=tracking.kept, begun=tracking.begun, gone=tracking.gone)


def _checkpoints(connect: libvirt.virConnect, name: str) -> list[Checkpoint]:
    return _all_checkpoints(connect.lookupByName(name))


def _all_checkpoints(domain: libvirt.virDomain) -> list[Checkpoint]:
    found = domain.listAllCheckpoints()
    texts = [each.getXMLDesc(libvirt.VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN) for each in found]
    checkpoints = [_checkpoint(CheckpointElement(parse(text, "domaincheckpoint"))) for text in texts]
    return sorted(checkpoints, key=lambda each: (each.created, each.name))


def _checkpoint(element: CheckpointElement) -> Checkpoint:
    return Checkpoint(
        name=element.name,
        created=element.created,
        bitmaps=tuple(
            (disk.target, disk.bitmap or element.name)
            for disk in element.disks()
            if disk.checkpoint == "bitmap"
        ),
    )


def _jobs(connect: libvirt.virConnect, name: str) -> frozenset[JobKind]:
    domain = connect.lookupByName(name)
    if not domain.isActive():
        return frozenset()
    try:
        return running_jobs(domain)
    except libvirt.libvirtError:
        if domain.isActive():
            raise
        # It was turned off between two of these calls.
        return frozenset()


def _held_by(domain: libvirt.virDomain) -> list[str]:
    try:
        return [*_backup_words(domain), *_block_job_words(domain)] if domain.isActive() else []
    except libvirt.libvirtError:
        return []  # it has ended, or was turned off, between two of these calls


def _backup_words(domain: libvirt.virDomain) -> Iterator[str]:
    """libvirt's backup: how it is read, of which disks, since when, and for which checkpoint."""
    stats = domain.jobStats()
    if stats.get("operation") != _BACKUP:
        return
    backup = BackupElement(parse(domain.backupGetXMLDesc(0), "domainbackup"))
    since = dt.datetime.now(dt.UTC) - dt.timedelta(milliseconds=int(stats.get("time_elapsed", 0)))
    checkpoints = _all_checkpoints(domain)
    made = f", for the checkpoint {checkpoints[-1].name}" if checkpoints else ""
    where = f" at {backup.server}" if backup.server else ""
    disks = ", ".join(backup.targets())
    yield f"a backup in {backup.mode} mode{where} of {disks} since {since:%Y-%m-%d %H:%M:%S} UTC{made}"


def _block_job_words(domain: libvirt.virDomain) -> Iterator[str]:
    for disk in current(domain).disks():
        job = domain.blockJobInfo(disk.target, 0) if disk.source() else None
        if job and (kind := _KINDS.get(job["type"], JobKind.OTHER)) is not JobKind.BACKUP:
            what = "a merge" if kind is JobKind.MERGE else "a copy"
            yield f"{what} of {disk.target} ({_share(job.get('cur', 0), job.get('end', 0))})"


def _share(done: int, total: int) -> str:
    return f"{100 * done // total} % done" if total else "just begun"


def refuse_held(domain: libvirt.virDomain, error: libvirt.libvirtError) -> None:
    """Raise ``HypervisorError`` (ERROR_BUSY) where a job that libvirt knows nothing of holds the disks.

    Asked of QEMU's monitor, and only after QEMU has refused: libvirt marks the machine for it in its log.
    """
    line = json.dumps({"execute": "query-block-jobs"})
    try:
        jobs = as_list(
            as_object(json.loads(libvirt_qemu.qemuMonitorCommand(domain, line, 0)))["return"], as_object
        )
        words = [
            f"the job {get_str(job, 'device')} ({get_str(job, 'type')}, "
            f"{_share(get_int(job, 'offset'), get_int(job, 'len'))})"
            for job in jobs
        ]
    except (libvirt.libvirtError, ValueError, KeyError):
        return
    if words:
        raise HypervisorError(
            f"The disks of {domain.name()} are held by {', '.join(words)}, which was begun past libvirt.",
            code=ErrorCode.ERROR_BUSY,
            advice="Wait until it has ended. Where it never does: virsh qemu-monitor-command "
            f"{domain.name()} --hmp 'block_job_cancel NAME'",
        ) from error


def running_jobs(domain: libvirt.virDomain) -> frozenset[JobKind]:
    """What is being done with the disks of a machine that is on."""
    found = {JobKind.BACKUP} if domain.jobStats().get("operation") == _BACKUP else set()
    for disk in current(domain).disks():
        if disk.source() and (job := domain.blockJobInfo(disk.target, 0)):
            found.add(_KINDS.get(job["type"], JobKind.OTHER))
    return frozenset(found)
