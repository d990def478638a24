"""Calls of the service itself: who one is, tasks, machines, updates, windows, channels."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pydantic import BaseModel

from innkeeper.client.calls.call import Call, delete, get, post, quoted
from innkeeper.wire import messages as wire

if TYPE_CHECKING:  # most programs neither log in nor open a channel
    from innkeeper.wire import channels as channel_wire
    from innkeeper.wire import checks as check_wire
    from innkeeper.wire import identity

#: Many machines on slow hosts.
_CHECK_SECONDS = 600.0


def inn() -> Call[wire.InnMessage]:
    """Read the service's version, and the caller's roles."""
    return get("/v1/inn", wire.InnMessage)


def log_in(request: identity.LoginRequest) -> Call[identity.LoginMessage]:
    """Begin a session."""
    from innkeeper.wire import identity

    return post("/v1/login", identity.LoginMessage, request)


def log_out() -> Call[wire.Nothing]:
    """End the session that this connection uses."""
    return post("/v1/logout", wire.Nothing)


def health() -> Call[wire.HealthMessage]:
    """Read the service's health."""
    return get("/v1/health", wire.HealthMessage)


def machines(select: str | None = None) -> Call[wire.MachineList]:
    """The first page of all machines, or of those of a selector."""
    return get("/v1/machines", wire.MachineList, select=select)


def checks() -> Call[check_wire.CheckList]:
    """Whether all machines can be maintained; hosts that do not answer are waited for."""
    from innkeeper.wire.checks import CheckList

    return Call(method="GET", path="/v1/checks", answer=CheckList, timeout_seconds=_CHECK_SECONDS)


def machine(name: str) -> Call[wire.MachineMessage]:
    """One machine."""
    return get(f"/v1/machines/{quoted(name)}", wire.MachineMessage)


def command(name: str, verb: str, body: BaseModel | None = None) -> Call[wire.Accepted]:
    """Give a machine a command that a task carries out."""
    path = f"/v1/machines/{quoted(name)}/{verb}"
    return post(path, wire.Accepted, body)


def tasks(
    *,
    live: bool | None = None,
    kind: str | None = None,
    machine: str | None = None,
    text: str | None = None,
    before_id: int | None = None,
    limit: int | None = None,
) -> Call[wire.TaskList]:
    """Tasks, newest first."""
    return get(
        "/v1/tasks",
        wire.TaskList,
        live=live,
        kind=kind,
        machine=machine,
        text=text,
        before_id=before_id,
        limit=limit,
    )


def task(task_id: int, wait_seconds: float | None = None) -> Call[wire.TaskMessage]:
    """One task: at once, or when it has ended or the wait is over."""
    call = get(f"/v1/tasks/{task_id}", wire.TaskMessage, wait_seconds=wait_seconds)
    return dataclasses.replace(call, timeout_seconds=60.0 + (wait_seconds or 0))


def cancel(task_id: int) -> Call[wire.TaskMessage]:
    """Ask for a cancel."""
    return post(f"/v1/tasks/{task_id}/cancel", wire.TaskMessage)


def task_log(task_id: int, *, after: int = 0, limit: int = 1000) -> Call[wire.LogMessage]:
    """Lines of a task's log."""
    return get(f"/v1/tasks/{task_id}/log", wire.LogMessage, after=after, limit=limit)


def book(request: wire.BookRequest) -> Call[wire.UpdateMessage]:
    """Book an update."""
    return post("/v1/updates", wire.UpdateMessage, request)


def updates(machine: str | None = None) -> Call[wire.UpdateList]:
    """The first page of the bookings of all machines, or of one."""
    return get("/v1/updates", wire.UpdateList, machine=machine)


def update(machine: str, identifier: str) -> Call[wire.UpdateDetail]:
    """One booking with its report."""
    return get(_update_path(machine, identifier), wire.UpdateDetail)


def delete_update(machine: str, identifier: str) -> Call[wire.Nothing]:
    """Take a booking back."""
    return delete(_update_path(machine, identifier))


def windows() -> Call[wire.WindowList]:
    """All windows."""
    return get("/v1/windows", wire.WindowList)


def add_window(request: wire.WindowRequest) -> Call[wire.WindowMessage]:
    """Add a window."""
    return post("/v1/windows", wire.WindowMessage, request)


def remove_window(name: str) -> Call[wire.Nothing]:
    """Remove a window."""
    return delete(f"/v1/windows/{quoted(name)}")


def channels(machine: str | None = None) -> Call[channel_wire.ChannelList]:
    """Channels of all machines, or of one."""
    from innkeeper.wire import channels as channel_wire

    return get("/v1/channels", channel_wire.ChannelList, machine=machine)


def channel(name: str) -> Call[channel_wire.ChannelMessage]:
    """One channel."""
    from innkeeper.wire import channels as channel_wire

    return get(f"/v1/channels/{quoted(name)}", channel_wire.ChannelMessage)


def open_channel(request: channel_wire.ChannelRequest) -> Call[channel_wire.ChannelMessage]:
    """Open a channel."""
    from innkeeper.wire import channels as channel_wire

    return post("/v1/channels", channel_wire.ChannelMessage, request)


def close_channel(name: str) -> Call[wire.Nothing]:
    """Close a channel."""
    return delete(f"/v1/channels/{quoted(name)}")


def agent_files() -> Call[wire.AgentFilesMessage]:
    """The guest's task agent, to be carried into a guest by hand."""
    return get("/v1/agent", wire.AgentFilesMessage)


def tonight() -> Call[wire.TonightMessage]:
    """What will happen."""
    return get("/v1/tonight", wire.TonightMessage)


def _update_path(machine: str, identifier: str) -> str:
    return f"/v1/updates/{quoted(machine)}/{quoted(identifier)}"
