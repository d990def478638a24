"""A service process for tests: it does one step on a host, and may be killed in the middle of it.

Run as ``python worker.py STATE_DIRECTORY STEP JSON-ARGUMENTS``. It prints one JSON value a line:
``{"progress": [done, total]}`` while it works, and ``{"result": …}`` or ``{"error": …}`` at its end.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog

from innkeeper.disks.exports import Exports
from innkeeper.errors import InnkeeperError
from innkeeper.hypervisor.libvirt import embedded_root, embedded_uri, libvirt_host
from innkeeper.hypervisor.libvirt.image_chain import ImageChain
from innkeeper.hypervisor.libvirt.undo_disks import LibvirtUndoDisks
from innkeeper.machines.ports.host import Host
from innkeeper.machines.service import Machines
from innkeeper.machines.thawing import Thawing
from innkeeper.machines.undo.freezing import Freeze
from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.memory_engine import MemoryEngine, MemoryJournal
from innkeeper.tasks.memory_store import MemoryTaskStore
from innkeeper.tasks.service import Tasks
from innkeeper.wire.events import Json

#: Slow enough to be killed in the middle.
_MERGE_MIB_PER_S = 24


def _say(kind: str, value: Json) -> None:
    print(json.dumps({kind: value}), flush=True)


def _progress(done: int, total: int) -> None:
    _say("progress", [done, total])


async def _define(host: Host, definition: str) -> Json:
    return (await host.definitions.define(definition)).name


async def _look(host: Host, name: str) -> Json:
    machine = await host.inventory.get(name)
    sources: Mapping[str, Json] = {disk.target: disk.path for disk in machine.disks}
    return {"state": machine.state.name, "sources": sources}


async def _start(host: Host, name: str) -> Json:
    return await host.lifecycle.start(name, on_progress=_progress)


async def _notes_of_this_run(host: Host, name: str) -> Json:
    return (await host.configurations.read(name, running=True)).extras.software_reason


async def _save(host: Host, name: str) -> None:
    await host.saved_states.save(name, _progress)


async def _merge(
    host: Host, name: str, bases: Mapping[str, str], slowly: bool = False, images_are_ours: bool = True
) -> None:
    if slowly:
        LibvirtUndoDisks.bandwidth_mib = _MERGE_MIB_PER_S
    if not images_are_ours:
        # As where libvirt runs QEMU as another user.
        ImageChain.is_open_to_us = property(lambda _chain: False)  # type: ignore[assignment, method-assign]
    await host.undo_disks.merge(name, bases, _progress)


async def _freeze(host: Host, name: str, hook_seconds: float, seconds: float) -> None:
    """Freeze the guest; progress (1, 2) says that it is asked for, and (2, 2) that it is frozen."""

    async def tell() -> None:
        while not (await host.inventory.get(name)).freezing_since:
            await asyncio.sleep(0.05)
        _progress(1, 2)

    telling = asyncio.ensure_future(tell())
    freeze = Freeze(host, name, SystemClock(), say=lambda _: None)
    async with freeze.held(freeze_seconds=seconds, hook_seconds=hook_seconds):
        await telling
        _progress(2, 2)
        await asyncio.sleep(seconds)


async def _never(_: int) -> bool:
    return False


async def _thaw_what_is_owed(host: Host, name: str) -> Json:
    """What a service does at its start; returns how long that took."""
    clock = SystemClock()
    engine = MemoryEngine(MemoryJournal(), clock=clock)
    tasks = Tasks(store=MemoryTaskStore(), engine=engine, clock=clock, publish=lambda _: None)
    machines = Machines(hypervisors=[host], tasks=tasks, clock=clock, run_has_merged=_never)
    thawing = asyncio.ensure_future(Thawing(machines=machines, clock=clock, publish=lambda _: None).run())
    began = time.monotonic()
    while (await host.inventory.get(name)).freezing_since:
        await asyncio.sleep(0.05)
    thawing.cancel()
    return time.monotonic() - began


async def _is_frozen(host: Host, name: str) -> Json:
    return await host.guest_agents.is_frozen(name)


async def _have_hooks_take(host: Host, name: str, seconds: float) -> None:
    while True:
        try:
            await host.guest_agents.write_file(name, "/data/hook-seconds", str(seconds).encode())
        except InnkeeperError:
            await asyncio.sleep(0.2)
        else:
            return


_STEPS: Mapping[str, Callable[..., Awaitable[Json]]] = {
    "define": _define,
    "look": _look,
    "start": _start,
    "save": _save,
    "merge": _merge,
    "pause": lambda host, name: host.lifecycle.pause(name),
    "restore_keeping": lambda host, name, sources: host.saved_states.restore_keeping(
        name, sources, _progress
    ),
    "add_overlays": lambda host, name, overlays: host.undo_disks.add(name, overlays),
    "drop_overlays": lambda host, name, bases: host.undo_disks.drop(name, bases),
    "freeze": _freeze,
    "thaw_what_is_owed": _thaw_what_is_owed,
    "is_frozen": _is_frozen,
    "have_hooks_take": _have_hooks_take,
    "turn_off": lambda host, name: host.lifecycle.turn_off(name),
    "notes_of_this_run": _notes_of_this_run,
    "undefine": lambda host, name: host.definitions.undefine(name),
}


async def main(state_directory: Path, step: str, arguments: list[Json]) -> None:
    """Do the step."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    host = libvirt_host(
        name="here",
        uri=embedded_uri(embedded_root(state_directory)),
        publish=lambda _event: None,
        state_directory=state_directory,
        exports=Exports(state_directory / "exports"),
    )
    await host.connection.open()
    try:
        _say("result", await _STEPS[step](host, *arguments))
    except InnkeeperError as error:
        _say("error", f"{type(error).__name__}: {error} {error.advice}")
    finally:
        await host.connection.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])))
