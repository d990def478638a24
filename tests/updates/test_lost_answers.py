"""A guest's answer that is lost is none: what has begun is followed, what has not is not started."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from innkeeper.errors import AgentError
from innkeeper.hypervisor.simulated.agents import FakeAgent
from innkeeper.hypervisor.simulated.guests import Behaviour
from innkeeper.machines.machine import MachineState
from innkeeper.updates.booking import BookingState, Verdict
from innkeeper.updates.policy import RestartPolicy
from innkeeper.wire.events import EventKind
from tests.updates.inn import PATIENT, Before, Inn
from tests.updates.test_preparing import DISTURBED, boot_of

STATES = (MachineState.RUNNING, MachineState.PAUSED, MachineState.SAVED, MachineState.TURNED_OFF)
Lose = Callable[..., list[int]]


@pytest.fixture
def lose(monkeypatch: pytest.MonkeyPatch) -> Lose:
    """Lose answers of the guest's to one call, or the questions already; counts how often it was asked."""

    def begin(call: str, *, times: int = 1000, is_heard: bool) -> list[int]:
        real, asked = getattr(FakeAgent, call), [0]

        async def lost(agent: FakeAgent, *args: Any, **more: Any) -> Any:
            asked[0] += 1
            if asked[0] > times:
                return await real(agent, *args, **more)
            if is_heard:
                await real(agent, *args, **more)
            raise AgentError("The session with the task agent is lost.", machine="web-1")

        monkeypatch.setattr(FakeAgent, call, lost)
        return asked

    return begin


@pytest.mark.parametrize("state", STATES)
async def test_an_update_that_no_guest_was_given_is_not_started(
    tmp_path: Path, lose: Lose, state: MachineState
) -> None:
    """No plug is pulled, the guest keeps what it wrote, and the booking waits for its next chance."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(state)
    before = await Before.of(inn, machine)
    asked = lose("start_task", is_heard=False)
    inn.events.clear()
    boot = await boot_of(inn) if state is MachineState.RUNNING else ""
    task = await inn.ended((await inn.start()).id)
    report, booking = await inn.report(task.id), await inn.booking()
    assert report.verdict is Verdict.NOT_STARTED, report.reasons
    assert asked[0] > 1
    assert report.reasons[-1] == "The guest has not begun the update."
    assert booking.state is BookingState.WAITS
    assert inn.leftovers() == []
    assert inn.guest_disk().packages["base"] == "1.0-1"
    assert (await inn.machine()).state is state
    assert await inn.host.definitions.read("web-1") == before.definition
    if state is MachineState.RUNNING:
        assert await boot_of(inn) == boot
        assert not (DISTURBED - {EventKind.MACHINE_PAUSED}) & {event.kind for event in inn.events}


async def test_the_last_question_to_a_guest_is_asked_again_too(tmp_path: Path, lose: Lose) -> None:
    """One lost answer of a guest that was given no update rolls nothing back."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    lose("start_task", is_heard=False)
    asked = lose("task", times=1, is_heard=False)
    task = await inn.ended((await inn.start()).id)
    report = await inn.report(task.id)
    assert (report.verdict, asked[0]) == (Verdict.NOT_STARTED, 2), report.reasons


@pytest.mark.parametrize("times", [1, 2, 1000])
async def test_an_update_that_has_begun_unheard_is_followed(tmp_path: Path, lose: Lose, times: int) -> None:
    """The guest has it in its journal; only where nobody ever tells of it, it is rolled back."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    lose("start_task", times=times, is_heard=True)
    task = await inn.ended((await inn.start()).id)
    report = await inn.report(task.id)
    assert report.verdict is (Verdict.KEPT if times < 3 else Verdict.ROLLED_BACK), report.reasons
    assert inn.leftovers() == []


async def test_a_cancel_before_the_guest_was_given_the_update_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancelled run whose update was still to be started leaves the guest as it runs."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    boot = await boot_of(inn)

    async def hang(agent: FakeAgent, *args: object, **more: object) -> None:
        await inn.clock.sleep(25.0)
        raise AgentError("The task agent did not answer.", machine="web-1")

    monkeypatch.setattr(FakeAgent, "start_task", hang)
    started = await inn.start()
    await inn.until_phase(started.id, "Updating")
    await inn.tasks.cancel(started.id)
    await inn.ended(started.id)
    report = await inn.report(started.id)
    assert (report.verdict, await boot_of(inn)) == (Verdict.NOT_STARTED, boot), report.reasons
    assert inn.leftovers() == []


@pytest.mark.parametrize("is_heard", [False, True])
@pytest.mark.parametrize("times", [1, 3])
async def test_a_reboot_whose_answer_is_lost_is_asked_for_again(
    tmp_path: Path, lose: Lose, times: int, is_heard: bool
) -> None:
    """Whether the guest has heard the question or not, it reboots once, and its good update is kept."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    lose("reboot", times=times, is_heard=is_heard)
    inn.events.clear()
    task = await inn.ended((await inn.start(context=Behaviour.NEEDS_REBOOT.encode())).id)
    report = await inn.report(task.id)
    assert (report.verdict, report.reboots) == (Verdict.KEPT, 1), report.reasons
    assert [event.kind for event in inn.events].count(EventKind.MACHINE_REBOOTED) == 1


@pytest.mark.parametrize(("call", "is_heard"), [("restart_units", True), ("effect", False)])
async def test_services_are_restarted_though_an_answer_is_lost(
    tmp_path: Path, lose: Lose, call: str, is_heard: bool
) -> None:
    """What was restarted unheard is looked at again: nothing is told to run old files."""
    inn = Inn(tmp_path, dataclasses.replace(PATIENT, restart=RestartPolicy.NEEDED))
    await inn.open()
    await inn.add(MachineState.RUNNING)
    lose(call, times=1, is_heard=is_heard)
    task = await inn.ended((await inn.start(context=Behaviour.STALE.encode())).id)
    report = await inn.report(task.id)
    assert (report.verdict, report.findings) == (Verdict.KEPT, ()), report.reasons


async def test_a_preparation_whose_answers_are_lost_is_followed(tmp_path: Path, lose: Lose) -> None:
    """It is asked for again under the same attempt, and begun once."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    lose("prepare", times=3, is_heard=True)
    task = await inn.ended((await inn.start()).id)
    assert (await inn.report(task.id)).verdict is Verdict.KEPT
