"""Reboots are counted and told apart, and a guest that does not come up is quoted by its console."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from innkeeper.hypervisor.simulated.guests import Behaviour, GuestDisk
from innkeeper.machines.machine import MachineState
from innkeeper.updates.booking import Verdict
from innkeeper.updates.reboots import Reboots, RebootWatch, Seen
from innkeeper.wire.events import Event, EventKind
from tests.updates.dying_engine import DyingEngine, Moment
from tests.updates.inn import Inn

_START = dt.datetime(2026, 11, 30, 22, tzinfo=dt.UTC)


def happens(kind: EventKind, second: float, machine: str = "h/u", reason: str = "") -> Event:
    at = _START + dt.timedelta(seconds=second)
    return Event(kind=kind, subject="web-1", at=at, data={"key": machine, "reason": reason})


def test_reboots_are_counted_by_machine_and_time() -> None:
    """A firmware that resets once more makes no second one, and a QEMU that died is no crashed kernel."""
    watch = RebootWatch()
    for second in (1, 60, 60.2, 120):
        watch.on_event(happens(EventKind.MACHINE_REBOOTED, second))
    watch.on_event(happens(EventKind.MACHINE_REBOOTED, 90, machine="h/other"))
    watch.on_event(happens(EventKind.MACHINE_CRASHED, 119, reason="panicked"))
    watch.on_event(happens(EventKind.MACHINE_CRASHED, 119, reason="crashed"))
    assert watch.seen("h/u", _START + dt.timedelta(seconds=30)) == Seen(reboots=2, crashes=1)
    assert watch.seen("h/none", _START) == Seen()


@pytest.mark.parametrize(
    ("reboots", "words", "sentences"),
    [
        (Reboots(), "", ()),
        (Reboots(ours=1), "1: 1 asked for by Innkeeper", ()),
        (
            Reboots(ours=1, of_update=1, by_itself=1),
            "3: 1 asked for by Innkeeper, 1 asked for by the update, 1 by itself",
            ("The guest rebooted once by itself.",),
        ),
        (
            Reboots(ours=1, by_itself=6, crashes=7),
            "7: 1 asked for by Innkeeper, 6 after a crash of its kernel (a reboot loop)",
            ("The guest rebooted 6 times by itself, and its kernel crashed 7 times: it was in a loop.",),
        ),
        (Reboots(crashes=1), "0; its kernel crashed once", ("The guest's kernel crashed once.",)),
    ],
)
def test_each_reboot_is_told_by_whose_wish_it_was(
    reboots: Reboots, words: str, sentences: tuple[str, ...]
) -> None:
    """For the report's facts, and where something is wrong, among its reasons."""
    assert (reboots.words, reboots.sentences) == (words, sentences)


@pytest.mark.parametrize("state", [MachineState.RUNNING, MachineState.TURNED_OFF])
async def test_a_reboot_loop_is_told_with_its_count_and_the_panic(
    tmp_path: Path, state: MachineState
) -> None:
    """The update's kernel panics in each boot; what the console said before this night is not quoted."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(state)
    machine.console = "[    1.0] Kernel panic - not syncing: of last year\r\n"
    task = await inn.ended((await inn.start(context=Behaviour.PANICS.encode())).id)
    report = await inn.report(task.id)
    assert report.verdict is Verdict.ROLLED_BACK
    said = " ".join(report.reasons)
    assert "Kernel panic - not syncing: VFS: Unable to mount root fs" in said
    assert "it was in a loop" in said
    assert "of last year" not in said
    assert report.reboots > 10
    assert report.reboot_words.startswith(f"{report.reboots}: 1 asked for by Innkeeper, ")
    assert report.reboot_words.endswith("after a crash of its kernel (a reboot loop)")
    assert (await inn.machine()).state is state


async def test_an_emergency_shell_is_quoted_with_what_failed(tmp_path: Path) -> None:
    """The guest rebooted once, at our wish, and never came back."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    task = await inn.ended((await inn.start(context=Behaviour.EMERGENCY.encode())).id)
    report = await inn.report(task.id)
    assert report.verdict is Verdict.ROLLED_BACK
    (quoted,) = [reason for reason in report.reasons if "console" in reason and "said" in reason]
    assert "Failed to mount srv-data.mount - /srv/data." in quoted
    assert "You are in emergency mode" in quoted
    assert report.reboot_words == "1: 1 asked for by Innkeeper"


async def test_a_reboot_of_the_update_that_never_ends_is_the_updates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asked for the reboot itself, and its guest never came back."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    started = await inn.start(context=Behaviour.REBOOTS_ITSELF.encode())
    await inn.until_phase(started.id, "Updating")
    broken = GuestDisk.from_bytes

    def unbootable(content: bytes) -> GuestDisk:
        disk = broken(content)
        disk.boots_into = Behaviour.EMERGENCY if disk.journal and disk.boots_into == "" else disk.boots_into
        return disk

    monkeypatch.setattr(GuestDisk, "from_bytes", unbootable)
    await inn.ended(started.id)
    report = await inn.report(started.id)
    assert report.verdict is Verdict.ROLLED_BACK
    assert report.reboot_words == "1: 1 asked for by the update"


async def test_a_console_that_cannot_be_read_is_no_trouble(tmp_path: Path) -> None:
    """The reboots are told all the same."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(MachineState.RUNNING)
    machine.has_console_log = False
    task = await inn.ended((await inn.start(context=Behaviour.PANICS.encode())).id)
    report = await inn.report(task.id)
    assert report.verdict is Verdict.ROLLED_BACK
    assert not any("said" in reason and "console" in reason for reason in report.reasons)
    assert report.reboot_words.endswith("by itself (a reboot loop)")


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (Behaviour.GOOD, ""),
        (Behaviour.NEEDS_REBOOT, "1: 1 asked for by Innkeeper"),
        (Behaviour.REBOOTS_ITSELF, "1: 1 asked for by the update"),
    ],
)
async def test_reboots_of_a_good_update_are_told(tmp_path: Path, behaviour: Behaviour, words: str) -> None:
    """With whose they were."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    task = await inn.ended((await inn.start(context=behaviour.encode())).id)
    report = await inn.report(task.id)
    assert (report.verdict, report.reasons, report.reboot_words) == (Verdict.KEPT, (), words)


@pytest.mark.parametrize("state", [MachineState.PAUSED, MachineState.TURNED_OFF])
async def test_a_guest_whose_panic_device_speaks_is_told_as_crashed(
    tmp_path: Path, state: MachineState
) -> None:
    """And not as one that was paused for want of room, or that stopped by itself."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    started = await inn.start(context=Behaviour.SLOW.encode())
    await inn.until_phase(started.id, "Updating")
    data = {"key": inn.key(), "reason": "panicked"}
    at = inn.clock.now() + dt.timedelta(milliseconds=1)
    inn.publish(Event(kind=EventKind.MACHINE_CRASHED, subject="web-1", at=at, data=data))
    if state is MachineState.PAUSED:
        await inn.host.simulation.simulate("web-1", lambda m, now: m.pause(now))
    else:
        await inn.host.simulation.simulate("web-1", lambda m, now: m.turn_off())
    await inn.ended(started.id)
    report = await inn.report(started.id)
    assert "The kernel of web-1 crashed, as its panic device said" in report.reasons[0]
    assert report.verdict is Verdict.ROLLED_BACK


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("step", ["console", "look back"])
async def test_a_console_is_quoted_whenever_the_service_dies(
    tmp_path: Path, step: str, moment: Moment
) -> None:
    """What was read before the machine was turned off is in the journal."""
    inn = Inn(tmp_path)
    engine = DyingEngine(inn.journal, inn.clock, step, moment)
    await inn.open(engine)
    await inn.add(MachineState.RUNNING)
    # An update that never tells its end is asked after; one that does is not.
    behaviour = Behaviour.HANG if step == "look back" else Behaviour.EMERGENCY
    started = await inn.start(context=behaviour.encode())
    await inn.until_dead(engine)
    await inn.open()
    await inn.ended(started.id)
    report = await inn.report(started.id)
    assert report.verdict is Verdict.ROLLED_BACK
    assert ("You are in emergency mode" in " ".join(report.reasons)) is (step == "console")
    assert inn.leftovers() == []
