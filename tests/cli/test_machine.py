"""``innkeeper machine``: what it shows, what it does, and how it refuses."""

from __future__ import annotations

import json

import pytest

from innkeeper.cli import machine
from innkeeper.wire.host import HostAway
from tests.serving import Service


def test_the_list_fits_eighty_columns_and_names_every_machine(service: Service) -> None:
    """A table for a terminal: calm, and never wider than the usual one."""
    ended = service.run("machine", "list")
    lines = ended.out.splitlines()
    assert ended.code == 0
    assert lines[0].split() == ["MACHINE", "STATE", "HOST", "MEMORY", "CPUS", "AGENT", "TONIGHT", "TASK"]
    assert len(lines) == 13
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:]] == sorted(line.split()[0] for line in lines[1:])


def test_a_selector_that_matches_nothing_says_which_word_names_nothing(service: Service) -> None:
    """And never that there are no machines."""
    for selector, unknown in (("host:atic", "host:atic"), ("web-1 and label:nolabel", "label:nolabel")):
        ended = service.run("machine", "list", selector)
        said = " ".join((ended.out + ended.err).split())
        assert f"No machine matches “{selector}”. None is called “{unknown}”." in said
        assert "Create one" not in said


@pytest.mark.parametrize(
    ("select", "host", "may"),
    [
        ("host:barn", "pantry", False),
        ("host:barn", "Barn", True),
        ("not host:barn", "barn", False),
        ("not barn/web-1", "barn", True),
        ("barn/*", "pantry", False),
        ("host:barn or label:x", "pantry", True),
        ("label:x", "pantry", True),
    ],
)
def test_hosts_that_were_not_asked_for_are_not_told_of(select: str, host: str, may: bool) -> None:
    """As far as a selector names hosts."""
    away = (HostAway(name=host, uri="u", reason="It is off."),)
    assert bool(machine.missing_of(away, (), select)) is may


def test_json_has_the_documented_keys(service: Service) -> None:
    """Scripts rely on them."""
    machines = json.loads(service.run("machine", "list", "--json").out)["machines"]
    assert set(machines[0]) == {
        "name", "uuid", "host", "state", "memory_mib", "vcpus", "disks", "autostart", "has_agent_port",
        "has_guest_agent_port", "agent_connected", "updates_through", "task_id", "allowed", "labels",
        "undoable", "can_be_maintained", "obstacle", "roll_back", "title", "host_id", "key", "also_on",
        "as_of",
    }  # fmt: skip
    assert {machine["state"] for machine in machines} <= {"RUNNING", "TURNED_OFF", "SAVED", "PAUSED"}


def test_a_machine_is_shown_with_its_disks(service: Service) -> None:
    """All that an administrator wants to know before they touch it."""
    ended = service.run("machine", "show", "web-1")
    assert ended.code == 0
    for word in ("web-1", "running", "vda", "web-1.img", "raw"):
        assert word in ended.out


def test_a_machine_is_found_whatever_the_case_of_its_letters(service: Service) -> None:
    """As ``FindVirtualMachine`` does."""
    assert json.loads(service.run("machine", "show", "WEB-1", "--json").out)["name"] == "web-1"


def test_the_machine_goes_through_its_life_by_commands(own_service: Service) -> None:
    """Each command waits for its task, and ends with what it came to."""
    own_service.start()
    for verb, state in (
        ("pause", "PAUSED"),
        ("resume", "RUNNING"),
        ("save", "SAVED"),
        ("start", "RUNNING"),
        ("reset", "RUNNING"),
        ("stop", "TURNED_OFF"),
        ("start", "RUNNING"),
    ):
        ended = own_service.run("machine", verb, "web-1")
        assert ended.code == 0, (verb, ended)
        assert ended.out.rstrip().endswith("done"), (verb, ended)
        shown = json.loads(own_service.run("machine", "show", "web-1", "--json").out)
        assert shown["state"] == state, verb


def test_stop_asks_the_guest_and_force_pulls_the_plug(own_service: Service) -> None:
    """The task says which; a guest that does not go in the time it has is left running."""
    own_service.start()
    asked = own_service.run("machine", "stop", "web-1")
    assert (asked.code, "Shut down web-1" in asked.out) == (0, True), asked
    late = own_service.run("machine", "stop", "db-1", "--timeout", "1s")
    assert (late.code, "within 1 seconds" in late.out) == (1, True), late
    assert own_service.run("machine", "start", "web-1").code == 0
    forced = own_service.run("machine", "stop", "web-1", "--force")
    assert (forced.code, "Turn off web-1" in forced.out) == (0, True), forced


def test_stop_refuses_a_timeout_where_nobody_is_asked(service: Service) -> None:
    """A word without effect would be a promise."""
    ended = service.run("machine", "stop", "web-1", "--force", "--timeout", "5m")
    assert (ended.code, "--timeout" in ended.err) == (2, True)


def test_the_help_shows_one_name_and_other_names_are_accepted(own_service: Service) -> None:
    """Scripts of former releases go on."""
    own_service.start()
    helped = own_service.run("machine", "--help").out
    assert " stop " in helped
    for verb, state in (
        ("shutdown", "TURNED_OFF"),
        ("startup", "RUNNING"),
        ("turn-off", "TURNED_OFF"),
        ("power-on", "RUNNING"),
    ):
        assert f" {verb} " not in helped
        assert own_service.run("machine", verb, "web-1").code == 0
        shown = own_service.run("machine", "show", "web-1", "--json")
        assert json.loads(shown.out)["state"] == state


def test_a_verb_takes_several_machines_side_by_side(own_service: Service) -> None:
    """Each with a task of its own, and in JSON all of them."""
    own_service.start()
    ended = own_service.run("machine", "stop", "--force", "web-1", "db-1", "web-1")
    assert ended.code == 0, ended
    assert {"Turn off web-1: done", "Turn off db-1: done"} <= {
        line.partition("  ")[2] for line in ended.out.splitlines()
    }
    again = own_service.run("machine", "start", "web-1", "db-1", "--json")
    tasks = json.loads(again.out)["tasks"]
    assert [(task["description"], task["result"]) for task in tasks] == [
        ("Start web-1", "SUCCESS"),
        ("Start db-1", "SUCCESS"),
    ]
    waiting = own_service.run("machine", "save", "web-1", "db-1", "--no-wait")
    begun = [line.partition("started: ")[2] for line in waiting.out.splitlines()]
    assert begun == ["Save web-1", "Save db-1"]


def test_an_unknown_machine_among_several_starts_nothing(service: Service) -> None:
    """Half a fleet is nobody's wish."""
    before = service.run("task", "list", "--all", "--json").out
    ended = service.run("machine", "pause", "web-1", "nope", "db-1")
    assert (ended.code, "nope" in ended.err) == (3, True)
    assert service.run("task", "list", "--all", "--json").out == before


def test_what_is_refused_on_one_of_several_machines_is_the_exit_code(own_service: Service) -> None:
    """The others go on."""
    own_service.start()
    ended = own_service.run("machine", "pause", "old-1", "web-1")
    assert (ended.code, "old-1 is" in ended.err) == (4, True)
    assert "Pause web-1: done" in ended.out


def test_no_wait_names_the_task_and_returns(own_service: Service) -> None:
    """For scripts that have more to do."""
    own_service.start()
    ended = own_service.run("machine", "save", "web-1", "--no-wait")
    assert (ended.code, ended.out.strip()) == (0, "Task 1 started: Save web-1")
    assert own_service.run("task", "wait", "1").code == 0


@pytest.mark.parametrize(
    ("command", "code", "identifier"),
    [
        (("machine", "start", "nope"), 3, "VM_E_VM_UNKNOWN"),
        (("machine", "show", "nope"), 3, "VM_E_VM_UNKNOWN"),
        (("machine", "resume", "web-1"), 4, "E_FAIL"),
        (("machine", "pause", "old-1"), 4, "VM_E_VM_NOT_RUNNING"),
        (("machine", "save", "old-1"), 4, "VM_E_VM_NOT_RUNNING"),
    ],
)
def test_what_cannot_be_is_refused_with_its_identifier(
    service: Service, command: tuple[str, ...], code: int, identifier: str
) -> None:
    """One sentence, the documented identifier, what to do next, an exit code of its own, and no traceback."""
    ended = service.run(*command)
    assert ended.code == code, ended
    assert ended.out == ""
    assert ended.err.startswith("Error: ")
    assert identifier in ended.err
    assert "Traceback" not in ended.err
    told = json.loads(service.run(*command, "--json").err)
    assert told["code"] == identifier
    assert told["detail"] in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("machine",),
        ("machine", "dance"),
        ("machine", "start"),
        ("machine", "list", "--colour"),
        ("task", "show", "x"),
    ],
)
def test_a_command_that_is_none_is_a_usage_error(service: Service, arguments: tuple[str, ...]) -> None:
    """Exit code 2, how it is used, and no traceback."""
    ended = service.run(*arguments)
    assert ended.code == 2
    assert "Usage: " in ended.out + ended.err
    assert "Traceback" not in ended.err


# Checks


def test_a_check_says_of_every_machine_whether_it_can_be_maintained(service: Service) -> None:
    """In the width of a terminal, by name; the exit code says whether all can."""
    ended = service.run("machine", "check", "--all")
    lines = ended.out.splitlines()
    assert (ended.code, lines[-1].strip()) == (0, "All machines can be maintained.")
    assert lines[0].split() == ["MACHINE", "TONIGHT", "ROLL", "BACK", "DISKS"]
    assert [line.split()[1] for line in lines[1:-2]] == ["yes"] * 12
    assert max(map(len, lines)) <= 80
    assert service.run("machine", "check").out == ended.out
    listed = service.run("machine", "list").out.splitlines()
    assert all("  yes" in line for line in listed[1:])


def test_a_machine_that_cannot_be_maintained_is_said_with_the_way_out(own_service: Service) -> None:
    """All of it for one, in a table for many, and with documented keys; the exit code says so."""
    own_service.start()
    assert own_service.run("machine", "set", "web-1", "--undo-exclude", "vda").code == 0
    ended = own_service.run("machine", "check", "web-1")
    assert (ended.code, "web-1 cannot be maintained tonight." in ended.out) == (4, True)
    assert "innkeeper machine set web-1 --undo-exclude ''" in ended.out
    many = own_service.run("machine", "check")
    assert (many.code, many.out.rstrip().splitlines()[-1].strip()) == (4, "1 of 3 cannot be maintained.")
    answer = json.loads(own_service.run("machine", "check", "web-1", "db-1", "--json").out)
    assert [each["can_be_maintained"] for each in answer["machines"]] == [False, True]
    assert set(answer["machines"][0]["obstacles"][0]) == {"disk", "sentence", "advice", "command", "code"}
    with own_service.connect() as inn:
        assert not inn.machines["web-1"].check().can_be_maintained
        assert not inn.machines.check().all_can
        assert "left out of undo points" in inn.machines["web-1"].read().obstacle


def test_an_unknown_machine_does_not_stop_the_check_of_others(service: Service) -> None:
    """It is named, and the exit code is its."""
    ended = service.run("machine", "check", "nobody", "web-1")
    assert (ended.code, "There is no machine “nobody”" in ended.err) == (3, True)
    assert "web-1 can be maintained tonight." in ended.out
    some = service.run("machine", "check", "nobody", "web-1", "db-1")
    assert "2 of 3 can be maintained; 1 could not be looked at." in some.out
    assert service.run("machine", "check", "web-1", "--all").code == 2


def test_undo_disks_are_dealt_with_in_one_way_at_a_time(service: Service) -> None:
    """Neither of two that contradict each other is taken; and none is no way."""
    for ways in ([], ["--merge", "--discard"], ["--discard", "--to-running"]):
        ended = service.run("machine", "undo", "web-1", *ways)
        assert (ended.code, "Give one of --merge, --discard and --to-running." in ended.err) == (2, True)
