"""Find machines, list them, and take in new ones (``IVMVirtualMachineCollection``).

What one machine can do is imported when one is used: a list of them needs nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Unpack

from innkeeper.client import calls

if TYPE_CHECKING:
    from innkeeper.client.machines import Machine
    from innkeeper.client.selection import Selection
    from innkeeper.client.tasks import Task
    from innkeeper.client.transport import Transport
    from innkeeper.wire.accountant import WatchedMessage
    from innkeeper.wire.checks import CheckList
    from innkeeper.wire.host import NewMachineOptions
    from innkeeper.wire.messages import MachineMessage


class MachineCollection:
    """The machines of all hosts (``IVMVirtualMachineCollection``)."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __getitem__(self, name: str | int) -> Machine:
        """One machine by its name (``FindVirtualMachine``), or by its number among all, from 0.

        Raises ``MachineNotFound``, and ``IndexError`` for a number that none has.
        """
        from innkeeper.client.machines import Machine

        if isinstance(name, int):
            return Machine(self._transport, called(self.list()[name]))
        self._transport.send(calls.machine(name))
        return Machine(self._transport, name)

    def __iter__(self) -> Iterator[Machine]:
        """All machines, by name."""
        from innkeeper.client.machines import Machine

        return (Machine(self._transport, called(message)) for message in self.list())

    def __len__(self) -> int:
        return len(self.list())

    def select(self, text: str) -> Selection:
        """The machines of a selector, to act on them at once: ``label:web and not host:attic``."""
        from innkeeper.client.selection import Selection

        return Selection(self._transport, text)

    def create(self, name: str, **options: Unpack[NewMachineOptions]) -> Task:
        """Create a machine: ``image``, ``memory_mib`` and the other fields of ``CreateMachineRequest``."""
        from innkeeper.client.host import VirtualPC

        return VirtualPC(self._transport).create_virtual_machine(name, **options)

    def register(self, path: str, name: str = "") -> Machine:
        """Take in a machine by its definition's file."""
        from innkeeper.client.host import VirtualPC
        from innkeeper.client.machines import Machine

        response = VirtualPC(self._transport).register_virtual_machine(path, name)
        return Machine(self._transport, called(response))

    def accounts(self) -> tuple[WatchedMessage, ...]:
        """What all machines do and use, page by page."""
        from innkeeper.wire.accountant import WatchedList

        return self._transport.whole(calls.get("/v1/accounts", WatchedList)).machines

    def check(self) -> CheckList:
        """Look at all machines now: which can be maintained tonight, and what changes it for the others."""
        return self._transport.send(calls.checks())

    def list(self, select: str | None = None) -> tuple[MachineMessage, ...]:
        """What the hosts say of all machines, or of those of a selector; page by page."""
        return self._transport.whole(calls.machines(select)).machines


def called(message: MachineMessage) -> str:
    """What a machine is called where another may have its name; a service of before only knows names."""
    return message.title or message.name
