"""Use the virtual machines of a service (``IVMVirtualMachine``)."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from innkeeper.client import calls
from innkeeper.client.accountant import Accountant
from innkeeper.client.calls import machine_parts
from innkeeper.client.channels import Channel, ChannelCollection
from innkeeper.client.configuration import ConfiguredMachine
from innkeeper.client.display import Display
from innkeeper.client.events import follow
from innkeeper.client.guest_os import GuestOS
from innkeeper.client.keyboard import Keyboard, Mouse
from innkeeper.client.tasks import Task
from innkeeper.client.updates import MachineUpdates
from innkeeper.wire.checks import MachineCheckMessage
from innkeeper.wire.commands import Command, MachineCommands, command_of
from innkeeper.wire.configuration import DeleteMessage
from innkeeper.wire.documented_events import DocumentedEvent
from innkeeper.wire.health import GuestHealthMessage
from innkeeper.wire.host import UnregisteredMessage
from innkeeper.wire.messages import Accepted, CommandRequest, EventMessage, MachineMessage, PrepareRequest
from innkeeper.wire.states import EndpointType, MachineState


class Machine(MachineCommands[Task], ConfiguredMachine):
    """One virtual machine. Each command returns the task that carries it out.

    Commands raise ``MachineNotFound``, ``WrongState`` or ``MachineBusy`` before anything is touched;
    what goes wrong later is in the task.
    """

    def __repr__(self) -> str:
        return f"<Machine {self.name}>"

    def read(self) -> MachineMessage:
        """All that its host says of it now."""
        return self._transport.send(calls.machine(self.name))

    @property
    def display(self) -> Display:
        """The machine's display (``Display``)."""
        return Display(self._transport, self.name)

    @functools.cached_property
    def keyboard(self) -> Keyboard:
        """The machine's keyboard (``Keyboard``); the same object each time, as it may be held exclusively."""
        return Keyboard(self._transport, self.name)

    @functools.cached_property
    def mouse(self) -> Mouse:
        """The machine's mouse (``Mouse``); the same object each time."""
        return Mouse(self._transport, self.name)

    @property
    def guest_os(self) -> GuestOS:
        """The guest's operating system (``GuestOS``)."""
        return GuestOS(self._transport, self.name)

    @property
    def accountant(self) -> Accountant:
        """The machine's usage (``Accountant``)."""
        return Accountant(self._transport, self.name)

    @property
    def updates(self) -> MachineUpdates:
        """The machine's booked updates."""
        return MachineUpdates(self._transport, self.name)

    @property
    def state(self) -> MachineState:
        """The machine's state (``State``)."""
        return self.read().state

    def events(
        self, *, documented: Sequence[DocumentedEvent] = (), last_id: str = ""
    ) -> Iterator[EventMessage]:
        """Follow what happens to it from now on, or after ``last_id`` (``IVMVirtualMachineEvents``)."""
        params = {"machine": self.name} | ({"documented": ",".join(documented)} if documented else {})
        return follow(self._transport, "/v1/events", params, last_id=last_id)

    def command(self, command: Command | str, *, timeout_seconds: float | None = None) -> Task:
        """Give a command, by any of its names: ``"save"``, ``"turn_off"``, ``"stop"``, ``"nmi"`` …

        ``timeout_seconds`` is for a command that waits for the guest. Raises ``InvalidArgument``.
        """
        found = command if isinstance(command, Command) else command_of(command)
        body = None if timeout_seconds is None else CommandRequest(timeout_seconds=timeout_seconds)
        return Task(self._transport, self._transport.send(calls.command(self.name, found.route, body)).task)

    def check(self) -> MachineCheckMessage:
        """Look whether it can be maintained tonight, and what changes it if not. Nothing is touched."""
        return self._send("GET", "check", MachineCheckMessage)

    def health(self) -> GuestHealthMessage:
        """Ask its guest for its health now, with what the loss of each part would count.

        The guest runs its own check scripts for it. Raises ``WrongState`` where the machine does not run,
        ``AgentError`` where no task agent answers in it.
        """
        return self._transport.send(machine_parts.guest_health(self.name))

    def plan_deletion(self, *, disks: bool = False) -> DeleteMessage:
        """Return what a deletion would remove; nothing is touched."""
        return self._send("GET", "deletion", DeleteMessage, disks=disks)

    def delete(self, *, disks: bool = False) -> Task:
        """Delete it with its saved state and undo disks (``DeleteVirtualMachine``); disks stay, or go too."""
        return Task(self._transport, self._send("DELETE", "", Accepted, disks=disks).task)

    def unregister(self) -> str:
        """Forget it and keep all its files (``UnregisterVirtualMachine``); returns its definition's."""
        return self._send("POST", "unregister", UnregisteredMessage).path

    def prepare(self, *, force: bool = False) -> Task:
        """Put the task agent into its guest, through qemu-guest-agent."""
        accepted = self._transport.send(calls.command(self.name, "prepare", PrepareRequest(force=force)))
        return Task(self._transport, accepted.task)

    def start_communication_channel(
        self,
        pipe_name: str | None,
        guest_port: str | int | None,
        *,
        host_endpoint_type: int | None = EndpointType.NAMED_PIPE,
        guest_endpoint_type: int | None = EndpointType.TCPIP,
    ) -> Channel:
        r"""Join the host pipe ``\\.\pipe\NAME`` to a TCP port of the guest (``StartCommunicationChannel``).

        The channel ends with the machine's run; ``channel.socket`` is what programs connect to. Raises
        ``InvalidArgument``, ``WrongState``, ``AgentError`` and ``NotPermitted``, with the documented codes.
        """
        return ChannelCollection(self._transport).start(
            self.name,
            pipe_name,
            guest_port,
            host_endpoint_type=host_endpoint_type,
            guest_endpoint_type=guest_endpoint_type,
        )
