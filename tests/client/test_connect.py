"""``connect`` to another computer: who one is there, whom one believes, and the documented errors."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

import innkeeper
from innkeeper.client.addresses import Address
from innkeeper.client.known_inns import KnownInns
from innkeeper.errors import (
    IdentityError,
    InnkeeperError,
    InvalidArgument,
    MachineNotFound,
    NotAuthenticated,
    NotPermitted,
    ServiceError,
)
from innkeeper.wire.identity import RoleName
from tests.identity.people import GOOD
from tests.serving import Service


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who knows no service yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "innkeeper" / "inns"


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with TLS on the loopback, an operator ``ana`` and a ``guest`` without a role."""
    directory = tmp_path_factory.mktemp("remote")
    settings = directory / "inn.toml"
    settings.write_text("tls = true\n")
    running = Service(directory, speed=120)
    running.listen()
    running.add_arguments("--config", str(settings))
    running.start()
    with running.connect() as inn:
        inn.people.add("ana", GOOD, RoleName.OPERATOR)
        inn.people.add("guest", GOOD)
    yield running
    running.end()


@pytest.fixture
def server(remote: Service) -> str:
    """Its address."""
    return remote.url.removeprefix("https://")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_all_three_make_a_connection_as_somebody(server: str) -> None:
    """The documented members; all that hangs on the inn works over the network as it does here."""
    with innkeeper.connect(server, "ana", "local", GOOD) as inn:
        assert (inn.connected, inn.connected_user, inn.connected_domain) == (True, "ana", "local")
        assert inn.target_server == socket.gethostname()
        assert inn.machines["web-1"].pause().wait(30)
        assert inn.read().proof == "password"
        with pytest.raises(NotPermitted) as refused:
            inn.people.list()
        assert refused.value.hresult == 0x80070005
        secret = inn._transport.token
    within = innkeeper.client.transport.Transport(_door(server), secret)
    with pytest.raises(NotAuthenticated):  # the session has ended with the connection
        innkeeper.Inn(within)


def _door(server: str) -> innkeeper.client.doors.RemoteDoor:
    return innkeeper.client.doors.RemoteDoor.known(Address.parse(server), KnownInns.of_user())


def test_without_a_server_one_is_somebody_here(remote: Service) -> None:
    """The local door takes a user, a domain and a password too."""
    with innkeeper.connect(None, "ana", "local", GOOD, socket=remote.socket) as inn:
        assert (inn.connected_user, inn.connected_domain) == ("ana", "local")


@pytest.mark.parametrize(
    ("user", "domain", "password", "hresult"),
    [
        ("ana", "local", "wrong wrong", 0x80070005),
        ("nobody", "local", GOOD, 0x80070005),
        ("ana", "NOWHERE", GOOD, 0x80070005),
        ("guest", "local", GOOD, 0x80070005),
        ("ana", "", GOOD, 0x8007000E),
        ("ana", "local", "", 0x8007000E),
        ("", "local", GOOD, 0x8007000E),
        ("", "", GOOD, 0x8007000E),
    ],
)
def test_who_is_not_let_in_is_told_by_the_documented_error(
    server: str, user: str, domain: str, password: str, hresult: int
) -> None:
    """A wrong password, an unknown realm, nobody's role; some but not all of the three."""
    with pytest.raises(InnkeeperError) as denied:
        innkeeper.connect(server, user, domain, password)
    assert denied.value.hresult == hresult
    assert password not in str(denied.value) or not password


def test_nobody_in_particular_is_denied_access_elsewhere(server: str) -> None:
    """Without a token and without a ticket."""
    with pytest.raises(NotAuthenticated) as denied:
        innkeeper.connect(server)
    assert denied.value.hresult == 0x80070005
    assert "login" in denied.value.advice


def test_a_server_that_is_not_there_is_error_53() -> None:
    """An unknown name, and a port that nobody listens at."""
    for server in ("no-such-inn.invalid", f"127.0.0.1:{_free_port()}", f"http://127.0.0.1:{_free_port()}"):
        with pytest.raises(ServiceError) as absent:
            innkeeper.connect(server, "ana", "local", GOOD)
        assert absent.value.hresult == 0x80070035, server
        assert absent.value.advice


def test_a_service_that_is_stopped_is_not_running(tmp_path: Path) -> None:
    """Here: there is a socket's name, and nobody behind it."""
    with pytest.raises(ServiceError) as stopped:
        innkeeper.connect(socket=tmp_path / "s.sock")
    assert stopped.value.hresult == 0x80041315


@pytest.mark.parametrize(
    "server", ["0.0.0.0", "[::]:1", "a b", "host/path", "ftp://x", "host:port", "u@h", "ä"]
)
def test_what_is_no_address_is_an_invalid_one(server: str) -> None:
    """As documented for 0.0.0.0."""
    with pytest.raises(InvalidArgument) as refused:
        innkeeper.connect(server)
    assert refused.value.hresult == 0x800706AB


def test_nothing_is_sent_in_the_clear_to_another_computer() -> None:
    """Not even on asking."""
    with pytest.raises(InvalidArgument, match="unencrypted"):
        innkeeper.connect("http://inn.example", "ana", "local", GOOD)


def test_a_failed_connect_leaves_an_existing_connection_as_it_was(server: str) -> None:
    """Whatever it failed of."""
    with innkeeper.connect(server, "ana", "local", GOOD) as inn:
        for wrong in (
            (server, "ana", "local", "wrong wrong"),
            (server, "ana", "NOWHERE", GOOD),
            (server, "ana", "", ""),
            (f"127.0.0.1:{_free_port()}", "ana", "local", GOOD),
        ):
            with pytest.raises(InnkeeperError):
                innkeeper.connect(*wrong)
        assert inn.connected
        assert inn.connected_user == "ana"
        assert inn.machines["web-1"].name == "web-1"


def test_a_certificate_is_kept_at_the_first_meeting_and_no_other_is_taken(
    remote: Service, server: str, config: Path, tmp_path: Path
) -> None:
    """Whoever steps in between later gets neither password nor token."""
    innkeeper.connect(server, "ana", "local", GOOD).close()
    (kept,) = config.glob("*.pem")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    other = Service(tmp_path / "other")
    (tmp_path / "other").mkdir()
    (tmp_path / "other.toml").write_text("tls = true\n")
    other.listen()
    other.add_arguments("--config", str(tmp_path / "other.toml"))
    other.start()
    try:
        assert other.fingerprint != remote.fingerprint
        theirs = Address.parse(other.url)
        KnownInns.of_user().trust(theirs)
        # The address that was met is answered by somebody else now.
        pinned = next(file for file in config.glob("*.pem") if f"_{theirs.port}_" in file.name)
        pinned.write_text(kept.read_text())
        with pytest.raises(ServiceError) as changed:
            innkeeper.connect(other.url, "ana", "local", GOOD)
        assert changed.value.hresult == 0x800B0109
        assert "innkeeper logout --forget" in changed.value.advice
        assert "log_in" not in other.log.read_text()
    finally:
        other.end()


def test_a_fingerprint_says_whom_to_believe_at_the_first_meeting(remote: Service, server: str) -> None:
    """In any way of writing it; with another one nothing is kept."""
    wrong = "00:" * 31 + "00"
    with pytest.raises(ServiceError) as refused:
        innkeeper.connect(server, "ana", "local", GOOD, fingerprint=wrong)
    assert refused.value.hresult == 0x800B0109
    right = remote.fingerprint.replace(":", "").lower()
    innkeeper.connect(server, "ana", "local", GOOD, fingerprint=right).close()


def test_a_restarted_service_is_known_again(own_service: Service, tmp_path: Path) -> None:
    """Its certificate is made once."""
    port = _free_port()
    (tmp_path / "inn.toml").write_text("tls = true\n")
    own_service.listen(f"127.0.0.1:{port}")
    own_service.add_arguments("--config", str(tmp_path / "inn.toml"))
    own_service.start()
    first = own_service.fingerprint
    key = own_service.state_dir / "tls" / "key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    own_service.stop()
    own_service.start()
    assert own_service.fingerprint == first


def test_login_keeps_a_token_and_logout_revokes_it(remote: Service, server: str, config: Path) -> None:
    """The commands go there with --server; the password is taken from a file, and kept nowhere."""
    entered = remote.run("login", server, "--user", "ana", "--password-file", "-", stdin=f"{GOOD}\n".encode())
    assert entered.code == 0, entered.err
    assert "ana@local" in entered.out
    assert remote.fingerprint in entered.err
    (kept,) = config.glob("*.token")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert GOOD not in kept.read_text()
    listed = remote.run("--server", server, "machine", "list")
    assert "web-1" in listed.out
    with innkeeper.connect(server) as inn:
        assert inn.read().proof == "token"
        assert inn.connected_user == "ana"
    secret = json.loads(kept.read_text())["token"]
    left = remote.run("logout", server)
    assert left.code == 0
    assert not kept.exists()
    with pytest.raises(NotAuthenticated):
        innkeeper.Inn(innkeeper.client.transport.Transport(_door(server), secret))
    assert remote.run("--server", server, "machine", "list").code == 6
    assert secret not in remote.log.read_text()


def test_people_are_looked_after_by_commands(remote: Service) -> None:
    """Added, given roles, closed, opened, removed; each says how it is now."""
    word = f"{GOOD}\n".encode()
    added = remote.run("user", "add", "Bob", "--role", "viewer", "--password-file", "-", stdin=word)
    assert (added.code, added.out.strip()) == (0, "bob@local: enabled, viewer."), added.err
    assert remote.run("user", "add", "bob", "--password-file", "-", stdin=word).code != 0
    given = remote.run("user", "role", "bob@local", "operator", "--machine", "web-1", "--label", "lab")
    assert given.out.strip() == "bob@local: operator on machine web-1, label lab."
    remote.run("user", "role", "%admins@LAB", "administrator")
    listed = remote.run("user", "list").out
    assert "operator on machine web-1" in listed
    assert "%admins@LAB" in listed
    assert remote.run("user", "role", "bob", "viewer").code == 2
    assert remote.run("user", "role", "bob@local", "king").code == 2
    assert remote.run("user", "role", "bob@local", "none", "--label", "lab").code == 0
    assert remote.run("user", "role", "bob@local", "none", "--label", "lab").code == 3
    assert "disabled" in remote.run("user", "disable", "bob").out
    assert "enabled" in remote.run("user", "enable", "bob").out
    assert remote.run("user", "password", "bob", "--password-file", "-", stdin=word).code == 0
    assert remote.run("user", "remove", "bob").code == 0
    assert remote.run("user", "remove", "bob").code == 3
    assert remote.run("user", "add", "cyd").code == 2  # no terminal to ask at
    assert "bob@local" not in remote.run("user", "list").out


def test_tokens_are_made_listed_and_revoked_by_commands(remote: Service) -> None:
    """The secret is all that goes to standard output."""
    made = remote.run("user", "token", "add", "backup", "--role", "viewer", "--machine", "web-1")
    secret = made.out.strip()
    assert secret.startswith("innkeeper_")
    assert "will not be shown again" in made.err
    listed = remote.run("user", "token", "list").out
    assert "backup" in listed
    assert secret not in listed
    assert remote.run("user", "token", "revoke", secret.split("_")[1]).code == 0
    assert "revoked" in remote.run("user", "token", "list").out


def test_the_audit_log_tells_who_did_what(remote: Service, server: str, tmp_path: Path) -> None:
    """Before and after; also what was refused, and who tried to come in."""
    with innkeeper.connect(server, "ana", "local", GOOD) as inn:
        inn.machines["db-1"].pause().wait(30)
        with pytest.raises(MachineNotFound):
            inn._transport.send(innkeeper.client.calls.command("none", "pause"))
        with pytest.raises(NotPermitted):
            inn.people.remove("guest")
    with pytest.raises(NotPermitted):
        innkeeper.connect(server, "ana", "local", "wrong wrong")
    with remote.connect() as root:
        with pytest.raises(IdentityError):
            root.people.remove("no-such-account")
        log = root.audit.list(limit=1000).entries
        told = [(entry.who, entry.action, entry.on, entry.outcome) for entry in log]
        assert ("ana@local", "log_in", "", "done") in told
        assert ("ana@local", "command_machine", "machine db-1", "begun") in told
        assert ("ana@local", "command_machine", "machine db-1", "done") in told
        assert ("ana@local", "command_machine", "machine none", "failed") in told
        assert ("ana@local", "remove_user", "", "refused") in told
        assert ("ana@local", "log_in", "", "refused") in told
        assert ("ana@local", "log_out", "", "done") in told
        assert {entry.address for entry in log if entry.on == "machine db-1"} == {"127.0.0.1"}
        assert all(GOOD not in entry.model_dump_json() for entry in log)
        assert root.audit.verify().ok
        exported = [json.loads(line) for line in root.audit.export().splitlines()]
        assert [entry["number"] for entry in exported] == list(range(1, len(exported) + 1))
    listed = remote.run("audit", "list", "--who", "ana@local")
    assert "machine db-1" in listed.out
    whole = remote.run("audit", "verify")
    assert whole.code == 0
    head = whole.out.split()[-1]
    assert remote.run("audit", "verify", "--against", head).code == 0
    number, seal = head.split(":")
    forged = remote.run("audit", "verify", "--against", f"{number}:{'0' * len(seal)}")
    assert forged.code == 1
    assert remote.run("audit", "verify", "--against", "x").code == 2
    file = tmp_path / "log.ndjson"
    assert remote.run("audit", "export", str(file)).code == 0
    assert file.read_text().count("\n") >= int(number)


def test_no_other_user_reads_what_is_kept(config: Path) -> None:
    """Neither the folder nor what is in it."""
    inns = KnownInns.of_user(os.environ)
    inns.keep_token(Address.parse("inn.example"), "secret")
    assert stat.S_IMODE(config.stat().st_mode) == 0o700
    assert inns.token(Address.parse("inn.example:8443")) == "secret"
    assert inns.token(Address.parse("inn.example:1")) == ""
    assert inns.forget(Address.parse("inn.example"))
    assert not inns.forget(Address.parse("inn.example"))


def test_wires_and_streams_go_over_the_network_too(server: str) -> None:
    """A screen, a serial port, a channel into a guest, and the stream of events: as on this computer."""
    with innkeeper.connect(server, "ana", "local", GOOD) as inn:
        machine = inn.machines["web-1"]
        if machine.state is not innkeeper.MachineState.RUNNING:
            assert machine.resume().wait(30)
        screen = machine.display.open()
        assert screen.read(10).startswith(b"RFB 003.")
        screen.close()
        serial = machine.display.open_console()
        serial.close()
        channel = machine.start_communication_channel(r"\\.\pipe\far", 7)
        wire = channel.connect()
        wire.send(b"over the hills")
        heard = b""
        while len(heard) < len(b"over the hills"):
            heard += wire.receive()
        assert heard == b"over the hills"
        wire.close()
        channel.close()
        events = inn.events(("task.*",), last_id="another-0")
        assert next(events).kind == "events.lost"


async def test_a_loop_reaches_another_computer(server: str) -> None:
    """The same objects, over TLS; the session ends with the connection."""
    async with innkeeper.connect_async(server, "ana", "local", GOOD) as inn:
        assert inn.connected_user == "ana"
        names = await inn.run(lambda inn: [machine.name for machine in inn.machines])
    assert "web-1" in names
