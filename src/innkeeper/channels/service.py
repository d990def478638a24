"""Channels of all machines: open, list and close them, and keep them while their machines run."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import pwd
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from innkeeper.channels.channel import (
    Channel,
    ChannelState,
    ChannelStore,
    LookAtMachine,
    MachineStanding,
    Standing,
)
from innkeeper.channels.listener import ChannelListener
from innkeeper.channels.pipe_name import MAX_SOCKET_PATH_BYTES, PipeName, parse_pipe_name
from innkeeper.channels.ports import GuestAgents
from innkeeper.channels.rules import parse_guest_port, require_endpoints
from innkeeper.errors import (
    AgentError,
    ErrorCode,
    InnkeeperError,
    InvalidArgument,
    MachineError,
    MachineNotFound,
    NotPermitted,
    WrongState,
)
from innkeeper.tasks.outcome import traceback_of
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.supervision import Loops
from innkeeper.tasks.waiting import Signal
from innkeeper.wire.events import Event, EventGroup, EventKind, Publish

_log = structlog.get_logger(__name__)

#: How many channels a machine, and a service, have at once.
MAX_CHANNELS_OF_MACHINE = 64
MAX_CHANNELS = 1024
#: How long opening a channel waits for the guest's agent, in seconds.
_READY_S = 5.0
#: Changes of machines within this time are looked at together; machines are looked at so often anyway.
_LOOK_S = 0.5
_LOOK_AGAIN_S = 60.0
#: Identifiers of an absent agent that the documented call names itself.
_TOLD = {ErrorCode.E_HANDLE, ErrorCode.ERROR_REVISION_MISMATCH}

#: The id of a user of this computer, or ``None`` for a name that it does not know. Can block.
UserId = Callable[[str], int | None]


def user_id(name: str) -> int | None:
    """Return the id of a user of this computer."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """Dependencies of the channels."""

    agents: GuestAgents
    look_at: LookAtMachine
    store: ChannelStore
    clock: Clock
    publish: Publish
    #: Where the sockets lie.
    directory: Path
    #: This computer.
    server: str
    user_id: UserId = user_id


class Channels:
    """All channels of this service (``IVMVirtualMachine::StartCommunicationChannel``).

    There is no documented way to stop one: it ends with its machine's run. ``stop`` ends it before.
    """

    def __init__(self, needs: Needs, loops: Loops | None = None) -> None:
        self._loops = loops or Loops(needs.clock)
        self._needs = needs
        self._open: dict[str, ChannelListener] = {}
        #: Names that are being opened, or whose connections are running down.
        self._in_work: set[str] = set()
        #: Machines whose standing is to be looked at, and those that a task works at.
        self._to_look_at: set[str] = set()
        self._worked_at: set[str] = set()
        self._changed = Signal()
        self._watching: asyncio.Task[None] | None = None

    # Life

    async def open(self) -> None:
        """Open again the channels that were open when the service stopped."""
        for channel in await self._needs.store.list(self._needs.server):
            try:
                await self._listen(channel)
            except InnkeeperError as exc:
                _log.error("channel_not_reopened", pipe=channel.pipe_name, reason=exc.sentence)
                continue
            self._to_look_at.add(channel.of)
        self._changed.set()
        self._watching = self._loops.start("channels", self._watch)

    async def close(self) -> None:
        """Cut all connections; the channels are kept for the next start."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await asyncio.gather(*(each.close("the service stops") for each in self._open.values()))
        self._open.clear()

    def on_event(self, event: Event) -> None:
        """Handle an event (a ``Publish``)."""
        if event.kind.group is EventGroup.MACHINE:
            self._to_look_at.add(event.about)
            self._changed.set()
        elif event.kind is EventKind.TASK_ENDED and self._worked_at:
            self._to_look_at |= self._worked_at
            self._changed.set()

    # Questions

    def list(self, machine: str | None = None) -> Sequence[ChannelState]:
        """Return all channels, or those of the machine with this key, by pipe name."""
        found = sorted(self._open.items())
        return [each.state for _, each in found if machine in (None, each.channel.of)]

    def get(self, pipe_name: str) -> ChannelState:
        """Return a channel. Raises ``InvalidArgument`` (ERROR_FILE_NOT_FOUND) for an unknown pipe."""
        return self._find(parse_pipe_name(pipe_name)).state

    # Commands

    async def start(
        self,
        machine: str,
        *,
        host_endpoint_type: int | None,
        pipe_name: str | None,
        guest_endpoint_type: int | None,
        guest_port: str | int | None,
        owner: str,
    ) -> ChannelState:
        """Open a channel (``StartCommunicationChannel``).

        Raises ``InvalidArgument`` (E_POINTER, E_INVALIDARG, ERROR_ALREADY_EXISTS, ERROR_PIPE_BUSY,
        ERROR_MAX_SESSIONS_REACHED), ``MachineNotFound``, ``WrongState`` (VM_E_VM_NOT_RUNNING), ``AgentError``
        (ERROR_NOT_READY, E_HANDLE, ERROR_REVISION_MISMATCH), ``NotPermitted`` where the guest does not open
        this port to channels, and ``InnkeeperError`` (E_OUTOFMEMORY).
        """
        require_endpoints(host_endpoint_type, guest_endpoint_type, pipe_name, guest_port)
        name, port = parse_pipe_name(pipe_name or ""), parse_guest_port(guest_port)
        standing = await self._running(machine)
        self._refuse_taken(name)
        self._refuse_too_many(standing)
        self._in_work.add(name.key)
        try:
            await self._require_agent(standing, port)
            channel = Channel(
                pipe_name=name.text,
                machine=standing.machine,
                guest_port=port,
                owner=owner,
                opened_at=self._needs.clock.now(),
                server=self._needs.server,
                key=standing.key,
            )
            return await self._start(channel)
        finally:
            self._in_work.discard(name.key)

    async def stop(self, pipe_name: str, reason: str = "it was closed") -> ChannelState:
        """Close a channel and cut its connections; returns its last state."""
        name = parse_pipe_name(pipe_name)
        if name.key in self._in_work:
            raise _busy(name)
        return await self._stop(self._find(name), reason)

    # Machinery

    async def _running(self, machine: str) -> MachineStanding:
        standing = await self._needs.look_at(machine)
        if standing.standing is not Standing.RUNNING:
            raise WrongState.of(
                standing.machine,
                standing.state,
                "start a communication channel",
                advice=f"Start it first: innkeeper machine start {standing.machine}",
            )
        return standing

    def _refuse_taken(self, name: PipeName) -> None:
        if name.key in self._in_work:
            raise _busy(name)
        if name.key in self._open:
            raise _taken(name)

    def _refuse_too_many(self, standing: MachineStanding) -> None:
        taken = len(self._open) + len(self._in_work)
        of_machine = sum(each.channel.of == standing.key for each in self._open.values())
        if taken >= MAX_CHANNELS or of_machine >= MAX_CHANNELS_OF_MACHINE:
            raise MachineError(
                f"There are {of_machine} channels to {standing.machine} and {taken} in all: no more can be "
                "opened.",
                machine=standing.machine,
                code=ErrorCode.ERROR_MAX_SESSIONS_REACHED,
                advice=f"Close some: at most {MAX_CHANNELS_OF_MACHINE} a machine, {MAX_CHANNELS} in all.",
            )

    async def _require_agent(self, standing: MachineStanding, port: int) -> None:
        machine = standing.machine
        try:
            agent = await self._needs.agents.connected(standing.key, timeout=_READY_S)
        except AgentError as exc:
            if exc.code in _TOLD:
                raise
            raise AgentError(
                exc.sentence, machine=machine, code=ErrorCode.ERROR_NOT_READY, advice=exc.advice
            ) from exc
        if not agent.hello.max_streams:
            raise AgentError(
                f"The task agent of {machine}, version "
                f"{agent.hello.agent_version}, does not support channels.",
                machine=machine,
                code=ErrorCode.ERROR_REVISION_MISMATCH,
                advice=f"Install the present agent: innkeeper machine prepare {machine} --force",
            )
        if not await agent.may_reach(port):
            raise NotPermitted(
                f"The guest of {machine} does not allow channels to its port {port}.",
                advice=(
                    "The guest's administrator can allow it in "
                    "/etc/innkeeper/agent/channels.conf inside the guest."
                ),
            )

    async def _start(self, channel: Channel) -> ChannelState:
        listener = await self._listen(channel)
        try:
            await self._keep(channel)
        except BaseException:
            del self._open[channel.name.key]
            await listener.close("it could not be kept")
            raise
        self._tell(EventKind.CHANNEL_OPENED, channel)
        # It may have stopped in the meantime, and its event have been handled too early.
        self._to_look_at.add(channel.of)
        self._changed.set()
        return listener.state

    async def _keep(self, channel: Channel) -> None:
        """Write a channel down; of two servers that take one name at once, neither has it.

        A name means one pipe at every server's door: else who connects could reach another guest.
        """
        await self._needs.store.put(channel)
        if others := await self._needs.store.others_with(channel):
            await self._needs.store.delete(channel)
            raise _taken(channel.name, f" at the server {others[0]}")

    async def _listen(self, channel: Channel) -> ChannelListener:
        path = self.socket_of(channel.name)
        users = {0, os.getuid()}
        owner = await asyncio.to_thread(self._needs.user_id, channel.owner)
        if owner is not None:
            users.add(owner)
        listener = ChannelListener(channel, path, frozenset(users), self._needs.agents)
        await listener.open()
        self._open[channel.name.key] = listener
        return listener

    def socket_of(self, name: PipeName) -> Path:
        """Return the Unix socket of a pipe's name."""
        directory = self._needs.directory
        room = MAX_SOCKET_PATH_BYTES - len(os.fsencode(directory)) - 1
        return directory / name.file_name(max(32, room))

    def _find(self, name: PipeName) -> ChannelListener:
        try:
            return self._open[name.key]
        except KeyError:
            raise self.no_such(name) from None

    @staticmethod
    def no_such(name: PipeName) -> InvalidArgument:
        """Return the error for an unknown pipe (ERROR_FILE_NOT_FOUND)."""
        return InvalidArgument(
            f"There is no pipe {name.text}.",
            code=ErrorCode.ERROR_FILE_NOT_FOUND,
            advice="List them: innkeeper channel list",
        )

    async def _stop(self, listener: ChannelListener, reason: str) -> ChannelState:
        channel, state = listener.channel, listener.state
        key = channel.name.key
        if self._open.pop(key, None) is None:
            return state
        self._in_work.add(key)
        try:
            # Forgotten first: a crash in between leaves a dead socket, and no channel that nobody wants.
            await self._needs.store.delete(channel)
            await listener.close(reason)
        finally:
            self._in_work.discard(key)
        self._tell(EventKind.CHANNEL_CLOSED, channel, reason=reason)
        return state

    def _tell(self, kind: EventKind, channel: Channel, **more: str) -> None:
        data: dict[str, str | int] = {
            "pipe_name": channel.pipe_name,
            "guest_port": channel.guest_port,
            **more,
        }
        now = self._needs.clock.now()
        self._needs.publish(Event(kind=kind, subject=channel.of, at=now, data=data))

    # Ends with the machine's run

    async def _watch(self) -> None:
        clock = self._needs.clock
        while True:
            if not await self._changed.wait_within(clock, _LOOK_AGAIN_S):
                self._to_look_at |= {each.channel.of for each in self._open.values()}
            await clock.sleep(_LOOK_S)
            self._changed.clear()
            machines, self._to_look_at = self._to_look_at, set()
            for machine in machines & {each.channel.of for each in self._open.values()}:
                await self._look_safely(machine)

    async def _look_safely(self, machine: str) -> None:
        """Check one machine's channels; its failure leaves the others alone."""
        try:
            await self._look(machine)
        except InnkeeperError:
            return  # a host that does not answer keeps its channels; the next look comes by itself
        except Exception as exc:
            titles = {each.channel.machine for each in self._open.values() if each.channel.of == machine}
            _log.error("channels.look_failed", machine=", ".join(titles), traceback=traceback_of(exc))

    async def _look(self, machine: str) -> None:
        reason = "the machine was turned off"
        try:
            standing = (await self._needs.look_at(machine)).standing
        except MachineNotFound:
            standing, reason = Standing.OFF, "the machine is no more"
        self._worked_at.discard(machine)
        if standing is Standing.RESTING:
            self._worked_at.add(machine)
        elif standing is Standing.OFF:
            ended = [each for each in self._open.values() if each.channel.of == machine]
            await asyncio.gather(*(self._stop(each, reason) for each in ended))


def _taken(name: PipeName, where: str = "") -> InvalidArgument:
    return InvalidArgument(
        f"There is a pipe {name.text} already{where}; upper and lower case are the same.",
        code=ErrorCode.ERROR_ALREADY_EXISTS,
        advice="Use that one, close it, or choose another name.",
    )


def _busy(name: PipeName) -> InvalidArgument:
    return InvalidArgument(
        f"The pipe {name.text} is being opened, or its connections are being closed.",
        code=ErrorCode.ERROR_PIPE_BUSY,
        advice="Try again in a moment.",
    )
