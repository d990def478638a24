"""Consoles and channels of a machine whose server is another than the one that is asked, as processes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

import innkeeper
from tests.servers.peers import Peers, peers_in, until
from tests.serving import INNKEEPER, Service
from tests.store.conftest import postgres, postgres_database

pytestmark = pytest.mark.slow

__all__ = ["postgres", "postgres_database"]

_PASSWORD = "correct horse battery staple"


@pytest.fixture
def peers(tmp_path: Path, postgres_database: sa.URL) -> Iterator[Peers]:
    """Services on one database."""
    with peers_in(tmp_path, postgres_database) as made:
        yield made


def _running_at(service: Service, host: str) -> str:
    found = json.loads(service.run("machine", "list", "--json").out)["machines"]
    return next((each["name"] for each in found if (each["host"], each["state"]) == (host, "RUNNING")), "")


def test_consoles_and_channels_are_used_through_any_servers_door(peers: Peers) -> None:
    """By commands at the local door, and from another computer, to which no socket of the owner's is near."""
    first = peers.make("first")
    first.listen()
    first.start()
    second = peers.start("second", first=2)
    until(lambda: bool(_running_at(first, "cellar")))
    machine = _running_at(first, "cellar")
    (first.directory / "password").write_text(_PASSWORD)
    added = first.run(
        "user", "add", "ana", "--role", "operator", "--password-file", str(first.directory / "password")
    )
    assert added.code == 0, added
    here = [*INNKEEPER, "--socket", str(first.socket)]
    typed = subprocess.run(
        [*here, "machine", "console", machine], input=b"who\n", capture_output=True, timeout=60, check=True
    )
    assert b"login:" in typed.stdout
    opened = first.run("channel", "open", machine, "7", "echo")
    assert opened.code == 0, opened
    carried = subprocess.run(
        [*here, "channel", "connect", "echo"],
        input=b"by its socket",
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert carried.stdout == b"by its socket"
    with innkeeper.connect(first.url, "ana", "local", _PASSWORD) as inn:
        wire = inn.channels["echo"].connect()
        wire.send(b"by two doors")
        assert wire.receive() == b"by two doors"
        wire.finish()
        assert wire.receive() == b""
        wire.close()
        with inn.machines[machine].display.open_console() as console:
            console.write(b"x")
            assert b"x" in console.read()
    for service in (first, second):
        (found,) = json.loads(service.run("channel", "list", "--json").out)["channels"]
        assert (found["machine"], found["bytes_to_guest"]) == (machine, 25)
    assert first.run("channel", "close", "echo").code == 0
    assert json.loads(second.run("channel", "list", "--json").out)["channels"] == []
