"""Unix socket of one channel, with a bridge for each connection."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Collection
from pathlib import Path

from innkeeper.channels.bridge import Bridge
from innkeeper.channels.channel import Channel, ChannelState, Traffic
from innkeeper.channels.pipe_name import MAX_SOCKET_PATH_BYTES
from innkeeper.channels.ports import GuestAgents, GuestStream, StreamListener
from innkeeper.errors import ErrorCode, InnkeeperError
from innkeeper.wire.descriptors import Door
from innkeeper.wire.streams import MAX_STREAMS

#: How long a connection waits for its guest's agent, in seconds.
_AGENT_S = 15.0
_BACKLOG = 128
#: Where the links lie by which ``psql`` finds a server: it wants a name of its own in a directory.
_POSTGRES = "pg"
#: What ``bind`` says when there is no more of something.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC}


class ChannelListener:
    """One open channel."""

    def __init__(self, channel: Channel, path: Path, users: Collection[int], agents: GuestAgents) -> None:
        self.channel = channel
        self.path = path
        #: The user ids that may use the pipe.
        self.users = users
        self.traffic = Traffic()
        self._agents = agents
        self._bridges: set[Bridge] = set()
        self._server: asyncio.Server | None = None
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    # Life

    async def open(self) -> None:
        """Listen. Raises ``InnkeeperError`` (E_OUTOFMEMORY where the system has no more sockets)."""
        door = await asyncio.to_thread(self._bind)
        self._server = await asyncio.get_running_loop().create_unix_server(
            lambda: Bridge(self), sock=door, backlog=_BACKLOG
        )

    async def close(self, reason: str) -> None:
        """Stop listening, and cut whoever is connected."""
        if self._server is not None:
            self._server.close()
        for bridge in tuple(self._bridges):
            bridge.cut(reason)
        await self._is_empty.wait()
        await asyncio.to_thread(self._unlink)

    # Questions

    @property
    def state(self) -> ChannelState:
        """Return the channel's present state."""
        return ChannelState(
            channel=self.channel,
            socket=self.path,
            postgres_directory=self._postgres_link.parent if self._is_linked else None,
            open_connections=len(self._bridges),
            traffic=self.traffic,
            is_ready=self._agents.is_connected(self.channel.of),
        )

    # For the bridges

    async def dial(self, listener: StreamListener) -> GuestStream:
        """Open a stream in the guest, once its agent is there."""
        agent = await self._agents.connected(self.channel.of, timeout=_AGENT_S)
        return agent.open_stream(self.channel.guest_port, listener)

    def arrive(self, bridge: Bridge) -> str:
        """Register a bridge, unless there are too many."""
        if len(self._bridges) >= MAX_STREAMS:
            return f"the channel carries {MAX_STREAMS} connections already"
        self._bridges.add(bridge)
        self._is_empty.clear()
        return ""

    def leave(self, bridge: Bridge) -> None:
        """Remove a bridge."""
        self._bridges.discard(bridge)
        if not self._bridges:
            self._is_empty.set()

    # In threads

    def _bind(self) -> Door:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
                make_directory(self.path.parent)
                remove_stale(self.path)
                # Nobody gets in before the mode is set: the directory lets others pass, not the socket.
                former = os.umask(0o177)
                try:
                    bound.bind(str(self.path))
                finally:
                    os.umask(former)
                self.path.chmod(0o600 if set(self.users) <= {0, os.getuid()} else 0o666)
                self._link_for_postgres()
                return Door(bound)
        except OSError as exc:
            raise InnkeeperError(
                f"The socket {self.path} of the pipe cannot be made: {exc.strerror}.",
                code=ErrorCode.E_OUTOFMEMORY if exc.errno in _EXHAUSTED else ErrorCode.E_FAIL,
                advice="Look at the directory, and at the limits of the service.",
            ) from exc

    def _link_for_postgres(self) -> None:
        link = self._postgres_link
        if not self._is_linked:
            return
        link.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(self.path)

    def _unlink(self) -> None:
        self.path.unlink(missing_ok=True)
        link = self._postgres_link
        with contextlib.suppress(OSError):
            link.unlink(missing_ok=True)
            link.parent.rmdir()

    @property
    def _is_linked(self) -> bool:
        return len(os.fsencode(self._postgres_link)) <= MAX_SOCKET_PATH_BYTES

    @property
    def _postgres_link(self) -> Path:
        directory = self.path.parent / _POSTGRES / self.path.name
        return directory / f".s.PGSQL.{self.channel.guest_port}"


def make_directory(directory: Path) -> None:
    """Create the directory of the sockets, which others may pass through but not list."""
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)


def remove_stale(path: Path) -> None:
    """Remove a socket that a crash has left; raises ``OSError`` (EADDRINUSE) where somebody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        reason = probe.connect_ex(str(path))
    if reason in (0, errno.EAGAIN):
        raise OSError(errno.EADDRINUSE, "another program listens there")
    path.unlink(missing_ok=True)
