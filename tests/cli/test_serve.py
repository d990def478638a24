"""``innkeeper serve``: one owner a state directory, an orderly end, and nothing lost by a crash."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from innkeeper.errors import ErrorCode, ServiceError
from innkeeper.wire.messages import UpdateMessage
from innkeeper.wire.states import Verdict
from tests.serving import INNKEEPER, Service, run_command

T = TypeVar("T")


def test_without_a_service_every_command_says_how_to_start_it(tmp_path: Path) -> None:
    """The documented identifier for a service that does not run, and exit code 5."""
    nobody = Service(tmp_path)
    for command in (
        ("machine", "list"),
        ("task", "list"),
        ("tonight",),
        ("update", "list"),
        ("window", "list"),
    ):
        ended = nobody.run(*command)
        assert ended.code == 5, command
        assert "0x80041315" in ended.err
        assert "innkeeper serve" in ended.err
    with pytest.raises(ServiceError) as refused:
        nobody.connect()
    assert refused.value.code is ErrorCode.SCHED_E_SERVICE_NOT_RUNNING


def test_a_socket_that_a_crash_left_behind_is_nobody(own_service: Service) -> None:
    """Clients say that the service is not running, and the next service takes its place."""
    own_service.start()
    own_service.kill()
    assert own_service.socket.exists()
    assert own_service.run("machine", "list").code == 5
    own_service.start()
    assert own_service.run("machine", "list").code == 0


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://inn:hush@db/night",
        "postgresql://inn:[hush@db/night",
        "postgresql://inn:hush]@db/night",
        "postgresql://inn:/hush@db/night",
        "postgresql://inn@db/night?sslmode=require&password=hush",
    ],
)
def test_a_password_in_the_command_line_is_refused(tmp_path: Path, url: str) -> None:
    """Every user of the computer could read it, before the host or among the parameters."""
    place = str(tmp_path / "state")
    ended = Service(tmp_path).run("serve", "--fake", "1", "--state-dir", place, "--database", url)
    assert ended.code == 2
    assert "shown to every user of this computer" in ended.err
    assert "hush" not in ended.out + ended.err
    assert not (tmp_path / "state").exists()


def test_a_second_service_on_the_same_state_is_refused_by_the_firsts_name(service: Service) -> None:
    """Two would work on the same machines."""
    ended = service.run_apart("serve", "--fake", "--state-dir", str(service.state_dir))
    assert ended.code == 4
    assert str(service.pid) in ended.err
    assert service.run("machine", "list").code == 0


def test_a_second_service_on_the_same_socket_is_refused(service: Service, tmp_path: Path) -> None:
    """Nobody's door is taken from them."""
    ended = service.run_apart("serve", "--fake", "--state-dir", str(tmp_path))
    assert (ended.code, str(service.socket) in ended.err) == (4, True)
    assert service.run("machine", "list").code == 0


def test_a_service_that_is_told_to_stop_leaves_nothing_behind(own_service: Service) -> None:
    """Also with a listener on its stream of events, which would never end by itself."""
    own_service.start()
    with own_service.connect() as inn:
        listener = inn.events(last_id="of another life")
        assert next(listener).kind == "events.lost"
        assert own_service.stop() == 0
    assert not own_service.socket.exists()


def _settled(ask: Callable[[], T], is_settled: Callable[[T], bool]) -> T:
    """The first answer that is as it is to be, or the last one after a minute."""
    give_up = time.monotonic() + 60
    while not is_settled(found := ask()) and time.monotonic() < give_up:
        time.sleep(0.2)
    return found


def test_a_crash_loses_nothing(own_service: Service) -> None:
    """Machines, windows, bookings, tasks and their log are there again after kill -9."""
    own_service.start()
    own_service.run("machine", "save", "web-1")
    # Neither opens nor closes while the clock of the simulation runs.
    own_service.run("window", "add", "once", "--date", "2031-02-03", "--at", "22:00", "--for", "4h")
    own_service.run("update", "book", "db-1", "--identifier", "x", "--start", "2031-01-01")
    asked = (("machine", "show", "web-1"), ("window", "list"), ("update", "list"), ("task", "list", "--all"))

    def told() -> list[dict[str, object]]:
        return [json.loads(own_service.run(*command, "--json").out) for command in asked]

    # Whether a machine can be maintained is looked for after each start, and not kept.
    before = _settled(told, lambda found: found[0]["can_be_maintained"] is not None)
    own_service.kill()
    own_service.start()
    assert _settled(told, lambda found: found == before) == before


@pytest.mark.slow
def test_a_night_survives_the_services_death_in_the_middle(own_service: Service) -> None:
    """Killed three times while updates run: each ends as it should, and no undo disk is left behind."""
    own_service.start()
    own_service.run("window", "add", "now", "--now", "--for", "24h")
    for machine in ("web-1", "db-1", "old-1"):
        own_service.run("update", "book", machine, "--identifier", "n")
    for _ in range(3):
        _wait_for(own_service, lambda updates: any(each.task or each.verdict for each in updates))
        own_service.kill()
        own_service.start()
    _wait_for(own_service, lambda updates: all(update.verdict for update in updates))
    with own_service.connect() as inn:
        verdicts = {update.machine: update.verdict for update in inn.updates.list()}
        states = {machine.name: machine.state.name for machine in inn.machines.list()}
    assert verdicts == {"web-1": Verdict.KEPT, "db-1": Verdict.ROLLED_BACK, "old-1": Verdict.KEPT}
    assert states == {"web-1": "RUNNING", "db-1": "RUNNING", "old-1": "SAVED"}
    disks = sorted(file.name for file in (own_service.state_dir / "fake" / "disks").iterdir())
    assert disks == ["db-1.img", "old-1.img", "web-1.img"]


def _wait_for(service: Service, reached: Callable[[Sequence[UpdateMessage]], bool]) -> None:
    deadline = time.monotonic() + 120
    with service.connect() as inn:
        while not reached(inn.updates.list()):
            assert time.monotonic() < deadline, inn.updates.list()
            time.sleep(0.1)


def test_a_simulated_inn_has_many_hosts_that_fail_by_a_file(own_service: Service) -> None:
    """Each with machines of its own; one that is away is told, and the others go on."""
    own_service.add_arguments("--hosts", "3", "--machines", "2")
    own_service.start()
    with own_service.connect() as inn:
        hosts = {machine.name: machine.host for machine in inn.machines.list()}
        assert sorted(hosts.values()) == ["attic", "attic", "barn", "barn", "cellar", "cellar"]
        (own_service.state_dir / "fake" / "failures").write_text("cellar away\n")
        deadline = time.monotonic() + 60
        while (
            "cellar away: machines there are shown as seen last" not in own_service.run("machine", "list").err
        ):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert {machine.name: machine.host for machine in inn.machines.list()} == hosts
    assert "cellar" in own_service.run("host", "list").out


def test_simulated_time_never_goes_back_across_a_crash(own_service: Service) -> None:
    """Or guests would live through things twice."""
    own_service.start()
    with own_service.connect() as inn:
        before = inn.read().now
    own_service.kill()
    own_service.start()
    with own_service.connect() as inn:
        assert inn.read().now > before


def test_systemd_is_told_when_the_service_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``READY=1`` comes when the door is open, and ``STOPPING=1`` when it shuts."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        mine = Service(tmp_path)
        mine.start()
        assert systemd.recv(100) == b"READY=1\nSTATUS="
        mine.stop()
        assert systemd.recv(100) == b"STOPPING=1"


def test_nobody_else_can_open_the_door_or_read_the_state(service: Service) -> None:
    """Without a group or users in the settings, the service is its own user's alone."""
    assert stat.S_IMODE(service.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(service.state_dir.stat().st_mode) == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_a_stranger_is_turned_away_with_access_denied(tmp_path: Path) -> None:
    """By the peer's credentials, although the file's bits would do; a user in the settings gets in."""
    config = tmp_path / "innkeeper.toml"
    config.write_text('socket_users = ["daemon"]\n')
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    mine = Service(tmp_path)
    mine.add_arguments("--config", str(config))
    try:
        mine.start()
        for user, code in (("daemon", 0), ("games", 6)):
            command = [
                "runuser",
                "-u",
                user,
                "--",
                *INNKEEPER,
                "--socket",
                str(mine.socket),
                "version",
                "--json",
            ]
            told = run_command(command)
            service = json.loads(told.out)["service"]
            assert (service is not None) == (code == 0), told
            listed = run_command([*command[:-2], "machine", "list"])
            assert listed.code == code, listed
            if code:
                assert "0x80070005" in listed.err
            else:
                assert service["user"] == user
    finally:
        mine.end()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("serve", "5"), 2, "--fake"),
        (("serve", "--fake", "--config", "/nowhere.toml"), 3, "cannot be read"),
        (("serve", "--fake", "--state-dir", "/proc/no"), 2, "cannot be used"),
    ],
)
def test_a_service_that_cannot_start_says_why(
    tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    """An exit code of the table and one sentence, no traceback."""
    ended = Service(tmp_path).run_apart(*arguments)
    assert (ended.code, message in ended.err, "Traceback" in ended.err) == (code, True, False), ended
