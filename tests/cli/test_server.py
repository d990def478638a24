"""``innkeeper server``: the servers of a database, from the terminal."""

from __future__ import annotations

import json

import pytest

from innkeeper.cli.exit_codes import ExitCode
from innkeeper.client.calls import Call
from innkeeper.client.transport import Page, Transport
from innkeeper.wire.messages import MissingServer
from tests.serving import Service


def test_a_service_alone_is_listed_with_its_hosts_and_cannot_be_drained(service: Service) -> None:
    """Under its own name; what to do instead is said."""
    (found,) = json.loads(service.run("server", "list", "--json").out)["servers"]
    assert (found["state"], found["alive"], found["answers"]) == ("serving", True, True)
    assert found["hosts"]
    shown = service.run("server", "list")
    assert found["name"] in shown.out
    refused = service.run("server", "drain", found["name"])
    assert refused.code != 0
    assert "for itself" in refused.err
    asked = service.run("server", "retire", found["name"])
    assert asked.code == ExitCode.REFUSED
    assert "is not retired: it lives" in asked.err
    assert service.run("server", "join", "barn").code != 0


@pytest.mark.parametrize(
    ("command", "what"),
    [("channel list", "channels"), ("host networks", "networks"), ("host usb", "USB devices")],
)
def test_lists_note_the_servers_whose_part_is_missing(
    service: Service, command: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside what there is; in JSON they are in the answer."""
    whole = Transport.whole
    silent = MissingServer(server="south", reason="The server south did not answer in time.")

    def without_south(transport: Transport, call: Call[Page]) -> Page:
        return whole(transport, call).model_copy(update={"missing": (silent,)})

    monkeypatch.setattr(Transport, "whole", without_south)
    shown = service.run(*command.split())
    assert f"{silent.reason} Its {what} are not shown." in " ".join(shown.err.split())
    told = service.run(*command.split(), "--json")
    assert json.loads(told.out)["missing"] == [silent.model_dump()]
    assert not told.err
