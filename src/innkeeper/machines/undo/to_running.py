"""Go back by hand to the running moment of an undo point whose memory was kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from innkeeper.errors import AgentError, ErrorCode, MachineError
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.ports.progress import OnProgress
from innkeeper.machines.undo.backups import mend_backups
from innkeeper.machines.undo.leftovers import unnamed_files
from innkeeper.machines.undo.memory import MemoryPoint, MemoryRecord, noted_memory
from innkeeper.machines.undo.point import UndoPlan, UndoPoint
from innkeeper.machines.undo.undoable import existing_plan, forget_undo_disks
from innkeeper.tasks.ports import Clock
from innkeeper.wire.events import Json


async def plan_going_back(host: Host, name: str, *, clock: Clock) -> Json:
    """The undo disks that are given up. Raises ``MachineError`` where no memory that fits goes with them.

    Nothing is touched.
    """
    machine = await host.inventory.get(name)
    plan = await undo_disks_of(host, machine)
    memory, record = await _memory_of(host, machine, plan, clock)
    await _refuse_changed_bases(name, memory, record)
    why_not = await memory.why_not(record)
    if why_not:
        raise MachineError(
            f"{name} cannot go back to the running moment: {why_not}",
            machine=name,
            code=ErrorCode.E_FAIL,
            advice=f"Turn it off, and go back to its disks alone: innkeeper machine undo {name} --discard",
        )
    return plan.to_json()


async def undo_disks_of(host: Host, machine: Machine) -> UndoPlan:
    """The undo disks that the machine stands on. Raises ``MachineError`` where it stands on none."""
    plan = await existing_plan(host, machine)
    if plan is None:
        left = await unnamed_files(host, machine)
        if left:
            raise _no_memory(
                machine,
                "it stands on its own disks again, and what was kept may not go with them",
                f"Delete what is left of the undo point: innkeeper machine undo {machine.title} --discard",
            )
        raise _no_memory(machine, "it stands on no undo disks", "There is nothing to be undone.")
    return plan


class GoingBack:
    """The steps of going back; each may be done again after a crash."""

    def __init__(self, host: Host, plan: UndoPlan, *, clock: Clock, say: Callable[[str], None]) -> None:
        """``say`` hears what a person is to do about backups that cannot go on."""
        self._host = host
        self._plan = plan
        self._undo = UndoPoint(host, plan, clock=clock)
        self._clock = clock
        self._say = say

    async def to_disks(self) -> None:
        """Turn the machine off, and give it its own disks back."""
        if await self._undo.is_named():
            # Looked at last here: what mends the backups writes to the disks.
            machine = await self._host.inventory.get(self._plan.machine)
            memory, record = await _memory_of(self._host, machine, self._plan, self._clock)
            await _refuse_changed_bases(machine.name, memory, record)
            await self._undo.stand_down()
            await self._host.lifecycle.turn_off(self._plan.machine)
            await self._undo.drop()
            await self._undo.release()
        for sentence in (await mend_backups(self._host, self._plan, self._clock, before=None)).lost:
            self._say(sentence)

    async def to_memory(self, on_progress: OnProgress | None = None) -> None:
        """Give it its memory back, standing still.

        Raises ``MachineError`` where that fails: it is off then, on its own disks.
        """
        machine = await self._host.inventory.get(self._plan.machine)
        memory, record = await _memory_of(self._host, machine, self._plan, self._clock)
        why_not = await memory.why_not(record) or await memory.restore(on_progress)
        if why_not:
            raise MachineError(
                f"{machine.title} has its former disks again, but not its memory: {why_not}",
                machine=machine.title,
                code=ErrorCode.E_FAIL,
                advice=f"Boot it: innkeeper machine start {machine.title}",
            )

    async def go_on(self) -> None:
        """Resume it, and delete what it does not need any more; recorded before, and never done anew."""
        machine = await self._host.inventory.get(self._plan.machine)
        if machine.state is MachineState.PAUSED:
            await self._host.lifecycle.resume(machine.name)
            await self._set_clock(machine)
        await forget_memory(self._host, self._plan, clock=self._clock)
        await self._undo.delete_files()
        await forget_undo_disks(self._host, machine.name, list(self._plan.images.values()))

    async def _set_clock(self, machine: Machine) -> None:
        # A guest without an agent has to mend its clock by itself.
        with contextlib.suppress(AgentError):
            if machine.has_guest_agent_port:
                program = self._host.guest_agents.program(machine.name)
                await program.set_time(self._clock.now().timestamp())


async def forget_memory(host: Host, plan: UndoPlan, *, clock: Clock) -> None:
    """Delete the memory that was kept with these undo disks, if any was."""
    noted = await noted_memory(host, plan.disks[0].overlay, clock=clock)
    if noted is not None:
        await noted[0].delete()


async def _memory_of(
    host: Host, machine: Machine, plan: UndoPlan, clock: Clock
) -> tuple[MemoryPoint, MemoryRecord]:
    noted = await noted_memory(host, plan.disks[0].overlay, clock=clock)
    if noted is None:
        raise _no_memory(
            machine,
            "no memory was kept with its undo disks",
            f"Turn it off, and go back to its disks alone: innkeeper machine undo {machine.title} --discard",
        )
    former = noted[0].plan.machine
    if former != machine.name:
        raise _no_memory(
            machine,
            f"its memory knows it as {former}, and no hypervisor lets memory change its machine's name",
            f"Turn it off, give it that name again, and try again: "
            f"innkeeper machine set {machine.title} --name {former}",
        )
    return noted


async def _refuse_changed_bases(name: str, memory: MemoryPoint, record: MemoryRecord) -> None:
    """Memory must never meet a disk that was written to since: both would be ruined."""
    changed = await memory.changed_bases(record)
    if changed:
        raise MachineError(
            f"{name} cannot go back to the running moment: something has written to {', '.join(changed)} "
            "since, under its undo disks.",
            machine=name,
            code=ErrorCode.VM_E_PARENT_MODIFIED,
            advice="Find out what did. Put the former file back from a backup, and try again; or turn the "
            f"machine off, and have the disk as it is now: innkeeper machine undo {name} --discard",
        )


def _no_memory(machine: Machine, why: str, advice: str) -> MachineError:
    return MachineError(
        f"{machine.title} cannot go back to the running moment: {why}.",
        machine=machine.title,
        code=ErrorCode.ERROR_FILE_NOT_FOUND,
        advice=advice,
    )
