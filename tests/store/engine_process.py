"""A process with an engine of its own, for tests of several on one database.

Its arguments: the address of the journal, a file that takes a line for every step that begins, the server's
id, and the hosts that it may work on, with commas between. It takes commands, a line each:
``start KEY HOST``, ``take HOST``, ``let HOST`` and ``end``, and says ``done`` after each.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa
import structlog

from innkeeper.store.engine import DbosEngine
from innkeeper.tasks.ports import Steps
from innkeeper.wire.events import Json

STEPS = 10
STEP_SECONDS = 0.2


async def serve(address: str, effects: int, server: str, hosts: set[str]) -> None:
    """Carry runs until told to end."""
    url = sa.make_url(address)
    journal = Path(str(url.database)) if url.get_backend_name() == "sqlite" else url
    engine = DbosEngine(journal, server=server)

    async def walk(key: str, argument: Mapping[str, Json], steps: Steps) -> Json:
        for number in range(STEPS):

            async def act(number: int = number) -> Json:
                os.write(effects, f"{key} {number} {server}\n".encode())
                await asyncio.sleep(STEP_SECONDS)
                return number

            await steps.run(f"step {number}", act)
        return None

    engine.register("walk", walk)
    await engine.launch(lambda host: host in hosts)
    while True:
        print("done", flush=True)
        match (await asyncio.to_thread(sys.stdin.readline)).split():
            case ["start", key, host]:
                await engine.start(key, "walk", {}, host=host)
            case ["take", host]:
                hosts.add(host)
                await engine.take_over({host})
            case ["let", host]:
                hosts.discard(host)
                await engine.let_go({host})
            case _:
                break
    await engine.close()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    _, journal_address, path, name, own_hosts = sys.argv
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    asyncio.run(serve(journal_address, descriptor, name, set(own_hosts.split(","))))
