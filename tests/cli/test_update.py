"""``innkeeper update`` and ``innkeeper tonight``: from booking to report."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import pytest

from tests.serving import Service


def test_a_booking_is_kept_as_it_was_written(service: Service) -> None:
    """Times are read in the reader's zone, and told with it."""
    ended = service.run(
        "--zone", "Europe/Paris", "update", "book", "web-1", "--label", "Security", "--identifier", "2031/01",
        "--start", "2031-01-02 22:00", "--end", "2031-01-03 02:00", "--deadline", "2031-01-09", "--packages",
        "openssl, curl", "--json",
    )  # fmt: skip
    booked = json.loads(ended.out)
    assert ended.code == 0
    assert (booked["start"], booked["end"], booked["deadline"]) == (
        "2031-01-02T21:00:00Z",
        "2031-01-03T01:00:00Z",
        "2031-01-08T23:00:00Z",
    )
    assert booked["context_bytes"] == len('{"packages": ["openssl", "curl"]}')
    assert booked["booked_by"] == _me()
    shown = service.run("update", "show", "web-1", "2031/01")
    assert "waiting" in shown.out
    assert service.run("update", "delete", "web-1", "2031/01").code == 0
    assert service.run("update", "show", "web-1", "2031/01").code == 3


def test_a_context_comes_from_a_file_or_the_standard_input(service: Service, tmp_path: Path) -> None:
    """Bytes go through as they are."""
    file = tmp_path / "context"
    file.write_bytes(bytes(range(256)))
    for given, stdin in ((str(file), b""), ("-", bytes(range(256)))):
        ended = service.run(
            "update", "book", "db-1", "--identifier", "c", "--start", "2031-01-01", "--context", given,
            "--json", stdin=stdin,
        )  # fmt: skip
        assert json.loads(ended.out)["context_bytes"] == 256
    service.run("update", "delete", "db-1", "c")


@pytest.mark.parametrize(
    ("options", "code", "identifier"),
    [
        (("nope",), 3, "VM_E_VM_UNKNOWN"),
        (("web-1", "--start", "2031-01-02", "--end", "2031-01-01"), 2, "E_INVALIDARG"),
        (("web-1", "--start", "2031-01-02", "--deadline", "2031-01-01"), 2, "E_INVALIDARG"),
        (("web-1", "--start", "soon"), 2, "E_INVALIDARG"),
        (("web-1", "--context", "/nowhere"), 3, "ERROR_FILE_NOT_FOUND"),
        (("web-1", "--context", "-", "--packages", "a"), 2, "E_INVALIDARG"),
        (("web-1", "--identifier", ""), 2, "E_INVALIDARG"),
        (("web-1", "--identifier", "x" * 256), 2, "E_INVALIDARG"),
        (("web-1", "--identifier", "a\nb"), 2, "E_INVALIDARG"),
    ],
)
def test_a_booking_that_cannot_be_is_refused(
    service: Service, options: tuple[str, ...], code: int, identifier: str
) -> None:
    """Before anything is kept."""
    ended = service.run("update", "book", *options)
    assert ended.code == code, ended
    assert identifier in ended.err
    assert json.loads(service.run("update", "list", "--json").out)["updates"] == []


def test_a_context_of_64_kib_goes_through_and_one_byte_more_is_refused(service: Service) -> None:
    """The documented limit, exactly."""
    book = ("update", "book", "web-1", "--identifier", "big", "--start", "2031-01-01", "--context", "-")
    assert service.run(*book, stdin=b"x" * 65536).code == 0
    refused = service.run(*book, stdin=b"x" * 65537)
    assert (refused.code, "65537" in refused.err) == (2, True)
    tremendous = service.run(*book, stdin=b"x" * 2_000_000)
    assert (tremendous.code, "Traceback" in tremendous.err) == (2, False)
    service.run("update", "delete", "web-1", "big")


def test_a_booking_says_what_is_in_its_way(own_service: Service) -> None:
    """It stands, since that may change until the night; whoever books need not find out in the morning."""
    own_service.start()
    assert own_service.run("machine", "set", "web-1", "--undo-exclude", "vda").code == 0
    assert own_service.run("machine", "check").code == 4
    booked = own_service.run("update", "book", "web-1", "--identifier", "n")
    assert booked.code == 0
    said = " ".join(booked.err.split())
    assert "As it is, it would not be begun: All disks of web-1 are left out of undo points" in said
    assert "innkeeper machine check web-1" in said


def test_a_night_runs_from_booking_to_report(own_service: Service) -> None:
    """Kept, rolled back by itself, and woken and put back: each with its verdict and its report."""
    own_service.start()
    assert "nothing is maintained" in own_service.run("window", "list").err
    for machine in ("web-1", "db-1", "old-1"):
        assert own_service.run("update", "book", machine, "--label", "Upgrade", "--identifier", "n").code == 0
    before = own_service.run("tonight")
    assert "3 of 3 will not be done tonight" in before.out
    own_service.run("window", "add", "now", "--now", "--for", "12h")
    watched = own_service.run("tonight", "--watch", "--json")
    verdicts = {update["machine"]: update["verdict"] for update in json.loads(watched.out)["updates"]}
    assert verdicts == {"web-1": "kept", "db-1": "rolled_back", "old-1": "kept"}
    assert watched.code == 1, "a night with a roll back is not a good night"
    listed = own_service.run("update", "list")
    assert max(map(len, listed.out.splitlines())) <= 80
    kept = own_service.run("update", "show", "web-1", "n").out
    assert "Verdict  kept" in kept
    assert "→" in kept
    rolled_back = own_service.run("update", "show", "db-1", "n").out
    assert "Verdict  rolled back" in rolled_back
    assert ": as before" in rolled_back
    explained = own_service.run("update", "explain", "db-1").out
    assert "unit:" in explained
    assert "before  active" in explained
    assert "innkeeper machine ignore db-1 unit:" in explained
    assert "Nothing in the guest was worse" in own_service.run("update", "explain", "web-1", "n").out
    states = {
        m["name"]: m["state"]
        for m in json.loads(own_service.run("machine", "list", "--json").out)["machines"]
    }
    assert states == {"web-1": "RUNNING", "db-1": "RUNNING", "old-1": "SAVED"}
    assert own_service.run("update", "log", "web-1", "n").out
    again = own_service.run("update", "book", "web-1", "--identifier", "n")
    assert (again.code, "ERROR_ALREADY_EXISTS" in again.err) == (4, True)


def test_a_night_in_which_nothing_is_begun_says_why(own_service: Service, tmp_path: Path) -> None:
    """Nothing to do, and a repository that cannot be read: each is told in list, report and page."""
    own_service.start()
    for machine, behaviour in (("web-1", "no_repository"), ("db-1", "up_to_date")):
        (tmp_path / "context").write_text(behaviour)
        booked = own_service.run(
            "update", "book", machine, "--identifier", "n", "--context", str(tmp_path / "context")
        )
        assert booked.code == 0
    own_service.run("window", "add", "now", "--now", "--for", "12h")
    watched = own_service.run("tonight", "--watch", "--json")
    updates = {update["machine"]: update for update in json.loads(watched.out)["updates"]}
    assert (updates["db-1"]["verdict"], updates["db-1"]["reason"]) == (
        "nothing_to_do",
        "Nothing had to be updated.",
    )
    assert (updates["web-1"]["verdict"], updates["web-1"]["task_id"]) == (None, None)
    assert "is not signed" in updates["web-1"]["reason"]
    assert "nothing to do" in own_service.run("update", "list").out
    tonight = " ".join(own_service.run("tonight").out.split())
    assert "Its last run was not started: Not looked for updates" in tonight
    assert "Next chance:" in tonight
    shown = own_service.run("update", "show", "web-1", "n").out
    assert ("Next chance" in shown, "Verdict  not started" in shown) == (True, True)
    explained = own_service.run("update", "explain", "web-1", "n").out
    assert "The update was not begun, and the machine was left as it was found" in explained
    with own_service.http() as client:
        page = client.get("/tonight", headers={"Accept": "text/html"}).text
    assert "not started" in page
    assert "is not signed" in page


def test_an_update_that_was_put_off_is_the_last_that_is_explained(own_service: Service) -> None:
    """It waits again, and its run has said why it was not begun."""
    own_service.start()
    own_service.run("update", "book", "web-1", "--identifier", "n", "--context", "-", stdin=b"no_repository")
    own_service.run("window", "add", "now", "--now", "--for", "12h")
    own_service.run("tonight", "--watch", "--json")
    explained = own_service.run("update", "explain", "web-1")
    assert explained.code == 0, explained.err
    assert "not started" in explained.out
    assert "is not signed" in explained.out


def _me() -> str:
    return getpass.getuser()
