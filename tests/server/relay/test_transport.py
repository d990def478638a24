"""Why a server did not answer is told in words."""

from __future__ import annotations

import datetime as dt
import ssl

import httpx
import pytest

from innkeeper.server.relay.transport import Unanswered
from innkeeper.servers.server import Server

_SOUTH = Server(
    id="1",
    name="south",
    incarnation=1,
    address="south:9465",
    last_seen=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    alive=True,
)


@pytest.mark.parametrize(
    ("why", "words"),
    [
        (httpx.ConnectError("All connection attempts failed"), "no connection to it could be made"),
        (ConnectionRefusedError(111, "Connect call failed"), "no connection to it could be made"),
        (httpx.ConnectTimeout(""), "nothing came from it in time"),
        (TimeoutError(), "nothing came from it in time"),
        (httpx.ReadError(""), "the connection to it broke off"),
        (ssl.SSLError(1, "certificate has expired"), "certificate has expired"),
    ],
    ids=repr,
)
def test_why_a_server_did_not_answer_is_told_in_words(why: Exception, words: str) -> None:
    """Not in those of a library."""
    told = Unanswered(_SOUTH, why, was_sent=False).error().sentence
    assert told.endswith(f"did not answer this one: {words}.")
