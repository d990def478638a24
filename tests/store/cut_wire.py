"""A wire to PostgreSQL that is cut at a commit."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_SOCKET: Final = ".s.PGSQL.5432"


class CutWire:
    """A relay between PostgreSQL's clients and its Unix socket, which loses its wire when a test says so."""

    def __init__(self, beyond: str) -> None:
        """``beyond`` is the directory of the server's socket."""
        self._beyond = str(Path(beyond) / _SOCKET)
        self._folder = tempfile.TemporaryDirectory(prefix="wire-")
        self._server: asyncio.Server | None = None
        self._when: str | None = None
        self._writers: list[asyncio.StreamWriter] = []
        #: Whether the wire was cut.
        self.has_cut = False

    @property
    def directory(self) -> str:
        """Where clients find the relay."""
        return self._folder.name

    def cut_after_next_commit(self) -> None:
        """Let the next commit through, and lose its answer."""
        self._when = "after"

    def cut_before_next_commit(self) -> None:
        """Lose the next commit on its way."""
        self._when = "before"

    async def __aenter__(self) -> Self:
        """Begin to relay."""
        path = str(Path(self.directory) / _SOCKET)
        self._server = await asyncio.start_unix_server(self._relay, path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """End what is left of the relay."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        self._folder.cleanup()

    async def _relay(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_unix_connection(self._beyond)
        self._writers += [to_client, to_server]
        answering = asyncio.create_task(_pump(server, to_client))
        with contextlib.suppress(ConnectionError):
            await self._forward(client, answering, server, to_server)
        answering.cancel()
        to_client.close()
        to_server.close()

    async def _forward(
        self,
        client: asyncio.StreamReader,
        answering: asyncio.Task[None],
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        while data := await client.read(65536):
            if self._when is not None and b"COMMIT" in data:
                await self._cut(data, answering, server, to_server)
                return
            to_server.write(data)
            await to_server.drain()

    async def _cut(
        self,
        data: bytes,
        answering: asyncio.Task[None],
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        when, self._when, self.has_cut = self._when, None, True
        answering.cancel()
        await asyncio.wait([answering])
        if when == "after":
            to_server.write(data)
            await server.read(1)  # it is made: the answer has begun


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):  # one side has gone, and soon the other
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
