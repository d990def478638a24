"""Follow QEMU's merges of undo disks into the images right below them, one disk at a time."""

from __future__ import annotations

import asyncio
import dataclasses
import enum

import libvirt

from innkeeper.errors import DiskError, ErrorCode, HypervisorError
from innkeeper.hypervisor.libvirt.backups import refuse_held
from innkeeper.hypervisor.libvirt.disk_elements import DiskElement
from innkeeper.hypervisor.libvirt.domains import current
from innkeeper.hypervisor.libvirt.image_users import is_same_file
from innkeeper.machines.ports.progress import OnProgress

#: How long a look at a merge waits for an event of it.
_MERGE_LOOK_S = 0.3


class MergeStage(enum.Enum):
    """Where one disk's merge stands."""

    #: QEMU copies the overlay into the base.
    COPYING = enum.auto()
    #: All is copied, and the machine was told to go over to the base.
    ON_BASE = enum.auto()
    #: The machine has only the base.
    DONE = enum.auto()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MergeStep:
    """Result of one look at a merge."""

    stage: MergeStage
    bytes_done: int = 0
    bytes_total: int = 0


class BlockJobs:
    """Wakes whoever follows a block job when libvirt says something of it."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Event] = {}

    def happened(self, machine: str) -> None:
        """Called in the loop for every block job event."""
        if machine in self._waiting:
            self._waiting[machine].set()

    async def wait(self, machine: str) -> None:
        """Return at the next event, or after a moment: an event may have come before we listened."""
        event = self._waiting.setdefault(machine, asyncio.Event())
        event.clear()
        try:
            await asyncio.wait_for(event.wait(), _MERGE_LOOK_S)
        except TimeoutError:
            return
        finally:
            self._waiting.pop(machine, None)


def advance_merge(
    connect: libvirt.virConnect, name: str, target: str, base: str, *, bandwidth_mib: int | None
) -> MergeStep:
    """Do the next step of one disk's merge: begin or adopt its job, switch to the base, or wait.

    Without a ``bandwidth_mib``, a merge that is not under way has failed.
    """
    domain = connect.lookupByName(name)
    if not domain.isActive():
        raise HypervisorError(
            f"QEMU ended in the middle of the merge of {name!r}.", advice="The merge can be taken up again."
        )
    disk = current(domain).disk(target)
    if not disk.mirror_job:
        if disk.source() == base:
            return MergeStep(stage=MergeStage.DONE)
        if bandwidth_mib is None:
            raise DiskError(
                f"QEMU failed to merge disk {target!r} of {name!r} into {base}.",
                path=base,
                advice="See that there is room on the base's disk; the merge can be taken up again.",
            )
        # Never without a base: libvirt would merge into the lowest image, which others may stand on.
        below = _name_below(domain, disk, base)
        try:
            domain.blockCommit(target, below, None, bandwidth_mib, libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE)
        except libvirt.libvirtError as error:
            refuse_held(domain, error)
            raise
        return MergeStep(stage=MergeStage.COPYING)
    job = domain.blockJobInfo(target, 0)
    copied = (job.get("cur", 0), job.get("end", 0))
    # cur == end alone does not mean ready: going over to the base would be refused.
    if disk.mirror_ready != "yes":
        return MergeStep(stage=MergeStage.COPYING, bytes_done=copied[0], bytes_total=copied[1])
    domain.blockJobAbort(target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
    return MergeStep(stage=MergeStage.ON_BASE, bytes_done=copied[1], bytes_total=copied[1])


def adding_up(
    totals: dict[str, tuple[int, int]], target: str, on_progress: OnProgress | None
) -> OnProgress | None:
    """Report one disk's progress as part of all disks' bytes."""
    if on_progress is None:
        return None

    def report(done: int, total: int) -> None:
        totals[target] = (done, total)
        on_progress(sum(each for each, _ in totals.values()), sum(each for _, each in totals.values()))

    return report


def _name_below(domain: libvirt.virDomain, disk: DiskElement, base: str) -> str:
    """The base by its number in this QEMU: volumes and network disks have no path, and numbers change."""
    for image in disk.images_below():
        if image.source() == base or (image.file and is_same_file(image.file, base)):
            return f"{disk.target}[{image.index}]"
    raise DiskError(
        f"Disk {disk.target!r} of {domain.name()!r} does not stand on {base}, but on "
        f"{', '.join(image.source() for image in disk.images_below()) or 'nothing'}.",
        path=base,
        code=ErrorCode.VM_E_PARENT_PATH_NOT_FOUND,
        advice="Nothing was merged. See which image is the disk's base, and put it back.",
    )
