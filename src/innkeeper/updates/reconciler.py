"""Compare disk chains with the journal when the service starts: no orphan overlay, ever."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from innkeeper.errors import InnkeeperError
from innkeeper.machines.image_users import files_named_by
from innkeeper.machines.named_files import names
from innkeeper.machines.ports.host import Host
from innkeeper.machines.ports.image_files import Hindrance
from innkeeper.machines.service import Machines
from innkeeper.machines.undo.leftovers import Leftover, find_leftovers
from innkeeper.machines.undo.overlay_names import is_overlay_of
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import TaskFilter
from innkeeper.updates.booking import Verdict
from innkeeper.updates.ports import ReportStore
from innkeeper.wire.events import Event, EventKind, Publish

_log = structlog.get_logger(__name__)

#: More tasks than ever live at once.
_ALL = 100_000
#: After these nothing of an undo point is wanted any more. A run that never began has made no file: one of
#: its number is somebody else's, and may be what it was refused for.
_SETTLED = (Verdict.KEPT, Verdict.ROLLED_BACK)


class Reconciler:
    """Resolves what update runs have left behind, or tells of it.

    A file is deleted only when it is proved to be worthless: its very run has merged or discarded it, every
    host answers, nothing on any of them stands on it, and no program has it open. All else is told and left
    where it is.
    """

    def __init__(
        self,
        *,
        tasks: Tasks,
        machines: Machines,
        reports: ReportStore,
        clock: Clock,
        publish: Publish,
        undo_directory: str = "",
    ) -> None:
        self._tasks = tasks
        self._machines = machines
        self._reports = reports
        self._clock = clock
        self._publish = publish
        self._undo_directory = undo_directory
        #: What machines of all hosts name, once that was needed: ``None`` where a host does not answer.
        self._looked: list[Sequence[str] | None] = []

    async def run(self) -> None:
        """Look at every host that answers; nothing is deleted unless all do."""
        self._looked.clear()
        live = {task.id for task in await self._tasks.list(TaskFilter(live=True, limit=_ALL))}
        for host, hypervisor in self._machines.hosts.items():
            try:
                undoable = {each.name for each in await hypervisor.inventory.list() if each.undoable}
                for leftover in await find_leftovers(hypervisor, self._undo_directory, but_of=live):
                    # An undoable machine stands on undo disks as it should.
                    if leftover.machine not in undoable:
                        await self._resolve(hypervisor, leftover)
            except InnkeeperError as error:
                _log.warning("undo.not_reconciled", host=host, error=str(error))

    async def _resolve(self, hypervisor: Host, leftover: Leftover) -> None:
        if not leftover.machine and await self._is_worthless(hypervisor, leftover):
            await hypervisor.disks.delete(leftover.path)
            self._tell(
                EventKind.UNDO_LEFTOVER_DELETED, leftover, "Its run has ended, and nothing stands on it."
            )
        elif leftover.machine:
            self._tell(
                EventKind.UNDO_NEEDS_HELP,
                leftover,
                f"{leftover.machine} still stands on it, and its run has ended. "
                "Merge or discard the machine's undo disks.",
            )
        else:
            self._tell(
                EventKind.UNDO_NEEDS_HELP,
                leftover,
                "Nothing proves that it was merged or discarded, and that nobody has it in use: it may hold "
                "all that was written since. Look at the disk before you delete the file.",
            )

    async def _is_worthless(self, hypervisor: Host, leftover: Leftover) -> bool:
        """Whether its run has recorded what became of it, and nobody can have it in use.

        That a command took it proves nothing: a command that merges or discards deletes its files itself.
        """
        report = await self._reports.get(leftover.run)
        if (
            report is None
            or report.verdict not in _SETTLED
            or not is_overlay_of(leftover.path, report.machine)
        ):
            return False
        if not self._looked:  # seldom: every machine is asked for its definitions
            self._looked.append(await self._look_at_all())
        (named,) = self._looked
        if named is None or names(named, leftover.path):
            return False
        return not await self._is_used(hypervisor, leftover.path)

    async def _is_used(self, hypervisor: Host, path: str) -> bool:
        """Whether a machine or an image stands on it under whatever name, or a program has it open."""
        for host in self._machines.hosts.values():
            if await host.disks.users(path):
                return True
        is_image = path.endswith(".qcow2")
        found = await hypervisor.files.image_hindrance(
            path, "qcow2" if is_image else "raw", is_device=False, is_idle=True
        )
        return found is Hindrance.IN_USE

    async def _look_at_all(self) -> Sequence[str] | None:
        """All files that machines of any host name; ``None`` where one does not answer."""
        found: list[str] = []
        for name, host in self._machines.hosts.items():
            try:
                for machine in await host.inventory.list():
                    found += await files_named_by(host, machine)
            except InnkeeperError as error:
                _log.warning("undo.not_all_known", host=name, error=str(error))
                return None
        return found

    def _tell(self, kind: EventKind, leftover: Leftover, sentence: str) -> None:
        _log.warning(kind.value, path=leftover.path, run=leftover.run, machine=leftover.machine)
        self._publish(
            Event(
                kind=kind,
                subject=leftover.path,
                at=self._clock.now(),
                data={"run": leftover.run, "machine": leftover.machine, "text": sentence},
            )
        )
