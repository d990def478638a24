"""A service process for tests: it does one step on a host, and may be killed in the middle of it.

Run as ``python worker.py STATE_DIRECTORY STEP JSON-ARGUMENTS``. It prints one JSON value a line:
``{"progress": [done, total]}`` while it works, and ``{"result": …}`` or ``{"error": …}`` at its end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from innkeeper.disks.exports import Exports
from innkeeper.errors import InnkeeperError
from innkeeper.hypervisor.libvirt import LibvirtHypervisor, embedded_root, embedded_uri
from innkeeper.hypervisor.libvirt.undo_disks import UndoDisks
from innkeeper.wire.events import Json

#: Slow enough to be killed in the middle.
_MERGE_MIB_PER_S = 24


def _say(kind: str, value: Json) -> None:
    print(json.dumps({kind: value}), flush=True)


def _progress(done: int, total: int) -> None:
    _say("progress", [done, total])


async def _define(host: LibvirtHypervisor, definition: str) -> Json:
    return (await host.define(definition)).name


async def _look(host: LibvirtHypervisor, name: str) -> Json:
    machine = await host.machine(name)
    sources: Mapping[str, Json] = {disk.target: disk.path for disk in machine.disks}
    return {"state": machine.state.name, "sources": sources}


async def _start(host: LibvirtHypervisor, name: str) -> None:
    await host.start(name, on_progress=_progress)


async def _save(host: LibvirtHypervisor, name: str) -> None:
    await host.save(name, _progress)


async def _merge(host: LibvirtHypervisor, name: str, bases: Mapping[str, str], slowly: bool = False) -> None:
    if slowly:
        UndoDisks.bandwidth_mib = _MERGE_MIB_PER_S
    await host.commit_overlays(name, bases, _progress)


_STEPS: Mapping[str, Callable[..., Awaitable[Json]]] = {
    "define": _define,
    "look": _look,
    "start": _start,
    "save": _save,
    "merge": _merge,
    "pause": lambda host, name: host.pause(name),
    "restore_keeping": lambda host, name, sources: host.restore_keeping_saved_state(name, sources, _progress),
    "add_overlays": lambda host, name, overlays: host.add_overlays(name, overlays),
    "drop_overlays": lambda host, name, bases: host.drop_overlays(name, bases),
    "turn_off": lambda host, name: host.turn_off(name),
    "undefine": lambda host, name: host.undefine(name),
}


async def main(state_directory: Path, step: str, arguments: list[Json]) -> None:
    """Do the step."""
    host = LibvirtHypervisor(
        name="here",
        uri=embedded_uri(embedded_root(state_directory)),
        publish=lambda _event: None,
        state_directory=state_directory,
        exports=Exports(state_directory / "exports"),
    )
    await host.open()
    try:
        _say("result", await _STEPS[step](host, *arguments))
    except InnkeeperError as error:
        _say("error", f"{type(error).__name__}: {error} {error.advice}")
    finally:
        await host.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])))
