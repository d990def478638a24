"""Say what each call of the service sends and what its answer means: requests out, values in.

Nothing here does input or output, so that a synchronous and an asynchronous client share it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from innkeeper.client.problems import revive
from innkeeper.errors import ErrorCode, ServiceError
from innkeeper.wire import messages as wire

if TYPE_CHECKING:  # most programs neither log in nor open a channel
    from innkeeper.wire import channels as channel_wire
    from innkeeper.wire import identity

Answer = TypeVar("Answer", bound=BaseModel)
Query = Mapping[str, str | float | bool | tuple[str, ...] | None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Call(Generic[Answer]):
    """One request, and the shape of its answer."""

    method: str
    path: str
    answer: type[Answer]
    query: Query = dataclasses.field(default_factory=dict)
    body: BaseModel | None = None
    #: Seconds that the service may take to answer.
    timeout_seconds: float = 60.0

    @property
    def params(self) -> dict[str, str | tuple[str, ...]]:
        """The query as text, without what was left out; what has several values is given again for each."""
        return {
            name: value if isinstance(value, tuple) else _text(value)
            for name, value in self.query.items()
            if value is not None
        }

    @property
    def content(self) -> bytes | None:
        """The body as it travels."""
        return _as_json(self.body) if self.body is not None else None

    def read(self, status: int, body: bytes) -> Answer:
        """Read the answer; raises the error that the service told."""
        try:
            if status >= 400:
                raise revive(wire.Problem.model_validate_json(body))
            return self.answer.model_validate_json(body or b"{}")
        except ValidationError as error:
            raise ServiceError(
                f"The service answered {self.method} {self.path} with something that is "
                f"not an answer of Innkeeper ({status}).",
                code=ErrorCode.ERROR_INVALID_DATA,
                advice="Check that client and service are of the same version: `innkeeper version`.",
            ) from error


def _as_json(body: BaseModel) -> bytes:
    """As it travels: a secret shows itself here, and nowhere else."""
    from innkeeper.wire import identity

    return body.model_dump_json(context=identity.REVEALED).encode()


def _text(value: str | float | bool | None) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _get(path: str, answer: type[Answer], **query: str | float | bool | None) -> Call[Answer]:
    return Call(method="GET", path=path, answer=answer, query=query)


def get(path: str, answer: type[Answer], **query: str | float | bool | None) -> Call[Answer]:
    """A question without a body."""
    return _get(path, answer, **query)


def machine_path(name: str, what: str) -> str:
    """The path of something of a machine."""
    return f"/v1/machines/{_quoted(name)}/{what}"


def inn() -> Call[wire.InnMessage]:
    """Who the service is, and who the caller is to it."""
    return _get("/v1/inn", wire.InnMessage)


def log_in(request: identity.LoginRequest) -> Call[identity.LoginMessage]:
    """Begin a session."""
    from innkeeper.wire import identity

    return Call(method="POST", path="/v1/login", answer=identity.LoginMessage, body=request)


def log_out() -> Call[wire.Nothing]:
    """End the session that this connection uses."""
    return Call(method="POST", path="/v1/logout", answer=wire.Nothing)


def health() -> Call[wire.HealthMessage]:
    """Whether it is well."""
    return _get("/v1/health", wire.HealthMessage)


def machines() -> Call[wire.MachineList]:
    """All machines."""
    return _get("/v1/machines", wire.MachineList)


def machine(name: str) -> Call[wire.MachineMessage]:
    """One machine."""
    return _get(f"/v1/machines/{_quoted(name)}", wire.MachineMessage)


def command(name: str, verb: str, body: BaseModel | None = None) -> Call[wire.Accepted]:
    """Tell a machine to do something that a task carries out."""
    path = f"/v1/machines/{_quoted(name)}/{verb}"
    return Call(method="POST", path=path, answer=wire.Accepted, body=body)


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
    return _get(
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
    call = _get(f"/v1/tasks/{task_id}", wire.TaskMessage, wait_seconds=wait_seconds)
    return dataclasses.replace(call, timeout_seconds=60.0 + (wait_seconds or 0))


def cancel(task_id: int) -> Call[wire.TaskMessage]:
    """Ask for a cancel."""
    return Call(method="POST", path=f"/v1/tasks/{task_id}/cancel", answer=wire.TaskMessage)


def task_log(task_id: int, *, after: int = 0, limit: int = 1000) -> Call[wire.LogMessage]:
    """Lines of a task's log."""
    return _get(f"/v1/tasks/{task_id}/log", wire.LogMessage, after=after, limit=limit)


def book(request: wire.BookRequest) -> Call[wire.UpdateMessage]:
    """Book an update."""
    return Call(method="POST", path="/v1/updates", answer=wire.UpdateMessage, body=request)


def updates(machine: str | None = None) -> Call[wire.UpdateList]:
    """Bookings of all machines, or of one."""
    return _get("/v1/updates", wire.UpdateList, machine=machine)


def update(machine: str, identifier: str) -> Call[wire.UpdateDetail]:
    """One booking with its report."""
    return _get(_update_path(machine, identifier), wire.UpdateDetail)


def delete_update(machine: str, identifier: str) -> Call[wire.Nothing]:
    """Take a booking back."""
    return Call(method="DELETE", path=_update_path(machine, identifier), answer=wire.Nothing)


def windows() -> Call[wire.WindowList]:
    """All windows."""
    return _get("/v1/windows", wire.WindowList)


def add_window(request: wire.WindowRequest) -> Call[wire.WindowMessage]:
    """Add a window."""
    return Call(method="POST", path="/v1/windows", answer=wire.WindowMessage, body=request)


def remove_window(name: str) -> Call[wire.Nothing]:
    """Remove a window."""
    return Call(method="DELETE", path=f"/v1/windows/{_quoted(name)}", answer=wire.Nothing)


def channels(machine: str | None = None) -> Call[channel_wire.ChannelList]:
    """Channels of all machines, or of one."""
    from innkeeper.wire import channels as channel_wire

    return _get("/v1/channels", channel_wire.ChannelList, machine=machine)


def channel(name: str) -> Call[channel_wire.ChannelMessage]:
    """One channel."""
    from innkeeper.wire import channels as channel_wire

    return _get(f"/v1/channels/{_quoted(name)}", channel_wire.ChannelMessage)


def open_channel(request: channel_wire.ChannelRequest) -> Call[channel_wire.ChannelMessage]:
    """Open a channel."""
    from innkeeper.wire import channels as channel_wire

    return Call(method="POST", path="/v1/channels", answer=channel_wire.ChannelMessage, body=request)


def close_channel(name: str) -> Call[wire.Nothing]:
    """Close a channel."""
    return Call(method="DELETE", path=f"/v1/channels/{_quoted(name)}", answer=wire.Nothing)


def agent_files() -> Call[wire.AgentFilesMessage]:
    """The guest's task agent, to be carried into a guest by hand."""
    return _get("/v1/agent", wire.AgentFilesMessage)


def tonight() -> Call[wire.TonightMessage]:
    """What will happen."""
    return _get("/v1/tonight", wire.TonightMessage)


def _update_path(machine: str, identifier: str) -> str:
    return f"/v1/updates/{_quoted(machine)}/{_quoted(identifier)}"


def _quoted(segment: str) -> str:
    if segment in (".", ".."):  # else a path of its own, which is resolved on the way
        return segment.replace(".", "%2E")
    return quote(segment, safe="")
