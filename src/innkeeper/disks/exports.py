"""Offer disks to machines by NBD: one process each, which a restart of the service finds again.

QEMU reads a differencing VHD as if it had no parent, and cannot save a machine that has a VHD at all. So a
machine gets its VHD as what an export offers: plain bytes. The export is no part of the service: where the
service is killed, machines go on; where the export itself is killed, it is started again and has every
write that it had acknowledged (``maps``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path

import structlog

from innkeeper.disks.allowed import beside_named, only_within
from innkeeper.disks.chain import open_chain
from innkeeper.disks.confined.child import start
from innkeeper.disks.confined.reach import Reach, Sockets
from innkeeper.disks.export_files import LONGEST_NAME, TAKEN, ExportFiles, ExportOrder
from innkeeper.disks.maps import BOOT_ID
from innkeeper.disks.nbd.protocol import GREETING_MAGIC
from innkeeper.disks.nbd.server import address
from innkeeper.disks.roots import Roots
from innkeeper.disks.short_socket_path import LONGEST_SOCKET_PATH, short_socket_path
from innkeeper.errors import DiskError, ErrorCode

_log = structlog.get_logger(__name__)

#: How long an export may take to open its disk, and to flush it when it ends.
_READY_SECONDS = 60.0
_END_SECONDS = 10.0
_LOOK_SECONDS = 0.02


class Exports:
    """The exports of one service, in a folder of its own."""

    def __init__(self, folder: Path, *, roots: Roots | None = None) -> None:
        """``roots``: where parents of machines' disks may lie, beside these disks; anywhere if ``None``."""
        self._folder = folder
        self._roots = roots
        self._turns: dict[str, asyncio.Lock] = {}
        #: Those that were started here: kept so that their ends are heard.
        self._processes: list[subprocess.Popen[bytes]] = []

    @classmethod
    def in_reach(cls, folder: Path, *, roots: Roots | None = None) -> Exports:
        """Return the exports in a folder, however long its path: the path of a socket is limited."""
        return cls(short_socket_path(folder, LONGEST_SOCKET_PATH - LONGEST_NAME), roots=roots)

    def socket_of(self, path: str) -> str:
        """The socket of this image's export, whether the export runs or not."""
        return str(ExportFiles.of(self._folder, path).socket)

    def address_of(self, path: str) -> str:
        """The address of this image's export for QEMU and other programs."""
        order = ExportOrder(path=path, writable=False)
        return address(ExportFiles.of(self._folder, path).socket, order.name)

    async def offered(self) -> Sequence[ExportOrder]:
        """The exports that run now."""
        return await asyncio.to_thread(self._offered)

    def any(self) -> bool:
        """Return whether any export runs, or did when it was killed."""
        return any(True for _ in ExportFiles.all(self._folder))

    @contextlib.asynccontextmanager
    async def held(self, paths: Collection[str]) -> AsyncIterator[None]:
        """Export these images for writing until machines have connected."""
        async with contextlib.AsyncExitStack() as held:
            for path in paths:
                within = await asyncio.to_thread(self._within, path)
                client = await self._hold(ExportOrder(path=path, writable=True, within=within))
                held.callback(client.close)
            yield

    async def offer(
        self,
        path: str,
        *,
        writable: bool = False,
        ignore_parent_time: bool = False,
        within: Sequence[str] = (),
    ) -> str:
        """Offer an image until ``end``, its parents in these folders; returns the address."""
        order = ExportOrder(
            path=path, writable=writable, stays=True, ignore_parent_time=ignore_parent_time, within=within
        )
        (await self._hold(order)).close()
        return self.address_of(path)

    async def release(self, path: str) -> bool:
        """End the export of an image that no client uses; returns whether it has ended."""
        files = ExportFiles.of(self._folder, path)
        return await asyncio.to_thread(_end, files)

    async def revive(self) -> Sequence[str]:
        """Start killed exports again; returns the images concerned."""
        revived = []
        for order in await asyncio.to_thread(self._killed):
            try:
                (await self._hold(order)).close()
            except DiskError as error:
                _log.warning("export.not_revived", path=order.path, error=str(error))
            else:
                _log.info("export.revived", path=order.path)
                revived.append(order.path)
        return revived

    def require_sound(self, path: str) -> None:
        """Raise what keeps this image from being exported to a machine, as a parent that lies elsewhere."""
        with contextlib.ExitStack() as confined:
            if within := self._within(path):
                confined.enter_context(only_within(Roots(within).allowed))
            open_chain(Path(path), is_known=True).close()

    # Machinery

    def _within(self, path: str) -> Sequence[str]:
        """The folders for the parents of a machine's disk, which its definition names wherever it lies."""
        if self._roots is None:
            return ()
        beside = beside_named(Path(path)).folders
        return tuple(dict.fromkeys(map(str, (*self._roots.folders, *beside))))

    async def _hold(self, order: ExportOrder) -> asyncio.StreamWriter:
        """Connect to the export, starting it where needed: it stays while the connection is open."""
        files = ExportFiles.of(self._folder, order.path)
        async with self._turns.setdefault(files.key, asyncio.Lock()):
            deadline = time.monotonic() + _READY_SECONDS
            while time.monotonic() < deadline:
                if (client := await _connected(files.socket)) is not None:
                    await self._see_that_it_suits(files, order, client)
                    return client
                if await asyncio.to_thread(files.process) is None:
                    await self._start(files, order)
                else:  # it begins, or it ends: the next look tells
                    await asyncio.sleep(_LOOK_SECONDS)
        raise DiskError(
            f"{order.path}: its export does not answer.",
            path=order.path,
            advice="See whether the host is overloaded, and try again.",
        )

    async def _see_that_it_suits(
        self, files: ExportFiles, order: ExportOrder, client: asyncio.StreamWriter
    ) -> None:
        """Refuse a running read-only export where writing is wanted."""
        running = await asyncio.to_thread(files.read)
        if order.writable and not running.writable:
            client.close()
            raise DiskError(
                f"{order.path}: the disk is exported read-only.",
                path=order.path,
                code=ErrorCode.ERROR_SHARING_VIOLATION,
                advice=f"End that export first: innkeeper disk export {order.path} --end",
            )

    async def _start(self, files: ExportFiles, order: ExportOrder) -> None:
        if (problem := await asyncio.to_thread(self._spawn, files, order)) is not None:
            await asyncio.to_thread(files.order.unlink, missing_ok=True)
            raise problem

    def _spawn(self, files: ExportFiles, order: ExportOrder) -> DiskError | None:
        """Start the process and read its answer; returns the error that it met."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write(order)
        # In a session of its own: what ends the service does not end it.
        process = start(
            [sys.executable, "-m", "innkeeper.disks.nbd.exporter", str(self._folder), files.key],
            self._reach(order),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert process.stdout is not None
        with process.stdout:
            word = process.stdout.readline()
        self._processes = [each for each in (*self._processes, process) if each.poll() is None]
        problem = _problem(order.path, word)
        if problem is None and not word and process.wait() != TAKEN:
            return DiskError(f"{order.path}: its export has ended without an error message.", path=order.path)
        return problem

    def _reach(self, order: ExportOrder) -> Reach:
        """The image and what lies beside it for writing; its parents, and our own code, for reading."""
        beside = beside_named(Path(order.path)).folders
        # A person's own export follows an image wherever they may read, as they do.
        parents = [Path(each) for each in order.within or ["/"]]
        ours = [Path(each).absolute() for each in (sys.prefix, sys.base_prefix, *sys.path) if each]
        return Reach(
            reads=(*parents, *beside, *ours, BOOT_ID),
            writes=(self._folder, *(beside if order.writable else ())),
            sockets=Sockets.LOCAL,
        )

    def _offered(self) -> list[ExportOrder]:
        found = []
        for files in ExportFiles.all(self._folder):
            with contextlib.suppress(DiskError):
                found.append(files.read())
        return found

    def _killed(self) -> list[ExportOrder]:
        found = []
        for files in ExportFiles.all(self._folder):
            if files.process() is None:
                with contextlib.suppress(DiskError):
                    found.append(files.read())
        return found


async def _connected(socket: Path) -> asyncio.StreamWriter | None:
    """Connect and read the greeting, after which the export counts this client."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return None
    try:
        async with asyncio.timeout(_END_SECONDS):
            await reader.readexactly(len(GREETING_MAGIC))
    except (OSError, EOFError, TimeoutError):
        writer.close()
        return None
    return writer


def _end(files: ExportFiles) -> bool:
    """Ask an export to end, and wait a moment: one with clients goes on."""
    deadline = time.monotonic() + _END_SECONDS
    asked = False
    while (process := files.process()) is not None and time.monotonic() < deadline:
        if not asked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
            asked = True
        time.sleep(_LOOK_SECONDS)
    return process is None


def _problem(path: str, word: bytes) -> DiskError | None:
    """Parse the error that a process reported; ``None`` where it is ready, or another one runs already."""
    try:
        message = json.loads(word or b"{}")
    except ValueError:
        message = {}
    if "sentence" not in message:
        return None
    try:
        code = ErrorCode(message["code"])
    except ValueError:
        code = ErrorCode.VM_E_HD_IMAGE_ACCESS
    return DiskError(str(message["sentence"]), path=path, code=code, advice=str(message["advice"]))
