"""Compare disk chains with the journal when the service starts: no orphan overlay, ever."""

from __future__ import annotations

import structlog

from innkeeper.errors import InnkeeperError, TaskNotFound
from innkeeper.machines.ports.host import Host
from innkeeper.machines.service import Machines
from innkeeper.machines.undo.leftovers import Leftover, find_leftovers
from innkeeper.machines.undo.overlay_names import is_overlay_of
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import TaskFilter
from innkeeper.updates.booking import Verdict
from innkeeper.updates.ports import ReportStore
from innkeeper.wire.commands import Command
from innkeeper.wire.events import Event, EventKind, Publish

_log = structlog.get_logger(__name__)

#: More tasks than ever live at once.
_ALL = 100_000
#: After these nothing of an undo point is wanted any more.
_SETTLED = (Verdict.KEPT, Verdict.ROLLED_BACK, Verdict.NOT_STARTED)


class Reconciler:
    """Resolves what update runs have left behind, or tells of it.

    A file is deleted only when its run has ended well and no definition, no saved state and no disk
    chain names it. All else is told and left where it is.
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

    async def run(self) -> None:
        """Look at every host that answers."""
        live = {task.id for task in await self._tasks.list(TaskFilter(live=True, limit=_ALL))}
        for host, hypervisor in self._machines.hosts.items():
            try:
                undoable = {each.name for each in await hypervisor.inventory.list() if each.undoable}
                for leftover in await find_leftovers(hypervisor, self._undo_directory):
                    # An undoable machine stands on undo disks as it should.
                    if leftover.run not in live and leftover.machine not in undoable:
                        await self._resolve(hypervisor, leftover)
            except InnkeeperError as error:
                _log.warning("undo.not_reconciled", host=host, error=str(error))

    async def _resolve(self, hypervisor: Host, leftover: Leftover) -> None:
        report = await self._reports.get(leftover.run)
        ended = await self._was_of_a_command(leftover) or (
            report is not None and report.verdict in _SETTLED and is_overlay_of(leftover.path, report.machine)
        )
        if ended and not leftover.machine:
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
                "How its run ended is not known. Look at the disk before you delete the file.",
            )

    async def _was_of_a_command(self, leftover: Leftover) -> bool:
        """Whether a command to this very machine took the undo disk; it has ended."""
        try:
            task = await self._tasks.get(leftover.run)
        except TaskNotFound:
            return False
        machine = (task.lock or "").removeprefix("machine:").rpartition("/")[2]
        return task.kind == Command.STARTUP.kind and is_overlay_of(leftover.path, machine)

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
