"""Find machines over all hosts, and command them; what can take long is a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from innkeeper.machines.machine import Machine
from innkeeper.machines.ports import Hypervisor
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import Task


def lock_of(machine: str) -> str:
    """The lock that every task on this machine holds while it lives."""
    return f"machine:{machine}"


class Machines:
    """Every virtual machine of the inn (``IVMVirtualPC`` seen as a collection)."""

    def __init__(self, *, hypervisors: Sequence[Hypervisor], tasks: Tasks, clock: Clock) -> None:
        raise NotImplementedError

    @property
    def hosts(self) -> Mapping[str, Hypervisor]:
        """The hosts, by name."""
        raise NotImplementedError

    async def list(self) -> Sequence[Machine]:
        """All machines of the hosts that answer, by name."""
        raise NotImplementedError

    async def get(self, name: str) -> Machine:
        """Find a machine whatever the case of its letters (``FindVirtualMachine``).

        Raises ``MachineNotFound``.
        """
        raise NotImplementedError

    async def hypervisor_of(self, name: str) -> Hypervisor:
        """The host that has the machine. Raises ``MachineNotFound``."""
        raise NotImplementedError

    # Commands: each raises ``MachineNotFound``, ``WrongState`` or ``MachineBusy`` before a task is made

    async def startup(self, name: str, *, owner: str) -> Task:
        """Boot the machine, or restore its saved state (``IVMVirtualMachine::Startup``)."""
        raise NotImplementedError

    async def save(self, name: str, *, owner: str) -> Task:
        """Keep its memory on the host's disk and stop it (``Save``)."""
        raise NotImplementedError

    async def turn_off(self, name: str, *, owner: str) -> Task:
        """Pull the plug (``TurnOff``)."""
        raise NotImplementedError

    async def shut_down(self, name: str, *, owner: str) -> Task:
        """Ask the guest to power off, and wait until it has (``IVMGuestOS::Shutdown``)."""
        raise NotImplementedError

    async def reset(self, name: str, *, owner: str) -> Task:
        """Press the reset button (``Reset``)."""
        raise NotImplementedError

    async def pause(self, name: str, *, owner: str) -> Task:
        """Hold its processors (``Pause``)."""
        raise NotImplementedError

    async def resume(self, name: str, *, owner: str) -> Task:
        """Let its processors go on (``Resume``)."""
        raise NotImplementedError

    async def discard_saved_state(self, name: str, *, owner: str) -> Task:
        """Throw its saved memory away; it is off then (``DiscardSavedState``)."""
        raise NotImplementedError

    async def merge_undo_disks(self, name: str, *, owner: str) -> Task:
        """Keep what was written since the undo disks were taken (``MergeUndoDisks``)."""
        raise NotImplementedError

    async def discard_undo_disks(self, name: str, *, owner: str) -> Task:
        """Throw away what was written since the undo disks were taken (``DiscardUndoDisks``)."""
        raise NotImplementedError
