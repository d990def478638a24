"""Find the host that a task works on, whatever the host is called by now."""

from __future__ import annotations

from collections.abc import Mapping

from innkeeper.errors import ErrorCode, HypervisorError
from innkeeper.machines.ports.host import Host
from innkeeper.tasks.running import RunningTask
from innkeeper.wire.events import Json


def host_of(hosts: Mapping[str, Host], task: RunningTask, argument: Mapping[str, Json]) -> Host:
    """Return the host by its id where the task knows it, else by the name that it had.

    A host may have been given another name since the task began, and the server that goes on with the task
    may call it otherwise. Raises ``HypervisorError`` where this service has it no longer.
    """
    if task.host:
        for host in hosts.values():
            if host.id == task.host:
                return host
    name = str(argument["host"])
    try:
        return hosts[name]
    except KeyError:
        raise HypervisorError(
            f"The host {name} is not among those of this service any more.",
            code=ErrorCode.ERROR_NOT_FOUND,
            advice="Name it in the setting hypervisors again: innkeeper host list shows what there is.",
        ) from None
