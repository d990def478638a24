"""``innkeeper window``: weekly, dated and now, in their zones."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from tests.serving import Service


def _add(service: Service, *options: str) -> dict[str, object]:
    ended = service.run("window", "add", "try", *options, "--json")
    assert ended.code == 0, ended
    window: dict[str, object] = json.loads(ended.out)
    assert service.run("window", "remove", "try").code == 0
    return window


def test_a_weekly_window_is_read_as_it_is_written(service: Service) -> None:
    """Patterns, days, wall time, length and zone."""
    window = _add(
        service, "--machines", "web-*,db-1", "--days", "mon,tuesday", "--at", "22:00", "--for", "4h",
        "--zone", "Europe/Paris",
    )  # fmt: skip
    assert window["machines"] == ["web-*", "db-1"]
    assert window["weekdays"] == ["mon", "tue"]
    assert (window["opens_at"], window["duration_seconds"], window["zone"]) == (
        "22:00:00",
        14400,
        "Europe/Paris",
    )


def test_a_dated_window_opens_on_its_dates(service: Service) -> None:
    """Nothing but those."""
    first, second = (dt.datetime.now(dt.UTC).date() + dt.timedelta(days=days) for days in (30, 60))
    window = _add(service, "--date", str(second), "--date", str(first), "--at", "01:30", "--for", "90m")
    assert window["dates"] == [str(first), str(second)]
    assert window["next"] == {"start": f"{first}T01:30:00Z", "end": f"{first}T03:00:00Z"}


def test_now_opens_a_window_at_once(service: Service) -> None:
    """For trying things out: it is open when the command returns."""
    assert _add(service, "--now", "--for", "12h")["open_now"] is not None


def test_the_list_says_when_each_window_is_open(service: Service) -> None:
    """In the reader's zone, with the distance."""
    service.run("window", "add", "nightly", "--days", "daily", "--at", "22:00", "--for", "4h")
    ended = service.run("window", "list")
    service.run("window", "remove", "nightly")
    assert ended.code == 0
    assert ended.out.splitlines()[0].split() == ["WINDOW", "MACHINES", "OPENS", "FOR", "NEXT"]
    assert "daily 22:00 UTC" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--for", "4h"), "--at"),
        (("--at", "22:00", "--for", "4h"), "never open"),
        (("--at", "22:00", "--for", "4", "--days", "daily"), "not a length of time"),
        (("--at", "25:00", "--for", "4h", "--days", "daily"), "not a time of day"),
        (("--at", "22:00", "--for", "4h", "--days", "moonday"), "is not a day of the week"),
        (("--at", "22:00", "--for", "4h", "--days", "mon", "--zone", "Mars/Olympus"), "is not a time zone"),
        (("--at", "22:00", "--for", "0s", "--days", "mon"), "stay open"),
        (("--now", "--at", "22:00", "--for", "1h"), "--now"),
        (("--at", "22:00", "--for", "4h", "--days", "mon", "--machines", ","), "no machine"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(
    service: Service, options: tuple[str, ...], message: str
) -> None:
    """Before anything is kept, with a sentence that names the fault."""
    ended = service.run("window", "add", "bad", *options)
    assert ended.code == 2, ended
    assert message in ended.err
    assert "bad" not in service.run("window", "list").out


def test_removing_a_window_that_is_not_there_is_refused(service: Service) -> None:
    """By the identifier for what is not found."""
    ended = service.run("window", "remove", "nope")
    assert (ended.code, "ERROR_NOT_FOUND" in ended.err) == (3, True)


def test_a_name_that_nobody_has_is_told(service: Service) -> None:
    """A window may be made before its machine, or its name be misspelled."""
    ended = service.run(
        "window",
        "add",
        "try",
        "--machines",
        "nobody-7,web-*",
        "--at",
        "22:00",
        "--for",
        "1h",
        "--days",
        "daily",
    )
    assert service.run("window", "remove", "try").code == 0
    assert ended.code == 0, ended
    assert "No machine is known by the name nobody-7." in ended.err
