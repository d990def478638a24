"""The client waits for a drained server."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest

from innkeeper.cli.exit_codes import ExitCode, of_error
from innkeeper.client import servers
from innkeeper.client.servers import ServerCollection
from innkeeper.client.transport import Transport
from innkeeper.errors import ServiceError
from innkeeper.wire.servers import KeptHostMessage, ServerMessage
from innkeeper.wire.states import ServerState

_OFFERED = KeptHostMessage(name="stable", reason="It is offered to south.", stays=False)
_ALONE = KeptHostMessage(name="vault", reason="It stays.", stays=True)


def _server(
    second: int,
    *keeps: KeptHostMessage,
    in_flight: int = 0,
    alive: bool = True,
    state: ServerState = ServerState.DRAINING,
) -> ServerMessage:
    seen = dt.datetime(2026, 1, 1, second=second, tzinfo=dt.UTC)
    return ServerMessage(
        name="spare", id="1", state=state, alive=alive, version="1", address="", since=None, last_seen=seen,
        hosts=(), keeps=keeps, in_flight=in_flight, answers=False,
    )  # fmt: skip


class _Looks(Transport):
    """A service that says one thing after another of a server."""

    def __init__(self, *said: ServerMessage) -> None:
        self.said: Iterator[ServerMessage] = iter(said)

    def send(self, _call: object) -> ServerMessage:  # type: ignore[override]
        return next(self.said)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_LOOK_SECONDS", 0.0)


def test_a_drained_server_is_waited_for_until_nothing_is_left_to_do_or_to_hand_over() -> None:
    """And until it has heard of it; what nobody else can take is not waited for."""
    end = _server(4, _ALONE)
    looks = _Looks(
        _server(1, _ALONE), _server(1, _ALONE), _server(2, _OFFERED), _server(3, _ALONE, in_flight=1), end
    )
    told: list[ServerMessage] = []
    assert ServerCollection(looks).wait_until_idle("spare", told=told.append) == end
    assert [len(each.keeps) for each in told] == [1, 1, 1, 1]
    assert next(looks.said, None) is None


def test_a_server_that_is_away_with_tasks_is_not_said_to_be_idle() -> None:
    """Nor one that has joined again meanwhile; one without tasks has nothing to do."""
    with pytest.raises(ServiceError, match="spare is away since 2026-01-01 00:00 UTC with 2 tasks") as away:
        ServerCollection(_Looks(_server(1, in_flight=2, alive=False))).wait_until_idle("spare")
    assert of_error(away.value) is ExitCode.REFUSED
    joined = _Looks(_server(1, _OFFERED), _server(2, state=ServerState.SERVING))
    with pytest.raises(ServiceError, match="not drained"):
        ServerCollection(joined).wait_until_idle("spare")
    idle = _server(1, alive=False)
    assert ServerCollection(_Looks(idle)).wait_until_idle("spare") == idle
