"""Updates of a Windows guest by its kit: what is told of each way in which they go.

The Windows here is made after Microsoft's documentation, and runs in an interpreter of our own: what these
tests prove is that the kit does what it means to do, not that Windows is as the documentation says.
"""

from __future__ import annotations

import pytest

from innkeeper.channels.guest_statements import read_updates
from innkeeper.channels.ports import PreparationState, UpdateStatus
from tests.kits.windows.guest import IDENTIFIER, Guest
from tests.kits.windows.machine import Killed, Windows
from tests.kits.windows.updates import Update

CUMULATIVE = "2026-11 Cumulative Update for Windows Server 2022"


def _cumulative(**more: object) -> Update:
    return Update("KB5031364", CUMULATIVE, **{"wants_reboot": True, **more})  # type: ignore[arg-type]  # of the test's own


# Preparing


def test_a_preparation_downloads_and_installs_nothing(windows: Windows, guest: Guest) -> None:
    """Before the undo point, updates are searched and downloaded, and their terms agreed to."""
    windows.updates = [_cumulative()]
    found = guest.prepared()
    assert found.state is PreparationState.READY
    assert found.text == "Downloaded: KB5031364."
    assert [(p.name, p.old_version, p.new_version) for p in found.packages] == [("KB5031364", "", CUMULATIVE)]
    assert found.output == (
        "Agreed to the licence terms of KB5031364",
        f"Downloading KB5031364: {CUMULATIVE}",
    )
    assert windows.updates[0].is_downloaded
    assert not windows.updates[0].is_installed
    assert not windows.history


def test_an_attempt_is_begun_once(windows: Windows, guest: Guest) -> None:
    """Who asks again hears how far it is, and what was printed since."""
    windows.updates = [_cumulative()]
    windows.starts_workers = False
    assert guest.prepare().state is PreparationState.RUNNING
    assert len(windows.workers) == 1
    assert guest.prepare().state is PreparationState.RUNNING
    assert len(windows.workers) == 1
    windows.starts_workers = True
    guest.prepare()
    found = guest.prepare()
    assert guest.prepare(offset=found.offset).output == ()


def test_nothing_to_do_is_told_with_what_was_left_out(windows: Windows, guest: Guest) -> None:
    """Drivers, optional updates, upgrades and what asks questions are left out, and named."""
    windows.updates = [
        Update("", "Display driver", driver=True),
        Update("KB1", "Preview", optional=True),
        Update("KB2", "Windows 12", upgrade=True),
        Update("KB3", "A product with a dialog", asks=True),
    ]
    found = guest.prepared()
    assert found.state is PreparationState.NOTHING
    assert found.text == (
        "Nothing had to be updated; left out: Display driver (a driver), KB1 (optional), "
        "KB2 (an upgrade to another release of Windows), KB3 (it wants answers while it installs)."
    )


def test_a_context_includes_what_it_names(windows: Windows, guest: Guest) -> None:
    """Drivers and optional updates are taken where the booking asks for them."""
    windows.updates = [Update("", "Display driver", driver=True), Update("KB1", "Preview", optional=True)]
    found = guest.prepared(context=b'{"include": ["drivers", "optional"]}')
    assert [package.name for package in found.packages] == ["Display driver", "KB1"]


def test_a_context_may_name_updates(windows: Windows, guest: Guest) -> None:
    """Then no other is looked at."""
    windows.updates = [_cumulative(), Update("KB9", "Another")]
    found = guest.prepared(context=b'{"packages": ["KB9"]}')
    assert [package.name for package in found.packages] == ["KB9"]


@pytest.mark.parametrize(
    ("context", "sentence"),
    [
        (b'{"packages": ["rm -rf"]}', "The context names 'rm -rf', which is not an update's name."),
        (b'{"reboot": "now"}', "The context's reboot is none of if_needed, never, always."),
        (b'{"include": ["games"]}', "The context includes what is none of drivers, upgrades, optional."),
    ],
)
def test_a_context_that_asks_the_impossible_is_refused(guest: Guest, context: bytes, sentence: str) -> None:
    """The refusal comes at the question, and nothing is begun."""
    assert guest.refusal("prepare", "x", IDENTIFIER, "1", "0", stdin=context) == sentence
    assert guest.refusal("start", "x", IDENTIFIER, "1", stdin=context) == sentence
    assert guest.ask("task", IDENTIFIER) == {"task": None}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0x8024402C, "the name of the update server, or of the proxy, cannot be resolved (0x8024402C)"),
        (0x80072EE2, "the update server did not answer in time (0x80072EE2)"),
        (0x80244022, "the update server is overloaded, or stopped (HTTP 503) (0x80244022)"),
        (0x8024001F, "there is no connection to the network (0x8024001F)"),
    ],
)
def test_what_cannot_be_looked_at_is_not_nothing(
    windows: Windows, guest: Guest, code: int, words: str
) -> None:
    """An update server that is away is told as such, never as a machine that is up to date."""
    windows.search_code = code
    found = guest.prepared()
    assert found.state is PreparationState.FAILED
    assert found.text == (
        f"Windows Update could not be asked which updates there are: {words}. Nothing could be looked at."
    )


def test_a_search_that_saw_a_part_is_not_nothing(windows: Windows, guest: Guest) -> None:
    """Of several update services one was away: that nothing was found proves nothing."""
    windows.search_warnings = [0x80240438]
    found = guest.prepared()
    assert found.state is PreparationState.FAILED
    assert found.text == (
        "Nothing was updated; not looked at: the update service cannot be reached: no route, or a firewall "
        "or proxy in between (0x80240438)."
    )


def test_a_reboot_that_windows_wants_first_is_told(windows: Windows, guest: Guest) -> None:
    """Nothing can be installed before it."""
    windows.updates = [_cumulative()]
    windows.must_reboot_first = True
    found = guest.prepared()
    assert found.state is PreparationState.FAILED
    assert found.text == (
        "Windows has to be rebooted before anything can be installed: an earlier update waits for it."
    )
    assert not windows.updates[0].is_downloaded


def test_one_update_that_cannot_be_downloaded_holds_back_no_other(windows: Windows, guest: Guest) -> None:
    """It is named with its cause."""
    windows.updates = [_cumulative(), Update("KB7", "Broken", download_code=0x80246002)]
    found = guest.prepared()
    assert found.state is PreparationState.READY
    assert found.text == (
        "Downloaded: KB5031364; left out: KB7 (its download failed: a downloaded file is damaged: it is not "
        "what the update says (0x80246002))."
    )


def test_a_full_disk_is_named(windows: Windows, guest: Guest) -> None:
    """Where nothing could be downloaded, the preparation has failed."""
    windows.updates = [_cumulative(download_code=0x80070070)]
    found = guest.prepared()
    assert found.state is PreparationState.FAILED
    assert "the disk is full (0x80070070)" in found.text


def test_another_installation_is_waited_for(windows: Windows, guest: Guest) -> None:
    """For a while, and told."""
    windows.updates, windows.busy_looks = [_cumulative()], 3
    found = guest.prepared()
    assert found.state is PreparationState.READY
    assert found.output[0] == "Waiting for another installation"


def test_another_installation_is_not_waited_for_for_ever(windows: Windows, guest: Guest) -> None:
    """Ten minutes are enough."""
    windows.updates, windows.busy_looks = [_cumulative()], 10_000
    found = guest.prepared()
    assert found.state is PreparationState.FAILED
    assert found.text == "Another installation is under way, and was waited for in vain."


def test_a_preparation_is_stopped(windows: Windows, guest: Guest) -> None:
    """Where the host asks for it."""
    windows.updates = [_cumulative()]
    windows.starts_workers = False
    guest.prepare()
    assert guest.ask("stop-preparing", IDENTIFIER) == {}
    windows.starts_workers = True
    guest.prepare()
    found = guest.prepare()
    assert found.state is PreparationState.FAILED
    assert found.text == "It was stopped at the host's request."


# Updating


def test_updates_are_installed_and_a_reboot_is_due(windows: Windows, guest: Guest) -> None:
    """That a reboot is required is no failure; the host is told that one is due."""
    windows.updates = [_cumulative(), Update("KB5030000", "Servicing stack", exclusive=True)]
    task = guest.updated()
    assert task.status is UpdateStatus.SUCCESS
    assert task.percent == 100
    assert task.text == "2 updates were installed; a reboot is due."
    assert [package.name for package in task.packages] == ["KB5030000", "KB5031364"]
    assert guest.health().reboot_required
    assert guest.effect().reboot == "Windows has installed what it puts in place while it reboots"
    windows.reboot()
    assert not guest.health().reboot_required
    assert guest.effect().reboot == ""
    assert guest.task() == task


def test_an_identifier_is_started_once(windows: Windows, guest: Guest) -> None:
    """Neither a question that is asked again nor a reboot repeats it."""
    windows.updates = [_cumulative(wants_reboot=False)]
    guest.updated()
    windows.updates.append(Update("KB8", "A later one"))
    assert guest.start().status is UpdateStatus.SUCCESS
    assert guest.start(attempt="2").status is UpdateStatus.SUCCESS
    windows.reboot()
    guest.start(attempt="3")
    assert not windows.updates[1].is_installed


def test_an_update_that_fails_is_told_with_its_cause(windows: Windows, guest: Guest) -> None:
    """And what else was installed: the guest is changed."""
    windows.updates = [Update("KB1", "Good"), Update("KB2", "Bad", install_code=0x800F0922)]
    task = guest.updated()
    assert task.status is UpdateStatus.FAILED
    assert task.text == (
        "An update could not be installed (1 of 2 were installed). KB2: an installer of the update failed, "
        "or the system partition has no room (0x800F0922)."
    )
    assert [package.name for package in task.packages] == ["KB1"]
    assert not task.unchanged


def test_an_installer_that_fails_may_have_changed_the_guest(windows: Windows, guest: Guest) -> None:
    """Servicing takes back what it did, as far as it can: that is no proof."""
    windows.updates = [_cumulative(install_code=0x80073712)]
    task = guest.updated()
    assert task.status is UpdateStatus.FAILED
    assert not task.unchanged


@pytest.mark.parametrize("code", [0, 0x80070070])
def test_an_update_that_fills_the_disk_tells_how_it_ended(windows: Windows, guest: Guest, code: int) -> None:
    """By the room that was kept, behind half a line for which there was none."""

    def fill() -> None:
        windows.files.free = 10

    windows.updates = [
        _cumulative(meanwhile=fill, install_code=code),
        Update("KB9", "Another"),
    ]
    task = guest.updated()
    assert (task.status, task.unchanged) == (
        UpdateStatus.FAILED if code else UpdateStatus.SUCCESS,
        False,
    )
    assert guest.ask("task", IDENTIFIER, "0")["task"] is not None
    assert ("the disk is full (0x80070070)" in task.text) == bool(code)


def test_a_name_that_apt_takes_for_remove_is_none_here_either(guest: Guest) -> None:
    """A context is read alike by every guest."""
    assert "which is not an update's name" in guest.refusal(
        "start", "", IDENTIFIER, "1", stdin=b'{"packages": ["KB1-"]}'
    )


def test_a_refusal_of_the_agent_changes_nothing(windows: Windows, guest: Guest) -> None:
    """No installer ran: the plug is pulled on no guest for that, and another attempt may start it."""
    windows.updates = [_cumulative(install_code=0x80240017)]
    task = guest.updated()
    assert task.status is UpdateStatus.FAILED
    assert task.unchanged
    windows.updates[0].install_code = 0
    guest.prepared(attempt="2")
    assert guest.start(attempt="1").status is UpdateStatus.FAILED
    guest.start(attempt="2")
    assert guest.task().status is UpdateStatus.SUCCESS


def test_an_installation_that_finds_another_waits(windows: Windows, guest: Guest) -> None:
    """Between the look and the call another may begin."""
    windows.updates = [_cumulative(busy_times=2)]
    assert guest.updated().status is UpdateStatus.SUCCESS
    answer = guest.ask("task", IDENTIFIER, "0")
    waiting = "Waiting: another installation is under way, or Windows waits for a reboot (0x80240016)"
    assert answer["output"] == [waiting, waiting]


def test_output_goes_on_where_it_was(windows: Windows, guest: Guest) -> None:
    """``-`` asks from where was asked last, so that a service that was restarted repeats nothing."""
    windows.updates = [_cumulative(busy_times=1)]
    guest.updated()
    first = guest.ask("task", IDENTIFIER, "0")
    assert guest.ask("task", IDENTIFIER, "-") == first
    rest = guest.ask("task", IDENTIFIER, str(first["offset"]))
    assert rest["output"] == []
    assert guest.ask("task", IDENTIFIER, "-") == rest


def test_while_it_installs_the_guest_is_asked(windows: Windows, guest: Guest) -> None:
    """The worker is a process of its own, which the Task Scheduler has started."""
    found = []
    windows.updates = [_cumulative(meanwhile=lambda: found.append(guest.task()))]
    guest.updated()
    assert found[0].status is UpdateStatus.APPLYING
    assert found[0].text == f"Installing KB5031364: {CUMULATIVE}"
    assert found[0].percent == 40


def _die() -> None:
    raise Killed


def test_a_worker_that_dies_in_the_middle_is_told(windows: Windows, guest: Guest) -> None:
    """It had begun to install: the guest is not believed to be unchanged."""
    windows.updates = [_cumulative(meanwhile=_die)]
    guest.prepared()
    with windows.worker_dies():
        guest.start()
    task = guest.task()
    assert task.status is UpdateStatus.FAILED
    assert task.text == "The update program has died."
    assert not task.unchanged


def test_a_guest_that_goes_down_in_the_middle_is_told(windows: Windows, guest: Guest) -> None:
    """By the boot in which the update was asked for, whatever the clock says."""
    windows.updates = [_cumulative(meanwhile=_die)]
    guest.prepared()
    with windows.worker_dies():
        guest.start()
    windows.reboot()
    task = guest.task()
    assert task.status is UpdateStatus.FAILED
    assert task.text == "The guest went down in the middle of the update."
    assert not task.unchanged


def test_a_look_at_the_lock_stops_no_worker(windows: Windows, guest: Guest) -> None:
    """Whoever asks whether a worker is at it holds its lock for a moment."""
    windows.updates = [_cumulative()]
    windows.starts_workers = False
    guest.start()
    (folder,) = windows.workers.values()
    windows.files.held.add(f"{folder}/lock")
    windows.on_sleep = windows.files.held.clear
    windows.starts_workers = True
    guest.task()
    assert guest.task().status is UpdateStatus.SUCCESS


def test_a_worker_that_never_comes_has_changed_nothing(windows: Windows, guest: Guest) -> None:
    """It is asked for again, for five minutes."""
    windows.starts_workers = False
    guest.start()
    windows.workers.clear()
    windows.now = windows.now.replace(minute=windows.now.minute + 1)
    assert guest.task().status is UpdateStatus.SEARCHING
    assert len(windows.workers) == 1
    windows.workers.clear()
    windows.now = windows.now.replace(minute=windows.now.minute + 8)
    task = guest.task()
    assert task.status is UpdateStatus.FAILED
    assert task.unchanged


def test_a_cancel_before_the_first_installation_counts(windows: Windows, guest: Guest) -> None:
    """Past it the update goes on to its end."""
    windows.updates = [_cumulative(), Update("KB6", "Last")]

    def cancel() -> None:
        assert guest.ask("cancel", IDENTIFIER) == {}

    windows.updates[0].meanwhile = cancel
    assert guest.updated().status is UpdateStatus.SUCCESS
    assert windows.updates[1].is_installed


def test_a_cancel_before_it_begins_changes_nothing(windows: Windows, guest: Guest) -> None:
    """What was downloaded stays."""
    windows.updates = [_cumulative()]
    guest.prepared()
    windows.starts_workers = False
    guest.start()
    guest.ask("cancel", IDENTIFIER)
    windows.starts_workers = True
    guest.task()
    task = guest.task()
    assert task.status is UpdateStatus.FAILED
    assert task.unchanged
    assert task.text == "It was stopped at the host's request."


def test_what_the_reboot_takes_back_is_a_complaint(windows: Windows, guest: Guest) -> None:
    """Windows calls an installation good, and may take it back while it reboots: its history tells."""
    windows.updates = [_cumulative(taken_back=0x800F0922)]
    before = guest.health()
    guest.updated()
    windows.reboot()
    after = guest.health()
    assert before.details is not None
    assert after.details is not None
    assert not before.details.complaints
    (complaint,) = after.details.complaints
    assert complaint == (
        f"Windows has taken back {CUMULATIVE}: an installer of the update failed, or the system partition "
        "has no room (0x800F0922)"
    )


def test_a_scan_tells_what_waits(windows: Windows, guest: Guest) -> None:
    """What an update would take, and nothing where it could not be looked."""
    windows.updates = [_cumulative(), Update("", "A driver", driver=True)]
    (found,) = read_updates(guest.ask("scan"))
    assert (found.name, found.available, found.security) == ("KB5031364", CUMULATIVE, True)
    windows.search_code = 0x8024402C
    assert "cannot be resolved" in guest.refusal("scan")


def test_a_due_reboot_alone_is_worth_an_undo_point(windows: Windows, guest: Guest) -> None:
    """Nothing to install, but a reboot is pending from before, as the booking wants it."""
    windows.updates = [_cumulative()]
    guest.updated()
    windows.updates.clear()
    found = guest.prepared(attempt="2")
    assert found.state is PreparationState.READY
    assert found.text == "Nothing had to be updated; a reboot is due."
    assert guest.prepared(attempt="3", context=b'{"reboot": "never"}').state is PreparationState.NOTHING
