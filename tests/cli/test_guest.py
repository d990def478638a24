"""Guests at the command line: what they say, their values, and a live table of all."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.serving import Service


@pytest.fixture(scope="module")
def guests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose guests these tests may do with as they like."""
    service = Service(tmp_path_factory.mktemp("guests"), machines=8, speed=60)
    service.start()
    with service.connect() as inn:
        deadline = time.monotonic() + 30
        while not inn.machines["web-1"].read().agent_connected:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    yield service
    service.end()


def test_a_guest_is_shown(guests: Service) -> None:
    """One that cannot be asked is shown with the reason."""
    shown = guests.run("machine", "guest", "web-1")
    assert (shown.code, "Simulated Linux 1" in shown.out, "100 %" in shown.out) == (0, True, True)
    silent = guests.run("machine", "guest", "old-1", "--json")
    answer = json.loads(silent.out)
    assert (silent.code, answer["guest"], answer["integration"]["version"]) == (0, None, None)
    assert "machine start old-1" in answer["reason"]


def test_parameters_are_set_listed_read_and_taken_back(guests: Service) -> None:
    """A value is printed as it is for a program."""
    assert guests.run("machine", "param", "set", "web-1", "motd", "-", stdin=b"two\nlines").code == 0
    assert guests.run("machine", "param", "get", "web-1", "motd").out == "two\nlines\n"
    listed = json.loads(guests.run("machine", "param", "list", "web-1", "--json").out)
    assert [each["name"] for each in listed["parameters"]] == ["motd"]
    assert guests.run("machine", "param", "delete", "web-1", "motd").code == 0
    assert guests.run("machine", "param", "get", "web-1", "motd").code == 3
    assert guests.run("machine", "param", "set", "web-1", "a\\b", "x").code == 2
    assert guests.run("machine", "param", "set", "old-1", "a", "x").code == 4


def test_a_guest_is_logged_off_and_restarted(guests: Service) -> None:
    """By tasks, whose outcome is the exit code."""
    nobody = guests.run("machine", "logoff", "web-1")
    assert (nobody.code, "Nobody is logged on" in nobody.out) == (1, True)
    assert guests.run("machine", "type", "web-1", "ana", "--enter").code == 0
    assert "ana" in guests.run("machine", "guest", "web-1").out
    assert guests.run("machine", "logoff", "web-1").code == 0
    assert guests.run("machine", "restart", "web-1").code == 0
    assert guests.run("machine", "restart", "old-1", "--force").code == 4


def test_all_machines_are_watched(guests: Service) -> None:
    """Once where nobody sits at a terminal; in JSON with every figure."""
    shown = guests.run("machine", "watch")
    assert (shown.code, shown.out.count("running") >= 2, "old-1" in shown.out) == (0, True, True)
    assert all(len(line) <= 80 for line in shown.out.splitlines())
    (one,) = json.loads(guests.run("machine", "watch", "WEB-1", "--json").out)["machines"]
    assert (one["account"]["machine"], one["account"]["is_on"], one["state"]) == ("web-1", True, "RUNNING")
    assert "disk write" in guests.run("machine", "watch", "web-1", "--once").out
    assert guests.run("machine", "watch", "nobody").code == 3
