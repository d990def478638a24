"""Calls of what a machine has, and of what is around machines on the hosts."""

from __future__ import annotations

from pydantic import BaseModel

from innkeeper.client.calls.call import Answer, Call, QueryValue, machine_path, put, quoted
from innkeeper.wire.display import SizeMessage, SizeRequest
from innkeeper.wire.guest_os import ParameterRequest, TimeSyncRequest
from innkeeper.wire.health import GuestHealthMessage
from innkeeper.wire.keyboard import MouseMessage
from innkeeper.wire.messages import Nothing

#: How long the keys of a long text may take.
_KEYBOARD_SECONDS = 180.0
#: How long the check scripts of a guest may take.
_HEALTH_SECONDS = 330.0


def part(
    method: str, name: str, what: str, answer: type[Answer], body: BaseModel | None, /, **query: QueryValue
) -> Call[Answer]:
    """Something of a machine: a device, a value, a disk; without ``what`` the machine itself."""
    path = machine_path(name, what) if what else f"/v1/machines/{quoted(name)}"
    return Call(method=method, path=path, answer=answer, body=body, query=query)


def around(
    method: str, what: str, answer: type[Answer], body: BaseModel | None, /, **query: QueryValue
) -> Call[Answer]:
    """Something of the service that is about all machines: hosts, networks, options, new machines."""
    return Call(method=method, path=f"/v1/{what}", answer=answer, body=body, query=query)


def guest_health(name: str) -> Call[GuestHealthMessage]:
    """Ask a guest for its health."""
    path = machine_path(name, "health")
    return Call(method="GET", path=path, answer=GuestHealthMessage, timeout_seconds=_HEALTH_SECONDS)


def set_size(name: str, request: SizeRequest) -> Call[SizeMessage]:
    """Ask a guest for another size of its screen."""
    return put(machine_path(name, "display"), SizeMessage, request)


def set_time_sync(name: str, request: TimeSyncRequest) -> Call[Nothing]:
    """Switch whether a guest's clock is set by the host."""
    return put(machine_path(name, "guest/time_sync"), Nothing, request)


def set_parameter(name: str, request: ParameterRequest) -> Call[Nothing]:
    """Give a guest a named value, or take it back."""
    return put(machine_path(name, "guest/parameter"), Nothing, request)


def keyboard(method: str, name: str, what: str, body: BaseModel) -> Call[Nothing]:
    """Use a machine's keyboard."""
    path = machine_path(name, f"keyboard/{what}")
    return Call(method=method, path=path, answer=Nothing, body=body, timeout_seconds=_KEYBOARD_SECONDS)


def mouse(name: str, what: str, body: BaseModel) -> Call[MouseMessage]:
    """Use a machine's mouse."""
    return Call(method="POST", path=machine_path(name, f"mouse/{what}"), answer=MouseMessage, body=body)
