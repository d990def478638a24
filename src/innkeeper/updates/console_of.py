"""Read what the console of a run's guest has printed in its night."""

from __future__ import annotations

from innkeeper.errors import InnkeeperError
from innkeeper.updates.facts.machine import Admitted
from innkeeper.updates.phase import Run


async def console_of(run: Run) -> str:
    """What the console has printed in this night; empty where nobody can read it."""
    admitted = run.known(Admitted)
    if admitted is None or admitted.console_bytes is None:
        return ""
    try:
        return await run.hypervisor.console_logs.read(run.machine, admitted.console_bytes)
    except InnkeeperError:  # what is worth a quotation is no reason for trouble
        return ""
