"""What else the kit answers, and whom it does not trust."""

from __future__ import annotations

import json

import pytest

from innkeeper.channels.guest_statements import read_facts, read_sessions
from innkeeper.channels.statements import read_hello
from innkeeper.wire.guest_facts import Ability
from tests.kits.windows.guest import Guest
from tests.kits.windows.machine import Windows
from tests.kits.windows.updates import Update


def test_it_greets(guest: Guest) -> None:
    """The greeting is the task agent's, and says that nobody has tried this on Windows."""
    answer = guest.ask("hello")
    hello = read_hello(answer)
    assert hello.os_name == "Microsoft Windows Server 2022 Standard"
    assert "untried on Windows" in hello.plugin_name
    assert hello.knows == set(Ability) - {Ability.PARAMETERS, Ability.JOBS}
    assert hello.away_seconds == 1800
    assert answer["task_agent"] is False
    assert any("untried on Windows" in limit for limit in answer["limits"])  # type: ignore[attr-defined]  # a list


def test_it_says_what_the_guest_is(guest: Guest) -> None:
    """As qemu-guest-agent names it."""
    facts = read_facts(guest.ask("facts")["facts"])
    assert (facts.os_id, facts.version, facts.version_id) == ("mswindows", "21H2", "20348")
    assert (facts.variant, facts.kernel_release, facts.architecture) == (
        "server",
        "10.0.20348.2031",
        "x86_64",
    )


def test_it_says_who_is_there(guest: Guest) -> None:
    """Whoever has a desktop."""
    (session,) = read_sessions(guest.ask("sessions"))
    assert (session.user, session.locked) == ("ana", False)


@pytest.mark.parametrize("verb", ["reboot", "shut-down"])
def test_it_goes_down_after_the_answer(windows: Windows, guest: Guest, verb: str) -> None:
    """In some seconds."""
    assert guest.ask(verb) == {}
    assert windows.is_down


def test_an_unknown_question_is_refused(guest: Guest) -> None:
    """In a sentence."""
    assert guest.refusal("dance") == "This kit does not know the question dance."


def test_somebody_elses_folder_is_refused(windows: Windows, guest: Guest) -> None:
    """Anybody may make a folder in ProgramData: what lies in it is not believed, nor written to."""
    windows.files.folders.update({"C:/ProgramData", "C:/ProgramData/Innkeeper"})
    assert guest.refusal("hello").endswith(
        "belongs to S-1-5-21-1-1001, not to the system or its administrators. Remove it."
    )


def test_a_folder_that_leads_elsewhere_is_refused(windows: Windows, guest: Guest) -> None:
    """A junction of somebody's points where he likes."""
    windows.files.folders.update({"C:/ProgramData", "C:/ProgramData/Innkeeper"})
    windows.files.links.add("C:/ProgramData/Innkeeper")
    assert guest.refusal("hello").endswith("leads elsewhere. Remove it.")


def test_an_agent_for_32_bits_is_refused(windows: Windows, guest: Guest) -> None:
    """It would see another registry than the one that counts."""
    windows.is_wow64 = True
    assert guest.refusal("health").startswith("The qemu-guest-agent of this guest is one for 32 bits.")


def test_what_is_no_plain_text_is_told_whole(windows: Windows, guest: Guest) -> None:
    """Letters of every country, quotes, and lines: in an answer that is ASCII."""
    title = 'Ünïcode "quoted" \\ back\nslash 𝄞\n'
    windows.updates = [Update("KB1", title)]
    raw = windows.ask("scan")
    assert raw.isascii()
    assert json.loads(raw)["updates"][0]["available"] == title


def test_old_updates_are_forgotten(windows: Windows, guest: Guest) -> None:
    """The last 32 are kept."""
    for number in range(40):
        windows.now = windows.now.replace(second=number)
        guest.ask("start", "x", f"update {number}", "1")
    assert guest.ask("task", "update 0") == {"task": None}
    assert guest.ask("task", "update 39")["task"] is not None
