"""``innkeeper session``: who is logged in, and their ends."""

from __future__ import annotations

import json

from innkeeper.wire.identity import RoleName
from tests.serving import Service

_PASSWORD = "a long enough password"  # of an account that lives for one test


def _log_in(service: Service, user: str) -> None:
    with service.http() as http:
        body = {"user": user, "domain": "local", "password": _PASSWORD}
        assert http.post("/v1/login", json=body).status_code == 201


def test_sessions_are_listed_and_ended(service: Service) -> None:
    """By an administrator those of everybody, one by one or all of a person."""
    with service.connect() as inn:
        inn.people.add("dora", _PASSWORD, RoleName.VIEWER)
    for _ in range(3):
        _log_in(service, "dora")
    listed = service.run("session", "list", "--all", "--json")
    doras = [each for each in json.loads(listed.out)["sessions"] if each["owner"] == "dora@local"]
    assert len(doras) == 3
    shown = service.run("session", "list", "--all").out
    assert "dora@local" in shown
    assert "LAST SEEN" in shown
    ended = service.run("session", "end", doras[0]["id"])
    assert (ended.code, ended.out) == (0, "1 session ended.\n")
    again = service.run("session", "end", doras[0]["id"])
    assert again.code != 0
    assert "There is no session" in again.err
    assert service.run("session", "end", "--all", "--user", "dora@local").out == "2 sessions ended.\n"
    assert "dora@local" not in service.run("session", "list", "--all").out
    with service.connect() as inn:
        inn.people.remove("dora")


def test_what_is_to_be_ended_is_said(service: Service) -> None:
    """One or all, and of whom."""
    for wrong in (("end",), ("end", "0123", "--all"), ("end", "--user", "dora@local")):
        assert service.run("session", *wrong).code == 2
    assert "no realm" in service.run("session", "end", "--all", "--user", "dora").err
