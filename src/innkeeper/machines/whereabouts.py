"""Find the host that a task works on, whatever the host is called by now."""

from __future__ import annotations

from collections.abc import Mapping

from innkeeper.errors import ErrorCode, HypervisorError
from innkeeper.machines.ports.host import Host
from innkeeper.tasks.running import RunningTask
from innkeeper.wire.events import Json


def host_of(hosts: Mapping[str, Host], task: RunningTask, argument: Mapping[str, Json]) -> Host:
    """Return the host by the id that the task knows; one from before hosts had ids, by the name that it had.

    A host may have been given another name since the task began, and the former one to another host. Raises
    ``HypervisorError`` where this service has it no longer.
    """
    named = str(argument["host"])
    for each in hosts.values():
        if each.id and each.id in (task.host, named):
            return each
    host = hosts.get(named)
    if host is None or _is_another(host, task):
        raise HypervisorError(
            f"The host {named} is not among those of this service any more.",
            code=ErrorCode.ERROR_NOT_FOUND,
            advice="Name it in the setting hypervisors again: innkeeper host list shows what there is.",
        )
    return host


def _is_another(host: Host, task: RunningTask) -> bool:
    """Whether a host that has the name is certainly not the one that the task knows by its id."""
    return bool(task.host and host.id)
