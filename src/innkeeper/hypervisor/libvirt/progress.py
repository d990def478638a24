"""Progress of libvirt's long calls."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import libvirt

from innkeeper.errors import InnkeeperError
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.machines.ports.progress import OnProgress

_POLL_S = 0.2

#: One look: bytes done and in all, or ``None`` where nothing can be seen now.
Look = Callable[[], Awaitable[tuple[int, int] | None]]


@contextlib.asynccontextmanager
async def followed(look: Look, on_progress: OnProgress | None) -> AsyncIterator[None]:
    """Report what ``look`` sees while the block runs. Never goes backwards."""
    if on_progress is None:
        yield
        return
    follower = asyncio.get_running_loop().create_task(_follow(look, on_progress))
    try:
        yield
    finally:
        follower.cancel()
        await asyncio.wait([follower])


async def _follow(look: Look, on_progress: OnProgress) -> None:
    best = -1
    while True:
        await asyncio.sleep(_POLL_S)
        seen = await look()
        if seen is not None and seen[0] > best and seen[1] > 0:
            best = seen[0]
            on_progress(min(seen[0], seen[1]), seen[1])


def look_at_save(connection: Connection, name: str) -> Look:
    """Looks how much of a machine's memory has been saved."""

    async def look() -> tuple[int, int] | None:
        try:
            return await connection.ask(lambda c: _save_progress(c.lookupByName(name)), "look at", name)
        except InnkeeperError:
            return None

    return look


def abort_job(connect: libvirt.virConnect, name: str) -> None:
    """Abort what libvirt does to the machine; nothing where it does nothing."""
    try:
        connect.lookupByName(name).abortJob()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
            raise


def _save_progress(domain: libvirt.virDomain) -> tuple[int, int] | None:
    stats = domain.jobStats()
    total = int(stats.get("data_total", 0))
    # What was processed leaves zero pages out and would end far below the total.
    return (total - int(stats.get("data_remaining", 0)), total) if total else None


def look_at_restore(image: Path | None) -> Look:
    """Looks how much of a saved state QEMU has read; sees nothing where the file is not this computer's."""

    async def look() -> tuple[int, int] | None:
        return None if image is None else await asyncio.to_thread(_restore_progress, image)

    return look


def _restore_progress(image: Path) -> tuple[int, int] | None:
    """How much of a saved state QEMU has read. libvirt has no job for it, but /proc shows the offset."""
    try:
        total = image.stat().st_size
        offsets = [_offset(descriptor) for descriptor in _descriptors_of(image)]
    except OSError:
        return None
    return (max(offsets), total) if offsets else None


def _descriptors_of(image: Path) -> list[Path]:
    """Every open descriptor of ours on this file that belongs to a QEMU."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # other users' processes, and those that have just ended
            if (process / "comm").read_text().startswith("qemu-"):
                found += [link for link in (process / "fd").iterdir() if link.readlink() == image]
    return found


def _offset(descriptor: Path) -> int:
    information = descriptor.parent.with_name("fdinfo") / descriptor.name
    with contextlib.suppress(OSError):
        for line in information.read_text().splitlines():
            if line.startswith("pos:"):
                return int(line.split()[1])
    return 0
