"""Jobs that failed because an update held the package manager's lock are found, and started again once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from innkeeper.agent.disturbed import find, known, start_again
from innkeeper.agent.places import Places
from innkeeper.agent.run import Request, Run

_UNIT = "Id={name}\nActiveState={active}\nType={type}\nTriggeredBy={by}\nStateChangeTimestampMonotonic={at}\n"
_SAID = {
    "report.service": "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)",
    "python.service": "BlockingIOError: [Errno 11] Resource temporarily unavailable",
    "dnf-automatic.service": "Error: Failed to obtain rpm transaction lock. Another transaction is running.",
    "other.service": "rsync: connection refused",
    "server.service": "E: Could not get lock /var/lib/dpkg/lock-frontend",
    "early.service": "E: Could not get lock /var/lib/dpkg/lock-frontend",
    "virtd.service": "E: Could not get lock /var/lib/dpkg/lock-frontend",
    "firewall.service": "E: Could not get lock /var/lib/dpkg/lock-frontend",
    "network.service": "the adapter eth0 is busy, captures are locked: Resource temporarily unavailable",
    "well.service": "E: Could not get lock /var/lib/dpkg/lock-frontend, waiting",
}


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A guest in which several units have failed, each with its last words."""
    now = int(time.monotonic() * 1e6)
    units = [
        _UNIT.format(name="report.service", active="failed", type="oneshot", by="report.timer", at=now),
        _UNIT.format(name="python.service", active="failed", type="simple", by="python.timer", at=now),
        _UNIT.format(name="dnf-automatic.service", active="failed", type="oneshot", by="", at=now),
        _UNIT.format(name="other.service", active="failed", type="oneshot", by="other.timer", at=now),
        _UNIT.format(name="server.service", active="failed", type="simple", by="", at=now),
        _UNIT.format(name="virtd.service", active="failed", type="notify", by="virtd.socket", at=now),
        _UNIT.format(name="firewall.service", active="failed", type="oneshot", by="", at=now)
        + "WantedBy=multi-user.target\n",
        _UNIT.format(name="network.service", active="failed", type="oneshot", by="", at=now),
        _UNIT.format(name="early.service", active="failed", type="oneshot", by="", at=now - 600_000_000),
        _UNIT.format(name="well.service", active="active", type="oneshot", by="", at=now),
    ]
    (tmp_path / "show").write_text("\n".join(units))
    for name, text in _SAID.items():
        (tmp_path / name).write_text(text + "\n")
    programs = {
        "systemctl": f'case "$1" in show) cat {tmp_path}/show;; *) echo "$@" >>{tmp_path}/called;; esac',
        "journalctl": f'for unit; do :; done; cat "{tmp_path}/$unit"',
    }
    (tmp_path / "bin").mkdir()
    for name, body in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    return Places(str(tmp_path))


def test_jobs_that_spoke_of_the_lock_are_found(places: Places) -> None:
    """Not those that failed for another reason or before, no server, and no part of the boot."""
    assert find(places, time.time() - 60) == ["report.service", "python.service", "dnf-automatic.service"]


def test_they_are_started_again_once(places: Places, tmp_path: Path) -> None:
    """Whoever asks again is told the same, and nothing is started twice."""
    run = Run.of(str(tmp_path / "runs"), "u1", "update")
    run.prepare(Request("update", "apt", "", "u1", b""))
    assert (known(run), start_again(run)) == ([], [])
    run.keep_disturbed(["report.service"])
    assert [known(run), start_again(run), start_again(run)] == [["report.service"]] * 3
    called = (tmp_path / "called").read_text()
    assert called == "start --no-block -- report.service\n"


def test_a_guest_without_systemd_has_none(tmp_path: Path) -> None:
    """Nothing is asked there."""
    assert find(Places(str(tmp_path)), 0.0) == []
