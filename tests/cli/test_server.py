"""``innkeeper server``: the servers of a database, from the terminal."""

from __future__ import annotations

import json

from innkeeper.cli.exit_codes import ExitCode
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
