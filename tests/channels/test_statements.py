"""What guests say, read within bounds."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.channels.health_statements import read_evidence, read_health
from innkeeper.channels.ports import PackageChange
from innkeeper.channels.statements import (
    MAX_PACKAGES,
    Unbelievable,
    read_hello,
    read_notice,
    read_task,
    read_told,
)
from tests.channels.rig import TASK, greeting

HEALTH: dict[str, object] = {
    "boot_id": "b",
    "kernel": "6.1",
    "system_state": "running",
    "failed_units": [],
    "listeners": ["tcp:0.0.0.0:22"],
    "mounts": ["/"],
    "package_database_ok": True,
    "reboot_required": False,
    "failed_checks": {},
}
SCHEDULE: dict[str, object] = {
    "tell": "schedule",
    "boot_id": "b",
    "seq": 1,
    "label": "",
    "identifier": "u",
    "context": "",
    "start": 0,
    "end": 0,
    "deadline": 0,
}


@pytest.mark.parametrize(
    "change",
    [
        {"identifier": "x" * 256},
        {"identifier": "a\nb"},
        {"identifier": 5},
        {"status": 0},
        {"status": 8},
        {"status": 99},
        {"status": True},
        {"percent": 101},
        {"percent": -1},
        {"percent": 5.5},
        {"packages": [["a", "1", "2"]] * (MAX_PACKAGES + 1)},
        {"packages": [["a", "1"]]},
        {"packages": "abc"},
        {"text": None},
    ],
)
def test_task_out_of_bounds_is_not_believed(change: dict[str, object]) -> None:
    """An update's name, state, percent and packages keep to their bounds."""
    with pytest.raises(Unbelievable):
        read_task({**TASK, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"start": -1},
        {"start": 2**40},
        {"end": "tomorrow"},
        {"context": "not base64!"},
        {"context": base64.b64encode(bytes(65537)).decode()},
        {"context": "A" * 1_000_000},
        {"identifier": ""},
        {"boot_id": None},
        {"seq": 0},
        {"tell": "task_state"},
        {"tell": "output"},
    ],
)
def test_booking_out_of_bounds_is_not_believed(change: dict[str, object]) -> None:
    """A booking's times, context and name keep to their bounds."""
    with pytest.raises(Unbelievable):
        read_notice({**SCHEDULE, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"failed_units": ["u"] * 5000},
        {"failed_checks": {str(n): "" for n in range(300)}},
        {"failed_checks": {"a": 1}},
        {"package_database_ok": 1},
        {"mounts": None},
    ],
)
def test_health_out_of_bounds_is_not_believed(change: dict[str, object]) -> None:
    """A health report's lists are bounded, and its truths are true or false."""
    with pytest.raises(Unbelievable):
        read_health({**HEALTH, **change})


@pytest.mark.parametrize(
    "told",
    [
        {"a.service": "text"},
        {"a.service": ["line"] * 13},
        {"a.service": [1]},
        {f"{n}.service": [] for n in range(17)},
        ["a.service"],
    ],
)
def test_evidence_out_of_bounds_is_not_believed(told: object) -> None:
    """Nor is it taken of a unit that was not asked about."""
    with pytest.raises(Unbelievable):
        read_evidence({"evidence": told}, ["a.service"])
    line = "x" * 1000 + "\x1b[31m"
    believed = read_evidence({"evidence": {"a.service": [line], "other.service": ["x"]}}, ["a.service"])
    assert believed == {"a.service": ("x" * 400,)}


def test_other_protocol_is_named() -> None:
    """An agent of another version is told apart from a liar."""
    with pytest.raises(Unbelievable, match="version 2 of the protocol, not 1"):
        read_hello({**greeting(), "protocol": 2})


def test_text_is_fit_for_a_terminal_and_a_database() -> None:
    """Escapes, lone surrogates and line ends in a guest's text do nothing anywhere."""
    task = read_task({**TASK, "text": "red \x1b[31m\ud800\nend", "packages": [["a\x00", "1", "2"]]})
    assert task.text == "red \ufffd[31m\ufffd end"
    assert task.packages == (PackageChange(name="a\ufffd", old_version="1", new_version="2"),)
    task.text.encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from([read_hello, read_task, read_health, read_notice, read_told]), st.data())
def test_any_json_is_a_value_or_unbelievable(read: object, data: st.DataObject) -> None:
    """Whatever a guest says in place of one member, the answer is a value or ``Unbelievable``."""
    assert callable(read)
    good = {read_hello: greeting(), read_task: TASK, read_health: HEALTH}.get(read, SCHEDULE)
    message = {**good, data.draw(st.sampled_from(sorted(good))): data.draw(JSON)}
    try:
        read(message)
    except Unbelievable:
        return


DETAILS: dict[str, object] = {
    "uptime": 5, "units": [], "unit_files": [], "listeners": [], "any_ports": [1, 2], "mounts": [],
    "complaints": [], "failed_lately": [],
}  # fmt: skip
UNIT = ["a.service", [], "active", "running", "simple", 0, False, "enabled", True, False, [], False, 7]


@pytest.mark.parametrize(
    "change",
    [
        {"uptime": -1},
        {"units": [UNIT[:-1]]},
        {"units": [[*UNIT[:5], "many", *UNIT[6:]]]},
        {"units": [[*UNIT[:1], "alias", *UNIT[2:]]]},
        {"units": [UNIT] * 5000},
        {"listeners": [["tcp", "::", 70000, "", ""]]},
        {"listeners": ["tcp"]},
        {"mounts": [["/", "ext4", "yes", "", ""]]},
        {"any_ports": [1]},
        {"complaints": [5]},
        {"boots": [{"watched": 5, "ports": {"tcp/80": -1}, "load": 0, "free_mib": 0}]},
        {"boots": [{"watched": 5, "ports": {"tcp/80": True}, "load": 0, "free_mib": 0}]},
        {"boots": [{"watched": 5, "ports": {}, "load": 0, "free_mib": 0}] * 17},
        {"boots": [5]},
    ],
)
def test_details_that_no_agent_tells_are_refused(change: dict[str, object]) -> None:
    """Each member has its type and its bound."""
    with pytest.raises(Unbelievable):
        read_health({**HEALTH, "details": {**DETAILS, **change}})


def test_details_of_a_newer_agent_may_have_more() -> None:
    """And an old one tells none."""
    read = read_health({**HEALTH, "details": {**DETAILS, "units": [[*UNIT, "new"]], "load": 1}}).details
    assert read is not None
    assert read.units["a.service"].age == 7
    assert read_health(HEALTH).details is None


def test_a_boot_that_took_for_ever_is_believed_up_to_an_hour() -> None:
    """A guest that slept in its first minutes tells the truth."""
    boot = {"watched": 9000, "ports": {"tcp/80": 8000}, "load": 0, "free_mib": 0}
    details = read_health({**HEALTH, "details": {**DETAILS, "boots": [boot]}}).details
    assert details is not None
    assert details.usual_seconds("tcp/80") == 3600
